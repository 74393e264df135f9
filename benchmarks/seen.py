"""What pictures look like on a screen, by their share of its width and their quality.

    python benchmarks/seen.py FOLDER [--processes N]

prints the tables of `imgprocessor/policy/seen.py`: over all photographs of a folder that are wide
enough, on the first typical device there, what AVIF weighs, and scores once it is stretched over
the screen, bilinearly as browsers do it, against the original resized to the screen's pixels.
`--device 1` measures on the second, whose scores at equal shares are much the same.
"""

import argparse
import io
import statistics
import sys
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from PIL import Image
from quality_scale import pictures, resized, ssimulacra2

from imgprocessor.geometry import Size
from imgprocessor.images.compression.calibration import CALIBRATION
from imgprocessor.images.formats.encoders import ENCODERS
from imgprocessor.policy.seen import BYTES_EXPONENT, TYPICAL_DEVICES

SHARES = (0.3, 0.45, 0.6, 0.75, 1.0, 1.2)
QUALITIES = (10, 20, 30, 40, 50, 60, 70, 80)

Measured = dict[tuple[float, int], tuple[float, float]]
"""By share and quality: bytes, as if of one megapixel, and score."""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure pictures as seen on screens.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", type=int, default=0)
    parser.add_argument("--processes", type=int)
    options = parser.parse_args()
    weights, scores = defaultdict(list), defaultdict(list)
    measure = partial(_measure, screen_pixels=TYPICAL_DEVICES[options.device].pixels)
    with ProcessPoolExecutor(options.processes) as pool:
        for measured in pool.map(measure, pictures(options.folder)):
            for (share, quality), (weight, score) in measured.items():
                weights[quality].append(weight)
                scores[share, quality].append(score)
    by_quality = [f"{statistics.fmean(weights[quality]):_.0f}" for quality in QUALITIES]
    print(f"_QUALITIES = {QUALITIES}\n_BYTES_A_MEGAPIXEL = ({', '.join(by_quality)})")
    print(f"_SHARES = {SHARES}\n_SCORES = (")
    for share in SHARES:
        row = [f"{statistics.fmean(scores[share, quality]):.0f}" for quality in QUALITIES]
        print(f"    ({', '.join(row)}),")
    print(")")
    return 0


def _measure(file: Path, screen_pixels: int) -> Measured:
    with Image.open(file) as original:
        if original.width < screen_pixels * SHARES[-1]:
            return {}
    wanted = resized(file, screen_pixels)
    found: Measured = {}
    for share in SHARES:
        image = resized(file, round(share * screen_pixels))
        megapixels = image.width * image.height / 1e6
        for quality in QUALITIES:
            setting = CALIBRATION.setting("avif", quality, Size(*image.size))
            body = ENCODERS["avif"].write(image, setting, b"")
            score = as_seen(wanted, body)
            found[share, quality] = len(body) / megapixels**BYTES_EXPONENT, score
    print(screen_pixels, file.name, file=sys.stderr, flush=True)
    return found


def as_seen(wanted: Image.Image, body: bytes) -> float:
    """Return the score of a file that a browser stretches, bilinearly, over what is wanted."""
    sent = Image.open(io.BytesIO(body)).convert("RGB")
    seen = sent.resize(wanted.size, Image.Resampling.BILINEAR)
    file = io.BytesIO()
    seen.save(file, "PNG", compress_level=1)
    return ssimulacra2(wanted, file.getvalue())


if __name__ == "__main__":
    sys.exit(main())
