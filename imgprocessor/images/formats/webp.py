"""WebP: chunks of an original, its decoder, and its encoders."""

import struct
from dataclasses import replace
from typing import Any

from PIL import Image, WebPImagePlugin, features

from imgprocessor.errors import BrokenOriginal
from imgprocessor.images.formats.encoder import Encoder, saved
from imgprocessor.images.formats.structure import Inspected, OriginalFormat, Walk

_PIXEL_BYTES = 13
"""Two canvases and Pillow's copy of one; what else libwebp needs takes 0.1 to 0.9."""

_METHOD = 4
_LOSSLESS_EFFORT = 75
"""Within four percent of the lightest that libwebp can, in a hundredth of its time."""
_QUICK_EFFORT = 20
"""A tenth heavier, with the lowest method that predicts, in a third of the time."""


def _inspect(walk: Walk) -> Inspected:
    (riff_bytes,) = struct.unpack("<4xI4x", walk.take(12))
    name, length = struct.unpack("<4sI", walk.take(8))
    found = walk.sized("WEBP", *webp_size(name, walk.take(10)), pixel_bytes=_PIXEL_BYTES)
    walk.skip(length + length % 2 - 10)
    # libwebp looks at nothing behind the file's own end, whatever that is.
    while walk.file.tell() <= riff_bytes and len(head := walk.file.read(8)) == 8:  # noqa: PLR2004
        name, length = struct.unpack("<4sI", head)
        if name in {b"VP8 ", b"VP8L", b"ALPH", b"ANMF"}:
            walk.count_pixels()
        else:
            walk.count(length)
        walk.skip(length + length % 2)
    return walk.afforded(found)


def webp_size(name: bytes, content: bytes) -> tuple[int, int]:
    """Return width and height from the beginning of a WebP's first chunk (RFC 9649)."""
    if name == b"VP8X":
        width = int.from_bytes(content[4:7], "little") + 1
        return width, int.from_bytes(content[7:10], "little") + 1
    if name == b"VP8L":
        bits = int.from_bytes(content[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if name == b"VP8 ":
        width, height = struct.unpack_from("<HH", content, 6)
        return width & 0x3FFF, height & 0x3FFF
    raise BrokenOriginal(f"begins with the chunk {name!r}")


def _write(image: Image.Image, setting: int, exif: bytes) -> bytes:
    return saved(image, "WEBP", quality=setting, method=_METHOD, exif=exif)


def _write_lossless(image: Image.Image, setting: int, exif: bytes) -> bytes:  # noqa: ARG001
    return saved(image, "WEBP", lossless=True, quality=_LOSSLESS_EFFORT, method=_METHOD, exif=exif)


def _write_quickly(image: Image.Image, setting: int, exif: bytes) -> bytes:  # noqa: ARG001
    return saved(image, "WEBP", lossless=True, quality=_QUICK_EFFORT, method=1, exif=exif)


class _Decoder(WebPImagePlugin.WebPImageFile):
    def load(self) -> Any:
        """Decode the first frame; Pillow would keep two canvases while it copies the pixels."""
        if self._im is None:
            pixels, _, _ = self._get_next()
            del self._decoder
            self.im = Image.frombytes(self.mode, self.size, pixels, "raw", self.rawmode).im
        return Image.Image.load(self)


WEBP_ORIGINAL = OriginalFormat(
    format="webp",
    matches=lambda head: head[:4] + head[8:12] == b"RIFFWEBP",
    inspect=_inspect,
    decoder=_Decoder,
)

WEBP_ENCODER = Encoder(
    "webp", f"libwebp {features.version('webp')}", keeps_alpha=True, max_setting=100, write=_write
)

WEBP_LOSSLESS = replace(WEBP_ENCODER, max_setting=0, write=_write_lossless)
WEBP_QUICK = replace(WEBP_LOSSLESS, write=_write_quickly)
"""To learn what a picture weighs without loss, more or less."""
