"""Palettes: a graphic brought to few colours, so that a lossless format makes little of it."""

import heapq
import math
from bisect import bisect_left
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from PIL import Image, ImageChops

from imgprocessor.images.compression.calibration import CALIBRATION
from imgprocessor.images.compression.score import sampled, tiled, without_alpha

_SAMPLE_SIDE_PIXELS = 96
"""Colours are chosen among so many by so many pixels of a picture, evenly spread: of all pixels it
takes ten times as long, for the same colours but for those of the smallest parts.
"""

_MAX_EXACT = 16

_COLOURS = (16, 32, 64, 128, 256)

_ALPHA_STEP = 255 / 31

_EXACT, _BY_LUMA, _BY_CHROMA = 84.7, 3.2, 2.5
"""What few colours score on the scale of SSIMULACRA2, by the logarithms of the fourth powers' means
of differences: of luma at half scale, and of each chroma at an eighth, so that a part that changes
its hue counts. Fitted over 150 graphics in 16 to 256 colours; off by 5 points.
"""
_NOTHING = 0.02

_MARGIN = 5
"""So many points above a photograph at the same quality: fewer colours show at once."""

_HUE_PART_PIXELS = 2
_MOST_HUE_LOST = 36
"""By so much, of 255, may a chroma of a part so wide and high change: the score is a mean, in which
small parts count for nothing. Of drawn graphics that look right the worst part changes by 0 to 32;
a thin blue line among greys that turns grey, by 41, and what is wider by 82.
"""
_LUMA_PART_PIXELS = 8
_MOST_LUMA_CHANGED = 6
"""The same of luma: of graphics that look right the worst part changes by 0 to 5, of those whose
shades fall into bands by 8 to 17.
"""


def in_few_colours(image: Image.Image, quality: int) -> Image.Image | None:
    """Return an RGB or RGBA picture in as few colours, and 32 steps of alpha, as look like this
    quality; None where 256 do not. Nothing is dithered: that looks like noise, and weighs as much.
    """
    opaque, alpha = _visible(image), None
    if image.mode == "RGBA":
        alpha = image.getchannel("A").point(_in_steps)
    judge, sample = _Judge(tiled(opaque)), sampled(opaque, _SAMPLE_SIDE_PIXELS)
    wanted = CALIBRATION.scores[quality - 1] + _MARGIN
    palette = cache(partial(_palette, sample, _frequent(sample)))
    enough = bisect_left(_COLOURS, wanted, key=lambda colours: judge.score(palette(colours)))
    for colours in _COLOURS[enough:]:
        few = palette(colours).mapped(opaque)
        if alpha is not None:
            few.putalpha(alpha)
        if _keeps_parts(image, few):
            return few
    return None


@dataclass(frozen=True)
class _Palette:
    """Colours, and which of them each pixel comes to."""

    chosen: Image.Image
    """A picture with the colours that pixels are compared to."""
    colours: list[int]
    """What they then get: red, green and blue of each."""

    def mapped(self, image: Image.Image) -> Image.Image:
        """Return a picture with each pixel in the nearest colour."""
        few = image.quantize(palette=self.chosen, dither=Image.Dither.NONE)
        few.putpalette(self.colours)
        return few.convert("RGB")


class _Judge:
    """Says what a picture scores in the colours of a palette."""

    def __init__(self, image: Image.Image) -> None:
        self._image = image
        self._channels = _reduced_channels(image)

    def score(self, palette: _Palette) -> float:
        """Return the score, more or less."""
        other = _reduced_channels(palette.mapped(self._image))
        luma, *chroma = (
            _fourth_power(ImageChops.difference(one, two))
            for one, two in zip(self._channels, other, strict=True)
        )
        return _EXACT - _BY_LUMA * luma - _BY_CHROMA * sum(chroma)


def _keeps_parts(image: Image.Image, few: Image.Image) -> bool:
    """Whether no part of a picture has another hue in few colours, nor another brightness, as the
    bands have that a gradient falls into.
    """
    before, after = (without_alpha(one).convert("RGB") for one in (image, few))
    _, *chroma = _changes(before, after, _HUE_PART_PIXELS)
    luma, *_ = _changes(before, after, _LUMA_PART_PIXELS)
    most = ((luma, _MOST_LUMA_CHANGED), *((channel, _MOST_HUE_LOST) for channel in chroma))
    return not any(any(channel.histogram()[limit + 1 :]) for channel, limit in most)


def _changes(before: Image.Image, after: Image.Image, pixels: int) -> tuple[Image.Image, ...]:
    """Return how much luma and chroma change in parts so many pixels wide and high."""
    reduced = (one.reduce(pixels).convert("YCbCr") for one in (before, after))
    return ImageChops.difference(*reduced).split()


def _visible(image: Image.Image) -> Image.Image:
    """Return a picture without alpha. What cannot be seen must take no colour of its own."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    opaque = Image.new("RGB", image.size)
    opaque.paste(image, mask=image.getchannel("A").point(lambda alpha: 255 if alpha else 0))
    return opaque


def _palette(sample: Image.Image, frequent: Image.Image, colours: int) -> _Palette:
    """Return so many colours of a sample, of which those that are frequent are exact: a white that
    is hardly darker than the page around it is seen at once, and Pillow rounds colours to four.
    """
    chosen = sample.quantize(colours, Image.Quantize.MEDIANCUT, kmeans=1, dither=Image.Dither.NONE)
    flat = list(chosen.getpalette() or [])
    places = frequent.quantize(palette=chosen, dither=Image.Dither.NONE).tobytes()
    exact = frequent.tobytes()
    # The most frequent last, where several come to one.
    for number in reversed(range(len(places))):
        place = 3 * places[number]
        flat[place : place + 3] = exact[3 * number : 3 * number + 3]
    return _Palette(chosen, flat)


def _frequent(sample: Image.Image) -> Image.Image:
    """Return a row of the colours of at least one pixel in a hundred, the most frequent first."""
    pixels = sample.width * sample.height
    found: Any = heapq.nlargest(_MAX_EXACT, sample.getcolors(pixels) or [])
    colours = [colour for count, colour in found if count * 100 >= pixels] or [found[0][1]]
    row = Image.new("RGB", (len(colours), 1))
    row.putdata(colours)
    return row


def _in_steps(alpha: float) -> float:
    return round(round(alpha / _ALPHA_STEP) * _ALPHA_STEP)


def _reduced_channels(image: Image.Image) -> tuple[Image.Image, Image.Image, Image.Image]:
    luma, blue, red = image.convert("YCbCr").split()
    return luma.reduce(2), blue.reduce(8), red.reduce(8)


def _fourth_power(difference: Image.Image) -> float:
    powers = sum(count * step**4 for step, count in enumerate(difference.histogram()) if count)
    return math.log(_NOTHING + powers / (difference.width * difference.height)) / 2
