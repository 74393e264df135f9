"""Uploads that arrive in pieces, on a disk: what came is kept, whatever ends a request.

`unfinished/ID/` has what is known of one (`info`), its bytes so far (`data`: as many as arrived),
and which request goes on with it (`claim`). `unfinished/over/ID` has what became of it, for a
client that lost the answer.
"""

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from imgprocessor.config.upload_settings import UploadsSettings
from imgprocessor.errors import Busy, NoRoom, NoSuchUpload, UploadOver, WrongOffset
from imgprocessor.storage.eviction import files_in, folders_in
from imgprocessor.storage.locks import Locks
from imgprocessor.storage.uploads.durable import (
    LOOK_EVERY_BYTES,
    require_free,
    settle,
    told_of_a_full_disk,
    write_new,
)
from imgprocessor.storage.uploads.resumable.pieces import (
    UPLOAD_ID,
    Outcome,
    PieceByPiece,
    UnfinishedInfo,
    filled,
    require_piece,
)

_INFO, _DATA, _CLAIM = "info", "data", "claim"

_CLAIM_BYTES = 16
_COPY_BYTES = 65_536

_WAIT_SECONDS = 10.0
"""For a lock that its holder has while it writes or counts; never while it waits for a client."""
_FINISH_SECONDS = 60.0
"""For another request that has the same upload checked."""


