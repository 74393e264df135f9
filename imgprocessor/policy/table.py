"""What visitors should get: the policy's table.

Rows are screens, columns bandwidth classes, a cell says how wide, which quality, how many bytes.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from imgprocessor.formats import PLAINEST, UNIVERSAL, Format
from imgprocessor.policy.limits import BYTES_A_KILOBYTE, Allowed

DENSITIES = (Decimal(1), Decimal("1.5"), Decimal(2), Decimal(3))
"""A device-pixel ratio is rounded up to one of these, so that imagekeys stay few."""

ANY_BANDWIDTH = "*"
"""The ancestor's word for a bandwidth that is not known."""

SIZED = "sized"
"""The row for requests that name a width or a height themselves."""

FULL_PERCENT = 100

BEST_QUALITY = 95
"""The ceiling of a cell that names a score: above it bytes grow and nothing can be seen."""


Effort = Literal["behind", "quick", "best"]
"""Whether visitors wait for the lightest picture: the first is sent one made quickly, and the best
is made behind that answer for all others; nobody ever gets more than a quick one; all get the best,
and the first waits for it.
"""


@dataclass(frozen=True)
class Cell:
    """What one kind of visitor gets. One of the widths is set, or none where the request says."""

    quality: int
    """Quality ceiling on the scale of libjpeg-turbo, 1 to 100, whatever the format."""
    width_pixels: int | None = None
    """At most so many device pixels wide."""
    width_percent: int | None = None
    """That share of the original's width and height; 100 for `full`."""
    max_density: Decimal = Decimal(1)
    """The highest device-pixel ratio honoured, for requests that name a size."""
    target_score: int | None = None
    """The lowest quality that scores so much is sent, on the scale of SSIMULACRA2."""
    budget_bytes: int | None = None
    """No answer weighs more."""

    def __str__(self) -> str:
        words = []
        if self.width_pixels is not None:
            words.append(f"{self.width_pixels}px")
        elif self.width_percent is not None:
            words.append("full" if self.width_percent == FULL_PERCENT else f"{self.width_percent}%")
        words.append(f"q{self.quality}" if self.target_score is None else f"s{self.target_score}")
        if self.budget_bytes is not None:
            words.append(f"{self.budget_bytes // BYTES_A_KILOBYTE}kB")
        if self.width_pixels is None and self.width_percent is None:
            words.append(f"dpr{self.max_density}")
        return " ".join(words)


@dataclass(frozen=True)
class Bandwidth:
    """A class of networks; a client that meets one of its bounds is in it."""

    name: str
    min_rtt_ms: Decimal | None = None
    max_downlink_mbps: Decimal | None = None
    save_data: bool = False
    otherwise: bool = False


@dataclass(frozen=True)
class Screen:
    """A row of the table: screens up to so many CSS pixels across; None takes the rest."""

    name: str
    max_css_pixels: int | None


@dataclass(frozen=True)
class Policy:
    """The table. Bandwidths stand worst first, screens narrowest first; the last takes the rest."""

    bandwidths: tuple[Bandwidth, ...]
    default_bandwidth: str
    screens: tuple[Screen, ...]
    default_screen: str
    mobile_screen: str
    """The row of phones that do not say how wide they are."""
    cells: dict[tuple[str, str], Cell]
    """By screen (or `sized`) and bandwidth; none is missing."""
    formats: tuple[Format, ...] = (PLAINEST,)
    """What is offered, the best first; the plainest is always among it, GIF never."""
    effort: Effort = "behind"
    """How much is done for light pictures."""
    allowed: Allowed = field(default=Allowed(), repr=False)
    """What requests may name themselves. Not in `repr()`, which digests are made of."""

    @property
    def rows(self) -> tuple[str, ...]:
        """The rows of the table, in its order."""
        return (SIZED, *(screen.name for screen in self.screens))

    @property
    def everything(self) -> frozenset[Format]:
        """What a client takes that takes all that is offered."""
        return frozenset(self.formats) | UNIVERSAL | {"gif"}

    @property
    def newer(self) -> frozenset[Format]:
        """What is offered and not every client takes."""
        return frozenset(self.formats) - UNIVERSAL - {"gif"}

    @property
    def measures_rtt(self) -> bool:
        """Whether any class is bounded by round-trip time; otherwise it counts for nothing."""
        return any(known.min_rtt_ms is not None for known in self.bandwidths)

    @property
    def measures_downlink(self) -> bool:
        """Whether any class is bounded by throughput; otherwise it counts for nothing."""
        return any(known.max_downlink_mbps is not None for known in self.bandwidths)

    @property
    def save_data_bandwidth(self) -> str | None:
        """The class of visitors who ask to save data."""
        return next((known.name for known in self.bandwidths if known.save_data), None)

    def rank(self, bandwidth: str) -> int:
        """Return the place of a class in the table, 0 for the worst."""
        return [known.name for known in self.bandwidths].index(bandwidth)
