"""What the store of a bucket does besides: several nodes, copies, a server that dies."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers import await_true
from upload_places import (
    BODY,
    IDENT,
    MAX_STALE_SECONDS,
    add_upload,
    bucket_node,
    bucket_place,
    whole,
)
from weeds import S3Server, needs_weed, place_in, running_s3

from imgprocessor.config.buckets import BucketsSettings, BucketUrl
from imgprocessor.errors import NoRoom
from imgprocessor.reporting import complain
from imgprocessor.storage.plain_files import PlainFiles
from imgprocessor.storage.shared.bucket import Bucket
from imgprocessor.storage.shared.failures import BucketFailed, BucketFull, failed
from imgprocessor.storage.uploads.bucket import FRESH_SECONDS, UploadBucket
from imgprocessor.storage.uploads.lives import Life, record_key
from imgprocessor.storage.uploads.store import Postponed, UploadStore

pytestmark = needs_weed

NAME = "100x50.best"


class Clock:
    """The time, and some more."""

    late_seconds = 0.0

    def __call__(self) -> float:
        """Return what time it is."""
        return time.time() + self.late_seconds


@pytest.fixture
def clock() -> Clock:
    """A clock for all nodes."""
    return Clock()


@pytest.fixture
def nodes(
    place: tuple[BucketUrl, BucketsSettings], tmp_path: Path, clock: Clock
) -> list[UploadBucket]:
    """Two nodes of one bucket."""
    return [bucket_node(tmp_path / name, *place, clock=clock) for name in ("one", "two")]


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[S3Server]:
    """A server that a test may kill, and start again."""
    with running_s3(tmp_path / "s3") as server:
        yield server


@pytest.fixture
def left(place: tuple[BucketUrl, BucketsSettings], tmp_path: Path) -> Callable[[], list[str]]:
    """What is there beside records."""
    return bucket_place(tmp_path, *place).left


def sizes(store: UploadStore) -> list[str]:
    """Return what the record of an upload says."""
    found = store.find(IDENT)
    assert found is not None
    return list(found.record["sizes"])


def never(*_: object, **__: object) -> None:
    """Be asked for nothing."""
    pytest.fail("the bucket is asked")


def test_a_node_is_some_seconds_behind_another_unless_it_is_told(
    nodes: list[UploadBucket], clock: Clock
) -> None:
    one, two = nodes
    add_upload(one)
    assert sizes(two) == []

    one.change(IDENT, lambda record: {**record, "sizes": ["1x1"]})
    assert (sizes(one), sizes(two)) == (["1x1"], [])
    clock.late_seconds = FRESH_SECONDS + 1
    assert sizes(two) == ["1x1"]

    one.take_out(IDENT)
    assert one.find(IDENT) is None
    assert two.find(IDENT) is not None
    two.forget(IDENT)
    assert two.find(IDENT) is None
    with pytest.raises(FileNotFoundError):
        two.open(IDENT)

    add_upload(one)
    assert two.find(IDENT) is not None  # what comes is there at once


def test_what_was_asked_for_before_a_purge_is_not_kept_after_it(
    nodes: list[UploadBucket], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = nodes
    add_upload(one)
    get = Bucket.get

    def slow(bucket: Bucket, key: str, *, max_bytes: int, unless: str | None = None) -> object:
        got = get(bucket, key, max_bytes=max_bytes, unless=unless)
        with monkeypatch.context() as rest:
            rest.setattr(Bucket, "get", get)
            one.take_out(IDENT)
            two.forget(IDENT)
        return got

    with monkeypatch.context() as racing:
        racing.setattr(Bucket, "get", slow)
        assert two.find(IDENT) is not None  # as it was when that began

    assert two.find(IDENT) is None


def test_what_is_known_is_not_asked_for_again(
    nodes: list[UploadBucket], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = nodes
    add_upload(one)
    one.keep(IDENT, NAME, b"made")
    assert (whole(two), two.kept(IDENT, NAME)) == (BODY, b"made")

    monkeypatch.setattr(Bucket, "get", never)
    assert (whole(two), two.kept(IDENT, NAME)) == (BODY, b"made")


def test_a_server_that_is_silent_is_waited_for_once(
    nodes: list[UploadBucket],
    s3_server: S3Server,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, two = nodes
    add_upload(one)
    assert whole(two) == BODY
    clock.late_seconds = FRESH_SECONDS + 1

    with s3_server.stopped():
        assert two.find(IDENT) is not None
        with monkeypatch.context() as asking_nothing:
            asking_nothing.setattr(Bucket, "get", never)
            assert whole(two) == BODY
            with pytest.raises(BucketFailed, match="a moment ago"):
                two.kept(IDENT, NAME)
        with pytest.raises(Postponed):
            two.take_out(IDENT)
        assert two.find(IDENT) is None


def test_what_is_late_of_another_life_does_not_count(
    nodes: list[UploadBucket], left: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was made of what was removed meanwhile, by a node that has not heard of that."""
    one, two = nodes
    add_upload(one)
    assert two.find(IDENT) is not None
    one.take_out(IDENT)
    one.clear(IDENT)
    with pytest.raises(FileNotFoundError):
        two.keep(IDENT, NAME, b"late")
    assert left() == []

    add_upload(one)
    put = Bucket.put

    def slow(bucket: Bucket, key: str, body: bytes, *, instead_of: str | None = None) -> str:
        with monkeypatch.context() as rest:
            rest.setattr(Bucket, "put", put)
            if key.endswith(NAME):
                one.take_out(IDENT)
                one.clear(IDENT)
                add_upload(one)
        return put(bucket, key, body, instead_of=instead_of)

    two.forget(IDENT)
    with monkeypatch.context() as racing:
        racing.setattr(Bucket, "put", slow)
        with pytest.raises(FileNotFoundError):
            two.keep(IDENT, NAME, b"late")

    assert two.kept(IDENT, NAME) is None
    assert left() == ["original"]


