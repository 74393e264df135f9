"""Where originals live: found, sized up, opened, and never outside their root."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from imgprocessor.config.settings import OriginalsSettings
from imgprocessor.errors import NotFound, OriginalsUnavailable, OversizedOriginal

# What means "no such picture" to a visitor. The detail, for the log, says which it was.
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.ENAMETOOLONG, errno.EINVAL)


@dataclass(frozen=True)
class Original:
    """A picture in the folder of originals, not opened yet."""

    path: str
    """Where it really is, symbolic links followed. What is made from it is kept under that,
    whatever its version.
    """
    size_bytes: int
    modified_ns: int
    changed_ns: int
    """When its inode changed: also by what sets the modification time back, as copying may."""
    inode: int

    @property
    def identity(self) -> str:
        """Which file it is, in which version."""
        return f"{self.version}-{self.inode:x} {self.path}"

    @property
    def version(self) -> str:
        """What changes when the file is replaced, even by one of its size and time stamp."""
        return f"{self.modified_ns:x}-{self.size_bytes:x}-{self.changed_ns:x}"


class _Replaced(NotFound):
    """The file was found, and has gone."""


class Originals:
    """The folder of originals."""

    def __init__(self, root: Path, settings: OriginalsSettings) -> None:
        self._root = Path(os.path.realpath(root))
        self._max_bytes = settings.max_bytes

    def find(self, name: str) -> Original:
        """Size up an original without opening it; `name` is relative, `/` between folders.

        Raises:
            NotFound: there is none, or it is no plain file, or not under the root.
            OversizedOriginal: it has too many bytes.
            OriginalsUnavailable: the folder cannot be read.
        """
        # Replaced between two steps, it is looked up once more.
        with contextlib.suppress(_Replaced):
            return self._found(name)
        return self._found(name)

    def _found(self, name: str) -> Original:
        try:
            # Opens nothing: the kernel finds where the name leads, and that alone can be asked.
            descriptor = os.open(f"{self._root}/{name}", os.O_PATH | os.O_CLOEXEC)
        except OSError as error:
            raise self._refusal(name, error) from error
        except ValueError as error:  # a NUL in the name
            raise NotFound(f"{name!r}: {error}") from error
        try:
            return self._sized_up(*self._inside(descriptor))
        finally:
            os.close(descriptor)

    def path_of(self, name: str) -> str:
        """Return the path of an original by its name, be it there or not.

        Raises:
            NotFound: the name leads outside the root.
        """
        path = Path(os.path.realpath(self._root / name))
        if not path.is_relative_to(self._root):
            raise NotFound(f"{name!r} leads outside {self._root}")
        return str(path)

    def forget(self, name: str) -> int:  # noqa: ARG002 - the name
        """Remove an original that is here only because it was asked for: of the operator's, none.
        Return how many files that were.
        """
        return 0

    def for_another_process(self, original: Original) -> "Originals":  # noqa: ARG002 - some look
        """Return where another process can open an original.

        Raises:
            ImageError: it is known already that it cannot.
        """
        return self

    @contextlib.contextmanager
    def open(self, original: Original) -> Iterator[tuple[BinaryIO, Original]]:
        """Open what `find` found; yield the file and the original as it is by now.

        Raises:
            NotFound: it has gone, or something else took its place.
            OversizedOriginal: it has grown.
            OriginalsUnavailable: it was changed while it was read, or reading failed.
        """
        # O_NOFOLLOW and O_NONBLOCK: should the file have become a symbolic link or a FIFO since
        # it was sized up, the first is refused and the second does not hang.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(original.path, flags)
        except OSError as error:
            raise self._refusal(original.path, error) from error
        with os.fdopen(descriptor, "rb") as file:
            # The path may lead elsewhere by now, if a folder on the way was replaced by a link.
            _, status = self._inside(descriptor)
            opened = self._sized_up(original.path, status)
            yield file, opened
            after = os.fstat(descriptor)
            if (after.st_mtime_ns, after.st_size) != (opened.modified_ns, opened.size_bytes):
                raise OriginalsUnavailable(f"{original.path} was changed while it was read")

    def _inside(self, descriptor: int) -> tuple[str, os.stat_result]:
        """Return where an open file really is, symbolic links followed; and what it is."""
        path = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - for each request
        if not path.startswith(f"{self._root}/"):
            raise NotFound(f"{path} is outside {self._root}")
        status = os.fstat(descriptor)
        if not status.st_nlink:
            raise _Replaced(path)  # the kernel adds a word to its name
        return path, status

    def _sized_up(self, path: str, status: os.stat_result) -> Original:
        if not stat.S_ISREG(status.st_mode):
            raise NotFound(f"{path} is no plain file")
        if status.st_size > self._max_bytes:
            wrong = f"{path} has {status.st_size} bytes, over max_bytes = {self._max_bytes}"
            raise OversizedOriginal(wrong)
        return Original(path, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)

    def _refusal(self, name: str, error: OSError) -> NotFound | OriginalsUnavailable:
        # Not Path.is_dir(), which raises where a folder above may not be entered.
        if error.errno in _ABSENT and os.path.isdir(self._root):  # noqa: PTH112
            return NotFound(f"{name!r}: {error.strerror}")
        return OriginalsUnavailable(f"{self._root}: {error.strerror}")
