"""One at a time, over all processes and threads: locks by name. No request waits for one for ever.

The kernel frees a lock when its holder dies, however it dies.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

_FLOCK = struct.Struct("@hhqqi4x")
"""`struct flock` of Linux: type, whence, start, length, process."""

_OFFSET_BITS = 62
"""A name's lock is one byte of the file, far beyond its end: so many that none shares its byte."""

_FIRST_PAUSE_SECONDS = 0.002
_LONGEST_PAUSE_SECONDS = 0.02


class Lock:
    """A lock that is held. Its holder may hand it to another thread."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Let the next one in."""
        os.close(self._descriptor)


class Locks:
    """Locks that all processes share that know the same file."""

    def __init__(self, file: Path) -> None:
        """Use a file, which is made with its folder when first needed, and stays empty."""
        self._file = str(file)

    def acquire(self, name: str, wait_seconds: float) -> Lock | None:
        """Wait for a name's lock; None where another holder had it all the time.

        Raises:
            OSError: the file cannot be opened for writing, so nothing can be locked.
        """
        return self._taken(
            lambda descriptor: _in_time(lambda: _is_taken(descriptor, _offset(name)), wait_seconds)
        )

    def acquire_when_free(self, name: str) -> Lock:
        """Wait for a name's lock as long as it takes, asleep.

        Raises:
            OSError: as `acquire` does.
        """
        while True:
            taken = self._taken(lambda descriptor: self._lock_when_free(descriptor, name))
            if taken is not None:
                return taken

    def acquire_any(self, names: Sequence[str], wait_seconds: float = 0) -> Lock | None:
        """Take the first lock of several that is free; None where none was all the time.

        Raises:
            OSError: as `acquire` does.
        """
        offsets = [_offset(name) for name in names]
        return self._taken(
            lambda descriptor: _in_time(
                lambda: any(_is_taken(descriptor, offset) for offset in offsets), wait_seconds
            )
        )

    def count_held(self, names: Sequence[str]) -> int:
        """Return how many locks of several are held.

        Raises:
            OSError: as `acquire` does.
        """
        descriptor = self._open()
        try:
            return sum(_is_locked(descriptor, _offset(name)) for name in names)
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def held(self, name: str, wait_seconds: float) -> Iterator[bool]:
        """Hold a name's lock; yield whether it could be had.

        Raises:
            OSError: as `acquire` does.
        """
        lock = self.acquire(name, wait_seconds)
        try:
            yield lock is not None
        finally:
            if lock is not None:
                lock.release()

    @contextlib.contextmanager
    def alone(self, name: str, wait_seconds: float) -> Iterator[None]:
        """Hold a name's lock.

        Raises:
            OSError: it could not be had, or as `acquire` does.
        """
        with self.held(name, wait_seconds) as mine:
            if not mine:
                raise BlockingIOError(errno.EWOULDBLOCK, "another request takes too long", name)
            yield

    @contextlib.contextmanager
    def held_if_possible(self, name: str, wait_seconds: float) -> Iterator[bool]:
        """Hold a name's lock; yield whether it could be had, or nothing can be locked at all: then
        the work inside is better done twice than not.
        """
        with contextlib.ExitStack() as stack:
            mine = True
            with contextlib.suppress(OSError):
                mine = stack.enter_context(self.held(name, wait_seconds))
            yield mine

    def _taken(self, lock: Callable[[int], bool]) -> Lock | None:
        """Open the file and lock it; None, and closed again, where that is not to be had."""
        descriptor = self._open()
        try:
            if lock(descriptor):
                return Lock(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(self._file, flags, 0o640)
        except FileNotFoundError:
            Path(self._file).parent.mkdir(parents=True, exist_ok=True)
            return os.open(self._file, flags, 0o640)

    def _lock_when_free(self, descriptor: int, name: str) -> bool:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLKW, _wanted(_offset(name)))
        # Meanwhile the folder may have been cleared away, and others lock a new file.
        try:
            return os.path.samestat(Path(self._file).stat(), os.fstat(descriptor))
        except FileNotFoundError:
            return False


@lru_cache(maxsize=256)  # the same names for each rendition
def _offset(name: str) -> int:
    digest = hashlib.sha256(os.fsencode(name)).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - _OFFSET_BITS)


def _wanted(offset: int) -> bytes:
    # Locks of an open file description, not of a process: two threads exclude each other, too.
    return _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, offset, 1, 0)


def _is_locked(descriptor: int, offset: int) -> bool:
    wanted = _wanted(offset)
    kind, *_ = _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, wanted))
    return bool(kind != fcntl.F_UNLCK)


def _is_taken(descriptor: int, offset: int) -> bool:
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _wanted(offset))
    except BlockingIOError:
        return False
    return True


def _in_time(take: Callable[[], bool], wait_seconds: float) -> bool:
    """Try until it works; return whether it did in time."""
    deadline = time.monotonic() + wait_seconds
    pause = _FIRST_PAUSE_SECONDS
    while not take():
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(pause, left))
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
    return True
