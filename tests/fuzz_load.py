"""The load path under fire: files mutated by libFuzzer (atheris), opened, decoded and rendered.

`./run fuzz` starts it for as long as it is told, `test_fuzz_load.py` for a thousand files. It ends
at the first file that raises anything but an ImageError, takes over five seconds or a gigabyte, or
ends the process, and leaves that file in the folder of findings. Coverage follows our own code and
Pillow's Python; the decoders in C are fed, and not followed.
"""

import argparse
import hashlib
import json
import os
import random
import resource
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["imgprocessor", "PIL"]):
    import images
    from PIL import ExifTags, Image, ImageCms, MpoImagePlugin, PngImagePlugin

    from imgprocessor.config.settings import OriginalsSettings, PixelsSettings
    from imgprocessor.errors import ImageError
    from imgprocessor.formats import Format
    from imgprocessor.geometry import Box, Fit
    from imgprocessor.policy.plan import Plan
    from imgprocessor.policy.table import Cell
    from imgprocessor.rendering.process import keep_memory
    from imgprocessor.timing import Timings

MAX_SECONDS = 5
"""For one file."""
MAX_MEGABYTES = 1000
LIMITS = OriginalsSettings(max_decoded_bytes=536_870_912)
"""Enough for what is odd, and quick."""
MAX_FILE_BYTES = 65_536
"""Larger files are no seeds: what is odd about a file is in its structure."""

PNG = b"\x89PNG\r\n\x1a\n"


def plan(box: Box, fit: Fit, formats: tuple[Format, ...], cell: Cell, background: str) -> Plan:
    """Return a plan of small pictures, so that most of the time goes to loading."""
    return Plan(
        box=box,
        fit=fit,
        density=Decimal(1),
        bandwidth="4g",
        screen=None,
        formats=formats,
        quality_limit=None,
        bytes_limit=None,
        cell=cell,
        pixels=PixelsSettings(keep_copyright=True, background=background),
        encoders="",
    )


PLANS = (
    plan(Box(48, None), Fit.INSIDE, ("jpeg",), Cell(78), "#ffffff"),
    plan(Box(40, 24), Fit.COVER, ("webp", "jpeg"), Cell(60, budget_bytes=1500), "#102030"),
    plan(Box(32, 48), Fit.FORCE, ("png",), Cell(70), "#ffffff"),
    plan(Box(64, 64), Fit.INSIDE, ("avif", "webp", "jpeg"), Cell(50), "#ffffff"),
    plan(Box(4000, None), Fit.INSIDE, ("jpeg",), Cell(40), "#ffffff"),
)

met: Counter[str] = Counter()
"""What came of the files, so that a run that never decodes anything is seen."""


def load_one(file: bytes) -> None:
    """Do to a file what a request does.

    Raises:
        Exception: anything but an ImageError, which is a finding.
    """
    wanted = PLANS[zlib.crc32(file) % len(PLANS)]
    try:
        images.decoded(images.rendered(file, wanted, Timings(), LIMITS).body)
        met["rendered"] += 1
    except ImageError as error:
        met[error.code] += 1


def mutate(file: bytes, max_bytes: int, seed: int) -> bytes:
    """Have libFuzzer change a file; make a PNG's checksums right again, or nothing behind the
    first would ever be read.
    """
    changed: bytes = atheris.Mutate(file, max_bytes)
    return with_right_checksums(changed)[:max_bytes] if seed % 8 else changed


def with_right_checksums(file: bytes) -> bytes:
    """Return a PNG with the CRC of each chunk made right; anything else as it is."""
    if not file.startswith(PNG):
        return file
    mended, place = bytearray(file), len(PNG)
    while place + 12 <= len(mended):
        (length,) = struct.unpack_from(">I", mended, place)
        end = place + 8 + length
        if end + 4 > len(mended):
            break
        struct.pack_into(">I", mended, end, zlib.crc32(mended[place + 4 : end]))
        place = end + 4
    return bytes(mended)


