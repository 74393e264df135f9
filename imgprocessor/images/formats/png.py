"""PNG: chunks of an original, its decoder, EXIF data as text, and the encoder."""

import contextlib
import os
import struct
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from typing import Any

import oxipng
from PIL import Image, PngImagePlugin, features

from imgprocessor.errors import BrokenOriginal
from imgprocessor.images.formats.encoder import Encoder, saved
from imgprocessor.images.formats.exif import Exif, exif_in
from imgprocessor.images.formats.structure import Inspected, OriginalFormat, Walk

_PIXEL_BYTES = 5
_TRANSPARENT_PIXEL_BYTES = 8
"""With a colour that means transparent: RGB, and RGBA made of it."""

_LEVEL = 2
"""Of oxipng. It takes 0.3 to 0.8 seconds a megapixel, level 0 a tenth of a second, and files weigh
0.81 of those of level 0. Level 4 gains as much again as 5 %, in ten times the time.
"""
_MOST_PIXELS_AT_THE_LEVEL = 500_000

# One thread: the server's processes share the processors already. Read once, by the first file.
os.environ.setdefault("RAYON_NUM_THREADS", "1")

PngImagePlugin.MAX_TEXT_MEMORY = 16 * PngImagePlugin.MAX_TEXT_CHUNK
"""Of all texts in a PNG, unpacked; one has a megabyte at most, which is Pillow's default."""


def _inspect(walk: Walk) -> Inspected:
    walk.skip(8)
    length, name = struct.unpack(">I4s", walk.take(8))
    if name != b"IHDR":
        raise BrokenOriginal(f"begins with the chunk {name!r}")
    width, height = struct.unpack(">II", walk.take(8))
    found = walk.sized("PNG", width, height, pixel_bytes=_PIXEL_BYTES)
    walk.skip(length - 8 + 4)
    pixel_bytes = found.pixel_bytes
    # A file that ends too early is the decoder's to refuse, or to be content with.
    while len(head := walk.file.read(8)) == 8:  # noqa: PLR2004 - length and name
        length, name = struct.unpack(">I4s", head)
        if name == b"IEND":
            break
        if name == b"IHDR":
            raise BrokenOriginal("two headers")
        if name in {b"IDAT", b"fdAT", b"fcTL"}:
            walk.count_pixels()
        else:
            walk.count(length)
        if name == b"tRNS":
            pixel_bytes = _TRANSPARENT_PIXEL_BYTES
        walk.skip(length + 4)
    return walk.afforded(Inspected("PNG", found.size, pixel_bytes))


def _exif_in(info: Mapping[Any, Any], max_bytes: int) -> Exif:
    data = info.get("exif")
    raw = info.get("Raw profile type exif", "")
    if (not data or isinstance(data, str)) and len(raw) <= 2 * max_bytes:
        # ImageMagick's way, from before PNG had a chunk for it: two lines, then hexadecimal digits.
        with contextlib.suppress(ValueError):
            data = bytes.fromhex("".join(raw.split("\n")[3:]))
    xmp = info.get("XML:com.adobe.xmp") or info.get("xmp")
    return exif_in({"exif": data, "xmp": xmp}, max_bytes)


def _write(image: Image.Image, setting: int, exif: bytes) -> bytes:  # noqa: ARG001 - lossless
    return saved(image, "PNG", exif=exif)


def _write_graphics(image: Image.Image, setting: int, exif: bytes) -> bytes:  # noqa: ARG001
    """Write with the least of filters, colour types and palettes that oxipng finds."""
    level = _LEVEL if image.width * image.height <= _MOST_PIXELS_AT_THE_LEVEL else 0
    plain = saved(image, "PNG", compress_level=1, exif=exif)
    return oxipng.optimize_from_memory(plain, level=level)


PNG_ORIGINAL = OriginalFormat(
    matches=lambda head: head.startswith(b"\x89PNG\r\n\x1a\n"),
    inspect=_inspect,
    decoder=PngImagePlugin.PngImageFile,
    exif_in=_exif_in,
)

_VERSION = f"zlib {features.version('zlib')}, pyoxipng {metadata.version('pyoxipng')}"
PNG_ENCODER = Encoder("png", _VERSION, keeps_alpha=True, max_setting=0, write=_write)
PNG_GRAPHICS = replace(PNG_ENCODER, write=_write_graphics)
