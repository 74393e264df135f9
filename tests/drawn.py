"""Graphics of each kind, drawn once, in the modes that compression is given."""

from functools import lru_cache

import graphics_drawn
import images
from PIL import Image

KINDS = (*("text", "flat", "chart", "qr", "scan", "pixel-art", "logo", "gradient", "dithered"),)
"""Of graphics, as `graphics_drawn` calls them."""


@lru_cache(maxsize=1)
def graphics() -> dict[str, tuple[str, Image.Image]]:
    """Return kind and picture by name."""
    return {name: (kind, _as_decoded(image)) for kind, name, image in graphics_drawn.drawn()}


def of_kind(kind: str) -> dict[str, Image.Image]:
    """Return the pictures of a kind by name."""
    return {name: image for name, (known, image) in graphics().items() if known == kind}


def photograph(name: str, size: tuple[int, int]) -> Image.Image:
    """Return what counts as a photograph: coloured, grey or all noise."""
    image = images.noise(size) if name == "noise" else images.texture(size)
    return image.convert("L") if name == "grey" else image


def looks(image: Image.Image) -> bytes:
    """Return all pixels as RGBA, those that are wholly transparent without a colour."""
    shown = image.convert("RGBA")
    shown.paste((0, 0, 0, 0), mask=shown.getchannel("A").point([255] + [0] * 255))
    return shown.tobytes()


def _as_decoded(image: Image.Image) -> Image.Image:
    return image.convert({"1": "L", "P": "RGB"}.get(image.mode, image.mode))
