"""Whether this node should be sent visitors: folders and the worker pool, all looked at anew."""

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from imgprocessor.originals.folder import Folder
from imgprocessor.originals.source import Root
from imgprocessor.rendering.pool import WorkerPool

OK = "ok"

_BUCKETS, _PREVIEWS = "buckets", "previews"
_OF_ALL_NODES = {_BUCKETS, _PREVIEWS}
"""What fails for all nodes at once: none would be left to send what they keep."""

_TRIED_BYTES = 4096


@dataclass(frozen=True)
class Readiness:
    """What a node needs."""

    originals: Sequence[Root]
    """Where they are."""
    disk_cache: Path
    """The folder."""
    copies: Path | None
    """The folder of local copies; None where nothing is copied from elsewhere."""
    pool: WorkerPool | None
    """None where renditions are made in this process."""
    previews: Callable[[], str] | None = None
    """Says which documents workers do not draw, and why; None where none are shown."""

    def checks(self) -> dict[str, str]:
        """Return what was looked at, and `ok` or what is wrong, in words for strangers."""
        folders = [root for root in self.originals if isinstance(root, Folder)]
        buckets = [root for root in self.originals if root not in folders]
        checks = {
            "originals": _first_wrong(root.look for root in folders),
            "store": _tried(partial(_write, self.disk_cache)),
        }
        if buckets:
            checks[_BUCKETS] = _first_wrong(root.look for root in buckets)
        if self.copies is not None:
            checks["remote"] = _tried(partial(_write, self.copies))
        if self.pool is not None:
            there = self.pool.has_workers()
            checks["renderers"] = OK if there else "there is none"
            free = self.pool.free_places()
            checks["places"] = OK if free else "all are taken"
        if self.previews is not None:
            checks[_PREVIEWS] = self.previews()
        return checks


def are_enough(checks: Mapping[str, str]) -> bool:
    """Whether a node with these checks should be sent visitors."""
    return all(found == OK for name, found in checks.items() if name not in _OF_ALL_NODES)


def _write(folder: Path) -> None:
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(_TRIED_BYTES))


def _first_wrong(actions: Iterable[Callable[[], None]]) -> str:
    return next((said for said in map(_tried, actions) if said != OK), OK)


def _tried(action: Callable[[], None]) -> str:
    try:
        action()
    except OSError as error:
        return (error.strerror or type(error).__name__).lower()
    return OK
