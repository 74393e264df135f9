"""Like `disk_cache`, but for bodies that are opened by path; a group is evicted as a whole.

A plain file is its body and nothing else, so that it can be opened by its path. `get` is not for
it: its checksum, and whatever else is known of it, is an entry of the same group.
"""

from collections.abc import Iterable
from functools import partial

from imgprocessor.storage.disk_cache import DiskCache
from imgprocessor.storage.entry_format import write_plain
from imgprocessor.storage.eviction import File
from imgprocessor.storage.generation import Generation


class PlainFiles(DiskCache):
    """A folder of plain files and their entries."""

    def put_file(
        self, group: str, key: str, body: bytes, generation: Generation | None = None
    ) -> bool:
        """Keep a plain file, instead of one with the same key; return whether it is kept.

        Nothing is kept where a purge came after the generation that the work for it was begun in.
        """
        return self._add(
            self.path(group, key), len(body), partial(write_plain, body=body), generation
        )

    def _aged(self, group: Iterable[File]) -> Iterable[File]:
        """Return a group's files, all as old as the one that was used last."""
        files = list(group)
        age = min((file.age for file in files), default=0.0)
        return [file._replace(age=age) for file in files]
