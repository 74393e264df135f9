"""Originals in a bucket, over a real S3 server: what they have that no other source has."""

import contextlib
import pickle
import subprocess
import sys
import threading
import time
import unicodedata
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import obstore
import pytest
from bucket_nodes import BucketNode, read_all
from conftest import ROOT
from obstore.store import S3Store
from scripted_s3 import Answer, Asked, ScriptedS3, refusal
from servers import await_true
from weeds import BUCKET, KEY, KEY_ID, S3Server, access_file, needs_weed, place_in, running_s3

from imgprocessor.config.buckets import BucketsSettings, BucketUrl
from imgprocessor.errors import (
    ImageError,
    NotFound,
    OriginalsUnavailable,
    OriginBusy,
    OversizedOriginal,
)
from imgprocessor.storage.generation import Generations

pytestmark = needs_weed

Place = tuple[BucketUrl, BucketsSettings]

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Füße/é.jpg") for form in ("NFC", "NFD"))


@pytest.fixture
def node(tmp_path: Path, place: Place) -> BucketNode:
    return BucketNode(tmp_path / "node", place)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[S3Server]:
    """A server that a test may end."""
    with running_s3(tmp_path / "own") as server:
        yield server


@pytest.mark.parametrize(
    "name",
    [
        *("a+b.jpg", "100%.jpg", "%41.jpg", "#1.jpg", "what?.jpg", "a b/c d.jpg", "写真/猫.jpg"),
        *("[~]'\"$1*&;=.jpg", "none", "été.jpg", "x" * 200),
    ],
)
def test_a_name_is_a_key(node: BucketNode, name: str) -> None:
    node.bucket.put(name, name.encode())

    found = node.source.find(name)

    assert read_all(node.source, found) == name.encode()
    assert found.id == node.source.id_of(name) == f"{node.bucket.url}/{name}"
    assert node.source.shared_id(found.id) == found.id
    assert node.source.listed(name.rpartition("/")[0]).files == [name.rpartition("/")[2]]


def test_a_name_finds_its_letters_in_another_form(node: BucketNode) -> None:
    node.missing_seconds = 600
    node.source = node.process()
    node.bucket.put(DECOMPOSED, b"found")

    for name in (COMPOSED, DECOMPOSED, COMPOSED):
        assert read_all(node.source, node.source.find(name)) == b"found"

    assert [key for key, _ in node.bucket.asked] == [COMPOSED, DECOMPOSED]
    node.bucket.put(COMPOSED, b"nearer")
    node.source.forget(COMPOSED)
    assert read_all(node.source, node.source.find(COMPOSED)) == b"nearer"
    assert read_all(node.source, node.source.find(DECOMPOSED)) == b"found"


def test_what_did_not_change_is_not_sent_again(node: BucketNode) -> None:
    etag = node.bucket.put("a.jpg", b"picture")
    first = node.source.find("a.jpg")
    assert node.source.find("a.jpg") == first
    assert node.bucket.asked == [("a.jpg", None)]

    node.pass_time()
    assert node.source.find("a.jpg") == first
    assert node.source.find("a.jpg") == first
    assert node.bucket.asked == [("a.jpg", None), ("a.jpg", etag)]


def test_what_changed_is_another_picture_of_another_version(node: BucketNode) -> None:
    node.bucket.put("a.jpg", b"one")
    first = node.source.find("a.jpg")
    node.bucket.put("a.jpg", b"two")
    assert node.source.find("a.jpg") == first

    node.pass_time()
    second = node.source.find("a.jpg")
    assert second.id == first.id
    assert second.version != first.version
    assert second.identity != first.identity
    assert read_all(node.source, second) == b"two"


def test_all_nodes_call_one_version_the_same(tmp_path: Path, place: Place) -> None:
    """Whenever each of them fetched it."""
    nodes = [BucketNode(tmp_path / name, place) for name in ("one", "other")]
    nodes[0].bucket.put("a.jpg", b"picture")
    first = nodes[0].source.find("a.jpg")
    time.sleep(1.1)  # another second, as HTTP dates have them
    found = [first, nodes[1].source.find("a.jpg")]

    assert len({(one.shared_group, one.version, one.modified_ns) for one in found}) == 1
    assert len({(one.validator, one.identity) for one in found}) == 1
    nodes[0].source.forget("a.jpg")
    assert nodes[0].source.find("a.jpg").identity == first.identity


