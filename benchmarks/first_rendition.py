"""Measure what a first rendition takes of a processor, by the shortest way and by way of masters.

    python benchmarks/first_rendition.py FOLDER... [--widths 320,640,1080] [--rounds 5]

renders every JPEG of the folders in this process, as JPEG at quality 60, and prints milliseconds of
processor time, means over pictures of medians of rounds, in which the ways take turns: with masters
made and kept as well, and directly. Progressive originals and others apart.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from PIL import Image

from imgprocessor.config.settings import OriginalsSettings, PixelsSettings
from imgprocessor.geometry import Box, Fit
from imgprocessor.images.pipeline import render
from imgprocessor.originals.folder import Folder
from imgprocessor.originals.source import Original
from imgprocessor.policy.plan import Plan
from imgprocessor.policy.table import Cell
from imgprocessor.rendering.masters import Masters
from imgprocessor.rendering.process import keep_memory
from imgprocessor.storage.disk_cache import DiskCache
from imgprocessor.storage.locks import Locks
from imgprocessor.timing import Timings

LIMITS = OriginalsSettings()
PLAN = Plan(
    box=None,
    fit=Fit.INSIDE,
    density=Decimal(1),
    bandwidth="4g",
    screen=None,
    formats=("jpeg",),
    quality_limit=None,
    bytes_limit=None,
    cell=Cell(60),
    pixels=PixelsSettings(),
    encoders="",
)
MAX_BYTES = 10**9


def main() -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(description="Measure first renditions.")
    parser.add_argument("folder", nargs="+", type=Path)
    parser.add_argument("--widths", default="320,640,1080")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    keep_memory()  # as workers do
    files = sorted(
        path
        for folder in options.folder
        for path in folder.iterdir()
        if path.suffix == ".jpg" and not path.is_symlink()
    )
    print("| width | originals | with masters | directly |")
    print("|--:|---|--:|--:|")
    for width in (int(text) for text in options.widths.split(",")):
        for is_progressive in (True, False):
            those = [path for path in files if _is_progressive(path) == is_progressive]
            taken = [_taken(path, width, options.rounds) for path in those]
            means = [f"{statistics.mean(column):.0f} ms" for column in zip(*taken, strict=True)]
            kind = f"{len(those)} {'progressive' if is_progressive else 'in one scan'}"
            print(f"| {width} | {kind} | {' | '.join(means)} |", flush=True)
    return 0


def _taken(path: Path, width: int, rounds: int) -> list[float]:
    """Return what each way takes, in milliseconds."""
    plan = replace(PLAN, box=Box(width, None))
    original = Folder(path.parent, LIMITS.max_bytes).find(path.name)
    ways: list[Callable[[], None]] = [
        lambda: by_masters(original, plan, makes_masters=True),
        lambda: by_masters(original, plan, makes_masters=False),
    ]
    spent: list[list[float]] = [[] for _ in ways]
    for _ in range(rounds):
        for way, known in zip(ways, spent, strict=True):
            begin = time.process_time()
            way()
            known.append((time.process_time() - begin) * 1000)
    return [statistics.median(known) for known in spent]


def by_masters(original: Original, plan: Plan, *, makes_masters: bool) -> None:
    """Make a first rendition, as a worker does."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        masters = Masters(
            DiskCache(folder / "m", max_bytes=MAX_BYTES, min_free_percent=0, complain=print),
            Locks(folder / "locks"),
            LIMITS,
            wait_seconds=10,
            report=print,
        )
        with masters.found(original, plan, Timings(), makes_masters=makes_masters) as found:
            render(found.picture, plan, Timings())
        masters.finish()


def _is_progressive(path: Path) -> bool:
    with Image.open(path) as image:
        return "progressive" in image.info


if __name__ == "__main__":
    sys.exit(main())
