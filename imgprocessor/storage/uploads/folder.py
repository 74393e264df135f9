"""Uploads on a disk of this node: each a folder that is renamed into place whole, and out again.

`kept/ab/IDENT/` has the file, its record, and what was made of it and stays. A folder is there with
all of its files or not at all, so that whatever copies files may be used as a backup at any time.
"""

import contextlib
import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO, Self

from imgprocessor.errors import NoRoom
from imgprocessor.storage.entry_format import checked, entry_bytes, write_entry
from imgprocessor.storage.eviction import cost_of, files_in, folders_in, scanned
from imgprocessor.storage.locks import Locks
from imgprocessor.storage.uploads.durable import (
    require_free,
    settle,
    told_of_a_full_disk,
    write_new,
)
from imgprocessor.storage.uploads.in_folder import (
    UPLOAD_FILE,
    UPLOAD_RECORD,
    UploadInFolder,
    entry_name,
    made_in,
)
from imgprocessor.storage.uploads.incoming import IncomingFiles
from imgprocessor.storage.uploads.store import UPLOAD_IDENT, Damaged, KeptUpload, Record
from imgprocessor.storage.usage import Usage

_PART = 2

_WAIT_SECONDS = 10.0
"""For the lock of an upload, which its holder has while a file is written."""

_COUNT_AGAIN_SECONDS = 86_400.0
"""What a process that was killed had counted and not kept stays counted until then."""


