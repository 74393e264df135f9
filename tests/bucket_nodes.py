"""Nodes that have their originals from a bucket, for tests: each with copies of its own."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from imgprocessor.config.buckets import BucketsSettings, BucketUrl
from imgprocessor.config.settings import RemoteSettings
from imgprocessor.originals.bucket import BucketFetcher, BucketOriginals
from imgprocessor.originals.local_copies import LocalCopies
from imgprocessor.originals.remote import Remote
from imgprocessor.originals.source import Original, Source, bucket_address
from imgprocessor.storage.generation import Generations
from imgprocessor.storage.plain_files import PlainFiles
from imgprocessor.storage.shared.bucket import Bucket, Content

FRESH_SECONDS = 60


class CountingBucket(Bucket):
    """A bucket that notes what it is asked for."""

    def __init__(self, url: BucketUrl, settings: BucketsSettings, *, total_seconds: float) -> None:
        super().__init__(url, settings, total_seconds=total_seconds)
        self.asked: list[tuple[str, str | None]] = []
        """Keys, and the ETag that is known already."""

    def get(self, key: str, *, max_bytes: int, unless: str | None = None) -> Content | None:
        """Get it, as a bucket does."""
        self.asked.append((key, unless))
        return super().get(key, max_bytes=max_bytes, unless=unless)


@dataclass
class BucketNode:
    """A node, and the clock of it."""

    folder: Path
    place: tuple[BucketUrl, BucketsSettings]
    max_kept_bytes: int = 50_000_000
    max_bytes: int = 1_000_000
    total_seconds: int = 2
    failed_seconds: int = 0
    missing_seconds: float = 0
    late: float = 0
    """Seconds that the clock is ahead."""
    complaints: list[str] = field(default_factory=list)
    bucket: CountingBucket = field(init=False)
    source: BucketOriginals = field(init=False)

    def __post_init__(self) -> None:
        self.bucket = CountingBucket(*self.place, total_seconds=self.total_seconds)
        self.source = self.process()

    def process(self) -> BucketOriginals:
        """Return what another process of this node has."""
        settings = RemoteSettings(
            folder=self.folder / "copies",
            total_seconds=self.total_seconds,
            failed_seconds=self.failed_seconds,
        )
        files = PlainFiles(
            settings.folder,
            max_bytes=self.max_kept_bytes,
            min_free_percent=0,
            complain=self.complaints.append,
        )
        quick = Bucket(*self.place, total_seconds=1)
        copies = Remote(
            settings,
            LocalCopies(settings.folder, self.max_bytes, files, bucket_address(self.place[0])),
            generations=Generations(self.folder),
            fetcher=BucketFetcher(
                self.bucket,
                self.bucket,
                max_bytes=self.max_bytes,
                fresh_seconds=FRESH_SECONDS,
                missing_seconds=self.missing_seconds,
                complain=self.complaints.append,
            ),
            complain=self.complaints.append,
            clock=lambda: time.time() + self.late,
        )
        return BucketOriginals(self.bucket, quick, copies, self.complaints.append)

    def pass_time(self) -> None:
        """Let the next `find` ask the bucket."""
        self.late += FRESH_SECONDS + 1


def read_all(source: Source, original: Original) -> bytes:
    """Return the bytes of what was found, which must not have changed since."""
    with source.open(original) as (file, opened):
        assert opened.identity == original.identity
        return file.read()
