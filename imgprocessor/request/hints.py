"""Client hints: screen, bandwidth, density and formats, as request headers say them.

This module alone knows the names of request headers, so it also owns `Vary` and `Accept-CH`.
What the hints mean is the policy's business.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from imgprocessor.formats import FORMATS, UNIVERSAL, Format
from imgprocessor.request.values import lower_ascii, parse_number

OLD_BANDWIDTH = "HTTP-NW-TYPE"
OLD_SCREEN = "HTTP-SCREENSIZE"
SAVE_DATA = "Save-Data"
ECT = "ECT"
RTT = "RTT"
DOWNLINK = "Downlink"
VIEWPORT_WIDTH = ("Sec-CH-Viewport-Width", "Viewport-Width")
UA_MOBILE = "Sec-CH-UA-Mobile"
DENSITY = ("Sec-CH-DPR", "DPR")
ACCEPT = "Accept"

_BLANKS = " \t"
"""All the white space there is in headers (RFC 9110, 5.6.3)."""

REFUSAL = "[qQ] ?= ?0(?:[.](?:[0-4][0-9]*)?)?"
"""A pattern of the parameter that refuses what `Accept` names: a q below 0.5. Caches read it alike.
What is no q refuses nothing.
"""

HINT_HEADERS = tuple(
    name.lower()
    for name in (
        OLD_BANDWIDTH, SAVE_DATA, ECT, RTT, DOWNLINK,
        OLD_SCREEN, *VIEWPORT_WIDTH, UA_MOBILE, *DENSITY, ACCEPT,
    )
)  # fmt: skip
"""All request headers that can change an answer, in lower case."""

ACCEPT_CH = ", ".join((DENSITY[0], VIEWPORT_WIDTH[0], ECT, RTT, DOWNLINK, SAVE_DATA))
"""What a page asks browsers to send with its pictures (RFC 8942). Save-Data and the network hints
were specified before the `Sec-CH-` prefix, and Chromium sends them without it. Nobody need ask for
`Sec-CH-UA-Mobile`: Chromium always sends it.
"""

LAYOUT_WIDTH_CSS_PIXELS = 980
"""How wide a phone lays out a page that does not say `<meta name="viewport">`. Chromium fetches the
first pictures before it has read that, and gives this for the width of the viewport.
"""


@dataclass(frozen=True)
class Hints:
    """What a visitor's headers say, each None when absent or nonsense."""

    bandwidth: str | None = None
    """A class, from the ancestor's header; lower case."""
    screen: str | None = None
    """A row's name or CSS pixels, from the ancestor's header; lower case."""
    save_data: bool = False
    ect: str | None = None
    """The browser's effective connection type; lower case."""
    rtt_ms: Decimal | None = None
    downlink_mbps: Decimal | None = None
    viewport_css_pixels: Decimal | None = None
    is_mobile: bool = False
    """Whether the browser says that it is a phone's."""
    dpr: Decimal | None = None
    formats: frozenset[Format] = UNIVERSAL | {"gif"}
    """What the client takes."""


@dataclass(frozen=True)
class UsedHints:
    """Which hints can still change the answer to one URL under one policy."""

    bandwidth: bool = False
    save_data: bool = False
    rtt: bool = False
    downlink: bool = False
    screen: bool = False
    density: bool = False
    formats: bool = False


def read_hints(headers: Mapping[str, str]) -> Hints:
    """Read a visitor's hints from the request's headers, whose names are in lower case."""
    return Hints(
        bandwidth=lower_ascii(_first(headers, OLD_BANDWIDTH)) or None,
        screen=lower_ascii(_first(headers, OLD_SCREEN)) or None,
        save_data=lower_ascii(_first(headers, SAVE_DATA)) == "on",
        ect=lower_ascii(_first(headers, ECT)) or None,
        rtt_ms=parse_number(_first(headers, RTT)),
        downlink_mbps=parse_number(_first(headers, DOWNLINK)),
        viewport_css_pixels=_first_number(headers, VIEWPORT_WIDTH),
        is_mobile=_first(headers, UA_MOBILE) == "?1",
        dpr=_first_number(headers, DENSITY),
        formats=_accepted(headers.get(ACCEPT.lower(), "")),
    )


def vary(uses: UsedHints) -> str:
    """Return the `Vary` of a URL's answers: it depends on the URL and the policy, never on the
    headers' values. Empty when no header can matter. Under 128 characters, or nginx would not
    cache (`NGX_HTTP_CACHE_VARY_LEN`).
    """
    names: list[str] = []
    if uses.bandwidth:
        names.append(OLD_BANDWIDTH)
        names += [SAVE_DATA] if uses.save_data else []
        names.append(ECT)
        names += [RTT] if uses.rtt else []
        names += [DOWNLINK] if uses.downlink else []
    if uses.screen:
        names += [OLD_SCREEN, *VIEWPORT_WIDTH, UA_MOBILE]
    if uses.density:
        names += DENSITY
    if uses.formats:
        names.append(ACCEPT)
    return ", ".join(names)


def _first(headers: Mapping[str, str], name: str) -> str:
    """Of a header sent twice or as a list the first value counts (Apache joins them)."""
    return headers.get(name.lower(), "").partition(",")[0].strip(_BLANKS)


def _accepted(header: str) -> frozenset[Format]:
    """Read an Accept header (RFC 9110, 12.5.1), which is a list even when it is sent twice.

    A format is accepted when it is named, and refused when it is named with a q below 0.5, be it
    only once; which of two is liked more is left to the policy's order. Browsers send `image/*`
    whatever they can show, so that wildcards say nothing but of GIF; no header at all is `*/*`.
    What is universal is taken unless it is refused by name.
    """
    welcome: dict[str, bool] = {}
    for element in lower_ascii(header.strip(_BLANKS) or "*/*").split(","):
        kind, *parameters = (part.strip(_BLANKS) for part in element.split(";"))
        refused = any(re.fullmatch(REFUSAL, parameter) for parameter in parameters)
        welcome[kind] = welcome.get(kind, True) and not refused
    unnamed = dict.fromkeys(UNIVERSAL, True)
    unnamed["gif"] = welcome.get("image/*", welcome.get("*/*", False))
    return frozenset(
        known for known in FORMATS if welcome.get(f"image/{known}", unnamed.get(known, False))
    )


def _first_number(headers: Mapping[str, str], names: tuple[str, ...]) -> Decimal | None:
    """Of the spellings of one hint the first that makes sense counts; 0 makes none."""
    for name in names:
        number = parse_number(_first(headers, name))
        if number:
            return number
    return None