def seeds() -> Iterator[bytes]:
    """Yield good files of every format, mode and kind of metadata that is looked at."""
    picture, clear = images.texture((37, 29)), images.texture((37, 29)).convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Copyright] = "somebody"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    told = {"exif": exif, "icc_profile": profile}
    for mode in ("L", "RGB", "CMYK"):
        yield images.encoded(picture.convert(mode), "JPEG", quality=60)
        yield images.encoded(picture.convert(mode), "JPEG", progressive=True, subsampling=0)
    yield images.encoded(picture, "JPEG", restart_marker_rows=1, comment=b"c", **told)
    yield images.encoded(
        picture, MpoImagePlugin.MpoImageFile.format, save_all=True, append_images=[picture]
    )
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        yield images.encoded(clear.convert("L" if mode == "I;16" else mode).convert(mode), "PNG")
    text = PngImagePlugin.PngInfo()
    text.add_text("k", "v" * 40, zip=True)
    text.add_itxt("k", "v", "en", "k", zip=True)
    yield images.encoded(picture, "PNG", pnginfo=text, gamma=0.45, dpi=(72, 72), **told)
    yield images.encoded(picture.convert("P"), "PNG", transparency=3, bits=4)
    yield images.encoded(picture, "PNG", save_all=True, append_images=[clear.convert("RGB")])
    for lossless in (False, True):
        yield images.encoded(picture, "WEBP", lossless=lossless)
        yield images.encoded(clear, "WEBP", lossless=lossless, **told)
    yield images.encoded(picture, "WEBP", save_all=True, append_images=[clear])
    yield images.encoded(picture.convert("P"), "GIF", comment=b"c")
    yield images.encoded(picture.convert("P"), "GIF", transparency=1, interlace=0)
    yield images.encoded(picture, "GIF", save_all=True, append_images=[clear.convert("RGB")])


def write_seeds(folder: Path, others: list[Path]) -> int:
    """Write what to begin with, each file under its digest; return how many there are."""
    folder.mkdir(parents=True, exist_ok=True)
    found = list(seeds())
    for other in others:
        found += [
            path.read_bytes()
            for path in sorted(other.rglob("*"))
            if path.is_file() and path.stat().st_size <= MAX_FILE_BYTES
        ]
    for file in found:
        (folder / hashlib.sha256(file).hexdigest()[:16]).write_bytes(file)
    return len(set(found))


def fuzz(options: argparse.Namespace) -> int:
    """Fuzz in a process of its own, which libFuzzer ends as it likes; return its exit status."""
    options.findings.mkdir(parents=True, exist_ok=True)
    count = write_seeds(options.corpus, options.seeds)
    print(f"{count} files to begin with", flush=True)
    libfuzzer = [
        f"-max_total_time={options.seconds}",
        f"-runs={options.files}",
        f"-timeout={MAX_SECONDS}",
        f"-rss_limit_mb={MAX_MEGABYTES}",
        f"-max_len={MAX_FILE_BYTES}",
        f"-seed={options.seed}",
        f"-artifact_prefix={options.findings}/",
        "-print_final_stats=1",
        str(options.corpus),
    ]
    command = [sys.executable, __file__, "--inside", *libfuzzer]
    return subprocess.run(command, check=False).returncode


def inside(libfuzzer: list[str]) -> None:
    """Be that process."""
    keep_memory()
    began = time.monotonic()

    def load(file: bytes) -> None:
        load_one(file)
        # libFuzzer leaves by _exit(), so that there is no later moment to say it.
        if met.total() % 1000 == 0:
            said(began)

    def said(since: float) -> None:
        megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        told = {"files": met.total(), "seconds": round(time.monotonic() - since), **met}
        print(json.dumps({**told, "megabytes": megabytes}), flush=True)

    atheris.Setup([sys.argv[0], *libfuzzer], load, custom_mutator=mutate)
    atheris.Fuzz()


def main(arguments: list[str]) -> int:
    """Fuzz, or load files once more that were found."""
    if arguments[:1] == ["--inside"]:
        inside(arguments[1:])
        return 0
    reader = argparse.ArgumentParser(prog="./run fuzz", description=__doc__)
    reader.add_argument("--seconds", type=int, default=600, help="how long (600)")
    reader.add_argument("--files", type=int, default=-1, help="how many at most (no matter)")
    reader.add_argument("--seed", type=int, default=random.randrange(1, 2**31))
    reader.add_argument("--corpus", type=Path, default=Path("fuzz/corpus"), help="is added to")
    reader.add_argument("--findings", type=Path, default=Path("fuzz/findings"))
    reader.add_argument("--seeds", type=Path, nargs="*", default=[], help="folders of more files")
    reader.add_argument("--again", type=Path, nargs="*", help="load these files, and nothing else")
    options = reader.parse_args(arguments)
    for file in options.again or ():
        load_one(file.read_bytes())
        print(f"{file}: {dict(met)}")
    return 0 if options.again is not None else fuzz(options)


if __name__ == "__main__":
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    sys.exit(main(sys.argv[1:]))
