"""Measure how well a byte budget is used, beside stepping quality down.

    python benchmarks/budget.py FOLDER [FOLDER ...] [--widths 360,640,1080] [--formats jpeg,avif]

For every picture, width, format and six budgets (from a tenth to nine tenths of what quality 78
weighs) it takes the answer of the bounded search, and that of halving the quality until it fits,
which is how others keep budgets; where even quality 1 does not fit, halving gives up. Printed are
how many answers are over their budget, the share of the budget that is used, the mean quality and
SSIMULACRA2 score of both where both have an answer of full size, and how often was encoded.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast

from PIL import Image
from quality_scale import pictures, resized, ssimulacra2

from imgprocessor.config.settings import PixelsSettings
from imgprocessor.formats import Format
from imgprocessor.geometry import Size
from imgprocessor.images.compression.calibration import CALIBRATION
from imgprocessor.images.compression.compress import Compressed, compress
from imgprocessor.images.formats.encoders import ENCODERS, VERSIONS
from imgprocessor.policy.plan import Plan
from imgprocessor.policy.table import Cell

SHARES = (0.1, 0.25, 0.4, 0.55, 0.7, 0.9)
CEILING = 78
SMALLEST_BYTES = 1000

PLAN = Plan(
    box=None,
    fit=None,
    density=None,
    bandwidth="",
    screen="",
    formats=("jpeg",),
    quality_limit=None,
    bytes_limit=None,
    cell=Cell(CEILING, width_percent=100),
    pixels=PixelsSettings(),
    encoders="",
)


@dataclass(frozen=True)
class Answers:
    """What both methods answered, with scores where both have the full size."""

    format: Format
    budget_bytes: int
    searched: Compressed
    searched_ms: float
    halved_quality: int | None
    scores: tuple[float, float] | None


def main() -> int:
    """Print one line for each format."""
    parser = argparse.ArgumentParser(description="Measure how well a byte budget is used.")
    parser.add_argument("folder", nargs="+", type=Path)
    parser.add_argument("--widths", default="360,640,1080")
    parser.add_argument("--formats", default="jpeg,webp,avif")
    parser.add_argument("--no-scores", action="store_true", help="much faster")
    options = parser.parse_args()
    files = [path for folder in options.folder for path in pictures(folder)]
    work = partial(
        _answers,
        widths=[int(width) for width in options.widths.split(",")],
        formats=[cast("Format", known) for known in options.formats.split(",")],
        scored=not options.no_scores,
    )
    with ProcessPoolExecutor() as pool:
        answers = [answer for some in pool.map(work, files) for answer in some]
    over = sum(len(one.searched.body) > one.budget_bytes for one in answers)
    print(f"{VERSIONS}\n{len(answers)} renditions, {over} over their budget")
    for known in options.formats.split(","):
        _print([one for one in answers if one.format == known], known)
    return 0


def _answers(
    path: Path, widths: Sequence[int], formats: Sequence[Format], *, scored: bool
) -> list[Answers]:
    found = []
    for width in widths:
        image = resized(path, width)
        for known in formats:
            full = len(compress(image, replace(PLAN, formats=(known,)), b"").body)
            for share in SHARES:
                budget = max(SMALLEST_BYTES, int(full * share))
                found.append(_answer(image, known, budget, scored=scored))
    return found


def _answer(image: Image.Image, known: Format, budget: int, *, scored: bool) -> Answers:
    begin = time.perf_counter()
    searched = compress(image, replace(PLAN, formats=(known,), bytes_limit=budget), b"")
    milliseconds = (time.perf_counter() - begin) * 1000
    quality, halved = _halve(image, known, budget)
    scores = None
    if scored and halved is not None and searched.limited != "size":
        scores = (ssimulacra2(image, searched.body), ssimulacra2(image, halved))
    return Answers(known, budget, searched, milliseconds, quality, scores)


def _halve(image: Image.Image, known: Format, budget: int) -> tuple[int | None, bytes | None]:
    quality = CEILING
    while quality >= 1:
        body = ENCODERS[known].write(
            image, CALIBRATION.setting(known, quality, Size(*image.size)), b""
        )
        if len(body) <= budget:
            return quality, body
        quality //= 2
    return None, None


def _print(answers: Sequence[Answers], name: str) -> None:
    limited = {
        kind: sum(one.searched.limited == kind for one in answers)
        for kind in ("", "quality", "size")
    }
    given_up = sum(one.halved_quality is None for one in answers)
    print(
        f"\n{name}: {limited['']} as they are, {limited['quality']} with less quality,"
        f" {limited['size']} smaller; halving gave {given_up} up"
    )
    both = [
        one
        for one in answers
        if one.halved_quality is not None and one.searched.limited == "quality"
    ]
    ours = statistics.mean(one.searched.quality for one in both)
    theirs = statistics.mean(one.halved_quality or 0 for one in both)
    used = statistics.mean(len(one.searched.body) / one.budget_bytes for one in both)
    print(f"with less quality: {used:.3f} of the budget used")
    print(f"mean quality: {ours:.1f}, halving {theirs:.1f}")
    scored = [one.scores for one in both if one.scores is not None]
    if scored:
        first = statistics.mean(score for score, _ in scored)
        second = statistics.mean(score for _, score in scored)
        print(f"mean SSIMULACRA2: {first:.1f}, halving {second:.1f}")
    for kind in limited:
        trials = [one.searched.trials for one in answers if one.searched.limited == kind]
        if trials:
            print(
                f"encoded, where the budget took {kind or 'nothing'}:"
                f" {statistics.mean(trials):.1f} times on average, {max(trials)} at most"
            )
    print(f"milliseconds, median: {statistics.median(one.searched_ms for one in answers):.1f}")


if __name__ == "__main__":
    sys.exit(main())
