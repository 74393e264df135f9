"""Files kept under a size, shared by all processes: put, got, purged, collected.

Knows nothing of pictures. An entry belongs to a group, has a key, and is bytes. It appears whole or
not at all, is checked whenever it is read, and may vanish at any time: whoever keeps something here
must be able to make it again. What cannot be kept is not kept, and `complain` is told why; only
`purge` and `purge_all` raise.
"""

import contextlib
import hashlib
import itertools
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from imgprocessor.storage.entry_format import (
    checked,
    entry_bytes,
    name_of,
    write_entry,
    write_plain,
)
from imgprocessor.storage.eviction import (
    TOUCH_SECONDS,
    File,
    cost_of,
    files_in,
    folders_in,
    move,
    scanned,
)
from imgprocessor.storage.generation import Generation
from imgprocessor.storage.locks import Locks
from imgprocessor.storage.usage import DurableCounter, Usage

_COLLECT_FROM = 0.95
_COLLECT_TO = 0.75
"""Shares of the cap: collected before it is reached, and enough to be quiet for a while. Down
to 0.85 it took 7 % of two processors under a flood of new entries, and so far down 4 (M1).
"""

_LARGEST_SHARE = 0.1
"""Of the cap, for one entry: with more, one picture would push out all others."""

_NEW_SECONDS = 1.0
"""So long an empty folder stays."""

_ORPHAN_SECONDS = 60.0
"""What has been on its way in for so long was left behind by a process that was killed."""


class Scratch:
    """Memory to read entries into, again and again: new memory is dearer than reading."""

    def __init__(self) -> None:
        self._memory = bytearray()

    def room(self, size: int) -> memoryview:
        """Return so many bytes; whatever was returned before is no longer good."""
        if len(self._memory) < size:
            self._memory = bytearray(size)
        return memoryview(self._memory)[:size]


