"""Palettes: a graphic brought to few colours, so that a lossless format makes little of it."""

from PIL import Image

MAX_COLOURS = 256

_SAMPLE_SIDE_PIXELS = 160
"""Colours are chosen among so many by so many pixels of a picture, evenly spread: of all pixels it
takes ten times as long, for the same colours but for those of the smallest parts.
"""


_ALPHA_STEP = 255 / 31


def with_colours(image: Image.Image, colours: int) -> Image.Image:
    """Return an RGB or RGBA picture with at most so many colours, 2 to 256, each pixel in the one
    that is nearest; and in 32 steps of alpha. Nothing is dithered: that looks like noise, and
    weighs as much.
    """
    opaque = image
    if image.mode == "RGBA":
        # What cannot be seen must take no colour of its own.
        opaque = Image.new("RGB", image.size)
        opaque.paste(image, mask=image.getchannel("A").point(lambda alpha: 255 if alpha else 0))
    side = _SAMPLE_SIDE_PIXELS
    sample = opaque.resize(
        (min(side, image.width), min(side, image.height)), Image.Resampling.NEAREST
    )
    palette = sample.quantize(colours, Image.Quantize.MEDIANCUT, kmeans=1, dither=Image.Dither.NONE)
    few = opaque.quantize(palette=palette, dither=Image.Dither.NONE).convert("RGB")
    if image.mode == "RGBA":
        few.putalpha(image.getchannel("A").point(_steps))
    return few


def _steps(alpha: float) -> float:
    return round(round(alpha / _ALPHA_STEP) * _ALPHA_STEP)


def in_few_colours(image: Image.Image, quality: int) -> Image.Image | None:
    """Return a picture in as few colours as look like this quality; None where 256 do not."""
    return with_colours(image, 128)
