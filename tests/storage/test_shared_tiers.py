"""What every tier promises, and what is shared through several: real S3, Redis and memcached."""

import contextlib
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from conftest import ROOT
from memcacheds import running_memcached
from redises import RedisServer, running_redis
from weeds import S3Server, needs_weed, place_in

from imgprocessor.config.store_settings import MemoryUrl
from imgprocessor.storage.shared.bucket import Bucket
from imgprocessor.storage.shared.bucket_tier import BucketTier
from imgprocessor.storage.shared.entries import Shared, SharedEntries
from imgprocessor.storage.shared.failures import BucketFailed
from imgprocessor.storage.shared.memory_tier import MemoryFailed, MemoryTier
from imgprocessor.storage.shared.signed import Signer
from imgprocessor.storage.shared.tier import Guard, Seen, Tier, TierName

KEY = "a" * 32
OTHER_KEY = "b" * 32


@contextlib.contextmanager
def bucket(request: pytest.FixtureRequest, folder: Path) -> Iterator[Tier]:
    server: S3Server = request.getfixturevalue("s3_server")
    yield BucketTier(*place_in(server, folder, folder.name))


@contextlib.contextmanager
def in_redis(request: pytest.FixtureRequest, folder: Path) -> Iterator[Tier]:
    del request, folder
    with tempfile.TemporaryDirectory() as short, running_redis(Path(short)) as server:
        with in_memory(server.url) as tier:
            yield tier


@contextlib.contextmanager
def in_memory(url: str) -> Iterator[Tier]:
    tier = MemoryTier(MemoryUrl(url), "test", 60)
    try:
        yield tier
    finally:
        tier.close()


@contextlib.contextmanager
def in_memcached(request: pytest.FixtureRequest, folder: Path) -> Iterator[Tier]:
    del request, folder
    with running_memcached() as server, in_memory(server.url) as tier:
        yield tier


TIERS = {"bucket": bucket, "redis": in_redis, "memcached": in_memcached}


@pytest.fixture(params=[pytest.param("bucket", marks=needs_weed), "redis", "memcached"])
def tier(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tier]:
    with TIERS[request.param](request, tmp_path) as there:
        yield there


def test_what_was_kept_is_found_and_nothing_else(tier: Tier) -> None:
    assert tier.look("a1", "k1", ["m"]).entry is None

    tier.put("a1", "k1", b"entry")

    assert tier.look("a1", "k1", ["m"]).entry == b"entry"
    assert tier.look("a1", "k2", ["m"]).entry is None
    assert tier.look("a1", None, ["m"]).entry is None


def test_a_mark_stays_the_same_until_it_is_made_another(tier: Tier) -> None:
    before = tier.look("g", None, ["all", "one"]).marks
    assert tier.look("g", "k1", ["all", "one"]).marks == before

    tier.mark("one", b"word")

    assert tier.look("g", None, ["all", "one"]).marks == [before[0], b"word"]
    assert tier.look("g", None, ["all", "two"]).marks != [before[0], b"word"]
    tier.mark("one", b"other")
    assert tier.look("g", None, ["all", "one"]).marks == [before[0], b"other"]


@needs_weed
def test_a_bucket_is_cleared_of_a_group_and_of_no_other(
    s3_server: S3Server, tmp_path: Path
) -> None:
    place = place_in(s3_server, tmp_path, tmp_path.name)
    tier = BucketTier(*place)
    for group, key in (("a1", "k1"), ("a1", "k2"), ("a12", "k1")):
        tier.put(group, key, b"entry")

    tier.clear("a1")

    assert [found.key for found in Bucket(*place).listed()] == ["renditions/a1/a12/k1"]


