"""The few EXIF tags that count, read without taking the rest apart, and written.

Pillow's own reader copies every value of the directory, and several may be the same bytes: 64 kB
can become 90 MB. This one looks at the entries wanted, and at nothing else.
"""

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from PIL import Image

ORIENTATION, ARTIST, COPYRIGHT = 0x0112, 0x013B, 0x8298

EXIF_PREFIX = b"Exif\0\0"
"""Before EXIF data in a JPEG; other formats do without."""
TIFF_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_ASCII = 2
_WHOLE_NUMBERS = {1: "B", 3: "H", 4: "I"}
_ENTRY_BYTES = 12
_INLINE_BYTES = 4
"""A value that is no longer stands in its entry."""

UPRIGHT = 1


class Orientation(NamedTuple):
    """How a picture is stored: first mirrored, then with columns and rows exchanged."""

    is_mirrored_across: bool
    is_mirrored_down: bool
    is_lying: bool
    """Stored columns are displayed rows."""
    upright: Image.Transpose | None
    """What undoes it."""


ORIENTATIONS = {
    1: Orientation(False, False, False, None),
    2: Orientation(True, False, False, Image.Transpose.FLIP_LEFT_RIGHT),
    3: Orientation(True, True, False, Image.Transpose.ROTATE_180),
    4: Orientation(False, True, False, Image.Transpose.FLIP_TOP_BOTTOM),
    5: Orientation(False, False, True, Image.Transpose.TRANSPOSE),
    6: Orientation(True, False, True, Image.Transpose.ROTATE_270),
    7: Orientation(True, True, True, Image.Transpose.TRANSVERSE),
    8: Orientation(False, True, True, Image.Transpose.ROTATE_90),
}
"""By EXIF's number (CIPA DC-008, table 6)."""

_MAX_CHARACTERS = 1000
"""Of copyright and artist each: no notice is longer, and formats have room for 64 kB at most."""

_IN_XMP = re.compile(r'tiff:Orientation(?:="|>)([0-9])')


@dataclass(frozen=True)
class Exif:
    """What EXIF data, or the XMP in its place, says of a picture."""

    orientation: int = UPRIGHT
    """1 to 8; 1 where it is absent or nonsense."""
    copyright: tuple[tuple[int, str], ...] = ()
    """Tags and texts: copyright and artist."""


def exif_in(info: Mapping[Any, Any], max_bytes: int) -> Exif:
    """Read what a decoder of Pillow's found; longer EXIF data counts as absent."""
    xmp = info.get("xmp") or ""
    if isinstance(xmp, bytes):
        xmp = xmp.decode("latin-1")
    return read_exif(binary_in(info, "exif", max_bytes), xmp)


def binary_in(info: Mapping[Any, Any], name: str, max_bytes: int) -> bytes:
    """Return binary data that a decoder of Pillow's found; empty where it is longer, or is a text,
    because Pillow keeps a PNG's texts beside it, by names that the file gives them.
    """
    data = info.get(name)
    return data if isinstance(data, bytes) and len(data) <= max_bytes else b""


def read_exif(data: bytes, xmp: str = "") -> Exif:
    """Read the tags that count. Whatever is broken counts as absent.

    Args:
        data: a TIFF header and its directories; `Exif` and two zeros may come first.
        xmp: read where the data has no orientation.
    """
    found = dict(_tags(data.removeprefix(EXIF_PREFIX)))
    orientation = found.get(ORIENTATION)
    if orientation is None and (match := _IN_XMP.search(xmp)):
        orientation = int(match[1])
    if not isinstance(orientation, int) or orientation not in ORIENTATIONS:
        orientation = UPRIGHT
    texts = ((tag, found.get(tag)) for tag in (COPYRIGHT, ARTIST))
    return Exif(
        orientation,
        tuple((tag, text[:_MAX_CHARACTERS]) for tag, text in texts if isinstance(text, str)),
    )


def _tags(data: bytes) -> Iterator[tuple[int, int | str]]:
    """Yield tag and value of the wanted entries of the first directory (TIFF 6.0, section 2)."""
    order = TIFF_ORDERS.get(data[:4])
    if order is None:
        return
    try:
        (directory,) = struct.unpack_from(f"{order}I", data, 4)
        (entries,) = struct.unpack_from(f"{order}H", data, directory)
        for number in range(entries):
            entry = directory + 2 + number * _ENTRY_BYTES
            tag, kind, count = struct.unpack_from(f"{order}HHI", data, entry)
            if tag in {ORIENTATION, ARTIST, COPYRIGHT}:
                value = _value(data, order, entry + 8, kind, count)
                if value:
                    yield tag, value
    except struct.error:
        return  # the end came early; what was found before counts


def _value(data: bytes, order: str, place: int, kind: int, count: int) -> int | str | None:
    """Return a whole number or a text; None for all else."""
    if kind in _WHOLE_NUMBERS and count == 1:
        (number,) = struct.unpack_from(f"{order}{_WHOLE_NUMBERS[kind]}", data, place)
        return int(number)
    if kind != _ASCII:
        return None
    if count > _INLINE_BYTES:
        (place,) = struct.unpack_from(f"{order}I", data, place)
    if place + count > len(data):
        return None
    text = data[place : place + min(count, _MAX_CHARACTERS + 1)]
    return text.removesuffix(b"\0").decode("latin-1")


def write_exif(texts: tuple[tuple[int, str], ...], orientation: int = UPRIGHT) -> bytes:
    """Return EXIF data with these tags and texts, an orientation where the picture is not upright,
    and nothing else; empty where that is nothing. It begins with `EXIF_PREFIX`.
    """
    # As they were read: Pillow itself would write a question mark for all that is not ASCII.
    tags: dict[int, int | bytes] = {tag: text.encode("latin-1") for tag, text in texts}
    if orientation != UPRIGHT:
        tags[ORIENTATION] = orientation
    if not tags:
        return b""
    exif = Image.Exif()
    exif.update(tags)
    return exif.tobytes()
