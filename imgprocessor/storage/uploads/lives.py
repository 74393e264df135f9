"""What a bucket has of an upload: names of objects, and the record that says which of them count.

`records/IDENT` decides: it is written on conditions alone, and says which life of the upload
counts, or that it was removed. All other objects lie under a life, a random word of each time that
the bytes were handed in: `files/IDENT/LIFE/original` and `files/IDENT/LIFE/sizes/NAME`. So nothing
that is late, of whichever node, counts for another life, and nothing that is cleared away can be of
one that has just begun. `incoming/IDENT/LIFE` is there while a file has no record yet, and
`removed/IDENT/LIFE` until the files of a life that is over are gone.
"""

import errno
import json
import random
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from imgprocessor.storage.entry_format import checked, checksum_of, entry
from imgprocessor.storage.shared.bucket import Bucket
from imgprocessor.storage.uploads.store import UPLOAD_IDENT, Damaged, Record

MAX_RECORD_BYTES = 1_000_000
MAX_SIZE_BYTES = 100_000_000

_MAX_INTENT_BYTES = 100

_ATTEMPTS = 20
_PAUSE_SECONDS = 0.02


@dataclass(frozen=True)
class Life:
    """An upload, from when it was handed in to when it is removed."""

    ident: str
    word: str
    size_bytes: int
    """Of its file."""
    checksum: str
    """Of its file, as `checksum_of` has it."""
    record: Record

    @classmethod
    def begin(cls, ident: str, body: bytes, record: Record) -> "Life":
        """Return a new one."""
        return cls(ident, secrets.token_hex(8), len(body), checksum_of([body]), record)

    @property
    def file_key(self) -> str:
        """Where its file is."""
        return file_key(self.ident, self.word)

    def size_key(self, name: str) -> str:
        """Return where something is that was made of it."""
        return f"files/{self.ident}/{self.word}/sizes/{name}"

    def written(self) -> bytes:
        """Return the content of its record."""
        return json.dumps(vars(self)).encode()

    def size_written(self, name: str, body: bytes) -> bytes:
        """Return the content of something that was made of it."""
        return entry(self._entry_name(name), [body])

    def size_read(self, name: str, content: bytes) -> bytes | None:
        """Return what was made of it; None where it is damaged, or not of this."""
        body = checked(memoryview(content), self._entry_name(name))
        return None if body is None else bytes(body)

    def _entry_name(self, name: str) -> bytes:
        return f"{self.ident}\0{self.word}\0{name}".encode()


class LifeNow:
    """A life as it is at this moment, as `UploadNow` says."""

    def __init__(self, life: Life, small: Bucket, large: Bucket) -> None:
        """Ask `small` for listings, and `large` for all else."""
        self._life = life
        self._small = small
        self._large = large
        self.record, self.size_bytes, self.word = life.record, life.size_bytes, life.word

    def body(self) -> bytes:
        """Return the file, as `UploadNow.body` says."""
        got = self._large.get(self._life.file_key, max_bytes=self.size_bytes)
        if got is None or checksum_of([got.body]) != self._life.checksum:
            raise Damaged(errno.EIO, "is damaged", f"{self._large.url}/{self._life.file_key}")
        return got.body

    def sizes(self) -> Mapping[str, str]:
        """Return the names and ETags of what was made of it, as `UploadNow.sizes` says."""
        found = self._small.listed(self._life.size_key("").rstrip("/"))
        return {one.key.rpartition("/")[2]: one.version.etag for one in found}

    def size(self, name: str) -> bytes:
        """Return what was made of it, as `UploadNow.size` says."""
        key = self._life.size_key(name)
        got = self._large.get(key, max_bytes=MAX_SIZE_BYTES)
        body = None if got is None else self._life.size_read(name, got.body)
        if body is None:
            raise Damaged(errno.EIO, "is damaged", f"{self._large.url}/{key}")
        return body


class RecordNow(NamedTuple):
    """A record as it is at this moment."""

    life: Life | None
    etag: str | None
    """None where there is no record; that of a removed upload has one."""


def read_life(ident: str, content: bytes) -> Life | None:
    """Read a record; None where it says that the upload was removed.

    Raises:
        OSError: it is damaged.
    """
    try:
        read = json.loads(content)
        return None if "removed_ns" in read else Life(**read)
    except (ValueError, TypeError, RecursionError) as error:
        raise OSError(errno.EIO, f"is no record: {error}", ident) from error


def record_now(bucket: Bucket, ident: str) -> RecordNow:
    """Ask for a record, whatever was known of it.

    Raises:
        FileNotFoundError: no upload may be called so.
        OSError: it cannot be had.
    """
    if not UPLOAD_IDENT.fullmatch(ident):
        raise FileNotFoundError(errno.ENOENT, "no ident", ident)
    try:
        got = bucket.get(record_key(ident), max_bytes=MAX_RECORD_BYTES)
    except FileNotFoundError:
        got = None
    if got is None:
        return RecordNow(None, None)
    return RecordNow(read_life(ident, got.body), got.version.etag)


def lives_of_none(bucket: Bucket) -> Iterator[str]:
    """Yield the folders of lives that do not count, and are not on their way in or out: what was
    late, of a node that died before it saw that.

    Raises:
        OSError: nobody knows at this moment.
    """
    for (ident, word), _ in groupby(
        bucket.listed("files"), lambda found: found.key.split("/")[1:3]
    ):
        now = record_now(bucket, ident).life
        ways = (bucket.listed(f"{way}/{ident}") for way in ("incoming", "removed"))
        if (now is None or now.word != word) and all(next(way, None) is None for way in ways):
            yield f"files/{ident}/{word}"


def is_begun(bucket: Bucket, intent: str) -> bool:
    """Whether the intent of an upload is there still.

    Raises:
        OSError: nobody knows.
    """
    try:
        bucket.get(intent, max_bytes=_MAX_INTENT_BYTES)
    except FileNotFoundError:
        return False
    return True


def tombstone() -> bytes:
    """Return the record of a removed upload; shorter than any other."""
    return json.dumps({"removed_ns": time.time_ns()}).encode()


def record_key(ident: str) -> str:
    """Return where an upload's record is."""
    return f"records/{ident}"


def file_key(ident: str, word: str) -> str:
    """Return where the file of a life is."""
    return f"files/{ident}/{word}/original"


def attempts(ident: str) -> Iterator[None]:
    """Yield again and again, later each time, where other nodes are at the same.

    Raises:
        BlockingIOError: they are, all the time.
    """
    for number in range(_ATTEMPTS):
        time.sleep(random.uniform(0, _PAUSE_SECONDS * number))  # noqa: S311 - no secret
        yield
    raise BlockingIOError(errno.EWOULDBLOCK, "others change it all the time", ident)


def gone(ident: str) -> FileNotFoundError:
    """Return what says that there is no such upload."""
    return FileNotFoundError(errno.ENOENT, "no such upload", ident)
