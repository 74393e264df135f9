"""What will be done to the pixels, decided before any are read."""

import math
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache
from typing import Literal

from imgprocessor.config.settings import PixelsSettings
from imgprocessor.errors import CropOutside
from imgprocessor.formats import Format
from imgprocessor.geometry import (
    CENTRE,
    Box,
    Crop,
    Fit,
    Flip,
    Gravity,
    Layout,
    Page,
    Size,
    inside,
    lay_out,
    share,
)
from imgprocessor.policy.negotiation import Decision
from imgprocessor.policy.table import DENSITIES, Cell, Effort
from imgprocessor.request.parameters import ImageQuery

_LQIP_BOX = Box(16, 16)
_LQIP_CELL = Cell(quality=50)
_LQIP_BYTES = 199
"""What everybody gets who asks for bytes to be shown blurred."""

_SLOW_FORMATS: frozenset[Format] = frozenset({"avif", "png"})
"""Those that get lighter in more time than anybody should wait."""


@dataclass(frozen=True)
class Plan:
    """Everything that shapes a rendition's bytes, but for the original itself.

    Every field is in the imagekey, and a field that cannot change the bytes is None here, so that
    requests that differ only in what cannot matter share a plan.
    """

    box: Box | None
    """The size asked for, in CSS pixels; None when the cell says how wide."""
    fit: Fit | None
    """None without a box."""
    density: Decimal | None
    """Device pixels per CSS pixel, one of `DENSITIES`; None without a box."""
    bandwidth: str | None
    """The class; None where all get the same."""
    screen: str | None
    """The row of the table; None with a box."""
    formats: tuple[Format, ...]
    """What may be sent, from the richest to the plainest; one where the query names it."""
    quality_limit: int | None
    """The query's own quality, where it is lower than the cell's."""
    bytes_limit: int | None
    """The query's own budget, where it is lower than the cell's."""
    cell: Cell
    pixels: PixelsSettings
    encoders: str
    """The versions of what decodes and encodes: another version may write other bytes."""
    page: Page | None = None
    """Of a document; None for the first, and for all that there is of a picture."""
    crop: Crop | None = None
    """None where all of the original is wanted."""
    max_height: int | None = None
    """In CSS pixels; None without a lone width."""
    gravity: Gravity | None = None
    """None where nothing is cut off, or as much at both ends."""
    flip: Flip | None = None
    """None where nothing is mirrored."""
    lqip: bool | None = None
    """True where a few bytes are to be shown blurred until the picture is there."""
    effort: Effort | Literal["at once"] | None = None
    """How long may be taken; None where no more time makes anything lighter. What is made quickly
    of a plan that says `behind` is made by the same with `quick`, or, for who is on a good network,
    with `at once`: in the format that takes least time; and the best as it is.
    """

    @property
    def max_quality(self) -> int:
        """The highest quality to encode at, on the scale of libjpeg-turbo, 1 to 100."""
        return self.cell.quality if self.quality_limit is None else self.quality_limit

    @property
    def budget_bytes(self) -> int | None:
        """What the body may weigh at most."""
        return self.cell.budget_bytes if self.bytes_limit is None else self.bytes_limit

    def lay_out(self, original: Size) -> Layout:
        """Return what becomes of an original of this size (as displayed, after orientation).

        Raises:
            CropOutside: it has nothing of the crop.
        """
        return _lay_out(self, original)

    def reached_density(self, original: Size, size: Size) -> Decimal | None:
        """Return the device pixels per CSS pixel of a rendition of this size.

        It is the density honoured, or less where the original had too few pixels or the budget
        too few bytes: a browser that lays the picture out by it always gets the size asked for.
        None without a box.
        """
        if self.density is None:
            return None
        css_width = replace(self, density=Decimal(1)).lay_out(original).size.width
        if abs(size.width - css_width * self.density) <= self.density:
            return self.density  # all but for rounding
        return (Decimal(size.width) / css_width).quantize(Decimal("0.001"))


