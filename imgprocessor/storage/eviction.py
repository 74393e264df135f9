"""Files in folders, as a cap sees them: how long ago they were used, and what they take."""

import contextlib
import math
import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_BLOCK_BYTES = 4096
"""Disks give out space in blocks, so those are counted."""

TOUCH_SECONDS = 0.1
"""A file's time stamp says when it was last used, so nearly: no write for each use."""

_MOVES = 5
"""Attempts to put a file in its place: the collector may remove its folder, empty as yet, between
making it and moving there.
"""


class File(NamedTuple):
    """A file as the collector sees it."""

    path: str
    age: float
    """Seconds since it was used. A time stamp in the future comes from a clock that was wrong, and
    would never get old: such a file is infinitely old.
    """
    cost_bytes: int

    def unlink(self) -> bool:
        """Remove it; return whether it was still there."""
        try:
            os.unlink(self.path)  # noqa: PTH108 - many files
        except FileNotFoundError:
            return False
        return True


def folders_in(folder: str | Path) -> Iterator[str]:
    """Yield the paths of its folders."""
    for entry in scanned(folder):
        if entry.is_dir(follow_symlinks=False):
            yield entry.path


def files_in(folder: str | Path) -> Iterator[File]:
    """Yield its files."""
    for entry in scanned(folder):
        with contextlib.suppress(FileNotFoundError):
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                age = time.time() - status.st_mtime
                yield File(
                    entry.path, age if age > -TOUCH_SECONDS else math.inf, cost_of(status.st_size)
                )


def scanned(folder: str | Path) -> list[os.DirEntry[str]]:
    """Return what is in a folder; nothing where there is none."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def cost_of(size: int) -> int:
    """Return how many bytes a file of a size takes on the disk."""
    return -(-size // _BLOCK_BYTES) * _BLOCK_BYTES


def move(incoming: str, path: str) -> None:
    """Put a file in its place, whatever is there; its folder may vanish at any time.

    Raises:
        OSError: it cannot be put there.
    """
    for _ in range(_MOVES - 1):
        try:
            os.replace(incoming, path)  # noqa: PTH105 - for each rendition
        except FileNotFoundError:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        except IsADirectoryError:
            shutil.rmtree(path)
        else:
            return
    os.replace(incoming, path)  # noqa: PTH105
