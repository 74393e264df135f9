"""PNG: chunks of an original, its decoder, EXIF data as text, and the encoder."""

import contextlib
import struct
from collections.abc import Mapping
from typing import Any

from PIL import Image, PngImagePlugin, features

from imgprocessor.errors import BrokenOriginal
from imgprocessor.images.formats.encoder import Encoder, saved
from imgprocessor.images.formats.exif import Exif, exif_in
from imgprocessor.images.formats.structure import Inspected, OriginalFormat, Walk

_PIXEL_BYTES = 5
_TRANSPARENT_PIXEL_BYTES = 8
"""With a colour that means transparent: RGB, and RGBA made of it."""

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


PNG_ORIGINAL = OriginalFormat(
    matches=lambda head: head.startswith(b"\x89PNG\r\n\x1a\n"),
    inspect=_inspect,
    decoder=PngImagePlugin.PngImageFile,
    exif_in=_exif_in,
)

PNG_ENCODER = Encoder(
    "png", f"zlib {features.version('zlib')}", keeps_alpha=True, max_setting=0, write=_write
)
