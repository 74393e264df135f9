"""A folder whose files never take more than a cap: counted, evicted, purged, over all processes.

A file lies in its group's folder. It is counted before it is written, appears whole or not
at all, and may vanish at any time: the caller must be able to make it again. What cannot be kept is
not kept, and `complain` is told why; only `purge` and `purge_all` raise.
"""

import contextlib
import itertools
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Self

from imgprocessor.storage.eviction import File, cost_of, files_in, folders_in, move, scanned
from imgprocessor.storage.generation import Generation
from imgprocessor.storage.locks import Locks
from imgprocessor.storage.usage import DurableCounter, Usage

_COLLECT_FROM = 0.95
_COLLECT_TO = 0.75
"""Shares of the cap: collected before it is reached, and enough to be quiet for a while. Down
to 0.85 it took 7 % of two processors under a flood of new entries, and so far down 4 (M1).
"""

_LARGEST_SHARE = 0.1
"""Of the cap, for one file: with more, one picture would push out all others."""

_NEW_SECONDS = 1.0
"""So long an empty folder stays."""

_ORPHAN_SECONDS = 60.0
"""What has been on its way in for so long was left behind by a process that was killed."""


class CappedFolder:
    """The folder. Several processes, and several threads of each, may use it at once."""

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int,
        min_free_percent: int,
        complain: Callable[[str], None],
    ) -> None:
        """Use a folder, which is made when first needed. With `max_bytes` 0 nothing is kept."""
        self._folder = folder
        self._max_bytes = max_bytes
        self._min_free_percent = min_free_percent
        self._complain = complain
        self._entries = folder / "entries"
        self._incoming = folder / "incoming"
        self._locks = Locks(folder / "locks")
        self._totals = Usage(folder / "totals", self._locks, is_empty=self._is_empty)
        self.damages = DurableCounter(folder / "damages", self._locks)
        """How often a file was found damaged, or could not be read, by any process."""
        self._serial = itertools.count()
        self._background = threading.Lock()

    def __reduce__(self) -> tuple[Callable[[], Self], tuple[()]]:
        """Another process has a folder of its own, with the same files."""
        known = {"max_bytes": self._max_bytes, "min_free_percent": self._min_free_percent}
        return partial(type(self), self._folder, complain=self._complain, **known), ()

    @property
    def keeps(self) -> bool:
        """Whether anything is ever kept here."""
        return self._max_bytes > 0

    def kept_bytes(self) -> int | None:
        """Return what is counted as kept; None where it is not known.

        Raises:
            OSError: it cannot be read.
        """
        return self._totals.read()[0]

    def note_damage(self, wrong: str) -> None:
        """Say what is wrong with a file, and count it."""
        self._complain(wrong)
        with contextlib.suppress(OSError):  # a disk that is not written any more: it was said
            self.damages.increase()

    def purge_all(self) -> int:
        """Remove every file; return how many there were.

        Raises:
            OSError: one of them cannot be removed; all others are.
        """
        return self._purge(self._all())

    def collect(self, room_bytes: int = 0) -> None:
        """Remove what was not used for longest until there is room; count anew what is kept.

        One process at a time does this; where one is at it, the others return at once.
        `room_bytes` are wanted beside what the cap allows, where the disk itself is full.
        """
        with self._locks.held("collector", wait_seconds=0) as mine:
            if mine:
                self._collect(room_bytes)

    def settle(self) -> None:
        """Wait until what this process collects in the background is over."""
        with self._background:
            pass

    def _add(
        self, path: str, size: int, write: Callable[[int], None], generation: Generation | None
    ) -> bool:
        """Keep a file, instead of one with the same path; return whether it is kept.

        `write` is called with the descriptor of an empty file, unless there is no room for `size`
        bytes. Nothing is kept where a purge came after the `generation`.
        """
        if generation is not None and not generation.is_current:
            return False
        if cost_of(size) > self._max_bytes * _LARGEST_SHARE:
            return False
        number = next(self._serial)
        incoming = f"{self._incoming}/{os.getpid()}-{threading.get_ident()}-{number}"
        kept = False
        try:
            with self._opened(incoming) as descriptor:
                try:
                    if self._reserve(descriptor, size):
                        write(descriptor)
                        kept = self._publish(incoming, path, generation)
                finally:
                    if not kept:  # where it was reserved, it stays counted until all is
                        Path(incoming).unlink(missing_ok=True)
        except OSError as error:
            self._complain(f"{self._folder} cannot be written: {error.strerror}")
            return False
        return kept

    @contextlib.contextmanager
    def _opened(self, incoming: str) -> Iterator[int]:
        """Open a new file; yield its descriptor."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            descriptor = os.open(incoming, flags, 0o640)
        except FileNotFoundError:
            self._make_folders()
            descriptor = os.open(incoming, flags, 0o640)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _reserve(self, descriptor: int, size: int) -> bool:
        """Count a file before it is written: there is never more on the disk than was counted."""
        cost = cost_of(size)
        disk = os.fstatvfs(descriptor)
        least_free = disk.f_blocks * disk.f_frsize * self._min_free_percent // 100
        missing = least_free + cost - disk.f_bavail * disk.f_frsize
        if missing > 0:
            self._collect_in_background(missing)
            return False
        with self._totals.locked() as (total, added):
            fits = total is not None and total + cost <= self._max_bytes
            if total is not None and fits:
                # A process that counts anew must find it in its full size from now on.
                os.ftruncate(descriptor, size)
                self._totals.write(total + cost, added + cost)
        if total is None or total + cost > self._max_bytes * _COLLECT_FROM:
            self._collect_in_background(0)
        return fits

    def _publish(self, incoming: str, path: str, generation: Generation | None) -> bool:
        """Put a file in its place, unless a purge came after the generation; return whether."""
        purges = generation.held() if generation is not None else contextlib.nullcontext(True)
        with purges as is_current:
            if is_current:
                self._replace(incoming, path)
        return is_current

    def _replace(self, incoming: str, path: str) -> None:
        """Put a file in its place. The one there before is counted no more, unless a process counts
        anew at this moment.
        """
        before = Path(path)
        if not before.exists():
            move(incoming, path)
            return
        with self._locks.held("collector", wait_seconds=0) as mine:
            cost = cost_of(before.lstat().st_size) if mine and before.is_file() else 0
            move(incoming, path)
            with contextlib.suppress(OSError):
                self._totals.subtract(cost)

    def _collect(self, room_bytes: int) -> None:
        self._make_folders()
        before = self._totals.read()
        # What is on its way in is looked at first: should it move on meanwhile, it is seen twice
        # rather than missed. Its size was on the disk before it was counted as added.
        kept = self._clean_incoming()
        # Only times and sizes at first: a million paths would not fit a server's memory.
        ages = [(file.age, file.cost_bytes) for file in self._all()]
        kept += sum(cost for _, cost in ages)
        if kept > self._max_bytes * _COLLECT_FROM or room_bytes:
            wanted = min(kept - room_bytes, int(self._max_bytes * _COLLECT_TO))
            kept -= self._evict(ages, kept - wanted)
        self._totals.correct(kept, before)

    def _clean_incoming(self) -> int:
        """Remove what was left on its way in; return how many bytes still are."""
        return sum(
            file.cost_bytes
            for file in files_in(self._incoming)
            if file.age < _ORPHAN_SECONDS or not self._removed(file)
        )

    def _evict(self, ages: list[tuple[float, int]], excess: int) -> int:
        """Remove the oldest files, until so many bytes are gone; return how many are."""
        oldest = _age_to_remove(ages, excess)
        gone = 0
        for files in self._groups():
            for file in files:
                if file.age >= oldest and self._removed(file):
                    gone += file.cost_bytes
            if gone >= excess:
                break
        return gone

    def _removed(self, file: File) -> bool:
        """Remove a file; return whether it is gone. One that stays must not stop the others."""
        try:
            file.unlink()
        except OSError as error:
            self._complain(f"{file.path} cannot be removed: {error.strerror}")
            return False
        return True

    def _collect_in_background(self, room_bytes: int) -> None:
        if not self._background.acquire(blocking=False):
            return
        thread = threading.Thread(
            target=self._collect_and_tell, args=(room_bytes,), name="collector", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:
            self._background.release()
            self._complain(f"{self._folder} cannot be collected: {error}")

    def _collect_and_tell(self, room_bytes: int) -> None:
        try:
            self.collect(room_bytes)
        except OSError as error:
            self._complain(f"{self._folder} cannot be collected: {error.strerror}")
        finally:
            self._background.release()

    def _purge(self, files: Iterable[File]) -> int:
        removed: list[int] = []
        failed: OSError | None = None
        # No process counts anew between removing and uncounting. Where one is at it, what is
        # removed stays counted until next time: too much is counted now and then, never too little.
        with self._locks.held("collector", wait_seconds=1) as mine:
            try:
                for file in files:
                    try:
                        if file.unlink():
                            removed.append(file.cost_bytes)
                    except OSError as error:
                        failed = failed or error
            finally:
                if mine and removed:
                    self._totals.subtract(sum(removed))
        if failed is not None:
            raise failed
        return len(removed)

    def _all(self) -> Iterator[File]:
        return itertools.chain.from_iterable(self._groups())

    def _groups(self) -> Iterator[Iterable[File]]:
        """Yield each group's files, and remove its folder where it is empty then."""
        for folder in folders_in(self._entries):
            for group in folders_in(folder):
                yield self._aged(files_in(group))
                with contextlib.suppress(OSError):
                    # A process that has just made it is about to put something there.
                    if time.time() - os.stat(group).st_mtime > _NEW_SECONDS:  # noqa: PTH116
                        os.rmdir(group)  # noqa: PTH106 - where it is empty

    def _aged(self, group: Iterable[File]) -> Iterable[File]:
        """Return a group's files with the ages that they are evicted by: here their own."""
        return group

    def _is_empty(self) -> bool:
        return not scanned(self._entries)

    def _make_folders(self) -> None:
        for folder in (self._entries, self._incoming):
            if not folder.is_dir():
                folder.mkdir(parents=True, exist_ok=True)


def _age_to_remove(ages: list[tuple[float, int]], excess: int) -> float:
    """Return the age from which on files must go, so that `excess` bytes do."""
    oldest = math.inf
    for age, cost in sorted(ages, reverse=True):
        if excess <= 0:
            break
        oldest, excess = age, excess - cost
    return oldest
