"""An outbox: notes of uploads that were changed, and are to be copied.

Each change leaves a note of its own before it is made, and says in another one when it is. Whoever
copies an upload lists its notes first, and removes just those of changes that were made by then: a
change that is made later would have no note. One that nothing was heard of for minutes is over,
too: its process was killed.
"""

import contextlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from imgprocessor.storage.eviction import folders_in, scanned
from imgprocessor.storage.uploads.durable import settle, write_new
from imgprocessor.storage.uploads.store import UPLOAD_IDENT

if TYPE_CHECKING:  # it needs the extra
    from imgprocessor.storage.shared.bucket import Bucket

_PART = 2
_BEGUN = ".begun"
_REMOVAL = "removal-"


class Note(NamedTuple):
    """One that is there."""

    ident: str
    word: str
    """Of one change."""
    is_done: bool
    """Whether it says that the change was made."""
    is_removal: bool
    where: str
    left_seconds: float
    """Since 1970, by the clock of where it lies."""


class Outbox(Protocol):
    """Keeps notes; what it took is there after any failure. All of it raises OSError."""

    def leave(self, ident: str, *, is_removal: bool = False) -> str:
        """Leave a note of a change that is to be made; return its word."""

    def done(self, ident: str, word: str) -> None:
        """Say that a change was made."""

    def of(self, ident: str) -> Sequence[Note]:
        """Return the notes of an upload."""

    def notes(self, most: int) -> Sequence[Note]:
        """Return notes, no more than so many."""

    def remove(self, notes: Sequence[Note]) -> None:
        """Remove notes, be they there or not."""


class OutboxInFolder:
    """An outbox in a folder of this node: `copying/ab/IDENT.WORD.begun`, and without that ending
    once it is done.
    """

    def __init__(self, folder: Path) -> None:
        """Use a folder, in which another one is made when first needed."""
        self._folder = folder / "copying"

    def __reduce__(self) -> tuple[Callable[[Path], "OutboxInFolder"], tuple[Path]]:
        """Another process has one with the same notes."""
        return type(self), (self._folder.parent,)

    def leave(self, ident: str, *, is_removal: bool = False) -> str:
        """Leave a note, as `Outbox.leave` says."""
        part, word = self._folder / ident[:_PART], _word(is_removal=is_removal)
        if not part.is_dir():
            part.mkdir(parents=True, exist_ok=True)
            settle(self._folder)
            settle(self._folder.parent)
        write_new(part / f"{ident}.{word}{_BEGUN}", b"")
        settle(part)
        return word

    def done(self, ident: str, word: str) -> None:
        """Say that a change was made, as `Outbox.done` says."""
        part = self._folder / ident[:_PART]
        (part / f"{ident}.{word}{_BEGUN}").rename(part / f"{ident}.{word}")
        settle(part)

    def of(self, ident: str) -> Sequence[Note]:
        """Return an upload's notes, as `Outbox.of` says."""
        part = self._folder / ident[:_PART]
        return [note for note in _notes_in(part) if note.ident == ident]

    def notes(self, most: int) -> Sequence[Note]:
        """Return notes, as `Outbox.notes` says."""
        every = (note for part in sorted(folders_in(self._folder)) for note in _notes_in(part))
        return list(islice(every, most))

    def remove(self, notes: Sequence[Note]) -> None:
        """Remove notes, as `Outbox.remove` says."""
        for note in notes:
            Path(note.where).unlink(missing_ok=True)


def _notes_in(folder: str | Path) -> Iterator[Note]:
    for entry in scanned(folder):
        with contextlib.suppress(FileNotFoundError):
            yield from _read(entry.name, ".", entry.path, entry.stat().st_mtime)


class OutboxInBucket:
    """An outbox in a bucket, for all nodes: `copying/IDENT/WORD.begun`, and one without that ending
    once it is done.
    """

    def __init__(self, bucket: "Bucket") -> None:
        """Use a place, in which uploads are."""
        self._bucket = bucket

    def leave(self, ident: str, *, is_removal: bool = False) -> str:
        """Leave a note, as `Outbox.leave` says."""
        word = _word(is_removal=is_removal)
        self._bucket.put(f"copying/{ident}/{word}{_BEGUN}", b"begun")
        return word

    def done(self, ident: str, word: str) -> None:
        """Say that a change was made, as `Outbox.done` says."""
        self._bucket.put(f"copying/{ident}/{word}", b"done")

    def of(self, ident: str) -> Sequence[Note]:
        """Return an upload's notes, as `Outbox.of` says."""
        return list(self._listed(f"copying/{ident}"))

    def notes(self, most: int) -> Sequence[Note]:
        """Return notes, as `Outbox.notes` says."""
        return list(islice(self._listed("copying"), most))

    def remove(self, notes: Sequence[Note]) -> None:
        """Remove notes, as `Outbox.remove` says."""
        for note in notes:
            self._bucket.remove(note.where)

    def _listed(self, folder: str) -> Iterator[Note]:
        for found in self._bucket.listed(folder):
            name = found.key.removeprefix("copying/")
            yield from _read(name, "/", found.key, found.version.modified_seconds)


def _read(name: str, separator: str, where: str, left_seconds: float) -> Iterator[Note]:
    ident, _, word = name.partition(separator)
    if UPLOAD_IDENT.fullmatch(ident):
        is_done, is_removal = not word.endswith(_BEGUN), word.startswith(_REMOVAL)
        yield Note(ident, word.removesuffix(_BEGUN), is_done, is_removal, where, left_seconds)


def _word(*, is_removal: bool) -> str:
    return f"{_REMOVAL if is_removal else ''}{secrets.token_hex(8)}"
