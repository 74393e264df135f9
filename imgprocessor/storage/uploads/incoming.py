"""Files on their way in, on this node's disk: whoever takes one hands it over or removes it."""

import contextlib
import os
import shutil
import threading
import time
from itertools import count
from pathlib import Path

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
