"""What all records of jobs promise: those in memory, and those in a real Redis."""

import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import redis
import redises

from imgprocessor.config.jobs_settings import JobsSettings
from imgprocessor.errors import JobsUnavailable
from imgprocessor.jobs.ids import JobIds
from imgprocessor.jobs.memory import MemoryRecords
from imgprocessor.jobs.records import LEASE_SECONDS, MAX_LEASES, Failure, Records, Wanted
from imgprocessor.jobs.redis_records import RedisRecords

SETTINGS = JobsSettings(
    enabled=True,
    max_pending=5,
    max_known=20,
    max_waiting_bytes=1000,
    max_kept_bytes=2000,
    result_seconds=100,
)
WANTED = Wanted("name=a.jpg&width=100&height=100", "quick", "somebody")


@dataclass
class Place:
    """Records, and a way to have time pass."""

    records: Records
    later: Callable[[float], None]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A Redis: its socket's path must be short."""
    with (
        tempfile.TemporaryDirectory() as folder,
        redises.redis_server(Path(folder)) as where,
    ):
        yield where


@pytest.fixture(params=["memory", "redis"])
def place(request: pytest.FixtureRequest) -> Place:
    if request.param == "memory":
        past = [0.0]
        records = MemoryRecords(SETTINGS, clock=lambda: time.time() + past[0])

        def later(seconds: float) -> None:
            past[0] += seconds

        return Place(records, later)
    where = request.getfixturevalue("url")
    client = redis.Redis.from_url(where, decode_responses=True)
    client.flushall()
    known = RedisRecords(replace(SETTINGS, redis=where, instance="here"))

    def earlier(seconds: float) -> None:
        for name in client.keys("here:*"):  # all that is told by a time
            if client.type(name) == "zset":
                members: Any = client.zrange(name, 0, -1, withscores=True)
                for member, score in members:
                    client.zadd(name, {member: score - seconds})

    return Place(known, earlier)


def test_a_job_waits_is_taken_and_is_done(place: Place) -> None:
    records = place.records
    records.create("a", WANTED)
    waits = records.find("a")
    taken = records.claim("a", "one")
    again = records.claim("a", "two")
    done = records.succeed("a", "one", {"format": "jpeg"})
    known = records.find("a")

    assert waits is not None
    assert known is not None
    assert taken is not None
    assert (waits.state, waits.wanted, waits.failure, waits.result) == ("PENDING", WANTED, None, {})
    assert (taken.state, again, done) == ("STARTED", None, True)
    assert (known.state, known.result) == ("SUCCESS", {"format": "jpeg"})
    assert known.expires_seconds - known.created_seconds >= 100
    assert records.find("b") is None
    assert records.claim("b", "one") is None


def test_only_whoever_holds_a_job_ends_it(place: Place) -> None:
    records = place.records
    records.create("a", WANTED)
    records.claim("a", "one")

    assert not records.succeed("a", "two", {})
    assert not records.fail("a", "two", Failure("x", "X."))
    assert not records.renew("a", "two")
    records.give_back("a", "two")
    assert records.find("a").state == "STARTED"  # type: ignore[union-attr]
    assert records.renew("a", "one")
    assert records.fail("a", "one", Failure("broken-original", "It is broken."))
    assert not records.renew("a", "one")
    assert records.find("a").failure == Failure("broken-original", "It is broken.")  # type: ignore[union-attr]


def test_what_is_given_back_waits_at_its_place(place: Place) -> None:
    records = place.records
    for job in "abc":
        records.create(job, WANTED)
    records.claim("a", "one")
    assert records.waiting("quick") == ["b", "c"]

    records.give_back("a", "one")

    assert records.waiting("quick") == ["a", "b", "c"]
    assert records.find("a").state == "RETRY"  # type: ignore[union-attr]
    assert records.claim("a", "two") is not None


def test_a_lease_that_ends_is_handed_out_again(place: Place) -> None:
    records = place.records
    records.create("a", WANTED)
    records.claim("a", "one")
    place.later(LEASE_SECONDS - 1)
    assert list(records.hand_out()) == []
    assert records.renew("a", "one")
    place.later(LEASE_SECONDS - 1)
    assert list(records.hand_out()) == []
    place.later(2)

    assert list(records.hand_out()) == [("quick", "a")]

    assert list(records.hand_out()) == []
    assert not records.succeed("a", "one", {})  # it woke up later
    assert records.find("a").state == "RETRY"  # type: ignore[union-attr]
    assert records.claim("a", "two") is not None
    assert records.succeed("a", "two", {})
    assert records.find("a").leases == 1  # type: ignore[union-attr]


def test_too_many_leases_are_a_failure(place: Place) -> None:
    records = place.records
    records.create("a", WANTED)
    for _ in range(MAX_LEASES):
        assert records.claim("a", "one") is not None
        place.later(LEASE_SECONDS + 1)
        records.hand_out()

    known = records.find("a")
    assert known is not None
    assert known.state == "FAILURE"
    assert known.failure is not None
    assert known.failure.code == "lost"
    assert records.claim("a", "one") is None
    assert records.counts()["lost"] == MAX_LEASES
    assert records.outcomes() == {"success": 0, "lost": 1}


@pytest.mark.parametrize("is_held", [False, True])
def test_what_is_cancelled_stays_so(place: Place, *, is_held: bool) -> None:
    records = place.records
    records.create("a", WANTED)
    if is_held:
        records.claim("a", "one")

    assert records.cancel("a")

    assert not records.cancel("a")
    assert not records.renew("a", "one")
    assert not records.succeed("a", "one", {})
    assert records.claim("a", "two") is None
    assert records.waiting("quick") == []
    place.later(LEASE_SECONDS + 1)
    assert list(records.hand_out()) == []
    known = records.find("a")
    assert known is not None
    assert known.failure is not None
    assert (known.state, known.failure.code) == ("FAILURE", "cancelled")


