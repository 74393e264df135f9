"""Ways to encode a picture: those that may give the lightest answer, by what the picture is.

A photograph is worth one lossy format, and sometimes another; a graphic is worth a lossless one,
too, as it is and in few colours. What is listed may still not be tried: see `may_win`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial

from PIL import Image

from imgprocessor.formats import UNIVERSAL, Format
from imgprocessor.images.compression.kind import PictureKind, kind_of
from imgprocessor.images.compression.palette import in_few_colours
from imgprocessor.images.compression.score import tiled
from imgprocessor.images.formats.avif import AVIF_ENCODER, AVIF_GRAPHICS, AVIF_SLOW
from imgprocessor.images.formats.encoder import Encoder
from imgprocessor.images.formats.encoders import ENCODERS
from imgprocessor.images.formats.jpeg import JPEG_GRAPHICS
from imgprocessor.images.formats.png import MOST_QUICK_PIXELS, PNG_GRAPHICS, PNG_SLOW
from imgprocessor.images.formats.webp import WEBP_LOSSLESS, WEBP_QUICK
from imgprocessor.policy.plan import Plan

_SMALL_PIXELS = 40_000
"""So small a picture is encoded in every format: it takes little time, and any may win."""

_WEBP_MOST_PIXELS = 500_000
_WEBP_MOST_BITS = 0.55
"""Bits a pixel of a photograph's AVIF, over which WebP was never lighter; nor, by more than 1 % of
all bytes, in larger pictures.
"""
_AVIF_SLOW_MOST_PIXELS = 4_000_000
"""Of a larger picture the slow way takes too much of a worker's time, `max_processor_seconds`: of
noise of four megapixels with a budget 10 s.
"""
_JPEG_LEAST_BITS = 0.6
"""Under which JPEG was never lighter than AVIF. Both over 26 photographs, 40 to 1600 pixels wide,
at qualities from 20 to 97.
"""
_JPEG_QUALITY = 95
"""From here on JPEG is lighter than AVIF, which takes a third more at 97."""

_LOSSY_LEAST_BITS = 0.15
_AVIF_LEAST_BITS = 0.5
"""Bits a pixel of the lightest so far of a graphic, under which nothing lossy is worth a trial, and
AVIF not its time, five times that of all others: over 133 graphics files weigh 0.5 to 2 % more.
"""
_MOST_SEARCHED_PIXELS = 1_000_000
"""Of a larger graphic AVIF is searched with a photograph's settings: with its own, one trial of
four megapixels takes one to five seconds, and there may be more than seven.
"""
_MOST_COLOURS_ANYWAY = 16
"""A picture that has no more is not brought to fewer."""

_GUESS_TILE_PIXELS = 48
"""What lossless WebP makes of sixteen tiles so wide and high, with little effort, tells within a
third what it makes of the whole: 6 ms in place of 91. PNG weighs more, of tiles as of the whole.
"""
_EXACT_MOST_TIMES = 2.5
"""The best so far, over which a guess is no more worth a trial: of 212 graphics files one was
lighter without loss, although guessed to be heavier than that.
"""

_PNG_MOST_BITS = 3.5
"""Bits a pixel guessed without loss, over which a client that takes no WebP is sent JPEG, and not
few colours as PNG, which take 200 ms: of 27 graphics files PNG was lighter for 2, by a fifth.
"""

_LOSSLESS: dict[Format, Encoder] = {"webp": WEBP_LOSSLESS, "png": PNG_GRAPHICS}
"""What writes a graphic without loss; which of them is tried, the order of formats says."""


@dataclass(frozen=True, eq=False)
class Way:
    """An encoder, and the pixels that it is given."""

    encoder: Encoder
    image: Image.Image
    guessed_bytes: float = 0.0
    """What it makes, more or less, where that was looked at."""
    is_slow: bool = False
    """Whether it takes longer than anybody should wait."""


def ways_of(image: Image.Image, plan: Plan, *, is_untouched: bool) -> Iterator[Way]:
    """Yield the ways for a picture (grey, RGB or RGBA), what is likely to win first.

    Args:
        image: what is to be encoded.
        plan: the formats that may be sent, and the quality.
        is_untouched: whether the pixels are those of an original that was never lossy, nor scaled;
            otherwise edges have thousands of colours.
    """
    formats = [known for known in plan.formats if known in ENCODERS]
    if image.mode == "RGBA":
        formats = [known for known in formats if ENCODERS[known].keeps_alpha]
    if image.width * image.height > plan.pixels.max_modern_pixels:
        formats = [known for known in formats if known in UNIVERSAL] or formats[-1:]
    kind = kind_of(image)
    if kind.is_graphic or kind.colours is not None:
        yield from _of_graphic(image, plan, formats, kind, is_untouched=is_untouched)
    else:
        ways = _of_photograph(image, formats, plan.max_quality)
        yield from sorted(ways, key=_takes_long) if plan.effort == "at once" else ways


def may_win(way: Way, best: Way, weight_bytes: int) -> bool:
    """Whether a way is worth a trial, where the best so far gives so many bytes."""
    pixels = way.image.width * way.image.height
    bits = 8 * weight_bytes / pixels
    if way.encoder.is_lossless:
        return way.guessed_bytes <= _EXACT_MOST_TIMES * weight_bytes
    if way.encoder is AVIF_GRAPHICS:
        return bits > _AVIF_LEAST_BITS
    if best.encoder.is_lossless:
        return bits > _LOSSY_LEAST_BITS
    if best.encoder.format != "avif" or pixels <= _SMALL_PIXELS:
        return True
    if way.encoder.format == "webp":
        return pixels <= _WEBP_MOST_PIXELS and bits < _WEBP_MOST_BITS
    return bits > _JPEG_LEAST_BITS


def slower_ways(tried: Iterable[Way], best: Way) -> Iterator[Way]:
    """Yield the ways that take longer than those that were tried, and may give a lighter answer
    than the best of them.
    """
    pixels = best.image.width * best.image.height
    for way in tried:
        if way.encoder is AVIF_ENCODER and pixels <= _AVIF_SLOW_MOST_PIXELS:
            yield Way(AVIF_SLOW, way.image, is_slow=True)
    if best.encoder is PNG_GRAPHICS and pixels > MOST_QUICK_PIXELS:
        yield Way(PNG_SLOW, best.image, is_slow=True)


def _of_photograph(
    image: Image.Image, formats: Sequence[Format], max_quality: int
) -> Iterator[Way]:
    lossy = [known for known in formats if not ENCODERS[known].is_lossless]
    if max_quality >= _JPEG_QUALITY and "jpeg" in lossy:
        lossy = [known for known in lossy if known != "avif"]
    # Without any there is PNG alone, or there is alpha.
    for known in lossy or formats[:1]:
        yield Way(ENCODERS[known], image)


def _takes_long(way: Way) -> bool:
    """Whether there is a format that takes less time: JPEG takes 4 to 8 ms at 1080 pixels, all of
    them together, where a browser takes AVIF, 80.
    """
    return way.encoder.format != "jpeg"


def _of_graphic(
    image: Image.Image,
    plan: Plan,
    formats: Sequence[Format],
    kind: PictureKind,
    *,
    is_untouched: bool,
) -> Iterator[Way]:
    lossless = next((_LOSSLESS[known] for known in formats if known in _LOSSLESS), None)
    must_be_exact = plan.formats == ("png",)  # a client that asks for PNG alone wants every pixel
    is_first = must_be_exact or kind.colours is not None
    with_loss = list(_with_loss(image, plan, formats))
    guess = cache(partial(_guessed_bytes, image))
    if lossless is not None:
        if is_first:
            yield Way(lossless, image)
        has_many_colours = kind.colours is None or kind.colours > _MOST_COLOURS_ANYWAY
        is_tried = has_many_colours and not must_be_exact
        if is_tried and lossless is PNG_GRAPHICS and with_loss:
            is_tried = 8 * guess() <= _PNG_MOST_BITS * image.width * image.height
        if is_tried:
            few = in_few_colours(image, plan.max_quality)
            if few is not None:
                yield Way(lossless, few)
    yield from with_loss
    # There may be no other way: few colours may not do.
    if lossless is not None and not is_first and (is_untouched or not with_loss):
        yield Way(lossless, image, guess())


def _with_loss(image: Image.Image, plan: Plan, formats: Sequence[Format]) -> Iterator[Way]:
    """Yield the lossy ways of a graphic. JPEG is heavier and blurs more than any other."""
    if "jxl" in formats:
        yield Way(ENCODERS["jxl"], image)
    if "webp" in formats:
        yield Way(ENCODERS["webp"], image)
    if "avif" in formats:
        is_searched = plan.budget_bytes is not None or plan.cell.target_score is not None
        is_large = image.width * image.height > _MOST_SEARCHED_PIXELS
        yield Way(ENCODERS["avif"] if is_searched and is_large else AVIF_GRAPHICS, image)
    if "jpeg" in formats and not {"webp", "avif"} & {*formats}:
        yield Way(JPEG_GRAPHICS, image)


def _guessed_bytes(image: Image.Image) -> float:
    """Return what a picture weighs without loss, more or less."""
    tiles = tiled(image, _GUESS_TILE_PIXELS)
    share = tiles.width * tiles.height / (image.width * image.height)
    return len(WEBP_QUICK.write(tiles, 0, b"")) / share
