"""AVIF: the encoder, where its plugin is installed."""

from PIL import Image

from imgprocessor.images.formats.encoder import Encoder, plugin_version, saved

_SPEED = 9


def _write(image: Image.Image, setting: int, exif: bytes) -> bytes:
    # One thread: the server's processes share the processors already.
    return saved(image, "AVIF", quality=setting, speed=_SPEED, max_threads=1, exif=exif)


_VERSION = plugin_version("pillow_avif", "pillow-avif-plugin")
AVIF_ENCODER = Encoder("avif", _VERSION, keeps_alpha=True, max_setting=100, write=_write)
