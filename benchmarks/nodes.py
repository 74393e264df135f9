"""Work out how many of what so many pictures need, and what the loss of a node costs: no servers.

    python benchmarks/nodes.py [--visitors 40000] [--requests-each 20]

Visitors ask for pictures by a Zipf law (`edge_visitors`, whose made-up visitors also say in which
sizes and formats, by the delivered policy), and a stream of new pictures is asked for before all
others. What they ask for goes through Varnish, the disks of nodes over which originals are spread,
the memory that nodes share, and the bucket, whose entries expire; what none has is made. Hits are
worked out, because a hundred million pictures are more than can be played through: by the
approximation of Che, Tung and Wang (Hierarchical Web caching systems, 2002) for LRU caches whose
requests are independent, one behind the other; `tests/test_nodes_simulation.py` compares it with
LRU caches that are played through. What things take was measured by `shared_tier.py`. Prints three
tables: what is needed, where answers come from, and what is lost with a node.
"""

import argparse
import math
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from edge_hits import delivered_settings, hints_of, understanding
from edge_visitors import ZIPF, Visitors
from numpy.typing import NDArray

from imgprocessor.geometry import Size
from imgprocessor.service.understanding import Planned

Floats = NDArray[np.float64]

DAY = 86_400.0
MONTH = 30 * DAY
FOREVER = math.inf
GB = 1e9

# --- What is assumed ------------------------------------------------------------------------------

NEW_SHARE = 0.001
"""Of the pictures there are, so many come each day; assumed."""
NEW_REQUESTS = 0.1
"""Of all requests, to pictures of the last day; assumed."""
PEAK = 2.0
"""Times the average, in the busiest hour; assumed."""
CORES = 4
"""Of a node."""
BUSY = 0.6
"""Of a node's processors, so much is used on purpose."""
ORIGINAL = Size(4000, 3000)

# --- What was measured: python benchmarks/shared_tier.py, as Chromium asks ------------------------

WIDTHS = (160, 320, 640, 1082, 1920)
NEW_MS = (26.0, 31.0, 49.0, 71.0, 98.0)
"""Of a processor, for a first rendition."""
BEST_MS = (43.0, 71.0, 193.0, 467.0, 1101.0)
"""Of a processor, for the best behind it."""
BYTES = (2_300.0, 7_500.0, 25_400.0, 62_700.0, 147_700.0)
JPEG_BYTES = (2_900.0, 9_200.0, 31_300.0, 76_700.0, 195_200.0)
KEPT_MS = 0.5
"""Of a processor, for what is on the disk (measurements.md, what surrounds the pixels)."""
SHARED_MS = 1.8
"""Of a processor, for what only the bucket has."""
LOOKS = 2
"""For each new picture: by its first visitor, and before the best is made."""
GETS_A_LOOK, GETS_A_PUT = 3, 2

# --- List prices: Amazon S3 Standard, us-east-1, November 2026 (aws.amazon.com/s3/pricing) --------


@dataclass(frozen=True)
class Prices:
    """What a bucket costs, in USD."""

    million_gets: float = 0.40
    million_puts: float = 5.00
    gb_month: float = 0.023


@dataclass(frozen=True)
class Site:
    """How many pictures there are, and what they are kept in."""

    pictures: float
    varnish_bytes: float
    disk_bytes: float
    """Of each node, for renditions."""
    memory_bytes: float
    bucket_seconds: float = 0.0
    """After so long an entry expires; 0: there is no bucket."""
    nodes: int = 1


SITES = (
    Site(1e6, 8 * GB, 50 * GB, 8 * GB),
    Site(1e7, 32 * GB, 200 * GB, 32 * GB),
    Site(1e8, 128 * GB, 1000 * GB, 128 * GB),
)