class UploadFolder:
    """A folder of uploads. Several processes, and several threads of each, may use it at once."""

    def __init__(
        self, folder: Path, *, max_uploads: int, max_bytes: int, min_free_bytes: int
    ) -> None:
        """Use a folder, which is made when first needed. No more uploads are kept than
        `max_uploads`, they and what was made of them take no more than `max_bytes`, and so many
        bytes of the disk stay free.
        """
        self._folder = folder
        self._bounds = {
            "max_uploads": max_uploads,
            "max_bytes": max_bytes,
            "min_free_bytes": min_free_bytes,
        }
        self._kept = folder / "kept"
        self._incoming = IncomingFiles(folder)
        self._removed = folder / "removed"
        self._locks = Locks(folder / "locks")
        self._bytes = Usage(folder / "bytes", self._locks, is_empty=self._is_empty)
        self._uploads = Usage(folder / "uploads", self._locks, is_empty=self._is_empty)
        # Its time stamp says when: those of the counts change with each upload.
        self._counted_anew = folder / "counted"

    def __reduce__(self) -> tuple[Callable[[], Self], tuple[()]]:
        """Another process has a folder of its own, with the same files."""
        return partial(type(self), self._folder, **self._bounds), ()

    def new_file(self) -> Path:
        """Return a path for a file on its way in, as `UploadStore.new_file` says."""
        return self._incoming.new_file()

    def require_room(self, size_bytes: int) -> None:
        """Look whether so many bytes more would be kept.

        Raises:
            NoRoom: they would not.
            OSError: nobody knows at this moment.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        require_free(self._folder, size_bytes, self._bounds["min_free_bytes"])
        if self.kept_bytes() + cost_of(size_bytes) > self._bounds["max_bytes"]:
            raise NoRoom("[uploads] max_kept_bytes is reached")
        if self.count() >= self._bounds["max_uploads"]:
            raise NoRoom("[uploads] max_uploads is reached")

    def kept_bytes(self) -> int:
        """Return what is counted as kept.

        Raises:
            OSError: nobody knows at this moment.
        """
        return self._known(self._bytes)

    def count(self) -> int:
        """Return how many uploads are counted. Raises as `kept_bytes` does."""
        return self._known(self._uploads)

    def add(self, ident: str, file: Path, record: Record) -> bool:
        """Keep a file, as `UploadStore.add` says.

        Raises:
            NoRoom: there is none for it.
            OSError: it is not kept.
        """
        whole = file.with_name(f"{file.name}.whole")
        try:
            with told_of_a_full_disk(), self._alone(ident):
                if self._path(ident).is_dir():
                    return False
                whole.mkdir()
                file.rename(whole / UPLOAD_FILE)
                settle(whole / UPLOAD_FILE)
                write_new(whole / UPLOAD_RECORD, _written(record))
                settle(whole)
                with self._counted(self._uploads, 1, "max_uploads"):
                    cost = _cost_in(whole)
                    with self._counted(self._bytes, cost, "max_bytes"):
                        self._publish(whole, self._path(ident))
                return True
        finally:
            file.unlink(missing_ok=True)
            shutil.rmtree(whole, ignore_errors=True)

    def find(self, ident: str) -> KeptUpload | None:
        """Return an upload, as `UploadStore.find` says."""
        try:
            size = (self._path(ident) / UPLOAD_FILE).stat().st_size
            return KeptUpload(ident, self._record(ident), size)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def now(self, ident: str) -> UploadInFolder | None:
        """Return an upload as it is, as `UploadStore.now` says."""
        for _ in range(2):  # it may come after the first look
            found = self.find(ident)
            if found is not None:
                return UploadInFolder(self._path(ident), found)
            if not UPLOAD_IDENT.fullmatch(ident) or not self._path(ident).is_dir():
                return None
        raise Damaged(errno.EIO, "has not all of its files", str(self._path(ident)))

    def was_removed(self, ident: str) -> bool:
        """Return whether there was one that is not cleared yet, as `UploadStore.was_removed` says:
        nothing else is left of it.
        """
        return ident in self.taken_out()

    def open(self, ident: str) -> BinaryIO:
        """Open an upload's file, as `UploadStore.open` says."""
        return (self._path(ident) / UPLOAD_FILE).open("rb")

    def relative(self, ident: str) -> str | None:
        """Return where an upload's file is, as `UploadStore.relative` says."""
        return str((self._path(ident) / UPLOAD_FILE).relative_to(self._folder))

    def where(self, ident: str) -> str:
        """Return where an upload's file is, for people."""
        return str(self._path(ident) / UPLOAD_FILE)

    def change(self, ident: str, how: Callable[[Record], Record]) -> Record:
        """Change a record, as `UploadStore.change` says."""
        with told_of_a_full_disk(), self._alone(ident):
            record = self._record(ident)
            changed = how(record)
            if changed != record:
                fresh = self.new_file()
                try:
                    write_new(fresh, _written(changed))
                    fresh.rename(self._path(ident) / UPLOAD_RECORD)
                    settle(self._path(ident))
                finally:
                    fresh.unlink(missing_ok=True)
            return changed

    def keep(self, ident: str, name: str, body: bytes) -> None:
        """Keep what was made of an upload, as `UploadStore.keep` says.

        Raises:
            NoRoom: there is none for it.
            FileNotFoundError, OSError: as there.
        """
        entry, path, fresh = entry_name(ident, name), self._path(ident) / name, self.new_file()
        cost = cost_of(entry_bytes(entry, len(body)))
        require_free(self._folder, cost, self._bounds["min_free_bytes"])
        try:
            with told_of_a_full_disk(), self._counted(self._bytes, cost, "max_bytes"):
                with fresh.open("xb") as file:
                    write_entry(file.fileno(), entry, [body])
                with self._alone(ident):
                    before = _cost_of(path)
                    fresh.rename(path)
            self._bytes.subtract(before)
        finally:
            fresh.unlink(missing_ok=True)

    def kept(self, ident: str, name: str) -> bytes | None:
        """Return what was made of an upload, as `UploadStore.kept` says."""
        try:
            content = (self._path(ident) / name).read_bytes()
        except OSError:
            return None
        body = checked(memoryview(content), entry_name(ident, name))
        return None if body is None else bytes(body)

    def take_out(self, ident: str) -> bool:
        """Take an upload out, as `UploadStore.take_out` says."""
        with self._alone(ident):
            return self._taken_out(ident)

    def hand_over(self, ident: str, keep: Callable[[], None]) -> None:
        """Take an upload out once it is kept elsewhere, as `HandsOver.hand_over` says."""
        with self._alone(ident):
            keep()
            self._taken_out(ident)

    def taken_out(self) -> Sequence[str]:
        """Return which uploads are taken out and not cleared, as `UploadStore.taken_out` says."""
        names = {entry.name.partition(".")[0] for entry in scanned(self._removed)}
        return sorted(names)

    def clear(self, ident: str) -> None:
        """Remove the files of what was taken out, as `UploadStore.clear` says."""
        with self._alone(ident):  # or two would count it less
            for path in self._removed.glob(f"{ident}.*"):
                cost = _cost_in(path)
                shutil.rmtree(path)
                self._bytes.subtract(cost)

    def forget(self, ident: str) -> int:  # noqa: ARG002 - the protocol's
        """Remove nothing: all that is here is kept."""
        return 0

    def forget_all(self) -> int:
        """Remove nothing."""
        return 0

    def idents(
        self,
        left_out: Callable[[str], None] = lambda _: None,  # noqa: ARG002 - the protocol's
    ) -> Iterator[str]:
        """Yield the idents of all uploads, in order."""
        for folder in sorted(folders_in(self._kept)):
            for path in sorted(folders_in(folder)):
                if UPLOAD_IDENT.fullmatch(os.path.basename(path)):  # noqa: PTH119 - a million of them
                    yield os.path.basename(path)  # noqa: PTH119

    def names(self, ident: str) -> Sequence[str]:
        """Return what is kept beside an upload's file and record, as `UploadStore.names` says."""
        return made_in(self._path(ident))

    def strangers(self) -> Iterator[str]:
        """Yield paths of what lies among the uploads, as `UploadStore.strangers` says."""
        for part in scanned(self._kept):
            if not part.is_dir(follow_symlinks=False):
                yield part.path
                continue
            for entry in scanned(part.path):
                is_ident = UPLOAD_IDENT.fullmatch(entry.name) and entry.name.startswith(part.name)
                if not (
                    is_ident and len(part.name) == _PART and entry.is_dir(follow_symlinks=False)
                ):
                    yield entry.path

    def sweep(self) -> None:
        """Remove what was left half done, as `UploadStore.sweep` says."""
        with self._locks.held("sweep", 0) as mine:
            if not mine:
                return
            self._incoming.sweep()
            with contextlib.suppress(FileNotFoundError):
                age_seconds = time.time() - self._counted_anew.stat().st_mtime
                if 0 <= age_seconds < _COUNT_AGAIN_SECONDS:
                    return
            self.count_anew()

    def count_anew(self) -> None:
        """Count what is kept, by looking at all of it.

        Raises:
            OSError: it cannot be looked at.
        """
        known = (self._uploads, self._bytes)
        before = [usage.read() for usage in known]
        uploads = cost = 0
        for ident in self.idents():
            uploads += 1
            cost += _cost_in(self._path(ident))
        # After those that are kept, which may be taken out meanwhile.
        cost += sum(map(_cost_in, map(Path, folders_in(self._removed))))
        for usage, found, was in zip(known, (uploads, cost), before, strict=True):
            usage.correct(found, was)
        self._counted_anew.touch()

    def _record(self, ident: str) -> Record:
        path = self._path(ident) / UPLOAD_RECORD
        try:
            record: Record = json.loads(path.read_bytes())
        except ValueError as error:
            raise OSError(errno.EIO, f"is no record: {error}", str(path)) from error
        return record

    def _taken_out(self, ident: str) -> bool:
        try:
            path = self._path(ident)
            self._removed.mkdir(parents=True, exist_ok=True)
            path.rename(self._removed / f"{ident}.{time.time_ns():x}")
        except FileNotFoundError:
            return ident in self.taken_out()
        settle(self._removed)
        settle(path.parent)
        self._uploads.subtract(1)
        return True

    def _path(self, ident: str) -> Path:
        if not UPLOAD_IDENT.fullmatch(ident):
            raise FileNotFoundError(errno.ENOENT, "no ident", ident)
        return self._kept / ident[:_PART] / ident

    def _alone(self, ident: str) -> contextlib.AbstractContextManager[None]:
        return self._locks.alone(f"upload {ident}", _WAIT_SECONDS)

    def _known(self, usage: Usage) -> int:
        known, _ = usage.read()
        if known is None:
            self.count_anew()
            known, _ = usage.read()
        return known or 0

    @contextlib.contextmanager
    def _counted(self, usage: Usage, amount: int, bound: str) -> Iterator[None]:
        """Count something before it is kept; no more, where it is not."""
        self._known(usage)
        with usage.locked() as (total, added):
            if (total or 0) + amount > self._bounds[bound]:
                raise NoRoom(f"{bound} of [uploads] is reached")
            usage.write((total or 0) + amount, added + amount)
        try:
            yield
        except BaseException:
            usage.subtract(amount)
            raise

    def _publish(self, whole: Path, path: Path) -> None:
        """Put a folder in its place, for good."""
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            settle(self._kept)
            settle(self._folder)
        whole.rename(path)
        settle(path.parent)

    def _is_empty(self) -> bool:
        return next(self.idents(), None) is None and not self.taken_out()


def _written(record: Record) -> bytes:
    return json.dumps(record, indent=1).encode()


def _cost_of(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return cost_of(path.stat().st_size)
    return 0


def _cost_in(folder: Path) -> int:
    return sum(file.cost_bytes for file in files_in(folder))
