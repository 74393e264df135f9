"""Measure what masters cost in quality, and what other ways to keep them would cost.

    python benchmarks/masters.py FOLDER... [--widths 320,640,1080,1333] [--margins 1.2,1.5,2.0]

renders every photograph at quality 75 by way of its level (`pyramid.choose_level`, for each
`master_margin`), directly (libjpeg's reduced decoding to at least twice the size, then Lanczos) and
from the whole original, and prints how many points of SSIMULACRA2 the first loses against the
others: mean and worst. Then keeps masters in several formats: bytes a pixel, milliseconds a
megapixel to write and to read, medians.
"""

import argparse
import io
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image
from quality_scale import ssimulacra2

from imgprocessor.config.settings import OriginalsSettings
from imgprocessor.geometry import Box, Fit, Layout, Size, lay_out
from imgprocessor.images.compression.calibration import CALIBRATION
from imgprocessor.images.decode import OpenedOriginal, at_level, open_original
from imgprocessor.images.formats.encoders import ENCODERS
from imgprocessor.images.pyramid import Level, choose_level

QUALITY = 75
DIRECT_MARGIN = 2
DRAFTS = (2, 4, 8)
BASE_WIDTH = 1066
"""The master of a rendition so wide is the base, or a half that is nearly as large."""
ROUNDS = 5

Way = Callable[[Image.Image], tuple[Callable[[], bytes], Callable[[bytes], object]]]
"""For a picture, what writes it and what reads it."""


def main() -> int:
    """Print two tables."""
    parser = argparse.ArgumentParser(description="Measure masters.")
    parser.add_argument("folder", nargs="+", type=Path)
    parser.add_argument("--widths", default="320,640,1080,1333")
    parser.add_argument("--margins", default="1.2,1.5,2.0")
    options = parser.parse_args()
    margins = [float(text) for text in options.margins.split(",")]
    photographs = sorted(
        path
        for folder in options.folder
        for path in folder.iterdir()
        if path.suffix in {".jpg", ".png"} and not path.is_symlink()
    )
    print("| width | margin | photographs | loses to direct | worst | to the whole | worst |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    with ProcessPoolExecutor() as pool:
        for width in (int(text) for text in options.widths.split(",")):
            found = list(pool.map(partial(_losses, width=width, margins=margins), photographs))
            for index, margin in enumerate(margins):
                known = [losses[index] for losses in found if losses]
                direct, whole = zip(*known, strict=True)
                means = f"{statistics.mean(direct):+.2f} | {max(direct):+.2f}"
                means += f" | {statistics.mean(whole):+.2f} | {max(whole):+.2f}"
                print(f"| {width} | {margin} | {len(known)} | {means} |", flush=True)
    _print_formats(photographs)
    return 0


def _losses(path: Path, width: int, margins: list[float]) -> list[tuple[float, float]]:
    """Return for each margin the points lost to direct rendering, and to the whole original."""
    whole = _decoded(path, 1)
    stored = Size(*whole.size)
    if width > stored.width:
        return []
    layout = lay_out(stored, Box(width, None), Fit.INSIDE, max_side=16_383)
    size = (layout.size.width, layout.size.height)
    wanted = whole.resize(size, Image.Resampling.LANCZOS)
    drafts = DRAFTS if path.suffix == ".jpg" else ()
    enough = (draft for draft in drafts if stored.width // draft >= DIRECT_MARGIN * width)
    draft = max(enough, default=1)
    scored: dict[Level, float] = {}

    def score(level: Level) -> float:
        if level not in scored:
            image = at_level(_decoded(path, level.draft), stored, level)
            across, down = level.scale(stored)
            box = (0, 0, stored.width * across, stored.height * down)
            made = image.resize(size, Image.Resampling.LANCZOS, box)
            scored[level] = ssimulacra2(wanted, _encoded(made))
        return scored[level]

    losses = []
    for margin in margins:
        mine = score(choose_level(stored, layout, margin))
        losses.append((score(Level(draft)) - mine, score(Level(1)) - mine))
    return losses


def _encoded(image: Image.Image) -> bytes:
    setting = CALIBRATION.setting("jpeg", QUALITY, Size(*image.size))
    return ENCODERS["jpeg"].write(image, setting, b"")


def _opened(path: Path) -> OpenedOriginal:
    return open_original(io.BytesIO(path.read_bytes()), OriginalsSettings())


def _decoded(path: Path, draft: int) -> Image.Image:
    return _opened(path).decode(draft).convert("RGB")


def _print_formats(photographs: list[Path]) -> None:
    formats: dict[str, Way] = {
        "pixels, four bytes each": _raw("RGBX"),
        "pixels, three bytes each": _raw("RGB"),
        "PNG, fastest": _file("PNG", compress_level=1),
        "WebP without loss, fastest": _file("WEBP", lossless=True, quality=0, method=0),
        "JPEG, quality 95, 4:4:4 (loses)": _file("JPEG", quality=95, subsampling=0),
    }
    bases = []
    for path in photographs:
        opened = _opened(path)
        stored = opened.metadata.stored
        layout = Layout((0, 0, stored.width, stored.height), Size(BASE_WIDTH, 1))
        level = choose_level(stored, layout, 1.0)
        bases.append(at_level(opened.decode(level.draft), stored, level).convert("RGB"))
    mean = statistics.mean(base.width * base.height for base in bases) / 1e6
    print(f"\npictures of {mean:.1f} megapixels on average\n")
    print("| kept as | bytes a pixel | write, ms a megapixel | read |\n|---|--:|--:|--:|")
    for name, of in formats.items():
        rows = []
        for base in bases:
            megapixels = base.width * base.height / 1e6
            write, read = of(base)
            written, body = _timed(write)
            taken, _ = _timed(partial(read, body))
            rows.append((len(body) / megapixels / 1e6, written / megapixels, taken / megapixels))
        size, write_ms, read_ms = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"| {name} | {size:.2f} | {write_ms:.2f} | {read_ms:.2f} |", flush=True)


def _raw(layout: str) -> Way:
    def of(image: Image.Image) -> tuple[Callable[[], bytes], Callable[[bytes], object]]:
        size = image.size

        def read(body: bytes) -> object:
            if layout == "RGBX":
                return Image.frombuffer(layout, size, body, "raw", layout, 0, 1)
            return Image.frombytes(layout, size, body)

        return lambda: image.tobytes("raw", layout), read

    return of


def _file(name: str, **options: bool | int) -> Way:
    def of(image: Image.Image) -> tuple[Callable[[], bytes], Callable[[bytes], object]]:
        def write() -> bytes:
            file = io.BytesIO()
            image.save(file, name, **options)
            return file.getvalue()

        return write, lambda body: Image.open(io.BytesIO(body)).load()

    return of


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the median milliseconds of some rounds, and the result."""
    spent = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        result = work()
        spent.append((time.perf_counter() - begin) * 1000)
    return statistics.median(spent), result


if __name__ == "__main__":
    sys.exit(main())
