"""What this node's disk has of uploads in a bucket: files on their way in, and notes of some."""

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from imgprocessor.storage.uploads.durable import settle, write_new
from imgprocessor.storage.uploads.store import UPLOAD_IDENT

_ORPHAN_SECONDS = 3600.0
"""What nobody has written to for so long was left behind by a process that was killed."""


class IncomingFiles:
    """A folder of such files. Several processes, and threads of each, may use it at once."""

    def __init__(self, folder: Path) -> None:
        """Use `incoming` in a folder; it is made when first needed."""
        self._folder = folder / "incoming"
        self._serial = count()

    def new_file(self) -> Path:
        """Return a path that nobody else has.

        Raises:
            OSError: its folder cannot be made.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder / f"{os.getpid()}-{threading.get_ident()}-{next(self._serial)}"

    def sweep(self) -> None:
        """Remove what was left by processes that were killed.

        Raises:
            OSError: something cannot be removed.
        """
        with contextlib.suppress(FileNotFoundError):
            for path in self._folder.iterdir():
                with contextlib.suppress(FileNotFoundError):
                    if time.time() - path.stat().st_mtime > _ORPHAN_SECONDS:
                        shutil.rmtree(path) if path.is_dir() else path.unlink()


class NotedIdents:
    """Idents that are not to be forgotten, whatever ends a process."""

    def __init__(self, folder: Path) -> None:
        """Use a folder, which is made when first needed."""
        self._folder = folder

    def note(self, ident: str) -> None:
        """Note an ident.

        Raises:
            OSError: it is not noted.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            write_new(self._folder / ident, b"")
        settle(self._folder)

    def has(self, ident: str) -> bool:
        """Whether an ident is noted."""
        return UPLOAD_IDENT.fullmatch(ident) is not None and (self._folder / ident).exists()

    def forget(self, ident: str) -> None:
        """Forget an ident, be it noted or not."""
        (self._folder / ident).unlink(missing_ok=True)

    def __iter__(self) -> Iterator[str]:
        """Yield those that are noted, in order."""
        with contextlib.suppress(FileNotFoundError):
            yield from sorted(filter(UPLOAD_IDENT.fullmatch, os.listdir(self._folder)))  # noqa: PTH208
