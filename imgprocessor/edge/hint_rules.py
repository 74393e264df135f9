"""Rules that bring hints, and what scripts write, down to the policy's classes: as parameters.

They say what `request.hints` and `policy.negotiation` say; tests hold them together.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from itertools import combinations

from imgprocessor.edge.query_rules import FORMAT, HAS_SIZE, MAY_BE_SIZE, REFUSED
from imgprocessor.edge.rules import (
    BEGIN,
    END,
    QUERY,
    SPACE,
    Rule,
    Step,
    first,
    step,
    text_of,
)
from imgprocessor.formats import FORMATS, UNIVERSAL, Format
from imgprocessor.policy.negotiation import choose_formats
from imgprocessor.policy.table import DENSITIES, SIZED, Policy
from imgprocessor.request.hints import (
    ACCEPT,
    DENSITY,
    DOWNLINK,
    ECT,
    LAYOUT_WIDTH_CSS_PIXELS,
    OLD_BANDWIDTH,
    OLD_SCREEN,
    REFUSAL,
    RTT,
    SAVE_DATA,
    UA_MOBILE,
    VIEWPORT_WIDTH,
)
from imgprocessor.request.number_patterns import NUMBER, at_least, at_most, literal
from imgprocessor.request.parameters import NO_FORMATS, PARAMETERS

_NOT_ZERO = r"(?=[0-9]*[1-9]|[0-9]*[.][0-9]{0,2}[1-9])"
_THOUSANDTH = Decimal("0.001")

WHOLE_NUMBER = Rule(f"^({NUMBER})$", r"\1")
"""A number that is all of a header, as it mostly is."""

SHOWN, MAY_BE_SENT = "shown", "formats"
"""The steps that say which formats the header Accept comes to, and what the request comes to."""


def bandwidth_steps(policy: Policy) -> Iterator[Step]:
    """Yield the steps to the class."""
    names = [known.name for known in policy.bandwidths]
    likely = names[::-1]
    named = [Rule(f"{BEGIN}bandwidth=(?i:{name}){END}", name) for name in likely]
    anything = Rule(f"{BEGIN}bandwidth=(?:[*]|%2[Aa]){END}", policy.default_bandwidth)
    yield step("asked_bandwidth", QUERY, *named, anything)
    yield step(
        "old_bandwidth",
        text_of(OLD_BANDWIDTH),
        *(first(f"(?i:{name})", name) for name in likely),
        first("[*]", policy.default_bandwidth),
    )
    saver = policy.save_data_bandwidth
    yield step("save_data", text_of(SAVE_DATA), *([first("(?i:on)", saver)] if saver else []))
    yield step("ect", text_of(ECT), *(first(f"(?i:{name})", name) for name in likely))
    measures = list(_unmet(policy))
    for hint, counts in ((RTT, policy.measures_rtt), (DOWNLINK, policy.measures_downlink)):
        rules = [WHOLE_NUMBER, first(f"({NUMBER})", r"\1")] if counts else []
        yield step(hint.lower(), text_of(hint), *rules)
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
    bounds = [(screen.max_css_pixels, screen.name) for screen in policy.screens]
    sizes = [
        (f"{_NOT_ZERO}{NUMBER if bound is None else at_most(Decimal(bound))}", name)
        for bound, name in bounds
    ]
    words = [(f"(?i:{name})", name) for _, name in bounds] + sizes
    named = [Rule(f"{BEGIN}screen(?:size)?={pattern}{END}", name) for pattern, name in words]
    layout = str(LAYOUT_WIDTH_CSS_PIXELS)
    place, (size, name) = next(
        (place, known) for place, known in enumerate(sizes) if re.fullmatch(known[0], layout)
    )
    widths = [*sizes]
    widths.insert(place, (f"(?=0*{layout}(?:[.]0*)?{SPACE}(?:,|$)){size}", f"={name}"))
    yield step("asked_screen", QUERY, *named, unless=HAS_SIZE)
    for name, header, found in (
        ("old_screen", OLD_SCREEN, words),
        ("viewport", VIEWPORT_WIDTH[0], widths),
        ("old_viewport", VIEWPORT_WIDTH[1], widths),
        ("mobile", UA_MOBILE, [("[?]1", policy.mobile_screen)]),
    ):
        rules = (first(*word) for word in found)
        yield step(name, text_of(header), *rules, unless=HAS_SIZE)
    texts = (HAS_SIZE, "asked_screen", "old_screen", "mobile", "viewport", "old_viewport")
    named_by = r"&screen=\1"
    yield Step(
        "screen",
        "|".join(f"{{{text}}}" for text in texts),
        (
            Rule("^[|]{3}[^|]*[|]([^|=]+)", named_by),
            Rule("^[|]{1,2}([^|]+)", named_by),
            Rule("^[|]{3}([^|]+)[|]+(?:=|$)", named_by),
            Rule("^[|]{3}[^|]*[|]+=?([^|=]+)", named_by),
            Rule("^1", ""),
        ),
        f"&screen={policy.default_screen}",
        why="does not count where the request names a size; = is before a phone's layout width",
    )


def density_steps(policy: Policy) -> Iterator[Step]:
    """Yield the steps to the density, as far as the policy honours it."""
    sized = (HAS_SIZE, MAY_BE_SIZE)
    yield step(
        "asked_dpr",
        QUERY,
        Rule(f"{BEGIN}dpr={_NOT_ZERO}([0-9]{{1,5}}(?:[.][0-9]{{1,2}})?){END}", r"\1"),
        Rule(f"{BEGIN}dpr={_NOT_ZERO}([0-9]{{1,5}}[.][0-9]{{3}})[0-9]{{0,27}}{END}", r"\1"),
        when=sized,
        why="of the decimals, scripts' ones, three count",
    )
    number = first(f"{_NOT_ZERO}({NUMBER})", r"\1")
    yield step("dpr", text_of(DENSITY[0]), number, when=sized)
    yield step("old_dpr", text_of(DENSITY[1]), number, when=sized)
    *lower, highest = DENSITIES
    yield Step(
        "wanted_density",
        "{asked_dpr}|{dpr}|{old_dpr}",
        (
            *(Rule(f"^[|]*{at_most(density)}(?:[|]|$)", str(density)) for density in lower),
            Rule("[0-9]", str(highest)),
        ),
        str(DENSITIES[0]),
        when=sized,
        why="the first that is given, rounded up",
    )
    rules = [Rule("^[|]", "")]
    for cap in DENSITIES:
        names = "|".join(known for known, most in density_caps(policy).items() if most == cap)
        if names:
            rules += [
                Rule(f"^1+[|](?:{names})[|]{literal(density)}$", f"&dpr={density}")
                for density in DENSITIES
                if DENSITIES[0] < cap and density < cap
            ]
            best = f"&dpr={cap}" if cap > DENSITIES[0] else ""
            rules.append(Rule(f"^1+[|](?:{names})[|]", best))
    yield Step(
        "density",
        f"{{{HAS_SIZE}}}{{{MAY_BE_SIZE}}}|{{bandwidth}}|{{wanted_density}}",
        tuple(rules),
        when=sized,
        why="no more than the cell honours; where that is 1, it does not count",
    )


def density_caps(policy: Policy) -> dict[str, Decimal]:
    """Return the highest density that each class honours, for requests that name a size."""
    names = [known.name for known in policy.bandwidths]
    return {name: policy.cells[SIZED, name].max_density for name in names}


def formats_steps(policy: Policy) -> Iterator[Step]:
    """Yield the steps to the formats that may be sent, but for those that every client takes."""
    one, plus = f"(?:{'|'.join(FORMATS)})", "(?:[+]|%2[bB]|%20)"
    named = f"formats=(?:{NO_FORMATS}|{one}(?:{plus}{one}){{0,{len(FORMATS) - 1}}})"
    yield step("asked_formats", QUERY, Rule(f"{BEGIN}({named}){END}", r"&\1"))
    told = _told_by_accept(policy)
    for known in told:
        kinds = [f"image/{known}"]
        rules = []
        if known == "gif":
            kinds += ["image/[*]", "[*]/[*]"]
            rules.append(Rule(f"^{SPACE}$", known))
        for kind in kinds:
            rules += [_refused(kind, ""), Rule(f"{_named(kind)}(?:[;,]|$)", known)]
        yield step(f"accepts_{known}", text_of(ACCEPT), *rules)
    universal = "|".join(sorted(UNIVERSAL))
    yield step(
        "refuses_universal",
        text_of(ACCEPT),
        _refused(f"image/(?:{universal})", REFUSED),
        why="what every other client takes: no spelling says so",
    )
    yield Step(
        SHOWN,
        "".join(f"{{accepts_{known}}} " for known in told) + "{refuses_universal}",
        (
            *(
                Rule(f"^{spaced}$", f"&formats={chosen}")
                for spaced, chosen in _sets_of_formats(policy)
            ),
            Rule(f"{REFUSED}$", REFUSED),
        ),
        why="the policy's first that is accepted, and what is plainer",
    )
    yield Step(
        MAY_BE_SENT,
        f"{{{FORMAT}}}|{{asked_formats}}|{{{SHOWN}}}",
        (Rule("^[|]{1,2}([^|]+)", r"\1"),),
        why="where the request names none",
    )


def sets_of_formats(policy: Policy) -> list[str]:
    """Return the sets that a visitor may be sent, as they are spelled."""
    return list(dict.fromkeys(chosen for _, chosen in _sets_of_formats(policy)))


def _sets_of_formats(policy: Policy) -> Iterator[tuple[str, str]]:
    """Yield what may be accepted, with a blank behind each, and what is sent then."""
    told = _told_by_accept(policy)
    for count in reversed(range(len(told) + 1)):
        for accepted in combinations(told, count):
            spaced = "".join(f"{known if known in accepted else ''} " for known in told)
            chosen = frozenset(choose_formats(UNIVERSAL.union(accepted), policy))
            yield spaced, PARAMETERS["formats"].value.write(chosen)


def _told_by_accept(policy: Policy) -> list[Format]:
    """Return the formats that a client must name, or GIF, which it may."""
    return [
        known
        for known in FORMATS
        if known == "gif" or (known in policy.formats and known not in UNIVERSAL)
    ]


def _named(kind: str) -> str:
    return f"(?:^|,){SPACE}(?i:{kind}){SPACE}"


def _refused(kind: str, value: str) -> Rule:
    return Rule(f"{_named(kind)};(?:[^,]*;)?{SPACE}{REFUSAL}{SPACE}(?:[;,]|$)", value)
