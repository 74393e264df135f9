"""How far an original is reduced before a rendition is made from it: one ladder for all renditions.

The levels that are kept are gone through whether they have just been made or were kept, so that a
rendition has the same bytes either way. The first rendition of an original takes a shorter way.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from imgprocessor.geometry import Layout, Size
from imgprocessor.images.formats.structure import finest_draft

BASE_WIDTH_PIXELS = 1600
"""How wide an original's base is, as displayed; the original itself where it is hardly wider.

The base is decoded once, and all but the largest renditions are made from it: those up to 1333
pixels, which every phone of today is content with (430 CSS pixels at a density of 3). Of one size
for all, so that none has to be decoded a second time for want of a few pixels, and none takes
several times the room: libjpeg's own scales differ twofold. Scaled with Lanczos, because averaging
loses up to 13 points at 1264 pixels, where Lanczos loses 1.3.
"""

_MAX_BASE_PIXELS = 4_000_000
"""The base of a tall original is narrower: this is two and a half times as high as it is wide."""

_BASE_MARGIN = 1.2
"""So many times the size wanted the base must have at least; otherwise a rendition is made from
what is decoded for it, at the base's scale or a finer one. With just so many, renditions lose 0.3
points of SSIMULACRA2 on average and 1.6 at worst, over 19 photographs (benchmarks/masters.py).
"""

_MAX_KEPT_PIXELS = 8_000_000
"""Larger levels are not kept: 32 MB each. So an original of 12 megapixels is decoded for every new
rendition over 1666 pixels wide, and one of 24 for every one over 2500.
"""

_SMALLEST_SIDE_PIXELS = 160
"""No level's longer side is shorter: from there on halving saves less than it costs to keep."""


@dataclass(frozen=True)
class Level:
    """The original decoded at one `draft`-th of its scale, then scaled to `base`, or averaged over
    squares of `reduce` pixels.
    """

    draft: int
    """A power of two."""
    base: Size | None = None
    """None where it is not scaled."""
    reduce: int = 1
    """A power of two; 1 where there is a base."""

    def __str__(self) -> str:
        return f"{self.draft} {self.base} {self.reduce}"

    def turned(self) -> "Level":
        """Return the same level of the original lying on its side."""
        return Level(self.draft, self.base and self.base.turned(), self.reduce)

    def scale(self, original: Size) -> tuple[float, float]:
        """Return how many of the level's pixels there are for one of the original's, across and
        down. Its last column and row may be for less than a whole pixel.
        """
        if self.base is None:
            return 1 / (self.draft * self.reduce), 1 / (self.draft * self.reduce)
        return self.base.width / original.width, self.base.height / original.height


def choose_level(original: Size, layout: Layout, margin: float) -> Level:
    """Return the coarsest level that leaves the last resize enough to work with.

    Args:
        original: its size as displayed.
        layout: what is wanted of it, in its own pixels.
        margin: so many times the size wanted a half has at least.
    """
    wanted = _wanted(layout)
    draft, base = _base(original)
    level = Level(draft, base)
    if base is not None and not _suffices(level.scale(original), wanted, _BASE_MARGIN):
        return _finer(draft, max(wanted), finest_draft(original))
    for coarser in _halves(original, draft):
        if not _suffices(coarser.scale(original), wanted, margin):
            break
        level = coarser
    return level


def direct_level(original: Size, layout: Layout, margin: float, max_draft: int) -> Level:
    """Return the level of which one rendition is made soonest, by a decoder that reduces so much by
    itself: for an original of which no other has been wanted. Arguments as `choose_level` has them.
    """
    draft, wanted = choose_level(original, layout, margin).draft, _wanted(layout)
    while draft < max_draft and _suffices(Level(2 * draft).scale(original), wanted, margin):
        draft *= 2
    return Level(draft)


def levels_to_keep(original: Size, level: Level) -> list[Level]:
    """Return the levels that decoding for `level` makes cheap: that one, and the base and halves,
    where they are of what was decoded; each half after those that it is made from.
    """
    draft, base = _base(original)
    cheap = [Level(draft, base), *_halves(original, draft)] if level.draft == draft else []
    is_small = original.width * original.height // level.draft**2 <= _MAX_KEPT_PIXELS
    return [level, *cheap] if level not in cheap and is_small else cheap


def _base(original: Size) -> tuple[int, Size | None]:
    """Return what all but the largest renditions are made from: at which fraction of the original's
    scale it is decoded, and the size it then gets; None where it is the original.
    """
    pixels = original.width * original.height
    scale = min(BASE_WIDTH_PIXELS / original.width, math.sqrt(_MAX_BASE_PIXELS / pixels))
    if scale * _BASE_MARGIN >= 1:
        return 1, None
    sides = (max(1, round(side * scale)) for side in (original.width, original.height))
    size, draft = Size(*sides), 1
    while (
        original.width // (2 * draft) >= size.width
        and original.height // (2 * draft) >= size.height
    ):
        draft *= 2
    return draft, size


def _finer(draft: int, wanted: float, finest: int) -> Level:
    """Return the coarsest level, from this on, that is decoded and not scaled to a base; no finer
    one than there is memory for.
    """
    while draft > finest and 1 / draft < _BASE_MARGIN * wanted:
        draft //= 2
    return Level(draft)


def _halves(original: Size, draft: int) -> Iterator[Level]:
    """Yield what is averaged from the pixels that the base is scaled from, the largest first: less
    work than the base for the first visitor, who waits for one level only.
    """
    reduce = 2
    while max(original.width, original.height) // (draft * reduce) >= _SMALLEST_SIDE_PIXELS:
        yield Level(draft, None, reduce)
        reduce *= 2


def _wanted(layout: Layout) -> tuple[float, float]:
    """Return how many pixels are wanted for one of the original's, across and down."""
    left, top, right, bottom = layout.part
    return layout.size.width / (right - left), layout.size.height / (bottom - top)


def _suffices(scale: tuple[float, float], wanted: tuple[float, float], margin: float) -> bool:
    return all(has >= margin * wants for has, wants in zip(scale, wanted, strict=True))
