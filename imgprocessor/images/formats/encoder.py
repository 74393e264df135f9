"""An encoder: what writes one format, with a setting of its own that grows with quality.

`calibration` knows which setting gives which perceived quality.
"""

import importlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from PIL import Image

from imgprocessor.formats import Format

# Importing a plugin registers it with Pillow, and those that the modules of the formats import are
# all there are: Pillow believes that it has imported its other thirty, and goes looking for none.
Image._initialized = 2  # noqa: SLF001 - there is no public way


@dataclass(frozen=True)
class Encoder:
    """Writes one format."""

    format: Format
    version: str
    """Of the library: another version may write other bytes. Empty where it is not installed."""
    keeps_alpha: bool
    max_setting: int
    """Settings are whole numbers from 1 to this; 0 where it is lossless, and has none."""
    write: Callable[[Image.Image, int, bytes], bytes]
    """Return the file for pixels (grey or RGB, with alpha only if it is kept), a setting and EXIF
    data. Nothing else of the original's goes into it.
    """
    own_scale: str = ""
    """The row of the calibration that its settings are in, where that is not the format's."""

    @property
    def mime(self) -> str:
        """The media type."""
        return f"image/{self.format}"

    @property
    def scale(self) -> str:
        """The row of the calibration that its settings are in."""
        return self.own_scale or self.format

    @property
    def is_lossless(self) -> bool:
        """Whether quality has no effect."""
        return self.max_setting == 0


def saved(image: Image.Image, name: str, **options: Any) -> bytes:
    """Return the file that Pillow writes in the format that it calls so."""
    # Pillow would write the comment and the profile that it finds in the original's own data.
    image.info = {}
    body = io.BytesIO()
    image.save(body, name, **options)
    return body.getvalue()


def plugin_version(module: str, distribution: str) -> str:
    """Import a plugin of Pillow's; return name and version, nothing if it is not installed."""
    try:
        importlib.import_module(module)
    except ImportError:
        return ""
    return f"{distribution} {metadata.version(distribution)}"
