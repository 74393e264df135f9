"""A second copy of uploads: real buckets, copiers at once, a delete in the middle, and deaths."""

import contextlib
import errno
import hashlib
import pickle
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from upload_places import (
    BODY,
    IDENT,
    ReplicatedPlace,
    add_upload,
    bucket_node,
    bucket_place,
    replicated_place,
    whole,
)
from weeds import BUCKET, S3Server, access_file, needs_weed, running_s3

from imgprocessor.config.buckets import BucketUrl
from imgprocessor.storage.shared.bucket import Bucket
from imgprocessor.storage.shared.failures import BucketFailed
from imgprocessor.storage.uploads import durable
from imgprocessor.storage.uploads.folder import UploadFolder
from imgprocessor.storage.uploads.lives import record_key
from imgprocessor.storage.uploads.moving import TwoPlaces, move_upload
from imgprocessor.storage.uploads.replication.outbox import OutboxInBucket, OutboxInFolder
from imgprocessor.storage.uploads.replication.replicated import Replicated
from imgprocessor.storage.uploads.replication.replication import OVER_SECONDS, Replication
from imgprocessor.storage.uploads.store import Postponed

pytestmark = needs_weed

NAME = "100x50.best"
OTHER = "fedcba9876543210" * 2


@pytest.fixture(params=["folder", "bucket"])
def there(request: pytest.FixtureRequest, tmp_path: Path) -> ReplicatedPlace:
    """A place with a replica, both empty."""
    return replicated_place(tmp_path, request.param, *request.getfixturevalue("place"))


@pytest.fixture
def buckets(request: pytest.FixtureRequest, tmp_path: Path) -> ReplicatedPlace:
    """One whose first place is in a bucket, too."""
    return replicated_place(tmp_path, "bucket", *request.getfixturevalue("place"))


def require_same(there: ReplicatedPlace, ident: str = IDENT) -> None:
    """Check that the replica has what the first place has, and nothing else of it."""
    first, replica = there.first.node(), there.there()
    found, copied = first.find(ident), replica.find(ident)
    if found is None:
        assert copied is None
        keys = [one.key for one in in_replica(there).listed() if ident in one.key]
        assert keys in ([], [record_key(ident)])
        return
    assert copied is not None
    assert copied.record == found.record
    assert whole(replica, ident) == whole(first, ident)
    assert [*replica.names(ident)] == [*first.names(ident)]
    for name in first.names(ident):
        assert replica.kept(ident, name) == first.kept(ident, name)
    lives = {one.key.split("/")[2] for one in in_replica(there).listed(f"files/{ident}")}
    assert len(lives) == 1
    assert not list(in_replica(there).listed("incoming"))


def in_replica(there: ReplicatedPlace) -> Bucket:
    """Return the replica as a bucket."""
    return Bucket(there.url, there.buckets)


def later() -> float:
    """Return a time at which no request of now is still at work."""
    return time.time() + OVER_SECONDS + 1


