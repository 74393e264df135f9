"""Calibrate the one quality scale and the score: make `calibration.json`.

    python benchmarks/quality_scale.py FOLDER [FOLDER ...] [--widths 640,1080] [--every 2]

For every picture of the folders (the Kodak set and the photographs of Debian's packages
lomiri-wallpapers-16.04 and -20.04, say) and each width that it has, it takes the SSIMULACRA2 score
of what libjpeg-turbo makes of it at some qualities, with its own tables and 4:2:0, and of what each
encoder here makes of it at some settings. The setting for a quality and a width is the one at
which the mean score over all pictures is the same. The score's slopes are fitted to all of these
files but the references. Takes about eight minutes for 26 pictures on two processors.

With them stand what pictures weigh and score on average at each quality: the search for a budget
begins there.

`--only avif-slow` measures one scale that is not its format's own, against that: the setting is the
one at which the mean score is that of the format's own encoder. What else the file has stays. It
takes a minute a photograph.

Printed are how far single pictures are off at the settings found, and how far the fitted score is
off, for pictures that were left out of the fit.
"""

import argparse
import io
import json
import math
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.optimize import lsq_linear
from ssimulacra2.ssimulacra2 import compute_ssimulacra2

from imgprocessor.images.compression.score import features, refer_to
from imgprocessor.images.formats.avif import AVIF_SLOW
from imgprocessor.images.formats.encoder import Encoder
from imgprocessor.images.formats.encoders import ENCODERS, VERSIONS

QUALITIES = (5, 10, 20, 30, 40, 50, 60, 70, 78, 85, 90, 95)
SETTINGS = {
    "jpeg": (60, 140, 220, 320, 450, 640, 900, 1300, 1900, 3000, 5000, 9000),
    "webp": (1, 8, 18, 30, 42, 55, 67, 78, 88, 94, 99),
    "avif": (5, 14, 22, 30, 38, 46, 54, 62, 70, 80, 90, 97),
    "jxl": (5, 12, 22, 33, 44, 55, 65, 74, 82, 89, 95, 99),
}
SETTINGS["avif-slow"] = SETTINGS["avif"]
SCALES: dict[str, Encoder] = {
    known.scale: known for known in (*ENCODERS.values(), AVIF_SLOW) if known.scale in SETTINGS
}
SMALLEST_SIDE_PIXELS = 256
"""SSIMULACRA2 halves a picture five times, down to 8 pixels. With fewer scales its weights fall out
of step (as they do in its authors' own program), and what it says is worth nothing.
"""

