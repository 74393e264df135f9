"""What it is worth to make the best picture behind a quick answer: a made-up day, worked out.

    python benchmarks/behind.py [FOLDER] [--requests 200000]

Measured are bytes and the processor's time of what is made at once, quickly, and at best, for
photographs of the folder (those of lomiri-wallpapers by default) at some widths, for a browser that
takes AVIF and WebP: all that `compress` does, one process, `process_time`; and all of a first
rendition at the middle width, from the original's file on. Then a day's visitors
(`edge_visitors.py`), spread evenly over it, ask a cache that
keeps answers by their imagekey, as long as they say. The best of each is begun when nothing else
is, one at a time, for as long as was measured. Counted are answers to clients that take AVIF; all
are taken for photographs of one weight.
"""

import argparse
import math
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from edge_hits import delivered_settings, hints_of, understanding
from edge_visitors import Visitors
from first_rendition import LIMITS, PLAN, by_masters
from PIL import Image
from quality_scale import pictures, resized

from imgprocessor.config.settings import FreshnessSettings, PixelsSettings, Settings
from imgprocessor.formats import Format
from imgprocessor.geometry import Box
from imgprocessor.images.compression.compress import Compressed, compress
from imgprocessor.originals.folder import Folder
from imgprocessor.policy.plan import Plan
from imgprocessor.policy.table import Cell

WALLPAPERS = Path("/usr/share/backgrounds")
WIDTHS = (640, 1082, 1920)
QUALITY = 75
FORMATS: tuple[Format, ...] = ("avif", "webp", "gif", "png", "jpeg")
"""As Chromium asks."""
FIRST_ROUNDS = 3
DAY_SECONDS = 86_400.0

MadeBy = Literal["at once", "quick", "best"]
EFFORTS: tuple[MadeBy, ...] = get_args(MadeBy)


@dataclass(frozen=True)
class Cost:
    """What a picture takes, on average over photographs."""

    width: int
    at_once_ms: float
    quick_ms: float
    best_ms: float
    at_once: float
    """Bytes of what is made at once against the quick one."""
    share: float
    """Bytes of the best against the quick one."""


@dataclass
class Day:
    """What came of a day."""

    answers: int = 0
    quick: int = 0
    made: int = 0
    """Different pictures, each of which was made quickly first."""
    bettered: int = 0
    """Those of which the best was made."""
    from_node: int = 0
    waited: float = 0.0
    """Seconds from a quick answer until the best is there, all together."""


