"""Places where uploads are kept: a folder, and a bucket that several nodes use."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from imgprocessor.config.buckets import BucketsSettings, BucketUrl
from imgprocessor.reporting import complain
from imgprocessor.storage.plain_files import PlainFiles
from imgprocessor.storage.shared.bucket import Bucket
from imgprocessor.storage.uploads.bucket import UploadBucket
from imgprocessor.storage.uploads.folder import UploadFolder
from imgprocessor.storage.uploads.moving import HandsOver, TwoPlaces
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
        return sorted(key.rpartition("/")[2] for key in keys if not key.startswith("records/"))

    return UploadPlace(lambda: bucket_node(folder / f"node{next(serial)}", url, buckets), left)


def place_of_both(folder: Path, url: BucketUrl, buckets: BucketsSettings) -> UploadPlace:
    """Return a place in a bucket, whose nodes look into a folder first, all into the same."""
    in_folder, in_bucket = folder_place(folder / "uploads"), bucket_place(folder, url, buckets)
    serial = itertools.count()
    return UploadPlace(
        lambda: both(folder / "uploads", bucket_node(folder / f"node{next(serial)}", url, buckets)),
        lambda: sorted([*in_folder.left(), *in_bucket.left()]),
    )


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
