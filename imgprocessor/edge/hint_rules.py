"""Rules that find, in a cache, what `request.hints` and `policy.negotiation` make of headers."""

import re
from collections.abc import Iterator
from decimal import Decimal
from itertools import combinations

from imgprocessor.config.settings import PixelsSettings
from imgprocessor.edge.number_patterns import NUMBER, at_least, at_most, whole_at_most
from imgprocessor.edge.query_rules import SIDES
from imgprocessor.edge.rules import BEGIN, END, QUERY, SPACE, Rule, Step, asked, first, step
from imgprocessor.formats import FORMATS, PLAINEST
from imgprocessor.geometry import Box
from imgprocessor.policy.imagekey import NONE
from imgprocessor.policy.negotiation import choose_formats
from imgprocessor.policy.table import DENSITIES, SIZED, Policy
from imgprocessor.request.hints import LAYOUT_WIDTH_CSS_PIXELS

_NOT_ZERO = r"(?=[0-9]*[1-9]|[0-9]*[.][0-9]{0,2}[1-9])"
_THOUSANDTH = Decimal("0.001")


def bandwidth_steps(policy: Policy) -> Iterator[Step]:
    """Yield the steps to the class."""
    names = [known.name for known in policy.bandwidths]
    likely = names[::-1]
    named = [Rule(f"{BEGIN}bandwidth=(?i:{name}){END}", name) for name in likely]
    anything = Rule(f"{BEGIN}bandwidth=(?:[*]|%2[Aa]){END}", policy.default_bandwidth)
    yield asked("asked_bandwidth", *named, anything)
    yield step(
        "old_bandwidth",
        "header_old_bandwidth",
        *(first(f"(?i:{name})", name) for name in likely),
        first("[*]", policy.default_bandwidth),
    )
    saver = policy.save_data_bandwidth
    yield step("save_data", "header_save_data", *([first("(?i:on)", saver)] if saver else []))
    yield step("ect", "header_ect", *(first(f"(?i:{name})", name) for name in likely))
    measures = list(_unmet(policy))
    for hint, counts in (("rtt", policy.measures_rtt), ("downlink", policy.measures_downlink)):
        rules = [first(f"({NUMBER})", r"\1")] if counts else []
        yield step(hint, f"header_{hint}", *rules)
    for known in policy.bandwidths:
        if known.min_rtt_ms is not None:
            measures.append(Rule(f"^{at_least(known.min_rtt_ms)}[|]", known.name))
        if known.max_downlink_mbps is not None:
            measures.append(Rule(f"[|]{at_most(known.max_downlink_mbps)}$", known.name))
        if known.otherwise:
            measures.append(Rule("[0-9]", known.name))
    yield Step(
        "measured",
        "{rtt}|{downlink}",
        tuple(measures),
        when=("rtt", "downlink"),
        why="the worst class a measure is within",
    )
    rules = [Rule(f"^[|][|][|]{name}[|]{name}$", name) for name in likely[:1]]
    rules += [Rule("^[|]{0,2}([^|]+)[|]", r"\1")]
    rules += [Rule(f"^[|][|][|](?:{name}[|]|[^|]*[|]{name}$)", name) for name in names]
    yield Step(
        "bandwidth",
        "{asked_bandwidth}|{old_bandwidth}|{save_data}|{ect}|{measured}",
        tuple(rules),
        policy.default_bandwidth,
        why="what the query says; then the ancestor's header, Save-Data, the worse of what is left",
    )


def _unmet(policy: Policy) -> Iterator[Rule]:
    """Most visitors meet no bound at all: one look is enough for them."""
    rtts = [known.min_rtt_ms for known in policy.bandwidths if known.min_rtt_ms is not None]
    downlinks = [
        known.max_downlink_mbps
        for known in policy.bandwidths
        if known.max_downlink_mbps is not None
    ]
    otherwise = [known.name for known in policy.bandwidths if known.otherwise]
    if rtts and downlinks and otherwise and min(rtts) >= _THOUSANDTH:
        rtt, downlink = at_most(min(rtts) - _THOUSANDTH), at_least(max(downlinks) + _THOUSANDTH)
        yield Rule(f"^{rtt}[|]{downlink}$", otherwise[0])


def screen_steps(policy: Policy) -> Iterator[Step]:
    """Yield the steps to the screen, and to the row of the table."""
    sizes = screen_sizes(policy)
    names = [screen.name for screen in policy.screens]
    words = [(f"(?i:{name})", name) for name in names] + sizes
    named = [Rule(f"{BEGIN}screen(?:size)?={pattern}{END}", name) for pattern, name in words]
    yield asked("asked_screen", *named)
    yield step("old_screen", "header_old_screen", *(first(*word) for word in words))
    layout = str(LAYOUT_WIDTH_CSS_PIXELS)
    size, name = next(known for known in sizes if re.fullmatch(known[0], layout))
    widths = [(f"(?=0*{layout}(?:[.]0*)?{SPACE}(?:,|$)){size}", f"={name}"), *sizes]
    yield step("viewport", "header_viewport_width", *(first(*width) for width in widths))
    yield step("old_viewport", "header_old_viewport_width", *(first(*width) for width in widths))
    yield step("mobile", "header_mobile", first("[?]1", policy.mobile_screen))
    yield Step(
        "screen",
        "{box}|{asked_screen}|{old_screen}|{mobile}|{viewport}|{old_viewport}",
        (
            Rule("^[^|]*x", NONE),
            Rule("^-[|]{1,2}([^|]+)", r"\1"),
            Rule("^-[|]{3}([^|]+)[|]+(?:=|$)", r"\1"),
            Rule("^-[|]{3}[^|]*[|]+=?([^|=]+)", r"\1"),
        ),
        policy.default_screen,
        why="does not count where the request names a size; = is before a phone's layout width",
    )
    yield step("row", "screen", Rule(f"^{NONE}$", SIZED), Rule("^(.+)$", r"\1"))


