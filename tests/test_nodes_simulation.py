"""What `benchmarks/nodes.py` works out, against caches that are played through."""

import random
from collections import Counter, OrderedDict
from collections.abc import Hashable
from dataclasses import replace
from itertools import accumulate

import numpy as np
import pytest
from nodes import (
    BUSY,
    CORES,
    DAY,
    GB,
    WAYS,
    Asked,
    Prices,
    Site,
    levels,
    main,
    outcome,
    with_nodes,
    zipf,
)

RATE = 0.5
"""Requests a second."""
REQUESTS = 250_000
WARM = 100_000
"""Requests before any is counted."""
OLD, NEW_A_DAY = 2000, 20
NEW_SHARE = 0.1
CAPACITIES = (1500.0, 4000.0, 9000.0)
BUCKET_SECONDS = 1.5 * DAY
TOLERANCE = 0.006


class Lru:
    """A cache of so many bytes."""

    def __init__(self, capacity: float) -> None:
        self._capacity = capacity
        self._held: OrderedDict[Hashable, float] = OrderedDict()
        self._bytes = 0.0

    def __contains__(self, key: Hashable) -> bool:
        return key in self._held

    def found(self, key: Hashable, size: float) -> bool:
        """Look for something, which is there afterwards."""
        if key in self._held:
            self._held.move_to_end(key)
            return True
        self._held[key] = size
        self._bytes += size
        while self._bytes > self._capacity:
            self._bytes -= self._held.popitem(last=False)[1]
        return False


class Played:
    """Caches one behind the other, and a bucket."""

    def __init__(self) -> None:
        chance = random.Random(3)
        self.caches = [Lru(capacity) for capacity in CAPACITIES]
        self.expiry: dict[Hashable, float] = {}
        self.counted: Counter[int] = Counter()
        self.elsewhere: Counter[bool] = Counter()
        """Of what the second cache had, whether the third one or the bucket had it, too."""
        sums = [list(accumulate(1 / (rank + 1) for rank in range(n))) for n in (OLD, NEW_A_DAY)]
        old, new = sums
        self.now = 0.0
        for number in range(REQUESTS):
            self.now += chance.expovariate(RATE)
            is_new = chance.random() < NEW_SHARE
            (rank,) = chance.choices(
                range(NEW_A_DAY if is_new else OLD), cum_weights=new if is_new else old
            )
            key = (rank, int(self.now / DAY) if is_new else None)
            place = self._ask(key, size_of(rank))
            if number >= WARM:
                self.counted[place] += 1
                if place == 1:
                    self.elsewhere[key in self.caches[2] or self._is_kept(key)] += 1

    def _ask(self, key: Hashable, size: float) -> int:
        for place, cache in enumerate(self.caches):
            if cache.found(key, size):
                return place
        if self._is_kept(key):
            return len(self.caches)
        self.expiry[key] = self.now + BUCKET_SECONDS
        return len(self.caches) + 1

    def _is_kept(self, key: Hashable) -> bool:
        return self.expiry.get(key, 0.0) > self.now

    def shares(self) -> list[float]:
        """Return how many of all requests each place answered; the last one is what was made."""
        places = range(len(self.caches) + 2)
        return [self.counted[place] / self.counted.total() for place in places]


def size_of(rank: int) -> float:
    """Return the bytes of a picture: popular ones are neither smaller nor larger."""
    return float(1 + rank * 7 % 13)


@pytest.fixture(scope="module")
def played() -> Played:
    """All of it, played through once."""
    return Played()


@pytest.fixture(scope="module")
def asked() -> Asked:
    """The same requests, as they are worked out."""
    rates, counts, sizes, lives = [], [], [], []
    for count, share, life in ((OLD, 1 - NEW_SHARE, np.inf), (NEW_A_DAY, NEW_SHARE, DAY)):
        weights = [1 / rank for rank in range(1, count + 1)]
        rates += [RATE * share * weight / sum(weights) for weight in weights]
        counts += [1.0] * count
        sizes += [size_of(rank) for rank in range(count)]
        lives += [life] * count
    ones = np.ones(len(rates))
    return Asked(np.array(rates), np.array(counts), np.array(sizes), np.array(lives), ones, ones)


def test_hits_are_those_of_caches_that_are_played_through(played: Played, asked: Asked) -> None:
    again = asked.rate * (1 - asked.first)
    found = levels(asked, CAPACITIES, BUCKET_SECONDS)
    hits = [float(np.sum(again * level.came * level.hit)) / RATE for level in found]

    assert [*hits, 1 - sum(hits)] == pytest.approx(played.shares(), abs=TOLERANCE)


def test_what_is_lost_with_a_disk_is_elsewhere_as_often_as_it_was_there(
    played: Played, asked: Asked
) -> None:
    found = outcome(Site(OLD, *CAPACITIES, BUCKET_SECONDS), asked)

    assert found.lost == pytest.approx(RATE * played.shares()[1], rel=0.02)
    assert found.lost_renders / found.lost == pytest.approx(
        1 - played.elsewhere[True] / played.elsewhere.total(), abs=0.03
    )


def test_what_is_asked_for_once_is_made_whatever_is_kept(asked: Asked) -> None:
    once = replace(asked, life=np.full_like(asked.rate, 1e-9))

    assert outcome(Site(OLD, GB, GB, GB, DAY), once).shares[-1] == pytest.approx(1, abs=1e-6)


def test_a_site_has_as_many_nodes_as_carry_it_without_one(asked: Asked) -> None:
    busy = replace(asked, new_ms=np.full_like(asked.rate, 500_000.0))
    site = with_nodes(Site(OLD, 100.0, 1.0, 0.0), busy)
    fewer = outcome(replace(site, nodes=site.nodes - 1), busy)

    assert site.nodes > 2
    assert outcome(site, busy).peak_processors <= (site.nodes - 1) * CORES * BUSY
    assert fewer.peak_processors > (site.nodes - 2) * CORES * BUSY


def test_a_bucket_costs_what_its_requests_and_its_room_do(asked: Asked) -> None:
    found = replace(
        outcome(Site(OLD, *CAPACITIES, DAY), asked), looks=10.0, renders=1.0, bucket_bytes=2000 * GB
    )

    requests, room = found.month(Prices(0.4, 5, 0.02))

    # 30 + 2 GETs and a PUT a second.
    assert requests == pytest.approx(30 * 86_400 / 1e6 * (32 * 0.4 + 5))
    assert room == pytest.approx(40)


def test_a_hundred_million_ranks_are_few_entries_of_the_same_weight() -> None:
    weights, counts = zipf(1e8)
    exactly = np.cumsum(1 / np.arange(1, 100_001))

    assert len(counts) < 300
    assert np.sum(counts) == 1e8
    assert np.sum(weights * counts) == pytest.approx(1)
    first = np.cumsum(counts) <= 100_000
    shown = np.cumsum(weights * counts)[first]
    of_all = exactly[np.cumsum(counts)[first].astype(int) - 1] / (np.log(1e8) + np.euler_gamma)
    assert shown == pytest.approx(of_all, rel=0.01)


def test_all_of_it_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--visitors", "500"]) == 0

    printed = capsys.readouterr().out
    assert [name for name in WAYS if f"| {name} | 1 million | 10 million |" in printed] == [*WAYS]