class DiskCache:
    """A folder of entries. Several processes, and several threads of each, may use it at once."""

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int,
        min_free_percent: int,
        complain: Callable[[str], None],
        whole_groups: bool = False,
    ) -> None:
        """Use a folder, which is made when first needed. With `max_bytes` 0 nothing is kept. With
        `whole_groups` all entries of a group are as old as the one that was used last.
        """
        self._whole_groups = whole_groups
        self._folder = folder
        self._max_bytes = max_bytes
        self._min_free_percent = min_free_percent
        self._complain = complain
        self._entries = folder / "entries"
        self._incoming = folder / "incoming"
        self._locks = Locks(folder / "locks")
        self._totals = Usage(folder / "totals", self._locks, is_empty=self._is_empty)
        self.damages = DurableCounter(folder / "damages", self._locks)
        """How often an entry was found damaged, or could not be read, by any process."""
        self._serial = itertools.count()
        self._background = threading.Lock()

    @property
    def keeps(self) -> bool:
        """Whether anything is ever kept here."""
        return self._max_bytes > 0

    def kept_bytes(self) -> int | None:
        """Return what is counted as kept; None where nobody knows.

        Raises:
            OSError: it cannot be read.
        """
        with self._totals.locked() as (total, _):
            return total

    def note_damage(self, wrong: str) -> None:
        """Say what is wrong with an entry, and count it."""
        self._complain(wrong)
        with contextlib.suppress(OSError):  # a disk that is not written any more: it was said
            self.damages.increase()

    def get(self, group: str, key: str, scratch: Scratch | None = None) -> memoryview | None:
        """Return what was put; None where nothing was, or what is there is damaged.

        With `scratch` it lies there, until that is used again.
        """
        if not self.keeps:
            return None
        path = self.path(group, key)
        try:
            # No file object: each repeat that Python answers comes by here.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                status = os.fstat(descriptor)
                # What is larger than all may be is damaged: there may not be memory for it.
                size = status.st_size if status.st_size <= self._max_bytes else 0
                if scratch is None:
                    content = memoryview(os.read(descriptor, size))
                else:
                    content = scratch.room(size)
                    content = content[: os.readv(descriptor, [content])]
                if abs(time.time() - status.st_mtime) >= TOUCH_SECONDS:
                    _touch(descriptor)
            finally:
                os.close(descriptor)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self.note_damage(f"{path} cannot be read: {error.strerror}")
            return None
        body = checked(content, _name(group, key))
        if body is None:
            self.note_damage(f"{path} is damaged; what it held is made anew")
            _drop(path)
        return body

    def put(
        self,
        group: str,
        key: str,
        body_bytes: int,
        parts: Iterable[bytes],
        began: Generation | None = None,
        *,
        plain: bool = False,
    ) -> bool:
        """Keep an entry, instead of one with the same key; return whether there was room for it.

        Its body is `body_bytes` long, and comes in parts, which are not asked for without room.
        Nothing is kept where a purge came after the work for it `began`. With `plain` the file is
        the body and nothing else: not for `get`, but for whoever knows how to check it.
        """
        if began is not None and not began.is_current:
            return False
        name = _name(group, key)
        size = body_bytes if plain else entry_bytes(name, body_bytes)
        if cost_of(size) > self._max_bytes * _LARGEST_SHARE:
            return False
        incoming = self._incoming / f"{os.getpid()}-{threading.get_ident()}-{next(self._serial)}"
        try:
            with self._opened(incoming) as descriptor:
                try:
                    if not self._reserve(descriptor, size):
                        incoming.unlink()
                        return False
                    if plain:
                        write_plain(descriptor, parts)
                    else:
                        write_entry(descriptor, name, parts)
                    with (
                        began.held()
                        if began is not None
                        else contextlib.nullcontext(True) as is_current
                    ):
                        if not is_current:
                            incoming.unlink()  # and stays counted until all is counted anew
                            return False
                        self._publish(incoming, Path(self.path(group, key)))
                except BaseException:
                    incoming.unlink(missing_ok=True)
                    raise
        except OSError as error:
            self._complain(f"{self._folder} cannot be written: {error.strerror}")
            return False
        return True

    def purge(self, group: str, *, key_end: str = "") -> int:
        """Remove those of a group's entries whose key ends so; return how many there were.

        Raises:
            OSError: one of them cannot be removed.
        """
        end = os.fsencode(key_end)
        files = files_in(os.path.dirname(self.path(group, "")))  # noqa: PTH120
        return self._purge(
            file for file in files if not end or (name_of(file.path) or b"").endswith(end)
        )

    def purge_all(self) -> int:
        """Remove every entry; return how many there were.

        Raises:
            OSError: one of them cannot be removed; all others are.
        """
        return self._purge(self._all())

    def _purge(self, files: Iterable[File]) -> int:
        removed: list[int] = []
        failed: OSError | None = None
        # Nobody counts anew between removing and uncounting. Where somebody is at it, what is
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

    def _collect(self, room_bytes: int) -> None:
        self._make_folders()
        with self._totals.locked() as (before, added_before):
            pass
        # What is on its way in is looked at first: should it move on meanwhile, it is seen twice
        # rather than missed. Its size was on the disk before it was counted as added.
        kept = 0
        for file in files_in(self._incoming):
            if file.age < _ORPHAN_SECONDS or not self._removed(file):
                kept += file.cost_bytes
        # Only times and sizes at first: a million paths would not fit a server's memory.
        ages = [(file.age, file.cost_bytes) for file in self._all()]
        kept += sum(cost for _, cost in ages)
        if kept > self._max_bytes * _COLLECT_FROM or room_bytes:
            excess = kept - min(kept - room_bytes, int(self._max_bytes * _COLLECT_TO))
            oldest = _age_to_remove(ages, excess)
            age = math.nan
            for file in self._all():
                if excess <= 0 and file.age != age:  # what is left of a group goes with it
                    break
                if file.age >= oldest and self._removed(file):
                    age = file.age
                    excess -= file.cost_bytes
                    kept -= file.cost_bytes
        with self._totals.locked() as (total, added):
            if total is None and before is None:
                self._totals.write(kept, 0)  # where nobody knows, nobody has added anything
            elif total is not None and before is not None:
                self._totals.write(kept + added - added_before, added)
            # Otherwise they were lost meanwhile, and are counted next time.

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

    def _all(self) -> Iterator[File]:
        for folder in folders_in(self._entries):
            for group in folders_in(folder):
                yield from self._aged(files_in(group))
                with contextlib.suppress(OSError):
                    # Whoever has just made it is about to put something there.
                    if time.time() - os.stat(group).st_mtime > _NEW_SECONDS:  # noqa: PTH116
                        os.rmdir(group)  # noqa: PTH106 - where it is empty

    def _aged(self, group: Iterable[File]) -> Iterable[File]:
        if not self._whole_groups:
            return group
        files = list(group)
        age = min((file.age for file in files), default=0.0)
        return [file._replace(age=age) for file in files]

    def path(self, group: str, key: str) -> str:
        """Return where an entry's file is, or would be."""
        group_name = hashlib.sha256(os.fsencode(group)).hexdigest()[:32]
        key_name = hashlib.sha256(os.fsencode(key)).hexdigest()[:32]
        return f"{self._entries}/{group_name[:2]}/{group_name}/{key_name}"

    def _is_empty(self) -> bool:
        return not scanned(self._entries)

    def _make_folders(self) -> None:
        for folder in (self._entries, self._incoming):
            if not folder.is_dir():
                folder.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def _opened(self, incoming: Path) -> Iterator[int]:
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
        """Count an entry before it is written: there is never more on the disk than was counted."""
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
                # Whoever counts anew must find it in its full size from now on.
                os.ftruncate(descriptor, size)
                self._totals.write(total + cost, added + cost)
        if total is None or total + cost > self._max_bytes * _COLLECT_FROM:
            self._collect_in_background(0)
        return fits

    def _publish(self, incoming: Path, path: Path) -> None:
        """Put an entry in its place. The one there before is counted no more, unless somebody
        counts anew at this moment.
        """
        if not path.exists():
            move(incoming, path)
            return
        with self._locks.held("collector", wait_seconds=0) as mine:
            cost = cost_of(path.lstat().st_size) if mine and path.is_file() else 0
            move(incoming, path)
            with contextlib.suppress(OSError):
                self._totals.subtract(cost)


def _drop(path: str) -> None:
    """Remove what is damaged. It stays counted until all is counted anew."""
    with contextlib.suppress(OSError):
        os.unlink(path)  # noqa: PTH108 - not worth a Path


def _age_to_remove(ages: list[tuple[float, int]], excess: int) -> float:
    """Return the age from which on entries must go, so that `excess` bytes do."""
    oldest = math.inf
    for age, cost in sorted(ages, reverse=True):
        if excess <= 0:
            break
        oldest, excess = age, excess - cost
    return oldest


def _name(group: str, key: str) -> bytes:
    return os.fsencode(f"{group}\0{key}")


def _touch(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # a disk that is read-only by now
        os.utime(descriptor)
