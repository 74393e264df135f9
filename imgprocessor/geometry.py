"""Sizes and boxes, in whole-number arithmetic, so that every machine rounds alike."""

import math
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum


class Fit(StrEnum):
    """What to do when the original's shape is not the box's."""

    INSIDE = "inside"  # all of the picture, undistorted, never enlarged
    FORCE = "force"  # exactly the box, distorted or enlarged if need be
    COVER = "cover"  # exactly the box, undistorted, the rest cut off evenly


class Flip(StrEnum):
    """How a picture is mirrored, as it is displayed."""

    ACROSS = "h"  # left and right are exchanged
    DOWN = "v"  # top and bottom are
    BOTH = "hv"


Gravity = tuple[Decimal, Decimal]
"""A point of a picture that is to stay in sight: shares of its width and height, from the left and
from the top.
"""

_START, _MIDDLE, _END = Decimal(0), Decimal("0.5"), Decimal(1)

CENTRE: Gravity = (_MIDDLE, _MIDDLE)

COMPASS: dict[str, Gravity] = {
    "centre": CENTRE,
    "north": (_MIDDLE, _START),
    "northeast": (_END, _START),
    "east": (_END, _MIDDLE),
    "southeast": (_END, _END),
    "south": (_MIDDLE, _END),
    "southwest": (_START, _END),
    "west": (_START, _MIDDLE),
    "northwest": (_START, _START),
}
"""The points that have words."""


@dataclass(frozen=True)
class Size:
    """Width and height of a picture, in pixels, each at least 1."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    def turned(self) -> "Size":
        """Return the size after a quarter turn."""
        return Size(self.height, self.width)


@dataclass(frozen=True)
class Box:
    """Room for a picture: a side that is None is free. At least one side is given."""

    width: int | None
    height: int | None

    def __str__(self) -> str:
        return f"{self.width or ''}x{self.height or ''}"

    @property
    def longest(self) -> int:
        """The longer of the sides that are given."""
        return max(self.width or 0, self.height or 0)

    @property
    def is_lone(self) -> bool:
        """Whether only one side is given, so that the other follows from the picture."""
        return self.width is None or self.height is None

    def times(self, factor: Decimal) -> "Box":
        """Return the box `factor` times as large, sides rounded half up."""
        return Box(_times(self.width, factor), _times(self.height, factor))


@dataclass(frozen=True)
class Layout:
    """How an original becomes a rendition.

    `part` is what is kept of the original (left, top, right, bottom, in its pixels, fractions
    allowed); `size` is what that part is scaled to.
    """

    part: tuple[float, float, float, float]
    size: Size

    def mirrored(self, original: Size, *, across: bool, down: bool) -> "Layout":
        """Return the layout for the original, of this size, with left and right (`across`) or top
        and bottom (`down`) exchanged.
        """
        left, top, right, bottom = self.part
        if across:
            left, right = _from_other_end(left, right, original.width)
        if down:
            top, bottom = _from_other_end(top, bottom, original.height)
        return Layout((left, top, right, bottom), self.size)

    def transposed(self) -> "Layout":
        """Return the layout for the original with columns and rows exchanged."""
        left, top, right, bottom = self.part
        return Layout((top, left, bottom, right), self.size.turned())


def inside(original: Size, box: Box) -> Size:
    """Return the largest size of the original's shape that fits the box, never enlarged."""
    size = original
    if box.width is not None and box.width < size.width:
        size = Size(box.width, _proportional(original.height, box.width, original.width))
    if box.height is not None and box.height < size.height:
        size = Size(_proportional(original.width, box.height, original.height), box.height)
    return size


def lay_out(original: Size, box: Box, fit: Fit, max_side: int, gravity: Gravity = CENTRE) -> Layout:
    """Return how an original of this size is put into a box of device pixels.

    Cover keeps the part whose middle is as near the point of gravity as the edges allow. With one
    side free, force and cover both give exactly the other side. No side of the result is over
    `max_side`: an extreme shape is made smaller, its aspect kept.
    """
    part = (0.0, 0.0, float(original.width), float(original.height))
    limit = Box(max_side, max_side)
    if fit is Fit.INSIDE:
        return Layout(part, inside(inside(original, box), limit))
    if box.width is None or box.height is None:
        return Layout(part, inside(_stretched(original, box), limit))
    size = Size(box.width, box.height)
    if fit is Fit.COVER:
        part = _part_around(gravity, original, size)
    return Layout(part, inside(size, limit))


def share(original: Size, percent: int) -> Size:
    """Return so many percent of the original's width and height."""
    return Size(
        _proportional(original.width, percent, 100), _proportional(original.height, percent, 100)
    )


def _stretched(original: Size, box: Box) -> Size:
    if box.width is not None:
        return Size(box.width, _proportional(original.height, box.width, original.width))
    if box.height is not None:
        return Size(_proportional(original.width, box.height, original.height), box.height)
    return original


def _part_around(gravity: Gravity, original: Size, size: Size) -> tuple[float, float, float, float]:
    if original.width * size.height > original.height * size.width:
        width = original.height * size.width / size.height
        left, right = _stretch_around(gravity[0], width, original.width)
        return (left, 0.0, right, float(original.height))
    height = original.width * size.height / size.width
    top, bottom = _stretch_around(gravity[1], height, original.height)
    return (0.0, top, float(original.width), bottom)


def _stretch_around(share: Decimal, stretch: float, length: int) -> tuple[float, float]:
    """Return where a stretch of a length starts and ends whose middle is near a share of it."""
    room = length - stretch
    start = room / 2 + float(share - _MIDDLE) * length
    start = min(max(start, 0.0), room)
    return start, start + stretch


def _from_other_end(start: float, end: float, length: int) -> tuple[float, float]:
    """Return where a stretch starts and ends, counted from the other end of a length."""
    # What is centred stays the same number: a difference would be rounded to one close by.
    if math.isclose(start + end, length, rel_tol=1e-12):
        return start, end
    return length - end, length - start


def _proportional(length: int, numerator: int, denominator: int) -> int:
    """`length * numerator / denominator`, rounded half up, at least 1."""
    return max(1, (2 * length * numerator + denominator) // (2 * denominator))


def _times(length: int | None, factor: Decimal) -> int | None:
    if length is None:
        return None
    return int((length * factor).to_integral_value(ROUND_HALF_UP))
