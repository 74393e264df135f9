"""Graphics and photographs are told apart, over whole kinds of pictures made in code."""

import random

import drawn
import images
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from imgprocessor.images.compression.kind import kind_of

_GRADIENTS = (f"gradient-{name}" for name in ("linear", "radial", "sky", "alpha"))
SOFT = {"scan-grey", "halftone", *_GRADIENTS}
"""What is soft all over, or once it is reduced, counts as either."""


@pytest.mark.parametrize("kind", drawn.KINDS)
@pytest.mark.parametrize("side", [None, 240])
def test_what_is_drawn_is_a_graphic_as_it_is_and_reduced(kind: str, side: int | None) -> None:
    for name, image in drawn.of_kind(kind).items():
        shown = image.copy()
        if side is not None:
            shown.thumbnail((side, side), Image.Resampling.LANCZOS)

        assert kind_of(shown).is_graphic or name in SOFT, name


@pytest.mark.parametrize("name", ["texture", "grey", "noise"])
@pytest.mark.parametrize("size", [(1200, 800), (600, 400), (200, 300)])
def test_a_photograph_is_none_and_its_256_greys_say_nothing(
    name: str, size: tuple[int, int]
) -> None:
    found = kind_of(drawn.photograph(name, size))

    assert (found.is_graphic, found.colours) == (False, None)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize(
    ("colours", "expected"), [(1, 1), (2, 2), (16, 16), (256, 256), (257, None)]
)
def test_colours_are_counted_up_to_a_full_palette(
    mode: str, colours: int, expected: int | None
) -> None:
    chosen = [(index % 256, 9, index // 256, 255) for index in range(colours)]
    pixels = (chosen[index // 8 % colours] for index in range(64 * 64))
    image = Image.frombytes(mode, (64, 64), b"".join(bytes(p[: len(mode)]) for p in pixels))

    assert kind_of(image).colours == expected


def test_what_cannot_be_seen_does_not_count_as_a_photograph() -> None:
    clear = images.texture((300, 200)).convert("RGBA")
    clear.putalpha(0)

    assert kind_of(clear).is_graphic


@settings(max_examples=150)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    mode=st.sampled_from(["L", "RGB", "RGBA"]),
    palette=st.lists(st.binary(min_size=4, max_size=4), min_size=1, max_size=300),
    seed=st.integers(0, 99),
)
def test_any_size_has_a_kind_and_the_colours_that_it_has(
    size: tuple[int, int], mode: str, palette: list[bytes], seed: int
) -> None:
    chosen = [palette[place % len(palette)] for place in range(size[0] * size[1])]
    random.Random(seed).shuffle(chosen)
    image = Image.frombytes(mode, size, b"".join(pixel[: len(mode)] for pixel in chosen))

    found = kind_of(image)

    there = len({pixel[: len(mode)] for pixel in chosen})
    if found.is_graphic or mode != "L":
        assert found.colours == (there if there <= 256 else None)
    else:
        assert found.colours is None
