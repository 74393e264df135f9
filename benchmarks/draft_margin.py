"""Measure what the draft margin costs in time and gains in likeness to the undrafted result.

    python benchmarks/draft_margin.py FOLDER [WIDTH ...]

renders every JPEG of FOLDER at some widths with several margins, and prints for each margin the
median time of decoding and resizing, the same as a ratio to the undrafted time, and how far the
pixels are from the undrafted ones: PSNR (decibels, median and worst; higher is closer).
"""

import io
import math
import statistics
import sys
from dataclasses import replace
from pathlib import Path

from PIL import Image, ImageChops, ImageStat

from imgprocessor.plan import Plan
from imgprocessor.policy import Cell
from imgprocessor.render import render
from imgprocessor.settings import OriginalsSettings, PixelsSettings

MARGINS = (1.0, 1.5, 2.0, 3.0, 4.0)
UNDRAFTED = 1000.0
ROUNDS = 3
WIDTHS = (320, 640, 1080, 1920)


def main() -> int:
    """Print one table for each width."""
    folder = Path(sys.argv[1])
    widths = [int(text) for text in sys.argv[2:]] or list(WIDTHS)
    originals = sorted(path for path in folder.iterdir() if path.suffix in {".jpg", ".jpeg"})
    for width in widths:
        print(f"\n{width} px, {len(originals)} originals, {ROUNDS} rounds")
        print("margin   ms   ratio   PSNR median   worst")
        whole = [_measure(path, width, UNDRAFTED) for path in originals]
        whole_ms = statistics.median(ms for ms, _ in whole)
        for margin in MARGINS:
            drafted = [_measure(path, width, margin) for path in originals]
            ms = statistics.median(ms for ms, _ in drafted)
            likeness = [_psnr(a, b) for (_, a), (_, b) in zip(whole, drafted, strict=True)]
            median, worst = statistics.median(likeness), min(likeness)
            print(f"{margin:6.1f} {ms:5.1f} {ms / whole_ms:6.2f} {median:12.1f} {worst:9.1f}")
        print(f"  none {whole_ms:5.1f}   1.00")
    return 0


def _measure(path: Path, width: int, margin: float) -> tuple[float, Image.Image]:
    """Return the median milliseconds of decoding and resizing, and the pixels.

    Encoded at quality 100: near enough to the pixels, and the same for every margin.
    """
    plan = replace(
        PLAN, cell=Cell(100, width_pixels=width), pixels=PixelsSettings(draft_margin=margin)
    )
    spent = []
    body = b""
    for _ in range(ROUNDS):
        with path.open("rb") as file:
            rendition = render(file, plan, OriginalsSettings())
        spent.append(rendition.milliseconds["decode"] + rendition.milliseconds["resize"])
        body = rendition.body
    return statistics.median(spent), _decoded(body)


def _decoded(body: bytes) -> Image.Image:
    return Image.open(io.BytesIO(body)).convert("RGB")


def _psnr(one: Image.Image, other: Image.Image) -> float:
    squares = ImageStat.Stat(ImageChops.difference(one, other)).sum2
    mean = sum(squares) / (3 * one.width * one.height)
    return math.inf if mean == 0 else 10 * math.log10(255**2 / mean)


PLAN = Plan(
    spelled_name="",
    box=None,
    fit=None,
    density=None,
    bandwidth="",
    screen="",
    formats=("jpeg",),
    quality_limit=None,
    bytes_limit=None,
    cell=Cell(100),
    pixels=PixelsSettings(),
    encoders="",
)

if __name__ == "__main__":
    sys.exit(main())
