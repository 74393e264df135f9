"""Who gets what: which hint decides, and which cell comes out."""

from dataclasses import replace
from decimal import Decimal

import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

from imgprocessor.formats import FORMATS
from imgprocessor.policy.negotiation import Decision, negotiate, permit, uses
from imgprocessor.policy.table import Policy
from imgprocessor.request.hints import read_hints, vary
from imgprocessor.request.query import parse_query

MAX_SIDE = 4096


def _decide(policy: Policy, rest: str, headers: dict[str, str]) -> Decision:
    lower = {name.lower(): text for name, text in headers.items()}
    return negotiate(parse_query(f"name=a&{rest}", MAX_SIDE), read_hints(lower), policy)


@pytest.mark.parametrize(
    ("rest", "headers", "bandwidth", "source"),
    [
        ("", {}, "4g", "default"),
        ("bandwidth=2g", {"ECT": "3g", "Save-Data": "on"}, "2g", "query"),
        ("bandwidth=2G", {}, "2g", "query"),
        ("bandwidth=*", {"ECT": "2g"}, "4g", "query"),
        ("bandwidth=5g", {"ECT": "2g"}, "2g", "ECT"),
        ("bandwidth=wifi", {}, "4g", "default"),
        ("", {"HTTP-NW-TYPE": "3G", "Save-Data": "on", "ECT": "2g"}, "3g", "HTTP-NW-TYPE"),
        ("", {"HTTP-NW-TYPE": "5g", "ECT": "2g"}, "2g", "ECT"),
        ("", {"HTTP-NW-TYPE": "*", "ECT": "2g"}, "4g", "HTTP-NW-TYPE"),
        ("", {"Save-Data": "on", "ECT": "slow-2g"}, "save-data", "Save-Data"),
        ("", {"Save-Data": "off", "ECT": "3g"}, "3g", "ECT"),
        ("", {"ECT": "3g"}, "3g", "ECT"),
        ("", {"ECT": "5g"}, "4g", "default"),
        ("", {"ECT": "*"}, "4g", "default"),
        # The worse of what ECT names and what the measurements meet.
        ("", {"ECT": "4g", "RTT": "300", "Downlink": "10"}, "3g", "RTT"),
        ("", {"ECT": "4g", "RTT": "100", "Downlink": "0.9"}, "mid-3g", "Downlink"),
        # Both are 3g to a browser.
        ("", {"ECT": "3g", "RTT": "450", "Downlink": "0.4"}, "slow-3g", "Downlink"),
        ("", {"ECT": "3g", "RTT": "450", "Downlink": "0.45"}, "slow-3g", "Downlink"),
        ("", {"ECT": "3g", "RTT": "450", "Downlink": "1.6"}, "3g", "ECT"),
        ("", {"ECT": "3g", "RTT": "300", "Downlink": "1.45"}, "3g", "ECT"),
        ("", {"ECT": "2g", "RTT": "100", "Downlink": "10"}, "2g", "ECT"),
        ("", {"ECT": "3g", "RTT": "2050"}, "slow-2g", "RTT"),
        # A fresh profile of Chromium that has measured nothing must not be taken for slow.
        ("", {"ECT": "4g", "RTT": "100", "Downlink": "1.35"}, "4g", "ECT"),
        # What Chromium reports for a typical 2g and 4g, blurred as far as it goes.
        ("", {"ECT": "2g", "RTT": "2000", "Downlink": "0.05"}, "2g", "ECT"),
        ("", {"ECT": "4g", "RTT": "200", "Downlink": "1.45"}, "slow-4g", "RTT"),
        ("", {"ECT": "4g", "RTT": "150", "Downlink": "1.75"}, "slow-4g", "RTT"),
        # At the bounds and around them.
        ("", {"RTT": "2050"}, "slow-2g", "RTT"),
        ("", {"RTT": "2049"}, "2g", "RTT"),
        ("", {"RTT": "1399"}, "3g", "RTT"),
        ("", {"RTT": "1400"}, "2g", "RTT"),
        ("", {"RTT": "270"}, "3g", "RTT"),
        ("", {"RTT": "269.999"}, "slow-4g", "RTT"),
        ("", {"RTT": "149"}, "4g", "RTT"),
        ("", {"Downlink": "0.55"}, "slow-3g", "Downlink"),
        ("", {"Downlink": "0.551"}, "mid-3g", "Downlink"),
        ("", {"Downlink": "1"}, "mid-3g", "Downlink"),
        ("", {"Downlink": "1.001"}, "slow-4g", "Downlink"),
        ("", {"Downlink": "1.3"}, "4g", "Downlink"),
        ("", {"Downlink": "0"}, "2g", "Downlink"),
        ("", {"Downlink": "fast"}, "4g", "default"),
    ],
)
def test_the_bandwidth_comes_from_the_strongest_hint(
    policy: Policy, rest: str, headers: dict[str, str], bandwidth: str, source: str
) -> None:
    decision = _decide(policy, rest, headers)

    assert (bandwidth, source) == (decision.bandwidth, decision.bandwidth_from)


