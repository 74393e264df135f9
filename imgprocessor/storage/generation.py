"""When something was purged last: one empty file that all processes of a node share.

An answer begins by noting the generation, one `stat`. What was begun before a purge is not kept
after it: its generation is no longer the current one.
"""

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from imgprocessor.storage.locks import Locks

_LOCK = "purges"

_WAIT_SECONDS = 1.0
"""For the lock, which each process holds for microseconds."""

Stamp = tuple[int, int]
"""The file's inode and time stamp, which no two purges share; zeros before the first."""


@dataclass(frozen=True)
class Generation:
    """The time between two purges: an answer belongs to the one that it was begun in."""

    generations: "Generations"
    stamp: Stamp

    @property
    def is_current(self) -> bool:
        """Whether nothing was purged since."""
        return self.generations.stamp() == self.stamp

    @contextlib.contextmanager
    def held(self) -> Iterator[bool]:
        """Yield whether nothing was purged since; a purge waits until this is over.

        Raises:
            OSError: the lock cannot be had.
        """
        with self.generations.locked() as mine:
            yield mine and self.is_current


class Generations:
    """The file, and the lock that stands for it."""

    def __init__(self, folder: Path) -> None:
        """Use a folder, which is made at the first purge; its locks are in `locks`."""
        self._file = str(folder / "purged")
        self._locks = Locks(folder / "locks")

    def current(self) -> Generation:
        """Return this moment."""
        return Generation(self, self.stamp())

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
            later_ns = max(time.time_ns(), self.stamp()[1] + 1)
            os.utime(fresh, ns=(later_ns, later_ns))
            fresh.replace(self._file)

    def remove(self, *removals: Callable[[], int]) -> int:
        """Remove in order of dependence: originals, then masters, then renditions; return how many
        files that were.

        A request that begins during a removal may still find what is about to go, so each removal
        is followed by a new generation: what was made of old masters is not kept after that, and
        if it was kept before, it is removed with the renditions.

        Raises:
            OSError: something cannot be removed; everything else is.
        """
        removed = 0
        failed: OSError | None = None
        for remove in removals:
            self.begin()
            try:
                removed += remove()
            except OSError as error:
                failed = failed or error
        self.begin()
        if failed is not None:
            raise failed
        return removed

    def stamp(self) -> Stamp:
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
        with self._locks.held(_LOCK, _WAIT_SECONDS) as mine:
            yield mine
