"""JPEG without metadata: what decoding needs, up to the end of the first picture."""

import re
from collections.abc import Iterator

from imgprocessor.errors import BrokenOriginal
from imgprocessor.images.clean.parts import Cleaned, Cursor, Part
from imgprocessor.images.formats.jpeg import (
    AFTER_A_SCAN,
    APP1,
    APP15,
    COM,
    EOI,
    FRAMES,
    RST0,
    RST7,
    SOS,
    TEM,
)

_APP0, _APP2, _APP14 = 0xE0, 0xE2, 0xEE
_DHT, _DAC, _DQT, _DNL, _DRI = 0xC4, 0xCC, 0xDB, 0xDC, 0xDD
_TABLES = {_DHT, _DAC, _DQT, _DRI}

_LENGTH_BYTES = 2
"""At the beginning of a segment's content; they count themselves."""
_MARKER = re.compile(rb"\xff([\x01-\xfe])")
"""Outside of scans: what stands before it is passed over by libjpeg, too."""

_JFIF, _JFIF_BYTES = b"JFIF\0", 14
_ADOBE, _ADOBE_BYTES = b"Adobe", 12
"""How long these are without a thumbnail or other data behind; libjpeg ignores shorter ones."""
_PROFILE = b"ICC_PROFILE\0"
_PROFILE_HEAD_BYTES = len(_PROFILE) + 2
"""A number, from 1, and how many parts there are, before each part of a profile (ICC.1, B.4)."""

_Segment = tuple[int, memoryview]


def clean_jpeg(file: bytes, exif: bytes, *, keep_profile: bool) -> Cleaned:
    """Keep frame header, tables and scans as they are, and what decides about colours: JFIF
    without its thumbnail, Adobe's transform, and the profile if it is whole.

    What stands in a scan behind its last coefficient is kept: only decoding would find it.
    """
    metadata: list[_Segment] = []
    kept: list[Part] = []
    frames = scans = 0
    cursor = Cursor(file)
    cursor.take(2)
    for marker, content in _segments(cursor):
        if _APP0 <= marker <= APP15 or marker == COM:
            if not scans:  # libjpeg decides about colours at the first scan
                metadata.append((marker, content))
            continue
        if marker == _DNL:  # libjpeg passes over it: the frame header says the height
            continue
        if marker not in _TABLES | FRAMES | {SOS}:
            raise BrokenOriginal(f"a segment {marker:#x}, which no decoder knows")
        kept += [_head(marker, content), content]
        frames += marker in FRAMES
        if marker == SOS:
            if frames != 1:
                raise BrokenOriginal(f"{frames} frame headers before a scan")
            scans += 1
            kept.append(_scan_data(cursor))
    if not scans or frames != 1:
        raise BrokenOriginal(f"{scans} scans, {frames} frame headers")
    head = _metadata(metadata, exif, keep_profile=keep_profile)
    return Cleaned(b"".join((b"\xff\xd8", *head, *kept, b"\xff\xd9")), is_animated=False)


def _segments(cursor: Cursor) -> Iterator[_Segment]:
    """Yield marker and content of each segment, up to the end of the picture. Whoever takes the
    header of a scan must take its data, too, before the next.
    """
    while True:
        match = _MARKER.search(cursor.file, cursor.place)
        if match is None:
            raise BrokenOriginal("ends before its picture does")
        marker = match[1][0]
        cursor.place = match.end()
        if marker == EOI:
            return
        if marker == TEM or RST0 <= marker <= RST7:
            cursor.take(0)  # counted
            continue
        length = int.from_bytes(cursor.take(_LENGTH_BYTES), "big")
        if length < _LENGTH_BYTES:
            raise BrokenOriginal(f"a segment of {length} bytes")
        yield marker, cursor.take(length - _LENGTH_BYTES)


def _scan_data(cursor: Cursor) -> memoryview:
    """Return entropy-coded data with its restart markers."""
    match = AFTER_A_SCAN.search(cursor.file, cursor.place)
    if match is None:
        raise BrokenOriginal("ends in a scan")
    return cursor.take(match.start() - cursor.place)


def _metadata(segments: list[_Segment], exif: bytes, *, keep_profile: bool) -> Iterator[bytes]:
    """Yield the segments that are written before all others."""

    def found(wanted: int, name: bytes, least_bytes: int) -> list[bytes]:
        return [
            bytes(content)
            for marker, content in segments
            if marker == wanted and content[: len(name)] == name and len(content) >= least_bytes
        ]

    for jfif in found(_APP0, _JFIF, _JFIF_BYTES)[:1]:
        yield _segment(_APP0, jfif[: _JFIF_BYTES - 2] + b"\0\0")
    if exif:
        yield _segment(APP1, exif)
    profile = found(_APP2, _PROFILE, _PROFILE_HEAD_BYTES)
    if keep_profile and _is_whole(profile):
        yield from (_segment(_APP2, part) for part in sorted(profile))
    for adobe in found(_APP14, _ADOBE, _ADOBE_BYTES)[-1:]:
        yield _segment(_APP14, adobe[:_ADOBE_BYTES])


def _is_whole(profile: list[bytes]) -> bool:
    heads = sorted(part[len(_PROFILE) : _PROFILE_HEAD_BYTES] for part in profile)
    return heads == [bytes((number + 1, len(heads))) for number in range(len(heads))]


def _segment(marker: int, content: bytes) -> bytes:
    return _head(marker, content) + content


def _head(marker: int, content: Part) -> bytes:
    return bytes((0xFF, marker)) + (_LENGTH_BYTES + len(content)).to_bytes(_LENGTH_BYTES, "big")
