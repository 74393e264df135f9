"""Few colours: edges, hues and alpha stay, and a lower quality never takes more of them."""

import random

import drawn
import images
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageStat

from imgprocessor.images.compression.palette import in_few_colours

_MOST_COLOURS = 256
_MOST_HUE_LOST = 12
"""Of 255: how far the means of both chromas of a small part may be from what they were."""


def _colours(image: Image.Image | None) -> int:
    """Return how many opaque colours there are; more than any palette for no picture."""
    if image is None:
        return _MOST_COLOURS + 1
    found = image.convert("RGB").getcolors(_MOST_COLOURS)
    assert found is not None
    return len(found)


@pytest.mark.parametrize("kind", ["text", "chart", "logo", "pixel-art"])
def test_what_is_offered_has_few_colours_and_its_mode_and_a_lower_quality_no_more(
    kind: str,
) -> None:
    for name, image in drawn.of_kind(kind).items():
        counts = []
        for quality in (20, 60, 78, 90, 100):
            few = in_few_colours(image, quality)
            counts.append(_colours(few))
            if few is not None:
                assert few.size == image.size
                assert few.mode == ("RGBA" if image.mode == "RGBA" else "RGB")
        assert counts == sorted(counts), name


@pytest.mark.parametrize("name", ["texture", "noise"])
def test_a_photograph_is_not_offered_in_few_colours(name: str) -> None:
    assert in_few_colours(drawn.photograph(name, (600, 400)), 78) is None


def _greys_with_a_part(size: tuple[int, int], place: tuple[int, int], side: int) -> Image.Image:
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    image.paste(images.BLUE, (*place, place[0] + side, place[1] + side))
    return image


@pytest.mark.parametrize("quality", [20, 45, 60, 78, 90])
@pytest.mark.parametrize("side", [3, 6, 12, 40])
@pytest.mark.parametrize(
    ("size", "place"),
    [
        ((120, 90), (31, 41)),
        ((500, 300), (201, 103)),
        ((800, 600), (201, 103)),
        ((800, 600), (170, 170)),
        ((1600, 1200), (333, 555)),
    ],
)
def test_a_small_coloured_part_keeps_its_hue(
    size: tuple[int, int], place: tuple[int, int], side: int, quality: int
) -> None:
    image = _greys_with_a_part(size, place, side)

    few = in_few_colours(image, quality)

    if few is not None:
        box = (*place, place[0] + side, place[1] + side)
        before, after = (one.crop(box).convert("YCbCr") for one in (image, few))
        _, blue, red = ImageStat.Stat(ImageChops.difference(before, after)).mean
        assert blue + red <= 2 * _MOST_HUE_LOST


@pytest.mark.parametrize("quality", [20, 45, 78])
@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("size", [(500, 300), (800, 600)])
def test_a_thin_coloured_line_does_not_turn_grey(
    size: tuple[int, int], width: int, quality: int
) -> None:
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    box = (203, 103, 203 + width, 203)
    image.paste(images.BLUE, box)

    few = in_few_colours(image, quality)

    if few is not None:
        line, grey = (one.crop(box).convert("HSV").getchannel("S") for one in (few, image))
        assert ImageStat.Stat(line).mean[0] > ImageStat.Stat(grey).mean[0] / 2


def test_edges_stay_where_they_are() -> None:
    """Nothing is dithered: what was flat is flat."""
    image = drawn.of_kind("chart")["bars"]
    few = in_few_colours(image, 60)

    assert few is not None
    flat = [
        ImageChops.difference(one.crop((0, 0, 799, 500)), one.crop((1, 0, 800, 500)))
        .convert("L")
        .point(lambda step: 255 if step > 24 else 0)
        for one in (image, few)
    ]
    moved = ImageChops.difference(*flat).histogram()[255]
    assert moved < 0.005 * 799 * 500


@pytest.mark.parametrize("name", ["logo-sharp", "logo-shadow", "logo-glow", "gradient-alpha"])
def test_alpha_keeps_its_steps_and_what_is_clear_stays_clear(name: str) -> None:
    image = drawn.graphics()[name][1]

    few = in_few_colours(image, 20)

    assert few is not None
    before, after = image.getchannel("A"), few.getchannel("A")
    assert not any(ImageChops.difference(before, after).histogram()[255 // 31 // 2 + 2 :])
    assert len(after.getcolors() or ()) <= 32
    for end in (0, 255):
        kept, there = (one.point([255 * (v == end) for v in range(256)]) for one in (before, after))
        assert ImageChops.subtract(kept, there).getbbox() is None


@settings(max_examples=80)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    mode=st.sampled_from(["L", "RGB", "RGBA"]),
    quality=st.integers(1, 100),
    seed=st.integers(0, 99),
    clear=st.booleans(),
)
def test_any_size_is_taken(
    size: tuple[int, int], mode: str, quality: int, seed: int, *, clear: bool
) -> None:
    count = size[0] * size[1] * len(mode)
    image = Image.frombytes(mode, size, random.Random(seed).randbytes(count))
    if clear and mode == "RGBA":
        image.putalpha(0)

    few = in_few_colours(image, quality)

    assert few is None or few.size == size
    if few is not None and mode == "RGBA":
        there = few.getchannel("A").getextrema()
        assert there == (0, 0) or not clear


@pytest.mark.parametrize("quality", [30, 78])
def test_shades_do_not_fall_into_bands(quality: int) -> None:
    """A shaded disc on a page of flat parts: few colours are a good score, and look wrong."""
    shade = Image.radial_gradient("L").resize((160, 160))
    page = Image.new("RGB", (600, 400), "white")
    page.paste(shade.convert("RGB"), (40, 60))

    few = in_few_colours(page, quality)

    if few is not None:
        change = ImageChops.difference(page.convert("L").reduce(8), few.convert("L").reduce(8))
        assert not any(change.histogram()[9:])
