"""What a folder has of an upload: its file, its record, and what was made of it."""

import errno
import hashlib
from collections.abc import Mapping
from pathlib import Path

from imgprocessor.storage.entry_format import checked
from imgprocessor.storage.eviction import scanned
from imgprocessor.storage.uploads.store import Damaged, KeptUpload

UPLOAD_FILE, UPLOAD_RECORD = "original", "record.json"


class UploadInFolder:
    """An upload as it is at this moment, as `UploadNow` says."""

    word = None

    def __init__(self, path: Path, found: KeptUpload) -> None:
        """Use a folder, and what was found in it."""
        self._path = path
        self._ident = found.ident
        self.record, self.size_bytes = found.record, found.size_bytes

    def body(self) -> bytes:
        """Return the file, as `UploadNow.body` says."""
        body = (self._path / UPLOAD_FILE).read_bytes()
        known = self.record.get("sha256")
        if known is not None and hashlib.sha256(body).hexdigest() != known:
            raise Damaged(errno.EIO, "is damaged", str(self._path / UPLOAD_FILE))
        return body

    def sizes(self) -> Mapping[str, str]:
        """Return the names of what was made of it, as `UploadNow.sizes` says."""
        return dict.fromkeys(made_in(self._path), "")

    def size(self, name: str) -> bytes:
        """Return what was made of it, as `UploadNow.size` says."""
        content = (self._path / name).read_bytes()
        body = checked(memoryview(content), entry_name(self._ident, name))
        if body is None:
            raise Damaged(errno.EIO, "is damaged", str(self._path / name))
        return bytes(body)


def made_in(path: Path) -> list[str]:
    """Return the names of what was made of an upload, in order; none where it is not there."""
    names = {entry.name for entry in scanned(path)}
    return sorted(names - {UPLOAD_FILE, UPLOAD_RECORD})


def entry_name(ident: str, name: str) -> bytes:
    """Return what the entry of something is called that was made of an upload."""
    return f"{ident}\0{name}".encode()
