"""The sandbox: what keeps steps on this machine from all that is not theirs, tried before use."""

import json
import os
import secrets
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from imgprocessor.errors import ImageError
from imgprocessor.images.previews.kind import SandboxStep
from imgprocessor.jobs.previews.attempts import ATTEMPTS
from imgprocessor.jobs.previews.results import remove_tree
from imgprocessor.jobs.previews.steps import ConfinedRun
from imgprocessor.jobs.previews.visible import readable
from imgprocessor.jobs.previews.ways import Bubblewrap, Confinement, Landlock

_PROBE_SECONDS = 10.0

_NO_BUBBLEWRAP = "bubblewrap is not installed (Debian: bubblewrap)"
_NO_NAMESPACES = (
    "bubblewrap does not run; it may not make namespaces under RestrictNamespaces=yes of a unit,"
    " Docker's seccomp profile, or AppArmor on Ubuntu: "
)


class NoSandbox(Exception):
    """There is no sandbox on this machine; `str()` says why, to its operator."""

    def __init__(self, public: str, detail: str) -> None:
        self.public = public
        """The same for strangers, without paths."""
        super().__init__(detail)


@dataclass(frozen=True)
class Sandbox:
    """Runs steps, each confined by a way that was tried."""

    way: Confinement
    kept: Sequence[Path]

    def running(
        self,
        document: Path,
        folder: Path,
        seconds: float,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> ConfinedRun:
        """Return what runs steps for a document.

        Args:
            document: a copy, which nobody else has.
            folder: what steps may write to; not the one that the document is in.
            seconds: for all of them together.
            is_wanted: asked now and then; when it says no, the step is ended.
        """
        return ConfinedRun(
            self.way,
            lambda step: readable(step.reads, self.kept),
            document.resolve(),
            folder.resolve(),
            time.monotonic() + seconds,
            is_wanted,
        )


def find_sandbox(kept: Sequence[Path], folder: Path) -> Sandbox:
    """Return the best sandbox that this machine has, after it was tried.

    Args:
        kept: files and folders of the operator's, of which no step may see anything: originals,
            uploads, caches, settings, keys.
        folder: where jobs have their folders.

    Raises:
        NoSandbox: there is none.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="probe-", dir=folder):
            pass
    except OSError as error:
        raise NoSandbox("the folder of jobs cannot be written", str(error)) from error
    reasons: list[str] = []
    publics: list[str] = []
    ways: list[Confinement] = [Landlock()]
    if bubblewrap := Bubblewrap.found():
        ways.insert(0, bubblewrap)
    else:
        reasons.append(_NO_BUBBLEWRAP)
        publics.append("bubblewrap is not installed")
    for way in ways:
        sandbox = Sandbox(way, kept)
        try:
            could = _try(sandbox, folder)
        except (ImageError, OSError, ValueError) as error:
            publics.append(f"{way.name} is not to be had here")
            reasons.append(
                f"{_NO_NAMESPACES if isinstance(way, Bubblewrap) else 'Landlock: '}{error}"
            )
            continue
        if not could:
            return sandbox
        publics.append(f"{way.name} does not hold here")
        reasons.append(f"{way.name} does not hold: a program in it could {', '.join(could)}")
    raise NoSandbox("; ".join(publics), "; ".join(reasons))


def _try(sandbox: Sandbox, folder: Path) -> Sequence[str]:
    """Return what a program could do in the sandbox that it must not."""
    with _canaries(folder) as (place, told):
        document, within = place / "document", place / "within"
        document.write_text("x")
        within.mkdir()
        told |= {"folder": str(within.resolve()), "document": str(document.resolve())}
        step = SandboxStep([sys.executable, "-I", "-S", "-B", ATTEMPTS, json.dumps(told)])
        ended = sandbox.running(document, within, _PROBE_SECONDS)(step)
        try:
            could = json.loads(ended.said.splitlines()[-1])
        except (ValueError, IndexError):
            raise OSError(f"it ended with {ended.status}: {ended.said}") from None
        return [str(what) for what in could]


@contextmanager
def _canaries(folder: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """Make what a program in the sandbox must not get at, beside a made-up original."""
    with ExitStack() as ends:
        place = Path(tempfile.mkdtemp(prefix="probe-", dir=folder))
        ends.callback(remove_tree, place)
        outside = place / "outside"
        outside.mkdir()
        (outside / "secret").write_text("x")
        abstract = f"imgprocessor-{secrets.token_hex(8)}"
        network = ends.enter_context(socket.create_server(("127.0.0.1", 0)))
        # Where paths are short, as addresses must be.
        named = f"{ends.enter_context(tempfile.TemporaryDirectory())}/socket"
        for address in (f"\0{abstract}", named):
            listener = ends.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(address)
            listener.listen()
        yield (
            place,
            {
                "outside": str(outside.resolve()),
                "worker": str(os.getpid()),
                "port": str(network.getsockname()[1]),
                "abstract": abstract,
                "named": named,
            },
        )
