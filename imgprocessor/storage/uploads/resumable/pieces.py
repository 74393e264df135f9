"""Uploads that arrive in pieces: what is known of one, and what keeps them."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from imgprocessor.errors import BadQuery, UploadOver

UPLOAD_ID = re.compile("[0-9a-f]{32}")

Outcome = dict[str, Any]
"""What became of an upload, as JSON has it. This floor reads nothing in it."""


def filled(new_file: Callable[[], Path], fill: Callable[[Path], str]) -> tuple[Path, str]:
    """Have a new file filled; return it and what `fill` says of it. Nothing is left of one that
    cannot be filled.
    """
    file = new_file()
    try:
        return file, fill(file)
    except BaseException:
        file.unlink(missing_ok=True)
        raise


@dataclass(frozen=True)
class PieceByPiece:
    """An upload that arrives in pieces."""

    length_bytes: int
    """When it is whole."""
    offset_bytes: int
    """How much of it arrived."""
    metadata: str
    """As the client wrote it."""
    by: str
    """Who began it."""
    expires_seconds: float
    """Since 1970: when it is removed, or forgotten, unless something arrives."""
    outcome: Outcome | None
    """Of one that was finished."""


@dataclass(frozen=True)
class UnfinishedInfo:
    """What is known of one from the beginning, and stays."""

    length_bytes: int
    metadata: str
    by: str


class UnfinishedUploads(Protocol):
    """Keeps unfinished uploads by their ids."""

    def begin(self, length_bytes: int, metadata: str, by: str) -> str:
        """Begin an upload; return its id.

        Raises:
            NoRoom: a bound of unfinished uploads is reached.
            OSError: it cannot be begun.
        """

    def find(self, upload: str) -> PieceByPiece:
        """Return how an upload stands.

        Raises:
            NoSuchUpload: there never was one with that id, or that was forgotten.
            UploadOver: it was ended, or not gone on with in time.
            OSError: nobody knows at this moment.
        """

    def write(self, upload: str, offset: int, size_bytes: int, parts: Iterable[bytes]) -> int:
        """Write a piece as it arrives, and return where it ends. What arrived is kept, whatever
        `parts` raises; what is told outlives any failure.

        Args:
            upload: its id.
            offset: where the piece begins.
            size_bytes: what `parts` will be, all together.
            parts: bytes of the piece; it may wait for them.

        Raises:
            NoSuchUpload, UploadOver: as `find` does.
            WrongOffset: what arrived so far ends elsewhere, or a newer request goes on with it.
            BadQuery: the piece is longer than what is left.
            NoRoom: there is no room for it.
            OSError: it cannot be written.
        """

    def finish(
        self, upload: str, new_file: Callable[[], Path], accept: Callable[[Path, str], Outcome]
    ) -> Outcome:
        """Have a whole upload accepted, unless it was already; return what became of it.

        Args:
            upload: its id.
            new_file: says where a copy may be put, which is then `accept`'s.
            accept: takes the copy and its SHA-256, 64 hexadecimal digits. What it raises is not
                remembered, so that another trial begins anew. It may be called twice for one
                upload, where a process dies in between, or two nodes are at it.

        Raises:
            NoSuchUpload, UploadOver: as `find` does.
            WrongOffset: it is not whole.
            NoRoom: the disk is nearly full.
            Busy: another request is at it, and takes long.
            OSError: it cannot be copied, or what became of it cannot be kept.
        """

    def end(self, upload: str) -> None:
        """End an upload: nothing is left of it but that.

        Raises:
            NoSuchUpload, UploadOver: as `find` does; it is over, too, where it was finished.
            Busy: it is being checked.
            OSError: it cannot be ended.
        """

    def count(self) -> tuple[int, int]:
        """Return how many are unfinished, and the bytes they will have, all together.

        Raises:
            OSError: nobody knows at this moment.
        """

    def sweep(self) -> None:
        """Remove what nobody went on with in time, and forget what was over for as long.

        Raises:
            OSError: something cannot be removed.
        """


def require_piece(length_bytes: int, outcome: Outcome | None, offset: int, size_bytes: int) -> None:
    """Look whether a piece may belong to an upload; to a finished one only one without bytes does.

    Raises:
        UploadOver: it is finished.
        BadQuery: the piece is longer than what is left.
    """
    if outcome is not None and (offset, size_bytes) != (length_bytes, 0):
        raise UploadOver
    if offset + size_bytes > length_bytes:
        left = max(0, length_bytes - offset)
        raise BadQuery([f"the piece must have no more than the {left} bytes that are left"])
