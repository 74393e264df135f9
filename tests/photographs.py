"""Small photographs of kinds that nothing here can write: HEIFs and raw ones, put together in code.

All show the same scene: red, green, blue and white quarters, from the upper left one.
"""

import base64
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_HEVC = {
    "vps": "QAEMAf//BAgAAAMAn6gAAAMAAB66AkA=",
    "sps": "QgEBBAgAAAMAn6gAAAMAAB6gIIMWW6uTK5uAhoCCAAADAAIAAAMAMhA=",
    "pps": "RAHBc8CJ",
    "slice": "KAGvCeAjYz/+Yzf/y87L16ntxOgVWYQ0lfaWK/3ZH9jkrGZuaStuvpU7qRAr7w/sPtYn3+Q4"
    "T/sVUsTChRlekkVQVWl1jbYNB62w56e02qIguwhN+hLLRcW8PCE/h0rEfw/iiLADl8INzXg=",
}
"""The scene at 64x48, encoded by x265 as main still picture: 4:2:0, BT.709, full range."""
SCENE_SIZE = (64, 48)


def _nal(name: str) -> bytes:
    return base64.b64decode(_HEVC[name])


def box(kind: bytes, *parts: bytes) -> bytes:
    """Write a box as of ISO/IEC 14496-12."""
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full_box(kind: bytes, *parts: bytes, version: int = 0, flags: int = 0) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def hevc_configuration() -> bytes:
    """Write the hvcC of the scene."""
    sps = _nal("sps")
    arrays = b"".join(
        struct.pack(">BHH", 0x80 | kind, 1, len(_nal(name))) + _nal(name)
        for kind, name in ((32, "vps"), (33, "sps"), (34, "pps"))
    )
    # Profile, compatibility, constraints and level stand in the SPS without escapes, mostly.
    return box(
        b"hvcC",
        bytes([1, 3]) + b"\x70\0\0\0" + b"\x90\0\0\0\0\0" + bytes([sps[13] or 30]),
        b"\xf0\0\xfc\xfd\xf8\xf8\0\0\x0f" + bytes([3]),
        arrays,
    )


@dataclass(frozen=True)
class Item:
    """An item of a HEIF: its data, and its properties by their boxes."""

    kind: bytes
    data: bytes
    properties: Sequence[bytes]
    hidden: bool = False


def scene_item(*more: bytes, hidden: bool = False) -> Item:
    """Return the scene as an item."""
    coded = _nal("slice")
    return Item(
        b"hvc1",
        struct.pack(">I", len(coded)) + coded,
        (hevc_configuration(), extent(*SCENE_SIZE), *more),
        hidden,
    )


def extent(width: int, height: int) -> bytes:
    return full_box(b"ispe", struct.pack(">II", width, height))


def turned(quarters: int) -> bytes:
    """Turn anticlockwise."""
    return box(b"irot", bytes([quarters]))


def icc(profile: bytes) -> bytes:
    return box(b"colr", b"prof", profile)


def grid_item(columns: int, rows: int, width: int, height: int) -> Item:
    data = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, width, height)
    return Item(b"grid", data, (extent(width, height),))


def heif(
    items: Sequence[Item] = (),
    *,
    primary: int = 1,
    references: Mapping[tuple[bytes, int], Sequence[int]] | None = None,
    brands: bytes = b"mif1heic",
    major: bytes = b"heic",
) -> bytes:
    """Write a HEIF. Items are counted from 1; references are by kind and the item that has them."""
    items = items or [scene_item()]
    properties = list(dict.fromkeys(each for item in items for each in item.properties))
    rows = b""
    for number, item in enumerate(items, 1):
        marks = bytes(
            (properties.index(each) + 1) | (0x80 if each[4:8] in {b"hvcC", b"irot"} else 0)
            for each in item.properties
        )
        rows += struct.pack(">HB", number, len(marks)) + marks
    infos = b"".join(
        full_box(
            b"infe",
            struct.pack(">HH4s", number, 0, item.kind) + b"\0",
            version=2,
            flags=item.hidden,
        )
        for number, item in enumerate(items, 1)
    )
    links = b"".join(
        box(kind, struct.pack(f">HH{len(to)}H", start, len(to), *to))
        for (kind, start), to in (references or {}).items()
    )
    start_of_file = box(b"ftyp", major, bytes(4), brands)

    def meta(data_at: int) -> bytes:
        places = b""
        for number, item in enumerate(items, 1):
            places += struct.pack(">HHHII", number, 0, 1, data_at, len(item.data))
            data_at += len(item.data)
        return full_box(
            b"meta",
            full_box(b"hdlr", bytes(4), b"pict", bytes(13)),
            full_box(b"pitm", struct.pack(">H", primary)),
            full_box(b"iloc", b"\x44\0", struct.pack(">H", len(items)), places),
            full_box(b"iinf", struct.pack(">H", len(items)), infos),
            full_box(b"iref", links) if links else b"",
            box(
                b"iprp",
                box(b"ipco", *properties),
                full_box(b"ipma", struct.pack(">I", len(items)), rows),
            ),
        )

    data_at = len(start_of_file) + len(meta(0)) + 8
    return start_of_file + meta(data_at) + box(b"mdat", *(item.data for item in items))


