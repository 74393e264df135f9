"""Ways: which encodings are tried, by what the picture is and what may be sent."""

from collections.abc import Sequence
from dataclasses import replace
from unittest import mock

import drawn
import images
import pytest
from full_plan import FULL
from PIL import Image

from imgprocessor.config.settings import PixelsSettings
from imgprocessor.formats import Format
from imgprocessor.images.compression import ways as ways_module
from imgprocessor.images.compression.kind import kind_of
from imgprocessor.images.compression.ways import Way, may_win, ways_of
from imgprocessor.images.formats.avif import AVIF_GRAPHICS
from imgprocessor.images.formats.encoder import Encoder
from imgprocessor.images.formats.encoders import ENCODERS
from imgprocessor.images.formats.jpeg import JPEG_GRAPHICS
from imgprocessor.images.formats.png import PNG_GRAPHICS
from imgprocessor.images.formats.webp import WEBP_LOSSLESS
from imgprocessor.policy.plan import Plan
from imgprocessor.policy.table import Cell

AVIF, WEBP, PNG, JPEG, JXL = (ENCODERS[name] for name in ("avif", "webp", "png", "jpeg", "jxl"))
NAMES = {
    id(known): name
    for name, known in (
        *(("AVIF", AVIF), ("WEBP", WEBP), ("PNG", PNG), ("JPEG", JPEG), ("JXL", JXL)),
        *(("AVIF_GRAPHICS", AVIF_GRAPHICS), ("JPEG_GRAPHICS", JPEG_GRAPHICS)),
        *(("WEBP_LOSSLESS", WEBP_LOSSLESS), ("PNG_GRAPHICS", PNG_GRAPHICS)),
    )
}

ALL: tuple[Format, ...] = ("jxl", "avif", "webp", "png", "jpeg")
USUAL: tuple[Format, ...] = ("avif", "webp", "png", "jpeg")


def _plan(formats: Sequence[Format], quality: int = 78) -> Plan:
    return replace(FULL, formats=tuple(formats), cell=Cell(quality, width_percent=100))


def _named(image: Image.Image, plan: Plan, *, is_untouched: bool = False) -> list[str]:
    """Return the encoders of the ways in order; in brackets where the colours are fewer."""
    ways = ways_of(image, plan, is_untouched=is_untouched)
    return [
        NAMES[id(way.encoder)] if way.image is image else f"({NAMES[id(way.encoder)]})"
        for way in ways
    ]


PHOTOGRAPHS = [
    (ALL, 78, ["JXL", "AVIF", "WEBP", "JPEG"]),
    (USUAL, 78, ["AVIF", "WEBP", "JPEG"]),
    (USUAL, 94, ["AVIF", "WEBP", "JPEG"]),
    (USUAL, 95, ["WEBP", "JPEG"]),
    (("avif", "webp"), 95, ["AVIF", "WEBP"]),
    (("png", "jpeg"), 78, ["JPEG"]),
    (("gif", "png", "jpeg"), 100, ["JPEG"]),
    (("png",), 78, ["PNG"]),
    (("gif", "png"), 78, ["PNG"]),
]


@pytest.mark.parametrize("name", ["texture", "grey", "noise"])
@pytest.mark.parametrize(("formats", "quality", "expected"), PHOTOGRAPHS)
def test_a_photograph_is_only_encoded_lossy_where_it_may_be(
    name: str, formats: tuple[Format, ...], quality: int, expected: list[str]
) -> None:
    image = drawn.photograph(name, (300, 200))

    for is_untouched in (False, True):
        assert _named(image, _plan(formats, quality), is_untouched=is_untouched) == expected


def _coloured(colours: int, mode: str = "RGB") -> Image.Image:
    """Return stripes of so many colours."""
    image = Image.new(mode, (256, 64))
    for index in range(256):
        value = index % colours * 256 // colours
        pixel = (value, 255 - value, 40, 255 if index else 0)[: len(mode)]
        image.paste(pixel if mode != "L" else value, (index, 0, index + 1, 64))
    return image


GRAPHICS = [
    (USUAL, ["WEBP_LOSSLESS", "WEBP", "AVIF_GRAPHICS"]),
    (ALL, ["WEBP_LOSSLESS", "JXL", "WEBP", "AVIF_GRAPHICS"]),
    (("avif", "jpeg"), ["AVIF_GRAPHICS"]),
    (("webp", "png", "jpeg"), ["WEBP_LOSSLESS", "WEBP"]),
    (("png", "jpeg"), ["PNG_GRAPHICS", "JPEG_GRAPHICS"]),
    (("png",), ["PNG_GRAPHICS"]),
    (("gif", "png"), ["PNG_GRAPHICS"]),
    (("jpeg",), ["JPEG_GRAPHICS"]),
]


@pytest.mark.parametrize(("formats", "expected"), GRAPHICS)
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("is_untouched", [False, True])
def test_what_has_sixteen_colours_is_encoded_as_it_is(
    formats: tuple[Format, ...], expected: list[str], mode: str, *, is_untouched: bool
) -> None:
    if mode == "RGBA":
        if not any(ENCODERS[known].keeps_alpha for known in formats if known in ENCODERS):
            pytest.skip("it is put on the background before")
        expected = [name for name in expected if name != "JPEG_GRAPHICS"]
    image = _coloured(15, mode)

    assert _named(image, _plan(formats), is_untouched=is_untouched) == expected


