"""A source of originals: it finds them, opens them, and forgets them; nobody else knows how."""

import time
import unicodedata
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO, NamedTuple, Protocol

from imgprocessor.config.buckets import BucketUrl
from imgprocessor.errors import ImageError, NotFound
from imgprocessor.request.names import is_name
from imgprocessor.request.urls import read_url

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


NOT_SHOWN = ".nomedia"
"""A file with this name asks that nothing in its folder be shown (as on Android)."""


class FolderState(NamedTuple):
    """A folder of originals, looked at and not listed."""

    id: str
    """One for all names that lead to it."""
    changed: tuple[Hashable, ...]
    """What is another one once an entry has come or gone: of a folder on a disk its inode, and two
    times; of one in a bucket, which nobody can look at without listing it, when that was due.
    """
    changed_ns: int
    """When that was last, since 1970; nobody can set it back. 0 where `changed` tells all."""
    is_closed: bool
    """Whether a file `NOT_SHOWN` is in it."""


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

    def at_hand(self, name: str) -> Original | None:
        """Size up an original without fetching it, so perhaps as it was some time ago; None where
        it would have to be fetched. Raises as `find` does.
        """

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


class Root(Source, FolderSource, Protocol):
    """A folder of originals, or a place in a bucket."""

    def look(self) -> None:
        """Look whether originals can be had here.

        Raises:
            OSError: they cannot; `strerror` says why in words for strangers.
        """


class Address(NamedTuple):
    """Where an original is."""

    id: str
    """Its one spelling, which is the original's id."""
    origin: str
    """What is connected to."""
    host: str
    """Whose fetches are counted together."""


class CopyRecord(NamedTuple):
    """What is known of a copy that is kept."""

    source: str
    """Where it came from in the end: what it is asked for with is meant for that."""
    checksum: str
    etag: str | None
    last_modified: str | None
    asked_at: float
    """When it was said last that it is good; seconds since 1970."""
    fresh_seconds: float
    """How long after that it is not asked again."""
    modified_ns: int | None = None
    """When the original was modified, where all nodes are told the same; else the copy's time."""


class FetchedCopy(NamedTuple):
    """What came."""

    source: str
    body: bytes | None
    """None where what is known is still good."""
    fresh_seconds: float
    etag: str | None = None
    last_modified: str | None = None
    modified_ns: int | None = None


class HostDown(Exception):
    """A host that cannot be connected to: there is no use in asking it for anything else by the
    same scheme and port. By another there may be: `https` to port 80 fails with every host.
    """

    def __init__(self, origin: str, error: ImageError) -> None:
        super().__init__(str(error))
        self.origin = origin
        """As `Address.origin`."""
        self.error = error


class CopyFetcher(Protocol):
    """What brings originals here from one kind of place."""

    waits: bool
    """Whether a request waits for its turn to fetch; otherwise it is refused at once, as nobody
    knows how slow other people's hosts are.
    """
    missing_seconds: float
    """What is not there is not asked for again for so long."""

    def copy(self, address: Address, known: CopyRecord | None, *, seconds: float) -> FetchedCopy:
        """Fetch an original within so many seconds, unless what is known of it is still good.

        Raises:
            HostDown: its origin cannot be connected to in time.
            NotFound: there is none.
            ImageError: what came is no use.
        """


def url_address(name: str) -> Address:
    """Return where a picture is that is called by its URL.

    Raises:
        NotFound: it is no URL.
    """
    try:
        url = read_url(name)
    except ValueError as error:
        raise NotFound(f"{name!r}: {error}") from error
    return Address(str(url), url.origin, url.host)


def bucket_address(url: BucketUrl) -> Callable[[str], Address]:
    """Return what tells where an original of a place in a bucket is. It raises NotFound where none
    may be called so.
    """
    return partial(_address, url)


def _address(url: BucketUrl, name: str) -> Address:
    if not is_name(name):
        raise NotFound(f"{name!a}: no object may be called so")
    return Address(f"{url}/{name}", url.root, url.root)