MOBILE = {"Sec-CH-UA-Mobile": "?1"}


@pytest.mark.parametrize(
    ("rest", "headers", "screen", "source"),
    [
        ("", {}, "desktop", "default"),
        ("screen=phone", {"Sec-CH-Viewport-Width": "2000"}, "phone", "query"),
        ("screen=PHONE", {}, "phone", "query"),
        ("screen=480", {}, "phone", "query"),
        ("screen=480.5", {}, "tablet", "query"),
        ("screensize=1024", {}, "tablet", "query"),
        ("screen=1025", {}, "desktop", "query"),
        ("screen=tv", {"Viewport-Width": "400"}, "phone", "Sec-CH-Viewport-Width"),
        ("screen=0", {}, "desktop", "default"),
        ("", {"HTTP-SCREENSIZE": "320"}, "phone", "HTTP-SCREENSIZE"),
        ("", {"HTTP-SCREENSIZE": "x", "Viewport-Width": "800"}, "tablet", "Sec-CH-Viewport-Width"),
        ("", {"Sec-CH-Viewport-Width": "360"}, "phone", "Sec-CH-Viewport-Width"),
        # Phones that do not say how wide they are, or only how wide they lay out.
        ("", {"Sec-CH-UA-Mobile": "?1"}, "phone", "Sec-CH-UA-Mobile"),
        ("", MOBILE | {"Sec-CH-Viewport-Width": "980"}, "phone", "Sec-CH-UA-Mobile"),
        ("", MOBILE | {"Viewport-Width": "0980.0"}, "phone", "Sec-CH-UA-Mobile"),
        ("", MOBILE | {"Sec-CH-Viewport-Width": "wide"}, "phone", "Sec-CH-UA-Mobile"),
        ("", MOBILE | {"Sec-CH-Viewport-Width": "981"}, "tablet", "Sec-CH-Viewport-Width"),
        ("", MOBILE | {"Sec-CH-Viewport-Width": "844"}, "tablet", "Sec-CH-Viewport-Width"),
        ("", {"Sec-CH-Viewport-Width": "980"}, "tablet", "Sec-CH-Viewport-Width"),
        ("", {"Sec-CH-UA-Mobile": "?0"}, "desktop", "default"),
        (
            "",
            {"Sec-CH-UA-Mobile": "?0", "Viewport-Width": "980"},
            "tablet",
            "Sec-CH-Viewport-Width",
        ),
        ("screen=tablet", MOBILE, "tablet", "query"),
        ("screen=tv", MOBILE, "phone", "Sec-CH-UA-Mobile"),
        ("", MOBILE | {"HTTP-SCREENSIZE": "1200"}, "desktop", "HTTP-SCREENSIZE"),
        ("width=100", MOBILE, None, "box"),
        ("width=100&screen=phone", {}, None, "box"),
    ],
)
def test_the_screen_comes_from_the_strongest_hint(
    policy: Policy, rest: str, headers: dict[str, str], screen: str | None, source: str
) -> None:
    decision = _decide(policy, rest, headers)

    assert (screen, source) == (decision.screen, decision.screen_from)


def test_the_policy_says_which_row_phones_are_in(policy: Policy, classic: Policy) -> None:
    for table, screen in ((replace(policy, mobile_screen="tablet"), "tablet"), (classic, "medium")):
        assert _decide(table, "", MOBILE).screen == screen


@pytest.mark.parametrize(
    ("rest", "headers", "dpr", "source"),
    [
        ("", {}, "1", "default"),
        ("dpr=2", {"DPR": "3"}, "2", "query"),
        ("dpr=x", {"DPR": "3"}, "3", "Sec-CH-DPR"),
        ("", {"Sec-CH-DPR": "1.25", "DPR": "3"}, "1.25", "Sec-CH-DPR"),
    ],
)
def test_the_density_comes_from_the_strongest_hint(
    policy: Policy, rest: str, headers: dict[str, str], dpr: str, source: str
) -> None:
    decision = _decide(policy, rest, headers)

    assert (Decimal(dpr), source) == (decision.dpr, decision.dpr_from)