def main() -> int:
    """Measure, work out and print."""
    parser = argparse.ArgumentParser(description="What the best behind a quick answer is worth.")
    parser.add_argument("folder", nargs="?", type=Path, default=WALLPAPERS)
    parser.add_argument("--every", type=int, default=3, help="take every so many-th photograph")
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    costs = list(_costs(pictures(options.folder)[:: options.every]))
    print(
        "| width | at once, ms | quick, ms | best, ms | bytes, at once / quick | best / quick |\n"
        "|--:|--:|--:|--:|--:|--:|"
    )
    for cost in costs:
        print(
            f"| {cost.width} | {cost.at_once_ms:.0f} | {cost.quick_ms:.0f} | {cost.best_ms:.0f} "
            f"| {cost.at_once:.2f} | {cost.share:.2f} |"
        )
    middle = costs[len(costs) // 2]
    firsts = [_first(file, middle.width) for file in pictures(options.folder)[:: options.every]]
    at_once, quick = (statistics.mean(known) for known in zip(*firsts, strict=True))
    print(f"\nall of a first rendition {middle.width} px wide: at once {at_once:.0f} ms,", end=" ")
    print(f"quick {quick:.0f}")
    settings = delivered_settings(options.folder)
    keys = _keys(settings, options.requests, options.seed)
    taken = sum(key is not None for key in keys)
    print(f"\n{len(keys)} requests, {taken} of them by clients that take AVIF\n")
    print(
        "| best is made after | stale-while-revalidate | pictures | asked of the server "
        "| quick answers | bytes | seconds until the best is there | processor behind, s "
        "| for quick ones, s |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    quick_seconds = settings.freshness.quick_max_age_seconds
    longest = settings.freshness.stale_while_revalidate_seconds
    for after, stale in ((1, quick_seconds), (1, longest), (2, quick_seconds)):
        day = _day(keys, settings.freshness, middle.best_ms / 1000, stale, after)
        sent = (day.quick + (day.answers - day.quick) * middle.share) / day.answers
        print(
            f"| {after} | {stale} | {day.made} | {day.from_node} | {day.quick / day.answers:.1%} "
            f"| {sent:.3f} | {day.waited / day.bettered:.2f} "
            f"| {day.bettered * middle.best_ms / 1000:.0f} "
            f"| {day.made * middle.quick_ms / 1000:.0f} |"
        )
    return 0


def _costs(files: Sequence[Path]) -> Iterator[Cost]:
    for width in WIDTHS:
        images = [image for file in files if (image := resized(file, width)).width == width]
        at_once, quick, best = (
            [_timed(image.copy(), effort) for image in images] for effort in EFFORTS
        )
        yield Cost(
            width,
            *(statistics.mean(ms for _, ms in known) for known in (at_once, quick, best)),
            *(_share(known, quick) for known in (at_once, best)),
        )


def _share(
    done: Sequence[tuple[Compressed, float]], other: Sequence[tuple[Compressed, float]]
) -> float:
    """Return what pictures weigh against others, as a geometric mean."""
    pairs = zip(done, other, strict=True)
    return statistics.geometric_mean(len(a.body) / len(b.body) for (a, _), (b, _) in pairs)


def _timed(image: Image.Image, effort: MadeBy) -> tuple[Compressed, float]:
    plan = Plan(
        box=None,
        fit=None,
        density=None,
        bandwidth=None,
        screen=None,
        formats=FORMATS,
        quality_limit=None,
        bytes_limit=None,
        cell=Cell(QUALITY, width_percent=100),
        pixels=PixelsSettings(),
        encoders="",
    )
    began = time.process_time()
    done = compress(image, replace(plan, effort=effort), b"")
    return done, (time.process_time() - began) * 1000


def _first(file: Path, width: int) -> tuple[float, float]:
    """Return what a first rendition takes at once, and quickly, from the original's file on."""
    original = Folder(file.parent, LIMITS.max_bytes).find(file.name)
    spent: dict[MadeBy, list[float]] = {"at once": [], "quick": []}
    for _ in range(FIRST_ROUNDS):
        for effort, known in spent.items():
            plan = replace(PLAN, box=Box(width, None), cell=Cell(QUALITY), formats=FORMATS)
            began = time.process_time()
            by_masters(original, replace(plan, effort=effort), makes_masters=False)
            known.append((time.process_time() - began) * 1000)
    return statistics.median(spent["at once"]), statistics.median(spent["quick"])


def _keys(settings: Settings, count: int, seed: int) -> list[str | None]:
    """Return the imagekeys that visitors ask for, in order; None for those who take no AVIF."""
    understand = understanding(settings)
    keys: list[str | None] = []
    for ask in Visitors(seed, sized=True).requests(count):
        planned = understand(ask.query, hints_of(dict(ask.headers)))
        keys.append(planned.imagekey if "avif" in planned.plan.formats else None)
    return keys


def _day(
    keys: Sequence[str | None],
    freshness: FreshnessSettings,
    best_seconds: float,
    stale: float,
    after: int,
) -> Day:
    """Let the cache answer; `stale` is how long it sends what is old while it asks anew. The best
    is made once the server was asked for a picture `after` times.
    """
    day = Day()
    best_at: dict[str, float] = {}
    times: Counter[str] = Counter()
    kept: dict[str, tuple[bool, float]] = {}  # whether it is quick, and until when it is fresh
    free_at = 0.0

    def asked(key: str, now: float) -> bool:
        """Ask the server; return whether its answer is quick."""
        nonlocal free_at
        day.from_node += 1
        times[key] += 1
        day.made += times[key] == 1
        if times[key] == after:
            free_at = best_at[key] = max(free_at, now) + best_seconds
            day.bettered += 1
            day.waited += free_at - now
        is_quick = now < best_at.get(key, math.inf)
        fresh = freshness.quick_max_age_seconds if is_quick else freshness.shared_max_age_seconds
        kept[key] = is_quick, now + fresh
        return is_quick

    for number, key in enumerate(keys):
        now = DAY_SECONDS * number / len(keys)
        if key is None:
            continue
        day.answers += 1
        was_quick, until = kept.get(key, (True, -stale))
        if now < until:
            is_quick = was_quick
        elif key in kept and now < until + stale:
            is_quick = was_quick
            asked(key, now)
        else:
            is_quick = asked(key, now)
        day.quick += is_quick
    return day


if __name__ == "__main__":
    sys.exit(main())
