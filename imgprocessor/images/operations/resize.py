"""Resize: the part of the picture that is wanted is cut out and scaled, in one go."""

from PIL import Image

from imgprocessor.errors import BrokenOriginal
from imgprocessor.images.operations.work import Work

_EIGHT_BITS = {"L", "LA", "RGB", "RGBX", "RGBA", "CMYK"}
"""Modes that pictures come in. Others are an error of ours that some steps would not notice."""

_Part = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def resize(work: Work) -> Image.Image:
    """Cut out the part and scale it.

    Raises:
        BrokenOriginal: the image has nothing of the part, or no channels of 8 bits.
    """
    image, layout = work.image, work.layout
    size = (layout.size.width, layout.size.height)
    box = _inside(layout.part, image)
    if size != image.size or box != (0, 0, *image.size):
        image = image.resize(size, Image.Resampling.LANCZOS, box)
    # A kept master has a fourth byte that means nothing. Few pixels are cheaper to convert.
    return image.convert("RGB") if image.mode == "RGBX" else image


def _inside(part: _Part, image: Image.Image) -> _Part:
    """Return the part, or as much of it as the image has: rounding may put it a hair outside.

    Nothing else is ever handed to Pillow, whose own sums overflow with large boxes
    (CVE-2026-59199), and which resizes 16 bits wrongly.
    """
    left, top, right, bottom = part
    left, top = max(0.0, left), max(0.0, top)
    right, bottom = min(float(image.width), right), min(float(image.height), bottom)
    if not (left < right and top < bottom) or image.mode not in _EIGHT_BITS:
        raise BrokenOriginal(f"{part} of {image.width}x{image.height} {image.mode}")
    return left, top, right, bottom