def test_a_removal_that_races_with_a_new_upload_leaves_that(
    nodes: list[UploadBucket], left: Callable[[], list[str]]
) -> None:
    one, two = nodes
    add_upload(one)
    one.keep(IDENT, NAME, b"made")
    one.take_out(IDENT)
    add_upload(two, body=b"again")
    two.keep(IDENT, NAME, b"made again")

    one.clear(IDENT)

    assert whole(one) == b"again"
    assert one.kept(IDENT, NAME) == b"made again"
    assert left() == sorted(["original", NAME])


def test_a_removal_that_was_only_begun_is_none(
    nodes: list[UploadBucket], bucket: Bucket, clock: Clock
) -> None:
    one, _ = nodes
    add_upload(one)
    (file,) = bucket.listed("files")
    bucket.put(file.key.replace("files", "removed").removesuffix("/original"), b"begun")

    one.clear(IDENT)
    assert one.taken_out() == [IDENT]  # somebody may be about to write the record
    clock.late_seconds = 7200
    one.clear(IDENT)

    assert one.taken_out() == []
    assert whole(one) == BODY


def test_a_copy_that_is_damaged_is_fetched_anew(nodes: list[UploadBucket], tmp_path: Path) -> None:
    one, _ = nodes
    add_upload(one)
    assert whole(one) == BODY
    copies = list(tmp_path.glob("one/copies/entries/*/*/*"))
    assert len(copies) == 2

    for path in copies:
        path.write_bytes(b"damaged")

    assert whole(one) == BODY


def test_a_copy_of_another_version_counts_for_nothing(
    nodes: list[UploadBucket], tmp_path: Path
) -> None:
    one, _ = nodes
    add_upload(one)
    copies = PlainFiles(
        tmp_path / "one/copies", max_bytes=10**8, min_free_percent=0, complain=complain
    )
    for content in (b"nonsense", b'{"other": 1}\ncontent'):
        assert copies.put(IDENT, record_key(IDENT), len(content), [content])

        assert sizes(one) == []


def test_what_is_damaged_in_the_bucket_is_not_shown(
    nodes: list[UploadBucket], bucket: Bucket
) -> None:
    one, _ = nodes
    add_upload(one)
    one.keep(IDENT, NAME, b"made")
    for found in list(bucket.listed("files")):
        bucket.put(found.key, b"x" * found.version.size_bytes)
    one.forget(IDENT)

    assert one.kept(IDENT, NAME) is None
    with pytest.raises(OSError, match="damaged"):
        one.open(IDENT)

    bucket.put(record_key(IDENT), b"nonsense")
    one.forget(IDENT)
    with pytest.raises(OSError, match="is no record"):
        one.find(IDENT)


def test_without_room_for_copies_all_is_there(
    place: tuple[BucketUrl, BucketsSettings], tmp_path: Path
) -> None:
    node = bucket_node(tmp_path / "node", *place, max_copies_bytes=0)
    add_upload(node)
    node.keep(IDENT, NAME, b"made")

    assert node.kept(IDENT, NAME) == b"made"
    with node.open(IDENT) as file:
        assert file.fileno()
        assert file.read() == BODY
    assert not [path for path in tmp_path.glob("node/copies/entries/**/*") if path.is_file()]


def test_the_disk_has_room_for_what_is_on_its_way(
    place: tuple[BucketUrl, BucketsSettings], tmp_path: Path
) -> None:
    with pytest.raises(NoRoom, match="min_free_bytes"):
        bucket_node(tmp_path / "node", *place, min_free_bytes=10**18).require_room(1)