def test_workers_open_copies_without_a_client(node: BucketNode) -> None:
    """Which takes each of them time and memory."""
    node.bucket.put("a.jpg", b"picture")
    program = """
import pickle, sys
original = pickle.load(sys.stdin.buffer)
with original.source.open(original) as (file, _):
    print(file.read().decode(), *({"obstore", "httpcore"} & sys.modules.keys()))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=pickle.dumps(node.source.find("a.jpg")),
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"picture\n"


def test_an_object_that_was_put_in_parts(node: BucketNode, s3_server: S3Server) -> None:
    """Its ETag is no checksum of anything."""
    store = S3Store(
        BUCKET,
        endpoint=s3_server.endpoint,
        access_key_id=KEY_ID,
        secret_access_key=KEY,
        region="us-east-1",
        client_options={"allow_http": True},
    )
    node.max_bytes = 20_000_000
    node.max_kept_bytes = 400_000_000
    node.source = node.process()
    body = bytes(range(256)) * 24_000
    key = f"{node.bucket.url.prefix}/large.jpg"
    obstore.put(store, key, body, use_multipart=True, chunk_size=5 << 20)

    found = node.source.find("large.jpg")
    assert read_all(node.source, found) == body
    node.pass_time()
    assert node.source.find("large.jpg") == found
    etag = node.bucket.asked[-1][1]
    assert etag is not None
    assert "-" in etag


@pytest.mark.parametrize(("size", "error"), [(0, NotFound), (1_000_001, OversizedOriginal)])
def test_what_is_no_original(node: BucketNode, size: int, error: type[ImageError]) -> None:
    node.bucket.put("a.jpg", bytes(size))

    with pytest.raises(error, match=f"{node.bucket.url}/a.jpg has "):
        node.source.find("a.jpg")


def test_what_is_missing_is_not_asked_for_again(node: BucketNode) -> None:
    node.missing_seconds = 1
    node.source = node.process()
    for _ in range(5):
        with pytest.raises(NotFound, match="there is no such object"):
            node.source.find("none.jpg")
    assert len(node.bucket.asked) == 1

    node.bucket.put("none.jpg", b"here by now")

    def is_found() -> bool:
        with contextlib.suppress(NotFound):
            return read_all(node.source, node.source.find("none.jpg")) == b"here by now"
        return False

    await_true(is_found)
    assert len(node.bucket.asked) == 2


def test_a_purge_by_another_process_has_a_missing_one_asked_for_again(node: BucketNode) -> None:
    node.missing_seconds = 60
    node.source = node.process()
    with pytest.raises(NotFound):
        node.source.find("new.jpg")
    node.bucket.put("new.jpg", b"content")
    with pytest.raises(NotFound, match="a moment ago"):
        node.source.find("new.jpg")

    Generations(node.folder).begin()

    assert node.source.find("new.jpg").size_bytes == 7


def test_what_has_gone_is_missing_at_once(node: BucketNode) -> None:
    node.bucket.put("a.jpg", b"picture")
    found = node.source.find("a.jpg")
    node.bucket.remove("a.jpg")
    assert read_all(node.source, found) == b"picture"  # the copy is whole

    node.pass_time()
    with pytest.raises(NotFound):
        node.source.find("a.jpg")
    with pytest.raises(OriginalsUnavailable, match="has gone"):
        read_all(node.source, found)


@pytest.fixture
def faulty(tmp_path: Path, scripted: ScriptedS3) -> BucketNode:
    """A node over a server that behaves as a test says."""
    scripted.objects["p/a.jpg"] = b"picture"
    place = BucketUrl("s3", BUCKET, "p"), access_file(tmp_path, scripted.access())
    return BucketNode(tmp_path / "node", place, total_seconds=1)


def test_who_may_not_list_is_told_both_that_it_may_mean(
    faulty: BucketNode, scripted: ScriptedS3
) -> None:
    def behave(asked: Asked) -> Answer | None:
        is_there = asked.key in scripted.objects
        return None if is_there else refusal(403, "AccessDenied")

    scripted.behaviour = behave
    assert read_all(faulty.source, faulty.source.find("a.jpg")) == b"picture"
    with pytest.raises(NotFound, match="it is not there, or may not be read"):
        faulty.source.find("none.jpg")
    assert not faulty.source.folder("").is_closed
    faulty.source.look()
    with pytest.raises(OriginalsUnavailable, match="403 Forbidden"):
        faulty.source.listed("")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (refusal(500, "InternalError"), "500 Internal Server Error"),
        (refusal(503, "SlowDown"), "the bucket is asked too much"),
        (Answer(429), "429 Too Many Requests"),
        (Answer(200, b"picture", {"etag": '"1"'}, body_bytes_sent=3), "the connection ends before"),
        (Answer(is_lost=True), "the connection ends before"),
        (Answer(silent_seconds=30), "it takes too long"),
        (refusal(403, "ExpiredToken"), "the credentials have expired"),
        (refusal(403, "RequestTimeTooSkewed"), "the clock of this machine is wrong"),
    ],
)
def test_while_a_bucket_fails_what_is_old_is_used(
    faulty: BucketNode, scripted: ScriptedS3, answer: Answer, told: str
) -> None:
    first = faulty.source.find("a.jpg")
    faulty.pass_time()
    scripted.behaviour = lambda _: answer

    assert faulty.source.find("a.jpg") == first
    assert read_all(faulty.source, first) == b"picture"
    with pytest.raises(OriginalsUnavailable, match=told):
        faulty.source.find("b.jpg")
    faulty.late += 86_400  # [remote] max_stale_seconds
    with pytest.raises(OriginalsUnavailable, match=told):
        faulty.source.find("a.jpg")
    scripted.behaviour = lambda _: None
    assert faulty.source.find("a.jpg") == first


def test_of_many_requests_at_once_one_goes_out(tmp_path: Path, place: Place) -> None:
    node = BucketNode(tmp_path / "node", place, total_seconds=20)
    node.bucket.put("a.jpg", bytes(900_000))
    processes = [node.process() for _ in range(8)]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: processes[n % 8].find("a.jpg"), range(1200)))

    assert len(node.bucket.asked) == 1
    assert len(set(found)) == 1


def test_whoever_comes_while_all_slots_are_taken_waits(
    tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bucket is ours: 503 at once is for other people's hosts."""
    node = BucketNode(tmp_path / "node", place, total_seconds=20)
    names = [f"{number}.jpg" for number in range(32)]
    for name in names:
        node.bucket.put(name, name.encode())
    get, at_once, most = node.bucket.get, threading.Semaphore(16), []

    def slowly(key: str, **asked: object) -> object:
        most.append(at_once.acquire(blocking=False))
        try:
            time.sleep(0.05)
            return get(key, **asked)  # type: ignore[arg-type]
        finally:
            at_once.release()

    monkeypatch.setattr(node.bucket, "get", slowly)
    with ThreadPoolExecutor(32) as pool:
        found = list(pool.map(node.source.find, names))

    assert [read_all(node.source, one) for one in found] == [name.encode() for name in names]
    assert all(most)


