"""What a step holds of the disk though no folder has it: files that were removed while in use."""

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from imgprocessor.jobs.previews.results import BLOCK_BYTES, UNKNOWN_BYTES

_REMOVED = b" (deleted)"
_SHARED_MEMORY = b"/dev/zero (deleted)"
"""As the kernel calls memory that is shared and no file, of which a process has its limit."""
_MAX_HIDDEN = 2


class RemovedFiles:
    """The removed files of a process, looked at again and again.

    Those that are open have a size. One that is mapped and closed has none for an ordinary user,
    who may not follow `/proc/PID/map_files`. So there may be hardly any, and for a moment only: as
    when a program removes a file before it gives up its mapping.
    """

    def __init__(self, software: Sequence[Path]) -> None:
        """Take what the process may only read: packages may be upgraded while it runs."""
        self._software = tuple(os.fsencode(path) for path in software)
        self._hidden: frozenset[int] = frozenset()

    def held_bytes(self, pid: int) -> int:
        """Return what they take, or `UNKNOWN_BYTES`.

        Raises:
            PermissionError: it cannot be looked at.
        """
        total, hidden = _look(pid, self._software)
        is_too_much = len(hidden) > _MAX_HIDDEN or not hidden.isdisjoint(self._hidden)
        self._hidden = hidden
        return UNKNOWN_BYTES if is_too_much else total


def _look(pid: int, software: Sequence[bytes]) -> tuple[int, frozenset[int]]:
    """Return what removed files take that are open, and which others are mapped."""
    found = 0, frozenset[int]()
    with suppress(FileNotFoundError, ProcessLookupError):
        # All threads share them, and the first may have ended: then nothing is seen by it.
        for thread in sorted(Path(f"/proc/{pid}/task").iterdir()):
            with suppress(FileNotFoundError, ProcessLookupError):
                maps = (thread / "maps").read_bytes()
                if not maps:
                    continue
                descriptors = _descriptors(thread)
                opened = _removed(descriptors)
                found = sum(opened.values()), _mapped(maps, software) - opened.keys()
                if descriptors:  # or it has just ended, and another is to be looked at
                    break
    return found


def _descriptors(thread: Path) -> Sequence[Path]:
    try:
        return list((thread / "fd").iterdir())
    except PermissionError:
        if (thread / "maps").read_bytes():
            raise
    return []  # it has just ended


def _removed(descriptors: Sequence[Path]) -> dict[int, int]:
    """Return the removed files by their inodes' numbers, with what each takes."""
    removed: dict[int, int] = {}
    for descriptor in descriptors:
        with suppress(OSError):
            found = descriptor.stat()
            if not found.st_nlink and stat.S_ISREG(found.st_mode):
                removed[found.st_ino] = found.st_blocks * BLOCK_BYTES
    return removed


def _mapped(maps: bytes, software: Sequence[bytes]) -> frozenset[int]:
    """Return the inodes' numbers of removed files that are not software's."""
    mapped = set()
    for line in maps.splitlines() if _REMOVED in maps else ():
        if line.endswith(_REMOVED):
            *_, inode, path = line.split(None, 5)
            if path != _SHARED_MEMORY and not _is_in(path, software):
                mapped.add(int(inode))
    return frozenset(mapped)


def _is_in(path: bytes, folders: Sequence[bytes]) -> bool:
    return any(path.startswith((folder + b"/", folder + b" ")) for folder in folders)
