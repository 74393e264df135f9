"""A file in memory read part by part, each counted; and what is made of it."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from imgprocessor.errors import BrokenOriginal, OversizedOriginal

_MAX_READS = 131_072
"""A PNG of 50 MB in chunks of 8192 bytes, which libpng writes, takes 13,000; a read with what
belongs to it takes up to five microseconds.
"""

Part = bytes | memoryview
"""Bytes that are written anew, or as they are."""


@dataclass(frozen=True)
class Cleaned:
    """A picture's file without its metadata."""

    body: bytes
    is_animated: bool
    """Whether more is shown than one picture. Of such an original renditions have the first frame
    alone.
    """


class Cursor:
    """A way through a file that ends where the file does, or through a part of one, with the same
    count of reads.
    """

    def __init__(self, file: Part, reads: Iterator[int] | None = None) -> None:
        self.file = memoryview(file)
        self.place = 0
        self.reads = reads or itertools.count(1)

    @property
    def left(self) -> int:
        """How many bytes there are still."""
        return len(self.file) - self.place

    def take(self, count: int) -> memoryview:
        """Return the next bytes, all of them; nothing is copied.

        Raises:
            BrokenOriginal: there are fewer.
            OversizedOriginal: too many parts were read already.
        """
        begin = self.place
        self.place += count
        if self.place > len(self.file):
            raise BrokenOriginal("ends before its picture does")
        if next(self.reads) > _MAX_READS:
            raise OversizedOriginal(f"in more than {_MAX_READS} parts")
        return self.file[begin : self.place]
