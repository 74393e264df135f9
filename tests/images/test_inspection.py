"""Originals' structure: what is refused before any decoder sees it, how quickly, and why."""

import io
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import hostile
import images
import pytest
from conftest import CORPUS, ROOT, needs_corpus
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from imgprocessor.config.settings import OriginalsSettings
from imgprocessor.errors import BrokenOriginal, ImageError, OversizedOriginal
from imgprocessor.geometry import Size
from imgprocessor.images.decode import open_original
from imgprocessor.images.formats.structure import Inspected
from imgprocessor.images.inspection import inspect

LIMITS = OriginalsSettings()
HOSTILE = {known.name: known for known in hostile.hostile_files()}
TEXTURE = images.texture((96, 64))


def inspected(file: bytes, limits: OriginalsSettings = LIMITS) -> Inspected:
    return inspect(io.BytesIO(file), limits)


# What decoding takes a pixel was measured; see `Inspected.pixel_bytes`.
@pytest.mark.parametrize(
    ("mode", "image_format", "options", "pixel_bytes", "sample_bytes", "scans"),
    [
        ("RGB", "JPEG", {}, 4, 0, 1),
        ("L", "JPEG", {}, 4, 0, 1),
        ("RGB", "JPEG", {"progressive": True}, 4, 3, 10),
        ("RGB", "JPEG", {"progressive": True, "subsampling": "4:4:4"}, 4, 6, 10),
        ("CMYK", "JPEG", {"progressive": True}, 4, 8, 10),
        ("L", "JPEG", {"progressive": True}, 4, 2, 6),
        ("RGB", "PNG", {}, 6, 0, 1),
        ("RGB", "PNG", {"transparency": (1, 2, 3)}, 9, 0, 1),
        ("I;16", "PNG", {"transparency": 7}, 16, 0, 1),
        ("P", "GIF", {}, 6, 0, 1),
        ("RGB", "WEBP", {}, 13, 0, 1),
        ("RGBA", "WEBP", {}, 13, 0, 1),
        ("RGB", "WEBP", {"lossless": True}, 13, 0, 1),
    ],
)
def test_what_pillow_writes_is_understood(
    mode: str,
    image_format: str,
    options: dict[str, Any],
    pixel_bytes: int,
    sample_bytes: int,
    scans: int,
) -> None:
    file = images.encoded(TEXTURE.convert(mode), image_format, **options)

    found = inspected(file)

    assert (found.kind, found.size) == (image_format, Size(96, 64))
    pixels = 96 * 64
    assert found.memory_bytes() == (pixel_bytes + sample_bytes) * pixels
    assert found.memory_bytes(4) == sample_bytes * pixels + pixel_bytes * pixels // 16
    # libjpeg's own script for four colours has more.
    assert found.scans == scans or mode == "CMYK"


@given(
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    image_format=st.sampled_from(["JPEG", "PNG", "WEBP", "GIF"]),
    progressive=st.booleans(),
)
def test_the_size_is_the_decoders(
    size: tuple[int, int], image_format: str, *, progressive: bool
) -> None:
    options = {"progressive": progressive} if image_format == "JPEG" else {}
    file = images.encoded(Image.new("RGB", size), image_format, **options)

    assert inspected(file).size == Size(*size)
    assert open_original(io.BytesIO(file), LIMITS).metadata.stored == Size(*size)


def test_the_file_is_left_at_its_beginning() -> None:
    file = io.BytesIO(images.encoded(TEXTURE, "PNG"))
    inspect(file, LIMITS)

    assert file.tell() == 0


