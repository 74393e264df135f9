"""Request headers: which hints are understood, and what goes into Vary."""

from dataclasses import replace
from decimal import Decimal

import pytest
from generated import QS
from hypothesis import given
from hypothesis import strategies as st

from imgprocessor.request.hints import (
    ACCEPT_CH,
    HINT_HEADERS,
    UA_MOBILE,
    Hints,
    UsedHints,
    read_hints,
    vary,
)

ALL = UsedHints(
    bandwidth=True,
    save_data=True,
    rtt=True,
    downlink=True,
    screen=True,
    density=True,
    formats=True,
)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, Hints()),
        ({"HTTP-NW-TYPE": "2G"}, Hints(bandwidth="2g")),
        ({"HTTP-SCREENSIZE": "360"}, Hints(screen="360")),
        ({"Save-Data": "on"}, Hints(save_data=True)),
        ({"Save-Data": "On"}, Hints(save_data=True)),
        ({"Save-Data": "1"}, Hints()),
        ({"ECT": "slow-2g"}, Hints(ect="slow-2g")),
        ({"RTT": "300"}, Hints(rtt_ms=Decimal(300))),
        ({"RTT": "0"}, Hints(rtt_ms=Decimal(0))),
        ({"Downlink": "0.45"}, Hints(downlink_mbps=Decimal("0.45"))),
        ({"Downlink": "-1"}, Hints()),
        ({"Downlink": "1e3"}, Hints()),
        ({"Sec-CH-Viewport-Width": "360"}, Hints(viewport_css_pixels=Decimal(360))),
        ({"Viewport-Width": "360"}, Hints(viewport_css_pixels=Decimal(360))),
        (
            {"Sec-CH-Viewport-Width": "360", "Viewport-Width": "999"},
            Hints(viewport_css_pixels=Decimal(360)),
        ),
        (
            {"Sec-CH-Viewport-Width": "wide", "Viewport-Width": "999"},
            Hints(viewport_css_pixels=Decimal(999)),
        ),
        ({"Sec-CH-UA-Mobile": "?1"}, Hints(is_mobile=True)),
        ({"Sec-CH-UA-Mobile": " ?1\t"}, Hints(is_mobile=True)),
        ({"Sec-CH-UA-Mobile": "?1, ?0"}, Hints(is_mobile=True)),
        ({"Sec-CH-UA-Mobile": "?0, ?1"}, Hints()),
        ({"Sec-CH-UA-Mobile": "?0"}, Hints()),
        ({"Sec-CH-UA-Mobile": "1"}, Hints()),
        ({"Sec-CH-UA-Mobile": "true"}, Hints()),
        ({"Sec-CH-UA-Mobile": ""}, Hints()),
        ({"Sec-CH-DPR": "2.625"}, Hints(dpr=Decimal("2.625"))),
        ({"DPR": "0"}, Hints()),
        # Sent twice, as Apache joins it: the first counts, be it good or not.
        ({"RTT": "100, 2000"}, Hints(rtt_ms=Decimal(100))),
        ({"RTT": "x, 2000"}, Hints()),
        ({"ECT": "3g,4g"}, Hints(ect="3g")),
    ],
)
def test_hints_are_understood(headers: dict[str, str], expected: Hints) -> None:
    assert expected == read_hints({name.lower(): text for name, text in headers.items()})


CHROMIUM = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "formats"),
    [
        (None, "gif png jpeg"),
        ("", "gif png jpeg"),
        (" \t", "gif png jpeg"),
        ("*/*", "gif png jpeg"),
        ("image/*", "gif png jpeg"),
        ("text/html", "png jpeg"),
        (CHROMIUM, "avif webp gif png jpeg"),
        (f"image/jxl,{CHROMIUM}", "jxl avif webp gif png jpeg"),
        (
            "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5",
            "avif webp gif png jpeg",
        ),
        ("image/webp", "webp png jpeg"),
        # Refused, however it is written; and a refusal outweighs whatever else is said.
        ("image/avif;q=0,image/webp", "webp png jpeg"),
        ("image/avif; q=0.000 ,image/webp", "webp png jpeg"),
        ("image/avif ;q = 0.0,image/webp", "webp png jpeg"),
        ("image/avif,image/avif;q=0", "png jpeg"),
        ("image/avif;q=0.49,image/avif", "png jpeg"),
        ("image/avif;q=1;q=0.2", "png jpeg"),
        # The more particular word counts, as in RFC 9110; PNG and JPEG are refused by name only.
        ("image/gif", "gif png jpeg"),
        ("image/gif;q=0.3,*/*", "png jpeg"),
        ("image/gif,image/*;q=0", "gif png jpeg"),
        ("image/*;q=0.2,*/*", "png jpeg"),
        ("image/*,*/*;q=0.2", "gif png jpeg"),
        ("*/*;q=0.4", "png jpeg"),
        ("image/jpeg;q=0,*/*", "gif png"),
        ("image/png;q=0.4,image/webp", "webp jpeg"),
        ("image/png;q=0,image/jpeg;q=0", ""),
        ("image/avif;level=0", "avif png jpeg"),
        ("image/avif2,ximage/webp", "png jpeg"),
        (",;,=, image/webp;;q", "webp png jpeg"),
    ],
)
def test_formats_are_those_that_accept_names(accept: str | None, formats: str) -> None:
    headers = {} if accept is None else {"accept": accept}

    assert set(formats.split()) == read_hints(headers).formats


@pytest.mark.parametrize(("q", "is_offered"), QS.items())
def test_a_format_is_offered_from_a_half_on(q: str, *, is_offered: bool) -> None:
    """What is no q refuses nothing."""
    assert ("webp" in read_hints({"accept": f"image/webp{q}"}).formats) == is_offered


@given(st.dictionaries(st.sampled_from(HINT_HEADERS), st.text()))
def test_no_header_whatever_is_an_error(headers: dict[str, str]) -> None:
    read_hints(headers)


@pytest.mark.parametrize("unused", ["screen", "density"])
def test_vary_is_short_enough_for_nginx_to_cache(unused: str) -> None:
    """Screen and density never matter together."""
    assert len(vary(replace(ALL, **{unused: False}))) < 128


def test_pages_do_not_ask_for_what_is_always_sent() -> None:
    assert UA_MOBILE not in ACCEPT_CH


def test_vary_is_empty_when_nothing_can_matter() -> None:
    nothing = UsedHints(
        bandwidth=False,
        save_data=True,
        rtt=True,
        downlink=True,
        screen=False,
        density=False,
        formats=False,
    )

    assert vary(nothing) == ""


def test_vary_leaves_out_what_the_policy_does_not_measure() -> None:
    classic = UsedHints(
        bandwidth=True,
        save_data=False,
        rtt=False,
        downlink=False,
        screen=False,
        density=False,
        formats=False,
    )

    assert vary(classic) == "HTTP-NW-TYPE, ECT"
