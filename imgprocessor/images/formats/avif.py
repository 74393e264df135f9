"""AVIF: its encoders, where its plugin is installed."""

from dataclasses import replace
from functools import partial

from PIL import Image

from imgprocessor.images.formats.encoder import Encoder, plugin_version, saved

_SPEED = 9
_SLOW_SPEED = 6
"""A fifth fewer bytes than speed 9 at one score, in nine times the processor's time: 298 ms for 32
at 1080 pixels. Speed 5 gains 7 % more in five times as much again. SVT at speed 5 is its equal over
photographs, but takes no grey, starts up to 17 threads, and takes 31 MB of memory for 8.
"""
_GRAPHICS_SPEED = 8
"""At speed 9 graphics weigh more than as WebP: 1.15 of it at one score, 300 pixels wide; 0.80 at
speed 8; with the tools for screens' content 0.94 and 0.76.
"""

_GRAPHICS_HIGHER = 2
"""Settings are calibrated over photographs. Of graphics so much is added, that few score lower than
as WebP of quality 80: of 119, 33 did without, and 15 with four.
"""
_BEST = 100


def _write(image: Image.Image, setting: int, exif: bytes, *, speed: int = _SPEED) -> bytes:
    # One thread: the server's processes share the processors already.
    return saved(image, "AVIF", quality=setting, speed=speed, max_threads=1, exif=exif)


def _write_graphics(image: Image.Image, setting: int, exif: bytes) -> bytes:
    return saved(
        image,
        "AVIF",
        quality=min(setting + _GRAPHICS_HIGHER, _BEST),
        speed=_GRAPHICS_SPEED,
        subsampling="4:4:4",
        advanced={"tune-content": "screen"},
        max_threads=1,
        exif=exif,
    )


_VERSION = plugin_version("pillow_avif", "pillow-avif-plugin")
AVIF_ENCODER = Encoder("avif", _VERSION, keeps_alpha=True, max_setting=_BEST, write=_write)
AVIF_SLOW = replace(AVIF_ENCODER, write=partial(_write, speed=_SLOW_SPEED), own_scale="avif-slow")
"""For photographs, where nobody waits."""
AVIF_GRAPHICS = replace(AVIF_ENCODER, write=_write_graphics)
