"""Orientation: a part of a displayed picture is the same part, wherever it lies in the file."""

from dataclasses import replace
from decimal import Decimal

import images
import pytest
from full_plan import FULL
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from imgprocessor.config.settings import PixelsSettings
from imgprocessor.geometry import Box, Fit, Layout, Size, lay_out
from imgprocessor.images.decode import Metadata, Picture
from imgprocessor.images.pipeline import render
from imgprocessor.images.pyramid import Level
from imgprocessor.policy.plan import Plan
from imgprocessor.timing import Timings

PARTS = [
    (0.0, 0.0, 120.0, 80.0),
    (30.0, 20.0, 90.0, 60.0),
    (5.0, 7.0, 65.0, 37.0),
    (90.0, 0.0, 120.0, 10.0),
    (0.0, 71.0, 1.0, 80.0),
    (3.25, 10.5, 100.75, 33.125),
]
ROUNDING = 2
"""Pillow scales across first and rounds, so that what lies on its side is rounded otherwise."""

orientations = st.integers(1, 8)
sides = st.integers(1, 70_000)


def metadata(displayed: Size, orientation: int) -> Metadata:
    lying = orientation >= 5
    return Metadata(displayed.turned() if lying else displayed, orientation, b"", (), "JPEG")


def rendered(
    displayed: Image.Image, orientation: int, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> Image.Image:
    """Render what is laid out so, as displayed, of a picture that is stored in this orientation."""
    monkeypatch.setattr(Plan, "lay_out", lambda *_: layout)
    known = metadata(Size(*displayed.size), orientation)
    stored = Picture(known, Level(1), images.STORED[orientation](displayed))
    return images.decoded(render(stored, replace(FULL, formats=("png",)), Timings()).body)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_any_part_is_cut_as_it_is_displayed(
    orientation: int, part: tuple[float, float, float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    displayed = images.texture((120, 80))
    left, top, right, bottom = part
    sizes = {Size(max(1, int(right - left)), max(1, int(bottom - top))), Size(17, 23)}
    for size in sizes:
        expected = displayed.resize(
            (size.width, size.height), Image.Resampling.LANCZOS, part
        ).convert("RGB")

        result = rendered(displayed, orientation, Layout(part, size), monkeypatch)

        assert result.size == expected.size
        furthest = max(
            abs(one - other)
            for one, other in zip(result.tobytes(), expected.tobytes(), strict=True)
        )
        assert furthest <= ROUNDING, furthest
        if all(side == int(side) for side in part) and size != Size(17, 23):
            assert furthest == 0  # whole pixels are only cut out


@given(
    st.builds(Size, sides, sides),
    st.builds(Box, st.integers(1, 4096), st.integers(1, 4096)),
    st.sampled_from(Fit),
    orientations,
)
def test_a_centred_part_is_the_same_from_all_sides(
    displayed: Size, box: Box, fit: Fit, orientation: int
) -> None:
    """To the last bit: its renditions keep their bytes."""
    plan = replace(FULL, box=box, fit=fit, density=Decimal(1), pixels=PixelsSettings())
    layout = lay_out(displayed, box, fit, plan.pixels.max_output_side_pixels)
    left, top, right, bottom = layout.part

    found = metadata(displayed, orientation).lay_out(plan)

    if orientation >= 5:
        assert found == Layout((top, left, bottom, right), layout.size.turned())
    else:
        assert found == layout