def with_size(size: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return what adds a size to a record."""
    return lambda record: {**record, "sizes": [*record["sizes"], size]}


def test_each_change_is_copied(there: ReplicatedPlace) -> None:
    node = there.node()
    for change in (
        lambda: add_upload(node, uploaded_ns=1),
        lambda: node.keep(IDENT, NAME, b"made"),
        lambda: node.keep(IDENT, NAME, b"made anew"),
        lambda: node.change(IDENT, with_size("1x1")),
        lambda: node.take_out(IDENT),
        lambda: add_upload(node, uploaded_ns=2),
        lambda: node.keep(IDENT, NAME, b"of the second"),
        lambda: node.take_out(IDENT) and add_upload(node, body=b"another", uploaded_ns=3),
    ):
        change()
        assert there.outbox().of(IDENT)
        there.copied()
        require_same(there)
    assert there.there().find(OTHER) is None


def test_what_changes_nothing_leaves_no_note(there: ReplicatedPlace) -> None:
    node = there.node()
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            node.change(IDENT, with_size("1x1"))
    add_upload(node)
    there.copied()
    before = versions(there)

    node.change(IDENT, dict)
    assert not there.outbox().notes(9)
    assert not node.take_out(OTHER)
    assert not there.outbox().notes(9)
    assert not add_upload(node)  # it is there already, which costs a look
    there.copied()

    assert versions(there) == before


def versions(there: ReplicatedPlace) -> dict[str, str]:
    """Return what the replica has, by key."""
    return {one.key: one.version.etag for one in in_replica(there).listed()}


@pytest.mark.parametrize("is_full_for_long", [False, True])
def test_a_removal_needs_no_room_for_its_note(
    there: ReplicatedPlace, monkeypatch: pytest.MonkeyPatch, *, is_full_for_long: bool
) -> None:
    node = there.node()
    add_upload(node)
    there.copied()
    full = [True]

    def write_new(path: Path, content: bytes) -> None:
        if full[0]:
            full[0] = is_full_for_long
            raise OSError(errno.ENOSPC, "no space", str(path))
        durable.write_new(path, content)

    monkeypatch.setattr("imgprocessor.storage.uploads.replication.outbox.write_new", write_new)

    assert node.take_out(IDENT)

    assert there.there().find(IDENT) is None  # it was told within the request
    assert "the replica may not be told" in there.complaints[-1]
    monkeypatch.undo()
    there.copied()
    there.first.node().clear(IDENT)
    assert there.there().find(IDENT) is None


def test_a_note_outlives_copies_made_before_its_change_is(there: ReplicatedPlace) -> None:
    node = there.node()
    add_upload(node)
    there.copied()
    replication = there.replication()
    word = replication.leave(IDENT)

    assert replication.copy(IDENT)

    assert [note.word for note in there.outbox().of(IDENT)] == [word]
    node.first.keep(IDENT, NAME, b"made")  # and whoever did it is killed
    late = there.replication(clock=later)
    late.sweep()
    assert not there.outbox().notes(9)
    require_same(there)


def test_what_failed_is_no_more_than_a_look(there: ReplicatedPlace) -> None:
    node = there.node()
    with pytest.raises(FileNotFoundError):
        node.keep(IDENT, NAME, b"of nothing")
    file = node.new_file()
    file.write_bytes(BODY)
    with pytest.raises(TypeError):  # who is killed in the middle leaves no more
        node.add(IDENT, file, {"no record": object()})
    notes = there.outbox().of(IDENT)
    assert len({note.word for note in notes} - {note.word for note in notes if note.is_done}) == 1

    late = there.replication(clock=later)
    assert late.copy(IDENT)

    assert not there.outbox().notes(9)
    assert not in_replica(there).folder("files")[0]
    add_upload(node)
    there.copied()
    require_same(there)


# --- Others at the same time ---------------------------------------------------------------------


class Hooked:
    """Calls something once, before a copier sends its so manieth request."""

    def __init__(self, replication: Replication, number: int, hook: Callable[[], object]) -> None:
        self.left = number
        self._hook = hook
        for client in ("_small", "_large"):
            bucket = getattr(replication.copier, client)
            for verb in ("get", "put", "put_new", "remove", "listed"):
                setattr(bucket, verb, self._hooked(getattr(bucket, verb)))
        first: Any = replication.first
        first.now = self._hooked(first.now)

    def _hooked(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **options: Any) -> Any:
            if self.left == 0:
                self.left -= 1
                self._hook()
            self.left -= self.left > 0
            return call(*args, **options)

        return called


def removed(there: ReplicatedPlace) -> None:
    """Remove the upload, and have that copied."""
    there.node().take_out(IDENT)
    there.copied()


def removed_and_back(there: ReplicatedPlace) -> None:
    """Remove it, hand it in again, and have each of that copied."""
    removed(there)
    add_upload(there.node(), uploaded_ns=2)
    there.node().keep(IDENT, "2x2.best", b"of the second")
    there.copied()


def back_at_once(there: ReplicatedPlace) -> None:
    """Remove it, and hand it in again before anything is copied."""
    there.node().take_out(IDENT)
    add_upload(there.node(), uploaded_ns=2)
    there.copied()


def changed(there: ReplicatedPlace) -> None:
    """Change it, and have that copied."""
    there.node().change(IDENT, with_size("7x7"))
    there.copied()


def made_anew(there: ReplicatedPlace) -> None:
    """Make a size anew, and have that copied."""
    there.node().keep(IDENT, NAME, b"newer")
    there.copied()


def copied_by_another(there: ReplicatedPlace) -> None:
    """Have it copied by somebody else."""
    there.copied()


@pytest.mark.parametrize(
    "meanwhile", [removed, removed_and_back, back_at_once, changed, made_anew, copied_by_another]
)
@pytest.mark.slow
@pytest.mark.parametrize("is_copied", [False, True], ids=["new", "known"])
def test_whatever_comes_in_the_middle_of_a_copy_counts(
    there: ReplicatedPlace, meanwhile: Callable[[ReplicatedPlace], None], *, is_copied: bool
) -> None:
    """Before each request of a copier in turn another one does all its work."""
    number = 0
    while True:
        there.node().take_out(IDENT)
        there.first.node().clear(IDENT)
        there.copied()
        add_upload(there.node(), uploaded_ns=number)
        there.node().keep(IDENT, "1x1.best", b"small")
        if is_copied:
            there.node().keep(IDENT, NAME, b"made before")
            there.copied()
        there.node().keep(IDENT, NAME, b"made")
        replication = there.replication()
        hooked = Hooked(replication, number, lambda: meanwhile(there))

        assert replication.copy(IDENT), there.complaints

        there.copied()
        require_same(there)
        if hooked.left >= 0:
            break
        number += 1
    assert number > 6


def test_a_tombstone_is_written_anew_so_that_nobody_who_read_the_old_one_goes_on(
    buckets: ReplicatedPlace,
) -> None:
    add_upload(buckets.node())
    buckets.copied()
    removed(buckets)  # the replica has a tombstone
    add_upload(buckets.node())
    slow = buckets.replication()
    hooked = Hooked(slow, 3, lambda: removed(buckets))  # it has read that, and the upload

    assert slow.copy(IDENT)

    assert hooked.left < 0
    require_same(buckets)
    assert buckets.there().find(IDENT) is None


def test_many_copiers_and_clients_at_once(there: ReplicatedPlace) -> None:
    nodes = [there.node() for _ in range(3)]
    copiers = [there.replication() for _ in range(3)]

    def work(number: int) -> None:
        if number % 2:
            copiers[number // 2].copy(IDENT)
            return
        node = nodes[number // 2]
        for serial in range(4):
            add_upload(node, uploaded_ns=number * 10 + serial)
            for what in (
                lambda: node.keep(IDENT, f"{number}x{serial}.best", b"made"),  # noqa: B023
                lambda: node.change(IDENT, with_size("1x1")),
            ):
                with contextlib.suppress(FileNotFoundError):
                    what()
            node.take_out(IDENT)
            copiers[number // 2].copy(IDENT)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))

    late = there.replication(clock=later)
    late.copy(IDENT)
    require_same(there)


# --- What dies -----------------------------------------------------------------------------------


@dataclass
class Mortal:
    """A place in one server, and its replica in another."""

    place: ReplicatedPlace
    first: S3Server
    second: S3Server


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Mortal]:
    """Two servers that a test may kill, and start again."""
    with running_s3(tmp_path / "s3a") as one, running_s3(tmp_path / "s3b", "elsewhere") as two:
        access = access_file(tmp_path, one.access() + two.access())
        place = replicated_place(tmp_path, "bucket", BucketUrl("s3", one.bucket), access)
        place = replace(
            place,
            url=BucketUrl("s3", two.bucket),
            replica=bucket_place(tmp_path / "replica", BucketUrl("s3", two.bucket), access),
        )
        yield Mortal(place, one, two)


def test_a_dead_replica_costs_a_note_and_is_made_whole_once_it_is_back(mortal: Mortal) -> None:
    there = mortal.place
    node = there.node()
    add_upload(node)
    there.copied()
    mortal.second.end()

    idents = [f"{number:032x}" for number in range(8)]
    for ident in idents:
        add_upload(node, ident)
        node.keep(ident, NAME, b"made")
    assert node.take_out(IDENT)
    sweeping = there.replication()
    sweeping.sweep(again_seconds=0)

    assert sweeping.counts()["failed"] == 3  # and stopped
    assert not sweeping.copy(idents[0])
    assert sweeping.counts()["failed"] == 3  # it is not asked again so soon
    assert sweeping.waiting().uploads == len(idents) + 1
    assert sweeping.waiting().oldest_seconds >= 0

    mortal.second.start()
    sweeping.sweep(again_seconds=0)
    assert not there.outbox().notes(9)
    for ident in [*idents, IDENT]:
        require_same(there, ident)
    again = there.replication()
    assert again.waiting() == (0, 0.0)


def test_what_the_first_place_cannot_say_the_replica_does(mortal: Mortal) -> None:
    node = mortal.place.node()
    add_upload(node)
    node.keep(IDENT, NAME, b"made")
    mortal.place.copied()
    add_upload(node, OTHER)  # and not copied
    fresh = mortal.place.node()
    mortal.first.end()

    found = fresh.find(IDENT)

    assert found is not None
    assert whole(pickle.loads(pickle.dumps(fresh))) == BODY  # noqa: S301
    assert whole(fresh) == BODY
    assert fresh.kept(IDENT, NAME) == b"made"
    with pytest.raises(BucketFailed, match=BUCKET):
        fresh.kept(IDENT, "1x1.best")
    with pytest.raises(BucketFailed, match=BUCKET):
        fresh.find(OTHER)  # of which the replica knows nothing: that is no answer
    with pytest.raises(BucketFailed, match=BUCKET):
        fresh.open("0" * 32)
    mortal.second.end()
    with pytest.raises(BucketFailed, match=BUCKET):
        mortal.place.node().find(IDENT)


def test_what_is_not_in_the_first_place_is_not_asked_for_elsewhere(mortal: Mortal) -> None:
    node = mortal.place.node()
    add_upload(node)
    mortal.place.copied()
    node.first.take_out(IDENT)

    for _ in range(2):
        assert node.find(IDENT) is None
        assert node.kept(IDENT, NAME) is None
        with pytest.raises(FileNotFoundError):
            node.open(IDENT)
        mortal.second.end()


def test_a_removal_reaches_the_replica_at_once_and_while_the_bucket_is_dead(
    mortal: Mortal,
) -> None:
    there = mortal.place
    first = bucket_node(there.folder / "node", BucketUrl("s3", BUCKET, "first"), there.buckets)
    late = [0.0]
    node = Replicated(there.replication(first, clock=lambda: time.time() + late[0]))
    add_upload(node)
    there.copied()
    mortal.first.end()

    with pytest.raises(Postponed):
        node.take_out(IDENT)

    assert there.there().find(IDENT) is None
    mortal.first.start()
    node.sweep()
    assert there.replica.left() == sorted(["original", *replica_marks(there)])
    late[0] = OVER_SECONDS + 1  # when what is noted on this node can be of no request any more
    node.sweep()
    there.copied()
    require_same(there)
    assert first.find(IDENT) is None


def replica_marks(there: ReplicatedPlace) -> list[str]:
    """Return what says in the replica that something is to be cleared."""
    return [one.key.rpartition("/")[2] for one in in_replica(there).listed("removed")]


def test_a_removal_that_is_told_at_once_does_not_end_a_later_upload(
    buckets: ReplicatedPlace,
) -> None:
    node = buckets.node()
    add_upload(node)
    buckets.copied()
    slow = buckets.replication()
    quick: Any = vars(slow.copier)["_quick"]
    asked = quick.get

    def get(*args: Any, **options: Any) -> Any:
        got = asked(*args, **options)
        removed_and_back(buckets)
        return got

    quick.get = get
    for _ in range(2):
        slow.remove_soon(IDENT)
        require_same(buckets)
        assert buckets.there().find(IDENT) is not None
        quick.get = asked  # the second time it comes when all is over


# --- What is damaged or lost ---------------------------------------------------------------------


def damage(there: ReplicatedPlace, end: str) -> None:
    """Write other bytes in the place of what is in the first place."""
    first = there.first.node()
    if isinstance(first, UploadFolder):
        path = Path(first.where(IDENT)).parent / end
        path.write_bytes(b"x" * path.stat().st_size)
        return
    bucket = Bucket(BucketUrl("s3", BUCKET, first_prefix(there)), there.buckets)
    for one in bucket.listed(f"files/{IDENT}"):
        if one.key.endswith(f"/{end}"):
            bucket.put(one.key, b"x" * one.version.size_bytes)


def first_prefix(there: ReplicatedPlace) -> str:
    """Return where the first place is in the bucket."""
    return there.url.prefix.replace("replica", "first")


@pytest.mark.parametrize("name", ["folder", "bucket"])
def test_what_is_damaged_here_never_replaces_what_is_whole_there(
    tmp_path: Path, place: tuple[BucketUrl, Any], name: str
) -> None:
    there = replicated_place(tmp_path, name, *place)
    node = there.node()
    add_upload(node, sha256=hashlib.sha256(BODY).hexdigest())
    node.keep(IDENT, NAME, b"made")
    there.copied()
    for end in ("original", NAME):
        damage(there, end)
    node.change(IDENT, with_size("1x1"))
    replication = there.replication()

    assert not replication.copy(IDENT)

    replica = there.there()
    assert whole(replica) == BODY
    assert replica.kept(IDENT, NAME) == b"made"
    found = replica.find(IDENT)
    assert found is not None
    assert found.record["sizes"] == ["1x1"]  # all else is copied
    assert replication.counts()["damaged"] == 1
    assert "is damaged" in there.complaints[-1]
    assert there.outbox().of(IDENT)
    node.keep(IDENT, NAME, b"made anew")
    there.copied()
    assert there.there().kept(IDENT, NAME) == b"made anew"


@pytest.mark.parametrize("name", ["folder", "bucket"])
def test_what_is_damaged_before_it_is_copied_is_not(
    tmp_path: Path, place: tuple[BucketUrl, Any], name: str
) -> None:
    there = replicated_place(tmp_path, name, *place)
    add_upload(there.node(), sha256=hashlib.sha256(BODY).hexdigest())
    damage(there, "original")
    replication = there.replication()

    assert not replication.copy(IDENT)

    assert there.there().find(IDENT) is None
    assert replication.counts()["damaged"] == 1


def test_what_is_lost_here_is_read_there_and_not_removed(buckets: ReplicatedPlace) -> None:
    node = buckets.node()
    add_upload(node, sha256=hashlib.sha256(BODY).hexdigest())
    buckets.copied()
    bucket = Bucket(BucketUrl("s3", BUCKET, first_prefix(buckets)), buckets.buckets)
    for one in list(bucket.listed(f"files/{IDENT}")):
        bucket.remove(one.key)

    assert whole(buckets.node()) == BODY
    node.change(IDENT, with_size("1x1"))
    buckets.copied()
    assert whole(buckets.there()) == BODY


def test_a_folder_that_lost_a_file_does_not_say_that_it_was_removed(
    tmp_path: Path, place: tuple[BucketUrl, Any]
) -> None:
    there = replicated_place(tmp_path, "folder", *place)
    node = there.node()
    add_upload(node)
    there.copied()
    Path(node.where(IDENT)).unlink()
    node.change(IDENT, with_size("1x1"))

    assert not there.replication().copy(IDENT)

    assert whole(there.there()) == BODY


def test_what_vanished_here_is_not_taken_for_removed(there: ReplicatedPlace) -> None:
    node = there.node()
    add_upload(node)
    there.copied()
    first = there.first.node()
    if isinstance(first, UploadFolder):
        shutil.rmtree(Path(first.where(IDENT)).parent)
    else:
        bucket = Bucket(BucketUrl("s3", BUCKET, first_prefix(there)), there.buckets)
        bucket.remove(record_key(IDENT))
    replication = there.replication()
    replication.done(IDENT, replication.leave(IDENT))

    assert not replication.copy(IDENT)

    assert "nobody removed it" in there.complaints[-1]
    assert whole(there.there()) == BODY
    add_upload(there.node())  # from a backup
    there.copied()
    require_same(there)


def test_what_the_replica_lacks_or_has_damaged_is_written_again(there: ReplicatedPlace) -> None:
    node = there.node()
    replica = in_replica(there)
    add_upload(node)
    node.keep(IDENT, NAME, b"made")
    there.copied()
    copier = there.replication().copier
    assert copier.copy(IDENT) == "same"
    for one in list(replica.listed()):
        replica.remove(one.key)
        assert copier.copy(IDENT) == "copied", one
        require_same(there)
        if not one.key.endswith("original"):  # of which only the length is compared
            replica.put(one.key, b"x" * one.version.size_bytes)
            assert copier.copy(IDENT) == "copied", one
            require_same(there)


def test_what_was_left_half_done_in_the_replica_is_swept(buckets: ReplicatedPlace) -> None:
    replica = in_replica(buckets)
    for key in (f"incoming/{IDENT}/abc/def", f"files/{IDENT}/abc/sizes/1x1.best"):
        replica.put(key, b"by one that was killed")
    late = bucket_node(
        buckets.folder / "late", buckets.url, buckets.buckets, clock=lambda: time.time() + 7200
    )

    late.sweep()

    assert not list(replica.listed())


def test_moving_changes_nothing_in_the_replica(tmp_path: Path, place: tuple[Any, Any]) -> None:
    there = replicated_place(tmp_path, "both", *place)
    both = there.first.node()
    assert isinstance(both, TwoPlaces)
    add_upload(both.folder, sha256=hashlib.sha256(BODY).hexdigest())
    both.folder.keep(IDENT, NAME, b"made")
    copier = there.replication(both).copier
    assert copier.copy(IDENT) == "copied"
    before = versions(there)

    assert move_upload(IDENT, both.folder, both.bucket)

    assert copier.copy(IDENT) == "same"
    assert versions(there) == before


# --- The outbox ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_an_outbox_has_what_was_left_and_not_removed(
    tmp_path: Path, bucket: Bucket, kind: str
) -> None:
    outbox = OutboxInFolder(tmp_path) if kind == "folder" else OutboxInBucket(bucket)
    assert not outbox.of(IDENT)
    assert not outbox.notes(9)

    word = outbox.leave(IDENT)
    other = outbox.leave(IDENT)
    outbox.leave(OTHER)

    assert {note.word for note in outbox.of(IDENT)} == {word, other}
    assert not any(note.is_done for note in outbox.of(IDENT))
    assert len(outbox.notes(9)) == 3
    assert len(outbox.notes(2)) == 2
    assert all(abs(time.time() - note.left_seconds) < 60 for note in outbox.notes(9))
    outbox.done(IDENT, word)
    assert {note.word for note in outbox.of(IDENT) if note.is_done} == {word}
    listed = outbox.of(IDENT)
    outbox.leave(IDENT)
    for _ in range(2):
        outbox.remove(listed)
    assert len(outbox.of(IDENT)) == 1
    assert [note.ident for note in outbox.of(OTHER)] == [OTHER]