@pytest.mark.parametrize("quality", [1, 40, 78, 100])
def test_who_asks_for_png_alone_gets_every_pixel(quality: int) -> None:
    for name, (_, image) in drawn.graphics().items():
        ways = list(ways_of(image, _plan(["png"], quality), is_untouched=False))

        assert len(ways) == 1, name
        assert ways[0].image is image
        assert ways[0].encoder.format == "png"


def test_a_graphic_of_more_colours_is_tried_in_fewer_and_as_it_is_where_it_was_never_lossy() -> (
    None
):
    image = drawn.of_kind("logo")["logo-shadow"]
    assert image.getcolors(256) is None

    touched = _named(image, _plan(USUAL))
    untouched = _named(image, _plan(USUAL), is_untouched=True)

    assert touched == ["(WEBP_LOSSLESS)", "WEBP", "AVIF_GRAPHICS"]
    assert untouched == [*touched, "WEBP_LOSSLESS"]
    assert _named(image, _plan(["gif", "png"]))[-1] == "PNG_GRAPHICS"


@pytest.mark.parametrize("kind", ["photograph", "graphic"])
def test_large_pictures_are_only_encoded_in_the_plainest_formats(kind: str) -> None:
    image = images.texture((300, 200)) if kind == "photograph" else _coloured(15)
    large = PixelsSettings(max_modern_pixels=image.width * image.height - 1)
    for formats in (ALL, USUAL, ("webp", "jpeg"), ("avif", "webp")):
        few = ways_of(image, replace(_plan(formats), pixels=large), is_untouched=True)
        plain = {"png", "jpeg"}.intersection(formats) or {formats[-1]}

        assert {way.encoder.format for way in few} <= plain


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (3, 5)])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_the_smallest_pictures_have_a_way_in_each_format(size: tuple[int, int], mode: str) -> None:
    for name, encoder in ENCODERS.items():
        if mode == "RGBA" and not encoder.keeps_alpha:
            continue
        found = list(ways_of(Image.new(mode, size), _plan([name]), is_untouched=False))

        assert found, name
        assert {way.encoder.format for way in found} == {name}


LARGE, SMALL, LARGEST = (400, 300), (200, 200), (1000, 600)

TRIED = [
    # best so far, its bits a pixel, then: lossless, webp, jpeg
    (AVIF, LARGE, 0.3, (True, False)),
    (AVIF, LARGE, 0.54, (True, False)),
    (AVIF, LARGE, 0.57, (False, False)),
    (AVIF, LARGE, 0.65, (False, True)),
    (AVIF, LARGEST, 0.3, (False, False)),
    (AVIF, LARGEST, 0.65, (False, True)),
    (AVIF, SMALL, 0.3, (True, True)),
    (AVIF, SMALL, 2.0, (True, True)),
    (WEBP, LARGE, 0.3, (True, True)),
    (WEBP_LOSSLESS, LARGE, 0.12, (False, False)),
    (WEBP_LOSSLESS, LARGE, 0.55, (True, True)),
    (PNG_GRAPHICS, SMALL, 0.12, (False, False)),
]


@pytest.mark.parametrize(("best", "size", "bits", "expected"), TRIED)
def test_what_cannot_win_is_not_tried(
    best: object, size: tuple[int, int], bits: float, expected: tuple[bool, bool]
) -> None:
    image = Image.new("RGB", size)
    weight = round(bits * size[0] * size[1] / 8)
    found = Way(best, image)  # type: ignore[arg-type]

    assert tuple(may_win(Way(known, image), found, weight) for known in (WEBP, JPEG)) == expected


def test_of_two_that_are_lossless_the_second_is_always_tried() -> None:
    image = Image.new("RGB", LARGE)

    assert may_win(Way(WEBP_LOSSLESS, image), Way(WEBP_LOSSLESS, image), 100)


@pytest.mark.parametrize(("times", "expected"), [(2.4, True), (2.6, False)])
@pytest.mark.parametrize("best", [WEBP, AVIF, AVIF_GRAPHICS])
def test_what_was_guessed_to_be_heavy_without_loss_is_not_tried(
    best: Encoder, times: float, *, expected: bool
) -> None:
    image, weight = Image.new("RGB", LARGEST), 40_000

    exact = Way(WEBP_LOSSLESS, image, times * weight)

    assert may_win(exact, Way(best, image), weight) is expected


def test_without_webp_few_colours_are_not_looked_for_in_what_is_heavy_without_loss() -> None:
    """As many colours as a photograph, over flat parts: a graphic by its looks."""
    noise = Image.effect_noise((640, 400), 90)
    image = Image.merge("RGB", (noise, noise.rotate(90), noise.rotate(180)))
    image.paste("white", (0, 0, 640, 240))
    assert kind_of(image).is_graphic

    with mock.patch.object(ways_module, "in_few_colours", return_value=image) as looked_for:
        assert _named(image, _plan(["png", "jpeg"])) == ["JPEG_GRAPHICS"]
        assert not looked_for.called
        list(ways_of(image, _plan(["gif", "png"]), is_untouched=False))
        list(ways_of(image, _plan(USUAL), is_untouched=False))
        assert looked_for.call_count == 2
