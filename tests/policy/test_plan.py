"""Plans: what was asked and decided, brought down to what matters."""

from dataclasses import replace
from decimal import Decimal
from typing import get_args

import pytest

from imgprocessor.config.settings import PixelsSettings
from imgprocessor.errors import CropOutside
from imgprocessor.geometry import UPPER, Box, Crop, Fit, Layout, Size
from imgprocessor.policy.negotiation import negotiate
from imgprocessor.policy.plan import Plan, make_plan
from imgprocessor.policy.table import Effort, Policy
from imgprocessor.request.hints import read_hints
from imgprocessor.request.query import parse_query

MAX_SIDE = 4096


def plan(policy: Policy, rest: str) -> Plan:
    query = parse_query(f"name=a&{rest}", MAX_SIDE)
    decision = negotiate(query, read_hints({}), policy)
    return make_plan(query, decision, PixelsSettings(), "enc 1", policy.effort)


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


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("crop=10,20,300,200", Layout((10.0, 20.0, 310.0, 220.0), Size(300, 200))),
        ("crop=2900,1990,300,200", Layout((2900.0, 1990.0, 3000.0, 2000.0), Size(100, 10))),
        ("crop=10,20,300,200&width=150", Layout((10.0, 20.0, 310.0, 220.0), Size(150, 100))),
        ("crop=10,20,300,200&width=600", Layout((10.0, 20.0, 310.0, 220.0), Size(300, 200))),
        (
            "crop=10,20,300,200&width=600&fit=force&dpr=2",
            Layout((10.0, 20.0, 310.0, 220.0), Size(1200, 800)),
        ),
        (
            "crop=10,20,300,200&width=50&height=50&fit=cover&gravity=west",
            Layout((10.0, 20.0, 210.0, 220.0), Size(50, 50)),
        ),
        (
            "crop=0,100,300,900&width=50&height=50&fit=cover&gravity=upper",
            Layout((0.0, 250.0, 300.0, 550.0), Size(50, 50)),
        ),
        (
            "crop=0,100,300,900&width=150&max_height=60",
            Layout((0.0, 100.0, 300.0, 220.0), Size(150, 60)),
        ),
        # The table's own width is of what is left, too.
        (
            "crop=50%25,0%25,50%25,100%25&bandwidth=4g&screen=phone",
            Layout((1500.0, 0.0, 3000.0, 2000.0), Size(1082, 1443)),
        ),
        ("crop=10,20,300,200&screen=phone", Layout((10.0, 20.0, 310.0, 220.0), Size(300, 200))),
    ],
)
def test_what_is_done_to_a_crop_is_done_as_to_an_original(
    policy: Policy, rest: str, expected: Layout
) -> None:
    assert plan(policy, rest).lay_out(Size(3000, 2000)) == expected


def test_a_crop_outside_is_an_error_once_the_picture_is_known(policy: Policy) -> None:
    made = plan(policy, "crop=3000,0,10,10")

    assert made.lay_out(Size(3001, 1)).size == Size(1, 1)
    with pytest.raises(CropOutside, match="3000x2000"):
        made.lay_out(Size(3000, 2000))


@pytest.mark.parametrize(
    ("rest", "density"),
    [
        ("width=100&dpr=3&crop=0,0,300,300", "3"),
        ("width=100&dpr=3&crop=0,0,150,300", "1.5"),
        ("width=100&dpr=3&crop=0,0,50,50", "1"),
        ("width=100&dpr=2&max_height=10", "2"),
        ("width=100&height=100&fit=cover&gravity=upper&dpr=2", "2"),
        ("lqip=yes&width=100&dpr=3", "1"),
    ],
)
def test_the_density_reached_is_that_of_the_crop(policy: Policy, rest: str, density: str) -> None:
    made, original = plan(policy, rest), Size(3000, 2000)

    assert made.reached_density(original, made.lay_out(original).size) == Decimal(density)


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("width=10&max_height=6", 6),
        ("width=10&height=0&max_height=6", 6),
        ("width=10&max_height=0", None),
        ("width=10&height=20&max_height=6", None),
        ("height=20&max_height=6", None),
        ("max_height=6", None),
    ],
)
def test_a_highest_height_counts_for_a_lone_width(
    policy: Policy, rest: str, expected: int | None
) -> None:
    assert plan(policy, rest).max_height == expected


def test_a_highest_height_is_in_css_pixels(policy: Policy) -> None:
    made = plan(policy, "width=100&max_height=60&dpr=2")

    assert made.lay_out(Size(400, 800)) == Layout((0.0, 0.0, 400.0, 240.0), Size(200, 120))


def test_gravity_may_be_no_point(policy: Policy) -> None:
    assert plan(policy, "width=9&height=9&fit=cover&gravity=upper").gravity == UPPER


@pytest.mark.parametrize(
    ("rest", "headers"),
    [
        ("width=500&height=20&fit=cover&gravity=north&max_height=3", {}),
        ("quality=1&max_bytes=1000&format=png&formats=none", {}),
        ("bandwidth=2g&screen=phone&dpr=3", {}),
        ("", {"ect": "2g", "save-data": "on", "sec-ch-dpr": "3", "accept": "image/jpeg"}),
    ],
)
def test_bytes_to_be_shown_blurred_are_the_same_for_everybody(
    policy: Policy, rest: str, headers: dict[str, str]
) -> None:
    query = parse_query(f"name=a&lqip=yes&{rest}", MAX_SIDE)
    decision = negotiate(query, read_hints(headers), policy)
    made = make_plan(query, decision, PixelsSettings(), "enc 1", "best")

    assert made == plan(policy, "lqip=yes")
    assert not decision.is_degraded
    assert made != plan(policy, "lqip=yes&crop=0,0,5,5") != plan(policy, "lqip=yes&flip=h")
    assert made.crop is None
    assert plan(policy, "lqip=yes&crop=0,0,5,5").crop == Crop(0, 0, 5, 5)


@pytest.mark.parametrize("effort", get_args(Effort))
@pytest.mark.parametrize(
    ("rest", "counts"),
    [
        ("formats=avif%2Bwebp", True),
        ("formats=none", True),  # PNG and JPEG
        ("format=avif", True),
        ("format=png", True),
        ("format=jpeg", False),
        ("format=webp", False),
        ("lqip=yes", False),
    ],
)
def test_effort_counts_where_more_time_makes_something_lighter(
    policy: Policy, effort: Effort, rest: str, *, counts: bool
) -> None:
    made = plan(replace(policy, effort=effort), rest)

    assert made.effort == (effort if counts else None)


def test_a_box_is_in_css_pixels(policy: Policy) -> None:
    assert Box(340, None) == plan(policy, "width=340&dpr=3").box
