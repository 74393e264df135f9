"""Files of jobs: what was handed in, until a job is over; and the thumbnail, as long as the job."""

import contextlib
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from imgprocessor.errors import NotFound, OriginalsUnavailable
from imgprocessor.jobs.previews.results import remove_tree
from imgprocessor.originals.source import Original, group_of
from imgprocessor.storage.uploads.durable import settle, told_of_a_full_disk, write_new

_JOB = re.compile("[A-Za-z0-9_-]{32}")
_FILE, _THUMBNAIL, _SCRATCH = "file", "thumbnail", "scratch"
_PREFIX = "job:"
_GONE = ".gone-"
"""In the name of a folder that is being removed."""

_NEW_SECONDS = 600.0
"""A folder without a record is there for a moment, before the record is; not for so long."""


class JobFiles:
    """A folder for each job. Any number of processes may use it at once."""

    def __init__(self, folder: Path) -> None:
        """Use a folder, which is made when first needed."""
        self._folder = folder

    def take(self, job: str, file: Path) -> None:
        """Keep a file that was handed in for a job; it is moved.

        Raises:
            NoRoom, OSError: it is not kept.
        """
        with told_of_a_full_disk():
            path = self._path(job)
            path.mkdir(parents=True)
            settle(file)
            file.rename(path / _FILE)
            settle(path)
            settle(self._folder)

    def file(self, job: str) -> Path:
        """Return where the file of a job is."""
        return self._path(job) / _FILE

    def keep_thumbnail(self, job: str, content: bytes) -> None:
        """Keep what was made, instead of what was made before.

        Raises:
            NoRoom, OSError: it is not kept.
        """
        with told_of_a_full_disk():
            path = self._path(job)
            path.mkdir(parents=True, exist_ok=True)
            fresh = path / f".{os.getpid()}-{time.monotonic_ns():x}"
            try:
                write_new(fresh, content)
                fresh.rename(path / _THUMBNAIL)
            finally:
                fresh.unlink(missing_ok=True)

    def thumbnail(self, job: str) -> bytes | None:
        """Return what was made; None where it is not there.

        Raises:
            OSError: it cannot be read.
        """
        with contextlib.suppress(FileNotFoundError):
            return (self._path(job) / _THUMBNAIL).read_bytes()
        return None

    def remove_file(self, job: str) -> None:
        """Remove what was handed in, once there is a thumbnail.

        Raises:
            OSError: it is left.
        """
        self.file(job).unlink(missing_ok=True)

    @contextlib.contextmanager
    def scratch(self, job: str) -> Iterator[Path]:
        """Have an empty folder that nobody else looks into, and of which nothing is left.

        Raises:
            NoRoom, OSError: there is none.
        """
        with told_of_a_full_disk():
            self._path(job).mkdir(parents=True, exist_ok=True)
            # Of its own: a job that was taken for lost may be done by two.
            folder = Path(tempfile.mkdtemp(prefix=f"{_SCRATCH}-", dir=self._path(job)))
        try:
            yield folder
        finally:
            remove_tree(folder)
            with contextlib.suppress(OSError):  # there are other files
                self._path(job).rmdir()

    def remove(self, job: str) -> None:
        """Remove all files of a job.

        Raises:
            OSError: something is left.
        """
        # Out of the way first: a worker may be about to write there.
        gone = self._folder / f"{job}{_GONE}{time.monotonic_ns():x}"
        with contextlib.suppress(FileNotFoundError):
            self._path(job).rename(gone)
            remove_tree(gone)

    def unknown(self) -> Iterator[str]:
        """Yield jobs that have had files for so long that there must be a record of them; what was
        removed by processes that were killed over it goes.
        """
        with contextlib.suppress(FileNotFoundError):
            for path in self._folder.iterdir():
                with contextlib.suppress(FileNotFoundError):
                    is_old = time.time() - path.stat().st_mtime > _NEW_SECONDS
                    if is_old and _GONE in path.name:
                        remove_tree(path)
                    elif is_old and _JOB.fullmatch(path.name):
                        yield path.name

    def group(self, job: str) -> str:
        """Return what is kept of a job's file is kept as."""
        return group_of(f"{_PREFIX}{job}")

    def original(self, job: str, version: str) -> Original:
        """Return the file of a job as an original; `version` says what is in it.

        Raises:
            NotFound: it has gone.
        """
        with _as_originals_do():
            status = self.file(job).stat()
        source = FileOfJob(self._folder)
        return Original(source, f"{_PREFIX}{job}", version, status.st_size, status.st_mtime_ns)

    def _path(self, job: str) -> Path:
        if not _JOB.fullmatch(job):
            raise FileNotFoundError(job)
        return self._folder / job


class FileOfJob:
    """The source of such originals: nobody finds one by a name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, name: str) -> Original:
        """Find nothing.

        Raises:
            NotFound: always.
        """
        raise NotFound(f"{name!r} is no name of a job's file")

    def id_of(self, name: str) -> str:
        """Return nothing. Raises as `find` does."""
        return self.find(name).id

    def shared_id(self, original_id: str) -> str:
        """Return the id itself: nothing that is made of it is shared."""
        return original_id

    @contextlib.contextmanager
    def open(self, original: Original) -> Iterator[tuple[BinaryIO, Original]]:
        """Open a job's file, as `Source.open` says."""
        path = self._folder / original.id.removeprefix(_PREFIX) / _FILE
        with _as_originals_do():
            file = path.open("rb")
        with file:
            yield file, original

    def forget(self, name: str) -> int:
        """Remove nothing. Raises as `find` does."""
        self.find(name)
        return 0

    def forget_all(self) -> int:
        """Remove nothing."""
        return 0


@contextlib.contextmanager
def _as_originals_do() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(str(error)) from error
    except OSError as error:
        raise OriginalsUnavailable(str(error)) from error
