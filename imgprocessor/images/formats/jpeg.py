"""JPEG: segments and scans of an original, its decoder, and encoders with tables of our own."""

import re
import struct
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache, partial
from typing import IO, BinaryIO

from PIL import Image, ImageFile, JpegImagePlugin, features

from imgprocessor.errors import BrokenOriginal, OversizedOriginal
from imgprocessor.images.formats.damaged import Shown
from imgprocessor.images.formats.encoder import Encoder, saved
from imgprocessor.images.formats.jpeg_scans import (
    AFTER_A_SCAN,
    APP1,
    APP15,
    COM,
    EOI,
    FRAMES,
    PROGRESSIVE,
    RST0,
    RST7,
    SOI,
    SOS,
    TEM,
    Edit,
    edits_for,
)
from imgprocessor.images.formats.structure import (
    Inspected,
    OriginalFormat,
    Walk,
    finest_draft,
)

_PIXEL_BYTES = 4
_COEFFICIENT_BYTES = 2
"""Of a JPEG in several scans all coefficients are kept, one a sample (libjpeg's JCOEF)."""

_BLOCK_BYTES = 1 << 20
_READ_BYTES = 1 << 16

_SEGMENT = re.compile(rb"\xff[\xc0-\xcf\xda-\xfe]")
"""The same, but for the beginning and the end of a picture, which have no length."""
_FRAME_HEADER = struct.Struct(">xHHB")
"""Bits a sample, height, width, components; three bytes each component follow."""
_MAX_COMPONENTS = 4
_LONGEST_SEGMENT_BYTES = 2 + 65_535
_FIRST_BLOCKS_PIXELS = 32
"""No unit of blocks is wider or higher (four blocks of eight pixels)."""


def _inspect(walk: Walk) -> Inspected:
    frame: tuple[int, bytes] | None = None
    found: Inspected | None = None
    for marker, content in _segments_before_pixels(walk):
        if marker in FRAMES:
            if found is not None:
                raise BrokenOriginal("two frame headers")
            height, width, _ = _FRAME_HEADER.unpack_from(content)
            found = walk.sized("JPEG", width, height, pixel_bytes=_PIXEL_BYTES)
            frame = marker, content
        elif marker == SOS:
            break
    else:
        raise BrokenOriginal("no scan")
    if found is None or frame is None:
        raise BrokenOriginal("a scan before the frame header")
    return _with_scans(walk, found, frame, components=content[0])


def _segments_before_pixels(walk: Walk) -> Iterator[tuple[int, bytes]]:
    """Yield marker and content of each segment, the header of the first scan last."""
    walk.skip(2)
    while True:
        (marker,) = walk.take(1)
        if marker != 0xFF:  # noqa: PLR2004 - what every marker begins with
            walk.count_stray()
            continue
        while marker == 0xFF:  # noqa: PLR2004 - as many as there are
            walk.count_stray()
            (marker,) = walk.take(1)
        if marker in {0, TEM, SOI} or RST0 <= marker <= RST7:
            continue
        if marker == EOI:
            return
        length = max(0, int.from_bytes(walk.take(2), "big") - 2)
        is_metadata = APP1 <= marker <= APP15 or marker == COM
        walk.count(length if is_metadata else 0)
        yield marker, walk.take(length)
        if marker == SOS:
            return


