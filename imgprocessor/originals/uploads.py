"""Uploads as originals: `IDENT.jpg`, whatever format it is in; its bytes never change."""

import contextlib
import re
from collections.abc import Iterator
from typing import BinaryIO, Protocol

from imgprocessor.errors import NoSuchUpload, NotFound, OriginalsUnavailable
from imgprocessor.originals.source import Original
from imgprocessor.request.shorthands import UPLOAD
from imgprocessor.storage.uploads.store import KeptUpload

_SUFFIX = ".jpg"
_PREFIX = "upload:"
_VERSION_DIGITS = 16


class Uploaded(Protocol):
    """The part of a store of uploads that reads."""

    def find(self, ident: str) -> KeptUpload | None:
        """Return an upload, as `UploadStore.find` does."""

    def open(self, ident: str) -> BinaryIO:
        """Open an upload's file, as `UploadStore.open` does."""

    def forget(self, ident: str) -> int:
        """Remove local copies, as `UploadStore.forget` does."""

    def forget_all(self) -> int:
        """Remove all local copies, as `UploadStore.forget_all` does."""


def ident_of(name: str) -> str | None:
    """Return the ident in a name; None where no upload may be called so."""
    return name.removesuffix(_SUFFIX) if re.fullmatch(UPLOAD, name) else None


def upload_name(ident: str) -> str:
    """Return what an upload is called, as an original."""
    return f"{ident}{_SUFFIX}"


def original_id(ident: str) -> str:
    """Return the id of an upload, as an original."""
    return f"{_PREFIX}{ident}"


class UploadedOriginals:
    """Uploads, found by their names."""

    def __init__(self, store: Uploaded) -> None:
        self._store = store

    def find(self, name: str) -> Original:
        """Size up an upload, as `Source.find` says.

        Raises:
            NoSuchUpload: there is none.
            NotFound: no upload may be called so.
            OriginalsUnavailable: nobody knows at this moment.
        """
        ident = _required(name)
        try:
            found = self._store.find(ident)
        except OSError as error:
            raise OriginalsUnavailable(f"upload {ident}: {error}") from error
        if found is None:
            raise NoSuchUpload(f"no upload {ident}")
        record = found.record
        try:
            return Original(
                self,
                original_id(ident),
                record["sha256"][:_VERSION_DIGITS],
                found.size_bytes,
                record["uploaded_ns"],
                sizes=tuple(record["sizes"]),
            )
        except (KeyError, TypeError) as error:
            raise OriginalsUnavailable(f"upload {ident}: its record is damaged") from error

    def id_of(self, name: str) -> str:
        """Return the id of an upload, be it there or not.

        Raises:
            NotFound: no upload may be called so.
        """
        return original_id(_required(name))

    def shared_id(self, original_id: str) -> str:
        """Return the id itself."""
        return original_id

    @contextlib.contextmanager
    def open(self, original: Original) -> Iterator[tuple[BinaryIO, Original]]:
        """Open an upload, as `Source.open` says.

        Raises:
            NoSuchUpload: it was removed.
            OriginalsUnavailable: it cannot be read.
        """
        ident = original.id.removeprefix(_PREFIX)
        # Removed and handed in again, it may be kept with more of its metadata, or less.
        really = self.find(upload_name(ident))
        try:
            file = self._store.open(ident)
        except FileNotFoundError as error:
            raise NoSuchUpload(f"no upload {ident}") from error
        except OSError as error:
            raise OriginalsUnavailable(f"upload {ident}: {error}") from error
        with file:
            yield file, really

    def forget(self, name: str) -> int:
        """Remove local copies: what was uploaded is kept. Raises as `Source.forget` does."""
        return self._store.forget(_required(name))

    def forget_all(self) -> int:
        """Remove all local copies. Raises as `Source.forget_all` does."""
        return self._store.forget_all()


def _required(name: str) -> str:
    ident = ident_of(name)
    if ident is None:
        raise NotFound(f"{name!r} is no name of an upload")
    return ident