@pytest.mark.parametrize(
    ("rest", "cell"),
    [
        ("bandwidth=2g&screen=phone", "640px q32 20kB"),
        ("bandwidth=4g&screen=desktop", "1920px q78"),
        ("bandwidth=3g&width=100", "q70 250kB dpr3"),
    ],
)
def test_the_cell_is_where_row_and_column_meet(policy: Policy, rest: str, cell: str) -> None:
    assert cell == str(_decide(policy, rest, {}).cell)


def test_a_class_worse_than_the_default_is_degraded(policy: Policy, classic: Policy) -> None:
    assert _decide(policy, "bandwidth=slow-4g", {}).is_degraded
    assert not _decide(policy, "bandwidth=4g", {}).is_degraded
    assert _decide(classic, "bandwidth=4g", {}).is_degraded


def test_the_classic_table_has_no_use_for_measurements(classic: Policy) -> None:
    decision = _decide(classic, "", {"RTT": "3000", "Downlink": "0.01"})

    assert ("any", "default") == (decision.bandwidth, decision.bandwidth_from)


CHROMIUM = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"


@pytest.mark.parametrize(
    ("offer", "rest", "accept", "formats"),
    [
        ("avif webp jpeg", "", CHROMIUM, ("avif", "webp", "jpeg")),
        ("avif webp jpeg", "", "image/webp,*/*", ("webp", "jpeg")),
        ("avif webp jpeg", "", "*/*", ("jpeg",)),
        ("avif webp jpeg", "", "image/avif", ("avif",)),
        # Who can show nothing gets what most can.
        ("avif webp jpeg", "", "text/html", ("jpeg",)),
        ("avif webp jpeg", "", "image/jpeg;q=0", ("jpeg",)),
        # The policy's order chooses the first; after it only what is plainer.
        ("webp avif jpeg", "", CHROMIUM, ("webp", "jpeg")),
        ("jpeg avif", "", CHROMIUM, ("jpeg",)),
        ("avif png jpeg", "", "image/png, image/avif, */*", ("avif", "png", "jpeg")),
        # What the policy does not offer is never sent.
        ("avif jpeg", "", "image/png, image/webp, image/avif, */*", ("avif", "jpeg")),
        # How much a format is liked does not count, only whether it is refused.
        ("avif webp jpeg", "", "image/webp;q=1, image/avif;q=0.1", ("avif", "webp")),
        ("avif webp jpeg", "", "image/webp, image/avif;q=0", ("webp",)),
        # A query outranks the header.
        ("avif webp jpeg", "format=webp", "*/*", ("webp",)),
        ("jpeg", "format=png", "*/*", ("png",)),
        ("jpeg", "format=avif", CHROMIUM, ("jpeg",)),
    ],
)
def test_formats_come_from_the_query_the_policy_and_accept(
    policy: Policy, offer: str, rest: str, accept: str, formats: tuple[str, ...]
) -> None:
    offered = tuple(known for word in offer.split() for known in FORMATS if known == word)

    assert formats == _decide(replace(policy, formats=offered), rest, {"Accept": accept}).formats


def test_a_format_that_is_not_offered_is_refused_by_name(policy: Policy) -> None:
    _, problems = permit(parse_query("name=a&format=jxl", MAX_SIDE), policy)

    assert problems == ["format=jxl: the policy allows avif, webp, png, jpeg"]


@given(
    strategies.parameters, strategies.headers, strategies.headers, st.sampled_from(["", "classic"])
)
def test_headers_that_vary_does_not_name_change_nothing(
    policy: Policy,
    classic: Policy,
    parameters: dict[str, str],
    headers: dict[str, str],
    others: dict[str, str],
    table: str,
) -> None:
    chosen = classic if table else policy
    query = parse_query(strategies.query_string(parameters), MAX_SIDE)
    named = vary(uses(query, chosen)).lower().split(", ")
    same_where_it_matters = {name: text for name, text in others.items() if name not in named}
    same_where_it_matters |= {name: text for name, text in headers.items() if name in named}

    one = negotiate(query, read_hints(headers), chosen)
    other = negotiate(query, read_hints(same_where_it_matters), chosen)

    assert (one.bandwidth, one.screen, one.cell) == (other.bandwidth, other.screen, other.cell)
    assert one.formats == other.formats
    if query.box is not None and one.cell.max_density > 1:
        assert one.dpr == other.dpr
