"""Measure what masters cost the first visitor of an original.

    python benchmarks/first_visitor.py [FOLDER]

renders every photograph of a folder (Debian's lomiri-wallpapers), in this process, in turn in two
ways, five times each. Directly is to decode at libjpeg's coarsest scale of at least one and a half
times the width, to resize and to encode. As for the first visitor is with nothing kept: the masters
are written in the background, and are all there before the next one begins. Prints the means over
the photographs of each one's medians, and their ratio.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from imgprocessor.config.settings import OriginalsSettings, PixelsSettings
from imgprocessor.geometry import Box, Fit
from imgprocessor.images.decode import Picture, open_original
from imgprocessor.images.pipeline import render
from imgprocessor.images.pyramid import Level
from imgprocessor.originals.folder import Folder
from imgprocessor.originals.source import group_of
from imgprocessor.policy.plan import Plan
from imgprocessor.policy.table import Cell
from imgprocessor.rendering.masters import Masters
from imgprocessor.rendering.process import keep_memory
from imgprocessor.storage.disk_cache import DiskCache
from imgprocessor.storage.locks import Locks
from imgprocessor.timing import Timings

PHOTOGRAPHS = Path("/usr/share/backgrounds")
WIDTHS = (320, 640, 1080)
ROUNDS = 5
MOST_BYTES = 4_000_000_000
DRAFTS = (8, 4, 2, 1)
LIMITS = OriginalsSettings()


def main() -> int:
    """Print one row for each width."""
    parser = argparse.ArgumentParser(description="Measure the first visitor's wait.")
    parser.add_argument("folder", nargs="?", type=Path, default=PHOTOGRAPHS)
    folder: Path = parser.parse_args().folder
    names = [file.name for file in sorted(folder.glob("*.jpg")) if not file.is_symlink()]
    originals = Folder(folder, LIMITS.max_bytes)
    keep_memory()
    print(f"{len(names)} photographs\n")
    print("| width | direct, ms | first visitor, ms | ratio |\n|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as state:
        disk_cache = DiskCache(
            Path(state, "masters"), max_bytes=MOST_BYTES, min_free_percent=0, complain=print
        )
        locks = Locks(Path(state, "locks"))
        masters = Masters(disk_cache, locks, LIMITS, wait_seconds=5, report=print)
        for width in WIDTHS:
            directs, firsts = [], []
            for name in names:
                direct, first = _times(originals, masters, name, _plan(width))
                directs.append(direct)
                firsts.append(first)
            taken, waited = statistics.mean(directs), statistics.mean(firsts)
            print(f"| {width} | {taken:.1f} | {waited:.1f} | {waited / taken:.2f} |", flush=True)
    return 0


def _plan(width: int) -> Plan:
    return Plan(
        box=Box(width, None),
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


def _times(originals: Folder, masters: Masters, name: str, plan: Plan) -> tuple[float, float]:
    """Return milliseconds of both ways, medians."""
    directs, firsts = [], []
    for _ in range(ROUNDS):
        directs.append(_ms(lambda: _direct(originals, name, plan)))
        masters.purge(group_of(originals.id_of(name)))
        firsts.append(_ms(lambda: _first(originals, masters, name, plan)))
        masters.finish()
    return statistics.median(directs), statistics.median(firsts)


def _ms(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def _direct(originals: Folder, name: str, plan: Plan) -> None:
    with originals.open(originals.find(name)) as (file, _):
        opened = open_original(file, LIMITS)
        metadata = opened.metadata
        enough = plan.pixels.master_margin * metadata.lay_out(plan).size.width
        draft = next(d for d in DRAFTS if d == 1 or metadata.stored.width // d >= enough)
        image = opened.decode(draft)
    render(Picture(metadata, Level(draft), image), plan, Timings())


def _first(originals: Folder, masters: Masters, name: str, plan: Plan) -> None:
    timings = Timings()
    with masters.found(originals.find(name), plan, timings) as found:
        render(found.picture, plan, timings)


if __name__ == "__main__":
    sys.exit(main())
