"""A perceptual score, cheap enough to be taken inside a request, on the scale of SSIMULACRA2.

At four scales, each half the next larger one, luma is compared in three ways: detail that was
lost, detail that was added (blocks and ringing), and differences where there is no detail to hide
them. Chroma is compared at half scale. Each is the logarithm of a mean square; each takes something
from the score, the more the larger it is. How much is fitted to SSIMULACRA2 over photographs
(benchmarks/quality_scale.py, which also prints how far off it is: 2 to 4 points on average).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageStat

from imgprocessor.images.compression.calibration import CALIBRATION

_SCALES = 4
_TILES = 4
_TILE_PIXELS = 144
"""Of a large picture sixteen tiles this wide and high are compared, evenly spread: all of a picture
1920 pixels wide would take a tenth of a second, and say the same (to 0.7 points on average).
"""

_BACKGROUND = (128, 128, 128, 255)
"""Transparent pictures are compared on this."""

# So that the logarithm of no difference at all is a number: the square of a seventh of a step.
_NOTHING = 0.02


@dataclass(frozen=True)
class Reference:
    """A picture that others are compared to, prepared once."""

    scales: tuple[tuple[Image.Image, Image.Image], ...]
    """Luma and its detail, the largest scale first."""
    chroma: tuple[Image.Image, Image.Image]


def refer_to(image: Image.Image) -> Reference:
    """Prepare the picture as it is before it is encoded."""
    luma, *chroma = _channels(image)
    return Reference(tuple(_pyramid(luma)), (chroma[0], chroma[1]))


def score(reference: Reference, image: Image.Image) -> float:
    """Return how much a decoded picture of the same size looks like the reference: 100 is the
    same, 90 cannot be told apart, 70 is good, 50 middling, 30 poor.
    """
    model = CALIBRATION.score
    total = model.best + model.by_size * doublings(image.width * image.height)
    for value, term in zip(features(reference, image), model.terms, strict=True):
        total -= term.first_slope * max(0.0, min(value, term.middle) - term.lowest)
        total -= term.second_slope * max(0.0, value - term.middle)
    return min(total, 100.0)


def doublings(pixels: int) -> float:
    """Return how often the pixels are double those of the smallest size that was calibrated at."""
    return math.log2(pixels / CALIBRATION.pixels[0])


def features(reference: Reference, image: Image.Image) -> list[float]:
    """Return what the score is made of, in the order of the fitted terms."""
    luma, *chroma = _channels(image)
    found = []
    pairs = zip(reference.scales, _pyramid(luma), strict=True)
    for (known, known_detail), (other, detail) in pairs:
        difference = ImageChops.difference(known, other)
        found += [
            _log_square(ImageChops.subtract(known_detail, detail)),
            _log_square(ImageChops.subtract(detail, known_detail)),
            _log_square(ImageChops.subtract(difference, known_detail)),
        ]
    for known, other in zip(reference.chroma, chroma, strict=True):
        found.append(_log_square(ImageChops.difference(known, other)))
    return found


def _channels(image: Image.Image) -> list[Image.Image]:
    """Return luma, and both chromas at half scale."""
    luma, *chroma = tiled(without_alpha(image).convert("RGB")).convert("YCbCr").split()
    return [luma, *(channel.reduce(2) for channel in chroma)]


def without_alpha(image: Image.Image) -> Image.Image:
    """Return a transparent picture as it is looked at, without alpha; any other as it is."""
    if not image.has_transparency_data:  # in a palette, too, as PNGs of graphics have it
        return image
    canvas = Image.new("RGBA", image.size, _BACKGROUND)
    canvas.alpha_composite(image.convert("RGBA"))
    return canvas.convert("RGB")


def sampled(image: Image.Image, side_pixels: int) -> Image.Image:
    """Return so many by so many pixels of a picture as they are, evenly spread; of a side that is
    shorter, all.
    """
    size = (min(side_pixels, image.width), min(side_pixels, image.height))
    return image.resize(size, Image.Resampling.NEAREST)


def tiled(image: Image.Image, tile_pixels: int = _TILE_PIXELS) -> Image.Image:
    """Return sixteen tiles of a large picture side by side, so wide and high each; what is small is
    returned whole.
    """
    whole = _TILES * tile_pixels
    if min(image.size) < whole:
        return image
    tiles = Image.new(image.mode, (whole, whole))
    for row in range(_TILES):
        for column in range(_TILES):
            left = (image.width - tile_pixels) * column // (_TILES - 1)
            top = (image.height - tile_pixels) * row // (_TILES - 1)
            tile = image.crop((left, top, left + tile_pixels, top + tile_pixels))
            tiles.paste(tile, (column * tile_pixels, row * tile_pixels))
    return tiles


def _pyramid(luma: Image.Image) -> Iterator[tuple[Image.Image, Image.Image]]:
    for _ in range(_SCALES):
        half = luma.reduce(2)
        smooth = half.resize(luma.size, Image.Resampling.BILINEAR)
        yield luma, ImageChops.difference(luma, smooth)
        luma = half


def _log_square(difference: Image.Image) -> float:
    pixels = difference.width * difference.height
    return math.log(_NOTHING + ImageStat.Stat(difference).sum2[0] / pixels)
