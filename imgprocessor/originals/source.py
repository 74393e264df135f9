"""A source of originals: it finds them, opens them, and forgets them; nobody else knows how."""

import time
import unicodedata
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple, Protocol

_NS = 1_000_000_000


class NodeVersion(NamedTuple):
    """What tells a file from the one before it on this node; other nodes have other figures."""

    changed_ns: int = 0
    """When its inode changed: also by what sets the modification time back, as copying may."""
    inode: int = 0


@dataclass(frozen=True)
class Original:
    """A picture that a source found, not opened yet. Can be handed to another process."""

    source: "Source" = field(repr=False, compare=False)
    """Where it can be opened."""
    id: str
    """One for all names that lead to it, and no other source's."""
    version: str
    """What changes with its content, and is the same on all nodes."""
    size_bytes: int
    modified_ns: int
    on_node: NodeVersion = NodeVersion()
    sizes: tuple[str, ...] = field(default=(), compare=False)
    """Sizes of which renditions are kept for good, as `KeptSize` spells them."""

    @property
    def group(self) -> str:
        """What is made from it is kept as this, whatever its version."""
        return group_of(self.id)

    @property
    def shared_group(self) -> str:
        """The same for what all nodes share."""
        return group_of(self.source.shared_id(self.id))

    @property
    def validator(self) -> str:
        """What changes when it is replaced, even by one of its size and time stamp."""
        return f"{self.version}-{self.on_node.changed_ns:x}"

    @property
    def modified_seconds(self) -> int:
        """When it was modified, since 1970. In the future it would be a validator that never gets
        old (RFC 9110, 8.8.2.1).
        """
        return min(self.modified_ns // _NS, int(time.time()))

    @property
    def identity(self) -> str:
        """Which original it is, in which version: the name of what is made from it."""
        return f"{self.validator}-{self.on_node.inode:x} {self.id}"


def group_of(original_id: str) -> str:
    """Return what an original's renditions and masters are kept as: the same for ids that differ
    by form alone (NFC, NFD), because a name in one form may have found a file in the other, which
    has gone since. Keys of entries have the very id.
    """
    return unicodedata.normalize("NFC", original_id)


class FolderState(NamedTuple):
    """A folder of originals, looked at and not listed."""

    id: str
    """One for all names that lead to it."""
    changed: tuple[int, int, int]
    """What is another one once an entry has come or gone: its inode, and two times."""
    changed_ns: int
    """When that was last, since 1970; nobody can set it back."""
    is_closed: bool
    """Whether a file `.nomedia` in it asks that nothing in it be shown."""


class Listed(NamedTuple):
    """The names in a folder, in no order. None was looked at: what a link leads to is not known,
    nor whether a name is one that originals may have.
    """

    folders: list[str]
    files: list[str]
    links: list[str]


class FolderSource(Protocol):
    """What can list the folders that its originals are in; "" is the one that all others are in."""

    def find(self, name: str) -> Original:
        """Size up an original, as `Source.find` does."""

    def folder(self, name: str) -> FolderState:
        """Look at a folder.

        Raises:
            NotFound: there is none that may be looked into, or no folder may be called so.
            OriginalsUnavailable: it cannot be read at this moment.
        """

    def listed(self, name: str) -> Listed:
        """List a folder, which may change meanwhile. Raises as `folder` does."""


class Source(Protocol):
    """Where originals come from. What its originals have as their source may be another one, which
    can be handed to another process and opens them there.
    """

    def find(self, name: str) -> Original:
        """Size up an original without opening it.

        Raises:
            NotFound: there is none, or no original may be called so.
            ImageError: it may not be had, or not at this moment.
        """

    def id_of(self, name: str) -> str:
        """Return the id of an original, be it there or not.

        Raises:
            NotFound: no original may be called so.
        """

    def shared_id(self, original_id: str) -> str:
        """Return what all nodes call an original, wherever each has it."""

    def open(self, original: Original) -> AbstractContextManager[tuple[BinaryIO, Original]]:
        """Open what `find` found; yield the file and the original as it is by now.

        Raises:
            NotFound: it has gone.
            OriginalsUnavailable: it was changed while it was read, or another `find` may help.
            ImageError: what took its place is no original.
        """

    def forget(self, name: str) -> int:
        """Remove an original that is here only because it was asked for; return how many files.

        Raises:
            NotFound: no original may be called so.
            OSError: it cannot be removed.
        """

    def forget_all(self) -> int:
        """Remove all that is here only because it was asked for; return how many files.

        Raises:
            OSError: one of them cannot be removed.
        """