@pytest.mark.parametrize(
    ("name", "part"),
    [
        (
            "bomb-15000x14950.png",
            "15000x14950 of PNG takes 1345500000 bytes to decode, over max_de",
        ),
        ("bomb-65536x1.png", "65536x1 has a side over 65535 pixels"),
        ("bomb-65500x65500.jpg", "65500x65500 in more than 0 scans, which is all that max_scans"),
        ("bomb-104mp.webp", "10200x10200 of WEBP takes 1352520000 bytes to decode, over max_dec"),
        ("scans-200mp.jpg", "16320x12240 in more than 12 scans"),
        ("scans-150.jpg", "7000x5857 in more than 60 scans, which is all that max_scans = 100 and"),
        ("scans-small-101.jpg", "64x64 in more than 100 scans"),
        ("scans-sequential-300.jpg", "64x64 in more than 100 scans"),
        ("scans-filled.jpg", "in more than 60 scans"),
        ("segments.jpg", "more parts beside pixels than max_metadata_parts = 1000"),
        ("chunks.png", "max_metadata_parts"),
        ("chunks-after.png", "max_metadata_parts"),
        ("chunks.webp", "max_metadata_parts"),
        ("comments.gif", "max_metadata_parts"),
        ("data-chunks.png", "in more than 65536 parts"),
        ("frames-100000.webp", "in more than 65536 parts"),
        ("comment.gif", "in more than 65536 parts"),
        ("comment-3000.gif", "a comment in more than 2048 blocks"),
        ("text-huge.png", "over max_metadata_bytes = 16777216"),
        ("xmp-huge.jpg", "over max_metadata_bytes = 16777216"),
        ("frame-far-beyond.gif", "65008x65001 of GIF takes"),
        ("none.png", "0x5"),
        ("none.jpg", "5x0"),
        ("stray.jpg", "65536 bytes where nothing should be"),
        ("fill.jpg", "65536 bytes where nothing should be"),
        ("restarts.jpg", "65536 bytes where nothing should be"),
        ("stray.gif", "65536 bytes where nothing should be"),
        ("two-frames.jpg", "two frame headers"),
        ("two-headers.png", "two headers"),
        ("frame-none.gif", "no picture in it"),
        ("jpeg-eps.eps", "JPEG ends before its pixels"),
        ("png-psd.jpg", "begins with the chunk"),
        ("psd.jpg", r"begins with b'8BPS"),
    ],
)
def test_the_log_says_why_a_file_is_refused(name: str, part: str) -> None:
    with pytest.raises(ImageError, match=part):
        inspected(HOSTILE[name].make())


def test_a_size_that_the_decoder_sees_otherwise_is_broken() -> None:
    with pytest.raises(BrokenOriginal, match="96x64 to the inspection, 9x9 to the decoder"):
        open_original(io.BytesIO(HOSTILE["differing.jpg"].make()), LIMITS)


@pytest.mark.parametrize(
    ("limit", "good", "name"),
    [
        ("max_decoded_bytes", 7 * 96 * 64, "progressive"),
        ("max_scans", 10, "progressive"),
        ("max_metadata_bytes", 5000, "commented"),
        ("max_metadata_parts", 6, "commented"),
    ],
)
def test_each_limit_is_the_last_that_is_allowed(limit: str, good: int, name: str) -> None:
    file = {
        "progressive": images.encoded(TEXTURE, "JPEG", progressive=True),
        # A comment, a frame header, three tables and a scan.
        "commented": hostile.flat_jpeg((96, 64), hostile.segment(0xFE, bytes(5000)))[:2]
        + hostile.flat_jpeg((96, 64), hostile.segment(0xFE, bytes(5000)))[20:],
    }[name]
    allowed: dict[str, Any] = {limit: good}
    refused: dict[str, Any] = {limit: good - 1}
    inspected(file, replace(LIMITS, **allowed))

    with pytest.raises(OversizedOriginal, match=limit):
        inspected(file, replace(LIMITS, **refused))


def test_as_many_scans_as_may_be_are_let_through() -> None:
    assert inspected(hostile.scan_bomb((7000, 5857), 60)).scans == 60


