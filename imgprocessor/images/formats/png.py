"""PNG: chunks of an original, its decoder, EXIF data as text, and its encoders.

Of an animation the default picture is decoded, as if nothing else were there: whatever is wrong
with its frames does not matter.
"""

import contextlib
import os
import struct
from collections.abc import Mapping
from dataclasses import replace
from functools import partial, reduce
from importlib import metadata
from typing import Any, BinaryIO

import oxipng
from PIL import Image, ImageChops, ImageFile, PngImagePlugin, features

from imgprocessor.errors import BrokenOriginal
from imgprocessor.images.formats.damaged import Grids, Underlaid, decoding, shown
from imgprocessor.images.formats.encoder import Encoder, saved
from imgprocessor.images.formats.exif import Exif, exif_in
from imgprocessor.images.formats.structure import Inspected, OriginalFormat, Walk

_PIXEL_BYTES = 6
"""As of a GIF."""
_TRANSPARENT_PIXEL_BYTES = 9
"""With a colour that means transparent: RGB, RGBA made of it, and alpha."""
_KEYED_PIXEL_BYTES = 16
"""The same with 16 bits, of which three colours are decoded twice."""

_ADAM7: Grids = (
    *(((0, 1), (1, 2)), ((1, 0), (2, 2)), ((0, 2), (2, 4))),
    *(((2, 0), (4, 4)), ((0, 4), (4, 8)), ((4, 0), (8, 8))),
)

_LEVEL = 2
"""Of oxipng. It takes 0.3 to 0.8 seconds a megapixel, level 0 a tenth of a second, and files weigh
0.81 of those of level 0. Level 4 gains as much again as 5 %, in ten times the time.
"""
MOST_QUICK_PIXELS = 500_000
"""Of a larger picture level 2 takes too long for anybody who waits."""

# One thread: the server's processes share the processors already. Read once, by the first file. A
# process that has written one must not fork a child that does: the thread is not there in it.
os.environ.setdefault("RAYON_NUM_THREADS", "1")

PngImagePlugin.MAX_TEXT_MEMORY = 16 * PngImagePlugin.MAX_TEXT_CHUNK
"""Of all texts in a PNG, unpacked; one has a megabyte at most, which is Pillow's default."""


def _inspect(walk: Walk) -> Inspected:
    walk.skip(8)
    length, name = struct.unpack(">I4s", walk.take(8))
    if name != b"IHDR":
        raise BrokenOriginal(f"begins with the chunk {name!r}")
    width, height, depth = struct.unpack(">IIB", walk.take(9))
    found = walk.sized("PNG", width, height, pixel_bytes=_PIXEL_BYTES)
    walk.skip(length - 9 + 4)
    pixel_bytes = found.pixel_bytes
    # A file that ends too early is the decoder's: it may be shown as far as it goes.
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
            is_deep = depth > 8  # noqa: PLR2004 - bits
            pixel_bytes = _KEYED_PIXEL_BYTES if is_deep else _TRANSPARENT_PIXEL_BYTES
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


