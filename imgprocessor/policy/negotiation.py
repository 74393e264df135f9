"""Negotiation: query and hints looked up in the policy's table."""

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from imgprocessor.formats import ENCODED, FORMATS, PLAINEST, UNIVERSAL, Format
from imgprocessor.policy.table import ANY_BANDWIDTH, DENSITIES, SIZED, Cell, Policy
from imgprocessor.request.hints import (
    DENSITY,
    DOWNLINK,
    ECT,
    LAYOUT_WIDTH_CSS_PIXELS,
    OLD_BANDWIDTH,
    OLD_SCREEN,
    RTT,
    SAVE_DATA,
    UA_MOBILE,
    VIEWPORT_WIDTH,
    Hints,
    UsedHints,
)
from imgprocessor.request.parameters import AUTHORS, ImageQuery
from imgprocessor.request.values import parse_number

_NOT_OFFERED: frozenset[Format] = UNIVERSAL | {"gif"}
"""What may be sent whether or not the policy offers it."""


@dataclass(frozen=True)
class Decision:
    """Which cell a visitor is in, and what put them there."""

    bandwidth: str
    bandwidth_from: str
    screen: str | None
    """None when the request names a size itself: then the screen does not matter."""
    screen_from: str
    dpr: Decimal
    dpr_from: str
    cell: Cell
    formats: tuple[Format, ...]
    """What may be sent, from the richest to the plainest; something is encoded among it."""
    is_degraded: bool
    """Whether the class is worse than the default, so that a better network pays soon."""


def negotiate(query: ImageQuery, hints: Hints, policy: Policy) -> Decision:
    """Look a visitor up in the table. What the table does not know counts as not given; nor does
    anything count of what all visitors get alike.
    """
    if query.lqip:
        query, hints = replace(query, bandwidth=None, screen=None, dpr=None, formats=None), Hints()
    bandwidth, bandwidth_from = _find_bandwidth(query, hints, policy)
    screen, screen_from = None, "box"
    if query.box is None:
        screen, screen_from = _find_screen(query, hints, policy)
    dpr, dpr_from = _find_dpr(query, hints)
    return Decision(
        bandwidth=bandwidth,
        bandwidth_from=bandwidth_from,
        screen=screen,
        screen_from=screen_from,
        dpr=dpr,
        dpr_from=dpr_from,
        cell=policy.cells[screen or SIZED, bandwidth],
        formats=_find_formats(query, hints, policy),
        is_degraded=policy.rank(bandwidth) < policy.rank(policy.default_bandwidth),
    )


def permit(query: ImageQuery, policy: Policy) -> tuple[ImageQuery, list[str]]:
    """Return the part of a query that the policy permits, and what is wrong with the rest: sizes
    and limits that are not on its ladder, a format that it does not offer.
    """
    refused: dict[str, Any] = {}
    problems = []
    for row in AUTHORS:
        value, some = getattr(query, row.name), policy.allowed.of(row)
        if row.name == "format":
            some = tuple(known for known in on_request(policy) if some is None or known in some)
        if some is not None and value != row.default and value not in some:
            words = ", ".join(map(row.value.write, some)) or f"{row.value.write(row.default)} alone"
            problems.append(f"{row.name}={row.value.write(value)}: the policy allows {words}")
            refused[row.name] = row.default
    return replace(query, **refused), problems


def uses(query: ImageQuery, policy: Policy) -> UsedHints:
    """Return which hints can change the answer to this URL."""
    if query.lqip:
        return UsedHints()
    bandwidth = _known_bandwidth(query.bandwidth, policy)
    sized = query.box is not None
    possible = [known.name for known in policy.bandwidths] if bandwidth is None else [bandwidth]
    return UsedHints(
        bandwidth=bandwidth is None,
        save_data=policy.save_data_bandwidth is not None,
        rtt=policy.measures_rtt,
        downlink=policy.measures_downlink,
        screen=not sized and _known_screen(query.screen, policy) is None,
        density=sized
        and query.dpr is None
        and any(policy.cells[SIZED, name].max_density > 1 for name in possible),
        formats=query.format not in on_request(policy) and query.formats is None,
    )


