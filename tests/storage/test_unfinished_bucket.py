"""Uploads in pieces in a bucket: several nodes, servers that die, what is late."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from arriving import KEPT, LineBroke, Silent, accepting, finish, noise, parts_of
from weeds import needs_weed, place_in, running_s3

from imgprocessor.config.buckets import BucketsSettings, BucketUrl
from imgprocessor.config.upload_settings import UploadsSettings
from imgprocessor.errors import BadQuery, NoSuchUpload, UploadOver, WrongOffset
from imgprocessor.storage.shared.bucket import Bucket
from imgprocessor.storage.shared.failures import BucketFailed
from imgprocessor.storage.uploads.resumable import unfinished_bucket
from imgprocessor.storage.uploads.resumable.pieces import Outcome
from imgprocessor.storage.uploads.resumable.unfinished_bucket import UnfinishedInBucket

pytestmark = needs_weed

SETTINGS = UploadsSettings(min_free_bytes=0, unfinished_seconds=100)


@pytest.fixture
def nodes(place: tuple[BucketUrl, BucketsSettings], tmp_path: Path) -> list[UnfinishedInBucket]:
    """Two nodes of one bucket."""
    return [
        UnfinishedInBucket(Bucket(*place), Bucket(*place), tmp_path / it, SETTINGS)
        for it in ("one", "two")
    ]


def keys(bucket: Bucket) -> list[str]:
    """Return what there is, but for what tells uploads apart."""
    return sorted(found.key.split("/")[-1] for found in bucket.listed())


def test_another_node_goes_on_with_it(
    nodes: list[UnfinishedInBucket], bucket: Bucket, tmp_path: Path
) -> None:
    one, two = nodes
    whole = noise(9_000_000)
    upload = one.begin(len(whole), "100x50", "tom")

    assert one.write(upload, 0, 8_500_000, parts_of(whole[:8_500_000], 65_536)) == 8_500_000
    assert (two.find(upload).offset_bytes, two.find(upload).metadata) == (8_500_000, "100x50")
    two.write(upload, 8_500_000, 500_000, [whole[8_500_000:]])

    assert len(keys(bucket)) == 5  # three pieces, and two that are about it
    assert finish(one, upload, tmp_path) == whole
    assert two.find(upload).outcome == KEPT
    assert keys(bucket) == [upload]


def test_a_line_that_breaks_costs_nothing(nodes: list[UnfinishedInBucket]) -> None:
    one, two = nodes
    upload = one.begin(9, "", "tom")

    def breaking() -> Iterator[bytes]:
        yield b"abc"
        raise LineBroke

    with pytest.raises(LineBroke):
        one.write(upload, 0, 9, breaking())

    assert two.find(upload).offset_bytes == 3


def test_a_newer_request_takes_over_from_a_silent_one(
    nodes: list[UnfinishedInBucket], tmp_path: Path
) -> None:
    """What the older one has not written yet it writes no more."""
    one, two = nodes
    upload = one.begin(9, "", "tom")
    silent, newer = Silent(b"XXX", b"YYY"), Silent(b"abc", b"defghi")
    with ThreadPoolExecutor() as threads:
        older = threads.submit(one.write, upload, 0, 9, silent)
        assert silent.is_silent.wait(30)
        going_on = threads.submit(two.write, upload, 0, 9, newer)
        assert newer.is_silent.wait(30)
        silent.wake.set()
        with pytest.raises(WrongOffset):
            older.result(30)
        newer.wake.set()
        assert going_on.result(30) == 9

    assert finish(one, upload, tmp_path) == b"abcdefghi"


def test_of_two_nodes_that_finish_it_the_first_says_what_became_of_it(
    nodes: list[UnfinishedInBucket], tmp_path: Path
) -> None:
    one, two = nodes
    upload = one.begin(3, "", "tom")
    one.write(upload, 0, 3, [b"abc"])
    seen: list[bytes] = []

    def accept(file: Path, _: str) -> Outcome:
        finish(two, upload, tmp_path)
        file.unlink()
        return {"ident": "another"}

    assert one.finish(upload, lambda: tmp_path / "mine", accept) == KEPT
    assert two.finish(upload, lambda: tmp_path / "mine", accepting(seen)) == KEPT
    assert not seen


def test_what_nobody_goes_on_with_is_removed_and_then_forgotten(
    nodes: list[UnfinishedInBucket],
    place: tuple[BucketUrl, BucketsSettings],
    tmp_path: Path,
    bucket: Bucket,
) -> None:
    one, _ = nodes
    later = UnfinishedInBucket(
        Bucket(*place), Bucket(*place), tmp_path / "one", SETTINGS, clock=lambda: time.time() + 102
    )
    upload = one.begin(9, "", "tom")
    one.write(upload, 0, 3, [b"abc"])

    one.sweep()
    assert one.find(upload).offset_bytes == 3
    later.sweep()
    with pytest.raises(UploadOver):
        one.find(upload)
    assert one.count() == (0, 0)

    bucket.put(f"unfinished/{upload}/{3:020}", b"late")
    one.sweep()
    assert keys(bucket) == [upload]
    bucket.put(f"unfinished/{upload}/{3:020}", b"later")
    later.sweep()
    later.sweep()
    with pytest.raises(NoSuchUpload):
        one.find(upload)
    assert keys(bucket) == []


def test_what_was_told_outlives_a_server_that_dies(tmp_path: Path) -> None:
    with running_s3(tmp_path / "s3") as server:
        bucket = Bucket(*place_in(server, tmp_path, "uploads"))
        unfinished = UnfinishedInBucket(bucket, bucket, tmp_path / "node", SETTINGS)
        upload = unfinished.begin(9, "", "tom")
        unfinished.write(upload, 0, 3, [b"abc"])

        def parts() -> Iterator[bytes]:
            server.end()
            yield b"def"

        with pytest.raises(BucketFailed):
            unfinished.write(upload, 3, 3, parts())
        server.start()

        assert unfinished.find(upload).offset_bytes == 3
        unfinished.write(upload, 3, 6, [b"defghi"])
        assert finish(unfinished, upload, tmp_path) == b"abcdefghi"


def test_an_upload_in_too_many_pieces_is_refused(
    nodes: list[UnfinishedInBucket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unfinished_bucket, "_MAX_PIECES", 3)
    one, _ = nodes
    upload = one.begin(9, "", "tom")
    for offset in range(3):
        one.write(upload, offset, 1, [b"x"])

    with pytest.raises(BadQuery, match="send larger ones"):
        one.write(upload, 3, 1, [b"x"])
    assert one.find(upload).offset_bytes == 3


def test_what_another_node_is_removing_is_not_taken_for_whole(
    nodes: list[UnfinishedInBucket], bucket: Bucket, tmp_path: Path
) -> None:
    one, _ = nodes
    upload = one.begin(6, "", "tom")
    one.write(upload, 0, 3, [b"abc"])
    one.write(upload, 3, 3, [b"def"])

    def new_file() -> Path:  # asked for between what is found and what is joined
        bucket.remove(f"unfinished/{upload}/{0:020}")
        return tmp_path / "copy"

    with pytest.raises(WrongOffset):
        one.finish(upload, new_file, lambda _, sha256: {"sha256": sha256})
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("damage", [b"{", b"[" * 100_000, b'{"odd": 1}'])
def test_what_is_damaged_is_told_and_stops_no_sweep(
    nodes: list[UnfinishedInBucket], bucket: Bucket, tmp_path: Path, damage: bytes
) -> None:
    one, _ = nodes
    upload = one.begin(6, "", "tom")
    bucket.put(f"unfinished/{upload}/info.6", damage)

    with pytest.raises(OSError, match="is damaged"):
        one.find(upload)
    UnfinishedInBucket(
        bucket, bucket, tmp_path / "one", SETTINGS, clock=lambda: time.time() + 102
    ).sweep()