def test_as_many_wait_as_may_of_each_queue(place: Place) -> None:
    records = place.records
    for job in "abcde":
        records.create(job, WANTED)
    with pytest.raises(JobsUnavailable, match="max_pending"):
        records.create("f", WANTED)
    records.create("g", replace(WANTED, queue="bulk"))
    records.claim("a", "one")

    records.create("f", WANTED)

    assert records.waiting("quick") == ["b", "c", "d", "e", "f"]


def test_waiting_bytes_are_counted_until_it_is_over(place: Place) -> None:
    records = place.records
    large = replace(WANTED, size_bytes=600)
    records.create("a", large)
    with pytest.raises(JobsUnavailable, match="max_waiting_bytes"):
        records.create("b", large)
    records.claim("a", "one")
    with pytest.raises(JobsUnavailable, match="max_waiting_bytes"):
        records.create("b", large)
    records.succeed("a", "one", {})
    records.create("b", large)
    records.cancel("b")
    records.create("c", large)
    records.forget("c")

    assert records.counts()["bytes"] == 0
    records.create("d", large)


def test_thumbnails_are_counted_until_they_are_forgotten(place: Place) -> None:
    records = place.records
    for job in "abc":
        records.create(job, WANTED)
    for job in "ab":
        records.claim(job, "one")
        records.succeed(job, "one", {"bytes": 1000})
    records.succeed("a", "one", {"bytes": 1000})  # it was over
    kept = records.counts()["kept"]

    with pytest.raises(JobsUnavailable, match="max_kept_bytes"):
        records.create("d", WANTED)
    records.create("e", replace(WANTED, kind="warm"))
    records.forget("a")
    records.forget("a")

    assert (kept, records.counts()["kept"]) == (2000, 1000)
    records.create("d", WANTED)


def test_jobs_are_bounded_though_they_are_over(place: Place) -> None:
    records = place.records
    for number in range(SETTINGS.max_known):
        records.create(f"job{number}", WANTED)
        records.cancel(f"job{number}")

    with pytest.raises(JobsUnavailable, match="max_known"):
        records.create("more", WANTED)
    records.forget("job0")
    records.create("more", WANTED)


def test_what_is_over_for_long_is_forgotten(place: Place) -> None:
    records = place.records
    records.create("a", WANTED)
    records.create("b", WANTED)
    place.later(60)
    assert records.cancel("a")
    place.later(60)

    assert list(records.expired()) == ["b"]

    records.forget("b")
    assert records.find("b") is None
    assert records.waiting("quick") == []
    assert list(records.expired()) == []
    place.later(60)
    assert list(records.expired()) == ["a"]


def test_a_job_is_taken_by_one_of_many(place: Place) -> None:
    place.records.create("a", WANTED)
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda n: place.records.claim("a", str(n)), range(40)))

    assert sum(one is not None for one in taken) == 1


def test_counts(place: Place) -> None:
    for job in "abc":
        place.records.create(job, WANTED)
    place.records.claim("a", "one")
    place.later(50)
    counts = place.records.counts()

    assert (counts["quick"], counts["bulk"], counts["held"]) == (2, 0, 1)
    assert 50 <= counts["quick_age"] < 60
    assert counts["bulk_age"] == 0


def test_outcomes_are_counted_once_each(place: Place) -> None:
    records = place.records
    assert records.outcomes() == {"success": 0}
    for job in "abcd":
        records.create(job, WANTED)
        records.claim(job, "one")
    records.succeed("a", "one", {})
    records.fail("b", "one", Failure("broken-original", "It is broken."))
    records.fail("b", "one", Failure("broken-original", "It is broken."))
    records.fail("c", "two", Failure("busy", "Not held."))
    records.cancel("c")
    records.cancel("c")
    records.fail("d", "one", Failure("broken-original", "It is broken."))
    records.forget("a")

    assert records.outcomes() == {"success": 1, "broken-original": 2, "cancelled": 1}


def test_ids_are_known_again_and_no_others(place: Place) -> None:
    ids, same = JobIds(place.records.key()), JobIds(place.records.key())
    job = ids.new()

    assert same.is_ours(job)
    assert ids.new() != job
    others = [
        "",
        "a",
        job[:-1],
        f"{job}A",
        job[:-1] + "AB"[job[-1] == "A"],
        "a" * 32,
        "\u0661" * 32,
    ]
    for other in (*others, JobIds(b"x" * 32).new()):
        assert not ids.is_ours(other)


def test_two_installations_share_a_redis_and_nothing_else(url: str) -> None:
    one, other = (
        RedisRecords(replace(SETTINGS, redis=url, instance=name)) for name in ("one", "other")
    )
    one.create("a", WANTED)

    assert other.find("a") is None
    assert other.claim("a", "x") is None
    assert other.key() != one.key()


def test_without_redis_and_without_memory_it_says_so(tmp_path: Path) -> None:
    gone = RedisRecords(replace(SETTINGS, redis=f"unix://{tmp_path}/none"))
    with pytest.raises(JobsUnavailable):
        gone.find("a")
    with (
        tempfile.TemporaryDirectory() as folder,
        redises.redis_server(Path(folder), "--maxmemory", "1mb") as url,
    ):
        small = RedisRecords(replace(SETTINGS, redis=url, max_pending=10**6))
        full = replace(WANTED, query="x" * 1000)
        with pytest.raises(JobsUnavailable):
            _fill(small, full)
        assert small.claim("0", "one") is not None
        assert small.succeed("0", "one", {})
        small.forget("0")


def _fill(records: Records, wanted: Wanted) -> None:
    for number in range(100_000):
        records.create(str(number), wanted)
