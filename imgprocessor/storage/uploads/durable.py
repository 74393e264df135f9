"""Files that are on the disk before anybody is told so."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from imgprocessor.errors import NoRoom, UploadsUnavailable
from imgprocessor.storage.shared.failures import BucketFull

LOOK_EVERY_BYTES = 1_048_576
"""Whoever writes a body as it arrives looks this often whether the disk has room left: others
write, too, who looked when they began.
"""

_FULL = (errno.ENOSPC, errno.EDQUOT)


def write_new(path: Path, content: bytes) -> None:
    """Write a file that is not there yet; its name is safe once its folder is settled.

    Raises:
        OSError: it cannot be written.
    """
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def settle(path: Path) -> None:
    """Have the disk keep what is in a file, or which names are in a folder.

    Raises:
        OSError: it does not.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_free(folder: Path, size_bytes: int, min_free_bytes: int) -> None:
    """Look whether so many bytes of a disk stay free where so many more are written.

    Raises:
        NoRoom: they do not.
        OSError: nobody knows at this moment.
    """
    disk = os.statvfs(folder)
    if disk.f_bavail * disk.f_frsize - size_bytes < min_free_bytes:
        raise NoRoom("[uploads] min_free_bytes is reached")


@contextlib.contextmanager
def told_of_a_full_disk() -> Iterator[None]:
    """Raise `NoRoom` where the disk is full, or the bucket."""
    try:
        yield
    except BucketFull as error:
        raise NoRoom(str(error)) from error
    except OSError as error:
        if error.errno in _FULL:
            raise NoRoom(f"{error.filename}: {error.strerror}") from error
        raise


@contextlib.contextmanager
def told_in_words() -> Iterator[None]:
    """Raise what a client is told of a disk, or a bucket: `NoRoom` where it is full,
    `UploadsUnavailable` where it fails otherwise.
    """
    try:
        with told_of_a_full_disk():
            yield
    except OSError as error:
        raise UploadsUnavailable(str(error)) from error
