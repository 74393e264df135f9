"""Uploads that are copied to a replica, and read from there while their first place fails."""

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

from imgprocessor.storage.uploads.replication.replication import Replication
from imgprocessor.storage.uploads.store import UPLOAD_IDENT, KeptUpload, Record, UploadStore

_Result = TypeVar("_Result")


class Replicated:
    """A place of uploads with a replica. Each change leaves a note before it is made; copying waits
    for nobody, and nobody waits for it.
    """

    def __init__(self, replication: Replication) -> None:
        """Keep uploads where replication copies from."""
        self._replication = replication
        self.first = replication.first
        self._replica = replication.replica
        first = self.first
        # These have nothing to do with a copy.
        self.new_file, self.require_room = first.new_file, first.require_room
        self.relative, self.where = first.relative, first.where
        self.now, self.was_removed = first.now, first.was_removed
        self.idents, self.names = first.idents, first.names
        self.taken_out, self.clear = first.taken_out, first.clear
        self.strangers = first.strangers

    def __reduce__(self) -> tuple[type["Replicated"], tuple[Replication]]:
        """Another process has stores of its own."""
        return type(self), (self._replication,)

    def add(self, ident: str, file: Path, record: Record) -> bool:
        """Keep a file, as `UploadStore.add` says."""
        try:
            with self._replication.noted(ident):
                return self.first.add(ident, file, record)
        finally:
            file.unlink(missing_ok=True)

    def find(self, ident: str) -> KeptUpload | None:
        """Return an upload, as `UploadStore.find` says."""
        return self._read(lambda store: store.find(ident))

    def open(self, ident: str) -> BinaryIO:
        """Open an upload's file, as `UploadStore.open` says."""
        try:
            return self._read(lambda store: store.open(ident))
        except FileNotFoundError:
            if self.find(ident) is None:
                raise
            return self._replica.open(ident)  # in the first place it is lost

    def change(self, ident: str, how: Callable[[Record], Record]) -> Record:
        """Change a record, as `UploadStore.change` says."""

        def noted(record: Record) -> Record:
            changed = how(record)
            if changed != record and not words:  # it may be called again
                words.append(self._replication.leave(ident))
            return changed

        words: list[str] = []
        changed = self.first.change(ident, noted)
        for word in words:
            self._replication.done(ident, word)
        return changed

    def keep(self, ident: str, name: str, body: bytes) -> None:
        """Keep what was made of an upload, as `UploadStore.keep` says."""
        with self._replication.noted(ident):
            self.first.keep(ident, name, body)

    def kept(self, ident: str, name: str) -> bytes | None:
        """Return what was made of an upload, as `UploadStore.kept` says."""
        return self._read(lambda store: store.kept(ident, name))

    def take_out(self, ident: str) -> bool:
        """Take an upload out, as `UploadStore.take_out` says."""
        if not UPLOAD_IDENT.fullmatch(ident):
            return False
        try:
            return self._replication.noted_removal(ident, self.first.take_out)
        finally:  # also where it is postponed
            self._replication.remove_soon(ident)

    def forget(self, ident: str) -> int:
        """Remove local copies, as `UploadStore.forget` says."""
        return self.first.forget(ident) + self._replica.forget(ident)

    def forget_all(self) -> int:
        """Remove all local copies, as `UploadStore.forget_all` says."""
        return self.first.forget_all() + self._replica.forget_all()

    def sweep(self) -> None:
        """Remove what was left half done, as `UploadStore.sweep` says; send what was noted of
        removals that are done by then.
        """
        unsent = self._replication.unsent()
        self.first.sweep()
        self._replication.send(unsent)

    def _read(self, ask: Callable[[UploadStore], _Result]) -> _Result:
        """Return what the first place says; where it fails, the replica, if that has anything."""
        try:
            return ask(self.first)
        except FileNotFoundError:
            raise
        except OSError as error:
            try:
                found = ask(self._replica)
            except OSError:
                found = None
            if found is None:
                raise error from None
            return found
