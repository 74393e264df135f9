"""When something was purged last: one empty file that all processes of a node share.

Whoever begins an answer takes a mark, one `stat`. What was begun before a purge is not kept after
it: the mark no longer holds.
"""

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imgprocessor.gate import Gate

_LOCK = "purges"

_WAIT_SECONDS = 1.0
"""For the lock, which everybody holds for microseconds."""

Generation = tuple[int, int]
"""The file's inode and time stamp, which no two purges share; zeros before the first."""


@dataclass(frozen=True)
class Mark:
    """A moment: when something began."""

    purges: "Purges"
    generation: Generation

    @property
    def holds(self) -> bool:
        """Whether nothing was purged since."""
        return self.purges.generation() == self.generation

    @contextlib.contextmanager
    def held(self) -> Iterator[bool]:
        """Yield whether nothing was purged since; a purge waits until this is over.

        Raises:
            OSError: the lock cannot be had.
        """
        with self.purges.locked() as mine:
            yield mine and self.holds


class Purges:
    """The file, and the lock that stands for it."""

    def __init__(self, folder: Path) -> None:
        """Use a folder, which is made at the first purge; its locks are in `locks`."""
        self._file = str(folder / "purged")
        self._gate = Gate(folder / "locks")

    def mark(self) -> Mark:
        """Return this moment."""
        return Mark(self, self.generation())

    def begin(self) -> None:
        """Say that there is a purge: what was begun before is not kept once this returns. What was
        kept is to be removed after this, so that nothing comes back.

        Raises:
            OSError: it cannot be said.
        """
        with self.locked() as mine:
            if not mine:
                raise BlockingIOError(errno.EWOULDBLOCK, "another purge takes too long", self._file)
            # A new file: it takes no room on a disk that is full, and may have been another user's.
            fresh = Path(f"{self._file}.new")
            fresh.unlink(missing_ok=True)
            fresh.touch(0o640)
            # Clocks go back, and tick slowly.
            later_ns = max(time.time_ns(), self.generation()[1] + 1)
            os.utime(fresh, ns=(later_ns, later_ns))
            fresh.replace(self._file)

    def generation(self) -> Generation:
        """Return what changes with each purge."""
        try:
            status = os.stat(self._file)  # noqa: PTH116 - for each request
        except OSError:
            return 0, 0
        return status.st_ino, status.st_mtime_ns

    @contextlib.contextmanager
    def locked(self) -> Iterator[bool]:
        """Hold off purges, and what must not happen during one; yield whether that is so.

        Raises:
            OSError: the lock cannot be had.
        """
        with self._gate.held(_LOCK, _WAIT_SECONDS) as mine:
            yield mine
