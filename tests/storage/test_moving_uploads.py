"""Uploads moved between a folder and a bucket: never missed, never back, never two."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import pytest
from upload_places import BODY, IDENT, add_upload, both, bucket_node, bucket_place, whole
from weeds import needs_weed, place_in, running_s3

from imgprocessor.config.buckets import BucketsSettings, BucketUrl
from imgprocessor.storage.shared.failures import BucketFailed
from imgprocessor.storage.uploads.moving import TwoPlaces, move_upload
from imgprocessor.storage.uploads.store import KeptUpload, Record

pytestmark = needs_weed

MANY = 50
NAME = "100x50.best"
KNOWN: Record = {"sha256": "of it", "sizes": ["100x50"]}


@pytest.fixture
def here(place: tuple[BucketUrl, BucketsSettings], tmp_path: Path) -> TwoPlaces:
    """A node with a folder and a bucket, which have the same folder on the disk."""
    return both(tmp_path / "uploads", bucket_node(tmp_path / "uploads", *place))


def with_size(size: str) -> Callable[[Record], Record]:
    """Return what adds a size to a record."""
    return lambda record: {**record, "sizes": [*record["sizes"], size]}


def test_all_of_it_goes_there_and_back(
    here: TwoPlaces, place: tuple[BucketUrl, BucketsSettings], tmp_path: Path
) -> None:
    left = bucket_place(tmp_path, *place).left
    add_upload(here.folder, **KNOWN)
    here.folder.keep(IDENT, NAME, b"made")
    before = here.find(IDENT)

    for source, target in ((here.folder, here.bucket), (here.bucket, here.folder)):
        assert move_upload(IDENT, source, target)
        assert not move_upload(IDENT, source, target)
        assert source.find(IDENT) is None
        assert target.find(IDENT) == here.find(IDENT) == before
        assert whole(here) == BODY
        assert here.kept(IDENT, NAME) == b"made"
        assert (list(here.idents()), here.names(IDENT)) == ([IDENT], [NAME])
        assert left() == ([] if target is here.folder else sorted(["original", NAME]))

    assert not list((tmp_path / "uploads/removed").iterdir())


def test_nobody_misses_anything_meanwhile(here: TwoPlaces) -> None:
    """It is looked at, and changed, all the time."""
    add_upload(here.folder, **KNOWN)
    here.folder.keep(IDENT, NAME, b"made")
    is_over = threading.Event()
    changes = 0

    def look() -> int:
        looked = 0
        while not is_over.is_set():
            found = here.find(IDENT)
            assert found is not None
            assert whole(here) == BODY
            assert here.kept(IDENT, NAME) == b"made"
            looked += 1
        return looked

    def change() -> None:
        nonlocal changes
        while changes < MANY and not is_over.is_set():
            here.change(IDENT, with_size(f"{changes}x1"))
            here.keep(IDENT, f"{changes}x1.best", b"made")
            changes += 1

    with ThreadPoolExecutor() as threads:
        looking, changing = threads.submit(look), threads.submit(change)
        try:
            move_upload(IDENT, here.folder, here.bucket)
            move_upload(IDENT, here.bucket, here.folder)
        finally:
            is_over.set()
        assert looking.result(60)
        changing.result(60)

    found = here.find(IDENT)
    assert found is not None
    assert found.record["sizes"] == ["100x50", *(f"{number}x1" for number in range(changes))]
    assert changes


def test_what_comes_to_the_folder_once_that_was_looked_into_is_found(here: TwoPlaces) -> None:
    add_upload(here.bucket, **KNOWN)
    find = here.bucket.find

    def late(ident: str) -> KeptUpload | None:
        here.bucket.find = find  # type: ignore[method-assign]
        move_upload(IDENT, here.bucket, here.folder)
        return find(ident)

    here.bucket.find = late  # type: ignore[method-assign]

    assert here.find(IDENT) is not None


def test_what_is_removed_while_it_is_moved_is_gone(here: TwoPlaces) -> None:
    for source, target in ((here.folder, here.bucket), (here.bucket, here.folder)):
        add_upload(source, **KNOWN)
        begun = threading.Event()
        open_file = source.open

        def slow(
            ident: str,
            open_file: Callable[[str], BinaryIO] = open_file,
            begun: threading.Event = begun,
        ) -> BinaryIO:
            begun.set()
            return open_file(ident)

        source.open = slow  # type: ignore[method-assign]
        with ThreadPoolExecutor() as threads:
            moving = threads.submit(move_upload, IDENT, source, target)
            assert begun.wait(30)
            assert here.take_out(IDENT)
            moving.result(30)
        here.clear(IDENT)
        source.open = open_file  # type: ignore[method-assign]

        assert here.find(IDENT) is None
        assert here.taken_out() == []


def test_what_could_not_be_moved_stays_and_is_moved_the_next_time(tmp_path: Path) -> None:
    with running_s3(tmp_path / "s3") as server:
        place = place_in(server, tmp_path, "uploads")
        here = both(tmp_path / "uploads", bucket_node(tmp_path / "uploads", *place))
        add_upload(here.folder, **KNOWN)
        here.folder.keep(IDENT, NAME, b"made")
        kept = here.bucket.kept

        def die(ident: str, name: str) -> bytes | None:
            server.end()
            return kept(ident, name)

        here.bucket.kept = die  # type: ignore[method-assign]
        with pytest.raises(BucketFailed):
            move_upload(IDENT, here.folder, here.bucket)
        assert whole(here) == BODY
        assert here.kept(IDENT, NAME) == b"made"
        server.start()
        here.bucket.kept = kept  # type: ignore[method-assign]

        here.folder.change(IDENT, with_size("1x1"))
        assert move_upload(IDENT, here.folder, here.bucket)

        found = here.bucket.find(IDENT)
        assert found is not None
        assert found.record["sizes"] == ["100x50", "1x1"]
        assert here.kept(IDENT, NAME) == b"made"
        assert bucket_place(tmp_path, *place).left() == sorted(["original", NAME])


def test_what_is_handed_in_goes_to_the_bucket_unless_it_is_there(here: TwoPlaces) -> None:
    add_upload(here.folder, by="first", **KNOWN)
    other = IDENT[::-1]

    assert not add_upload(here, by="second")
    assert add_upload(here, other)

    assert here.bucket.find(IDENT) is None
    assert here.folder.find(other) is None
    assert list(here.idents()) == sorted([IDENT, other])


def test_what_is_another_file_there_stays(here: TwoPlaces) -> None:
    add_upload(here.folder, **KNOWN)
    add_upload(here.bucket, **{**KNOWN, "sha256": "of another"})

    with pytest.raises(OSError, match="is another file than"):
        move_upload(IDENT, here.folder, here.bucket)

    assert here.folder.find(IDENT) is not None