class Unfinished:
    """A folder of unfinished uploads. Several processes, and threads of each, may use it at once.

    No request waits for another's client: the lock of an upload is held for each write alone. A
    request that begins leaves its claim. An older one that wakes up sees that, and writes nothing.
    """

    def __init__(self, folder: Path, settings: UploadsSettings) -> None:
        """Use a folder, which is made when first needed."""
        self._folder = folder
        self._over = folder / "over"
        self._settings = settings
        self._locks = Locks(folder / "locks")

    def begin(self, length_bytes: int, metadata: str, by: str) -> str:
        """Begin an upload, as `UnfinishedUploads.begin` says."""
        upload = secrets.token_hex(16)
        fresh = self._folder / f".{upload}"
        info = {"length_bytes": length_bytes, "metadata": metadata, "by": by}
        with told_of_a_full_disk(), self._alone("begin"):
            self._require_room(length_bytes)
            try:
                fresh.mkdir(parents=True)
                write_new(fresh / _INFO, json.dumps(info).encode())
                for name in (_DATA, _CLAIM):
                    write_new(fresh / name, b"")
                settle(fresh)
                fresh.rename(self._folder / upload)
            except BaseException:
                shutil.rmtree(fresh, ignore_errors=True)
                raise
            settle(self._folder)
        return upload

    def find(self, upload: str) -> PieceByPiece:
        """Return how an upload stands, as `UnfinishedUploads.find` says."""
        info, outcome = self._known(upload)
        if outcome is None:
            with contextlib.suppress(FileNotFoundError):
                data = (self._folder / upload / _DATA).stat()
                return self._standing(info, data.st_size, data.st_mtime, None)
            info, outcome = self._known(upload)  # finished meanwhile
        with _over_if_gone():
            modified_seconds = (self._over / upload).stat().st_mtime
        return self._standing(info, info.length_bytes, modified_seconds, outcome)

    def write(self, upload: str, offset: int, size_bytes: int, parts: Iterable[bytes]) -> int:
        """Write a piece as it arrives, as `UnfinishedUploads.write` says."""
        info, outcome = self._known(upload)
        require_piece(info.length_bytes, outcome, offset, size_bytes)
        if outcome is not None:
            return offset
        self._require_free(size_bytes)
        with told_of_a_full_disk(), self._opened(upload) as (data, claims):
            claim = secrets.token_bytes(_CLAIM_BYTES)
            with self._alone(upload):
                _require_offset(data, offset)
                os.pwrite(claims, claim, 0)
            try:
                for part in parts:
                    # Others write, too, who looked when they began.
                    if offset % LOOK_EVERY_BYTES < len(part):
                        self._require_free(0)
                    with self._alone(upload):
                        if os.pread(claims, _CLAIM_BYTES, 0) != claim:
                            raise WrongOffset("a newer request goes on with it")
                        _require_offset(data, offset)
                        offset += _write_at(data, part, offset)
            finally:
                os.fsync(data)
        return offset

    def finish(
        self, upload: str, new_file: Callable[[], Path], accept: Callable[[Path, str], Outcome]
    ) -> Outcome:
        """Have a whole upload accepted, as `UnfinishedUploads.finish` says."""
        with self._finishing(upload):
            found = self.find(upload)
            if found.outcome is not None:
                return found.outcome
            if found.offset_bytes != found.length_bytes:
                raise WrongOffset
            self._require_free(found.length_bytes)
            with told_of_a_full_disk():
                # A copy, no link: whoever takes a file may write to it.
                data = self._folder / upload / _DATA
                copy, sha256 = filled(new_file, partial(self._copied, data))
            outcome = accept(copy, sha256)
            self._close(upload, outcome)
            return outcome

    def end(self, upload: str) -> None:
        """End an upload, as `UnfinishedUploads.end` says."""
        with self._finishing(upload):
            if self.find(upload).outcome is not None:
                raise UploadOver
            self._close(upload, None)

    def count(self) -> tuple[int, int]:
        """Return how many there are, as `UnfinishedUploads.count` says."""
        lengths = [length for length, _ in self._lengths()]
        return len(lengths), sum(lengths)

    def sweep(self) -> None:
        """Remove what nobody went on with, as `UnfinishedUploads.sweep` says."""
        seconds = self._settings.unfinished_seconds
        for file in files_in(self._over):
            if file.age > seconds:
                file.unlink()
        for path in map(Path, folders_in(self._folder)):
            if UPLOAD_ID.fullmatch(path.name):
                self._sweep_one(path)
            elif path.name.startswith(".") and self._is_expired(path):
                shutil.rmtree(path, ignore_errors=True)  # left by a process that was killed

    def _sweep_one(self, path: Path) -> None:
        upload = path.name
        with self._locks.held(f"finish {upload}", 0) as mine:
            if not mine:
                return
            if (self._over / upload).exists():
                with self._alone(upload):
                    shutil.rmtree(path, ignore_errors=True)
            elif self._is_expired(path / _DATA):
                self._close(upload, None, is_due=lambda: self._is_expired(path / _DATA))

    def _close(
        self, upload: str, outcome: Outcome | None, *, is_due: Callable[[], bool] = lambda: True
    ) -> None:
        """Keep what became of an upload, then remove its bytes."""
        with told_of_a_full_disk(), self._alone(upload):
            if not is_due():  # a piece came meanwhile
                return
            info = (self._folder / upload / _INFO).read_bytes()
            self._over.mkdir(exist_ok=True)
            fresh = self._over / f".{upload}"
            fresh.unlink(missing_ok=True)
            write_new(fresh, json.dumps({"info": json.loads(info), "outcome": outcome}).encode())
            fresh.rename(self._over / upload)
            settle(self._over)
            shutil.rmtree(self._folder / upload, ignore_errors=True)  # else by `sweep`

    def _known(self, upload: str) -> tuple[UnfinishedInfo, Outcome | None]:
        """Return what is known of an upload, and what became of it where it was finished."""
        if not UPLOAD_ID.fullmatch(upload):
            raise NoSuchUpload("no id of an upload")
        info = None
        with contextlib.suppress(FileNotFoundError):
            info = UnfinishedInfo(**_read_json(self._folder / upload / _INFO))
        # In this order: what became of it is there before the rest goes.
        with contextlib.suppress(FileNotFoundError):
            over = _read_json(self._over / upload)
            if over["outcome"] is None:
                raise UploadOver
            return UnfinishedInfo(**over["info"]), over["outcome"]
        if info is None:
            raise NoSuchUpload(f"no unfinished upload {upload}")
        return info, None

    def _standing(
        self, info: UnfinishedInfo, offset: int, modified_seconds: float, outcome: Outcome | None
    ) -> PieceByPiece:
        expires = modified_seconds + self._settings.unfinished_seconds
        return PieceByPiece(info.length_bytes, offset, info.metadata, info.by, expires, outcome)

    @contextlib.contextmanager
    def _opened(self, upload: str) -> Iterator[tuple[int, int]]:
        """Yield descriptors of an upload's bytes and of its claim."""
        with contextlib.ExitStack() as stack:
            descriptors = []
            for name in (_DATA, _CLAIM):
                with _over_if_gone():
                    path = self._folder / upload / name
                    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
                stack.callback(os.close, descriptor)
                descriptors.append(descriptor)
            yield descriptors[0], descriptors[1]

    def _alone(self, name: str) -> contextlib.AbstractContextManager[None]:
        return self._locks.alone(name, _WAIT_SECONDS)

    @contextlib.contextmanager
    def _finishing(self, upload: str) -> Iterator[None]:
        with self._locks.held(f"finish {upload}", _FINISH_SECONDS) as mine:
            if not mine:
                raise Busy("another request has the upload checked")
            yield

    def _copied(self, path: Path, copy: Path) -> str:
        """Copy a file; return the SHA-256 of what the copy has."""
        digest = hashlib.sha256()
        with path.open("rb") as source, copy.open("xb") as target:
            while part := source.read(_COPY_BYTES):
                if target.tell() % LOOK_EVERY_BYTES < len(part):
                    self._require_free(0)
                digest.update(part)
                target.write(part)
        return digest.hexdigest()

    def _require_room(self, length_bytes: int) -> None:
        """Look whether an upload of so many bytes may be begun; all others arrive whole, too."""
        lengths = list(self._lengths())
        declared = sum(length for length, _ in lengths)
        if len(lengths) >= self._settings.max_unfinished:
            raise NoRoom("[uploads] max_unfinished is reached")
        if declared + length_bytes > self._settings.max_unfinished_bytes:
            raise NoRoom("[uploads] max_unfinished_bytes is reached")
        self._folder.mkdir(parents=True, exist_ok=True)
        self._require_free(declared - sum(size for _, size in lengths) + length_bytes)

    def _require_free(self, size_bytes: int) -> None:
        require_free(self._folder, size_bytes, self._settings.min_free_bytes)

    def _lengths(self) -> Iterator[tuple[int, int]]:
        """Yield of each unfinished upload how long it will be, and how long it is."""
        for path in map(Path, folders_in(self._folder)):
            if UPLOAD_ID.fullmatch(path.name):
                with contextlib.suppress(OSError):  # gone meanwhile, or damaged
                    yield _read_json(path / _INFO)["length_bytes"], (path / _DATA).stat().st_size

    def _is_expired(self, path: Path) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return time.time() - path.stat().st_mtime > self._settings.unfinished_seconds
        return True


@contextlib.contextmanager
def _over_if_gone() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise UploadOver from error


def _require_offset(data: int, offset: int) -> None:
    status = os.fstat(data)
    if not status.st_nlink:
        raise UploadOver
    if status.st_size != offset:
        raise WrongOffset(f"{status.st_size} bytes are there, not {offset}")


def _write_at(data: int, part: bytes, offset: int) -> int:
    left = memoryview(part)
    while left:
        written = os.pwrite(data, left, offset)
        offset, left = offset + written, left[written:]
    return len(part)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        read: dict[str, Any] = json.loads(path.read_bytes())
    except ValueError as error:
        raise OSError(errno.EIO, f"is damaged: {error}", str(path)) from error
    return read
