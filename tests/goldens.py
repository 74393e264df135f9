"""Goldens of pixels and bytes: text, exact under the libraries it was made with, else tolerant.

Of what is transparent also under the processor: Pillow-SIMD divides colours by alpha with an
instruction (rcpps) that is only nearly right, and of which each make has its own idea.
"""

import hashlib
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import images
from PIL import Image, ImageStat

from imgprocessor.images.decode import MASTER_VERSION
from imgprocessor.images.formats.encoders import VERSIONS

RENEW = "IMGPROCESSOR_RENEW_GOLDEN"
HOW_TO_RENEW = f"{RENEW}=1 ./run test tests/images/test_golden.py writes all goldens anew"
MAX_HASH_DISTANCE = 5
"""Bits of 64; what sharp and weserv/images allow."""
MAX_COLOUR_DISTANCE = 3

NUMBERS = {
    "masters": "MASTER_VERSION in imgprocessor/images/decode.py",
    "pipeline": "PIPELINE_VERSION in imgprocessor/images/pipeline.py",
}
"""Raised by hand, and where."""

_OURS = (*NUMBERS, "calibration")
"""What makes other bytes under the same libraries; all of it is in keys."""


@cache
def division_by_alpha() -> str:
    """Return what differs where another processor, or library, divides otherwise."""
    whole = bytes(
        v for alpha in range(256) for colour in range(256) for v in (*[colour] * 3, alpha)
    )
    divided = Image.frombytes("RGBa", (256, 256), whole).convert("RGBA")
    return hashlib.sha256(divided.tobytes()).hexdigest()[:16]


def described(image: Image.Image, digest: str, **more: object) -> dict[str, str]:
    """Return what a golden says of a picture, and of what it was made by."""
    mean = [round(value) for value in ImageStat.Stat(image).mean]
    known = {
        "libraries": VERSIONS,
        "masters": MASTER_VERSION,
        **more,
        "digest": digest,
        "size": f"{image.width}x{image.height}",
        "mode": image.mode,
        "dhash": f"{images.difference_hash(image):016x}",
        "colour": " ".join(map(str, mean)),
    }
    return {name: str(value) for name, value in known.items()}


def check(file: Path, seen: Mapping[str, str]) -> None:
    """Compare with a golden, or write it anew where the environment says so; never where bytes
    changed and no number did.

    Raises:
        AssertionError: it is missing, or what is seen is not what it says.
    """
    renew = bool(os.environ.get(RENEW))
    if file.exists():
        golden = dict(line.split(" = ") for line in file.read_text().splitlines())
        wrong = _wrong(golden, seen, renew=renew)
    else:
        wrong = "" if renew else f"is missing: {HOW_TO_RENEW}"
    assert not wrong, f"{file.name} {wrong}"
    if renew:
        file.write_text("".join(f"{key} = {value}\n" for key, value in seen.items()))


def _wrong(golden: Mapping[str, str], seen: Mapping[str, str], *, renew: bool) -> str:
    """Return what is wrong with what is seen, and what to do; empty if nothing is."""
    raise_it = " or ".join(where for name, where in NUMBERS.items() if name in seen)
    if any(int(golden[name]) > int(seen[name]) for name in NUMBERS if name in seen):
        return f"was made with a higher number: {raise_it} may only be raised"
    before, now = (
        [f"{name} {known[name]}" for name in _OURS if name in seen] for known in (golden, seen)
    )
    if before != now:
        stale = f"was made by {' '.join(before)}, and this is {' '.join(now)}: {HOW_TO_RENEW}"
        return "" if renew else stale
    differing = _differing(golden, seen)
    if not differing:
        return ""
    return (
        f"says otherwise of {', '.join(differing)}, and keys would be the same: what caches keep "
        f"would stay. If it is meant, raise {raise_it}; then {HOW_TO_RENEW}"
    )


def _differing(golden: Mapping[str, str], seen: Mapping[str, str]) -> list[str]:
    """Return what differs: the digest only counts under what it was made with."""
    made_by = {*_OURS, "libraries", "division"}
    is_exact = all(golden.get(name) == seen.get(name) for name in ("libraries", "division"))
    differing = []
    for name in sorted({*golden, *seen} - made_by):
        before, now = golden.get(name, ""), seen.get(name, "")
        if name == "digest":
            same = before == now or not is_exact
        elif name == "dhash":
            same = (int(before, 16) ^ int(now, 16)).bit_count() <= MAX_HASH_DISTANCE
        elif name == "colour":
            same = _close(before, now)
        else:
            same = before == now
        if not same:
            differing.append(name)
    return differing


def _close(before: str, now: str) -> bool:
    pairs = zip(before.split(), now.split(), strict=True)
    return all(abs(int(one) - int(other)) <= MAX_COLOUR_DISTANCE for one, other in pairs)