def test_a_bucket_that_is_full_has_no_room(
    nodes: list[UploadBucket], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> str:
        raise failed("s3://a", "status code: 507 Insufficient Storage:")

    monkeypatch.setattr(Bucket, "put", full)

    with pytest.raises(NoRoom, match="507"):
        add_upload(nodes[0])
    assert isinstance(failed("s3://a", "status code: 403: <Code>QuotaExceeded</Code>"), BucketFull)


def test_what_a_server_had_when_it_died_is_whole_or_swept(
    mortal: S3Server, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies between file and record."""
    place = place_in(mortal, tmp_path, "uploads")
    node = bucket_node(tmp_path / "node", *place, clock=clock)
    there = bucket_place(tmp_path, *place)
    put_new = Bucket.put_new

    def die(bucket: Bucket, key: str, body: bytes) -> str:
        mortal.end()
        return put_new(bucket, key, body)

    with monkeypatch.context() as dying:
        dying.setattr(Bucket, "put_new", die)
        with pytest.raises(BucketFailed):
            add_upload(node)
    assert not any(node.new_file().parent.iterdir())
    mortal.start()

    assert node.find(IDENT) is None
    assert len(there.left()) == 2
    assert add_upload(node, body=b"again")
    clock.late_seconds = 7200
    node.sweep()

    assert there.left() == ["original"]
    assert whole(node) == b"again"


def test_what_is_removed_while_the_server_is_dead_is_gone_in_the_end(
    mortal: S3Server, tmp_path: Path
) -> None:
    place = place_in(mortal, tmp_path, "uploads")
    one, two = (bucket_node(tmp_path / name, *place) for name in ("one", "two"))
    there = bucket_place(tmp_path, *place)
    add_upload(one)
    mortal.end()

    for _ in range(2):
        with pytest.raises(Postponed):
            one.take_out(IDENT)
    assert one.find(IDENT) is None
    assert one.kept(IDENT, NAME) is None
    with contextlib.suppress(BucketFailed):
        one.sweep()
    mortal.start()

    assert one.find(IDENT) is None
    assert two.find(IDENT) is not None
    one.sweep()
    two.forget(IDENT)
    assert two.find(IDENT) is None
    assert one.taken_out() == [IDENT]
    one.clear(IDENT)
    assert there.left() == []
    assert add_upload(one)
    one.sweep()
    assert whole(one) == BODY


def test_a_new_upload_ends_a_removal_that_the_server_was_not_told_of(
    mortal: S3Server, tmp_path: Path
) -> None:
    node = bucket_node(tmp_path / "node", *place_in(mortal, tmp_path, "uploads"))
    add_upload(node, by="first")
    mortal.end()
    with pytest.raises(Postponed):
        node.take_out(IDENT)
    mortal.start()

    with pytest.raises(FileNotFoundError):
        node.change(IDENT, dict)
    assert add_upload(node, by="second")
    node.sweep()

    found = node.find(IDENT)
    assert found is not None
    assert found.record["by"] == "second"


def test_copies_are_used_while_the_server_is_dead_and_not_for_ever(
    mortal: S3Server, tmp_path: Path, clock: Clock
) -> None:
    node = bucket_node(tmp_path / "node", *place_in(mortal, tmp_path, "uploads"), clock=clock)
    add_upload(node)
    node.keep(IDENT, NAME, b"made")
    assert whole(node) == BODY
    mortal.end()

    clock.late_seconds = FRESH_SECONDS + MAX_STALE_SECONDS - 5
    assert whole(node) == BODY
    assert node.kept(IDENT, NAME) == b"made"
    clock.late_seconds = FRESH_SECONDS + MAX_STALE_SECONDS + 5
    with pytest.raises(BucketFailed):
        node.find(IDENT)
    with pytest.raises(BucketFailed):
        node.kept(IDENT, NAME)

    def is_back() -> bool:
        with contextlib.suppress(BucketFailed):
            return node.kept(IDENT, NAME) == b"made"
        return False

    mortal.start()
    await_true(is_back)


def test_an_upload_that_a_sweep_took_for_a_left_one_is_none(
    nodes: list[UploadBucket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is told that it is kept; and it can be handed in again."""
    one, two = nodes
    recorded = one._recorded  # noqa: SLF001

    def swept_before(life: Life) -> bool:
        with monkeypatch.context() as much_later:
            much_later.setattr(two, "_is_orphan", lambda _: True)
            two.sweep()
        return recorded(life)

    monkeypatch.setattr(one, "_recorded", swept_before)
    with pytest.raises(BucketFailed, match="was swept"):
        add_upload(one)
    monkeypatch.undo()

    assert one.find(IDENT) is None
    add_upload(one)
    assert whole(two) == BODY


def test_what_is_no_upload_s_stops_no_sweep(
    nodes: list[UploadBucket], place: tuple[BucketUrl, BucketsSettings]
) -> None:
    one, _ = nodes
    add_upload(one)
    for key in ("incoming/x", "incoming/x/y", "removed/x", "removed/x/y"):
        Bucket(*place).put(key, b"odd")

    one.sweep()

    assert one.taken_out() == []
    assert whole(one) == BODY