def test_no_more_wait_than_fetch(
    tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each keeps a thread, which pictures that are kept need, too."""
    node = BucketNode(tmp_path / "node", place, total_seconds=20)
    node.bucket.put("a.jpg", b"picture")
    get, ended = node.bucket.get, threading.Event()

    def slowly(key: str, **asked: object) -> object:
        ended.wait(20)
        return get(key, **asked)  # type: ignore[arg-type]

    monkeypatch.setattr(node.bucket, "get", slowly)
    with ThreadPoolExecutor(33) as pool:
        waiting = [pool.submit(node.source.find, "a.jpg") for _ in range(33)]
        refused = next(as_completed(waiting)).exception()
        ended.set()
    assert isinstance(refused, OriginBusy)
    assert sum(one.exception() is None for one in waiting) == 32


def test_while_a_bucket_is_dead_what_is_old_is_used(tmp_path: Path, own_server: S3Server) -> None:
    node = BucketNode(tmp_path / "node", place_in(own_server, tmp_path, "p"), failed_seconds=600)
    for name in ("a.jpg", "b.jpg"):
        node.bucket.put(name, b"picture")
    first = node.source.find("a.jpg")
    own_server.end()
    node.pass_time()

    asked = len(node.bucket.asked)
    began = time.monotonic()
    for _ in range(5):
        assert read_all(node.source, node.source.find("a.jpg")) == b"picture"
        assert node.source.find("a.jpg") == first
        for name in ("b.jpg", "c.jpg"):
            with pytest.raises(OriginalsUnavailable, match="it cannot be connected to"):
                node.source.find(name)
    assert time.monotonic() - began < 2
    assert len(node.bucket.asked) - asked == 1  # for all names

    own_server.start()
    node.source.forget("b.jpg")
    assert read_all(node.source, node.source.find("b.jpg")) == b"picture"
    assert node.source.find("a.jpg") == first


@pytest.mark.slow
def test_while_a_bucket_hangs_few_find_out(tmp_path: Path, own_server: S3Server) -> None:
    node = BucketNode(
        tmp_path / "node",
        place_in(own_server, tmp_path, "p"),
        total_seconds=1,
        failed_seconds=1,
    )
    names = [f"{number}.jpg" for number in range(12)]
    for name in names:
        node.bucket.put(name, b"picture")
    first = node.source.find(names[0])
    with own_server.stopped():
        node.pass_time()
        assert node.source.find(names[0]) == first
        for name in names[1:4]:
            with pytest.raises(ImageError):
                node.source.find(name)
        asked = len(node.bucket.asked)
        time.sleep(1.1)  # it may be tried again
        began = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            outcomes = [pool.submit(node.source.find, name) for name in names[4:]]
            errors = [outcome.exception() for outcome in outcomes]
        assert all(isinstance(error, OriginalsUnavailable | OriginBusy) for error in errors)
        assert time.monotonic() - began < 2
        assert len(node.bucket.asked) == asked + 1
    time.sleep(1.1)
    assert read_all(node.source, node.source.find("5.jpg")) == b"picture"
    assert read_all(node.source, node.source.find("6.jpg")) == b"picture"


def test_wrong_credentials_are_said_and_mended_while_it_runs(
    tmp_path: Path, s3_server: S3Server
) -> None:
    place = (
        BucketUrl("s3", BUCKET, "mended"),
        access_file(tmp_path, s3_server.access(access_key_id="somebody")),
    )
    node = BucketNode(tmp_path / "node", place)

    with pytest.raises(OriginalsUnavailable, match="the access key is not known there"):
        node.source.find("a.jpg")

    access_file(tmp_path, s3_server.access())
    with pytest.raises(NotFound, match="there is no such object"):
        node.source.find("a.jpg")


def test_a_folder_is_what_keys_have_in_common(node: BucketNode) -> None:
    for key in ("a.jpg", "cats/b.jpg", "cats/c/d.jpg", "shut/e.jpg", "shut/.nomedia"):
        node.bucket.put(key, b"x")
    node.bucket.put("empty.jpg", b"")

    listed = node.source.listed("")
    assert (sorted(listed.folders), listed.files, listed.links) == (["cats", "shut"], ["a.jpg"], [])
    assert node.source.listed("cats")[:2] == (["c"], ["b.jpg"])
    states = {name: node.source.folder(name) for name in ("", "cats", "shut")}
    assert [state.is_closed for state in states.values()] == [False, False, True]
    assert node.source.folder("cats") == states["cats"]
    with pytest.raises(NotFound, match="there is nothing in it"):
        node.source.listed("dogs")


def test_a_closed_folder_s_marker_may_have_no_bytes(node: BucketNode) -> None:
    node.bucket.put("shut/.nomedia", b"")

    assert node.source.folder("shut").is_closed


def test_a_listing_goes_on_after_a_thousand(node: BucketNode) -> None:
    names = [f"many/{number:04}.jpg" for number in range(1003)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: node.bucket.put(name, b"x"), names))

    assert [f"many/{name}" for name in sorted(node.source.listed("many").files)] == names


def test_keys_that_are_no_names_are_left_out_and_that_is_said(
    faulty: BucketNode, scripted: ScriptedS3
) -> None:
    odd = ["b\\c.jpg", f"{'x' * 256}.jpg", "a\nb.jpg", "\x7f.jpg", "d//e.jpg", "./f.jpg"]
    for name in (*odd, "d/g.jpg", "h/i.jpg"):
        scripted.objects[f"p/{name}"] = b"x"

    listed = faulty.source.listed("")
    assert (sorted(listed.folders), listed.files) == (["d", "h"], ["a.jpg"])
    assert faulty.source.listed("d").files == ["g.jpg"]
    first, second = faulty.complaints
    assert first.startswith(f"s3://{BUCKET}/p: left out is ")
    assert first.endswith(", and what else is no name")
    assert "\n" not in first
    assert second == f"s3://{BUCKET}/p/d: left out is 'd//', and what else is no name"


def test_nothing_is_fetched_to_see_what_is_at_hand(node: BucketNode) -> None:
    node.bucket.put("a.jpg", b"x")
    assert node.source.at_hand("a.jpg") is None
    assert node.bucket.asked == []

    found = node.source.find("a.jpg")
    node.pass_time()
    assert node.source.at_hand("a.jpg") == found
    assert len(node.bucket.asked) == 1


def test_a_look_costs_a_request_at_most_every_few_seconds(
    tmp_path: Path, own_server: S3Server
) -> None:
    node = BucketNode(tmp_path / "node", place_in(own_server, tmp_path, "p"))
    node.source.look()
    own_server.end()
    node.source.look()  # a moment ago all was well

    node.source = node.process()
    for _ in range(3):
        with pytest.raises(OSError, match="a bucket does not answer"):
            node.source.look()
        with pytest.raises(OriginalsUnavailable, match="cannot be connected to"):
            node.source.folder("")
    assert "it cannot be connected to" in node.complaints[0]
