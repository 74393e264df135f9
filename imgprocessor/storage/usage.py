"""How many bytes a folder keeps, and how often an entry was damaged; shared by processes.

What is counted as kept is never less than what is on the disk. It may be more, after a process was
killed, until all is counted anew.
"""

import contextlib
import errno
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import xxhash

from imgprocessor.storage.locks import Locks

_NUMBERS = struct.Struct("<qqI")
"""Bytes that are kept, bytes that were ever added, a checksum of both."""

_NUMBER = struct.Struct("<QI")
"""A number that only grows, and its checksum."""

_WAIT_SECONDS = 1.0
"""For the lock, which each process holds for microseconds."""


Totals = tuple[int | None, int]
"""Bytes that are kept, None where it is not known; bytes that were ever added."""


class Usage:
    """The file, and the lock that stands for it."""

    def __init__(self, file: Path, locks: Locks, *, is_empty: Callable[[], bool]) -> None:
        """Use a file; where it is not there, `is_empty` says whether there is nothing to count."""
        self._file = file
        self._locks = locks
        self._is_empty = is_empty

    @contextlib.contextmanager
    def locked(self) -> Iterator[Totals]:
        """Lock the totals; yield them.

        Raises:
            OSError: another process holds the lock, or it cannot be had.
        """
        with self._locks.held("totals", _WAIT_SECONDS) as mine:
            if not mine:
                raise BlockingIOError(errno.EWOULDBLOCK, "the totals are locked")
            yield self._load()

    def read(self) -> Totals:
        """Return the totals.

        Raises:
            OSError: as `locked` does.
        """
        with self.locked() as totals:
            return totals

    def write(self, total: int, added: int) -> None:
        """Write both down; only inside `locked`."""
        write_in_place(self._file, _NUMBERS.pack(total, added, numbers_checksum(total, added)))

    def correct(self, kept: int, before: Totals) -> None:
        """Write down how many bytes were found by counting anew, which was begun with the totals
        `before`: what was added meanwhile is counted in addition.

        Raises:
            OSError: as `locked` does.
        """
        known, added_before = before
        with self.locked() as (total, added):
            if total is None and known is None:
                self.write(kept, 0)  # where it is not known, nothing was added
            elif total is not None and known is not None:
                self.write(kept + added - added_before, added)
            # Otherwise they were lost meanwhile, and are counted next time.

    def subtract(self, cost: int) -> None:
        """Count so many bytes less, which were removed.

        Raises:
            OSError: as `locked` does.
        """
        with self.locked() as (total, added):
            if total is not None:
                self.write(total - cost, added)

    def _load(self) -> Totals:
        try:
            total, added, checksum = _NUMBERS.unpack(_read(self._file, _NUMBERS.size))
        except FileNotFoundError:
            return (0 if self._is_empty() else None), 0
        except struct.error:
            return None, 0
        return (total if checksum == numbers_checksum(total, added) else None), added


class DurableCounter:
    """A number that only grows. It begins anew where its file was lost, or is torn."""

    def __init__(self, file: Path, locks: Locks) -> None:
        """Use a file, which is made when first needed."""
        self._file = file
        self._locks = locks

    def increase(self) -> None:
        """Add one.

        Raises:
            OSError: it cannot be written, or another process holds the lock.
        """
        with self._locks.held(self._file.name, _WAIT_SECONDS) as mine:
            if not mine:
                raise BlockingIOError(errno.EWOULDBLOCK, "the number is locked")
            number = self.read() + 1
            write_in_place(self._file, _NUMBER.pack(number, numbers_checksum(number)))

    def read(self) -> int:
        """Return the number.

        Raises:
            OSError: it cannot be read.
        """
        try:
            number, checksum = _NUMBER.unpack(_read(self._file, _NUMBER.size))
        except (FileNotFoundError, struct.error):
            return 0
        return number if checksum == numbers_checksum(number) else 0


def _read(file: Path, size: int) -> bytes:
    """Read a file of always one length; of what is longer, one byte more."""
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, size + 1)
    finally:
        os.close(descriptor)


def write_in_place(file: Path, content: bytes) -> None:
    """Write a file of always one length over itself. The writer holds its lock, and what is torn
    will be counted anew.
    """
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        os.pwrite(descriptor, content, 0)
    finally:
        os.close(descriptor)


def numbers_checksum(*numbers: int) -> int:
    """Return a checksum of numbers, 32 bits."""
    return xxhash.xxh32_intdigest(" ".join(map(str, numbers)).encode())