@lru_cache(maxsize=16)
def _lay_out(plan: Plan, original: Size) -> Layout:
    """Return what `Plan.lay_out` does, which each step of a rendition asks for."""
    if plan.crop is None:
        return _laid_out(plan, original)
    part = plan.crop.of(original)
    if part is None:
        raise CropOutside(f"crop {plan.crop} of {original}")
    left, top, right, bottom = part
    return _laid_out(plan, Size(right - left, bottom - top)).moved(left, top)


def _laid_out(plan: Plan, original: Size) -> Layout:
    max_side = plan.pixels.max_output_side_pixels
    if plan.box is not None and plan.fit is not None and plan.density is not None:
        box, gravity = plan.box.times(plan.density), plan.gravity or CENTRE
        highest = Box(None, plan.max_height).times(plan.density).height
        return lay_out(original, box, plan.fit, max_side, gravity, max_height=highest)
    wanted = original
    if plan.cell.width_pixels is not None:
        wanted = inside(original, Box(plan.cell.width_pixels, None))
    elif plan.cell.width_percent is not None:
        wanted = share(original, plan.cell.width_percent)
    return lay_out(original, Box(wanted.width, wanted.height), Fit.INSIDE, max_side)


def make_plan(
    query: ImageQuery,
    decision: Decision,
    pixels: PixelsSettings,
    encoders: str,
    effort: Effort,
) -> Plan:
    """Join what was asked and what was decided into what will be done."""
    if query.lqip:
        return _lqip_plan(query, pixels, encoders)
    cell = decision.cell
    lowers_quality = query.quality is not None and query.quality < cell.quality
    lossless = {"gif", "png"}.issuperset(decision.formats)
    allowed = math.inf if cell.budget_bytes is None else cell.budget_bytes
    lowers_budget = query.max_bytes is not None and query.max_bytes < allowed
    return Plan(
        box=query.box,
        fit=_effective_fit(query),
        density=_honoured_density(query.box, decision, pixels.max_output_side_pixels),
        bandwidth=decision.bandwidth,
        screen=decision.screen,
        formats=decision.formats,
        quality_limit=query.quality if lowers_quality and not lossless else None,
        bytes_limit=query.max_bytes if lowers_budget else None,
        cell=cell,
        pixels=pixels,
        encoders=encoders,
        page=query.page,
        crop=query.crop,
        max_height=_effective_max_height(query),
        gravity=_effective_gravity(query),
        flip=query.flip,
        effort=effort if _SLOW_FORMATS & {*decision.formats} else None,
    )


def _lqip_plan(query: ImageQuery, pixels: PixelsSettings, encoders: str) -> Plan:
    """Return what depends on the original alone, and on which part of it is shown which way."""
    return Plan(
        box=_LQIP_BOX,
        fit=Fit.INSIDE,
        density=DENSITIES[0],
        bandwidth=None,
        screen=None,
        formats=("webp",),
        quality_limit=None,
        bytes_limit=_LQIP_BYTES,
        cell=_LQIP_CELL,
        pixels=replace(pixels, min_quality=1),  # blurred, and so the size comes first
        encoders=encoders,
        page=query.page,
        crop=query.crop,
        flip=query.flip,
        lqip=True,
    )


def _effective_fit(query: ImageQuery) -> Fit | None:
    if query.box is None:
        return None
    if query.box.is_lone and query.fit is Fit.COVER:
        return Fit.FORCE  # with one side free there is nothing to cut off
    return query.fit


def _effective_gravity(query: ImageQuery) -> Gravity | None:
    cuts = query.box is not None and _effective_fit(query) is Fit.COVER
    return query.gravity if cuts and query.gravity != CENTRE else None


def _effective_max_height(query: ImageQuery) -> int | None:
    return None if query.width is None or query.height is not None else query.max_height


def _honoured_density(box: Box | None, decision: Decision, max_side: int) -> Decimal | None:
    """The visitor's density rounded up, capped by the cell and by the longest side sent."""
    if box is None:
        return None
    honoured = DENSITIES[0]
    for density in DENSITIES[1:]:
        larger = box.times(density)
        if density > decision.cell.max_density or larger.longest > max_side:
            break
        if honoured < decision.dpr:
            honoured = density
    return honoured
