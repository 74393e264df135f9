"""The model of a link: slow start until it is full."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgprocessor.policy.link import Link, link_of
from imgprocessor.policy.table import Bandwidth, Policy

SEGMENT = 1460


@pytest.mark.parametrize(
    ("link", "body_bytes", "seconds"),
    [
        # Nothing but the round trip.
        (Link(100, 1000), 0, 0.1),
        # The first ten segments come at once; the eleventh waits for another round trip.
        (Link(100, 1000), 10 * SEGMENT, 0.1 + 10 * SEGMENT / 125e6),
        (Link(100, 1000), 11 * SEGMENT, 0.2 + SEGMENT / 125e6),
        # Ten, twenty, and the rest of forty.
        (Link(100, 1000), 40 * SEGMENT, 0.3 + 10 * SEGMENT / 125e6),
        # Ten segments fill a slow link, so that bytes take as long as they take.
        (Link(450, 0.2), 30_000, 0.45 + 30_000 * 8 / 200_000),
        # 20,000 bytes a round trip: full after ten, so that no third round is waited for.
        (Link(100, 1.6), 100_000, 0.2 + (100_000 - 10 * SEGMENT) / 200_000),
    ],
)
def test_seconds_are_those_of_slow_start(link: Link, body_bytes: int, seconds: float) -> None:
    assert seconds == pytest.approx(link.seconds(body_bytes))


@given(st.integers(0, 10**7), st.floats(1, 5000), st.floats(0.01, 1000))
def test_no_body_comes_faster_than_the_link_is(body: int, rtt_ms: float, mbps: float) -> None:
    link = Link(rtt_ms, mbps)

    assert link.seconds(body) >= rtt_ms / 1000 + body * 8 / (mbps * 1e6) - 1e-9
    assert link.seconds(body) <= link.seconds(body + 1) + 1e-9


@given(st.floats(1000, 10**6), st.floats(1, 5000), st.floats(0.01, 1000))
def test_a_pages_pictures_share_the_link(picture: float, rtt_ms: float, mbps: float) -> None:
    link = Link(rtt_ms, mbps)

    shared = link.page_seconds(picture)
    assert shared >= rtt_ms / 1000 + 12 * picture * 8 / (mbps * 1e6) - 1e-3
    assert shared <= 12 * link.seconds(round(picture)) + 1e-3


def test_a_page_pays_for_its_round_trips_once() -> None:
    # 240 kB at 50 kB/s, one round trip for the requests, and one until the link is full.
    assert Link(450, 0.4).page_seconds(20_000) == pytest.approx(0.9 + (240_000 - 14_600) / 50_000)


def test_a_class_is_known_by_name_or_by_its_bounds(policy: Policy) -> None:
    by_name = {known.name: link_of(known, policy) for known in policy.bandwidths}
    bounded = Bandwidth("mine", min_rtt_ms=Decimal(600), max_downlink_mbps=Decimal("0.3"))
    endless = Bandwidth("dark", max_downlink_mbps=Decimal(0))
    other = replace(policy, bandwidths=(endless, bounded, Bandwidth("any")))

    assert by_name["2g"] == Link(1800, 0.075)
    assert by_name["3g"] == Link(450, 1.6)
    assert by_name["4g"] == Link(75, 5)
    assert by_name["save-data"] == by_name["slow-4g"] == Link(175, 1.6)
    assert link_of(bounded, other) == Link(600, 0.3)
    assert link_of(other.bandwidths[2], other) == Link(175, 1.6)
    assert link_of(endless, other).downlink_mbps > 0


@pytest.mark.parametrize(
    ("worse", "name", "link"),
    [
        (None, "3g", Link(450, 0.4)),
        ("0.07", "3g", Link(450, 0.4)),
        # What is typical of a 3g is in the worse class: a 3g here has more.
        ("0.55", "3g", Link(450, 1.6)),
        ("0.55", "4g", Link(175, 1.6)),
        ("1.6", "4g", Link(75, 5)),
    ],
)
def test_no_link_is_typical_that_a_worse_class_takes(
    policy: Policy, worse: str | None, name: str, link: Link
) -> None:
    known = Bandwidth(name)
    taken = Bandwidth("worse", max_downlink_mbps=Decimal(worse) if worse else None)

    assert link == link_of(known, replace(policy, bandwidths=(taken, known)))
