"""Ways to keep a step from all that is not its own: bubblewrap, or Landlock alone."""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from imgprocessor.jobs.previews.confined import LAUNCHER
from imgprocessor.jobs.previews.visible import DEVICES

_NOBODY = "65534"

_SHELL = "/bin/sh"
_KEEPER = """
exec 3<&0
"$@" <&3 3<&- & step=$!
exec 2>/dev/null
{ read -r _ <&3; kill -KILL 0; } & leash=$!
wait $step; status=$?
kill -KILL $leash; wait $leash
exit $status
"""
"""Ends the whole process group once the worker has gone, who holds the other end of standard input:
bubblewrap's first process waits for ever where its second is killed while they begin.
"""


@dataclass(frozen=True)
class Visible:
    """What a step sees."""

    reads: Sequence[Path]
    document: Path
    folder: Path
    """That it may write to."""


class Confinement(Protocol):
    """How a step is confined."""

    name: ClassVar[str]
    needs_landlock: ClassVar[bool]
    """Whether nothing else keeps files away."""
    counts_processes: ClassVar[bool]
    """Whether the step is alone among those that the kernel counts as its user's."""

    def command(self, shown: Visible, status: int, wanted: str) -> Sequence[str]:
        """Return what is run.

        Args:
            shown: What the step sees.
            status: A descriptor, which is told how it goes.
            wanted: What `confined` is to do.
        """


def _launcher(wanted: str) -> list[str]:
    # Quick to start, since hardly anything is imported.
    return [sys.executable, "-I", "-S", "-B", LAUNCHER, wanted]


@dataclass(frozen=True)
class Bubblewrap:
    """Namespaces of its own: no file is there but what it sees, no network, no other process."""

    program: str
    name: ClassVar[str] = "bubblewrap"
    needs_landlock: ClassVar[bool] = False
    counts_processes: ClassVar[bool] = True

    @classmethod
    def found(cls) -> "Bubblewrap | None":
        """Return it as it is on `PATH`."""
        program = shutil.which("bwrap")
        return cls(program) if program else None

    def command(self, shown: Visible, status: int, wanted: str) -> Sequence[str]:
        """As `Confinement` says."""
        binds: list[str] = []
        for path in shown.reads:
            if path.is_symlink():
                binds += ["--symlink", str(path.readlink()), str(path)]
            else:
                binds += ["--ro-bind-try", str(path), str(path)]
        for path in DEVICES:
            binds += ["--dev-bind-try", str(path), str(path)]
        folder = str(shown.folder)
        return [
            *(_SHELL, "-c", _KEEPER, _SHELL),
            *(self.program, "--unshare-user", "--unshare-net", "--unshare-pid", "--unshare-ipc"),
            # Whoever runs this: inside it is nobody, and can become nobody else.
            *("--uid", _NOBODY, "--gid", _NOBODY, "--cap-drop", "ALL"),
            # The step is the namespace's first process: with it, all ends.
            *("--die-with-parent", "--as-pid-1", "--clearenv", "--info-fd", str(status)),
            *binds,
            *("--ro-bind", str(shown.document), str(shown.document), "--bind", folder, folder),
            # What is around all that is memory that nobody counts.
            *("--remount-ro", "/", "--chdir", folder, "--"),
            *_launcher(wanted),
        ]


class Landlock:
    """The same files and network as everybody, and the kernel refuses what is not its own."""

    name: ClassVar[str] = "landlock"
    needs_landlock: ClassVar[bool] = True
    counts_processes: ClassVar[bool] = False

    def command(self, shown: Visible, status: int, wanted: str) -> Sequence[str]:
        """As `Confinement` says."""
        del shown, status
        return _launcher(wanted)
