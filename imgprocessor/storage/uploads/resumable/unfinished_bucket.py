"""Uploads that arrive in pieces, in a bucket: any node goes on with them.

`unfinished/ID/` has what is known of one (`info.LENGTH`), its pieces, each called by where it
begins, and which request goes on with it (`claim`). A piece is written where there is none, so that
bytes of two requests never mix. `over/ID` has what became of it.
"""

import contextlib
import errno
import hashlib
import json
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from imgprocessor.config.upload_settings import UploadsSettings
from imgprocessor.errors import BadQuery, Busy, NoRoom, NoSuchUpload, UploadOver, WrongOffset
from imgprocessor.storage.locks import Locks
from imgprocessor.storage.shared.bucket import Bucket, Content, StoredObject
from imgprocessor.storage.shared.failures import Conflict
from imgprocessor.storage.uploads.durable import require_free, told_of_a_full_disk
from imgprocessor.storage.uploads.resumable.pieces import (
    UPLOAD_ID,
    Outcome,
    PieceByPiece,
    UnfinishedInfo,
    filled,
    require_piece,
)

_INFO = re.compile(r"info\.([0-9]{1,18})")
_PIECE = re.compile("[0-9]{20}")

_PIECE_BYTES = 8_000_000
"""So much of a request is written at once, and as much of it a process that is killed loses."""

INFO_SECONDS = 3.0
PIECE_SECONDS = 30.0
"""For requests to the bucket: about what is small, and to write or read one piece."""

_MAX_PIECES = 2000
"""Each costs a request when it comes, and one more when the upload is whole."""

_CLAIM_BYTES = 16
_MAX_INFO_BYTES = 1_000_000

_WAIT_SECONDS = 10.0
"""For the lock of whoever begins an upload."""
_FINISH_SECONDS = 60.0
"""For another request of this node that has the same upload checked."""


class _Damaged(OSError):
    """What is known of an upload cannot be read."""


class _Arrived(NamedTuple):
    """What lies in the bucket of an unfinished upload."""

    info: StoredObject | None
    length_bytes: int
    pieces: list[StoredObject]
    """In order."""
    modified_seconds: float
    """When something arrived last, by the bucket's clock."""

    @property
    def offset_bytes(self) -> int:
        """Where the last piece ends."""
        return sum(piece.version.size_bytes for piece in self.pieces)