FIT_SCORES = (25.0, 93.0)
FOLDS = 5

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """What was measured of one picture: per quality or setting its bytes, score and features."""

    width: int
    pixels: int
    reference: list[tuple[int, float]]
    encoded: dict[str, list[tuple[int, float, list[float]]]]


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="Calibrate the quality scale and the score.")
    parser.add_argument("folder", nargs="+", type=Path)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("imgprocessor/images/compression/calibration.json"),
    )
    parser.add_argument("--widths", default="640,1080", help="pixels, the smallest first")
    parser.add_argument("--every", type=int, default=1, help="take every so many-th picture")
    parser.add_argument("--only", choices=[name for name in SCALES if name not in ENCODERS])
    parser.add_argument("--raw", type=Path, help="keep what was measured; measure no more if there")
    options = parser.parse_args()
    if options.raw and options.raw.exists():
        measured = [Measured(**one) for one in json.loads(options.raw.read_text())]
    else:
        scales = [SCALES[options.only].format, options.only] if options.only else None
        measured = _measure_all(options.folder, options.widths, options.every, scales)
        if options.raw:
            options.raw.write_text(json.dumps([asdict(one) for one in measured]))
    print(f"{len(measured)} pictures; {VERSIONS}")
    classes: dict[int, list[Measured]] = {}
    for one in measured:
        classes.setdefault(one.width, []).append(one)
    if options.only:
        _add_scale(options.only, classes, options.output)
        return 0
    pixels = [float(np.median([one.pixels for one in same])) for same in classes.values()]
    settings = {
        name: [
            _calibrate(name, width, same, [[score for _, score in one.reference] for one in same])
            for width, same in classes.items()
        ]
        for name in SCALES
    }
    middle = list(classes)[len(classes) // 2]
    log_bytes = {
        name: _typical_log_bytes(name, settings[name][len(classes) // 2], classes[middle])
        for name in SCALES
    }
    best, by_size, terms = _fit_score(measured, pixels[0])
    data = {
        "pixels": pixels,
        "settings": settings,
        "log_bytes": log_bytes,
        "scores": _typical_scores(measured),
        "best": best,
        "by_size": by_size,
        "terms": terms,
    }
    options.output.write_text(json.dumps(data, indent=1) + "\n")
    return 0


def _add_scale(name: str, classes: dict[int, list[Measured]], output: Path) -> None:
    """Calibrate a scale against its format's own, and write it beside what is known."""
    data = json.loads(output.read_text())
    own = SCALES[name].format
    rows = []
    for known, (width, same) in zip(data["settings"][own], classes.items(), strict=True):
        measured = np.array(SETTINGS[own], float)
        places = np.array([known[quality - 1] for quality in QUALITIES])
        scores = (np.array([score for _, score, _ in one.encoded[own]]) for one in same)
        wanted = [list(_extended(measured, reached, places)) for reached in scores]
        rows.append(_calibrate(name, width, same, wanted))
    middle = len(classes) // 2
    data["settings"][name] = rows
    data["log_bytes"][name] = _typical_log_bytes(name, rows[middle], [*classes.values()][middle])
    output.write_text(json.dumps(data, indent=1) + "\n")


def pictures(folder: Path) -> list[Path]:
    """Return the photographs of a folder."""
    return sorted(path for path in folder.iterdir() if path.suffix in {".jpg", ".jpeg", ".png"})


def resized(path: Path, width: int) -> Image.Image:
    """Return a picture in RGB, at most so wide."""
    file = Image.open(path)
    file.draft("RGB", (2 * width, 2 * width))
    image = file.convert("RGB")
    if image.width > width:
        size = (width, max(1, round(image.height * width / image.width)))
        image = image.resize(size, Image.Resampling.LANCZOS)
    image.info = {}
    return image


def ssimulacra2(reference: Image.Image, body: bytes) -> float:
    """Return the score of a file against the pixels that it was made from."""
    lossless = io.BytesIO()
    reference.save(lossless, "PNG", compress_level=1)
    return float(compute_ssimulacra2(lossless, io.BytesIO(body)))


def libjpeg_turbo(image: Image.Image, quality: int, *, progressive: bool = False) -> bytes:
    """Return what Pillow makes of a picture with the tables that libjpeg has of its own."""
    body = io.BytesIO()
    image.save(body, "JPEG", quality=quality, optimize=True, progressive=progressive)
    return body.getvalue()


def _measure_all(
    folders: Sequence[Path], widths: str, every: int, scales: Sequence[str] | None
) -> list[Measured]:
    files = [path for folder in folders for path in pictures(folder)][::every]
    work = [
        (path, width, scales)
        for width in map(int, widths.split(","))
        for path in files
        if _can_be_scored(path, width)
    ]
    with ProcessPoolExecutor() as pool:
        return list(pool.map(_measure, work))


def _can_be_scored(path: Path, width: int) -> bool:
    with Image.open(path) as image:
        height = image.height * width // image.width
        return image.width >= width and min(width, height) >= SMALLEST_SIDE_PIXELS


def _measure(work: tuple[Path, int, Sequence[str] | None]) -> Measured:
    path, width, scales = work
    image = resized(path, width)
    known = refer_to(image)
    reference = []
    for quality in () if scales else QUALITIES:
        body = libjpeg_turbo(image, quality)
        reference.append((len(body), ssimulacra2(image, body)))
    encoded: dict[str, list[tuple[int, float, list[float]]]] = {}
    for name in scales or SCALES:
        encoder = SCALES[name]
        for setting in SETTINGS[name]:
            body = encoder.write(image, setting, b"")
            found = features(known, Image.open(io.BytesIO(body)))
            score = ssimulacra2(image, body)
            encoded.setdefault(name, []).append((len(body), score, found))
    print(width, path.name, file=sys.stderr, flush=True)
    return Measured(width, image.width * image.height, reference, encoded)


def _calibrate(
    name: str, width: int, measured: Sequence[Measured], references: Sequence[Sequence[float]]
) -> list[int]:
    """Return the settings for quality 1 to 100, and print how far single pictures are off.

    `references` are what each picture is to score at `QUALITIES`.
    """
    settings = SETTINGS[name]
    wanted = np.mean(references, axis=0)
    scores = [[score for _, score, _ in one.encoded[name]] for one in measured]
    reached = np.maximum.accumulate(np.mean(scores, axis=0))
    # The JPEG setting is one over a factor: even steps of its logarithm are even steps of score.
    admission = np.log(settings) if name == "jpeg" else np.array(settings, float)
    found = _extended(reached, admission, wanted)
    qualities = np.arange(1, 101)
    all_places = _extended(np.array(QUALITIES, float), found, qualities)
    exact = np.exp(all_places) if name == "jpeg" else all_places
    limits = (1, SCALES[name].max_setting)
    rounded = np.maximum.accumulate(np.clip(np.round(exact), *limits).astype(int))
    print(f"\n{name}, {width} px: quality, setting, mean deviation, deviation of single pictures")
    for index, quality in enumerate(QUALITIES):
        place = float(rounded[quality - 1])
        place = math.log(place) if name == "jpeg" else place
        off = [
            np.interp(place, admission, ours) - reference[index]
            for ours, reference in zip(scores, references, strict=True)
        ]
        print(f"{quality:4} {rounded[quality - 1]:5} {np.mean(off):6.2f} {np.std(off):6.2f}")
    return [int(setting) for setting in rounded]


def _typical_log_bytes(
    name: str, settings: Sequence[int], measured: Sequence[Measured]
) -> list[float]:
    """Return the mean logarithm of the bytes at quality 1 to 100, against quality 100."""
    logs = [[math.log(size) for size, _, _ in one.encoded[name]] for one in measured]
    known = _extended(np.log(SETTINGS[name]), np.mean(logs, axis=0), np.log(settings))
    return [round(float(value - known[-1]), 3) for value in known]


def _typical_scores(measured: Sequence[Measured]) -> list[float]:
    """Return the mean score at quality 1 to 100."""
    scores = np.mean([[score for _, score in one.reference] for one in measured], axis=0)
    known = _extended(np.array(QUALITIES, float), scores, np.arange(1, 101))
    return [round(float(value), 2) for value in known]


def _extended(x: Numbers, y: Numbers, wanted: Numbers | NDArray[np.int64]) -> Numbers:
    """Interpolate, and go straight on beyond the ends."""
    inner = np.interp(wanted, x, y)
    first, last = (y[1] - y[0]) / (x[1] - x[0]), (y[-1] - y[-2]) / (x[-1] - x[-2])
    below = y[0] + (wanted - x[0]) * first
    above = y[-1] + (wanted - x[-1]) * last
    return np.where(wanted < x[0], below, np.where(wanted > x[-1], above, inner))


def _fit_score(
    measured: Sequence[Measured], smallest_pixels: float
) -> tuple[float, float, list[list[float]]]:
    """Fit the slopes; print how far they are off for pictures that they were not fitted to."""
    rows, scores, groups, doublings = [], [], [], []
    for group, one in enumerate(measured):
        for files in one.encoded.values():
            for _, score, found in files:
                if FIT_SCORES[0] <= score <= FIT_SCORES[1]:
                    rows.append(found)
                    scores.append(score)
                    groups.append(group)
                    doublings.append(math.log2(one.pixels / smallest_pixels))
    x, y, group_of, size = map(np.array, (rows, scores, groups, doublings))
    knots = np.quantile(x, (0.002, 0.5), axis=0)
    off = np.zeros(len(y))
    for fold in range(FOLDS):
        left_out = group_of % FOLDS == fold
        weights = _solve(_design(x[~left_out], size[~left_out], knots), y[~left_out])
        off[left_out] = _design(x[left_out], size[left_out], knots) @ weights - y[left_out]
    print(f"\nscore, for pictures left out of the fit ({len(y)} files)")
    for low, high in ((25, 50), (50, 70), (70, 85), (85, 93)):
        within = off[(y >= low) & (y < high)]
        print(
            f"{low} to {high}: mean error {np.mean(np.abs(within)):.2f}, "
            f"root of mean square {np.sqrt(np.mean(within**2)):.2f}, bias {np.mean(within):.2f}"
        )
    weights = _solve(_design(x, size, knots), y)
    count = x.shape[1]
    columns = (*knots, weights[2 : count + 2], weights[count + 2 :])
    terms = [[round(float(value), 4) for value in row] for row in zip(*columns, strict=True)]
    return round(float(weights[0]), 4), round(float(weights[1]), 4), terms


def _design(x: Numbers, size: Numbers, knots: Numbers) -> Numbers:
    lowest, middle = knots
    first = np.clip(x, lowest, middle) - lowest
    return np.column_stack((np.ones(len(x)), size, -first, -np.maximum(x - middle, 0)))


def _solve(design: Numbers, y: Numbers) -> Numbers:
    """Least squares, no slope below 0: more of a difference may never score more."""
    lowest = np.zeros(design.shape[1])
    lowest[:2] = -np.inf
    solution: Numbers = lsq_linear(design, y, bounds=(lowest, np.inf)).x
    return solution


if __name__ == "__main__":
    sys.exit(main())
