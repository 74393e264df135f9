"""What all promise that keep unfinished uploads: a later one is one more row in `PLACES`."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from arriving import KEPT, LineBroke, Silent, accepting, finish, never, noise, parts_of
from hypothesis import given, settings
from hypothesis import strategies as st
from weeds import S3Server, needs_weed, place_in

from imgprocessor.config.upload_settings import UploadsSettings
from imgprocessor.errors import BadQuery, ImageError, NoRoom, NoSuchUpload, UploadOver, WrongOffset
from imgprocessor.storage.shared.bucket import Bucket
from imgprocessor.storage.uploads.resumable.pieces import Outcome, UnfinishedUploads
from imgprocessor.storage.uploads.resumable.unfinished import Unfinished
from imgprocessor.storage.uploads.resumable.unfinished_bucket import UnfinishedInBucket

SETTINGS = UploadsSettings(min_free_bytes=0, unfinished_seconds=100)

PLACES = ["folder", pytest.param("bucket", marks=needs_weed)]

Make = Callable[[UploadsSettings], UnfinishedUploads]


@pytest.fixture(params=PLACES)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """What makes one more that keeps the same uploads, by other settings."""
    folder = tmp_path / "unfinished"
    if request.param == "folder":
        return lambda known: Unfinished(folder, known)
    bucket: Bucket = request.getfixturevalue("bucket")
    return lambda known: UnfinishedInBucket(bucket, bucket, folder, known)


@pytest.fixture
def unfinished(make: Make) -> UnfinishedUploads:
    """An empty place."""
    return make(SETTINGS)


def piece_by_piece(
    unfinished: UnfinishedUploads,
    folder: Path,
    *,
    length: int,
    pieces: list[int],
    cut: int,
    breaks: list[int],
) -> None:
    """However it is cut into pieces, and those into reads, and whichever break off."""
    whole = noise(length)
    upload = unfinished.begin(length, "100x50", "tom")

    for size, whole_parts in itertools.zip_longest([*pieces, length], breaks):
        offset = unfinished.find(upload).offset_bytes
        piece = whole[offset:][: length if size is None else size]

        def arriving(piece: bytes = piece, most: int | None = whole_parts) -> Iterator[bytes]:
            for number, part in enumerate(parts_of(piece, cut)):
                if number == most:
                    raise LineBroke
                yield part

        try:
            end = unfinished.write(upload, offset, len(piece), arriving())
            assert end == offset + len(piece)
        except LineBroke:
            end = offset + cut * (whole_parts or 0)
        assert unfinished.find(upload).offset_bytes == end
    offset = unfinished.find(upload).offset_bytes
    unfinished.write(upload, offset, length - offset, [whole[offset:]] * (offset < length))

    assert finish(unfinished, upload, folder) == whole


CUTS = given(
    length=st.integers(1, 40_000),
    pieces=st.lists(st.integers(0, 20_000), max_size=6),
    cut=st.integers(1, 9000),
    breaks=st.lists(st.integers(0, 4), max_size=6),
)


@CUTS
def test_what_arrived_in_pieces_is_what_was_sent(
    tmp_path_factory: pytest.TempPathFactory, **cuts: Any
) -> None:
    folder = tmp_path_factory.mktemp("unfinished")
    piece_by_piece(Unfinished(folder, SETTINGS), folder, **cuts)


@needs_weed
@settings(max_examples=10)
@CUTS
def test_what_arrived_in_a_bucket_is_what_was_sent(
    tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server, **cuts: Any
) -> None:
    folder = tmp_path_factory.mktemp("unfinished")
    bucket = Bucket(*place_in(s3_server, folder, folder.name))
    piece_by_piece(UnfinishedInBucket(bucket, bucket, folder, SETTINGS), folder, **cuts)


def test_an_upload_from_its_beginning_to_its_end(
    unfinished: UnfinishedUploads, tmp_path: Path
) -> None:
    upload = unfinished.begin(10, "100x50", "tom")
    at_first = unfinished.find(upload)
    unfinished.write(upload, 0, 4, [b"abc", b"d"])
    later = unfinished.find(upload)

    assert (at_first.offset_bytes, later.offset_bytes) == (0, 4)
    assert (later.length_bytes, later.metadata, later.by, later.outcome) == (
        10,
        "100x50",
        "tom",
        None,
    )
    assert later.expires_seconds == pytest.approx(time.time() + 100, abs=5)
    with pytest.raises(WrongOffset):
        unfinished.finish(upload, lambda: tmp_path / "copy", accepting([]))
    assert unfinished.write(upload, 4, 6, [b"efghij"]) == 10
    assert finish(unfinished, upload, tmp_path) == b"abcdefghij"
    over = unfinished.find(upload)
    assert (over.offset_bytes, over.length_bytes, over.by, over.outcome) == (10, 10, "tom", KEPT)
    assert unfinished.count() == (0, 0)
    # Asked for once more, and nothing is done once more.
    assert unfinished.write(upload, 10, 0, []) == 10
    assert unfinished.finish(upload, lambda: tmp_path, never) == KEPT
    for call in (lambda: unfinished.write(upload, 9, 1, [b"j"]), lambda: unfinished.end(upload)):
        with pytest.raises(UploadOver):
            call()


@pytest.mark.parametrize(("offset", "size", "kind"), [
    (3, 1, WrongOffset), (5, 1, WrongOffset), (0, 4, WrongOffset), (9, 1, WrongOffset),
    (4, 7, BadQuery), (11, 0, BadQuery), (10**18, 1, BadQuery),
])  # fmt: skip
def test_a_piece_that_does_not_fit_is_not_written(
    unfinished: UnfinishedUploads, offset: int, size: int, kind: type[ImageError]
) -> None:
    upload = unfinished.begin(10, "", "tom")
    unfinished.write(upload, 0, 4, [b"abcd"])

    with pytest.raises(kind):
        unfinished.write(upload, offset, size, [b"x" * size])
    assert unfinished.find(upload).offset_bytes == 4


@pytest.mark.parametrize(
    "upload", ["", ".", "..", "over", "locks", "a" * 32, "A" * 32, "a/b", "a\0"]
)
def test_what_never_was_is_not_found(unfinished: UnfinishedUploads, upload: str) -> None:
    unfinished.begin(10, "", "tom")
    calls: list[Callable[[], object]] = [
        lambda: unfinished.find(upload),
        lambda: unfinished.write(upload, 0, 1, [b"a"]),
        lambda: unfinished.finish(upload, Path, never),
        lambda: unfinished.end(upload),
    ]
    for call in calls:
        with pytest.raises(NoSuchUpload):
            call()


def test_a_silent_request_is_over_when_its_upload_is_ended(unfinished: UnfinishedUploads) -> None:
    upload = unfinished.begin(9, "", "tom")
    silent = Silent(b"abc", b"def")
    with ThreadPoolExecutor() as threads:
        older = threads.submit(unfinished.write, upload, 0, 9, silent)
        assert silent.is_silent.wait(30)
        unfinished.end(upload)
        silent.wake.set()
        with pytest.raises(UploadOver):
            older.result(30)

    with pytest.raises(UploadOver):
        unfinished.find(upload)
    assert unfinished.count() == (0, 0)


def test_a_check_that_failed_is_done_once_more(
    unfinished: UnfinishedUploads, tmp_path: Path
) -> None:
    upload = unfinished.begin(3, "", "tom")
    unfinished.write(upload, 0, 3, [b"abc"])

    def fail(file: Path, _: str) -> Outcome:
        file.write_bytes(b"")
        file.unlink()
        raise NoRoom

    with pytest.raises(NoRoom):
        unfinished.finish(upload, lambda: tmp_path / "copy", fail)
    assert finish(unfinished, upload, tmp_path) == b"abc"


def test_an_upload_is_checked_once(unfinished: UnfinishedUploads, tmp_path: Path) -> None:
    upload = unfinished.begin(3, "", "tom")
    unfinished.write(upload, 0, 3, [b"abc"])
    seen: list[bytes] = []
    names = itertools.count()

    def finish(_: int) -> Outcome:
        return unfinished.finish(upload, lambda: tmp_path / str(next(names)), accepting(seen))

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(finish, range(8))) == [KEPT] * 8
    assert seen == [b"abc"]


@pytest.mark.parametrize(("bounds", "begun"), [
    (replace(SETTINGS, max_unfinished=3), 3),
    (replace(SETTINGS, max_unfinished_bytes=350), 3),
    (replace(SETTINGS, max_unfinished_bytes=300), 3),
    (replace(SETTINGS, min_free_bytes=10**18), 0),
])  # fmt: skip
def test_bounds_hold_for_all_together(
    unfinished: UnfinishedUploads, make: Make, bounds: UploadsSettings, begun: int
) -> None:
    """Counted by the length that they will have; those that are over do not count."""
    over = unfinished.begin(100, "", "tom")
    unfinished.end(over)

    at_once = threading.Barrier(8)

    def begin(_: int) -> bool:
        # One each, as if each were a process.
        at_once.wait(30)
        other = make(bounds)
        try:
            other.begin(100, "", "tom")
        except NoRoom:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(begin, range(8))) == begun
    assert unfinished.count() == (begun, begun * 100)


def test_of_requests_at_one_place_one_is_taken(
    unfinished: UnfinishedUploads, make: Make, tmp_path: Path
) -> None:
    """Whatever was told to be written is there, whole, and nothing else."""
    size, count = 20, 600
    upload = unfinished.begin(count * size, "", "tom")
    told: list[bytes] = []

    def go_on(name: int) -> None:
        mine = make(SETTINGS)
        for serial in itertools.count():
            offset = mine.find(upload).offset_bytes
            if offset == count * size:
                return
            records = min(30, (count * size - offset) // size)
            lines = [f"{name:4} {serial:6} {n:7}\n".encode() for n in range(records)]
            try:
                mine.write(upload, offset, records * size, iter(lines))
            except WrongOffset:
                continue
            told.append(b"".join(lines))

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(go_on, range(4))) == [None] * 4

    whole = finish(unfinished, upload, tmp_path)
    lines = whole.splitlines(keepends=True)
    assert (len(lines), len(set(lines))) == (count, count)
    assert {len(line) for line in lines} == {size}
    assert all(piece in whole for piece in told)
