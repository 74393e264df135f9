"""One upload copied to the replica, or removed there: however often, and by however many at once.

The order is what makes it safe. First the replica's record and its ETag are read, then the upload
as it is in its first place; what is missing is written, and the record last, where that ETag still
is. So whoever read the upload before it was removed cannot bring it back: the tombstone has another
ETag. Then all begins anew. What was written for a record that came to nothing is removed again, by
whoever wrote it, or by a sweep, which finds `incoming/IDENT/LIFE/WORD`.
"""

import contextlib
import errno
import hashlib
import secrets
from collections.abc import Callable, Mapping
from typing import Literal, Self, TypeVar

from imgprocessor.config.buckets import BucketsSettings
from imgprocessor.storage.entry_format import checksum_of
from imgprocessor.storage.shared.bucket import Bucket, ObjectVersion
from imgprocessor.storage.shared.failures import Conflict
from imgprocessor.storage.uploads.bucket import LARGE_SECONDS, SMALL_SECONDS, UploadBucket
from imgprocessor.storage.uploads.lives import (
    MAX_RECORD_BYTES,
    MAX_SIZE_BYTES,
    Life,
    RecordNow,
    attempts,
    read_life,
    record_key,
    tombstone,
)
from imgprocessor.storage.uploads.store import Damaged, UploadNow, UploadStore

CopyOutcome = Literal["copied", "same", "removed"]
"""What came of a copy; `same`, where there was nothing to do."""

_QUICK_SECONDS = 1.0
"""For a request that a client waits for."""

_Result = TypeVar("_Result")


class Copier:
    """Copies uploads from the place where they are kept to a bucket."""

    def __init__(self, first: UploadStore, replica: UploadBucket, buckets: BucketsSettings) -> None:
        """Copy from one place to another; `buckets` says how that is reached."""
        self._first = first
        self._replica = replica
        self._buckets = buckets
        self._small = Bucket(replica.url, buckets, total_seconds=SMALL_SECONDS)
        self._large = Bucket(replica.url, buckets, total_seconds=LARGE_SECONDS)
        self._quick = Bucket(replica.url, buckets, total_seconds=_QUICK_SECONDS)

    def __reduce__(self) -> tuple[type[Self], tuple[UploadStore, UploadBucket, BucketsSettings]]:
        """Another process has clients of its own."""
        return type(self), (self._first, self._replica, self._buckets)

    def copy(self, ident: str, *, is_removed: bool = False) -> CopyOutcome:
        """Have the replica as the first place is. `is_removed` says that an upload that is not
        there was removed, if that place itself does not know.

        Raises:
            Damaged: something here is damaged, or lost; all else is copied, and what the replica
                has stays there.
            OSError: it is not so, or nobody knows.
        """
        begun: dict[str, str] = {}
        for _ in attempts(ident):
            with contextlib.suppress(Conflict):
                one = _OneCopy(ident, self._first, self._small, self._large, begun)
                word, outcome = one.copied(is_removed=is_removed)
                break
        for other, intent in begun.items():
            if other != word:
                for found in list(self._small.listed(f"files/{ident}/{other}")):
                    self._small.remove(found.key)
            self._small.remove(intent)
        if outcome != "same":
            self._replica.forget(ident)
        if word is None or one.is_another:
            self._replica.clear(ident)
        if one.damaged is not None:
            raise one.damaged
        return outcome

    def remove(self, ident: str) -> None:
        """Have the replica's record say that an upload was removed, if it was, and soon: its files
        are left to `copy`.

        Raises:
            OSError: it does not say so.
        """
        there = _record_there(self._quick, ident)
        if there.life is not None and self._first.now(ident) is None:
            _bury(self._quick, ident, there, {there.life.word})
            self._replica.forget(ident)


