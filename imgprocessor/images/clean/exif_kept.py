"""EXIF data written anew from a list of tags that say nothing of the place.

Everything else goes: positions, makers' notes, which may have one, thumbnails, comments, and what
is not known here.
"""

import contextlib
import struct
from dataclasses import dataclass

from imgprocessor.images.formats.exif import (
    ARTIST,
    COPYRIGHT,
    EXIF_PREFIX,
    ORIENTATION,
    TIFF_ORDERS,
    UPRIGHT,
)

_EXIF_DIRECTORY = 0x8769
_TITLE, _AUTHOR, _SUBJECT = 0x9C9B, 0x9C9D, 0x9C9F
"""Windows' own, in UTF-16."""
_PICTURE_TAGS = {
    *(0x010E, 0x010F, 0x0110, 0x0131, 0x0132, ARTIST, COPYRIGHT),  # what, with what, when, whose
    *(0x011A, 0x011B, 0x0128, 0x0213),  # density, and where samples of colour lie
    *(0x4746, _TITLE, _AUTHOR, _SUBJECT),
}
_CAMERA_TAGS = {
    *(0x829A, 0x829D, 0x8822, 0x8827, 0x8830, 0x8831, 0x8832, 0x8833),  # exposure, sensitivity
    *(0x9000, 0x9003, 0x9004, 0x9010, 0x9011, 0x9012, 0x9290, 0x9291, 0x9292),  # version, times
    *(0x9101, 0x9102, *range(0x9201, 0x920B)),  # coding, shutter to focal length
    *(0xA000, 0xA001, 0xA002, 0xA003),  # colours, sides
    *(0xA20B, 0xA20E, 0xA20F, 0xA210, 0xA215, 0xA217, 0xA300, 0xA301),  # sensor
    *(*range(0xA401, 0xA409), 0xA40A, 0xA40C),  # modes
    *(0xA420, *range(0xA430, 0xA436)),  # owner, serial numbers, lens
}
"""By number (CIPA DC-008, tables 4 to 12). The part of the picture that is its subject
(SubjectLocation) stays out, too, for the sake of its name; pressure, for the height in it.
"""

_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
"""Of one value, by its type."""
_ASCII, _SHORT, _LONG = 2, 3, 4
_HEAD_BYTES, _ENTRY_BYTES, _INLINE_BYTES = 8, 12, 4
_MAX_ENTRIES = 500
"""In a directory. Cameras write 60."""
_MAX_TEXT_BYTES, _MAX_VALUE_BYTES = 2000, 64
"""Of a text, which is cut, and of anything else, which is dropped."""
_MAX_BYTES = 65_000


@dataclass(frozen=True)
class _Entry:
    tag: int
    type: int
    count: int
    value: bytes
    """In the order of bytes that the data has."""


def kept_exif(data: bytes, orientation: int) -> bytes:
    """Return EXIF data with what may stay of others, and an orientation where the picture is not
    upright; empty where that is nothing. What is broken counts as absent.

    It begins with `EXIF_PREFIX`. Where it would have no room in a JPEG it is empty, too.
    """
    tiff = _Tiff(data.removeprefix(EXIF_PREFIX))
    order = tiff.order
    first = tiff.entries(tiff.place(4))
    pointer = first.get(_EXIF_DIRECTORY)
    camera = tiff.entries(tiff.place_in(pointer.value)) if pointer is not None else {}
    picture = [entry for tag, entry in first.items() if tag in _PICTURE_TAGS]
    kept_of_camera = [entry for tag, entry in camera.items() if tag in _CAMERA_TAGS]
    if orientation != UPRIGHT:
        picture.append(_Entry(ORIENTATION, _SHORT, 1, struct.pack(f"{order}H", orientation)))
    if not picture and not kept_of_camera:
        return b""
    written = b""
    if kept_of_camera:
        picture.append(_Entry(_EXIF_DIRECTORY, _LONG, 1, bytes(4)))  # for its length
        begin = _HEAD_BYTES + len(_directory(picture, order, _HEAD_BYTES))
        picture[-1] = _Entry(_EXIF_DIRECTORY, _LONG, 1, struct.pack(f"{order}I", begin))
        written = _directory(kept_of_camera, order, begin)
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", _HEAD_BYTES)
    kept = EXIF_PREFIX + head + _directory(picture, order, _HEAD_BYTES) + written
    return kept if len(kept) <= _MAX_BYTES else b""


class _Tiff:
    """A header and directories (TIFF 6.0, section 2), of which the wanted entries are looked at."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.order = TIFF_ORDERS.get(data[:4], "<")
        """Of bytes."""

    def place(self, at: int) -> int:
        """Return where something is, as is said at a place; beyond the end where nothing is."""
        return self.place_in(self._data[at : at + 4])

    def place_in(self, value: bytes) -> int:
        """Return the same of a value."""
        if len(value) != _INLINE_BYTES:
            return len(self._data)
        (place,) = struct.unpack(f"{self.order}I", value)
        return int(place)

    def entries(self, directory: int) -> dict[int, _Entry]:
        """Return the entries of a directory by tag, those that are whole and short enough."""
        found = {}
        with contextlib.suppress(struct.error):  # the end came early; what was found before counts
            (count,) = struct.unpack_from(f"{self.order}H", self._data, directory)
            for number in range(min(count, _MAX_ENTRIES)):
                entry = self._entry(directory + 2 + number * _ENTRY_BYTES)
                if entry is not None:
                    found[entry.tag] = entry
        return found

    def _entry(self, place: int) -> _Entry | None:
        tag, kind, count = struct.unpack_from(f"{self.order}HHI", self._data, place)
        length, place = _BYTES.get(kind, 0) * count, place + 8
        if not length or tag not in _PICTURE_TAGS | _CAMERA_TAGS | {_EXIF_DIRECTORY}:
            return None
        if length > _INLINE_BYTES:
            place = self.place(place)
        if place + length > len(self._data):
            return None
        if kind == _ASCII:
            text = self._data[place : place + min(length, _MAX_TEXT_BYTES)].partition(b"\0")[0]
            return _Entry(tag, kind, len(text) + 1, text + b"\0") if text else None
        if length > (_MAX_TEXT_BYTES if tag in {_TITLE, _AUTHOR, _SUBJECT} else _MAX_VALUE_BYTES):
            return None
        return _Entry(tag, kind, count, self._data[place : place + length])


def _directory(entries: list[_Entry], order: str, begin: int) -> bytes:
    """Return a directory that stands at `begin`, with the values that belong to it."""
    place = begin + 2 + len(entries) * _ENTRY_BYTES + 4
    head = [struct.pack(f"{order}H", len(entries))]
    values = []
    for entry in sorted(entries, key=lambda entry: entry.tag):
        value = entry.value
        if len(value) > _INLINE_BYTES:
            values.append(value + bytes(len(value) % 2))
            value = struct.pack(f"{order}I", place)
            place += len(values[-1])
        head.append(struct.pack(f"{order}HHI", entry.tag, entry.type, entry.count))
        head.append(value.ljust(_INLINE_BYTES, b"\0"))
    return b"".join((*head, bytes(4), *values))