class UnfinishedInBucket:
    """The unfinished uploads of all nodes. Bounds are counted by each node for itself: two that
    begin uploads at the same moment may go beyond one.
    """

    def __init__(
        self,
        small: Bucket,
        large: Bucket,
        folder: Path,
        settings: UploadsSettings,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Use a place in a bucket, asked for what is small and for pieces, and a folder of this
        node for locks; copies of what is whole lie on the same disk.
        """
        self._bucket = small
        self._large = large
        self._folder = folder
        self._settings = settings
        self._clock = clock
        self._locks = Locks(folder / "locks")

    def begin(self, length_bytes: int, metadata: str, by: str) -> str:
        """Begin an upload, as `UnfinishedUploads.begin` says."""
        upload = secrets.token_hex(16)
        info = UnfinishedInfo(length_bytes, metadata, by)
        with told_of_a_full_disk(), self._locks.alone("begin", _WAIT_SECONDS):
            self._require_room(length_bytes)
            key = f"unfinished/{upload}/info.{length_bytes}"
            self._bucket.put_new(key, json.dumps(vars(info)).encode())
        return upload

    def find(self, upload: str) -> PieceByPiece:
        """Return how an upload stands, as `UnfinishedUploads.find` says."""
        if not UPLOAD_ID.fullmatch(upload):
            raise NoSuchUpload("no id of an upload")
        known = self._over(upload)
        if known is None:
            arrived = _arrived(self._listed(upload))
            if arrived.info is not None:
                with contextlib.suppress(FileNotFoundError):
                    info = _info(_json(self._got(arrived.info.key)))
                    return self._standing(
                        info, arrived.offset_bytes, arrived.modified_seconds, None
                    )
            known = self._over(upload)  # finished meanwhile
        if known is None:
            raise NoSuchUpload(f"no unfinished upload {upload}")
        over = _json(known)
        if over["outcome"] is None:
            raise UploadOver
        info = _info(over["info"])
        when = known.version.modified_seconds
        return self._standing(info, info.length_bytes, when, over["outcome"])

    def write(self, upload: str, offset: int, size_bytes: int, parts: Iterable[bytes]) -> int:
        """Write a piece as it arrives, as `UnfinishedUploads.write` says. A process that is killed
        loses what it has not written yet.
        """
        found = self.find(upload)
        require_piece(found.length_bytes, found.outcome, offset, size_bytes)
        if found.outcome is not None:
            return offset
        _require_offset(found.offset_bytes, offset)
        with told_of_a_full_disk():
            claim = secrets.token_bytes(_CLAIM_BYTES)
            self._bucket.put(_claim_key(upload), claim)
            # Who has seen this claim writes nothing any more.
            arrived = _arrived(self._listed(upload))
            _require_offset(arrived.offset_bytes, offset)
            if len(arrived.pieces) >= _MAX_PIECES:
                raise BadQuery([f"it came in {_MAX_PIECES} pieces already: send larger ones"])
            for piece in _collected(parts):
                self._require_claim(upload, claim)
                try:
                    self._large.put_new(f"unfinished/{upload}/{offset:020}", piece)
                except Conflict as error:
                    raise WrongOffset("another request was first") from error
                offset += len(piece)
        return offset

    def finish(
        self, upload: str, new_file: Callable[[], Path], accept: Callable[[Path, str], Outcome]
    ) -> Outcome:
        """Have a whole upload accepted, as `UnfinishedUploads.finish` says."""
        with self._finishing(upload):
            found = self.find(upload)
            if found.outcome is not None:
                return found.outcome
            _require_offset(found.offset_bytes, found.length_bytes)
            require_free(self._made(), found.length_bytes, self._settings.min_free_bytes)
            with told_of_a_full_disk():
                copy, sha256 = filled(
                    new_file, lambda file: self._joined(upload, file, found.length_bytes)
                )
            outcome = accept(copy, sha256)
            return self._closed(upload, found, outcome)

    def end(self, upload: str) -> None:
        """End an upload, as `UnfinishedUploads.end` says."""
        with self._finishing(upload):
            found = self.find(upload)
            if found.outcome is not None:
                raise UploadOver
            with contextlib.suppress(UploadOver):  # another node has ended it, too
                self._closed(upload, found, None)

    def count(self) -> tuple[int, int]:
        """Return how many there are, as `UnfinishedUploads.count` says."""
        lengths = [one.length_bytes for _, one in self._all() if one.info is not None]
        return len(lengths), sum(lengths)

    def sweep(self) -> None:
        """Remove what nobody went on with, as `UnfinishedUploads.sweep` says."""
        over = {found.key.rpartition("/")[2]: found for found in self._bucket.listed("over")}
        for found in over.values():
            if self._is_expired(found.version.modified_seconds):
                self._bucket.remove(found.key)
        for upload, arrived in list(self._all()):
            if upload in over:
                self._remove(upload)
            elif self._is_expired(arrived.modified_seconds):
                with contextlib.suppress(NoSuchUpload, UploadOver, Busy, _Damaged):
                    self._sweep_one(upload)

    def _sweep_one(self, upload: str) -> None:
        with self._finishing(upload, 0):
            try:
                found = self.find(upload)
            except NoSuchUpload:  # pieces that came when it was over
                self._remove(upload)
                return
            if found.outcome is None and found.expires_seconds < self._clock():
                self._closed(upload, found, None)

    def _closed(self, upload: str, found: PieceByPiece, outcome: Outcome | None) -> Outcome:
        """Keep what became of an upload, then remove its pieces; return what became of it, which
        is another node's word where that was first.

        Raises:
            UploadOver: it was ended.
        """
        info = UnfinishedInfo(found.length_bytes, found.metadata, found.by)
        content = json.dumps({"info": vars(info), "outcome": outcome}).encode()
        with told_of_a_full_disk():
            try:
                self._bucket.put_new(f"over/{upload}", content)
            except Conflict:
                known = self._over(upload)
                outcome = None if known is None else _json(known)["outcome"]
            self._remove(upload)
        if outcome is None:
            raise UploadOver
        return outcome

    def _remove(self, upload: str) -> None:
        # Whoever still sends something sees first that nobody is to go on.
        self._bucket.remove(_claim_key(upload))
        for found in self._listed(upload):
            self._bucket.remove(found.key)

    def _over(self, upload: str) -> Content | None:
        with contextlib.suppress(FileNotFoundError):
            return self._got(f"over/{upload}")
        return None

    def _got(self, key: str) -> Content | None:
        return self._bucket.get(key, max_bytes=_MAX_INFO_BYTES)

    def _standing(
        self, info: UnfinishedInfo, offset: int, modified_seconds: float, outcome: Outcome | None
    ) -> PieceByPiece:
        expires = modified_seconds + self._settings.unfinished_seconds
        return PieceByPiece(info.length_bytes, offset, info.metadata, info.by, expires, outcome)

    def _require_claim(self, upload: str, claim: bytes) -> None:
        try:
            got = self._got(_claim_key(upload))
        except FileNotFoundError as error:
            raise UploadOver from error
        if got is None or got.body != claim:
            raise WrongOffset("a newer request goes on with it")

    def _joined(self, upload: str, copy: Path, length_bytes: int) -> str:
        """Write all pieces into one file; return its SHA-256.

        Raises:
            WrongOffset: another node is removing them.
        """
        digest = hashlib.sha256()
        with copy.open("xb") as target:
            for piece in _arrived(self._listed(upload)).pieces:
                got = self._large.get(piece.key, max_bytes=piece.version.size_bytes)
                body = b"" if got is None else got.body
                digest.update(body)
                target.write(body)
            _require_offset(target.tell(), length_bytes)
        return digest.hexdigest()

    def _require_room(self, length_bytes: int) -> None:
        count, declared = self.count()
        if count >= self._settings.max_unfinished:
            raise NoRoom("[uploads] max_unfinished is reached")
        if declared + length_bytes > self._settings.max_unfinished_bytes:
            raise NoRoom("[uploads] max_unfinished_bytes is reached")
        require_free(self._made(), length_bytes, self._settings.min_free_bytes)

    def _made(self) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder

    def _listed(self, upload: str) -> list[StoredObject]:
        return list(self._bucket.listed(f"unfinished/{upload}"))

    def _all(self) -> Iterator[tuple[str, _Arrived]]:
        listed = self._bucket.listed("unfinished")
        for upload, found in groupby(listed, lambda found: found.key.split("/")[1]):
            yield upload, _arrived(list(found))

    @contextlib.contextmanager
    def _finishing(self, upload: str, wait_seconds: float = _FINISH_SECONDS) -> Iterator[None]:
        with self._locks.held(f"finish {upload}", wait_seconds) as mine:
            if not mine:
                raise Busy("another request has the upload checked")
            yield

    def _is_expired(self, modified_seconds: float) -> bool:
        return self._clock() - modified_seconds > self._settings.unfinished_seconds


def _arrived(listed: list[StoredObject]) -> _Arrived:
    info, length, pieces, modified = None, 0, [], 0.0
    for found in listed:
        name = found.key.rpartition("/")[2]
        named = _INFO.fullmatch(name)
        if named:
            info, length = found, int(named[1])
        elif _PIECE.fullmatch(name):
            pieces.append(found)
        modified = max(modified, found.version.modified_seconds)
    return _Arrived(info, length, pieces, modified)


def _collected(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield parts as larger ones; what there is at the end, whatever ends it."""
    waiting = bytearray()
    try:
        for part in parts:
            waiting += part
            if len(waiting) >= _PIECE_BYTES:
                yield bytes(waiting)
                waiting.clear()
    except Exception:
        if waiting:
            yield bytes(waiting)
        raise
    if waiting:
        yield bytes(waiting)


def _require_offset(there: int, offset: int) -> None:
    if there != offset:
        raise WrongOffset(f"{there} bytes are there, not {offset}")


def _claim_key(upload: str) -> str:
    return f"unfinished/{upload}/claim"


def _json(content: Content | None) -> dict[str, Any]:
    try:
        read: dict[str, Any] = json.loads(b"{}" if content is None else content.body)
    except (ValueError, RecursionError) as error:
        raise _Damaged(errno.EIO, f"is damaged: {error}", "unfinished upload") from error
    return read


def _info(read: dict[str, Any]) -> UnfinishedInfo:
    try:
        return UnfinishedInfo(**read)
    except TypeError as error:
        raise _Damaged(errno.EIO, f"is damaged: {error}", "unfinished upload") from error
