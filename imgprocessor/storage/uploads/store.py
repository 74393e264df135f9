"""Where uploads are kept for good: for each a file, a record, and what was made of it and stays."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

Record = dict[str, Any]
"""What is known of an upload, as JSON has it. This floor reads nothing in it."""

UPLOAD_IDENT = re.compile("[0-9a-f]{32}")


class Postponed(OSError):
    """What was asked for cannot be done now; it is noted, and will be done."""


class Damaged(OSError):
    """What is there are not the bytes that were kept, or they are lost."""


@dataclass(frozen=True)
class KeptUpload:
    """An upload that is there."""

    ident: str
    record: Record
    size_bytes: int
    """Of the file."""


class UploadNow(Protocol):
    """An upload as it is at this moment: whatever is asked for is read anew, and looked at."""

    @property
    def record(self) -> Record:
        """What is known of it."""

    @property
    def size_bytes(self) -> int:
        """Of the file."""

    @property
    def word(self) -> str | None:
        """What tells it from what was handed in by the same ident before; None where nothing does
        so.
        """

    def body(self) -> bytes:
        """Return its file.

        Raises:
            Damaged: it is damaged.
            FileNotFoundError: it is removed at this moment, or lost.
            OSError: it cannot be read.
        """

    def sizes(self) -> Mapping[str, str]:
        """Return the names of what was made of it, each with the ETag that it has in a bucket, or
        else "". Raises as `body` does.
        """

    def size(self, name: str) -> bytes:
        """Return what was made of it. Raises as `body` does."""


class UploadStore(Protocol):
    """Keeps uploads by their idents. What it said that it keeps is there after any failure."""

    def new_file(self) -> Path:
        """Return a path for a file on its way in, on the same disk; whoever takes it writes it, and
        hands it over or removes it. What is left there by a process that was killed is swept.
        """

    def require_room(self, size_bytes: int) -> None:
        """Look whether so many bytes more would be kept.

        Raises:
            NoRoom: they would not.
            OSError: nobody knows at this moment.
        """

    def add(self, ident: str, file: Path, record: Record) -> bool:
        """Keep a file that lies where `new_file` said; return whether it is new. What is there
        already stays as it is, and the file is removed.

        Raises:
            OSError: it is not kept.
        """

    def find(self, ident: str) -> KeptUpload | None:
        """Return an upload; None where there is none.

        Raises:
            OSError: nobody knows at this moment.
        """

    def now(self, ident: str) -> UploadNow | None:
        """Return an upload as it is at this moment, whatever was known of it a moment ago; None
        where there is none.

        Raises:
            OSError: nobody knows at this moment.
        """

    def was_removed(self, ident: str) -> bool:
        """Return whether it is known that there was an upload, which was removed: where nothing is
        known, it may be lost.

        Raises:
            OSError: nobody knows at this moment.
        """

    def open(self, ident: str) -> BinaryIO:
        """Open an upload's file.

        Raises:
            FileNotFoundError: there is none.
            OSError: it cannot be read.
        """

    def change(self, ident: str, how: Callable[[Record], Record]) -> Record:
        """Change an upload's record, and return it as it is then. `how` returns another record; it
        is called again where somebody else was first, and what it raises changes nothing.

        Raises:
            FileNotFoundError: there is none.
            OSError: it is not kept.
        """

    def relative(self, ident: str) -> str | None:
        """Return where an upload's file is under `[uploads] folder`; None where that is not."""

    def where(self, ident: str) -> str:
        """Return where an upload's file is, for people."""

    def forget(self, ident: str) -> int:
        """Remove what is here of an upload only because it was asked for; return how many files.

        Raises:
            OSError: it cannot be removed.
        """

    def forget_all(self) -> int:
        """Remove all that is here only because it was asked for. Returns and raises as `forget`
        does.
        """

    def keep(self, ident: str, name: str, body: bytes) -> None:
        """Keep something that was made of an upload, instead of what had the name before.

        Raises:
            FileNotFoundError: there is no such upload any more.
            OSError: it is not kept.
        """

    def kept(self, ident: str, name: str) -> bytes | None:
        """Return what was made of an upload, whole; None where it is not there, or is damaged.

        Raises:
            OSError: nobody knows at this moment.
        """

    def take_out(self, ident: str) -> bool:
        """Have an upload found by nobody any more, with all that was made of it; return whether
        there was one, or there are files of one that was taken out before. `clear` removes them.

        Raises:
            Postponed: it is found here no more, and `sweep` will take it out.
            OSError: it is still there.
        """

    def taken_out(self) -> Sequence[str]:
        """Return the idents of uploads that were taken out and not cleared yet.

        Raises:
            OSError: nobody knows at this moment.
        """

    def clear(self, ident: str) -> None:
        """Remove the files of what was taken out by this ident.

        Raises:
            OSError: something is left.
        """

    def idents(self, left_out: Callable[[str], None] = lambda _: None) -> Iterator[str]:
        """Yield the idents of all uploads, in order; what comes or goes meanwhile is among them or
        not. `left_out` is told the keys of objects among them that cannot be asked for.
        """

    def names(self, ident: str) -> Sequence[str]:
        """Return the names of all that is kept of an upload beside its file and its record, in
        order; none where there is no such upload.

        Raises:
            OSError: nobody knows at this moment.
        """

    def strangers(self) -> Iterator[str]:
        """Yield where something lies among the uploads that is of none; nobody removes it.

        Raises:
            OSError: nobody knows at this moment.
        """

    def sweep(self) -> None:
        """Remove what was left half done by processes that were killed; count anew.

        Raises:
            OSError: something cannot be removed.
        """