def test_a_jpeg_counts_by_what_is_decoded_of_it() -> None:
    """In one scan no more than 100 megapixels, whatever its size; in several all coefficients."""
    plain = inspected(hostile.flat_jpeg((16_320, 12_240)))
    scans = inspected(hostile.scan_bomb((16_320, 12_240), 10))
    pixels = 16_320 * 12_240

    assert plain.memory_bytes(8) == 4 * pixels // 64
    assert scans.memory_bytes(8) == 2 * pixels + 4 * pixels // 64
    limits = replace(LIMITS, max_decoded_bytes=4 * pixels // 4)
    inspected(hostile.flat_jpeg((16_320, 12_240)), limits)
    with pytest.raises(OversizedOriginal, match="max_decoded_bytes"):
        inspected(hostile.scan_bomb((16_320, 12_240), 10), limits)


def test_scans_times_megapixels_are_limited() -> None:
    file = hostile.scan_bomb((1000, 1000), 50)
    inspected(file, replace(LIMITS, max_megapixel_scans=50))

    with pytest.raises(OversizedOriginal, match="max_megapixel_scans = 49"):
        inspected(file, replace(LIMITS, max_megapixel_scans=49))


@given(st.integers(1, 40), st.integers(0, 6), st.binary(max_size=40))
def test_scans_are_counted_whatever_is_between_them(scans: int, fill: int, held: bytes) -> None:
    """One too many is noticed, and what only looks like one is not counted."""
    between = hostile.segment(0xE7, held + b"\xff\xda" * 50) + b"\xff" * fill
    file = hostile.scan_bomb((64, 64), scans, between)
    inspected(file, replace(LIMITS, max_scans=scans))

    if scans > 1:
        with pytest.raises(OversizedOriginal):
            inspected(file, replace(LIMITS, max_scans=scans - 1))


@pytest.mark.parametrize("shift", range(-5, 6))
def test_scans_are_counted_across_blocks_of_reading(shift: int) -> None:
    """A megabyte ends in a marker, in a length, in what a segment holds."""
    file = hostile.scan_bomb((64, 64), 2)
    first = file.index(b"\xff\xda") + 10  # where the first scan's data begins
    second = file.index(b"\xff\xda", first)
    moved = file[:second] + bytes(2**20 + shift - (second - first)) + file[second:]
    assert inspected(moved).scans == 2
    with pytest.raises(OversizedOriginal):
        inspected(moved, replace(LIMITS, max_scans=1))

    held = hostile.segment(0xE7, bytes(2**15 + shift) + b"\xff\xda" * 10_000) * 40
    file = hostile.scan_bomb((64, 64), 3, held)
    inspected(file, replace(LIMITS, max_scans=3))
    with pytest.raises(OversizedOriginal):
        inspected(file, replace(LIMITS, max_scans=2))


def test_what_ends_a_segment_at_the_end_of_a_block_begins_no_marker() -> None:
    """Or what follows would be taken for a segment, and the scans in it would not be counted."""
    file = hostile.scan_bomb((64, 64), 2)
    first = file.index(b"\xff\xda") + 10  # where the first scan's data begins
    second = file.index(b"\xff\xda", first)
    held = hostile.segment(0xE7, bytes(99) + b"\xff")
    filled = bytes(2**20 - (second - first) - len(held)) + held
    hidden = b"\xe1\xf0\xf0" + file[second:-2] * 500
    file = file[:second] + filled + hidden + file[second:]
    assert file[first + 2**20 - 1 : first + 2**20 + 1] == b"\xff\xe1"

    with pytest.raises(OversizedOriginal, match="in more than 100 scans"):
        inspected(file)


@given(st.binary(max_size=300), st.sampled_from(["JPEG", "PNG", "WEBP", "GIF"]), st.integers(3, 99))
def test_whatever_follows_a_beginning_ends_in_an_error_of_ours(
    rest: bytes, image_format: str, kept: int
) -> None:
    file = images.encoded(TEXTURE, image_format)[:kept] + rest
    try:
        inspected(file)
    except ImageError as error:
        assert error.status == 422


@pytest.mark.parametrize(
    "name", [known.name for known in HOSTILE.values() if known.expected == hostile.OVERSIZED]
)
def test_what_is_too_large_is_refused_within_a_tenth_of_a_second(name: str) -> None:
    """Of the processor: how long it takes besides says how busy the machine is."""
    file = HOSTILE[name].make()
    seconds = []
    for _ in range(5):
        begin = time.process_time()
        with pytest.raises(OversizedOriginal):
            open_original(io.BytesIO(file), LIMITS)
        seconds.append(time.process_time() - begin)

    assert statistics.median(seconds) < (0.05 if name.startswith("scans") else 0.1)


_REFUSE = """
import sys
from imgprocessor.images.decode import open_original
from imgprocessor.errors import ImageError
from imgprocessor.config.settings import OriginalsSettings

def peak():
    return int(next(line for line in open("/proc/self/status") if "VmHWM" in line).split()[1])

before = peak()
try:
    with open(sys.argv[1], "rb") as file:
        opened = open_original(file, OriginalsSettings())
        opened.decode(1)
except ImageError as error:
    print(error.code, peak() - before)
"""


@pytest.mark.parametrize(
    "name",
    [
        "bomb-225mp.png", "bomb-65500x65500.jpg", "bomb-1kb.jpg", "bomb-4g.png",
        "bomb-one-colour.png", "bomb-104mp.webp", "bomb-268mp.webp",
        "frames-large.webp", "scans-20000.jpg", "text-bomb.png", "text-bombs.png",
        "text-huge.png", "icc-bomb.png", "comment-long.gif", "segments.jpg", "xmp-huge.jpg",
    ],
)  # fmt: skip
def test_refusing_takes_little_memory(name: str, tmp_path: Path) -> None:
    """In a fresh process: the peak of this one is past already."""
    (tmp_path / "a").write_bytes(HOSTILE[name].make())
    done = subprocess.run(
        [sys.executable, "-c", _REFUSE, tmp_path / "a"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    code, grown_kb = done.stdout.split()

    assert code == HOSTILE[name].expected
    assert int(grown_kb) < 50_000


@needs_corpus
def test_no_good_photograph_is_refused() -> None:
    photographs = [
        path for path in (CORPUS / "photos").rglob("*") if path.suffix in {".jpg", ".png"}
    ]
    assert photographs
    for path in [*photographs, *(CORPUS / "orientation").rglob("*.jpg")]:
        with path.open("rb") as file:
            inspect(file, LIMITS)
