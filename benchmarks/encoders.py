"""Measure ways to encode: what files weigh at one SSIMULACRA2 score, and how long they take.

    python benchmarks/encoders.py FOLDER [FOLDER ...] [--widths 320,640,1280] [--every 2]

For every picture and each width, a score is set by libjpeg-turbo with its own tables, progressive
and optimised, at qualities 40, 60, 78 and 90. For each other way its files at some settings are
scored, and its weight at that score interpolated. Printed are geometric means of the weights'
ratios, for each of the qualities, and the median milliseconds. `pip install pyjpegli==0.3.2` adds
jpegli, and Debian's libturbojpeg0 jpegli made progressive without loss.
"""

import argparse
import contextlib
import ctypes
import io
import math
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from quality_scale import libjpeg_turbo, pictures, resized, ssimulacra2

from imgprocessor.formats import Format
from imgprocessor.images.formats.encoders import ENCODERS, VERSIONS
from imgprocessor.images.formats.jpeg import jpeg_tables

with contextlib.suppress(ImportError):
    import pyjpegli

QUALITIES = (40, 60, 78, 90)
ROUNDS = 5

Writer = Callable[[Image.Image, int], bytes]
Point = tuple[float, float, float]
"""Score, logarithm of bytes, milliseconds."""


def main() -> int:
    """Print a table for each width."""
    parser = argparse.ArgumentParser(description="Measure ways to encode.")
    parser.add_argument("folder", nargs="+", type=Path)
    parser.add_argument("--widths", default="320,640,1280")
    parser.add_argument("--every", type=int, default=1, help="take every so many-th picture")
    options = parser.parse_args()
    files = [path for folder in options.folder for path in pictures(folder)][:: options.every]
    for width in map(int, options.widths.split(",")):
        # One at a time: what is timed must have a processor to itself.
        with ProcessPoolExecutor(1) as pool:
            measured = list(pool.map(partial(_measure, width=width), files))
        print(f"\n{len(files)} pictures, {width} px; {VERSIONS}")
        _print(measured)
    return 0


def _measure(path: Path, width: int) -> dict[str, list[Point]]:
    image = resized(path, width)
    return {
        name: [_point(image, write, setting) for setting in settings]
        for name, (write, settings) in _ways().items()
    }


def _point(image: Image.Image, write: Writer, setting: int) -> Point:
    spent = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        body = write(image, setting)
        spent.append((time.perf_counter() - begin) * 1000)
    return ssimulacra2(image, body), math.log(len(body)), statistics.median(spent)


def _ways() -> dict[str, tuple[Writer, tuple[int, ...]]]:
    own = (250, 400, 600, 1000, 1700, 3200)
    ways: dict[str, tuple[Writer, tuple[int, ...]]] = {
        "libjpeg's tables, progressive": (partial(libjpeg_turbo, progressive=True), QUALITIES),
        "libjpeg's tables, one scan": (libjpeg_turbo, QUALITIES),
        "JPEG as it is sent": (_sent_as("jpeg"), own),
        "our tables, one scan, not optimised": (
            partial(_ours, progressive=False, optimize=False),
            own,
        ),
        "our tables, progressive": (partial(_ours, progressive=True), own),
        "our tables, one scan, 4:4:4": (partial(_ours, subsampling="4:4:4"), own),
    }
    ways["WebP, method 4"] = (_sent_as("webp"), (15, 35, 60, 78, 88, 96))
    for speed in (6, 8, 9):
        ways[f"AVIF, speed {speed}"] = (partial(_avif, speed=speed), (25, 38, 50, 62, 75, 90))
    if "jxl" in ENCODERS:
        for effort in (3, 5, 7):
            ways[f"JPEG XL, effort {effort}"] = (partial(_jxl, effort=effort), (25, 45, 65, 80, 93))
    if "pyjpegli" in sys.modules:
        ways["jpegli"] = (_jpegli, (25, 40, 58, 75, 89))
        with contextlib.suppress(OSError):
            turbo = _Turbo()
            ways["jpegli, made progressive"] = (
                lambda image, setting: turbo.progressive(_jpegli(image, setting)),
                (25, 40, 58, 75, 89),
            )
    return ways


def _sent_as(name: Format) -> Writer:
    return lambda image, setting: ENCODERS[name].write(image, setting, b"")


def _avif(image: Image.Image, setting: int, *, speed: int) -> bytes:
    body = io.BytesIO()
    image.save(body, "AVIF", quality=setting, speed=speed, max_threads=1)
    return body.getvalue()


def _jxl(image: Image.Image, setting: int, *, effort: int) -> bytes:
    body = io.BytesIO()
    image.save(body, "JXL", quality=setting, effort=effort, num_threads=0)
    return body.getvalue()


def _ours(
    image: Image.Image,
    setting: int,
    *,
    progressive: bool = False,
    optimize: bool = True,
    subsampling: str = "4:2:0",
) -> bytes:
    body = io.BytesIO()
    image.save(
        body,
        "JPEG",
        qtables=jpeg_tables(setting),
        subsampling=subsampling,
        progressive=progressive,
        optimize=optimize,
    )
    return body.getvalue()


def _jpegli(image: Image.Image, quality: int) -> bytes:
    body: bytes = pyjpegli.encode(image.tobytes(), *image.size, quality=quality)
    return body


class _Turbo:
    """Lossless transforms of libjpeg-turbo 2, by its C interface."""

    class _Transform(ctypes.Structure):
        _fields_ = (
            *((name, ctypes.c_int) for name in ("x", "y", "w", "h", "operation", "options")),
            ("data", ctypes.c_void_p),
            ("filter", ctypes.c_void_p),
        )

    _PROGRESSIVE = 32

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libturbojpeg.so.0")
        self._library.tjInitTransform.restype = ctypes.c_void_p
        self._library.tjFree.argtypes = [ctypes.c_void_p]
        self._handle = ctypes.c_void_p(self._library.tjInitTransform())

    def progressive(self, body: bytes) -> bytes:
        """Return the same coefficients in several scans, with Huffman tables of their own."""
        made, size = ctypes.c_void_p(), ctypes.c_ulong()
        transform = self._Transform(options=self._PROGRESSIVE)
        failed = self._library.tjTransform(
            self._handle,
            body,
            ctypes.c_ulong(len(body)),
            1,
            ctypes.byref(made),
            ctypes.byref(size),
            ctypes.byref(transform),
            0,
        )
        if failed:
            raise OSError("libturbojpeg cannot transform this")
        result = ctypes.string_at(made, size.value)
        self._library.tjFree(made)
        return result


def _print(measured: list[dict[str, list[Point]]]) -> None:
    heads = "".join(f"  at q{quality}" for quality in QUALITIES)
    print(f"{'':36}{heads}      ms")
    for name in measured[0]:
        cells = []
        for index in range(len(QUALITIES)):
            ratios = []
            for one in measured:
                score, log_bytes, _ = next(iter(one.values()))[index]
                points = sorted(one[name])
                scores, logs = [p[0] for p in points], [p[1] for p in points]
                if scores[0] <= score <= scores[-1]:
                    ratios.append(float(np.interp(score, scores, logs)) - log_bytes)
            mean = math.exp(statistics.mean(ratios)) if ratios else math.nan
            cells.append(f"{mean:8.3f}")
        milliseconds = statistics.median(p[2] for one in measured for p in one[name])
        print(f"{name:36}{''.join(cells)} {milliseconds:7.2f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
