"""Places in a bucket, each test's own: the server is started for the first of them."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from weeds import S3Server, place_in, running_s3

from imgprocessor.config.buckets import BucketsSettings, BucketUrl
from imgprocessor.storage.shared.bucket import Bucket

_serial = itertools.count()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server that all tests of this process share."""
    with running_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def place(s3_server: S3Server, tmp_path: Path) -> tuple[BucketUrl, BucketsSettings]:
    """A place that nobody else uses, and how it is reached."""
    return place_in(s3_server, tmp_path, f"place-{next(_serial)}")


@pytest.fixture
def bucket(place: tuple[BucketUrl, BucketsSettings]) -> Bucket:
    """A client of that place."""
    return Bucket(*place)