@dataclass(frozen=True)
class Asked:
    """Renditions that are asked for alike, each an entry of the arrays."""

    rate: Floats
    """Requests a second for one of them."""
    count: Floats
    """How many are alike."""
    size: Floats
    """Bytes of one."""
    life: Floats
    """Seconds that it is asked for."""
    new_ms: Floats
    best_ms: Floats

    @property
    def total(self) -> float:
        """Requests a second for all."""
        return float(np.sum(self.rate * self.count))

    @property
    def first(self) -> Floats:
        """Of requests, how many are the first for what they ask for."""
        asked = self.rate * self.life
        with np.errstate(invalid="ignore"):
            return np.where(np.isinf(asked), 0.0, -np.expm1(-asked) / np.maximum(asked, 1e-300))


@dataclass(frozen=True)
class Level:
    """A tier: what came to it of each, and what it had."""

    came: Floats
    """Of requests that are not the first ones, the share that came so far."""
    hit: Floats
    """Of those that came, the share that is found."""
    held: float
    """Bytes in it."""
    seconds: float
    """After so long without a request it forgets."""

    @property
    def left(self) -> Floats:
        """The share that goes on to the next."""
        return self.came * (1 - self.hit)


def levels(asked: Asked, capacities: Sequence[float], bucket_seconds: float) -> list[Level]:
    """Return what becomes of requests in LRU caches of some bytes, one behind the other, and in a
    bucket whose entries expire so long after they were put.
    """
    came, found = np.ones_like(asked.rate), []
    for capacity in capacities:
        level = lru(asked, came, capacity)
        found.append(level)
        came = level.left
    return [*found, bucket(asked, came, bucket_seconds)]


def lru(asked: Asked, came: Floats, capacity: float) -> Level:
    """Return what an LRU cache does for what came through others.

    A rendition that was just asked for here is not asked for here again before the caches in front
    have forgotten it: for so long, on average, it is `blocked`. After that its next request is as
    far away as any.
    """
    rate, life = asked.rate, asked.life
    blocked = 1 / np.maximum(rate * came, 1e-300) - 1 / rate

    def held(seconds: float) -> float:
        after = np.maximum(seconds - blocked, 0.0)
        there = np.minimum(seconds, blocked) - np.expm1(-rate * after) / rate
        share = there / (blocked + 1 / rate)
        # What is asked for no more lies there for as long again.
        with np.errstate(invalid="ignore"):
            past = np.where(np.isinf(life), 0.0, -np.expm1(-rate * life) * seconds / life)
        return float(np.sum(np.maximum(share, past) * asked.count * asked.size))

    seconds = _solved(held, capacity)
    hit = -np.expm1(-rate * np.maximum(seconds - blocked, 0.0))
    return Level(came, hit, held(seconds), seconds)


def bucket(asked: Asked, came: Floats, seconds: float) -> Level:
    """Return what a bucket does. Whoever finds an entry does not make it younger."""
    if not seconds:
        return Level(came, np.zeros_like(came), 0.0, 0.0)
    alive = asked.rate * came * seconds
    is_old = np.isinf(asked.life)
    hit = np.where(is_old, alive / (1 + alive), 1.0)
    lives = np.where(is_old, 1.0, asked.life)
    there = np.where(is_old, hit, -np.expm1(-asked.rate * lives) * seconds / lives)
    return Level(came, hit, float(np.sum(there * asked.count * asked.size)), seconds)


def _solved(held: Callable[[float], float], capacity: float) -> float:
    """Return after how long a cache forgets, which holds so many bytes."""
    if not capacity:
        return 0.0
    low, high = 1e-3, 100 * 365 * DAY
    if held(high) <= capacity:
        return high
    while high / low > 1 + 1e-6:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if held(middle) < capacity else (low, middle)
    return low


# --- Who asks for what ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Variants:
    """The renditions of a picture: how often each is asked for, and what it takes."""

    share: Floats
    size: Floats
    new_ms: Floats
    best_ms: Floats


