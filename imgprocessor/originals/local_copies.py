"""Local copies of remote originals: files, or bytes for one request where none can be kept."""

import contextlib
import io
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

from imgprocessor.errors import ImageError, NotFound, OriginalsUnavailable
from imgprocessor.originals.folder import Folder
from imgprocessor.originals.source import Original
from imgprocessor.request.urls import RemoteUrl, read_url
from imgprocessor.storage.entry_format import checksum_of
from imgprocessor.storage.generation import Generation
from imgprocessor.storage.locks import Locks
from imgprocessor.storage.plain_files import PlainFiles

_PICTURE, _RECORD = "picture", "facts"
"""The keys under which the picture and its record are kept; the group is the URL."""

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class CopyRecord:
    """What is known of a picture that is kept."""

    source: str
    """The URL that it came from in the end: what it is asked for with is meant for that."""
    checksum: str
    etag: str | None
    last_modified: str | None
    asked_at: float
    """When its host said last that it is good; seconds since 1970."""
    fresh_seconds: float
    """How long after that it is not asked again."""


@dataclass(frozen=True, kw_only=True)
class PassingCopy(Original):
    """A picture that could not be kept: good for this one time."""

    body: bytes


class LocalCopies:
    """What was fetched, by its URL; an id is the URL in its one spelling. Fetches nothing, so it
    can be handed to another process.
    """

    def __init__(self, folder: Path, max_bytes: int, disk_cache: PlainFiles) -> None:
        """Use a disk cache in a folder; no picture may have more bytes."""
        self._files = Folder(folder, max_bytes)
        self._disk_cache = disk_cache
        self._locks = Locks(folder / "locks")

    def find(self, name: str) -> Original:
        """Size up what is kept of a URL. Raises as `Folder.find` does."""
        url = self.id_of(name)
        return replace(self._files.find(self._path(url)), source=self, id=url)

    def id_of(self, name: str) -> str:
        """Return the one spelling of a URL. Raises as `url_of` does."""
        return str(url_of(name))

    def shared_id(self, original_id: str) -> str:
        """Return the id itself."""
        return original_id

    @contextlib.contextmanager
    def open(self, original: Original) -> Iterator[tuple[BinaryIO, Original]]:
        """Open a copy; yield the file and the original as it is by now.

        Raises:
            OriginalsUnavailable: it is damaged, or has gone; the next request has it fetched anew.
                Or as `Folder.open` does.
        """
        if isinstance(original, PassingCopy):
            yield io.BytesIO(original.body), original
            return
        url = self.id_of(original.id)
        path = self._path(url)
        with contextlib.ExitStack() as stack:
            try:
                file, opened = stack.enter_context(self._files.open(replace(original, id=path)))
            except NotFound as error:
                raise OriginalsUnavailable(f"{path} has gone") from error
            self._check(url, file)
            yield file, replace(opened, source=self, id=url)

    def forget(self, name: str) -> int:
        """Remove what is kept of a URL. Raises as `Source.forget` does."""
        return self._disk_cache.purge(self.id_of(name))

    def forget_all(self) -> int:
        """Remove everything. Raises as `Source.forget_all` does."""
        return self._disk_cache.purge_all()

    def record(self, url: str) -> CopyRecord | None:
        """Return what is known of a copy; None where there is none, or it is not known."""
        content = self._disk_cache.get(url, _RECORD)
        try:
            return None if content is None else CopyRecord(**json.loads(bytes(content)))
        except TypeError:  # of another version of this program
            return None

    def write_down(self, url: str, record: CopyRecord, generation: Generation) -> None:
        """Keep what is known of a copy, unless a purge came after the generation."""
        content = json.dumps(asdict(record)).encode()
        self._disk_cache.put(url, _RECORD, len(content), [content], generation)

    def keep(self, url: str, record: CopyRecord, body: bytes, generation: Generation) -> Original:
        """Keep a picture, unless a purge came after the generation. The very bytes that are kept
        already stay, and with them their version.
        """
        if self._has(url, record.checksum) or self._disk_cache.put_file(
            url, _PICTURE, body, generation
        ):
            self.write_down(url, record, generation)
            with contextlib.suppress(ImageError):  # it is gone again
                return self.find(url)
        return PassingCopy(self, url, record.checksum, len(body), time.time_ns(), body=body)

    def turn(self, url: str, wait_seconds: float) -> contextlib.AbstractContextManager[bool]:
        """Be the only one that fetches a URL, over all processes; get whether that is so."""
        return self._locks.held_if_possible(f"fetch {url}", wait_seconds)

    def _check(self, url: str, file: BinaryIO) -> None:
        """Refuse what is damaged; it is removed, so that the next request fetches it anew."""
        checksum, path = _checksum(file), self._path(url)
        record = self.record(url)
        if record is None or record.checksum != checksum:
            # A process that has just fetched another version writes its record in a moment.
            with self.turn(url, 1):
                record = self.record(url)
        if record is None:  # purged meanwhile; or damaged, which was noted when it was read
            raise OriginalsUnavailable(f"{path} has gone")
        if record.checksum != checksum:
            self._disk_cache.note_damage(f"{path} is damaged; it is fetched anew")
            with contextlib.suppress(OSError):
                self._disk_cache.purge(url)
            raise OriginalsUnavailable(f"{path} is damaged")
        file.seek(0)

    def _has(self, url: str, checksum: str) -> bool:
        with (
            contextlib.suppress(ImageError, OSError),
            self._files.open(self._files.find(self._path(url))) as (file, _),
        ):
            return _checksum(file) == checksum
        return False

    def _path(self, url: str) -> str:
        return self._disk_cache.path(url, _PICTURE)


def url_of(name: str) -> RemoteUrl:
    """Return the URL that an original is called by.

    Raises:
        NotFound: it is no URL.
    """
    try:
        return read_url(name)
    except ValueError as error:
        raise NotFound(f"{name!r}: {error}") from error


def _checksum(file: BinaryIO) -> str:
    return checksum_of(iter(partial(file.read, _CHUNK_BYTES), b""))
