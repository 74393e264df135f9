"""The ladder of levels: which one a rendition is made from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgprocessor.geometry import Box, Fit, Size, lay_out
from imgprocessor.images.formats.structure import finest_draft
from imgprocessor.images.pyramid import BASE_WIDTH_PIXELS, Level, choose_level, levels_to_keep

LIMIT = 65_535


def chosen(original: Size, width: int, margin: float = 1.5) -> str:
    layout = lay_out(original, Box(width, None), Fit.INSIDE, LIMIT)
    return str(choose_level(original, layout, margin))


@pytest.mark.parametrize(
    ("original", "width", "level"),
    [
        # 4000 wide: decoded at a half, 2000. Two thirds of its halves suffice ...
        (Size(4000, 3000), 166, "2 None 8"),
        (Size(4000, 3000), 167, "2 None 4"),
        (Size(4000, 3000), 333, "2 None 4"),
        (Size(4000, 3000), 334, "2 None 2"),
        (Size(4000, 3000), 666, "2 None 2"),
        (Size(4000, 3000), 667, "2 1600x1200 1"),
        # ... and of the base, 1600 wide, five sixths; beyond it all there is.
        (Size(4000, 3000), 1333, "2 1600x1200 1"),
        (Size(4000, 3000), 1334, "2 None 1"),
        (Size(4000, 3000), 1666, "2 None 1"),
        (Size(4000, 3000), 1667, "1 None 1"),
        (Size(4000, 3000), 4000, "1 None 1"),
        # Nothing is reduced to less than 160 pixels.
        (Size(4000, 3000), 10, "2 None 8"),
        (Size(300, 200), 10, "1 None 1"),
        (Size(320, 200), 10, "1 None 2"),
        # Originals that are hardly wider are their own base.
        (Size(1920, 1280), 1920, "1 None 1"),
        (Size(1921, 1280), 1000, "1 1600x1066 1"),
        # The wider the original, the further the decoder goes.
        (Size(3199, 2000), 1100, "1 1600x1000 1"),
        (Size(3200, 2000), 1100, "2 1600x1000 1"),
        (Size(16000, 9000), 1000, "8 1600x900 1"),
        (Size(16000, 9000), 1334, "8 None 1"),
        (Size(16000, 9000), 1667, "4 None 1"),
        # Of no original are more than 100 megapixels decoded.
        (Size(11_600, 8600), 11_600, "1 None 1"),
        (Size(11_700, 8600), 11_700, "2 None 1"),
        (Size(16_320, 12_240), 4096, "2 None 1"),
        (Size(65_500, 65_500), 30_000, "8 None 1"),
        # What is tall has a narrower base, of four megapixels.
        (Size(2000, 8000), 700, "2 1000x4000 1"),
        (Size(2000, 8000), 834, "1 None 1"),
        # A strip is never less than a pixel high: a third of its height is over the base's.
        (Size(16000, 3), 100, "2 None 1"),
    ],
)
def test_the_coarsest_level_that_is_large_enough(original: Size, width: int, level: str) -> None:
    assert chosen(original, width) == level


def test_a_part_of_an_original_needs_more_of_it() -> None:
    """Cut to a square, 600 pixels are of 3000, not of 4000: a half has only 750 for them."""
    layout = lay_out(Size(4000, 3000), Box(600, 600), Fit.COVER, LIMIT)

    assert chosen(Size(4000, 3000), 600) == "2 None 2"
    assert choose_level(Size(4000, 3000), layout, 1.5) == Level(2, Size(1600, 1200))


@pytest.mark.parametrize("level", [Level(2, Size(1600, 1200)), Level(2, None, 4)])
def test_decoding_for_the_base_or_a_half_makes_all_of_them(level: Level) -> None:
    kept = levels_to_keep(Size(4000, 3000), level)

    halves = [Level(2, None, reduce) for reduce in (2, 4, 8)]
    assert kept == [Level(2, Size(1600, 1200)), *halves]


def test_so_does_decoding_for_more_than_the_base_at_the_same_scale() -> None:
    kept = levels_to_keep(Size(4000, 3000), Level(2))

    assert [str(level) for level in kept] == [
        *("2 None 1", "2 1600x1200 1", "2 None 2", "2 None 4", "2 None 8"),
    ]


def test_decoding_at_a_finer_scale_makes_that_alone() -> None:
    assert levels_to_keep(Size(3200, 2400), Level(1)) == [Level(1)]


def test_what_would_take_too_much_of_the_disk_is_not_kept() -> None:
    assert levels_to_keep(Size(4000, 3000), Level(1)) == []


def test_the_scale_is_that_of_whole_pixels() -> None:
    """Where a side is odd, the last pixel of its half is for one column, not for two."""
    assert Level(2).scale(Size(4001, 3000)) == (0.5, 0.5)
    assert Level(2, None, 2).scale(Size(3201, 2406)) == (0.25, 0.25)
    assert Level(1, Size(1600, 1066)).scale(Size(3200, 2131)) == (0.5, 1066 / 2131)


sides = st.integers(1, LIMIT)


@given(
    original=st.builds(Size, sides, sides),
    box=st.builds(Box, sides, sides),
    fit=st.sampled_from(Fit),
    margin=st.floats(1, 4),
)
def test_a_level_is_large_enough_and_is_kept(
    original: Size, box: Box, fit: Fit, margin: float
) -> None:
    layout = lay_out(original, box, fit, LIMIT)
    level = choose_level(original, layout, margin)
    left, top, right, bottom = layout.part
    across, down = level.scale(original)
    least = min(margin, 1.2)

    if level not in {Level(1), Level(finest_draft(original))}:
        assert (right - left) * across >= layout.size.width * least * 0.999
        assert (bottom - top) * down >= layout.size.height * least * 0.999
    if level.base is not None:
        assert level.base.width <= BASE_WIDTH_PIXELS
        assert level.reduce == 1
        # What is decoded is enough to be scaled down to the base.
        assert original.width / level.draft >= level.base.width
        assert original.height / level.draft >= level.base.height
    large = original.width * original.height // level.draft**2 > 8_000_000
    assert large or level in levels_to_keep(original, level)