def variants(count: int, seed: int = 1) -> Variants:
    """Return what so many made-up visitors' requests ask for."""
    seen: Counter[str] = Counter()
    plans: dict[str, Planned] = {}
    with tempfile.TemporaryDirectory(prefix="imgprocessor-nodes-") as folder:
        understand = understanding(delivered_settings(Path(folder)))
        for ask in Visitors(seed).requests(count):
            planned = understand(ask.query, hints_of(dict(ask.headers)))
            _, *of_variant = planned.imagekey.rsplit("_", 9)
            seen["_".join(of_variant)] += 1
            plans["_".join(of_variant)] = planned
    sizes, new_ms, best_ms = [], [], []
    for planned in (plans[one] for one in seen):
        plan = planned.plan
        size = plan.lay_out(ORIGINAL).size
        # A picture that is cut to another shape has as many pixels as one so wide.
        width = math.sqrt(size.width * size.height * ORIGINAL.width / ORIGINAL.height)
        weighed = float(np.interp(width, WIDTHS, BYTES if "avif" in plan.formats else JPEG_BYTES))
        sizes.append(min(weighed, plan.budget_bytes or math.inf))
        new_ms.append(float(np.interp(width, WIDTHS, NEW_MS)))
        is_best = plan.effort == "behind"
        best_ms.append(float(np.interp(width, WIDTHS, BEST_MS)) if is_best else 0.0)
    shares = np.array(list(seen.values())) / count
    return Variants(shares, np.array(sizes), np.array(new_ms), np.array(best_ms))


def zipf(pictures: float) -> tuple[Floats, Floats]:
    """Return how popular pictures are, and how many are alike: the first hundred one by one."""
    ends = [float(rank) for rank in range(min(100, int(pictures)) + 1)]
    while ends[-1] < pictures:
        ends.append(min(pictures, math.ceil(ends[-1] * 1.1)))
    counts = np.diff(np.array(ends))
    middle = np.array(ends[1:]) - (counts - 1) / 2
    weight = middle**-ZIPF
    return weight / np.sum(weight * counts), counts


