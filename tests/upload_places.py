"""Places where uploads are kept: a folder, and a bucket that several nodes use."""

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from imgprocessor.config.buckets import BucketsSettings, BucketUrl
from imgprocessor.reporting import complain
from imgprocessor.storage.plain_files import PlainFiles
from imgprocessor.storage.shared.bucket import Bucket
from imgprocessor.storage.uploads.bucket import UploadBucket
from imgprocessor.storage.uploads.folder import UploadFolder
from imgprocessor.storage.uploads.moving import HandsOver, TwoPlaces
from imgprocessor.storage.uploads.replication.copying import Copier
from imgprocessor.storage.uploads.replication.outbox import (
    Outbox,
    OutboxInBucket,
    OutboxInFolder,
)
from imgprocessor.storage.uploads.replication.replicated import Replicated
from imgprocessor.storage.uploads.replication.replication import Replication
from imgprocessor.storage.uploads.store import Record, UploadStore

MAX_STALE_SECONDS = 60

BODY = b"a picture"
IDENT = "0123456789abcdef0123456789abcdef"


@dataclass
class UploadPlace:
    """A place of uploads."""

    node: Callable[[], UploadStore]
    """Returns a store of one more node; of folders there is one node alone."""
    left: Callable[[], list[str]]
    """Returns what is there of files and of what was made of them."""


def folder_place(folder: Path) -> UploadPlace:
    """Return a place in a folder."""

    def left() -> list[str]:
        found = [*folder.glob("kept/*/*/*"), *folder.glob("removed/*/*")]
        return sorted(path.name for path in found if path.name != "record.json")

    def node() -> UploadFolder:
        return UploadFolder(folder, max_uploads=100, max_bytes=10**9, min_free_bytes=0)

    return UploadPlace(node, left)


def bucket_place(folder: Path, url: BucketUrl, buckets: BucketsSettings) -> UploadPlace:
    """Return a place in a bucket; its nodes have folders in a folder."""
    serial = itertools.count()

    def left() -> list[str]:
        keys = (found.key for found in Bucket(url, buckets).listed())
        others = [key for key in keys if not key.startswith(("records/", "copying/"))]
        return sorted(key.rpartition("/")[2] for key in others)

    return UploadPlace(lambda: bucket_node(folder / f"node{next(serial)}", url, buckets), left)


def place_of_both(folder: Path, url: BucketUrl, buckets: BucketsSettings) -> UploadPlace:
    """Return a place in a bucket, whose nodes look into a folder first, all into the same."""
    in_folder, in_bucket = folder_place(folder / "uploads"), bucket_place(folder, url, buckets)
    serial = itertools.count()
    return UploadPlace(
        lambda: both(folder / "uploads", bucket_node(folder / f"node{next(serial)}", url, buckets)),
        lambda: sorted([*in_folder.left(), *in_bucket.left()]),
    )


@dataclass
class ReplicatedPlace:
    """A place with a replica, and what is in both."""

    first: UploadPlace
    replica: UploadPlace
    url: BucketUrl
    """Of the replica."""
    buckets: BucketsSettings
    folder: Path
    outbox: Callable[[], Outbox]
    serial: Iterator[int] = field(default_factory=itertools.count)
    complaints: list[str] = field(default_factory=list)

    def replication(
        self, first: UploadStore | None = None, *, clock: Callable[[], float] = time.time
    ) -> Replication:
        """Return what one more node has to copy with."""
        first = first or self.first.node()
        folder = self.folder / f"copier{next(self.serial)}"
        replica = bucket_node(folder, self.url, self.buckets)
        return Replication(
            first,
            replica,
            Copier(first, replica, self.buckets),
            self.outbox(),
            unsent=None if isinstance(first, UploadFolder) else OutboxInFolder(folder),
            folder=folder / "copying",
            complain=self.complaints.append,
            clock=clock,
        )

    def node(self) -> Replicated:
        """Return a store of one more node."""
        return Replicated(self.replication())

    def copied(self) -> None:
        """Have all copied that has notes, and look whether that worked."""
        replication = self.replication()
        for note in self.outbox().notes(1000):
            assert replication.copy(note.ident), self.complaints
        assert not self.outbox().notes(1000)

    def there(self) -> UploadStore:
        """Return what the replica has, to a node that knows nothing of it yet."""
        folder = self.folder / f"reader{next(self.serial)}"
        return bucket_node(folder, self.url, self.buckets)


def replicated_place(
    folder: Path, name: str, url: BucketUrl, buckets: BucketsSettings
) -> ReplicatedPlace:
    """Return a place in a `folder`, a `bucket` or `both`, and a replica in the same bucket."""
    first, replica = url.under("first"), url.under("replica")
    makers = {"bucket": bucket_place, "both": place_of_both}
    if name == "folder":
        place, outbox = folder_place(folder / "uploads"), OutboxInFolder(folder / "uploads")
        return _replicated(folder, place, replica, buckets, lambda: outbox)
    bucket = Bucket(first, buckets)
    place = makers[name](folder, first, buckets)
    return _replicated(folder, place, replica, buckets, lambda: OutboxInBucket(bucket))


def _replicated(
    folder: Path,
    first: UploadPlace,
    url: BucketUrl,
    buckets: BucketsSettings,
    outbox: Callable[[], Outbox],
) -> ReplicatedPlace:
    replica = bucket_place(folder / "replica", url, buckets)
    return ReplicatedPlace(first, replica, url, buckets, folder, outbox)


def both(folder: Path, bucket: HandsOver) -> TwoPlaces:
    """Return what one node has of a folder and a bucket."""
    return TwoPlaces(
        UploadFolder(folder, max_uploads=100, max_bytes=10**9, min_free_bytes=0), bucket
    )


def bucket_node(
    folder: Path,
    url: BucketUrl,
    buckets: BucketsSettings,
    *,
    max_copies_bytes: int = 10**8,
    min_free_bytes: int = 0,
    clock: Callable[[], float] = time.time,
) -> UploadBucket:
    """Return what one node has of a place in a bucket."""
    copies = PlainFiles(
        folder / "copies", max_bytes=max_copies_bytes, min_free_percent=0, complain=complain
    )
    return UploadBucket(
        url,
        buckets,
        folder,
        copies,
        min_free_bytes=min_free_bytes,
        max_stale_seconds=MAX_STALE_SECONDS,
        clock=clock,
    )


def add_upload(
    store: UploadStore, ident: str = IDENT, body: bytes = BODY, **record: object
) -> bool:
    """Keep an upload."""
    file = store.new_file()
    file.write_bytes(body)
    known: Record = {"ident": ident, "sizes": [], **record}
    return store.add(ident, file, known)


def whole(store: UploadStore, ident: str = IDENT) -> bytes:
    """Return an upload's file."""
    with store.open(ident) as file:
        return file.read()
