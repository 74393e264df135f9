"""Local copies of originals elsewhere: files, or bytes for one request where none can be kept."""

import contextlib
import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

from imgprocessor.errors import ImageError, NotFound, OriginalsUnavailable
from imgprocessor.originals.folder import Folder
from imgprocessor.originals.source import Address, CopyRecord, NodeVersion, Original
from imgprocessor.storage.entry_format import checksum_of
from imgprocessor.storage.generation import Generation
from imgprocessor.storage.locks import Locks
from imgprocessor.storage.plain_files import PlainFiles

_PICTURE, _RECORD = "picture", "facts"
"""The keys under which the picture and its record are kept; the group is the original's id."""

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class PassingCopy(Original):
    """A picture that could not be kept: good for this one time."""

    body: bytes = field(repr=False)


class Copy(NamedTuple):
    """What is here of an original."""

    original: Original
    record: CopyRecord


class LocalCopies:
    """What was fetched, by where it came from. Fetches nothing, so it can be handed to another
    process.

    A version is made of the bytes, so it is the same on all nodes, and as long as they are: it does
    not matter which file on this node has them.
    """

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        disk_cache: PlainFiles,
        address: Callable[[str], Address],
    ) -> None:
        """Use a disk cache in a folder.

        Args:
            folder: where it keeps what it has.
            max_bytes: no picture may have more.
            disk_cache: what keeps it.
            address: what tells where an original of a name is; it raises NotFound where none may
                be called so. Another process must be able to import it.
        """
        self._files = Folder(folder, max_bytes)
        self._disk_cache = disk_cache
        self._locks = Locks(folder / "locks")
        self.address = address

    def find(self, name: str) -> Original:
        """Size up what is kept of an original.

        Raises:
            NotFound: nothing is.
        """
        known = self.copy(self.id_of(name))
        if known is None:
            raise NotFound(f"{name!r}: there is no copy of it")
        return known.original

    def id_of(self, name: str) -> str:
        """Return the one spelling of where an original is. Raises as `address` does."""
        return self.address(name).id

    def copy(self, ident: str) -> Copy | None:
        """Return what is kept of an original; None where nothing is, or not all of it."""
        record = self.record(ident)
        if record is not None:
            with contextlib.suppress(ImageError):
                found = self._files.find(self._path(ident))
                return Copy(self._original(ident, record, found), record)
        return None

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
        ident = original.id
        with contextlib.ExitStack() as stack:
            try:
                path = self._path(ident)
                file, opened = stack.enter_context(self._files.open(replace(original, id=path)))
            except (NotFound, UnicodeEncodeError) as error:
                raise OriginalsUnavailable(f"{ident!a} has gone") from error
            record = self._checked(ident, file)
            yield file, self._original(ident, record, opened)

    def forget(self, name: str) -> int:
        """Remove what is kept of an original. Raises as `Source.forget` does."""
        return self.remove(self.id_of(name))

    def remove(self, ident: str) -> int:
        """Remove what is kept; return how many files that were.

        Raises:
            OSError: it cannot be removed.
        """
        return self._disk_cache.purge(ident)

    def forget_all(self) -> int:
        """Remove everything. Raises as `Source.forget_all` does."""
        return self._disk_cache.purge_all()

    def record(self, ident: str) -> CopyRecord | None:
        """Return what is known of a copy; None where there is none, or it is not known."""
        content = self._disk_cache.get(ident, _RECORD)
        try:
            return None if content is None else CopyRecord(**json.loads(bytes(content)))
        except TypeError:  # of another version of this program
            return None

    def write_down(self, ident: str, record: CopyRecord, generation: Generation) -> None:
        """Keep what is known of a copy, unless a purge came after the generation."""
        content = json.dumps(record._asdict()).encode()
        self._disk_cache.put(ident, _RECORD, len(content), [content], generation)

    def keep(self, ident: str, record: CopyRecord, body: bytes, generation: Generation) -> Original:
        """Keep a picture, unless a purge came after the generation. The very bytes that are kept
        already stay.
        """
        if self._has(ident, record.checksum) or self._disk_cache.put_file(
            ident, _PICTURE, body, generation
        ):
            self.write_down(ident, record, generation)
            kept = self.copy(ident)
            if kept is not None:  # or it is gone again
                return kept.original
        modified_ns = record.modified_ns or time.time_ns()
        return PassingCopy(self, ident, record.checksum, len(body), modified_ns, body=body)

    def turn(self, ident: str, wait_seconds: float) -> contextlib.AbstractContextManager[bool]:
        """Be the only one that fetches an original, over all processes; get whether that is so."""
        return self._locks.held_if_possible(f"fetch {ident}", wait_seconds)

    def _original(self, ident: str, record: CopyRecord, file: Original) -> Original:
        return replace(
            file,
            source=self,
            id=ident,
            version=record.checksum,
            modified_ns=record.modified_ns or file.modified_ns,
            on_node=NodeVersion(),
        )

    def _checked(self, ident: str, file: BinaryIO) -> CopyRecord:
        """Refuse what is damaged; it is removed, so that the next request fetches it anew."""
        checksum, path = _checksum(file), self._path(ident)
        record = self.record(ident)
        if record is None or record.checksum != checksum:
            # A process that has just fetched another version writes its record in a moment.
            with self.turn(ident, 1):
                record = self.record(ident)
        if record is None:  # purged meanwhile; or damaged, which was noted when it was read
            raise OriginalsUnavailable(f"{path} has gone")
        if record.checksum != checksum:
            self._disk_cache.note_damage(f"{path} is damaged; it is fetched anew")
            with contextlib.suppress(OSError):
                self._disk_cache.purge(ident)
            raise OriginalsUnavailable(f"{path} is damaged")
        file.seek(0)
        return record

    def _has(self, ident: str, checksum: str) -> bool:
        with (
            contextlib.suppress(ImageError, OSError),
            self._files.open(self._files.find(self._path(ident))) as (file, _),
        ):
            return _checksum(file) == checksum
        return False

    def _path(self, ident: str) -> str:
        return self._disk_cache.path(ident, _PICTURE)


def _checksum(file: BinaryIO) -> str:
    return checksum_of(iter(partial(file.read, _CHUNK_BYTES), b""))
