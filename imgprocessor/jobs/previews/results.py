"""What a step left in its folder: opened without being led out, measured, and removed."""

import errno
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from imgprocessor.errors import UndrawableDocument
from imgprocessor.images.previews.kind import EMPTY, TOO_LARGE

MAX_FILES = 2_000
"""In a step's folder; LibreOffice's profile has some hundred."""
_MAX_DEPTH = 32

BLOCK_BYTES = 512
UNKNOWN_BYTES = 1 << 62
"""What cannot be looked at counts as that: more than any step may leave."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without waiting for somebody at the other end of a pipe.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""What comes of opening a folder that was removed meanwhile, or is another thing by now."""


def open_result(folder: Path, file: Path, max_bytes: int) -> BinaryIO:
    """Open a file that a step made, for reading: a regular one, in its folder, and no link on the
    way to it.

    Raises:
        UndrawableDocument: there is none, or it is empty, or too large.
        OSError: nobody knows; the machine is to blame.
    """
    names = file.relative_to(folder).parts
    if not names or ".." in names:
        raise ValueError(file)
    try:
        at = os.open(folder, _FOLDER)
        try:
            for name in names[:-1]:
                inner = os.open(name, _FOLDER, dir_fd=at)
                os.close(at)
                at = inner
            opened = os.open(names[-1], _FILE, dir_fd=at)
        finally:
            os.close(at)
    except OSError as error:
        if error.errno in {*_GONE, errno.ENXIO, errno.EACCES}:
            raise UndrawableDocument(EMPTY, f"no result: {error}") from error
        raise
    found = os.fstat(opened)
    if stat.S_ISREG(found.st_mode) and 0 < found.st_size <= max_bytes:
        return os.fdopen(opened, "rb")
    os.close(opened)
    if stat.S_ISREG(found.st_mode) and found.st_size:
        raise UndrawableDocument(TOO_LARGE, f"a result of {found.st_size} bytes")
    raise UndrawableDocument(EMPTY, "the result is empty, or no regular file")


@dataclass
class FolderUse:
    """What a folder takes, as far as it was looked at."""

    file_bytes: int = 0
    files: int = 0
    depth: int = 0

    def is_over(self, max_bytes: int) -> bool:
        """Whether it is more than a step may leave."""
        return self.file_bytes > max_bytes or self.files > MAX_FILES or self.depth > _MAX_DEPTH


def folder_use(folder: Path, max_bytes: int) -> FolderUse:
    """Return what a folder takes, or as much of it as is too much."""
    use = FolderUse()
    with suppress(FileNotFoundError):
        _add_up(os.open(folder, _FOLDER), 1, max_bytes, use)
    return use


def _add_up(at: int, depth: int, max_bytes: int, use: FolderUse) -> None:
    """Add up an open folder, which is closed afterwards."""
    use.depth = max(use.depth, depth)
    try:
        with os.scandir(at) as entries:
            for entry in entries:
                use.files += 1
                if use.is_over(max_bytes):
                    return
                try:
                    found = entry.stat(follow_symlinks=False)
                    use.file_bytes += found.st_blocks * BLOCK_BYTES
                    if not stat.S_ISDIR(found.st_mode):
                        continue
                    inner = os.open(entry.name, _FOLDER, dir_fd=at)
                except PermissionError:  # it was made such that nobody can list it
                    use.file_bytes += UNKNOWN_BYTES
                    return
                except OSError as error:
                    if error.errno in _GONE:
                        continue
                    raise
                _add_up(inner, depth + 1, max_bytes, use)
    finally:
        os.close(at)


def remove_tree(folder: Path) -> None:
    """Remove a folder with whatever is in it: folders that may not be read, and such as lie deeper
    than paths can be long.
    """
    with suppress(FileNotFoundError):
        top = os.open(folder, _FOLDER)
        try:
            _empty(top)
        finally:
            os.close(top)
        folder.rmdir()


def _empty(top: int) -> None:
    # What lies deeper is brought up first, so that nothing is ever deep.
    found, number = True, 0
    while found:
        found = False
        for name in os.listdir(top):
            found = True
            try:
                os.unlink(name, dir_fd=top)
            except (IsADirectoryError, PermissionError):
                number = _bring_up(top, name, number)
                os.rmdir(name, dir_fd=top)


def _bring_up(top: int, name: str, number: int) -> int:
    """Empty a folder in a folder into that; return the next free number for names."""
    os.chmod(name, 0o700, dir_fd=top, follow_symlinks=True)
    inner = os.open(name, _FOLDER, dir_fd=top)
    try:
        for deeper in os.listdir(inner):  # noqa: PTH208 - an open folder
            try:
                os.unlink(deeper, dir_fd=inner)
            except (IsADirectoryError, PermissionError):
                os.chmod(deeper, 0o700, dir_fd=inner, follow_symlinks=True)
                while _is_there(top, f".{number}"):
                    number += 1
                os.rename(deeper, f".{number}", src_dir_fd=inner, dst_dir_fd=top)
                number += 1
    finally:
        os.close(inner)
    return number


def _is_there(at: int, name: str) -> bool:
    with suppress(FileNotFoundError):
        os.stat(name, dir_fd=at, follow_symlinks=False)
        return True
    return False