def asked_of(pictures: float, requests: float, of_each: Variants) -> Asked:
    """Return what is asked for of so many pictures, and of the day's new ones."""
    parts = []
    old = (pictures, requests * (1 - NEW_REQUESTS), FOREVER)
    for those, rate, life in (old, (pictures * NEW_SHARE, requests * NEW_REQUESTS, DAY)):
        popular, counts = zipf(those)
        rates = np.outer(popular * rate, of_each.share)
        others = (of_each.size, of_each.new_ms, of_each.best_ms)
        size, new_ms, best_ms = (np.broadcast_to(one, rates.shape) for one in others)
        count = np.broadcast_to(counts[:, None], rates.shape)
        lives = np.full(rates.shape, life)
        parts.append([one.ravel() for one in (rates, count, size, lives, new_ms, best_ms)])
    return Asked(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


# --- What comes of it -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """A site with what it needs. Rates are a second, on average."""

    site: Site
    requests: float
    shares: tuple[float, ...]
    """Of requests: from Varnish, disks, memory, the bucket, and made."""
    renders: float
    processors: float
    """How many are busy."""
    peak_processors: float
    """How many are busy with what visitors wait for, in the busiest hour."""
    looks: float
    bucket_bytes: float
    disk_bytes: float
    from_bucket: float
    """Bytes."""
    from_nodes: float
    sent: float
    lost: float
    """What disks had, by one of all nodes: this comes to others once it is lost."""
    lost_renders: float
    """Of it, what must be made."""
    lost_processors: float
    """How many are busy with that, at first; without the best, for which nobody waits."""
    lost_total: float
    """How many are made that need not have been, in all."""
    lost_seconds: float
    """Until nine in ten of what disks had is found there again."""

    def month(self, prices: Prices) -> tuple[float, float]:
        """Return what requests and room cost in a month."""
        puts = self.renders if self.site.bucket_seconds else 0.0
        gets = self.looks * GETS_A_LOOK + puts * GETS_A_PUT
        requests = gets * prices.million_gets + puts * prices.million_puts
        return requests * MONTH / 1e6, self.bucket_bytes / GB * prices.gb_month


def with_nodes(site: Site, asked: Asked) -> Site:
    """Return a site with as many nodes as it takes so that one may be lost."""

    def is_enough(nodes: int) -> bool:
        found = outcome(replace(site, nodes=nodes), asked)
        busy = max(found.processors, found.peak_processors)
        return busy <= (nodes - 1) * CORES * BUSY

    low, high = 1, 2
    while not is_enough(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return replace(site, nodes=high)


def outcome(site: Site, asked: Asked) -> Outcome:
    """Work a site out."""
    capacities = (site.varnish_bytes, site.nodes * site.disk_bytes, site.memory_bytes)
    found = levels(asked, capacities, site.bucket_seconds)
    varnish, disk, memory, kept = found
    again = asked.rate * asked.count * (1 - asked.first)
    first = asked.rate * asked.count * asked.first
    hits = [float(np.sum(again * level.came * level.hit)) for level in found]
    made = again * kept.left + first
    renders = float(np.sum(made))
    looked = float(np.sum(again * kept.came + first)) if site.bucket_seconds else 0.0
    new = float(np.sum(made * asked.new_ms)) / 1000
    best = float(np.sum(made * asked.best_ms)) / 1000
    kept_seconds = (hits[1] * KEPT_MS + (hits[2] + hits[3]) * SHARED_MS) / 1000
    # Of what disks have, what a lost one had must be found elsewhere, the first time it is asked
    # for again.
    on_disk = again * disk.came * disk.hit / site.nodes
    elsewhere = _elsewhere(asked, disk, memory, kept)
    anew = on_disk * (1 - elsewhere)
    asked_here = asked.rate * disk.came  # of one rendition, a second
    there = asked.count / site.nodes * disk.hit * (1 - np.exp(-asked_here * DAY))
    return Outcome(
        site=site,
        requests=asked.total,
        shares=tuple(one / asked.total for one in (*hits, renders)),
        renders=renders,
        processors=new + best + kept_seconds,
        peak_processors=PEAK * (new + kept_seconds),
        looks=looked + renders * (LOOKS - 1) * bool(site.bucket_seconds),
        bucket_bytes=kept.held,
        disk_bytes=disk.held / site.nodes,
        from_bucket=float(np.sum(again * kept.came * kept.hit * asked.size)),
        from_nodes=float(np.sum((again * varnish.left + first) * asked.size)),
        sent=float(np.sum(asked.rate * asked.count * asked.size)),
        lost=float(np.sum(on_disk)),
        lost_renders=float(np.sum(anew)),
        lost_processors=float(np.sum(anew * asked.new_ms)) / 1000,
        lost_total=float(np.sum(there * (1 - elsewhere))),
        lost_seconds=_filled(on_disk, asked_here),
    )


def _elsewhere(asked: Asked, disk: Level, memory: Level, kept: Level) -> Floats:
    """Return how likely a rendition that a disk has is in the memory or the bucket as well.

    The memory has what disks did not have a while ago. The bucket has what was put within its time:
    what lies on disks for longer than that and is asked for there has expired.
    """
    # A disk keeps what it got for so long at least, and for longer by chance.
    stays = 1 / np.maximum(asked.rate * memory.came, 1e-300) - 1 / asked.rate
    at_least = np.minimum(disk.seconds, stays)
    longer = np.maximum(stays - at_least, 1e-9)
    past = -np.expm1(-np.maximum(memory.seconds - at_least, 0.0) / longer) * longer
    in_memory = (np.minimum(memory.seconds, at_least) + past) / np.maximum(stays, 1e-9)
    alive = asked.rate * kept.came * kept.seconds
    in_bucket = np.where(np.isinf(asked.life), alive / (1 + alive), float(kept.seconds > 0))
    return np.asarray(1 - (1 - np.minimum(in_memory, 1.0)) * (1 - in_bucket))


def _filled(on_disk: Floats, rate: Floats) -> float:
    """Return after how long nine in ten of what an empty disk misses is found there."""
    total = float(np.sum(on_disk))

    def found(seconds: float) -> float:
        return float(np.sum(on_disk * -np.expm1(-rate * seconds)))

    return _solved(found, 0.9 * total)


# --- What is printed ------------------------------------------------------------------------------

WAYS: dict[str, Callable[[Site], Site]] = {
    "nodes alone": lambda site: replace(site, memory_bytes=0.0),
    "with a bucket, 30 days": lambda site: replace(site, memory_bytes=0.0, bucket_seconds=30 * DAY),
    "with a bucket, 365 days": lambda site: replace(
        site, memory_bytes=0.0, bucket_seconds=365 * DAY
    ),
    "the same, and memory": lambda site: replace(site, bucket_seconds=365 * DAY),
    "the same, disks of 5 GB": lambda site: replace(
        site, bucket_seconds=365 * DAY, disk_bytes=5 * GB
    ),
}
_NODES_OF = "with a bucket, 365 days"
"""All ways have as many nodes as this one needs."""


def main(words: Sequence[str] | None = None) -> int:
    """Print tables."""
    parser = argparse.ArgumentParser(description="How many of what so many pictures need.")
    parser.add_argument("--visitors", type=int, default=40_000, help="requests that are made up")
    parser.add_argument("--requests-each", type=float, default=20, help="a picture, a day")
    options = parser.parse_args(words)
    of_each = variants(options.visitors)
    requests_each = options.requests_each / DAY
    all_asked = [asked_of(site.pictures, site.pictures * requests_each, of_each) for site in SITES]
    sites = [
        replace(site, nodes=with_nodes(WAYS[_NODES_OF](site), asked).nodes)
        for site, asked in zip(SITES, all_asked, strict=True)
    ]
    half = int(np.searchsorted(np.cumsum(np.sort(of_each.share)[::-1]), 0.5)) + 1
    print(f"{len(of_each.share)} renditions of each picture; {half} have half of all requests.\n")
    for name, way in WAYS.items():
        found = [outcome(way(site), asked) for site, asked in zip(sites, all_asked, strict=True)]
        print(
            f"| {name} | {' | '.join(f'{one.site.pictures / 1e6:.0f} million' for one in found)} |"
        )
        print(f"|---|{'--:|' * len(found)}")
        for title, shown in _ROWS:
            print(f"| {title} | {' | '.join(shown(one) for one in found)} |")
        print()
    return 0


def _share(place: int) -> Callable[[Outcome], str]:
    return lambda one: f"{one.shares[place]:.1%}"


def _time(seconds: float) -> str:
    for unit, length in (("days", DAY), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


PRICES = Prices()

_ROWS: tuple[tuple[str, Callable[[Outcome], str]], ...] = (
    ("requests a second", lambda one: f"{one.requests:,.0f}"),
    ("Varnish, GB", lambda one: f"{one.site.varnish_bytes / GB:.0f}"),
    (f"nodes of {CORES} processors", lambda one: f"{one.site.nodes}"),
    ("renditions on the disk of each, GB", lambda one: f"{one.disk_bytes / GB:.0f}"),
    ("bucket, GB", lambda one: f"{one.bucket_bytes / GB:,.0f}"),
    ("found in Varnish", _share(0)),
    ("on disks", _share(1)),
    ("in memory", _share(2)),
    ("in the bucket", _share(3)),
    ("made", _share(4)),
    ("renders a second", lambda one: f"{one.renders:,.1f}"),
    ("processors busy", lambda one: f"{one.processors:,.1f}"),
    ("MB a second: to visitors", lambda one: f"{one.sent / 1e6:,.1f}"),
    ("from nodes", lambda one: f"{one.from_nodes / 1e6:,.1f}"),
    ("from the bucket", lambda one: f"{one.from_bucket / 1e6:,.2f}"),
    ("requests to the bucket, USD a month", lambda one: f"{one.month(PRICES)[0]:,.0f}"),
    ("room in it, USD a month", lambda one: f"{one.month(PRICES)[1]:,.0f}"),
    ("a node lost or empty: not found there, a second", lambda one: f"{one.lost:,.1f}"),
    ("of which are made", lambda one: f"{one.lost_renders:,.1f}"),
    ("for that, processors", lambda one: f"{one.lost_processors:,.1f}"),
    ("made once more within a day", lambda one: f"{one.lost_total:,.0f}"),
    ("until nine in ten are found again", lambda one: _time(one.lost_seconds)),
)


if __name__ == "__main__":
    sys.exit(main())
