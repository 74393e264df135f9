"""Entries kept under a cap: bytes by group and key, each checked whenever it is read."""

import contextlib
import hashlib
import os
import time
from collections.abc import Iterable

from imgprocessor.storage.capped_folder import CappedFolder
from imgprocessor.storage.entry_format import checked, entry_bytes, name_of, write_entry
from imgprocessor.storage.eviction import TOUCH_SECONDS, files_in
from imgprocessor.storage.generation import Generation


class Scratch:
    """Memory to read entries into, again and again: new memory is dearer than reading."""

    def __init__(self) -> None:
        self._memory = bytearray()

    def room(self, size: int) -> memoryview:
        """Return so many bytes; whatever was returned before is no longer good."""
        if len(self._memory) < size:
            self._memory = bytearray(size)
        return memoryview(self._memory)[:size]


class DiskCache(CappedFolder):
    """A folder of entries. Several processes, and several threads of each, may use it at once."""

    def path(self, group: str, key: str) -> str:
        """Return where an entry is, or would be."""
        return f"{self._group_folder(group)}/{_short(key)}"

    def get(self, group: str, key: str, scratch: Scratch | None = None) -> memoryview | None:
        """Return what was put; None where nothing was, or what is there is damaged.

        With `scratch` it lies there, until that is used again.
        """
        if not self.keeps:
            return None
        path = self.path(group, key)
        try:
            # No file object: each repeat that Python answers comes by here.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                status = os.fstat(descriptor)
                # What is larger than all may be is damaged: there may not be memory for it.
                size = status.st_size if status.st_size <= self._max_bytes else 0
                if scratch is None:
                    content = memoryview(os.read(descriptor, size))
                else:
                    content = scratch.room(size)
                    content = content[: os.readv(descriptor, [content])]
                if abs(time.time() - status.st_mtime) >= TOUCH_SECONDS:
                    _touch(descriptor)
            finally:
                os.close(descriptor)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self.note_damage(f"{path} cannot be read: {error.strerror}")
            return None
        body = checked(content, _name(group, key))
        if body is None:
            self.note_damage(f"{path} is damaged; what it held is made anew")
            _drop(path)
        return body

    def put(
        self,
        group: str,
        key: str,
        body_bytes: int,
        parts: Iterable[bytes],
        generation: Generation | None = None,
    ) -> bool:
        """Keep an entry, instead of one with the same key; return whether it is kept.

        Its body is `body_bytes` long, and comes in parts, which are not asked for without room.
        Nothing is kept where a purge came after the generation that the work for it was begun in.
        """
        name = _name(group, key)

        def write(descriptor: int) -> None:
            write_entry(descriptor, name, parts)

        return self._add(self.path(group, key), entry_bytes(name, body_bytes), write, generation)

    def purge(self, group: str) -> int:
        """Remove a group's entries; return how many there were.

        Raises:
            OSError: one of them cannot be removed; all others are.
        """
        return self._purge(files_in(self._group_folder(group)))

    def purge_keys(self, group: str, ending: str) -> int:
        """Remove those of a group's entries whose key ends so; return how many there were.

        Raises:
            OSError: one of them cannot be removed; all others are.
        """
        end = os.fsencode(ending)
        files = files_in(self._group_folder(group))
        return self._purge(file for file in files if (name_of(file.path) or b"").endswith(end))

    def _group_folder(self, group: str) -> str:
        name = _short(group)
        return f"{self._entries}/{name[:2]}/{name}"


def _drop(path: str) -> None:
    """Remove what is damaged. It stays counted until all is counted anew."""
    with contextlib.suppress(OSError):
        os.unlink(path)  # noqa: PTH108 - not worth a Path


def _short(name: str) -> str:
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:32]


def _name(group: str, key: str) -> bytes:
    return os.fsencode(f"{group}\0{key}")


def _touch(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # a disk that is read-only by now
        os.utime(descriptor)
