"""PNG without metadata: the critical chunks, what decides about colours, and an animation."""

import re
import struct
import zlib

from imgprocessor.errors import BrokenOriginal
from imgprocessor.images.clean.parts import Cleaned, Cursor
from imgprocessor.images.formats.exif import EXIF_PREFIX

_LETTERS = {b"IHDR": "H", b"PLTE": "P", b"IDAT": "D", b"acTL": "a", b"fcTL": "f", b"fdAT": "d"}
"""For the order of a file's chunks."""
_ORDER = re.compile(r"H[^HPD]*(P[^HPD]*)?D+[^HPD]*")
_ANIMATION = {b"acTL", b"fcTL", b"fdAT"}
_ANIMATION_ORDER = re.compile(r"af?D+(fd+)*")
"""The picture that is shown without an animation may be its first frame (PNG, third edition)."""

_COLOURS = {b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"iCCP"}
"""Pillow reads the profile alone; browsers convert by any of them."""
_BEFORE_PIXELS = {*_COLOURS, b"tRNS"}
_MOST_BYTES = {
    b"IHDR": 13, b"PLTE": 768, b"tRNS": 256, b"acTL": 8, b"fcTL": 26,
    b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"cICP": 4, b"mDCV": 24, b"cLLI": 8,
}  # fmt: skip
"""Decoders refuse longer ones, or pass them over."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\0\0\0\0IEND\xaeB`\x82"

_Chunk = tuple[bytes, memoryview]
"""Name, and all of it: length, name, content, checksum."""


def clean_png(file: bytes, exif: bytes, *, keep_profile: bool) -> Cleaned:
    """Keep chunks with their checksums; of an animation that is not whole the first picture.

    What stands behind the packed pixels in `IDAT` is kept: only unpacking would find it.
    """
    chunks, order = _chunks(file)
    if not _ORDER.fullmatch(order):
        raise BrokenOriginal("chunks are missing, or in no order that decoders know")
    is_animated = _is_animated(chunks, order)
    dropped = {*(() if keep_profile else _COLOURS), *(() if is_animated else _ANIMATION)}
    parts = [chunk for name, chunk in chunks if name not in dropped]
    oriented = [_written(b"eXIf", exif.removeprefix(EXIF_PREFIX))] if exif else []
    return Cleaned(b"".join((_SIGNATURE, parts[0], *oriented, *parts[1:], _END)), is_animated)


def _chunks(file: bytes) -> tuple[list[_Chunk], str]:
    """Return the chunks that may be kept, and a letter for each that there is, `x` for others."""
    kept: list[_Chunk] = []
    letters: list[str] = []
    open_to = set(_BEFORE_PIXELS)
    cursor = Cursor(file)
    cursor.take(len(_SIGNATURE))
    while True:
        begin = cursor.place
        length, name = struct.unpack(">I4s", cursor.take(8))
        cursor.take(length + 4)
        if name == b"IEND":
            return kept, "".join(letters)
        is_critical = name[:1].isupper()
        if is_critical and name not in _LETTERS:
            raise BrokenOriginal(f"a chunk {name!r}, which no decoder knows")
        if name == b"IDAT":
            open_to.clear()
        is_kept = name in _LETTERS or name in open_to
        chunk = cursor.file[begin : cursor.place]
        if is_kept and not (length <= _MOST_BYTES.get(name, length) and _is_sound(chunk)):
            if is_critical:
                raise BrokenOriginal(f"{name!r} is too long, or its checksum is wrong")
            is_kept = False
        letters.append(_LETTERS.get(name, "x") if is_kept else "x")
        if is_kept:
            kept.append((name, chunk))
            open_to.discard(name)  # libpng passes over a second one


def _is_sound(chunk: memoryview) -> bool:
    return zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")


def _is_animated(chunks: list[_Chunk], order: str) -> bool:
    """Return whether all of an animation is there, its parts numbered from 0 without a gap."""
    if not _ANIMATION_ORDER.fullmatch(re.sub("[HPx]", "", order)):
        return False
    numbered = [
        (name, int.from_bytes(chunk[8:12], "big")) for name, chunk in chunks if name in _ANIMATION
    ]
    (_, frames), *parts = numbered
    names = [name for name, _ in numbered]
    numbers = [number for _, number in parts]
    return names.count(b"fcTL") == frames > 0 and numbers == list(range(len(parts)))


def _written(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)
