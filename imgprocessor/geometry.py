"""Sizes and boxes, in whole-number arithmetic, so that every machine rounds alike."""

import math
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import Final, Literal


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


UPPER: Final = "upper"
"""No point: of what is lost in height, one part is lost at the top for three at the bottom."""

Gravity = tuple[Decimal, Decimal] | Literal["upper"]
"""A point of a picture that is to stay in sight: shares of its width and height, from the left and
from the top; or `UPPER`.
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
class Page:
    """A page of a document, from 1; of a video a moment, in percent of its time or in seconds."""

    number: int
    unit: Literal["", "%", "s"] = ""

    def __str__(self) -> str:
        return f"{self.number}{self.unit}"


FIRST_PAGE = Page(1)
"""The one that is shown where none is named; of a video a moment that shows what is in it."""


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
class Crop:
    """A rectangle of a picture as displayed; width and height are at least 1."""

    left: int
    top: int
    width: int
    height: int
    is_percent: bool = False
    """Whether it is in percent of the picture's sides; otherwise in pixels."""

    def __str__(self) -> str:
        unit = "%" if self.is_percent else ""
        sides = (self.left, self.top, self.width, self.height)
        return ",".join(f"{side}{unit}" for side in sides)

    def of(self, original: Size) -> tuple[int, int, int, int] | None:
        """Return as much of it as a picture of this size has (left, top, right, bottom, in whole
        pixels); None where it has nothing of it.
        """
        left, right = self._inside(self.left, self.width, original.width)
        top, bottom = self._inside(self.top, self.height, original.height)
        return (left, top, right, bottom) if left < right and top < bottom else None

    def _inside(self, start: int, stretch: int, length: int) -> tuple[int, int]:
        end = start + stretch
        if self.is_percent:
            # Edges are rounded half up, so that neighbours meet; a pixel is left of a thin one.
            start, end = ((2 * length * edge + 100) // 200 for edge in (start, end))
            start = min(start, length - 1)
            end = max(start + 1, end)
        return start, min(end, length)


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

    def moved(self, left: int, top: int) -> "Layout":
        """Return the layout of a part for the original that has it there."""
        start, upper, end, lower = self.part
        return Layout((start + left, upper + top, end + left, lower + top), self.size)

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


def lay_out(
    original: Size,
    box: Box,
    fit: Fit,
    max_side: int,
    gravity: Gravity = CENTRE,
    *,
    max_height: int | None = None,
) -> Layout:
    """Return how an original of this size is put into a box of device pixels.

    Cover keeps the part whose middle is as near the point of gravity as the edges allow. With one
    side free, force and cover both give exactly the other side. Of what is higher than
    `max_height` then, the top is kept. No side of the result is over `max_side`: an extreme shape
    is made smaller, its aspect kept.
    """
    part = (0.0, 0.0, float(original.width), float(original.height))
    size = inside(original, box) if fit is Fit.INSIDE else _stretched(original, box)
    if fit is Fit.COVER and not box.is_lone:
        part = _part_around(gravity, original, size)
    if max_height is not None and size.height > max_height:
        left, top, right, bottom = part
        part = (left, top, right, top + (bottom - top) * max_height / size.height)
        size = Size(size.width, max_height)
    return Layout(part, inside(size, Box(max_side, max_side)))


def share(original: Size, percent: int) -> Size:
    """Return so many percent of the original's width and height."""
    return Size(
        _proportional(original.width, percent, 100), _proportional(original.height, percent, 100)
    )


def _stretched(original: Size, box: Box) -> Size:
    if box.width is not None and box.height is not None:
        return Size(box.width, box.height)
    if box.width is not None:
        return Size(box.width, _proportional(original.height, box.width, original.width))
    if box.height is not None:
        return Size(_proportional(original.width, box.height, original.height), box.height)
    return original


def _part_around(gravity: Gravity, original: Size, size: Size) -> tuple[float, float, float, float]:
    across, down = (_MIDDLE, None) if isinstance(gravity, str) else gravity
    if original.width * size.height > original.height * size.width:
        width = original.height * size.width / size.height
        left, right = _stretch_around(across, width, original.width)
        return (left, 0.0, right, float(original.height))
    height = original.width * size.height / size.width
    top, bottom = _stretch_around(down, height, original.height)
    return (0.0, top, float(original.width), bottom)


def _stretch_around(share: Decimal | None, stretch: float, length: int) -> tuple[float, float]:
    """Return where a stretch of a length starts and ends: its middle near a share of the length;
    without one, a quarter of what is lost before it.
    """
    room = length - stretch
    start = room / 4 if share is None else room / 2 + float(share - _MIDDLE) * length
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
