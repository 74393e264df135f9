"""How far an original is reduced before a rendition is made from it: one ladder for all renditions.

The same levels are gone through whether they are made from the original or were kept, so that a
rendition has the same bytes either way.
"""

from dataclasses import dataclass

from imgprocessor.geometry import Layout, Size

BASE_SIDE_PIXELS = 1280
"""The longest side of an original's base is from this to twice this, where it has that many.

The base is decoded once, and all but the largest renditions are made from it. For a rendition of
1600 or less on its longer side a larger base would give 0.2 points of SSIMULACRA2 at most
(benchmarks/masters.py), and 2.5 times the bytes on disk for twice the side.
"""

_BASE_MARGIN = 1.2
"""So many times the size wanted the base must have at least; otherwise the original is decoded at
a finer scale. With less, a rendition of 1080 pixels from a base of 1286 loses 5.7 points of
SSIMULACRA2, which is the worst of 19 photographs (benchmarks/masters.py).
"""

MAX_DRAFT = 8
"""libjpeg decodes at a half, a quarter and an eighth."""

_MAX_KEPT_PIXELS = 8_000_000
"""Larger levels are not kept: 32 MB each, for renditions over 2500 pixels on their longer side."""

_SMALLEST_SIDE_PIXELS = 160
"""No level's longer side is shorter: from there on halving saves less than it costs to keep."""


@dataclass(frozen=True)
class Level:
    """The original decoded at one `draft`-th of its scale, then averaged over `reduce` squared."""

    draft: int
    reduce: int

    def __str__(self) -> str:
        return f"{self.draft}x{self.reduce}"


def choose_level(stored: Size, layout: Layout, margin: float, *, drafts: bool) -> Level:
    """Return the coarsest level that leaves the last resize enough to work with.

    Args:
        stored: the original's size, before orientation.
        layout: what is wanted of it, in its own pixels.
        margin: so many times the size wanted a level below the base has at least.
        drafts: whether the decoder itself can reduce (libjpeg).
    """
    left, top, right, bottom = layout.part
    scale = max(layout.size.width / (right - left), layout.size.height / (bottom - top))
    base = _base(stored, drafts=drafts)
    if 1 / base >= _BASE_MARGIN * scale:
        coarser = base
        while 1 / (2 * coarser) >= margin * scale and _is_worth_halving(stored, coarser):
            coarser *= 2
        return _level(base, coarser, drafts=drafts)
    finer = base
    while finer > 1 and 1 / finer < _BASE_MARGIN * scale:
        finer //= 2
    return _level(finer, finer, drafts=drafts)


def levels_to_keep(stored: Size, level: Level, *, drafts: bool) -> list[Level]:
    """Return the levels that decoding for `level` makes cheap: that one, and where the base is
    among what it decodes, the base and all below it.
    """
    base = _base(stored, drafts=drafts)
    kept = {level}
    if not drafts or level.draft == base:
        reduction = base
        kept.add(_level(base, reduction, drafts=drafts))
        while _is_worth_halving(stored, reduction):
            reduction *= 2
            kept.add(_level(base, reduction, drafts=drafts))
    pixels = stored.width * stored.height
    small = (one for one in kept if pixels // (one.draft * one.reduce) ** 2 <= _MAX_KEPT_PIXELS)
    return sorted(small, key=lambda one: one.reduce)


def _is_worth_halving(stored: Size, reduction: int) -> bool:
    return max(stored.width, stored.height) // (2 * reduction) >= _SMALLEST_SIDE_PIXELS


def _base(stored: Size, *, drafts: bool) -> int:
    """Return how many times smaller than the original its base is: a power of two."""
    base = 1
    longest, shortest = max(stored.width, stored.height), min(stored.width, stored.height)
    while longest // (2 * base) >= BASE_SIDE_PIXELS and shortest // (2 * base) >= 1:
        if drafts and base == MAX_DRAFT:
            break
        base *= 2
    return base


def _level(base: int, reduction: int, *, drafts: bool) -> Level:
    return Level(base, reduction // base) if drafts else Level(1, reduction)