def _find_bandwidth(query: ImageQuery, hints: Hints, policy: Policy) -> tuple[str, str]:
    for text, source in ((query.bandwidth, "query"), (hints.bandwidth, OLD_BANDWIDTH)):
        known = _known_bandwidth(text, policy)
        if known is not None:
            return known, source
    if hints.save_data and policy.save_data_bandwidth is not None:
        return policy.save_data_bandwidth, SAVE_DATA
    candidates = []
    named = _known_bandwidth(hints.ect if hints.ect != ANY_BANDWIDTH else None, policy)
    if named is not None:
        candidates.append((named, ECT))
    met = _met_bounds(hints, policy)
    if met is not None:
        candidates.append(met)
    if candidates:
        return min(candidates, key=lambda candidate: policy.rank(candidate[0]))
    return policy.default_bandwidth, "default"


def _known_bandwidth(text: str | None, policy: Policy) -> str | None:
    if text == ANY_BANDWIDTH:
        return policy.default_bandwidth
    return text if any(text == known.name for known in policy.bandwidths) else None


def _met_bounds(hints: Hints, policy: Policy) -> tuple[str, str] | None:
    """Return the worst class one of whose bounds the measured hints meet, and which hint did."""
    rtt = hints.rtt_ms if policy.measures_rtt else None
    downlink = hints.downlink_mbps if policy.measures_downlink else None
    if rtt is None and downlink is None:
        return None
    for known in policy.bandwidths:
        if rtt is not None and known.min_rtt_ms is not None and rtt >= known.min_rtt_ms:
            return known.name, RTT
        slowest = known.max_downlink_mbps
        if downlink is not None and slowest is not None and downlink <= slowest:
            return known.name, DOWNLINK
        if known.otherwise:
            return known.name, RTT if rtt is not None else DOWNLINK
    return None


def _find_screen(query: ImageQuery, hints: Hints, policy: Policy) -> tuple[str, str]:
    for text, source in ((query.screen, "query"), (hints.screen, OLD_SCREEN)):
        known = _known_screen(text, policy)
        if known is not None:
            return known, source
    if hints.is_mobile and hints.viewport_css_pixels in {None, LAYOUT_WIDTH_CSS_PIXELS}:
        return policy.mobile_screen, UA_MOBILE
    if hints.viewport_css_pixels is not None:
        return _screen_of(hints.viewport_css_pixels, policy), VIEWPORT_WIDTH[0]
    return policy.default_screen, "default"


def _known_screen(text: str | None, policy: Policy) -> str | None:
    """Look up a row's name or a number of CSS pixels."""
    if text is None:
        return None
    if any(text == screen.name for screen in policy.screens):
        return text
    css_pixels = parse_number(text)
    return _screen_of(css_pixels, policy) if css_pixels else None


def _screen_of(css_pixels: Decimal, policy: Policy) -> str:
    for screen in policy.screens:
        if screen.max_css_pixels is None or css_pixels <= screen.max_css_pixels:
            return screen.name
    raise AssertionError("the last screen takes the rest")


def _find_dpr(query: ImageQuery, hints: Hints) -> tuple[Decimal, str]:
    if query.dpr is not None:
        return query.dpr, "query"
    if hints.dpr is not None:
        return hints.dpr, DENSITY[0]
    return DENSITIES[0], "default"


def _find_formats(query: ImageQuery, hints: Hints, policy: Policy) -> tuple[Format, ...]:
    if query.format is not None and query.format in on_request(policy):
        return (query.format,)
    return choose_formats(query.formats or hints.formats, policy)


def choose_formats(taken: frozenset[Format], policy: Policy) -> tuple[Format, ...]:
    """Return what may be sent to a client that takes these formats: of what the policy offers, the
    first that is taken and the plainer ones; and GIF, PNG and JPEG, whatever it offers. A client
    that takes nothing that is encoded gets the plainest as well (RFC 9110, 12.5.1).
    """
    offered = [known for known in policy.formats if known in taken]
    rank = FORMATS.index
    sendable = {known for known in offered if rank(known) >= rank(offered[0])}
    sendable |= taken & _NOT_OFFERED
    if sendable.isdisjoint(ENCODED):
        sendable.add(PLAINEST)
    return tuple(known for known in FORMATS if known in sendable)


def on_request(policy: Policy) -> tuple[Format, ...]:
    """Return what a query may name: what is offered, and PNG, which is lossless."""
    return tuple(known for known in FORMATS if known in policy.formats or known == "png")
