"""The ladder of levels: which one a rendition is made from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgprocessor.geometry import Box, Fit, Size, lay_out
from imgprocessor.levels import BASE_SIDE_PIXELS, Level, choose_level, levels_to_keep

LIMIT = 16_000


def chosen(original: Size, width: int, margin: float = 1.5, *, drafts: bool = True) -> str:
    layout = lay_out(original, Box(width, None), Fit.INSIDE, LIMIT)
    return str(choose_level(original, layout, margin, drafts=drafts))


@pytest.mark.parametrize(
    ("original", "width", "level"),
    [
        # 4000 wide: the base is a half, 2000 wide; thirds of it are for widths up to 666, ...
        (Size(4000, 3000), 320, "2x4"),
        (Size(4000, 3000), 333, "2x4"),
        (Size(4000, 3000), 334, "2x2"),
        (Size(4000, 3000), 666, "2x2"),
        (Size(4000, 3000), 667, "2x1"),
        # ... the base itself for widths up to 1666, and beyond it all there is.
        (Size(4000, 3000), 1666, "2x1"),
        (Size(4000, 3000), 1667, "1x1"),
        (Size(4000, 3000), 4000, "1x1"),
        # Nothing is decoded at less than an eighth, ...
        (Size(16000, 9000), 100, "8x8"),
        # ... or reduced to less than 160 pixels.
        (Size(4000, 3000), 10, "2x8"),
        (Size(300, 200), 10, "1x1"),
        (Size(320, 200), 10, "1x2"),
        # Small originals are their own base.
        (Size(2559, 100), 2559, "1x1"),
        (Size(2560, 100), 1000, "2x1"),
        # Between base and original there may be more scales.
        (Size(8000, 6000), 1666, "4x1"),
        (Size(8000, 6000), 1667, "2x1"),
        (Size(8000, 6000), 3334, "1x1"),
        # A strip is never less than a pixel high, so a third of its height is needed; and there
        # is no quarter of three pixels.
        (Size(16000, 3), 100, "2x1"),
    ],
)
def test_the_coarsest_level_that_is_large_enough(original: Size, width: int, level: str) -> None:
    assert chosen(original, width) == level


def test_what_the_decoder_cannot_reduce_is_reduced_afterwards() -> None:
    assert chosen(Size(4000, 3000), 320, drafts=False) == "1x8"
    assert chosen(Size(4000, 3000), 1666, drafts=False) == "1x2"
    assert chosen(Size(4000, 3000), 1667, drafts=False) == "1x1"


def test_a_part_of_an_original_needs_more_of_it() -> None:
    """Cut to a square, 600 pixels are of 3000, not of 4000."""
    layout = lay_out(Size(4000, 3000), Box(600, 600), Fit.COVER, LIMIT)

    assert choose_level(Size(4000, 3000), layout, 1.5, drafts=True) == Level(2, 1)


def test_decoding_the_base_makes_all_below_it() -> None:
    kept = levels_to_keep(Size(4000, 3000), Level(2, 4), drafts=True)

    assert [str(level) for level in kept] == ["2x1", "2x2", "2x4", "2x8"]


def test_decoding_more_than_the_base_makes_that_alone() -> None:
    assert levels_to_keep(Size(3200, 2400), Level(1, 1), drafts=True) == [Level(1, 1)]


def test_what_would_take_too_much_of_the_disk_is_not_kept() -> None:
    assert levels_to_keep(Size(4000, 3000), Level(1, 1), drafts=True) == []


def test_where_all_must_be_decoded_the_base_comes_with_it() -> None:
    kept = levels_to_keep(Size(3200, 2400), Level(1, 1), drafts=False)

    assert [str(level) for level in kept] == ["1x1", "1x2", "1x4", "1x8", "1x16"]


sides = st.integers(1, LIMIT)


@given(
    original=st.builds(Size, sides, sides),
    box=st.builds(Box, sides, sides),
    fit=st.sampled_from(Fit),
    margin=st.floats(1, 4),
    drafts=st.booleans(),
)
def test_a_level_is_large_enough_and_is_kept(
    original: Size, box: Box, fit: Fit, margin: float, *, drafts: bool
) -> None:
    layout = lay_out(original, box, fit, LIMIT)
    level = choose_level(original, layout, margin, drafts=drafts)
    left, top, right, bottom = layout.part
    reduction = level.draft * level.reduce
    least = min(margin, 1.2)

    if reduction > 1:
        assert (right - left) / reduction >= layout.size.width * least * 0.999
        assert (bottom - top) / reduction >= layout.size.height * least * 0.999
    if level.draft > 1:
        assert max(original.width, original.height) // level.draft >= BASE_SIDE_PIXELS
    large = original.width * original.height // reduction**2 > 8_000_000
    assert large or level in levels_to_keep(original, level, drafts=drafts)