class _Chunks(PngImagePlugin.PngStream):
    """Pillow's reader of chunks, but for animations, and for colours that mean transparent."""

    deep_key: tuple[int, int, int] | None = None
    """Such a colour of 16 bits a channel."""

    def _passed(self, pos: int, length: int) -> bytes:  # noqa: ARG002 - Pillow's
        assert self.fp is not None  # noqa: S101 - for mypy
        return ImageFile._safe_read(self.fp, length)  # noqa: SLF001 - as all of these do

    chunk_acTL = chunk_fcTL = chunk_fdAT = _passed  # noqa: N815 - looked up by Pillow

    def chunk_tRNS(self, pos: int, length: int) -> bytes:  # noqa: N802 - looked up by Pillow
        """Read which colour is transparent. Pillow does not scale it with the pixels, and of 16
        bits for each of three colours it keeps 8.
        """
        data = super().chunk_tRNS(pos, length)
        rawmode, known = self.im_rawmode, self.im_info.get("transparency")
        if rawmode in _MOST_GREY and known is not None:
            most = _MOST_GREY[rawmode]
            self.im_info["transparency"] = (known & most) * (255 // most)
        elif rawmode == _DEEP_RGB:
            self.deep_key = self.im_info.pop("transparency", None)
        return data


_MOST_GREY = {"L;2": 3, "L;4": 15, "L": 255}
_DEEP_RGB, _DEEP_RGB_LOW = "RGB;16B", "RGB;16L"
"""Which 8 of 16 bits are decoded: the upper ones, and, by the wrong order of bytes, the lower."""

# Pillow has no other way to be told.
vars(PngImagePlugin).update(PngStream=_Chunks)


class _Decoder(Underlaid, PngImagePlugin.PngImageFile):
    deep_key: tuple[int, int, int] | None = None
    _mark: object = None

    def _open(self) -> None:
        super()._open()
        if isinstance(self.png, _Chunks):
            self.deep_key = self.png.deep_key
        self.grids = _ADAM7 if self.info.get("interlace") else ()

    def load_read(self, read_bytes: int) -> bytes:
        """Read on; what is no chunk is the end of the file."""
        try:
            return super().load_read(read_bytes)
        except (struct.error, SyntaxError):
            return b""

    def load_prepare(self) -> None:
        """Mark the pixel that is decoded last."""
        super().load_prepare()
        height = self.height // 2 * 2 if self.grids else self.height
        self._last = (self.width - 1, height - 1)
        if self.under is None and height:
            colour = {"1": 255, "P": 255}.get(self.mode) or (1, 2, 3, 4)[: len(self.getbands())]
            self.im.paste(colour, (*self._last, self.width, height))
            self._mark = self.im.getpixel(self._last)

    def load_end(self) -> None:
        """Say where the mark is left, or was in the picture: Pillow is content with too few rows.
        What comes after the pixels is not used.
        """
        if self._mark is not None and self.im.getpixel(self._last) == self._mark:
            raise OSError("may have fewer rows than it says")


def _eight_bits(image: Image.Image, file: BinaryIO) -> Image.Image:
    if image.mode == "I;16":
        # Pillow's own conversion clips instead of scaling.
        grey = image.point(lambda value: value * (1 / 257) + 0.5).convert("L")
        key = image.info.get("transparency")
        if key is not None:
            is_opaque = [255 * (value != key) for value in range(1 << 16)]
            grey.putalpha(image.convert("I").point(is_opaque, "L"))
        return grey
    if isinstance(image, _Decoder) and image.deep_key is not None:
        upper = _coloured(image, [value >> 8 for value in image.deep_key])
        lower = _coloured(_lower_bits(file), [value & 255 for value in image.deep_key])
        image.putalpha(ImageChops.invert(ImageChops.darker(upper, lower)))
    return image


def _lower_bits(file: BinaryIO) -> Image.Image:
    """Return, of three colours of 16 bits each, what is not decoded otherwise."""
    file.seek(0)
    image = _Decoder(file)
    image.tile = [tile._replace(args=_DEEP_RGB_LOW) for tile in image.tile]
    with decoding():
        image.load()
    image.tile = []
    return image


def _coloured(image: Image.Image, colour: list[int]) -> Image.Image:
    """Return where a picture is of one colour."""
    bands = zip(image.split(), colour, strict=True)
    found = (band.point([255 * (known == value) for known in range(256)]) for band, value in bands)
    return reduce(ImageChops.darker, found)


PNG_ORIGINAL = OriginalFormat(
    format="png",
    matches=lambda head: head.startswith(b"\x89PNG\r\n\x1a\n"),
    inspect=_inspect,
    decoder=_Decoder,
    shown=partial(shown, decoder=_Decoder),
    eight_bits=_eight_bits,
    exif_in=_exif_in,
    is_lossless=True,
)


def _write(image: Image.Image, setting: int, exif: bytes) -> bytes:  # noqa: ARG001 - lossless
    return saved(image, "PNG", exif=exif)


def _write_slowly(image: Image.Image, setting: int, exif: bytes) -> bytes:  # noqa: ARG001
    """Write with the least of filters, colour types and palettes that oxipng finds."""
    return _optimized(image, exif, _LEVEL)


def _write_graphics(image: Image.Image, setting: int, exif: bytes) -> bytes:  # noqa: ARG001
    """Write the same where the picture is small; look less far for a large one."""
    is_small = image.width * image.height <= MOST_QUICK_PIXELS
    return _optimized(image, exif, _LEVEL if is_small else 0)


def _optimized(image: Image.Image, exif: bytes, level: int) -> bytes:
    plain = saved(image, "PNG", compress_level=1, exif=exif)
    return oxipng.optimize_from_memory(plain, level=level)


def begin_threads() -> None:
    """Begin oxipng's thread, which lives on, at the priority of who begins it."""
    _optimized(Image.new("L", (1, 1)), b"", 0)


_VERSION = f"zlib {features.version('zlib')}, pyoxipng {metadata.version('pyoxipng')}"
PNG_ENCODER = Encoder("png", _VERSION, keeps_alpha=True, max_setting=0, write=_write)
PNG_GRAPHICS = replace(PNG_ENCODER, write=_write_graphics)
PNG_SLOW = replace(PNG_ENCODER, write=_write_slowly)
"""For large graphics, where nobody waits."""
