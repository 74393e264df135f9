"""Plans: what was asked and decided, brought down to what matters."""

from decimal import Decimal

import pytest

from imgprocessor.config.settings import PixelsSettings
from imgprocessor.geometry import Box, Fit, Size
from imgprocessor.policy.negotiation import negotiate
from imgprocessor.policy.plan import Plan, make_plan
from imgprocessor.policy.table import Policy
from imgprocessor.request.hints import read_hints
from imgprocessor.request.query import parse_query

MAX_SIDE = 4096


def plan(policy: Policy, rest: str) -> Plan:
    query = parse_query(f"name=a&{rest}", MAX_SIDE)
    return make_plan(query, negotiate(query, read_hints({}), policy), PixelsSettings(), "enc 1")


@pytest.mark.parametrize(
    ("rest", "density"),
    [
        ("width=100", "1"),
        ("width=100&dpr=0.5", "1"),
        ("width=100&dpr=1.001", "1.5"),
        ("width=100&dpr=1.5", "1.5"),
        ("width=100&dpr=2", "2"),
        ("width=100&dpr=2.625", "3"),
        ("width=100&dpr=9", "3"),
        # Capped by the cell.
        ("width=100&dpr=3&bandwidth=slow-3g", "2"),
        ("width=100&dpr=3&bandwidth=2g", "1.5"),
        ("width=100&dpr=3&bandwidth=slow-2g", "1"),
        # Capped by the longest side sent.
        ("width=2048&dpr=3", "2"),
        ("width=100&height=2049&dpr=3", "1.5"),
        ("width=4096&dpr=3", "1"),
    ],
)
def test_the_density_is_rounded_up_and_capped(policy: Policy, rest: str, density: str) -> None:
    assert Decimal(density) == plan(policy, rest).density


def test_without_a_box_what_belongs_to_boxes_is_none(policy: Policy) -> None:
    made = plan(policy, "fit=cover&dpr=3")

    assert (None, None, None, "desktop") == (made.box, made.fit, made.density, made.screen)


def test_with_a_box_the_screen_is_none(policy: Policy) -> None:
    assert plan(policy, "width=1&screen=phone").screen is None


def test_with_a_lone_side_cover_is_force(policy: Policy) -> None:
    assert plan(policy, "width=10&fit=cover") == plan(policy, "width=10&fit=force")
    assert plan(policy, "width=10&height=5&fit=cover").fit is Fit.COVER


@pytest.mark.parametrize(("rest", "limit", "quality"), [("quality=50", 50, 50), ("", None, 78)])
def test_the_query_may_lower_the_quality(
    policy: Policy, rest: str, limit: int | None, quality: int
) -> None:
    made = plan(policy, rest)

    assert (limit, quality) == (made.quality_limit, made.max_quality)


@pytest.mark.parametrize("asked", [78, 79, 100])
def test_the_query_may_not_raise_the_quality(policy: Policy, asked: int) -> None:
    assert plan(policy, f"quality={asked}") == plan(policy, "")


@pytest.mark.parametrize(
    ("rest", "original", "expected"),
    [
        ("bandwidth=4g&screen=phone", Size(3000, 2000), Size(1082, 721)),
        ("bandwidth=4g&screen=phone", Size(600, 400), Size(600, 400)),
        ("bandwidth=4g&screen=phone", Size(1000, 16000), Size(256, 4096)),
        ("width=340&height=400", Size(1534, 1022), Size(340, 227)),
        ("width=340&height=400&dpr=2", Size(1534, 1022), Size(680, 453)),
        ("width=340&height=400&dpr=2&fit=force", Size(1534, 1022), Size(680, 800)),
        ("width=4000&fit=force", Size(10, 100), Size(410, 4096)),
    ],
)
def test_a_plan_says_how_large_a_rendition_is(
    policy: Policy, rest: str, original: Size, expected: Size
) -> None:
    assert expected == plan(policy, rest).lay_out(original).size


@pytest.mark.parametrize(
    ("screen", "bandwidth", "expected"),
    [
        (320, "2g", Size(536, 357)),
        (480, "3g", Size(689, 459)),
        (540, "any", Size(920, 613)),
        (1080, "4g", Size(1150, 766)),
    ],
)
def test_the_ancestors_golden_sizes_come_out_within_a_pixel(
    classic: Policy, screen: int, bandwidth: str, expected: Size
) -> None:
    size = plan(classic, f"screen={screen}&bandwidth={bandwidth}").lay_out(Size(1534, 1022)).size

    assert abs(size.width - expected.width) <= 1
    assert abs(size.height - expected.height) <= 1


@pytest.mark.parametrize(
    ("rest", "original", "density"),
    [
        ("width=340&dpr=2", Size(3000, 2000), "2"),
        ("width=333&dpr=1.5", Size(3000, 2000), "1.5"),
        ("width=340&dpr=3", Size(500, 400), "1.471"),
        ("width=340&dpr=3", Size(200, 100), "1"),
        ("width=340&height=400&fit=force&dpr=2", Size(10, 10), "2"),
        ("", Size(10, 10), None),
    ],
)
def test_the_density_reached_keeps_the_layout_at_the_size_asked(
    policy: Policy, rest: str, original: Size, density: str | None
) -> None:
    made = plan(policy, rest)
    reached = made.reached_density(original, made.lay_out(original).size)

    assert (None if density is None else Decimal(density)) == reached


def test_a_box_is_in_css_pixels(policy: Policy) -> None:
    assert Box(340, None) == plan(policy, "width=340&dpr=3").box