@contextlib.contextmanager
def listening(behave: Callable[[socket.socket, bytes], None]) -> Iterator[int]:
    """Listen on a free port, and answer whatever comes."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                while data := self.request.recv(65_536):
                    behave(self.request, data)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


class Counts(dict[tuple[str, str], int]):
    """How often each outcome was told."""

    def __call__(self, tier: TierName, outcome: str) -> None:
        """Count one."""
        self[tier, outcome] = self.get((tier, outcome), 0) + 1


def entries(*tiers: Tier, counts: Counts, key: str = KEY) -> SharedEntries:
    told: list[str] = []
    return SharedEntries([Guard(tier, counts, told.append) for tier in tiers], Signer([key]))


def put(there: SharedEntries, group: str, key: str, body: bytes) -> None:
    there.keep(group, key, body, there.look(group, key).marks)
    there.finish()


def purge(there: SharedEntries, groups: list[str] | None) -> None:
    assert there.close(groups) == {}
    assert there.open(groups) == {}


def test_what_one_node_made_another_finds(tier: Tier) -> None:
    counts = Counts()
    here, there = entries(tier, counts=counts), entries(tier, counts=counts)

    put(here, "cats/a.jpg", "key", b"body")

    assert there.look("cats/a.jpg", "key") == Shared(b"body")
    assert there.look("cats/a.jpg", "other").body is None
    assert there.look("cats/b.jpg", "key").body is None
    name = tier.name
    assert counts == {(name, "miss"): 3, (name, "kept"): 1, (name, "hit"): 1}


@pytest.mark.parametrize("groups", [["cats/a.jpg"], None])
def test_what_is_purged_is_found_by_nobody(tier: Tier, groups: list[str] | None) -> None:
    counts = Counts()
    here, there = entries(tier, counts=counts), entries(tier, counts=counts)
    put(here, "cats/a.jpg", "key", b"body")
    put(here, "cats/b.jpg", "key", b"other body")

    assert there.close(groups) == {}
    assert here.look("cats/a.jpg", "key") == Shared()
    assert there.open(groups) == {}

    assert here.look("cats/a.jpg", "key").body is None
    assert here.look("cats/a.jpg", "key").marks.keys() == {tier.name}
    assert (here.look("cats/b.jpg", "key").body is None) is (groups is None)


def test_what_was_begun_before_a_purge_is_not_kept_after_it(tier: Tier) -> None:
    counts = Counts()
    here, there = entries(tier, counts=counts), entries(tier, counts=counts)
    begun = here.look("cats/a.jpg", "key").marks

    purge(there, ["cats/a.jpg"])
    here.keep("cats/a.jpg", "key", b"old", begun)
    here.finish()

    assert counts[tier.name, "dropped"] == 1
    assert there.look("cats/a.jpg", "key").body is None


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ((), "its memory has no bound"),
        (("--maxmemory", "64mb"), "maxmemory-policy is noeviction"),
        (("--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lfu"), ""),
    ],
)
def test_a_redis_that_would_keep_everything_is_told(options: tuple[str, ...], wrong: str) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        running_redis(Path(folder), *options) as server,
        in_memory(server.url) as tier,
    ):
        (told,) = entries(tier, counts=Counts()).probe().values()

    assert wrong in told
    assert bool(wrong) is bool(told)


class Between:
    """A tier where something happens between the look before a write and the write."""

    def __init__(self, tier: Tier, happens: Callable[[], object]) -> None:
        self.name, self.max_bytes = tier.name, tier.max_bytes
        self.look, self.mark, self.unbounded = tier.look, tier.mark, tier.unbounded
        self.clear, self.marks = tier.clear, tier.marks
        self._tier = tier
        self._happens = happens

    def put(self, group: str, key: str, entry: bytes) -> None:
        """Put it when it has happened."""
        self._happens()
        self._tier.put(group, key, entry)


def test_a_purge_between_look_and_write_is_not_lost(tier: Tier) -> None:
    counts = Counts()
    there = entries(tier, counts=counts)
    here = entries(Between(tier, lambda: purge(there, ["a"])), counts=counts)

    put(here, "a", "key", b"old")

    assert counts[tier.name, "kept"] == 1
    assert there.look("a", "key").body is None
    assert here.look("a", "key").body is None


def test_what_another_key_signed_or_nobody_is_missed_and_counted(tier: Tier) -> None:
    counts = Counts()
    here, forger = entries(tier, counts=counts), entries(tier, counts=Counts(), key=OTHER_KEY)
    put(forger, "a", "key", b"forged")

    assert here.look("a", "key").body is None
    assert counts == {(tier.name, "bad"): 1}

    put(here, "a", "key", b"body")
    assert here.look("a", "key").body == b"body"


def test_a_key_that_is_going_out_counts_still() -> None:
    old, new = Signer([OTHER_KEY]), Signer([KEY, OTHER_KEY])
    entry = old.written("name", "mark", b"body")

    assert new.read("name", entry) == ("mark", b"body")
    assert Signer([KEY]).read("name", entry) is None
    assert new.read("name", new.written("name", "mark", b"")) == ("mark", b"")


@pytest.mark.parametrize("length", [0, 1, 4, 20, 36, 37, 38, 42, 45])
def test_half_an_entry_is_none(length: int) -> None:
    signer = Signer([KEY])
    entry = signer.written("name", "mark", b"body")
    assert len(entry) == 46

    assert signer.read("name", entry[:length]) is None
    assert signer.read("other name", entry) is None
    assert signer.read("name", entry) == ("mark", b"body")


def test_each_byte_of_an_entry_counts() -> None:
    signer = Signer([KEY])
    entry = signer.written("name", "mark", b"body")

    for place in range(len(entry)):
        changed = bytearray(entry)
        changed[place] ^= 1
        assert signer.read("name", bytes(changed)) is None


class Scripted:
    """A tier that fails as it is told to, for what it costs."""

    name: TierName = "bucket"
    max_bytes = 100

    def __init__(self) -> None:
        self.is_failing = True
        self.asked = 0

    def look(self, group: str, key: str | None, marks: object) -> Seen:
        """Find nothing, or fail."""
        del group, key, marks
        self.asked += 1
        if self.is_failing:
            raise OSError("it fails")
        return Seen(None, [b"mark"])

    def clear(self, group: str) -> None:
        """Never asked for."""
        raise NotImplementedError

    def marks(self, marks: object) -> list[bytes]:
        """Return one, whatever is asked for."""
        del marks
        return [b"mark"]

    def put(self, group: str, key: str, entry: bytes) -> None:
        """Never asked for."""
        raise NotImplementedError

    def mark(self, mark: str, word: bytes) -> None:
        """Never asked for."""
        raise NotImplementedError

    def unbounded(self) -> str:
        """Never asked for."""
        raise NotImplementedError


def test_a_tier_that_fails_three_times_is_left_out_for_five_seconds() -> None:
    counts, tier, now, told = Counts(), Scripted(), [100.0], list[str]()
    there = SharedEntries([Guard(tier, counts, told.append, lambda: now[0])], Signer([KEY]))

    for _ in range(10):
        assert there.look("a", "key") == Shared()
    assert tier.asked == 3
    assert counts == {("bucket", "failed"): 3, ("bucket", "left_out"): 7}
    assert told == ["[store]: it fails"] * 3

    now[0] += 5.1
    for _ in range(10):
        there.look("a", "key")
    assert tier.asked == 4, "one failure is enough now"

    now[0] += 5.1
    tier.is_failing = False
    there.look("a", "key")
    tier.is_failing = True
    for _ in range(10):
        there.look("a", "key")
    assert tier.asked == 4 + 1 + 3, "it worked again, and has all of its trials"


def test_what_is_too_large_for_a_tier_is_not_kept_there() -> None:
    counts, tier = Counts(), Scripted()
    tier.is_failing = False

    put(entries(tier, counts=counts), "a", "key", bytes(100))

    assert counts == {("bucket", "miss"): 1, ("bucket", "dropped"): 1}


@needs_weed
def test_the_nearer_tier_learns_what_the_farther_one_has(
    s3_server: S3Server, tmp_path: Path
) -> None:
    counts = Counts()
    far = BucketTier(*place_in(s3_server, tmp_path, tmp_path.name))
    put(entries(far, counts=Counts()), "a", "key", b"body")
    with running_memcached() as server, in_memory(server.url) as near:
        there = entries(near, far, counts=counts)

        assert there.look("a", "key").body == b"body"
        there.finish()
        assert there.look("a", "key").body == b"body"

        hits = {("memory", "miss"): 1, ("bucket", "hit"): 1, ("memory", "hit"): 1}
        assert counts == {**hits, ("memory", "kept"): 1}
        purge(there, ["a"])
        assert there.look("a", "key").body is None


def test_a_memory_that_was_emptied_forgets_what_was_kept_and_nothing_comes_back(
    tmp_path: Path,
) -> None:
    del tmp_path
    counts = Counts()
    with tempfile.TemporaryDirectory() as folder:
        with (
            running_redis(Path(folder), "--appendonly", "no") as server,
            in_memory(server.url) as tier,
        ):
            there = entries(tier, counts=counts)
            begun = there.look("a", "key").marks
            put(there, "a", "key", b"body")

            server.end()
            server.start()

            assert there.look("a", "key").body is None
            there.keep("a", "key", b"begun before", begun)
            there.finish()
            assert there.look("a", "key").body is None, "nobody knows what was purged meanwhile"
            put(there, "a", "key", b"body")
            assert there.look("a", "key").body == b"body"


def redis_of(*answers: bytes) -> Callable[[socket.socket, bytes], None]:
    """Return what a server does that is none: it says this, whatever it is asked."""

    def behave(client: socket.socket, _: bytes) -> None:
        for part in answers:
            client.sendall(part)
            time.sleep(0.05 if len(answers) > 1 else 0)

    return behave


@pytest.mark.parametrize("scheme", ["redis", "memcached"])
@pytest.mark.parametrize(
    "answers",
    [
        (b"+OK\r\n" * 20,),
        (b"VALUE zzz\r\n",),
        (b"*1\r\n$-7\r\n",),
        (b"END\r\n" * 9,),
        (b":1\r\n" * 20,),
        (b"",),
        tuple(b"$" for _ in range(30)),
        tuple(b"V" for _ in range(30)),
    ],
    ids=["ok", "value", "array", "end", "numbers", "nothing", "drip", "drip of values"],
)
def test_a_memory_that_answers_oddly_is_left_out(scheme: str, answers: tuple[bytes, ...]) -> None:
    counts = Counts()
    with listening(redis_of(*answers)) as port:
        with in_memory(f"{scheme}://127.0.0.1:{port}") as tier:
            there = entries(tier, counts=counts)
            began = time.monotonic()
            for _ in range(2):
                assert there.look("a", "key").body is None
            assert time.monotonic() - began < 2
    assert ("memory", "hit") not in counts
    assert ("memory", "kept") not in counts


def test_a_mark_of_any_size_costs_little() -> None:
    counts = Counts()
    with (
        tempfile.TemporaryDirectory() as folder,
        running_redis(Path(folder)) as server,
        in_memory(server.url) as tier,
    ):
        there = entries(tier, counts=counts)
        put(there, "a", "key", b"body")
        with redis.Redis.from_url(server.url) as forger:
            for name in forger.keys("*:p:*"):
                forger.set(name, bytes(50_000_000))

        assert there.look("a", "key") == Shared()
    assert counts["memory", "failed"] == 1


def test_a_memory_that_is_full_costs_what_it_would_keep_and_no_more() -> None:
    counts = Counts()
    full = ("--maxmemory", "1", "--maxmemory-policy", "noeviction", "--appendonly", "no")
    with (
        tempfile.TemporaryDirectory() as folder,
        running_redis(Path(folder), *full) as server,
        in_memory(server.url) as tier,
    ):
        there = entries(tier, counts=counts)
        for _ in range(2):
            assert there.look("a", "key").body is None
            put(there, "a", "key", b"body")

    assert counts["memory", "failed"] >= 2
    assert ("memory", "kept") not in counts


@pytest.mark.parametrize("stops", [True, False])
def test_a_memory_that_is_dead_or_stands_still_costs_little_time(*, stops: bool) -> None:
    counts = Counts()
    with (
        tempfile.TemporaryDirectory() as folder,
        running_redis(Path(folder)) as server,
        in_memory(server.url) as tier,
    ):
        there = entries(tier, counts=counts)
        put(there, "a", "key", b"body")
        with server.stopped() if stops else ended(server):
            for _ in range(5):
                assert there.look("a", "key") == Shared()
        assert counts["memory", "failed"] == 3
        assert counts["memory", "left_out"] == 2


def wrong_with(tier: Tier) -> str:
    with pytest.raises(MemoryFailed) as raised:
        tier.mark("m", b"word")
    return str(raised.value)


def test_why_a_memory_fails_is_told_in_words() -> None:
    with listening(redis_of(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        for scheme, kind in (("redis", "Redis"), ("memcached", "memcached")):
            with in_memory(f"{scheme}://127.0.0.1:{port}") as tier:
                assert wrong_with(tier) == f"{scheme}://127.0.0.1:{port}: it is no {kind}"
    with listening(redis_of(b"SERVER_ERROR out of memory\r\n")) as port:
        with in_memory(f"memcached://127.0.0.1:{port}") as tier:
            assert wrong_with(tier) == f"memcached://127.0.0.1:{port}: out of memory"
    with running_memcached() as server:
        with in_memory(server.url.replace("memcached", "redis")) as tier:
            assert wrong_with(tier).endswith(": it is no Redis")
        with in_memory(server.url) as tier:
            tier.mark("m", b"word")
            server.end()
            cut_off = f"{server.url}: the connection ends before its answer does"
            assert wrong_with(tier) == cut_off
            assert f"{server.url}: it cannot be connected to" in wrong_with(tier)
        with in_memory(server.url.replace("memcached", "redis")) as tier:
            assert ": it cannot be connected to" in wrong_with(tier)


@contextlib.contextmanager
def ended(server: RedisServer) -> Iterator[None]:
    server.end()
    try:
        yield
    finally:
        server.start()


@needs_weed
def test_purges_race_with_writers_on_two_nodes(s3_server: S3Server, tmp_path: Path) -> None:
    """Whatever the order: once a purge has returned, nobody finds what was begun before it."""
    counts = Counts()
    place = place_in(s3_server, tmp_path, tmp_path.name)
    writer, purger = (entries(BucketTier(*place), counts=counts) for _ in range(2))
    version, ended = [0], threading.Event()

    def write() -> None:
        while not ended.is_set():
            marks = writer.look("a", "key").marks
            writer.keep("a", "key", str(version[0]).encode(), marks)
            writer.finish()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for number in range(1, 40):
            version[0] = number  # the original is another one now
            purge(purger, ["a"])
            deadline = time.monotonic() + 10
            while (found := purger.look("a", "key").body) is None:
                assert time.monotonic() < deadline, "nothing is kept any more"
            assert int(found) >= number
    finally:
        ended.set()
        thread.join()
    assert counts["bucket", "kept"] >= 39


@needs_weed
def test_what_cannot_be_removed_leaves_nothing_closed(
    s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = Counts()
    tier = BucketTier(*place_in(s3_server, tmp_path, tmp_path.name))
    there = entries(tier, counts=counts)
    put(there, "a", "key", b"body")

    def fail(group: str) -> None:
        raise BucketFailed(group)

    monkeypatch.setattr(tier, "clear", fail)
    purge(there, ["x", "a", "y"])

    assert there.look("a", "key").body is None
    assert counts["bucket", "failed"] == 3
    for group in ("x", "a", "y"):
        put(entries(tier, counts=counts), group, "key", b"new")
        assert entries(tier, counts=counts).look(group, "key").body == b"new"


AT_THE_END = """
import sys
from pathlib import Path
from imgprocessor.config.buckets import BucketsSettings, BucketUrl
from imgprocessor.storage.shared.bucket_tier import BucketTier
from imgprocessor.storage.shared.entries import SharedEntries
from imgprocessor.storage.shared.signed import Signer
from imgprocessor.storage.shared.tier import Guard

file, prefix, key = sys.argv[1:]
tier = BucketTier(BucketUrl("s3", "pictures", prefix), BucketsSettings(Path(file)))
there = SharedEntries([Guard(tier, lambda *_: None, print)], Signer([key]))
for number in range(20):
    there.keep("a", str(number), bytes(100_000), there.look("a", str(number)).marks)
"""


@needs_weed
def test_a_program_that_ends_keeps_what_waits(s3_server: S3Server, tmp_path: Path) -> None:
    url, buckets = place_in(s3_server, tmp_path, tmp_path.name)

    ran = subprocess.run(
        [sys.executable, "-c", AT_THE_END, str(buckets.file), url.prefix, KEY],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )

    assert (ran.stdout, ran.stderr) == ("", "")
    assert len(list(Bucket(url, buckets).listed("renditions"))) == 20
