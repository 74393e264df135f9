"""Uploads that are moved between a folder and a bucket, one by one, while both are in use."""

import heapq
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

from imgprocessor.storage.uploads.store import KeptUpload, Record, UploadNow, UploadStore

_Result = TypeVar("_Result")


class HandsOver(UploadStore, Protocol):
    """A store of which uploads can be taken for another one."""

    def hand_over(self, ident: str, keep: Callable[[], None]) -> None:
        """Take an upload out once `keep` has kept it elsewhere; nobody changes it here meanwhile.
        `clear` removes its files.

        Raises:
            OSError: it is still here.
        """


class TwoPlaces:
    """A folder of this node, and a bucket that all that is new goes to. What is in either is found,
    wherever it is moved to at this moment. Without a folder it is the bucket alone.
    """

    def __init__(self, folder: HandsOver, bucket: HandsOver) -> None:
        """Use two stores."""
        self.folder = folder
        self.bucket = bucket
        # What these two are about is only there for the bucket's sake.
        self.new_file, self.require_room = bucket.new_file, bucket.require_room
        self.forget, self.forget_all = bucket.forget, bucket.forget_all

    def __reduce__(self) -> tuple[type["TwoPlaces"], tuple[HandsOver, HandsOver]]:
        """Another process has stores of its own."""
        return type(self), (self.folder, self.bucket)

    def add(self, ident: str, file: Path, record: Record) -> bool:
        """Keep a file in the bucket, as `UploadStore.add` says."""
        if self.folder.find(ident) is not None:
            file.unlink(missing_ok=True)
            return False
        return self.bucket.add(ident, file, record)

    def find(self, ident: str) -> KeptUpload | None:
        """Return an upload, as `UploadStore.find` says."""
        return self._first_known(lambda store: store.find(ident))

    def now(self, ident: str) -> UploadNow | None:
        """Return an upload as it is, as `UploadStore.now` says."""
        return self._first_known(lambda store: store.now(ident))

    def was_removed(self, ident: str) -> bool:
        """Return whether there was one, as `UploadStore.was_removed` says."""
        return self.folder.was_removed(ident) or self.bucket.was_removed(ident)

    def open(self, ident: str) -> BinaryIO:
        """Open an upload's file, as `UploadStore.open` says."""
        return self._where_it_is(lambda store: store.open(ident))

    def change(self, ident: str, how: Callable[[Record], Record]) -> Record:
        """Change a record, as `UploadStore.change` says."""
        return self._where_it_is(lambda store: store.change(ident, how))

    def relative(self, ident: str) -> str | None:
        """Return where an upload is, as `UploadStore.relative` says."""
        in_folder = self.folder.find(ident) is not None
        return self.folder.relative(ident) if in_folder else self.bucket.relative(ident)

    def where(self, ident: str) -> str:
        """Return where an upload's file is, for people."""
        in_folder = self.folder.find(ident) is not None
        return self.folder.where(ident) if in_folder else self.bucket.where(ident)

    def keep(self, ident: str, name: str, body: bytes) -> None:
        """Keep what was made of an upload, as `UploadStore.keep` says."""
        self._where_it_is(lambda store: store.keep(ident, name, body))

    def kept(self, ident: str, name: str) -> bytes | None:
        """Return what was made of an upload, as `UploadStore.kept` says."""
        return self._first_known(lambda store: store.kept(ident, name))

    def take_out(self, ident: str) -> bool:
        """Take an upload out, as `UploadStore.take_out` says."""
        taken = self.folder.take_out(ident)
        taken = self.bucket.take_out(ident) or taken
        # It may have been moved there meanwhile; what is left of it in the bucket says nothing.
        return self.folder.take_out(ident) or taken

    def taken_out(self) -> Sequence[str]:
        """Return which uploads are taken out and not cleared, as `UploadStore.taken_out` says."""
        return sorted({*self.folder.taken_out(), *self.bucket.taken_out()})

    def clear(self, ident: str) -> None:
        """Remove the files of what was taken out, as `UploadStore.clear` says."""
        self.folder.clear(ident)
        self.bucket.clear(ident)

    def idents(self, left_out: Callable[[str], None] = lambda _: None) -> Iterator[str]:
        """Yield the idents of all uploads, as `UploadStore.idents` says."""
        merged = heapq.merge(self.folder.idents(), self.bucket.idents(left_out))
        return (ident for ident, _ in groupby(merged))

    def names(self, ident: str) -> Sequence[str]:
        """Return what is kept beside file and record, as `UploadStore.names` says."""
        return self._first_known(lambda store: store.names(ident) or None) or ()

    def strangers(self) -> Iterator[str]:
        """Yield what is of no upload, as `UploadStore.strangers` says."""
        yield from self.folder.strangers()
        yield from self.bucket.strangers()

    def sweep(self) -> None:
        """Remove what was left half done, as `UploadStore.sweep` says."""
        self.folder.sweep()
        self.bucket.sweep()

    def _first_known(self, ask: Callable[[UploadStore], _Result | None]) -> _Result | None:
        """Return what the first store says; the folder is asked again, since it may have been moved
        there meanwhile.
        """
        for store in (self.folder, self.bucket, self.folder):
            known = ask(store)
            if known is not None:
                return known
        return None

    def _where_it_is(self, do: Callable[[UploadStore], _Result]) -> _Result:
        """Do something in the store that has an upload."""
        for store in (self.folder, self.bucket):
            try:
                return do(store)
            except FileNotFoundError:
                continue
        return do(self.folder)


def move_upload(ident: str, source: HandsOver, target: HandsOver) -> bool:
    """Move an upload with all that was made of it; return whether it was there. It is compared
    before it goes.

    Raises:
        NoRoom, OSError: it is still where it was.
    """
    if source.find(ident) is None:
        return False
    source.hand_over(ident, lambda: _copy(ident, source, target))
    source.clear(ident)
    return True


def _copy(ident: str, source: UploadStore, target: UploadStore) -> None:
    for store in (source, target):
        store.forget(ident)  # or what is copied would be as old as a copy
    found = source.find(ident)
    if found is None:  # removed meanwhile
        return
    body = _body(source, ident)
    file = target.new_file()
    file.write_bytes(body)
    if not target.add(ident, file, found.record):
        # It was begun before, or the same bytes were handed in there.
        target.change(ident, lambda known: _with_sizes_of(known, found.record))
    for name in source.names(ident):
        made = source.kept(ident, name)
        if made is not None and target.kept(ident, name) is None:
            target.keep(ident, name, made)
    target.forget(ident)  # or a copy would be compared
    copied = target.find(ident)
    if copied is None or copied.record["sha256"] != found.record["sha256"]:
        raise OSError(f"{target.where(ident)} is another file than {source.where(ident)}")
    if _body(target, ident) != body:
        raise OSError(f"{target.where(ident)} is not what was written")


def _body(store: UploadStore, ident: str) -> bytes:
    with store.open(ident) as file:
        return file.read()


def _with_sizes_of(known: Record, record: Record) -> Record:
    return {**known, "sizes": list(dict.fromkeys([*known["sizes"], *record["sizes"]]))}
