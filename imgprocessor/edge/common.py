"""Imagekeys of the usual requests, worked out beforehand, so that Varnish skips most rules.

`key_rules` tells every request's key, at the price of many texts matched and put together. Most
requests are of few kinds; each kind's keys are worked out here beforehand, by following the same
steps. What is odd in any way is none of these, and goes the long way.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from imgprocessor.config.settings import PixelsSettings
from imgprocessor.edge.hint_rules import longest, screen_sizes
from imgprocessor.edge.key_rules import KEY, VARY
from imgprocessor.edge.number_patterns import NUMBER, at_least, at_most
from imgprocessor.edge.query_rules import PROOF, side_pattern
from imgprocessor.edge.rules import RULE_HEADERS, Step, follow
from imgprocessor.policy.table import DENSITIES, Bandwidth, Policy
from imgprocessor.request.parameters import MAX_NAME_BYTES
from imgprocessor.request.signing import SIGNATURE, SIGNATURE_PATTERN

ACCEPTS = (
    "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
    (
        "image/webp,image/avif,image/jxl,image/heic,image/heic-sequence,video/*;q=0.8,image/png,"
        "image/svg+xml,image/*;q=0.8,*/*;q=0.5"
    ),
    "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5",
)
"""What Chromium, Safari and Firefox send for pictures."""

COUNTED_HEADERS = ("ect", "rtt", "downlink", "viewport_width", "dpr", "accept")
"""Headers that usual requests have; with any other that steps read, a request is not usual."""

USUAL_DENSITY = r"(?:[1-9][0-9]?(?:[.][0-9]{1,3})?|0[.][1-9][0-9]{0,2})"
"""Usual device-pixel ratios: not 0, and not more than a header may hold."""

_SEGMENT = "[A-Za-z0-9_-][A-Za-z0-9._-]*"
_NAME = f"name=(?=[^&]{{1,{MAX_NAME_BYTES}}}(?:&|$)){_SEGMENT}(?:/{_SEGMENT})*"
"""Of names, those that need no escapes, and no thought."""
_SHORT = "(?=[0-9.]{1,9}$)"
"""What is long is never matched by more than this."""
_STEP = Decimal("0.001")


@dataclass(frozen=True)
class Network:
    """What Chromium says of a network, and the class that it comes to if none before it does."""

    name: str
    ects: Sequence[str]
    rtt: str
    downlink: str
    """Patterns; of a measure that does not count, empty."""


@dataclass(frozen=True)
class Leaf:
    """One cell of the table."""

    bandwidth: str
    key: str
    """All of the imagekey but for name and box."""


@dataclass(frozen=True)
class Shape:
    """One way to write a URL."""

    pattern: str
    """Of the query string."""
    sized: bool
    screen: bool
    """Whether screen and density are in the URL, as `adaptive.js` writes them."""
    bandwidth: bool
    vary: str


@dataclass(frozen=True)
class Usual:
    """All that a cache need know of usual requests."""

    accepts: Sequence[str]
    """Accept headers; they all come to the same."""
    shapes: Sequence[Shape]
    networks: Sequence[Network]
    """The likely ones first."""
    unknown: str
    """The class where nothing is said of the network."""
    screens: Mapping[str, Sequence[Leaf]]
    """By patterns of the width in CSS pixels; the first one that matches; empty: no width given."""
    densities: Mapping[str, Sequence[Leaf]]
    """By patterns of the device-pixel ratio, the same way."""


def usual(steps: Sequence[Step], policy: Policy, pixels: PixelsSettings) -> Usual:
    """Return what is usual under a policy; with steps for signed links, of those."""
    results = {accept: _told(steps, "name=n", accept)[KEY] for accept in ACCEPTS}
    width = _some_width(policy)
    accepts = [known for known in ACCEPTS if results[known] == results[ACCEPTS[0]]]
    names = [known.name for known in policy.bandwidths][::-1]

    def leaves(query: str, box: str) -> list[Leaf]:
        keys = [(known, _told(steps, f"{query}&bandwidth={known}")[KEY]) for known in names]
        return [Leaf(known, key.removeprefix(f"n_{box}_")) for known, key in keys]

    screens = {
        f"^{_SHORT}{size}$": leaves(f"name=n&screen={name}", "-")
        for size, name in screen_sizes(policy)
    }
    densities = {
        f"^{at_most(density)}$": leaves(f"name=n&width={width}&dpr={density}", f"{width}x")
        for density in DENSITIES[:-1]
    }
    densities["."] = leaves(f"name=n&width={width}&dpr={DENSITIES[-1]}", f"{width}x")
    return Usual(
        accepts=accepts,
        shapes=list(_shapes(steps, policy, pixels)),
        networks=list(_networks(policy)),
        unknown=policy.default_bandwidth,
        screens={"": leaves(f"name=n&screen={policy.default_screen}", "-"), **screens},
        densities={"": leaves(f"name=n&width={width}", f"{width}x"), **densities},
    )


def _told(steps: Sequence[Step], query: str, accept: str = ACCEPTS[0]) -> dict[str, str]:
    if _signed(steps):
        query += f"&{SIGNATURE}={'A' * 43}"
    return follow(steps, query, {RULE_HEADERS["accept"].lower(): accept})


def _signed(steps: Sequence[Step]) -> bool:
    return any(step.name == PROOF for step in steps)


def _some_width(policy: Policy) -> int:
    """Return a width that may be asked for; the keys of others differ in nothing but that."""
    return 1 if policy.allowed.sizes is None else policy.allowed.sizes[0]


def _shapes(steps: Sequence[Step], policy: Policy, pixels: PixelsSettings) -> Iterator[Shape]:
    # A width that no density makes too long.
    width = side_pattern(policy, longest(DENSITIES[-1], pixels.max_output_side_pixels))
    some_width = _some_width(policy)
    names = "|".join(known.name for known in policy.bandwidths)
    # A row that is called by a number is not told from a size.
    scripted = not any(re.fullmatch(NUMBER, screen.name) for screen in policy.screens)
    density = USUAL_DENSITY.replace("{1,3}", "{1,30}")
    for screen, bandwidth in ((False, False), (True, True), (True, False)):
        for sized in (False, True):
            pattern, query = _NAME, "name=n"
            if sized:
                pattern += f"&width=(?!0){width}"
                query += f"&width={some_width}"
            if _signed(steps):
                pattern += f"&{SIGNATURE}={SIGNATURE_PATTERN}"
            if screen:
                pattern += f"&screen=[1-9][0-9]{{0,4}}&dpr={density}"
                query += f"&screen={policy.default_screen}&dpr=1"
            if bandwidth:
                pattern += f"&bandwidth=(?:{names})"
                query += f"&bandwidth={policy.default_bandwidth}"
            if scripted or not screen:
                yield Shape(f"{pattern}$", sized, screen, bandwidth, _told(steps, query)[VARY])


def _networks(policy: Policy) -> Iterator[Network]:
    """Yield classes, the best first: one that is not, but for which neither the browser's word nor
    any measure is worse, is the visitor's.
    """
    bandwidths = policy.bandwidths
    measured = policy.measures_rtt or policy.measures_downlink
    last = len(bandwidths) - 1
    if measured:
        last = next((place for place, known in enumerate(bandwidths) if known.otherwise), -1)
    for place in range(last, -1, -1):
        ects = [known.name for known in bandwidths[place:]]
        rtt, downlink = _better(bandwidths[:place])
        yield Network(
            bandwidths[place].name,
            ects[::-1],
            rtt if policy.measures_rtt else "",
            downlink if policy.measures_downlink else "",
        )


def _better(worse: Sequence[Bandwidth]) -> tuple[str, str]:
    """Return patterns of round trips and downlinks that meet no bound of these classes."""
    rtts = [known.min_rtt_ms for known in worse if known.min_rtt_ms is not None]
    downlinks = [known.max_downlink_mbps for known in worse if known.max_downlink_mbps is not None]
    if min(rtts, default=_STEP) < _STEP:
        return "(?!)", "(?!)"
    return (
        at_most(min(rtts) - _STEP) if rtts else NUMBER,
        at_least(max(downlinks) + _STEP) if downlinks else NUMBER,
    )
