"""JPEG XL: the encoder, where its plugin is installed."""

from PIL import Image

from imgprocessor.images.formats.encoder import Encoder, plugin_version, saved

_EFFORT = 3
_BEST_LOSSY = 99


def _write(image: Image.Image, setting: int, exif: bytes) -> bytes:
    # No threads: the server's processes share the processors already.
    return saved(image, "JXL", quality=setting, effort=_EFFORT, num_threads=0, exif=exif)


_VERSION = plugin_version("pillow_jxl", "pillow-jxl-plugin")
JXL_ENCODER = Encoder("jxl", _VERSION, keeps_alpha=True, max_setting=_BEST_LOSSY, write=_write)
