"""WebP without metadata: the picture or the frames, the profile, and a header that says so."""

import struct
from collections.abc import Iterator

from imgprocessor.errors import BrokenOriginal
from imgprocessor.images.clean.extras import Extras
from imgprocessor.images.clean.parts import Cleaned, Cursor, Part
from imgprocessor.images.formats.exif import EXIF_PREFIX
from imgprocessor.images.formats.webp import webp_size

_PROFILE, _ALPHA, _EXIF, _XMP, _ANIMATION = 0x20, 0x10, 0x08, 0x04, 0x02
"""Bits of `VP8X` (RFC 9649, section 2.7)."""
_VP8L_ALPHA = 0x10
"""In the fifth byte of `VP8L`."""
_CHUNK_HEAD_BYTES, _FRAME_HEAD_BYTES, _ANIMATION_BYTES = 8, 16, 6

_Chunk = tuple[bytes, memoryview]
"""Name and content."""


def clean_webp(file: bytes, extras: Extras, *, keep_profile: bool) -> Cleaned:
    """Keep the picture's chunks, or those of each frame. A file with `VP8X` keeps it, because
    decoders take from there whether alpha counts; without, it is written for metadata alone.
    """
    cursor = Cursor(file)
    (riff_bytes,) = struct.unpack("<4xI4x", cursor.take(12))
    chunks = list(_chunks(Cursor(cursor.take(max(0, riff_bytes - 4)), cursor.reads)))
    name, first = chunks[0]
    width, height = webp_size(name, bytes(first[:10]))
    has, is_extended = first[0], name == b"VP8X"
    if not is_extended:
        has = _ALPHA if name == b"VP8L" and first[4] & _VP8L_ALPHA else 0
    flags = has & (_ALPHA | _ANIMATION)
    parts: list[Part] = []
    profiles = [content for name, content in chunks if name == b"ICCP"]
    if keep_profile and has & _PROFILE and profiles:
        flags |= _PROFILE
        parts += _written(b"ICCP", profiles[0])
    frames = [content for name, content in chunks if name == b"ANMF"]
    if flags & _ANIMATION:
        parts += _animation(chunks, [_frame(Cursor(frame, cursor.reads)) for frame in frames])
    else:
        # What the header does not announce is not shown, and may be anything.
        parts += _picture([one for one in chunks if flags & _ALPHA or one[0] != b"ALPH"])
    if extras.exif:
        flags |= _EXIF
        parts += _written(b"EXIF", extras.exif.removeprefix(EXIF_PREFIX))
    if extras.xmp:
        flags |= _XMP
        parts += _written(b"XMP ", extras.xmp)
    if is_extended or extras.exif or extras.xmp:
        sides = b"".join((side - 1).to_bytes(3, "little") for side in (width, height))
        parts[:0] = _written(b"VP8X", bytes((flags, 0, 0, 0)) + sides)
    head = b"RIFF" + struct.pack("<I", 4 + sum(map(len, parts))) + b"WEBP"
    is_animated = bool(flags & _ANIMATION) and len(frames) > 1
    return Cleaned(b"".join((head, *parts)), is_animated)


def _chunks(cursor: Cursor) -> Iterator[_Chunk]:
    while cursor.left >= _CHUNK_HEAD_BYTES:
        name, length = struct.unpack("<4sI", cursor.take(_CHUNK_HEAD_BYTES))
        yield name, cursor.take(length)
        if length % 2 and cursor.left:
            cursor.take(1)


def _animation(chunks: list[_Chunk], frames: list[bytes]) -> Iterator[Part]:
    heads = [content for name, content in chunks if name == b"ANIM"]
    if not heads or not frames:
        raise BrokenOriginal("an animation without a frame, or without its header")
    yield from _written(b"ANIM", heads[0][:_ANIMATION_BYTES])
    for frame in frames:
        yield from _written(b"ANMF", frame)


def _frame(cursor: Cursor) -> bytes:
    head = cursor.take(_FRAME_HEAD_BYTES)
    return b"".join((head, *_picture(list(_chunks(cursor)))))


def _picture(chunks: list[_Chunk]) -> Iterator[Part]:
    """Yield the first picture, after its alpha where that is kept beside it."""
    names = [name for name, _ in chunks]
    place = next((at for at, name in enumerate(names) if name in {b"VP8 ", b"VP8L"}), None)
    if place is None:
        raise BrokenOriginal("no picture in it")
    if names[place] == b"VP8 " and b"ALPH" in names[:place]:
        yield from _written(*chunks[names.index(b"ALPH")])
    yield from _written(*chunks[place])


def _written(name: bytes, content: Part) -> Iterator[Part]:
    yield name + struct.pack("<I", len(content))
    yield content
    yield bytes(len(content) % 2)
