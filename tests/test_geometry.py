"""Sizes and boxes: golden sizes, and what holds for all of them."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgprocessor.geometry import (
    COMPASS,
    UPPER,
    Box,
    Crop,
    Fit,
    Layout,
    Size,
    inside,
    lay_out,
    share,
)

MAX_SIDE = 4096
sides = st.integers(1, 20_000)
sizes = st.builds(Size, sides, sides)
asked = st.integers(1, MAX_SIDE)
boxes = (
    st.builds(Box, asked, asked)
    | st.builds(Box, asked, st.none())
    | st.builds(Box, st.none(), asked)
)


@pytest.mark.parametrize(
    ("original", "box", "expected"),
    [
        # The ancestor's golden sizes.
        (Size(1534, 1022), Box(340, 400), Size(340, 227)),
        (Size(1534, 1022), Box(200, 200), Size(200, 133)),
        (Size(1534, 1022), Box(300, 200), Size(300, 200)),
        # A lone side, and never enlarged.
        (Size(1534, 1022), Box(767, None), Size(767, 511)),
        (Size(1534, 1022), Box(None, 511), Size(767, 511)),
        (Size(300, 200), Box(3000, 3000), Size(300, 200)),
        (Size(300, 200), Box(3000, 100), Size(150, 100)),
        # Never nothing.
        (Size(10_000, 1), Box(10, 10), Size(10, 1)),
    ],
)
def test_a_picture_fits_inside_its_box(original: Size, box: Box, expected: Size) -> None:
    assert expected == inside(original, box)


@pytest.mark.parametrize(
    ("fit", "box", "size", "part"),
    [
        (Fit.FORCE, Box(100, 300), Size(100, 300), (0, 0, 400, 200)),
        (Fit.FORCE, Box(1000, None), Size(1000, 500), (0, 0, 400, 200)),
        (Fit.FORCE, Box(None, 50), Size(100, 50), (0, 0, 400, 200)),
        (Fit.COVER, Box(100, 100), Size(100, 100), (100, 0, 300, 200)),
        (Fit.COVER, Box(400, 100), Size(400, 100), (0, 50, 400, 150)),
        (Fit.COVER, Box(800, 800), Size(800, 800), (100, 0, 300, 200)),
        (Fit.INSIDE, Box(100, 100), Size(100, 50), (0, 0, 400, 200)),
    ],
)
def test_each_fit_lays_a_picture_out(
    fit: Fit, box: Box, size: Size, part: tuple[float, float, float, float]
) -> None:
    layout = lay_out(Size(400, 200), box, fit, MAX_SIDE)

    assert (size, part) == (layout.size, layout.part)


@given(sizes, boxes)
def test_inside_never_enlarges_never_leaves_the_box_and_never_distorts(
    original: Size, box: Box
) -> None:
    size = inside(original, box)

    assert size.width <= min(original.width, box.width or original.width)
    assert size.height <= min(original.height, box.height or original.height)
    # Undistorted but for rounding: the sides times each other's original differ by half a pixel,
    # or a side would have been less than one pixel.
    skew = abs(size.width * original.height - size.height * original.width)
    assert skew <= max(original.width, original.height) / 2 or 1 in {size.width, size.height}


@given(sizes, boxes, st.sampled_from(Fit))
def test_no_layout_leaves_the_original_or_exceeds_the_longest_side(
    original: Size, box: Box, fit: Fit
) -> None:
    layout = lay_out(original, box, fit, MAX_SIDE)

    left, top, right, bottom = layout.part
    assert 0 <= left < right <= original.width + 1e-6
    assert 0 <= top < bottom <= original.height + 1e-6
    assert 1 <= layout.size.width <= MAX_SIDE
    assert 1 <= layout.size.height <= MAX_SIDE
    if fit is not Fit.INSIDE and not box.is_lone:
        assert Size(box.width or 0, box.height or 0) == layout.size


@given(sizes, asked, asked)
def test_cover_keeps_the_centre_undistorted(original: Size, width: int, height: int) -> None:
    left, top, right, bottom = lay_out(original, Box(width, height), Fit.COVER, MAX_SIDE).part

    assert left == pytest.approx(original.width - right, abs=1e-6)
    assert top == pytest.approx(original.height - bottom, abs=1e-6)
    assert (right - left) / (bottom - top) == pytest.approx(width / height)


shares = st.integers(0, 20).map(lambda step: Decimal(step) / 20)


@given(sizes, asked, asked, shares, shares)
def test_cover_keeps_what_is_nearest_to_the_point(
    original: Size, width: int, height: int, x: Decimal, y: Decimal
) -> None:
    box = Box(width, height)
    left, top, right, bottom = lay_out(original, box, Fit.COVER, MAX_SIDE, (x, y)).part
    centred = lay_out(original, box, Fit.COVER, MAX_SIDE)
    close = pytest.approx

    assert 0 <= left < right <= original.width + 1e-6
    assert 0 <= top < bottom <= original.height + 1e-6
    assert right - left == close(centred.part[2] - centred.part[0])
    assert bottom - top == close(centred.part[3] - centred.part[1])
    for start, end, length, wanted in (
        (left, right, original.width, x),
        (top, bottom, original.height, y),
    ):
        away = (start + end) / 2 - float(wanted) * length
        # Not in the middle: then at the edge that is in the way.
        assert away == close(0, abs=1e-6) or (start if away > 0 else length - end) == close(
            0, abs=1e-6
        )


@pytest.mark.parametrize(
    ("gravity", "part"),
    [
        ("centre", (100.0, 0.0, 300.0, 200.0)),
        ("north", (100.0, 0.0, 300.0, 200.0)),
        ("west", (0.0, 0.0, 200.0, 200.0)),
        ("southwest", (0.0, 0.0, 200.0, 200.0)),
        ("east", (200.0, 0.0, 400.0, 200.0)),
        ("northeast", (200.0, 0.0, 400.0, 200.0)),
    ],
)
def test_a_compass_word_is_a_point(gravity: str, part: tuple[float, float, float, float]) -> None:
    original, box = Size(400, 200), Box(50, 50)

    assert lay_out(original, box, Fit.COVER, MAX_SIDE, COMPASS[gravity]).part == part


@pytest.mark.parametrize(
    ("original", "box", "part"),
    [
        (Size(200, 600), Box(100, 100), (0.0, 100.0, 200.0, 300.0)),
        (Size(200, 240), Box(50, 50), (0.0, 10.0, 200.0, 210.0)),
        (Size(600, 200), Box(100, 100), (200.0, 0.0, 400.0, 200.0)),
        (Size(200, 200), Box(100, 100), (0.0, 0.0, 200.0, 200.0)),
    ],
)
def test_upper_loses_a_quarter_at_the_top_and_nothing_else_than_the_centre_does(
    original: Size, box: Box, part: tuple[float, float, float, float]
) -> None:
    assert lay_out(original, box, Fit.COVER, MAX_SIDE, UPPER).part == part


@given(sizes, asked, asked)
def test_upper_loses_one_part_at_the_top_for_three_at_the_bottom(
    original: Size, width: int, height: int
) -> None:
    box = Box(width, height)
    left, top, right, bottom = lay_out(original, box, Fit.COVER, MAX_SIDE, UPPER).part
    centred = lay_out(original, box, Fit.COVER, MAX_SIDE).part

    assert (left, right) == (centred[0], centred[2])
    assert bottom - top == pytest.approx(centred[3] - centred[1])
    assert 3 * top == pytest.approx(original.height - bottom, abs=1e-6)


@pytest.mark.parametrize(
    ("fit", "box", "size", "part"),
    [
        (Fit.INSIDE, Box(100, None), Size(100, 60), (0, 0, 200, 120)),
        (Fit.INSIDE, Box(1000, None), Size(200, 60), (0, 0, 200, 60)),
        (Fit.FORCE, Box(400, None), Size(400, 60), (0, 0, 200, 30)),
        (Fit.INSIDE, Box(10, None), Size(10, 30), (0, 0, 200, 600)),
    ],
)
def test_of_what_is_higher_than_wanted_the_top_is_kept(
    fit: Fit, box: Box, size: Size, part: tuple[float, float, float, float]
) -> None:
    layout = lay_out(Size(200, 600), box, fit, MAX_SIDE, max_height=60)

    assert (size, part) == (layout.size, layout.part)


@given(sizes, asked, asked, st.sampled_from([Fit.INSIDE, Fit.FORCE]))
def test_a_highest_height_keeps_the_scale_and_the_top(
    original: Size, width: int, highest: int, fit: Fit
) -> None:
    box = Box(width, None)
    kept = lay_out(original, box, fit, 10**9, max_height=highest)
    whole = lay_out(original, box, fit, 10**9)

    assert kept.size == Size(whole.size.width, min(whole.size.height, highest))
    assert kept.part[:3] == whole.part[:3]
    assert kept.part[3] * whole.size.height == pytest.approx(
        whole.part[3] * kept.size.height, rel=1e-9
    )


def test_a_long_strip_is_cut_before_it_would_be_made_smaller() -> None:
    layout = lay_out(Size(500, 50_000), Box(1000, None), Fit.FORCE, MAX_SIDE, max_height=60)

    assert layout == Layout((0.0, 0.0, 500.0, 30.0), Size(1000, 60))


@pytest.mark.parametrize(
    ("crop", "part"),
    [
        (Crop(0, 0, 400, 200), (0, 0, 400, 200)),
        (Crop(10, 20, 30, 40), (10, 20, 40, 60)),
        (Crop(399, 199, 1, 1), (399, 199, 400, 200)),
        # What reaches out is cut off.
        (Crop(390, 190, 30, 40), (390, 190, 400, 200)),
        (Crop(0, 150, 999_999, 999_999), (0, 150, 400, 200)),
        # What is outside is nothing.
        (Crop(400, 0, 1, 1), None),
        (Crop(0, 200, 1, 1), None),
        (Crop(999_999, 999_999, 999_999, 999_999), None),
        (Crop(0, 0, 100, 100, is_percent=True), (0, 0, 400, 200)),
        (Crop(10, 20, 30, 40, is_percent=True), (40, 40, 160, 120)),
        (Crop(99, 99, 100, 100, is_percent=True), (396, 198, 400, 200)),
    ],
)
def test_a_crop_is_what_of_it_lies_inside(
    crop: Crop, part: tuple[int, int, int, int] | None
) -> None:
    assert crop.of(Size(400, 200)) == part


percents = st.integers(0, 99)


@given(sizes, percents, percents, st.integers(1, 100), st.integers(1, 100))
def test_a_crop_in_percent_is_never_nothing_and_within_half_a_pixel(
    original: Size, left: int, top: int, width: int, height: int
) -> None:
    part = Crop(left, top, width, height, is_percent=True).of(original)

    assert part is not None
    for start, end, first, stretch, length in (
        (part[0], part[2], left, width, original.width),
        (part[1], part[3], top, height, original.height),
    ):
        assert 0 <= start < end <= length
        assert abs(start - first * length / 100) <= 0.5 or start == length - 1
        wanted = min(first + stretch, 100) * length / 100
        assert abs(end - wanted) <= 0.5 or end == start + 1


@given(sizes, percents, st.integers(1, 99))
def test_neighbours_in_percent_meet(original: Size, left: int, width: int) -> None:
    one = Crop(left, 0, width, 100, is_percent=True).of(original)
    other = Crop(left + width, 0, 100, 100, is_percent=True).of(original)

    assert one is not None
    if left + width < 100 and original.width >= 100:
        assert other is not None
        assert one[2] == other[0]


def test_a_layout_is_moved_to_where_its_part_is() -> None:
    layout = Layout((10.0, 20.0, 60.0, 35.5), Size(50, 16))

    assert layout.moved(100, 7) == Layout((110.0, 27.0, 160.0, 42.5), Size(50, 16))


@given(
    original=sizes,
    box=boxes,
    fit=st.sampled_from(Fit),
    across=st.booleans(),
    down=st.booleans(),
)
def test_a_centred_layout_mirrored_is_the_same_to_the_last_bit(
    *, original: Size, box: Box, fit: Fit, across: bool, down: bool
) -> None:
    layout = lay_out(original, box, fit, MAX_SIDE)

    assert layout == layout.mirrored(original, across=across, down=down)


@pytest.mark.parametrize(
    ("across", "down", "part"),
    [
        (False, False, (10.0, 20.0, 60.0, 35.5)),
        (True, False, (340.0, 20.0, 390.0, 35.5)),
        (False, True, (10.0, 164.5, 60.0, 180.0)),
        (True, True, (340.0, 164.5, 390.0, 180.0)),
    ],
)
def test_a_part_mirrored_is_counted_from_the_other_end(
    *, across: bool, down: bool, part: tuple[float, float, float, float]
) -> None:
    layout = Layout((10.0, 20.0, 60.0, 35.5), Size(50, 16))

    assert layout.mirrored(Size(400, 200), across=across, down=down) == Layout(part, Size(50, 16))


def test_a_layout_transposed_has_columns_and_rows_exchanged() -> None:
    layout = Layout((10.0, 20.0, 60.0, 35.5), Size(50, 16))

    assert layout.transposed() == Layout((20.0, 10.0, 35.5, 60.0), Size(16, 50))


@pytest.mark.parametrize(
    ("percent", "expected"),
    [(35, Size(537, 358)), (45, Size(690, 460)), (60, Size(920, 613)), (75, Size(1151, 767))],
)
def test_a_share_is_rounded_half_up(percent: int, expected: Size) -> None:
    assert expected == share(Size(1534, 1022), percent)


def test_a_box_times_a_density_is_rounded_half_up() -> None:
    assert Box(500, None) == Box(333, None).times(Decimal("1.5"))
