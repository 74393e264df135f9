"""Encoders: one for each format, each with a setting of its own that grows with quality.

What setting is needed for one perceived quality is known to `calibration`. Apart from the Pillow
plugins that are imported here, none can write a file.
"""

import importlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import PIL
from PIL import Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin, features

from imgprocessor.formats import Format

# Quantisation steps in natural order, at setting 1000. Those of jpegli at its quality 60, each
# times 0.7 for the lowest frequency to 1.7 for the highest, in proportion to row plus column. At
# equal SSIMULACRA2, 640 pixels wide, files weigh 0.82 of those with libjpeg's own tables at its
# quality 40, 0.86 at 60, 0.90 at 78 and 0.92 at 90, in a third of the time; jpegli's 0.93 to 0.95,
# for its binding writes neither Huffman tables of its own nor scans (benchmarks/encoders.py). One
# scan: ten weigh 2 % more at 40 and 1 % less at 78, and take twice as long; of smaller pictures
# they weigh 7 % more. 4:2:0: 4:4:4 weighs a fifth more at one score. Not optimised: to 10 %.
_TILT = 0.5
_JPEGLI_LUMA = (
    (10, 9, 17, 17, 26, 27, 30, 30),
    (9, 12, 17, 19, 27, 25, 32, 32),
    (17, 17, 20, 23, 27, 31, 30, 33),
    (17, 19, 23, 27, 33, 35, 35, 36),
    (26, 27, 27, 33, 36, 39, 44, 43),
    (27, 25, 31, 35, 39, 43, 40, 48),
    (30, 32, 30, 35, 44, 40, 43, 42),
    (30, 32, 33, 36, 43, 48, 42, 34),
)
_JPEGLI_CHROMA = (
    (9, 7, 15, 14, 21, 20, 23, 25),
    (7, 11, 15, 14, 19, 17, 22, 23),
    (15, 15, 17, 15, 18, 20, 21, 24),
    (14, 14, 15, 17, 21, 20, 21, 25),
    (21, 19, 18, 21, 17, 25, 19, 24),
    (20, 17, 20, 20, 25, 22, 25, 37),
    (23, 22, 21, 21, 19, 25, 40, 36),
    (25, 23, 24, 25, 24, 37, 36, 255),
)
_MAX_STEP = 255  # a step is one byte in baseline JPEG

_WEBP_METHOD = 4
_AVIF_SPEED = 9
_JXL_EFFORT = 3
_JXL_BEST_LOSSY = 99


# Importing a plugin registers it, and those that are named here and in `decode` are all there are:
# Pillow believes that it has imported its other thirty already, and goes looking for none.
_REGISTERED = (JpegImagePlugin, PngImagePlugin, WebPImagePlugin)
Image._initialized = 2  # noqa: SLF001 - there is no public way


@dataclass(frozen=True)
class Encoder:
    """Writes one format."""

    format: Format
    version: str
    """Of the library: another version may write other bytes."""
    keeps_alpha: bool
    max_setting: int
    """Settings are whole numbers from 1 to this; 0 for a lossless format, which has none."""
    write: Callable[[Image.Image, int, bytes], bytes]
    """Return the file for pixels (grey or RGB, with alpha only if it is kept), a setting and EXIF
    data. Nothing else of the original's goes into it.
    """

    @property
    def mime(self) -> str:
        """The media type."""
        return f"image/{self.format}"

    @property
    def is_lossless(self) -> bool:
        """Whether quality counts for nothing."""
        return self.max_setting == 0


def jpeg_tables(setting: int) -> list[list[int]]:
    """Return the quantisation tables of a setting, luma and chroma, in natural order."""
    factor = _JPEG_SETTING_OF_THE_TABLES / setting
    return [_scaled(_LUMA, factor), _scaled(_CHROMA, factor)]


def _write_jpeg(image: Image.Image, setting: int, exif: bytes) -> bytes:
    tables = jpeg_tables(setting)
    if image.mode == "L":
        del tables[1:]
    return _saved(image, "JPEG", qtables=tables, subsampling="4:2:0", optimize=True, exif=exif)


def _scaled(table: list[float], factor: float) -> list[int]:
    return [min(max(round(step * factor), 1), _MAX_STEP) for step in table]


def _tilted(table: tuple[tuple[int, ...], ...]) -> list[float]:
    longest = 2 * (len(table) - 1)
    return [
        step * (1 + _TILT * (2 * (row + column) / longest - 0.6))
        for row, steps in enumerate(table)
        for column, step in enumerate(steps)
    ]


def _write_png(image: Image.Image, setting: int, exif: bytes) -> bytes:  # noqa: ARG001 - lossless
    return _saved(image, "PNG", exif=exif)


def _write_webp(image: Image.Image, setting: int, exif: bytes) -> bytes:
    return _saved(image, "WEBP", quality=setting, method=_WEBP_METHOD, exif=exif)


def _write_avif(image: Image.Image, setting: int, exif: bytes) -> bytes:
    # One thread: the daemons' processes share the processors already.
    options = {"quality": setting, "speed": _AVIF_SPEED, "max_threads": 1}
    return _saved(image, "AVIF", **options, exif=exif)


def _write_jxl(image: Image.Image, setting: int, exif: bytes) -> bytes:
    # No threads: the daemons' processes share the processors already.
    options = {"quality": setting, "effort": _JXL_EFFORT, "num_threads": 0}
    return _saved(image, "JXL", **options, exif=exif)


def _saved(image: Image.Image, name: str, **options: Any) -> bytes:
    # Pillow would write the comment and the profile that it finds in the original's own data.
    image.info = {}
    body = io.BytesIO()
    image.save(body, name, **options)
    return body.getvalue()


def _has(plugin: str) -> bool:
    """Import a plugin, which registers itself with Pillow."""
    try:
        importlib.import_module(plugin)
    except ImportError:
        return False
    return True


def _installed() -> dict[Format, Encoder]:
    jpeg = f"libjpeg-turbo {features.version('libjpeg_turbo')}"
    known = [
        Encoder("png", f"zlib {features.version('zlib')}", True, 0, _write_png),
        Encoder("jpeg", jpeg, False, 60_000, _write_jpeg),
        Encoder("webp", f"libwebp {features.version('webp')}", True, 100, _write_webp),
    ]
    if _has("pillow_avif"):
        version = f"pillow-avif-plugin {metadata.version('pillow-avif-plugin')}"
        known.append(Encoder("avif", version, True, 100, _write_avif))
    if _has("pillow_jxl"):
        version = f"pillow-jxl-plugin {metadata.version('pillow-jxl-plugin')}"
        known.append(Encoder("jxl", version, True, _JXL_BEST_LOSSY, _write_jxl))
    return {encoder.format: encoder for encoder in known}


_LUMA, _CHROMA = _tilted(_JPEGLI_LUMA), _tilted(_JPEGLI_CHROMA)
_JPEG_SETTING_OF_THE_TABLES = 1000

ENCODERS = _installed()
"""The encoders that this installation has, by format."""

PILLOW = f"{'Pillow-SIMD' if '.post' in PIL.__version__ else 'Pillow'} {PIL.__version__}"
"""Which of the two Pillows is loaded. Both install as PIL, and the later lies over the earlier."""

PILLOW_VERSION: str = PIL.__version__

VERSIONS = ", ".join(
    (
        PILLOW,
        f"littlecms {features.version('littlecms2')}",
        *(encoder.version for encoder in ENCODERS.values()),
    )
)
"""The libraries that a rendition's bytes depend on."""
