"""JPEG without metadata: what decoding needs, up to the end of the first picture."""

import re
from collections.abc import Iterator

from imgprocessor.errors import BrokenOriginal
from imgprocessor.images.clean.extras import Extras
from imgprocessor.images.clean.parts import Cleaned, Cursor, Part
from imgprocessor.images.formats.jpeg_scans import (
    AFTER_A_SCAN,
    APP1,
    APP15,
    COM,
    DQT,
    EOI,
    FRAMES,
    PROGRESSIVE,
    RST0,
    RST7,
    SOS,
    TEM,
)

_APP0, _APP2, _APP13, _APP14 = 0xE0, 0xE2, 0xED, 0xEE
_DHT, _DAC, _DNL, _DRI = 0xC4, 0xCC, 0xDC, 0xDD
_TABLES = {_DHT, _DAC, DQT, _DRI}

_LENGTH_BYTES = 2
"""At the beginning of a segment's content; they count themselves."""
_MARKER = re.compile(rb"\xff([\x01-\xfe])")
"""Outside of scans: what stands before it is passed over by libjpeg, too."""

_FILL = re.compile(rb"\xff{2,}")
"""Any number of these may stand before a marker. Whenever a decoder gets more of them, it looks at
all anew: 30 MB take 11 seconds.
"""

_JFIF, _JFIF_BYTES = b"JFIF\0", 14
_ADOBE, _ADOBE_BYTES = b"Adobe", 12
"""How long these are without a thumbnail or other data behind; libjpeg ignores shorter ones."""
_PROFILE = b"ICC_PROFILE\0"
_PROFILE_HEAD_BYTES = len(_PROFILE) + 2
"""A number, from 1, and how many parts there are, before each part of a profile (ICC.1, B.4)."""

_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_IPTC = b"Photoshop 3.0\x008BIM\4\4\0\0"
"""Up to the length of the IIM data, which is one of Photoshop's resources."""

_Segment = tuple[int, memoryview]


def clean_jpeg(file: bytes, extras: Extras, *, keep_profile: bool) -> Cleaned:
    """Keep frame header, scans and the tables that they use as they are, and what decides about
    colours: JFIF without its thumbnail, Adobe's transform, and the profile if it is whole.

    What stands in a scan behind its last coefficient is kept: only decoding would find it.
    """
    metadata: list[_Segment] = []
    kept: list[Part] = []
    before_scan: list[_Segment] = []
    frames = scans = 0
    is_whole = False
    cursor = Cursor(file)
    cursor.take(2)
    for marker, content in _coded(cursor, metadata):
        frames += marker in FRAMES
        if marker != SOS:
            before_scan.append((marker, content))
            continue
        if frames != 1:
            raise BrokenOriginal(f"{frames} frame headers before a scan")
        scans += 1
        segments, before_scan = [*_used(before_scan, cursor), (marker, content)], []
        data = _scan_data(cursor)
        if not is_whole:
            kept += [part for segment in segments for part in (_head(*segment), segment[1])]
            kept.append(_without_fill(data))
        is_whole = is_whole or _has_all(segments)
    if not scans or frames != 1:
        raise BrokenOriginal(f"{scans} scans, {frames} frame headers")
    head = _metadata(metadata, extras, keep_profile=keep_profile)
    return Cleaned(b"".join((b"\xff\xd8", *head, *kept, b"\xff\xd9")), is_animated=False)


def scans_in(file: bytes) -> list[tuple[int, int]]:
    """Return where the data of each scan of a cleaned file begin, and where they end."""
    cursor = Cursor(file)
    cursor.take(2)
    found = []
    for marker, _ in _segments(cursor):
        if marker == SOS:
            begin = cursor.place
            _scan_data(cursor)
            found.append((begin, cursor.place))
    return found


def _coded(cursor: Cursor, metadata: list[_Segment]) -> Iterator[_Segment]:
    """Yield the segments that decoding needs; gather those beside them that may be kept."""
    is_before_pixels = True
    for marker, content in _segments(cursor):
        if _APP0 <= marker <= APP15 or marker == COM:
            if is_before_pixels:  # libjpeg decides about colours at the first scan
                metadata.append((marker, content))
        elif marker in _TABLES | FRAMES | {SOS}:
            is_before_pixels &= marker != SOS
            yield marker, content
        elif marker != _DNL:  # libjpeg passes over it: the frame header says the height
            raise BrokenOriginal(f"a segment {marker:#x}, which no decoder knows")


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


def _used(segments: list[_Segment], cursor: Cursor) -> list[_Segment]:
    """Return the segments before a scan: as they are, or, where a table is defined twice, each
    table by itself as it is defined last, which alone is used.
    """
    last: dict[tuple[int, int], _Segment] = {}
    count = 0
    for marker, content in segments:
        tables = Cursor(content, cursor.reads)
        while tables.left:
            begin = tables.place
            number = content[begin]
            if marker == DQT:
                tables.take(65 if number < 0x10 else 129)  # noqa: PLR2004 - 16 bits a step
                number &= 0xF
            elif marker == _DHT:
                tables.take(sum(tables.take(17)[1:]))
            else:
                tables.take(tables.left)
                number = 0
            last.pop((marker, number), None)
            last[marker, number] = marker, content[begin : tables.place]
            count += 1
    return segments if count == len(last) else list(last.values())


def _has_all(segments: list[_Segment]) -> bool:
    """Return whether the scan at the end of these segments is the whole picture: libjpeg reads no
    other then.
    """
    _, scan = segments[-1]
    return any(
        marker in FRAMES - PROGRESSIVE and scan[0] == content[5] for marker, content in segments
    )


def _scan_data(cursor: Cursor) -> memoryview:
    """Return entropy-coded data with its restart markers."""
    match = AFTER_A_SCAN.search(cursor.file, cursor.place)
    if match is None:
        raise BrokenOriginal("ends in a scan")
    return cursor.take(match.start() - cursor.place)


def _without_fill(data: memoryview) -> Part:
    if bytes(data[-1:]) != b"\xff" and _FILL.search(data) is None:
        return data
    return _FILL.sub(b"\xff", data).rstrip(b"\xff")


def _metadata(segments: list[_Segment], extras: Extras, *, keep_profile: bool) -> Iterator[bytes]:
    """Yield the segments that are written before all others."""

    def found(wanted: int, name: bytes, least_bytes: int) -> list[bytes]:
        return [
            bytes(content)
            for marker, content in segments
            if marker == wanted and content[: len(name)] == name and len(content) >= least_bytes
        ]

    for jfif in found(_APP0, _JFIF, _JFIF_BYTES)[:1]:
        yield _segment(_APP0, jfif[: _JFIF_BYTES - 2] + b"\0\0")
    if extras.exif:
        yield _segment(APP1, extras.exif)
    if extras.xmp:
        yield _segment(APP1, _XMP + extras.xmp)
    if extras.iptc:
        resource = _IPTC + len(extras.iptc).to_bytes(4, "big") + extras.iptc
        yield _segment(_APP13, resource + bytes(len(resource) % 2))
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