def screen_sizes(policy: Policy) -> list[tuple[str, str]]:
    """Return patterns of CSS pixels, in order, with the screens that they are of."""
    bounds = [(screen.max_css_pixels, screen.name) for screen in policy.screens]
    return [
        (f"{_NOT_ZERO}{NUMBER if bound is None else at_most(Decimal(bound))}", name)
        for bound, name in bounds
    ]


def density_steps(policy: Policy, pixels: PixelsSettings) -> Iterator[Step]:
    """Yield the steps to the density honoured."""
    yield step(
        "asked_dpr",
        QUERY,
        Rule(f"{BEGIN}dpr={_NOT_ZERO}([0-9]{{1,5}}(?:[.][0-9]{{1,2}})?){END}", r"\1"),
        Rule(f"{BEGIN}dpr={_NOT_ZERO}([0-9]{{1,5}}[.][0-9]{{3}})[0-9]{{0,27}}{END}", r"\1"),
        when=SIDES,
        why="of the decimals, scripts' ones, three count",
    )
    number = first(f"{_NOT_ZERO}({NUMBER})", r"\1")
    yield step("dpr", "header_dpr", number, when=SIDES)
    yield step("old_dpr", "header_old_dpr", number, when=SIDES)
    *lower, highest = DENSITIES
    yield Step(
        "wanted_density",
        "{asked_dpr}|{dpr}|{old_dpr}",
        (
            *(Rule(f"^[|]*{at_most(density)}(?:[|]|$)", str(density)) for density in lower),
            Rule("[0-9]", str(highest)),
        ),
        str(DENSITIES[0]),
        when=SIDES,
        why="the first that is given, rounded up",
    )
    caps = {known.name: policy.cells[SIZED, known.name].max_density for known in policy.bandwidths}
    yield step(
        "cell_density",
        "bandwidth",
        *(Rule(f"^{name}$", str(cap)) for name, cap in caps.items()),
        when=SIDES,
    )
    fitting = []
    for density in reversed(DENSITIES):
        most = whole_at_most(longest(density, pixels.max_output_side_pixels), 9)
        fitting.append(Rule(f"^(?:{most})?x(?:{most})?$", str(density)))
    yield Step(
        "side_density",
        "{width}x{height}",
        tuple(fitting),
        str(DENSITIES[0]),
        when=SIDES,
        why=f"no side is over {pixels.max_output_side_pixels} pixels",
    )
    yield Step(
        "density",
        "{box}|{wanted_density}|{cell_density}|{side_density}|",
        (
            Rule(f"^{NONE}[|]", NONE),
            *(Rule(f"[|]{_literal(density)}[|]", f"{density}x") for density in DENSITIES),
        ),
        NONE,
        when=SIDES,
        why="the lowest of the three",
    )


def formats_steps(policy: Policy) -> Iterator[Step]:
    """Yield the steps to the formats that may be sent."""
    offered = [known for known in FORMATS if known in policy.formats]
    for known in offered:
        kinds = [f"image/{known}"]
        rules = []
        if known == PLAINEST:
            kinds += ["image/[*]", "[*]/[*]"]
            rules.append(Rule(f"^{SPACE}$", known))
        for kind in kinds:
            named = f"(?:^|,){SPACE}(?i:{kind}){SPACE}"
            refused = f"{named};(?:[^,]*;)?{SPACE}[qQ] ?= ?0(?:[.]0*)?{SPACE}(?:[;,]|$)"
            rules += [Rule(refused, ""), Rule(f"{named}(?:[;,]|$)", known)]
        yield step(f"accepts_{known}", "header_accept", *rules)
    sets = []
    for count in reversed(range(len(offered) + 1)):
        for accepted in combinations(offered, count):
            spaced = " ".join(known if known in accepted else "" for known in offered)
            chosen = "+".join(choose_formats(frozenset(accepted), policy))
            sets.append(Rule(f"^[|]{spaced}$", chosen))
    yield Step(
        "formats",
        "{format}|" + " ".join(f"{{accepts_{known}}}" for known in offered),
        (Rule("^([^|]+)[|]", r"\1"), *sets),
        why="the policy's first that is accepted, and what is plainer",
    )


def longest(density: Decimal, max_side: int) -> int:
    """Return the longest side of a box that is not too long at a density."""
    side = max_side
    while Box(side, None).times(density).longest > max_side:
        side -= 1
    return side


def _literal(density: Decimal) -> str:
    return str(density).replace(".", "[.]")
