"""What a cell weighs, and looks like on a typical device of its row: an estimate, by a table."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from imgprocessor.policy.limits import BYTES_A_KILOBYTE
from imgprocessor.policy.link import PICTURES_A_PAGE, link_of
from imgprocessor.policy.table import Bandwidth, Cell, Policy, Screen


@dataclass(frozen=True)
class Device:
    """A screen, across."""

    css_pixels: int
    density: Decimal

    @property
    def pixels(self) -> int:
        """Device pixels."""
        return round(self.css_pixels * self.density)


TYPICAL_DEVICES = (
    # 1,082 pixels. Many Android phones have nearly as many: 360 x 3, 393 x 2.75, 384 x 2.8125.
    Device(412, Decimal("2.625")),
    # iPads: 768 to 834 upright, at 2.
    Device(820, Decimal(2)),
    # The most common desktop, with a window over all of it.
    Device(1920, Decimal(1)),
)
"""The narrowest first."""


def device_of(screen: Screen, policy: Policy) -> Device:
    """Return the widest typical device of a row; where there is none, one as wide as the row, and
    as dense as the typical device next to it.
    """
    bounds = [known.max_css_pixels for known in policy.screens]
    place = policy.screens.index(screen)
    narrower = (bounds[place - 1] or 0) if place else 0
    widest = screen.max_css_pixels
    for device in reversed(TYPICAL_DEVICES):
        if narrower < device.css_pixels and (widest is None or device.css_pixels <= widest):
            return device
    css_pixels = narrower + 1 if widest is None else widest
    return Device(
        css_pixels,
        min(TYPICAL_DEVICES, key=lambda device: abs(device.css_pixels - css_pixels)).density,
    )


# Printed by benchmarks/seen.py over seven photographs of lomiri-wallpapers in AVIF (Bridge, Fossa,
# Kleiber, free, picosdeeuropa, seeding, sunset); the scores by fast-ssim2 0.9.1.
_QUALITIES = (10, 20, 30, 40, 50, 60, 70, 80)
_BYTES_A_MEGAPIXEL = (5_504, 11_029, 17_287, 22_781, 28_831, 33_415, 41_841, 59_768)
_SHARES = (0.3, 0.45, 0.6, 0.75, 1.0, 1.2)
"""Widths sent, against those of the screen."""
_SCORES = (
    (-43, -18, -1, 8, 16, 20, 26, 32),
    (-28, 4, 21, 30, 37, 40, 46, 51),
    (-15, 20, 36, 44, 50, 52, 57, 61),
    (-6, 27, 44, 51, 57, 60, 64, 68),
    (6, 36, 52, 61, 67, 71, 75, 81),
    (15, 42, 58, 66, 70, 73, 76, 81),
)
"""SSIMULACRA2 as seen: for each share, at each quality."""
BYTES_EXPONENT = 0.7
"""At one quality, a picture of twice the pixels weighs 2 to the power of this as much."""


@dataclass(frozen=True)
class Outlook:
    """What is to be expected of a cell with a width in pixels and a quality."""

    picture_bytes: float
    """What a photograph weighs, the budget kept; one of three by two."""
    score: float
    """SSIMULACRA2 as seen."""


def outlook(cell: Cell, device: Device) -> Outlook | None:
    """Return what a cell looks like on a device; None where that depends on the original, the
    request or a score.
    """
    if cell.width_pixels is None or cell.target_score is not None:
        return None
    weight, quality = _bytes(cell.width_pixels, cell.quality), float(cell.quality)
    if cell.budget_bytes is not None and weight > cell.budget_bytes:
        weight = float(cell.budget_bytes)
        quality = _quality(cell.width_pixels, weight)
    return Outlook(weight, _score(cell.width_pixels / device.pixels, quality))


def best_width(picture_bytes: float, device: Device) -> tuple[int, float]:
    """Return the width with which so many bytes look best on a device, and their score."""
    scores: dict[int, float] = {}
    for share in _SHARES:
        width = round(share * device.pixels)
        if not scores or _bytes(width, _QUALITIES[0]) <= picture_bytes:
            scores[width] = _score(share, _quality(width, picture_bytes))
    best = max(scores, key=lambda width: scores[width])
    return best, scores[best]


def told(screen: Screen, bandwidth: Bandwidth, policy: Policy) -> str:
    """Return in words what a cell looks like as seen, and what a page of pictures takes: on
    average, and where each weighs as much as the budget. Empty where it cannot be told.
    """
    cell, device = policy.cells[screen.name, bandwidth.name], device_of(screen, policy)
    expected = outlook(cell, device)
    if expected is None:
        return ""
    link = link_of(bandwidth, policy)
    weight, seconds = expected.picture_bytes, link.page_seconds(expected.picture_bytes)
    said = (
        f"about {weight / BYTES_A_KILOBYTE:.0f} kB, score {expected.score:.0f} on {device.pixels}"
    )
    page = f"{PICTURES_A_PAGE} pictures take {seconds:.1f} s"
    if cell.budget_bytes is None:
        return f"{said} pixels; {page}"
    return f"{said} pixels; {page}, at the budget {link.page_seconds(cell.budget_bytes):.1f} s"


def _bytes(width_pixels: int, quality: float) -> float:
    megapixels = width_pixels * width_pixels * 2 / 3 / 1e6
    bytes_a_megapixel = _between(_QUALITIES, _BYTES_A_MEGAPIXEL, quality)
    return bytes_a_megapixel * math.pow(megapixels, BYTES_EXPONENT)


def _quality(width_pixels: int, picture_bytes: float) -> float:
    """Return the quality at which a picture of this width weighs so much."""
    return _between(
        [_bytes(width_pixels, known) for known in _QUALITIES], _QUALITIES, picture_bytes
    )


def _score(share: float, quality: float) -> float:
    by_share = [_between(_QUALITIES, scores, quality) for scores in _SCORES]
    return _between(_SHARES, by_share, share)


def _between(known: Sequence[float], values: Sequence[float], place: float) -> float:
    """Return what straight lines between known points say; beyond the ends, the end's value."""
    place = min(max(place, known[0]), known[-1])
    above = min(max(bisect_right(known, place), 1), len(known) - 1)
    low, high = known[above - 1], known[above]
    return values[above - 1] + (values[above] - values[above - 1]) * (place - low) / (high - low)