_SHORT, _LONG, _RATIONAL, _SIGNED_RATIONAL, _BYTE, _ASCII = 3, 4, 5, 10, 1, 2
_LETTERS = {_SHORT: "H", _LONG: "I", _RATIONAL: "I", _SIGNED_RATIONAL: "i", _BYTE: "B", _ASCII: "B"}

Tag = tuple[int, Sequence[int]]


def dng(
    width: int = 256,
    height: int = 192,
    *,
    orientation: int = 1,
    preview: bytes = b"",
    more: Mapping[int, Tag] | None = None,
) -> bytes:
    """Write a DNG of the scene: a sensor's values of 16 bits, red in its upper left corner.

    Args:
        width: Of the sensor.
        height: Of the sensor.
        orientation: As of EXIF.
        preview: A JPEG, as cameras put one beside.
        more: Further tags, or others in the place of some.
    """
    values = b"".join(
        struct.pack("<H", _sensed(x, y, width, height)) for y in range(height) for x in range(width)
    )
    # sRGB's own matrix, from XYZ: a camera that sees as screens show.
    matrix = [32405, -15371, -4985, -9693, 18760, 416, 556, -2040, 10572]
    colours = [part for number in matrix for part in (number, 10000)]
    tags: dict[int, Tag] = {
        0x00FE: (_LONG, [0]),
        0x0100: (_LONG, [width]),
        0x0101: (_LONG, [height]),
        0x0102: (_SHORT, [16]),
        0x0103: (_SHORT, [1]),
        0x0106: (_SHORT, [32803]),
        0x010F: (_ASCII, list(b"Maker\0")),
        0x0110: (_ASCII, list(b"Model\0")),
        0x0111: (_LONG, [8]),
        0x0112: (_SHORT, [orientation]),
        0x0115: (_SHORT, [1]),
        0x0116: (_LONG, [height]),
        0x0117: (_LONG, [len(values)]),
        0x828D: (_SHORT, [2, 2]),
        0x828E: (_BYTE, [0, 1, 1, 2]),
        0xC612: (_BYTE, [1, 4, 0, 0]),
        0xC614: (_ASCII, list(b"Maker Model\0")),
        0xC61A: (_SHORT, [0]),
        0xC61D: (_SHORT, [65535]),
        0xC621: (_SIGNED_RATIONAL, colours),
        0xC628: (_RATIONAL, [1, 1, 1, 1, 1, 1]),
        0xC65A: (_SHORT, [21]),
    }
    if preview:
        tags |= {0x014A: (_LONG, [0])}
    tags |= dict(more or {})
    # Directories first, as cameras have it; they are as long wherever the data is.
    at = 8 + len(_directory(tags, 8))
    second: dict[int, Tag] = {
        0x00FE: (_LONG, [1]),
        0x0100: (_LONG, [1]),
        0x0101: (_LONG, [1]),
        0x0103: (_SHORT, [7]),
        0x0106: (_SHORT, [6]),
        0x0111: (_LONG, [0]),
        0x0117: (_LONG, [len(preview)]),
    }
    preview_at = at + (len(_directory(second, at)) if preview else 0)
    second[0x0111] = (_LONG, [preview_at])
    tags[0x0111] = (_LONG, [preview_at + len(preview)])
    if preview:
        tags[0x014A] = (_LONG, [at])
    return (
        struct.pack("<2sHI", b"II", 42, 8)
        + _directory(tags, 8)
        + (_directory(second, at) + preview if preview else b"")
        + values
    )


def _sensed(x: int, y: int, width: int, height: int) -> int:
    """Return what the sensor saw through its red, green or blue filter."""
    filtered = (y % 2) + (x % 2)
    right, below = x >= width // 2, y >= height // 2
    seen = {(False, False): {0}, (True, False): {1}, (False, True): {2}, (True, True): {0, 1, 2}}
    return 50000 if filtered in seen[right, below] else 1000


def _directory(tags: Mapping[int, Tag], at: int) -> bytes:
    entries, values = b"", b""
    values_at = at + 2 + 12 * len(tags) + 4
    for tag, (kind, numbers) in sorted(tags.items()):
        data = struct.pack(f"<{len(numbers)}{_LETTERS[kind]}", *numbers)
        count = len(numbers) // (2 if kind in {_RATIONAL, _SIGNED_RATIONAL} else 1)
        if len(data) <= 4:
            place = data.ljust(4, b"\0")
        else:
            place = struct.pack("<I", values_at + len(values))
            values += data + bytes(len(data) % 2)
        entries += struct.pack("<HHI", tag, kind, count) + place
    return struct.pack("<H", len(tags)) + entries + bytes(4) + values
