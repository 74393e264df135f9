"""Whether this node should be sent visitors: folders and the worker pool, all looked at anew."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from imgprocessor.rendering.pool import WorkerPool

OK = "ok"

_TRIED_BYTES = 4096


@dataclass(frozen=True)
class Readiness:
    """What a node needs."""

    originals: Path
    """The folder."""
    disk_cache: Path
    """The folder."""
    remote: Path | None
    """The folder of local copies; None where no host is allowed."""
    pool: WorkerPool | None
    """None where renditions are made in this process."""

    def checks(self) -> dict[str, str]:
        """Return what was looked at, and `ok` or what is wrong, in words for strangers."""
        checks = {
            "originals": _tried(partial(_list, self.originals)),
            "store": _tried(partial(_write, self.disk_cache)),
        }
        if self.remote is not None:
            checks["remote"] = _tried(partial(_write, self.remote))
        if self.pool is not None:
            there = self.pool.has_workers()
            checks["renderers"] = OK if there else "there is none"
            free = self.pool.free_places()
            checks["places"] = OK if free else "all are taken"
        return checks


def _list(folder: Path) -> None:
    with os.scandir(folder) as entries:
        next(entries, None)


def _write(folder: Path) -> None:
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(_TRIED_BYTES))


def _tried(action: Callable[[], None]) -> str:
    try:
        action()
    except OSError as error:
        return (error.strerror or type(error).__name__).lower()
    return OK
