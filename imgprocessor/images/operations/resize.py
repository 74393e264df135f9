"""Resize: the part of the picture that is wanted is cut out and scaled, in one go."""

from PIL import Image, ImageChops

from imgprocessor.errors import BrokenOriginal
from imgprocessor.images.operations.work import Work

_EIGHT_BITS = {"L", "LA", "RGB", "RGBX", "RGBA", "CMYK"}
"""Modes that pictures come in. Others are an error of ours that some steps would not notice."""

_MAX_COLOURS = 256

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
        image = image.resize(size, _filter_for(image, box, size), box)
    # A kept master has a fourth byte that means nothing. Few pixels are cheaper to convert.
    return image.convert("RGB") if image.mode == "RGBX" else image


def _filter_for(image: Image.Image, box: _Part, size: tuple[int, int]) -> Image.Resampling:
    """Return Lanczos, but for what it makes heavy and no better: what has two colours, or consists
    of squares of one, such as enlarged pixel art, where a whole number of pixels become one.
    """
    across, down = (box[2] - box[0]) / size[0], (box[3] - box[1]) / size[1]
    if across != down or across < 2 or not across.is_integer():  # noqa: PLR2004 - halved
        return Image.Resampling.LANCZOS
    if image.mode not in {"L", "RGB", "RGBX"} or box != (0, 0, *image.size):
        return Image.Resampling.LANCZOS
    colours = image.getcolors(_MAX_COLOURS)
    if colours is None:
        return Image.Resampling.LANCZOS
    squares = image.resize(size, Image.Resampling.NEAREST)
    is_bilevel = len(colours) <= 2  # noqa: PLR2004
    are_even = (
        ImageChops.difference(
            image.convert("RGB"),
            squares.resize(image.size, Image.Resampling.NEAREST).convert("RGB"),
        ).getbbox()
        is None
    )
    return Image.Resampling.BOX if is_bilevel or are_even else Image.Resampling.LANCZOS


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
