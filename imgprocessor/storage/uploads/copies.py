"""Local copies of what a bucket has of uploads: asked for again in time, and used while it fails.

Processes of a node share them. What is small is asked for by its ETag once its copy is old. Files
never change; each is checked when it comes and whenever it is opened.
"""

import contextlib
import errno
import json
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from imgprocessor.storage.entry_format import checksum_of
from imgprocessor.storage.generation import Generation, Generations
from imgprocessor.storage.locks import Locks
from imgprocessor.storage.plain_files import PlainFiles
from imgprocessor.storage.shared.bucket import Bucket
from imgprocessor.storage.shared.failures import BucketFailed

_CHUNK_BYTES = 1 << 20

_SILENT_SECONDS = 2.0
"""A bucket that failed is not asked again for so long by a process: each request would wait."""

_MAX_ASKING = 16
_TURN_SECONDS = 1.0
"""For one of these to be done, which takes milliseconds where all is well."""

_FETCH_SECONDS = 10.0
"""For another request that fetches the same file."""


class _Copy(NamedTuple):
    """What was got of an object."""

    content: bytes
    etag: str
    asked_at: float
    """When the bucket said last that this is it; seconds since 1970."""


class Copies:
    """The copies of one node. What belongs to an upload is a group, and forgotten together."""

    def __init__(
        self,
        folder: Path,
        files: PlainFiles,
        small: Bucket,
        large: Bucket,
        *,
        max_stale_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Use a folder for locks, and a disk cache. `small` and `large` are one bucket, asked for
        records and sizes, and for files.
        """
        self._files = files
        self._small = small
        self._large = large
        self._max_stale_seconds = max_stale_seconds
        self._clock = clock
        self._locks = Locks(folder / "locks")
        self._generations = Generations(folder)
        self._silent_until = 0.0

    def generation(self) -> Generation:
        """Return this moment: what was asked for before `forget` is not kept after it."""
        return self._generations.current()

    def read(
        self,
        ident: str,
        key: str,
        *,
        max_bytes: int,
        fresh_seconds: float,
        lasts: Callable[[bytes], bool] = lambda _: True,
    ) -> bytes:
        """Return an object's content, as it was so long ago at most; while the bucket fails, an
        older one. No copy is made of what does not last.

        Raises:
            FileNotFoundError: there is none.
            BucketFailed: it cannot be had.
        """
        copy = self._copy(ident, key)
        if copy is not None and 0 <= self._clock() - copy.asked_at < fresh_seconds:
            return copy.content
        with self._turn(key, copy) as mine:
            if not mine and copy is not None:  # another request is asking
                return copy.content
            began = self.generation()
            try:
                content, etag = self._asked(key, copy, max_bytes)
            except BucketFailed:
                if copy is None or not self._may_be_used(copy, fresh_seconds):
                    raise
                return copy.content
            if lasts(content):
                self.keep(ident, key, content, etag, began)
            elif copy is not None:
                self.forget(ident)
        return content

    def keep(self, ident: str, key: str, content: bytes, etag: str, began: Generation) -> None:
        """Keep what an object has, unless the upload was forgotten since."""
        known = {"etag": etag, "asked_at": self._clock()}
        written = json.dumps(known).encode() + b"\n" + content
        self._files.put(ident, key, len(written), [written], began)

    def open(self, ident: str, key: str, *, size_bytes: int, checksum: str) -> BinaryIO:
        """Open a file: its copy, or what it has for this one time, where none can be kept.

        Raises:
            FileNotFoundError: there is none.
            OSError: it cannot be had, or is another one than it should be.
        """
        file = self._whole(ident, key, checksum)
        if file is not None:
            return file
        with self._locks.held_if_possible(f"file {key}", _FETCH_SECONDS):
            file = self._whole(ident, key, checksum)
            if file is not None:
                return file
            began = self.generation()
            got = self._large.get(key, max_bytes=size_bytes)
            body = b"" if got is None else got.body
            if checksum_of([body]) != checksum:
                raise OSError(errno.EIO, "is damaged", f"{self._large.url}/{key}")
            if self._files.put_file(ident, key, body, began):
                with contextlib.suppress(FileNotFoundError):  # it is gone again
                    return open(self._files.path(ident, key), "rb")  # noqa: PTH123
            return _in_memory(body)

    def forget(self, ident: str) -> int:
        """Remove all of an upload; return how many files.

        Raises:
            OSError: one of them cannot be removed.
        """
        self._begin_anew()
        return self._files.purge(ident)

    def forget_all(self) -> int:
        """Remove everything. Returns and raises as `forget` does."""
        self._begin_anew()
        return self._files.purge_all()

    def _begin_anew(self) -> None:
        self._generations.begin()
        self._silent_until = 0.0  # who has something forgotten wants to know how it is by now

    def _copy(self, ident: str, key: str) -> _Copy | None:
        entry = self._files.get(ident, key)
        if entry is None:
            return None
        head, _, content = bytes(entry).partition(b"\n")
        try:
            return _Copy(content, **json.loads(head))
        except (ValueError, TypeError):  # of another version of this program
            return None

    def _may_be_used(self, copy: _Copy, fresh_seconds: float) -> bool:
        return abs(self._clock() - copy.asked_at) < fresh_seconds + self._max_stale_seconds

    @contextlib.contextmanager
    def _turn(self, key: str, copy: _Copy | None) -> Iterator[bool]:
        """Of those who have something to show, let one ask; all others need not wait."""
        if copy is None:
            yield True
            return
        with self._locks.held_if_possible(f"ask {key}", 0) as mine:
            yield mine

    def _asked(self, key: str, copy: _Copy | None, max_bytes: int) -> tuple[bytes, str]:
        if time.monotonic() < self._silent_until:
            raise BucketFailed(f"{self._small.url}: it failed a moment ago")
        known = copy or _Copy(b"", "", 0.0)
        with self._slot():
            try:
                got = self._small.get(key, max_bytes=max_bytes, unless=known.etag or None)
            except BucketFailed:
                self._silent_until = time.monotonic() + _SILENT_SECONDS
                raise
        return (known.content, known.etag) if got is None else (got.body, got.version.etag)

    @contextlib.contextmanager
    def _slot(self) -> Iterator[None]:
        """Be one of so many of this node who ask: a bucket that hangs must not have all threads.

        Raises:
            BucketFailed: there are enough, for a while.
        """
        slots = [f"asks {number}" for number in range(_MAX_ASKING)]
        slot = self._locks.acquire_any(slots, _TURN_SECONDS)
        if slot is None:
            raise BucketFailed(f"{self._small.url}: {_MAX_ASKING} requests wait for it already")
        try:
            yield
        finally:
            slot.release()

    def _whole(self, ident: str, key: str, checksum: str) -> BinaryIO | None:
        """Open a copy; None where there is none, or a damaged one, which is removed."""
        path = self._files.path(ident, key)
        try:
            file = open(path, "rb")  # noqa: PTH123, SIM115
        except FileNotFoundError:
            return None
        except OSError as error:
            self._files.note_damage(f"{path} cannot be read: {error.strerror}")
            return None
        if checksum_of(iter(partial(file.read, _CHUNK_BYTES), b"")) == checksum:
            file.seek(0)
            return file
        file.close()
        self._files.note_damage(f"{path} is damaged; it is fetched anew")
        self._files.purge(ident)
        return None


def _in_memory(body: bytes) -> BinaryIO:
    """Return a file that is nowhere, and has a descriptor as any other."""
    file: Any = os.fdopen(os.memfd_create("upload"), "w+b")
    file.write(body)
    file.seek(0)
    made: BinaryIO = file
    return made
