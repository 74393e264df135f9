"""How many bytes are kept: one small file that all processes share.

What is counted is never less than what is on the disk. It may be more, after a process was killed,
until all is counted anew.
"""

import contextlib
import errno
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import xxhash

from imgprocessor.gate import Gate

_NUMBERS = struct.Struct("<qqI")
"""Bytes that are kept, bytes that were ever added, a checksum of both."""

_WAIT_SECONDS = 1.0
"""For the lock, which everybody holds for microseconds."""


class Totals:
    """The file, and the lock that stands for it."""

    def __init__(self, file: Path, gate: Gate, *, is_empty: Callable[[], bool]) -> None:
        """Use a file; where it is not there, `is_empty` says whether there is nothing to count."""
        self._file = file
        self._gate = gate
        self._is_empty = is_empty

    @contextlib.contextmanager
    def locked(self) -> Iterator[tuple[int | None, int]]:
        """Lock the totals; yield the bytes kept, None where nobody knows, and those ever added.

        Raises:
            OSError: somebody else holds the lock, or it cannot be had.
        """
        with self._gate.held("totals", _WAIT_SECONDS) as mine:
            if not mine:
                raise BlockingIOError(errno.EWOULDBLOCK, "the totals are locked")
            yield self._read()

    def write(self, total: int, added: int) -> None:
        """Write both down; only inside `locked`."""
        # In place: whoever writes holds the lock, and what is torn will be counted anew.
        content = _NUMBERS.pack(total, added, _checksum(total, added))
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            os.pwrite(descriptor, content, 0)
        finally:
            os.close(descriptor)

    def subtract(self, cost: int) -> None:
        """Count so many bytes less, which were removed.

        Raises:
            OSError: as `locked` does.
        """
        with self.locked() as (total, added):
            if total is not None:
                self.write(total - cost, added)

    def _read(self) -> tuple[int | None, int]:
        try:
            total, added, checksum = _NUMBERS.unpack(self._file.read_bytes())
        except FileNotFoundError:
            return (0 if self._is_empty() else None), 0
        except struct.error:
            return None, 0
        return (total if checksum == _checksum(total, added) else None), added


def _checksum(total: int, added: int) -> int:
    return xxhash.xxh32_intdigest(f"{total} {added}".encode())