def _with_scans(
    walk: Walk, found: Inspected, frame: tuple[int, bytes], *, components: int
) -> Inspected:
    """Add what further scans cost; raise where that is over the limits.

    Args:
        walk: where the first scan's header ends.
        found: what is known already.
        frame: marker and content of the frame header.
        components: how many of the frame's are in the first scan.
    """
    marker, content = frame
    pixels, finest = found.size.width * found.size.height, finest_draft(found.size)
    most = min(walk.limits.max_scans, walk.limits.max_megapixel_scans * 1_000_000 // pixels)
    if marker not in PROGRESSIVE and components == content[5] and most >= 1:
        # All is in the first scan; libjpeg reads no other.
        return walk.afforded(found, finest)
    samplings = [content[index] for index in range(7, 6 + 3 * content[5], 3)]
    if not 1 <= len(samplings) <= _MAX_COMPONENTS:
        raise BrokenOriginal(f"{len(samplings)} components")
    coefficients = int(_COEFFICIENT_BYTES * _samples_a_pixel(samplings) * pixels)
    scans = _count_scans(walk, most) if most else 1
    if scans > most:
        wrong = f"{found.size} in more than {most} scans"
        limits = f"max_scans = {walk.limits.max_scans}"
        limits += f" and max_megapixel_scans = {walk.limits.max_megapixel_scans} allow"
        raise OversizedOriginal(f"{wrong}, which is all that {limits}")
    found = Inspected(found.kind, found.size, found.pixel_bytes, coefficients, scans)
    return walk.afforded(found, finest)


def _samples_a_pixel(samplings: list[int]) -> float:
    """Return how many samples there are for a pixel, over all components.

    Args:
        samplings: of each component, how fine it is across (the upper half of a byte) and down.
    """
    across, down = [both >> 4 for both in samplings], [both & 15 for both in samplings]
    samples = sum(one * other for one, other in zip(across, down, strict=True))
    return samples / (max(1, *across) * max(1, *down))


def _count_scans(walk: Walk, most: int) -> int:
    """Return how many scans there are, from the first one's data on: at most one over the limit.

    Where the two bytes that begin a scan's header are rare, nothing else need be looked at.
    """
    begin = walk.file.tell()
    candidates, last = 1, b""
    while candidates <= most and (block := walk.file.read(_BLOCK_BYTES)):
        candidates += (last + block).count(b"\xff\xda")
        last = block[-1:]
    if candidates <= most:
        return candidates
    # Some may be in what another segment holds, or in another picture behind this one.
    walk.file.seek(begin)
    scans = 1
    for marker in _markers_between_scans(walk):
        scans += marker == SOS
        if scans > most:
            break
    return scans


def _markers_between_scans(walk: Walk) -> Iterator[int]:
    """Yield each segment's marker up to the end of the picture, as libjpeg would see them."""
    block, place = b"", 0
    while True:
        match = AFTER_A_SCAN.search(block, place)
        if match is None or match.end() + 2 > len(block):
            # What was passed already is not looked at again: it may end like a marker begins.
            rest = block[match.start() :] if match else block[max(place, len(block) - 1) :]
            fresh = walk.file.read(_BLOCK_BYTES)
            if not fresh:
                return
            block, place = rest + fresh, 0
            continue
        marker = match[1][0]
        if marker == EOI:
            return
        yield marker
        walk.count()
        place = match.end() + max(2, int.from_bytes(block[match.end() : match.end() + 2], "big"))
        if place > len(block):
            walk.skip(place - len(block))
            block, place = b"", 0


class _Decoder(JpegImagePlugin.JpegImageFile):
    """The first picture of a JPEG file, or of an MPO, whatever else the latter has."""

    is_cut = False
    reads_all = False
    """Whether no scan is passed over that is worth little, reduced."""
    _parts: Iterator[bytes] = iter(())
    """What is left to be read."""

    def _read_dpi_from_exif(self) -> None:
        """Do nothing: the density is not used, and Pillow's reader of EXIF data costs memory."""

    def load_prepare(self) -> None:
        """Find out where the last whole segment ends, for libjpeg gives up over half of one, and
        what is passed over.
        """
        super().load_prepare()
        assert self.fp is not None  # noqa: S101 - for mypy
        draft = self.decoderconfig[0] if self.decoderconfig else 1
        # As many bytes as the coefficients take, for which there is no memory needed yet.
        most = _COEFFICIENT_BYTES * draft**2 * self.width * self.height
        edits = [] if self.reads_all else edits_for(self.fp, draft, most)
        self._parts = _edited(self.fp, edits, _end_of_segments(self.fp))

    def load_read(self, _: int) -> bytes:
        """Read on; where there is no more, end the picture, so that libjpeg makes grey of the rest,
        or of a progressive one all that there is.
        """
        data = next(self._parts, b"")
        if data or self.is_cut:
            return data
        self.is_cut = True
        return b"\xff\xd9"

    def load_end(self) -> None:
        """Say that the end was missing."""
        if self.is_cut:
            raise OSError("ends too early")


def _edited(file: IO[bytes], edits: list[Edit], end: int) -> Iterator[bytes]:
    """Yield a file up to an end, some of it read otherwise."""
    begin = 0
    for edit in (*edits, Edit(end, end)):
        file.seek(begin)
        while begin < edit.begin and (data := file.read(min(_READ_BYTES, edit.begin - begin))):
            begin += len(data)
            yield data
        if edit.instead:
            yield edit.instead
        begin = edit.end


def _read_all(image: ImageFile.ImageFile) -> None:
    if isinstance(image, _Decoder):
        image.reads_all = True


def _end_of_segments(file: IO[bytes]) -> int:
    """Return where a file ends, but for the last segment where that is not whole."""
    end = file.seek(0, 2)
    begin = file.seek(max(0, end - _LONGEST_SEGMENT_BYTES))
    tail = file.read()
    if b"\xff\xd9" in tail:  # whatever is behind it
        return end
    place = 0
    while match := _SEGMENT.search(tail, place):
        place = match.end() + max(2, int.from_bytes(tail[match.end() : match.end() + 2], "big"))
        if place > len(tail):
            return begin + match.start()
    return end


def _shown(failed: ImageFile.ImageFile, _: BinaryIO) -> Shown | None:
    failed.tile = []
    if not isinstance(failed, _Decoder) or not failed.is_cut:
        return None
    # Where nothing was decoded, everything is of one grey but for the first blocks, which libjpeg
    # makes of bits that are not there.
    seen: Image.Image = failed
    draft = failed.decoderconfig[0] if failed.decoderconfig else 1
    if max(failed.size) > _FIRST_BLOCKS_PIXELS // draft:
        seen = failed.reduce(_FIRST_BLOCKS_PIXELS // draft)
        width, height = seen.size
        seen.paste(seen.crop((width - 1, height - 1, width, height)), (0, 0))
    return None if seen.getcolors(1) else Shown(failed, (0, 0, *failed.size))


def _saved_quality(image: Image.Image) -> int | None:
    """Return the quality at which libjpeg's own tables have as large steps on average; within a
    third of a point for what libjpeg wrote. Tables that are made otherwise, as mozjpeg's are, read
    lower.
    """
    steps = getattr(image, "quantization", {}).get(0)
    if steps is None:
        return None
    pairs = [
        (step, usual)
        for step, usual in zip(steps, _LIBJPEG_LUMA, strict=True)
        if 1 < step < _MAX_STEP
    ]
    if not pairs:
        return None  # of best or poorest quality
    percent: float = 100 * sum(step for step, _ in pairs) / sum(usual for _, usual in pairs)
    return max(1, round((200 - percent) / 2 if percent <= 100 else 5000 / percent))  # noqa: PLR2004


JPEG_ORIGINAL = OriginalFormat(
    format="jpeg",
    # An MPO, too, which is a JPEG with more pictures behind the first.
    matches=lambda head: head.startswith(b"\xff\xd8\xff"),
    inspect=_inspect,
    decoder=_Decoder,
    saved_quality=_saved_quality,
    shown=_shown,
    read_all=_read_all,
    max_draft=8,  # libjpeg's decoder reduces by itself, to a half, a quarter and an eighth
)


# Quantisation steps in natural order, at setting 1000. Those of jpegli at its quality 60, each
# times 0.7 for the lowest frequency to 1.7 for the highest, in proportion to row plus column. At
# equal SSIMULACRA2, 640 pixels wide, files weigh 0.82 of those with libjpeg's own tables at its
# quality 40, 0.86 at 60, 0.90 at 78 and 0.92 at 90, in a third of the time; jpegli's 0.93 to 0.95,
# for its binding writes neither Huffman tables of its own nor scans (benchmarks/encoders.py). One
# scan: ten weigh 2 % more at 40 and 1 % less at 78, and take twice as long; of smaller pictures
# they weigh 7 % more. 4:2:0: 4:4:4 weighs a fifth more at one score. Not optimised: to 10 %.
_TILT = 0.5
_JPEGLI_LUMA = (
    (10, 9, 17, 17, 26, 27, 30, 30),
    (9, 12, 17, 19, 27, 25, 32, 32),
    (17, 17, 20, 23, 27, 31, 30, 33),
    (17, 19, 23, 27, 33, 35, 35, 36),
    (26, 27, 27, 33, 36, 39, 44, 43),
    (27, 25, 31, 35, 39, 43, 40, 48),
    (30, 32, 30, 35, 44, 40, 43, 42),
    (30, 32, 33, 36, 43, 48, 42, 34),
)
_JPEGLI_CHROMA = (
    (9, 7, 15, 14, 21, 20, 23, 25),
    (7, 11, 15, 14, 19, 17, 22, 23),
    (15, 15, 17, 15, 18, 20, 21, 24),
    (14, 14, 15, 17, 21, 20, 21, 25),
    (21, 19, 18, 21, 17, 25, 19, 24),
    (20, 17, 20, 20, 25, 22, 25, 37),
    (23, 22, 21, 21, 19, 25, 40, 36),
    (25, 23, 24, 25, 24, 37, 36, 255),
)
_LIBJPEG_LUMA = (
    16, 11, 10, 16, 24, 40, 51, 61,
    12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77,
    24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
"""At quality 50 (ITU-T T.81, table K.1)."""
_MAX_STEP = 255  # a step is one byte in baseline JPEG


@lru_cache(maxsize=256)
def jpeg_tables(setting: int) -> tuple[list[int], list[int]]:
    """Return the quantisation tables of a setting, luma and chroma, in natural order."""
    factor = _SETTING_OF_THE_TABLES / setting
    return _scaled(_LUMA, factor), _scaled(_CHROMA, factor)


def _write(image: Image.Image, setting: int, exif: bytes, *, subsampling: str = "4:2:0") -> bytes:
    tables = jpeg_tables(setting)
    used = tables[:1] if image.mode == "L" else tables
    return saved(image, "JPEG", qtables=used, subsampling=subsampling, optimize=True, exif=exif)


def _scaled(table: list[float], factor: float) -> list[int]:
    return [min(max(round(step * factor), 1), _MAX_STEP) for step in table]


def _tilted(table: tuple[tuple[int, ...], ...]) -> list[float]:
    longest = 2 * (len(table) - 1)
    return [
        step * (1 + _TILT * (2 * (row + column) / longest - 0.6))
        for row, steps in enumerate(table)
        for column, step in enumerate(steps)
    ]


_LUMA, _CHROMA = _tilted(_JPEGLI_LUMA), _tilted(_JPEGLI_CHROMA)
_SETTING_OF_THE_TABLES = 1000

_VERSION = f"libjpeg-turbo {features.version('libjpeg_turbo')}"
JPEG_ENCODER = Encoder("jpeg", _VERSION, keeps_alpha=False, max_setting=60_000, write=_write)
# Coloured letters and lines are blurred otherwise: 2 to 23 points.
JPEG_GRAPHICS = replace(JPEG_ENCODER, write=partial(_write, subsampling="4:4:4"))