class _OneCopy:
    """One trial."""

    def __init__(
        self, ident: str, first: UploadStore, small: Bucket, large: Bucket, begun: dict[str, str]
    ) -> None:
        """Note in `begun` for which lives something was written, and the key that says so."""
        self._ident = ident
        self._first = first
        self._small = small
        self._large = large
        self._begun = begun
        self._wrote = False
        self.is_another = False
        """Whether the replica had another life before, or none."""
        self.damaged: Damaged | None = None

    def copied(self, *, is_removed: bool) -> tuple[str | None, CopyOutcome]:
        """Copy; return which life the replica has then.

        Raises:
            Conflict: somebody else was at it; it must begin anew.
            Damaged: it is lost here.
        """
        there = _record_there(self._small, self._ident)
        here = self._first.now(self._ident)
        found = self._small.listed(f"files/{self._ident}")
        listed = {one.key: one.version for one in found}
        words = {key.split("/")[2] for key in listed}
        if here is None and (is_removed or self._first.was_removed(self._ident)):
            _bury(self._small, self._ident, there, words)
            return None, "same" if there.life is None else "removed"
        if here is None and there.life is None:  # it never came to be
            return None, "same"
        if here is None:
            raise Damaged(errno.ENOENT, "is here no more, and nobody removed it", self._ident)
        life, body = self._life(here, there.life)
        version = listed.get(life.file_key)
        if body is None and (version is None or version.size_bytes != life.size_bytes):
            body = self._read(here, here.body)
        if body is not None:
            self._begin(life)
            self._large.put(life.file_key, body)
        self._copy_sizes(here, life, listed)
        if life == there.life:
            # A record that is as it was says nothing of what came between.
            if self._wrote and _record_there(self._small, self._ident).etag != there.etag:
                raise Conflict(f"{life.file_key}: the record was changed meanwhile")
        else:
            self._write(life, there, words - {life.word})
        return life.word, "copied" if self._wrote or life != there.life else "same"

    def _life(self, here: UploadNow, there: Life | None) -> tuple[Life, bytes | None]:
        """Return what the replica is to have, and the file where it must be written."""
        if there is not None and self._is_file_of(here, there):
            word, checksum = there.word, there.checksum
            return Life(self._ident, word, here.size_bytes, checksum, here.record), None
        body = self._read(here, here.body)
        word = here.word or secrets.token_hex(8)
        return Life(self._ident, word, len(body), checksum_of([body]), here.record), body

    def _is_file_of(self, here: UploadNow, there: Life) -> bool:
        if here.size_bytes != there.size_bytes:
            return False
        known = here.record.get("sha256")
        if known is not None:
            return bool(there.record.get("sha256") == known)
        return checksum_of([self._read(here, here.body)]) == there.checksum

    def _copy_sizes(self, here: UploadNow, life: Life, listed: Mapping[str, ObjectVersion]) -> None:
        for name, etag in here.sizes().items():
            key = life.size_key(name)
            version = listed.get(key)
            if version is not None and version.etag == etag:
                continue
            try:
                content = life.size_written(name, self._read(here, lambda: here.size(name)))  # noqa: B023
            except Damaged as error:
                self.damaged = error
                continue
            if version is None:
                self._begin(life)
                self._large.put_new(key, content)
            elif not self._has(key, version, content):
                self._begin(life)
                self._large.put(key, content, instead_of=version.etag)

    def _has(self, key: str, version: ObjectVersion, content: bytes) -> bool:
        """Return whether an object has that content; mostly its ETag says so."""
        if version.etag == f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"':
            return True
        if version.size_bytes != len(content):
            return False
        got = self._large.get(key, max_bytes=MAX_SIZE_BYTES)
        return got is not None and got.body == content

    def _read(self, here: UploadNow, read: Callable[[], _Result]) -> _Result:
        try:
            return read()
        except FileNotFoundError as error:
            now = self._first.now(self._ident)
            if now is None or (now.word, now.record) != (here.word, here.record):
                raise Conflict(f"{self._ident}: it was changed meanwhile") from error
            raise Damaged(errno.EIO, f"is lost: {error}", self._ident) from error

    def _begin(self, life: Life) -> None:
        """Say that something is written for a life, before it is."""
        self._wrote = True
        if life.word not in self._begun:
            intent = f"incoming/{self._ident}/{life.word}/{secrets.token_hex(8)}"
            self._small.put(intent, b"begun")
            self._begun[life.word] = intent

    def _write(self, life: Life, there: RecordNow, others: set[str]) -> None:
        self.is_another = there.life is None or there.life.word != life.word
        if self.is_another:
            _mark(self._small, self._ident, others)
        key, written = record_key(self._ident), life.written()
        if there.etag is None:
            self._small.put_new(key, written)
        else:
            self._small.put(key, written, instead_of=there.etag)


def _record_there(bucket: Bucket, ident: str) -> RecordNow:
    """Return the replica's record; what is damaged is as good as none, and written anew."""
    try:
        got = bucket.get(record_key(ident), max_bytes=MAX_RECORD_BYTES)
    except FileNotFoundError:
        return RecordNow(None, None)
    if got is None:
        return RecordNow(None, None)
    with contextlib.suppress(OSError):
        return RecordNow(read_life(ident, got.body), got.version.etag)
    return RecordNow(None, got.version.etag)


def _bury(bucket: Bucket, ident: str, there: RecordNow, words: set[str]) -> None:
    """Have the record say that the upload was removed. It is written anew where it does so already,
    or there is none: somebody may be about to write another one, where that is.

    Raises:
        Conflict: it was changed meanwhile.
    """
    _mark(bucket, ident, words)
    if there.etag is None:
        bucket.put_new(record_key(ident), tombstone())
    else:
        bucket.put(record_key(ident), tombstone(), instead_of=there.etag)


def _mark(bucket: Bucket, ident: str, words: set[str]) -> None:
    """Have the files of these lives cleared away, unless one of them counts by then."""
    for word in words:
        bucket.put(f"removed/{ident}/{word}", b"begun")
