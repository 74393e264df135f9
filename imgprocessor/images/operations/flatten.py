"""Flatten: a transparent picture is put on the background, where no format can hold its alpha."""

from PIL import Image

from imgprocessor.images.formats.encoders import ENCODERS
from imgprocessor.images.operations.work import Work

_OPAQUE = 255


def flatten(work: Work) -> Image.Image:
    """Put a transparent picture on the background; drop alpha where all of it is opaque."""
    image = work.image
    if image.mode not in {"RGBA", "LA"}:
        return image
    if image.getchannel("A").getextrema() == (_OPAQUE, _OPAQUE):
        return image.convert(image.mode.removesuffix("A"))
    if any(ENCODERS[known].keeps_alpha for known in work.plan.formats if known in ENCODERS):
        return image.convert("RGBA")
    canvas = Image.new("RGBA", image.size, work.plan.pixels.background)
    canvas.alpha_composite(image.convert("RGBA"))
    return canvas.convert("RGB")
