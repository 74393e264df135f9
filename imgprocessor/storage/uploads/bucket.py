"""Uploads in a bucket, for all nodes that use it; on this node's disk is what is on its way in."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, Self

from imgprocessor.config.buckets import BucketsSettings, BucketUrl
from imgprocessor.storage.generation import Generation
from imgprocessor.storage.locks import Locks
from imgprocessor.storage.plain_files import PlainFiles
from imgprocessor.storage.shared.bucket import Bucket, StoredObject
from imgprocessor.storage.shared.failures import BucketFailed, Conflict
from imgprocessor.storage.uploads.copies import Copies
from imgprocessor.storage.uploads.durable import (
    require_free,
    told_of_a_full_disk,
)
from imgprocessor.storage.uploads.incoming import IncomingFiles, NotedIdents
from imgprocessor.storage.uploads.lives import (
    MAX_RECORD_BYTES,
    MAX_SIZE_BYTES,
    Life,
    LifeNow,
    RecordNow,
    attempts,
    gone,
    is_begun,
    lives_of_none,
    read_life,
    record_key,
    record_now,
    tombstone,
)
from imgprocessor.storage.uploads.store import UPLOAD_IDENT, KeptUpload, Postponed, Record

FRESH_SECONDS = 5.0
"""So long a node takes what it knows of an upload for true; a purge of its name ends that."""

_SIZES_FRESH_SECONDS = 60.0
"""As long for a kept size, which another node may have made anew."""

SMALL_SECONDS = 3.0
LARGE_SECONDS = 30.0
"""For a request about something small, and for a file."""

_WAIT_SECONDS = 40.0
"""For the lock of an upload, which its holder has while a file is sent."""

_ORPHAN_SECONDS = 3600.0
"""What is half done for so long was left by a process that was killed."""


class UploadBucket:
    """Uploads in a bucket. Several nodes, processes and threads may use it at once."""

    def __init__(
        self,
        url: BucketUrl,
        buckets: BucketsSettings,
        folder: Path,
        copies: PlainFiles,
        *,
        min_free_bytes: int,
        max_stale_seconds: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Use a place in a bucket, and a folder of this node alone: `copies` is a disk cache.

        Args:
            url: the place.
            buckets: how it is reached.
            folder: for files on their way in, locks, and removals that the bucket was not told of.
            copies: for local copies.
            min_free_bytes: of the folder's disk stay free.
            max_stale_seconds: so much older than usual copies may be while the bucket fails.
            clock: in tests another one.
        """
        self.url = url
        self._made_of = (url, buckets, folder, copies)
        self._min_free_bytes = min_free_bytes
        self._max_stale_seconds = max_stale_seconds
        self._folder = folder
        self._pending = NotedIdents(folder / "pending")
        self._incoming = IncomingFiles(folder)
        self._locks = Locks(folder / "locks")
        self._bucket = Bucket(url, buckets, total_seconds=SMALL_SECONDS)
        self._large = Bucket(url, buckets, total_seconds=LARGE_SECONDS)
        self._clock = clock
        self._copies = Copies(
            folder / "copies",
            copies,
            self._bucket,
            self._large,
            max_stale_seconds=max_stale_seconds,
            clock=clock,
        )

    def __reduce__(self) -> tuple[Callable[[], Self], tuple[()]]:
        """Another process has clients of its own, and the same copies."""
        free, stale = self._min_free_bytes, self._max_stale_seconds
        make = partial(type(self), min_free_bytes=free, max_stale_seconds=stale)
        return partial(make, *self._made_of), ()

    def check(self) -> None:
        """Look whether requests can be made, and make none. Raises as `Bucket.check` does."""
        self._bucket.check()  # the other one is reached as this is

    def new_file(self) -> Path:
        """Return a path for a file on its way in, as `UploadStore.new_file` says."""
        return self._incoming.new_file()

    def require_room(self, size_bytes: int) -> None:
        """Look whether this node's disk has room for a file on its way in: how full the bucket is
        nobody counts.

        Raises:
            NoRoom: it has not.
            OSError: nobody knows at this moment.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        require_free(self._folder, size_bytes, self._min_free_bytes)

    def add(self, ident: str, file: Path, record: Record) -> bool:
        """Keep a file, as `UploadStore.add` says.

        Raises:
            NoRoom: the bucket is full.
            OSError: it is not kept, or nobody knows; what is half done is swept.
        """
        try:
            with told_of_a_full_disk(), self._alone(ident):
                self._take_out_pending(ident)
                if self._now(ident).life is not None:
                    return False
                body = file.read_bytes()
                life = Life.begin(ident, body, record)
                intent = f"incoming/{ident}/{life.word}"
                self._bucket.put(intent, b"begun")
                self._large.put(life.file_key, body)
                is_new = self._recorded(life)
                if not is_new:
                    self._bucket.remove(life.file_key)
                elif not is_begun(self._bucket, intent):
                    # A sweep took it for what was left half done: its file may have gone.
                    self._taken_out(ident)
                    raise BucketFailed(f"{self.url}/{intent}: it took an hour, and was swept")
                self._bucket.remove(intent)
                return is_new
        finally:
            file.unlink(missing_ok=True)

    def find(self, ident: str) -> KeptUpload | None:
        """Return an upload, as `UploadStore.find` says; it is what it was a moment ago."""
        life = self._known(ident)
        return None if life is None else KeptUpload(ident, life.record, life.size_bytes)

    def now(self, ident: str) -> LifeNow | None:
        """Return an upload as it is, as `UploadStore.now` says."""
        if not UPLOAD_IDENT.fullmatch(ident) or self._pending.has(ident):
            return None
        life = self._now(ident).life
        return None if life is None else LifeNow(life, self._bucket, self._large)

    def was_removed(self, ident: str) -> bool:
        """Return whether there was one, as `UploadStore.was_removed` says."""
        now = self._now(ident)
        return self._pending.has(ident) or (now.life is None and now.etag is not None)

    def open(self, ident: str) -> BinaryIO:
        """Open a local copy of an upload's file, as `UploadStore.open` says."""
        life = self._required(ident)
        return self._copies.open(
            ident, life.file_key, size_bytes=life.size_bytes, checksum=life.checksum
        )

    def relative(self, ident: str) -> str | None:  # noqa: ARG002 - the protocol's
        """Return None: no upload lies in the folder."""
        return None

    def where(self, ident: str) -> str:
        """Return where an upload's file is, for people."""
        life = self._known(ident)
        return f"{self.url}/{record_key(ident) if life is None else life.file_key}"

    def change(self, ident: str, how: Callable[[Record], Record]) -> Record:
        """Change a record, as `UploadStore.change` says."""
        with told_of_a_full_disk(), self._alone(ident):
            self._take_out_pending(ident)
            for _ in attempts(ident):
                began = self._copies.generation()
                now = self._now(ident)
                if now.life is None:
                    raise gone(ident)
                changed = replace(now.life, record=how(now.life.record))
                if changed == now.life:
                    break
                with contextlib.suppress(Conflict):
                    self._write(changed, now.etag, began)
                    break
            return changed.record

    def keep(self, ident: str, name: str, body: bytes) -> None:
        """Keep what was made of an upload, as `UploadStore.keep` says.

        Raises:
            NoRoom: the bucket is full.
            FileNotFoundError, OSError: as there.
        """
        with told_of_a_full_disk():
            began = self._copies.generation()
            life = self._required(ident)
            key, content = life.size_key(name), life.size_written(name, body)
            etag = self._large.put(key, content)
            now = self._now(ident).life
            if now is None or now.word != life.word:
                # Whoever removed it may have looked for what is to be cleared before this came.
                self._bucket.remove(key)
                raise gone(ident)
            self._copies.keep(ident, key, content, etag, began)

    def kept(self, ident: str, name: str) -> bytes | None:
        """Return what was made of an upload, as `UploadStore.kept` says."""
        with contextlib.suppress(FileNotFoundError):
            life = self._required(ident)
            content = self._copies.read(
                ident,
                life.size_key(name),
                max_bytes=MAX_SIZE_BYTES,
                fresh_seconds=_SIZES_FRESH_SECONDS,
            )
            return life.size_read(name, content)
        return None

    def take_out(self, ident: str) -> bool:
        """Take an upload out, as `UploadStore.take_out` says."""
        if not UPLOAD_IDENT.fullmatch(ident):
            return False
        with self._alone(ident):
            try:
                taken = self._taken_out(ident)
            except BucketFailed as error:
                self._pending.note(ident)  # from now on nobody finds it on this node
                self._copies.forget(ident)
                raise Postponed(str(error)) from error
            self._pending.forget(ident)
            return taken

    def hand_over(self, ident: str, keep: Callable[[], None]) -> None:
        """Take an upload out once it is kept elsewhere, as `HandsOver.hand_over` says."""
        with self._alone(ident):
            keep()
            self._taken_out(ident)

    def taken_out(self) -> Sequence[str]:
        """Return which uploads are taken out and not cleared, as `UploadStore.taken_out` says."""
        names = {found.key.split("/")[1] for found in self._bucket.listed("removed")}
        return sorted(filter(UPLOAD_IDENT.fullmatch, names))

    def clear(self, ident: str) -> None:
        """Remove the files of what was taken out, as `UploadStore.clear` says."""
        now = self._now(ident).life
        for found in list(self._bucket.listed(f"removed/{ident}")):
            word = found.key.rpartition("/")[2]
            if now is None or now.word != word:
                self._remove_files(ident, word)
            elif not self._is_orphan(found):
                continue  # somebody is at it, and has not written the record yet
            self._bucket.remove(found.key)

    def forget(self, ident: str) -> int:
        """Remove local copies, as `UploadStore.forget` says."""
        return self._copies.forget(ident)

    def forget_all(self) -> int:
        """Remove all local copies, as `UploadStore.forget_all` says."""
        return self._copies.forget_all()

    def idents(self, left_out: Callable[[str], None] = lambda _: None) -> Iterator[str]:
        """Yield the idents of all uploads, as `UploadStore.idents` says.

        Raises:
            BucketFailed: they cannot be listed.
        """
        for found in self._bucket.listed("records", left_out=left_out):
            ident = found.key.rpartition("/")[2]
            if UPLOAD_IDENT.fullmatch(ident) and found.version.size_bytes > len(tombstone()):
                yield ident

    def names(self, ident: str) -> Sequence[str]:
        """Return what is kept beside file and record, as `UploadStore.names` says."""
        life = self._known(ident)
        return () if life is None else [*LifeNow(life, self._bucket, self._large).sizes()]

    def strangers(self) -> Iterator[str]:
        """Yield where something lies that is of no upload, as `UploadStore.strangers` says."""
        return (f"{self.url}/{folder}" for folder in lives_of_none(self._bucket))

    def sweep(self) -> None:
        """Go on with removals that the bucket was not told of; remove what was left half done."""
        self._incoming.sweep()
        for ident in self._pending:
            with self._alone(ident):
                self._take_out_pending(ident)
        for found in list(self._bucket.listed("incoming")):
            _, ident, word, *_ = (*found.key.split("/"), "", "")
            if UPLOAD_IDENT.fullmatch(ident) and self._is_orphan(found):
                now = self._now(ident).life
                if now is None or now.word != word:
                    self._remove_files(ident, word)
                self._bucket.remove(found.key)

    def _remove_files(self, ident: str, word: str) -> None:
        for found in list(self._bucket.listed(f"files/{ident}/{word}")):
            self._bucket.remove(found.key)

    def _known(self, ident: str) -> Life | None:
        """Return an upload as it was a moment ago at most; None where there is none."""
        if not UPLOAD_IDENT.fullmatch(ident) or self._pending.has(ident):
            return None
        try:
            content = self._copies.read(
                ident,
                record_key(ident),
                max_bytes=MAX_RECORD_BYTES,
                fresh_seconds=FRESH_SECONDS,
                # One that was removed may be handed in again anywhere, and is there at once then.
                lasts=lambda content: read_life(ident, content) is not None,
            )
        except FileNotFoundError:
            return None
        return read_life(ident, content)

    def _required(self, ident: str) -> Life:
        life = self._known(ident)
        if life is None:
            raise gone(ident)
        return life

    def _now(self, ident: str) -> RecordNow:
        return record_now(self._bucket, ident)

    def _write(self, life: Life, etag: str | None, began: Generation) -> None:
        """Write a record where that ETag is, or nothing.

        Raises:
            Conflict: something else is there.
        """
        key, written = record_key(life.ident), life.written()
        if etag is None:
            etag = self._bucket.put_new(key, written)
        else:
            etag = self._bucket.put(key, written, instead_of=etag)
        self._copies.keep(life.ident, key, written, etag, began)

    def _recorded(self, life: Life) -> bool:
        """Write the record of a file that is there; return False where there is another one."""
        for _ in attempts(life.ident):
            began = self._copies.generation()
            now = self._now(life.ident)
            if now.life is not None:
                return now.life.word == life.word
            with contextlib.suppress(Conflict):
                self._write(life, now.etag, began)
                break
        return True

    def _taken_out(self, ident: str) -> bool:
        for _ in attempts(ident):
            now = self._now(ident)
            if now.life is None or now.etag is None:
                return next(self._bucket.listed(f"removed/{ident}"), None) is not None
            self._bucket.put(f"removed/{ident}/{now.life.word}", b"begun")
            with contextlib.suppress(Conflict):
                self._bucket.put(record_key(ident), tombstone(), instead_of=now.etag)
                break
        self._copies.forget(ident)
        return True

    def _take_out_pending(self, ident: str) -> None:
        """Remove what the bucket was not told of, if there is such a thing."""
        if self._pending.has(ident):
            self._taken_out(ident)
            self._pending.forget(ident)

    def _is_orphan(self, found: StoredObject) -> bool:
        return self._clock() - found.version.modified_seconds > _ORPHAN_SECONDS

    def _alone(self, ident: str) -> contextlib.AbstractContextManager[None]:
        return self._locks.alone(f"in the bucket {ident}", _WAIT_SECONDS)
