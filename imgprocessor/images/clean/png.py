"""PNG without metadata: the critical chunks, what decides about colours, and an animation."""

import re
import struct
import zlib
from collections.abc import Iterator

from imgprocessor.errors import BrokenOriginal
from imgprocessor.images.clean.extras import Extras
from imgprocessor.images.clean.parts import Cleaned, Cursor, Part
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

_AROUND_BYTES = 12
"""Around the content of a chunk."""
_COLOUR_TYPE_PLACE = 8 + 9
"""In the first chunk."""
_INDEXED = 3
_TRANSPARENT_BYTES = {0: 2, 2: 6}
"""By the type of colours: one value, or three."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\0\0\0\0IEND\xaeB`\x82"

_Chunk = tuple[bytes, memoryview]
"""Name, and all of it: length, name, content, checksum."""


def clean_png(file: bytes, extras: Extras, *, keep_profile: bool) -> Cleaned:
    """Keep chunks with their checksums; of an animation that is not whole the first picture.

    What stands behind the packed pixels in `IDAT` is kept: only unpacking finds it.
    """
    chunks, order = _chunks(file)
    if not _ORDER.fullmatch(order):
        raise BrokenOriginal("chunks are missing, or in no order that decoders know")
    is_animated = _is_animated(chunks, order)
    dropped = {
        *(() if keep_profile else _COLOURS),
        *(() if is_animated else _ANIMATION),
        *_meaningless(chunks),
    }
    parts = [chunk for name, chunk in chunks if name not in dropped]
    written: list[Part] = [PNG_SIGNATURE, parts[0], *_metadata(extras), *parts[1:], _END]
    return Cleaned(b"".join(written), is_animated)


def _meaningless(chunks: list[_Chunk]) -> Iterator[bytes]:
    """Yield the names of chunks that say nothing of pixels of such a type: a palette without pixels
    that take their colours from it, and what is transparent where each pixel says so itself, or in
    so many bytes as no decoder takes.
    """
    colour = chunks[0][1][_COLOUR_TYPE_PLACE]
    if colour == _INDEXED:
        return
    yield b"PLTE"
    for name, chunk in chunks:
        if name == b"tRNS" and len(chunk) - _AROUND_BYTES != _TRANSPARENT_BYTES.get(colour):
            yield name


def _metadata(extras: Extras) -> Iterator[bytes]:
    if extras.exif:
        yield png_chunk(b"eXIf", extras.exif.removeprefix(EXIF_PREFIX))
    if extras.xmp:
        yield png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + extras.xmp)
    for keyword, text in extras.texts:
        try:
            yield png_chunk(b"tEXt", f"{keyword}\0{text}".encode("latin-1"))
        except UnicodeEncodeError:
            yield png_chunk(b"iTXt", f"{keyword}\0\0\0\0\0{text}".encode())


def _chunks(file: bytes) -> tuple[list[_Chunk], str]:
    """Return the chunks that may be kept, and a letter for each that there is, `x` for others."""
    kept: list[_Chunk] = []
    letters: list[str] = []
    open_to = set(_BEFORE_PIXELS)
    cursor = Cursor(file)
    cursor.take(len(PNG_SIGNATURE))
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
    """Return whether all of an animation is there, its parts numbered from 0 without a gap, and
    each frame within the picture.
    """
    if not _ANIMATION_ORDER.fullmatch(re.sub("[HPx]", "", order)):
        return False
    if not all(_fits(chunk, chunks[0][1]) for name, chunk in chunks if name == b"fcTL"):
        return False
    numbered = [
        (name, int.from_bytes(chunk[8:12], "big")) for name, chunk in chunks if name in _ANIMATION
    ]
    (_, frames), *parts = numbered
    names = [name for name, _ in numbered]
    numbers = [number for _, number in parts]
    return names.count(b"fcTL") == frames > 0 and numbers == list(range(len(parts)))


def _fits(control: memoryview, header: memoryview) -> bool:
    """Return whether a frame lies within the picture: decoders show none that does not."""
    width, height, left, top = struct.unpack_from(">IIII", control, 12)
    across, down = struct.unpack_from(">II", header, 8)
    return bool(left + width <= across and top + height <= down)


def png_chunks(file: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield name and content of each chunk of a cleaned file."""
    cursor = Cursor(file)
    cursor.take(len(PNG_SIGNATURE))
    while cursor.left:
        length, name = struct.unpack(">I4s", cursor.take(8))
        yield name, cursor.take(length + 4)[:-4]


def png_chunk(name: bytes, content: Part) -> bytes:
    """Return a chunk with its length and checksum."""
    head = struct.pack(">I", len(content)) + name
    return b"".join((head, content, struct.pack(">I", zlib.crc32(content, zlib.crc32(name)))))
