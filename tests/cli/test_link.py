"""The model of a link: slow start until it is full."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgprocessor.cli.policy.link import Link, link_of
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


def test_a_class_is_known_by_name_or_by_its_bounds(policy: Policy) -> None:
    by_name = {known.name: link_of(known) for known in policy.bandwidths}
    bounded = Bandwidth("mine", min_rtt_ms=Decimal(600), max_downlink_mbps=Decimal("0.3"))

    assert by_name["2g"] == Link(1800, 0.075)
    assert by_name["save-data"] == by_name["4g"]
    assert link_of(Bandwidth("mine")) == by_name["4g"]
    assert link_of(bounded) == Link(600, 0.3)
    assert link_of(replace(bounded, max_downlink_mbps=Decimal(0))).downlink_mbps > 0
