"""Where originals live: found, sized up, opened, and never outside their root."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from imgprocessor.errors import NotFound, OriginalsUnavailable, OversizedOriginal
from imgprocessor.originals.source import NOT_SHOWN, FolderState, Listed, NodeVersion, Original
from imgprocessor.request.names import forms

# What means "no such picture" to a visitor. The detail, for the log, says which it was.
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.ENAMETOOLONG, errno.EINVAL)

_MAX_PLACES = 8
"""So many names of the same letters are followed from folder to folder."""


class _Replaced(NotFound):
    """The file was found, and has gone."""


class Folder:
    """A folder of originals, by their names; an id is where a file really is."""

    def __init__(self, root: Path, max_bytes: int, number: int = 0) -> None:
        """Use a folder; no original may have more bytes. Of several folders, each has a number."""
        self._root = Path(os.path.realpath(root))
        self._max_bytes = max_bytes
        self._number = number

    def find(self, name: str) -> Original:
        """Size up an original without opening it; `name` is relative, `/` between folders.

        Raises:
            NotFound: there is none, or it is no plain file, or not under the root.
            OversizedOriginal: it has too many bytes.
            OriginalsUnavailable: the folder cannot be read.
        """
        return self._sized_up(*self._located(name))

    def at_hand(self, name: str) -> Original:
        """Size up an original, as `find` does: all are on this node."""
        return self.find(name)

    def _located(self, name: str) -> tuple[str, os.stat_result]:
        """Return where a name leads, and what is there; where nothing is, where one of the same
        letters does.
        """
        if name.isascii():  # which has no other form
            return self._led_to(name)
        try:
            return self._led_to(name)
        except NotFound:
            for other in self._in_other_forms(name):
                with contextlib.suppress(NotFound):
                    return self._led_to(other)
            raise

    def _led_to(self, name: str) -> tuple[str, os.stat_result]:
        # Replaced between two steps, it is looked up once more.
        with contextlib.suppress(_Replaced):
            return self._looked_up(name)
        return self._looked_up(name)

    def _looked_up(self, name: str) -> tuple[str, os.stat_result]:
        # Opens nothing: the kernel finds where the name leads, and that alone can be asked.
        descriptor = self._opened(name, os.O_PATH)
        try:
            return self._inside(descriptor)
        finally:
            os.close(descriptor)

    def _in_other_forms(self, name: str) -> Iterator[str]:
        """Yield the names of the same letters that are there: each segment may be in another form.

        No folder is listed, and where a segment is not there in any form the search ends.
        """
        known = [""]
        for segment in name.split("/"):
            spelled = (f"{base}{form}" for base in known for form in forms(segment))
            there = (path for path in spelled if _is_there(f"{self._root}/{path}"))
            known = [f"{path}/" for path in islice(there, _MAX_PLACES)]
            if not known:
                return
        yield from (path[:-1] for path in known)

    def id_of(self, name: str) -> str:
        """Return where an original really is or would be, symbolic links followed.

        Raises:
            NotFound: the name leads outside the root.
        """
        with contextlib.suppress(NotFound, OriginalsUnavailable):
            return self._located(name)[0]
        with contextlib.suppress(ValueError):  # a NUL in the name
            path = Path(os.path.realpath(self._root / name))
            if path.is_relative_to(self._root):
                return str(path)
        raise NotFound(f"{name!r} leads outside {self._root}")

    def shared_id(self, original_id: str) -> str:
        """Return where an original of this folder is, under the root; behind the folder's number
        where it is not the first.
        """
        path = original_id.removeprefix(f"{self._root}/")
        return f"{self._number}//{path}" if self._number else path

    def relative(self, original: Original) -> str | None:
        """Return where an original of this folder is, under the root; None of any other."""
        inside = original.source is self
        return original.id.removeprefix(f"{self._root}/") if inside else None

    def folder(self, name: str) -> FolderState:
        """Look at a folder of originals; "" is the root.

        Raises:
            NotFound: there is none, or not under the root, or it may not be entered.
            OriginalsUnavailable: the disk fails.
        """
        path, status = self._located(name)
        if not stat.S_ISDIR(status.st_mode):
            raise NotFound(f"{path} is no folder")
        times = (status.st_mtime_ns, status.st_ctime_ns)
        is_closed = _is_there(f"{path}/{NOT_SHOWN}")
        return FolderState(path, (status.st_ino, *times), max(times), is_closed)

    def listed(self, name: str) -> Listed:
        """List a folder of originals; what comes or goes meanwhile is in the list or not. Raises as
        `folder` does.
        """
        path, _ = self._located(name)
        descriptor = self._opened(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            self._inside(descriptor)
            return _sorted_by_kind(descriptor)
        except OSError as error:
            raise OriginalsUnavailable(f"{path}: {error.strerror}") from error
        finally:
            os.close(descriptor)

    def look(self) -> None:
        """Look whether the root can be listed.

        Raises:
            OSError: it cannot.
        """
        with os.scandir(self._root) as entries:
            next(entries, None)

    def forget(self, name: str) -> int:
        """Remove nothing: what is here is the operator's. Raises as `id_of` does."""
        self.id_of(name)
        return 0

    def forget_all(self) -> int:
        """Remove nothing."""
        return 0

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
        descriptor = self._opened(original.id, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            # The path may lead elsewhere by now, if a folder on the way was replaced by a link.
            _, status = self._inside(descriptor)
            opened = self._sized_up(original.id, status)
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                yield file, opened
            after = os.fstat(descriptor)
            if (after.st_mtime_ns, after.st_size) != (opened.modified_ns, opened.size_bytes):
                raise OriginalsUnavailable(f"{original.id} was changed while it was read")
        finally:
            os.close(descriptor)

    def _opened(self, name: str, flags: int) -> int:
        """Return a descriptor of what is called so, be it inside or not."""
        try:
            path = os.path.join(self._root, name)  # noqa: PTH118 - for each request
            return os.open(path, flags | os.O_CLOEXEC)
        except OSError as error:
            # Not Path.is_dir(), which raises where a folder above may not be entered.
            if error.errno in _ABSENT and os.path.isdir(self._root):  # noqa: PTH112
                raise NotFound(f"{name!r}: {error.strerror}") from error
            raise OriginalsUnavailable(f"{self._root}: {error.strerror}") from error
        except ValueError as error:  # a NUL in the name
            raise NotFound(f"{name!r}: {error}") from error

    def _inside(self, descriptor: int) -> tuple[str, os.stat_result]:
        """Return where an open file really is, symbolic links followed; and what it is."""
        path = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - for each request
        if path != str(self._root) and not path.startswith(f"{self._root}/"):
            raise NotFound(f"{path} is outside {self._root}")
        status = os.fstat(descriptor)
        if not status.st_nlink:
            raise _Replaced(path)  # the kernel adds a word to its name
        return path, status

    def _sized_up(self, path: str, status: os.stat_result) -> Original:
        size, modified_ns = status.st_size, status.st_mtime_ns
        if not stat.S_ISREG(status.st_mode):
            raise NotFound(f"{path} is no plain file")
        if size > self._max_bytes:
            wrong = f"{path} has {size} bytes, over max_bytes = {self._max_bytes}"
            raise OversizedOriginal(wrong)
        on_node = NodeVersion(status.st_ctime_ns, status.st_ino)
        version = f"{modified_ns:x}-{size:x}"
        return Original(self, path, version, size, modified_ns, on_node)


def _sorted_by_kind(descriptor: int) -> Listed:
    listed = Listed([], [], [])
    with os.scandir(descriptor) as entries:
        for entry in entries:
            # None of these calls the system, but where the file system does not say what it is.
            if entry.is_symlink():
                listed.links.append(entry.name)
            elif entry.is_dir(follow_symlinks=False):
                listed.folders.append(entry.name)
            elif entry.is_file(follow_symlinks=False):
                listed.files.append(entry.name)
    return listed


def _is_there(path: str) -> bool:
    """Whether something is called so, or the disk cannot tell, as opening it will."""
    try:
        os.lstat(path)
    except OSError as error:
        return error.errno not in _ABSENT
    except ValueError:  # a NUL in the name
        return False
    return True
