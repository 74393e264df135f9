"""Encoders: what each writes, and which Pillow they are part of."""

import platform
import re
from collections.abc import Iterable
from importlib import metadata
from typing import Any

import drawn
import images
import pytest
from PIL import Image, ImageChops, ImageStat, JpegImagePlugin

from imgprocessor.images.formats.avif import AVIF_GRAPHICS
from imgprocessor.images.formats.encoder import Encoder
from imgprocessor.images.formats.encoders import ENCODERS, PILLOW, VERSIONS
from imgprocessor.images.formats.jpeg import JPEG_GRAPHICS, JPEG_ORIGINAL, jpeg_tables
from imgprocessor.images.formats.png import PNG_GRAPHICS
from imgprocessor.images.formats.webp import WEBP_LOSSLESS

GRAPHICS = (AVIF_GRAPHICS, WEBP_LOSSLESS, PNG_GRAPHICS, JPEG_GRAPHICS)
ALL = (*ENCODERS.values(), *GRAPHICS)


def _each(encoders: Iterable[Encoder]) -> list[Any]:
    """Return encoders as parameters of tests."""
    return [
        pytest.param(known, id=f"{known.format}{'-graphics' * (known in GRAPHICS)}")
        for known in encoders
    ]


EVERY = _each(ALL)
LOSSY = _each(known for known in ALL if not known.is_lossless)
LOSSLESS = _each(known for known in ALL if known.is_lossless)


def test_the_pillow_that_is_loaded_is_the_one_that_was_installed() -> None:
    """Pillow and Pillow-SIMD both install as PIL: one would lie over the other."""
    installed = metadata.packages_distributions()["PIL"]

    expected = "pillow-simd" if platform.machine() == "x86_64" else "pillow"
    assert [name.lower() for name in installed] == [expected]
    assert PILLOW.startswith("Pillow-SIMD " if expected == "pillow-simd" else "Pillow ")
    assert VERSIONS.startswith(PILLOW)


def test_every_format_can_be_written_here() -> None:
    """JPEG XL's plugin is under the GPL, so that only these tests install it."""
    assert set(ENCODERS) == {"jxl", "avif", "webp", "png", "jpeg"}


@pytest.mark.parametrize("encoder", EVERY)
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_a_file_has_its_format_and_size_and_nothing_of_the_originals(
    encoder: Encoder, mode: str
) -> None:
    if mode == "RGBA" and not encoder.keeps_alpha:
        pytest.skip("it is put on the background before")
    image = images.texture((61, 37)).convert(mode)
    image.info = {"comment": b"secret", "icc_profile": b"secret", "exif": b"secret", "dpi": (9, 9)}

    body = encoder.write(image, encoder.max_setting, b"")
    back = images.decoded(body)

    assert (back.format or "").lower() == encoder.format
    assert (encoder.mime, back.size) == (f"image/{encoder.format}", (61, 37))
    assert b"secret" not in body
    assert images.mean_difference(back.convert("L"), image.convert("L")) < 4


@pytest.mark.parametrize("encoder", LOSSY)
def test_a_higher_setting_weighs_more(encoder: Encoder) -> None:
    image = images.texture((160, 120))
    settings = [encoder.max_setting * share // 100 or 1 for share in (2, 30, 60, 100)]

    weights = [len(encoder.write(image, setting, b"")) for setting in settings]

    assert weights == sorted(set(weights))


@pytest.mark.parametrize("encoder", EVERY)
def test_the_same_pixels_make_the_same_bytes(encoder: Encoder) -> None:
    image = images.texture((160, 120))

    assert encoder.write(image, 60, b"") == encoder.write(image, 60, b"")


@pytest.mark.parametrize("setting", [1, 200, 1000, 60_000])
def test_jpeg_tables_are_what_baseline_decoders_take(setting: int) -> None:
    for table in jpeg_tables(setting):
        assert len(table) == 64
        assert all(1 <= step <= 255 for step in table)
        if setting == 1000:
            assert table[0] < table[63]


def test_a_jpeg_has_our_tables_and_half_the_chroma() -> None:
    back = images.decoded(ENCODERS["jpeg"].write(images.texture((40, 40)), 700, b""))

    luma, chroma = jpeg_tables(700)
    assert isinstance(back, JpegImagePlugin.JpegImageFile)
    assert [list(table) for table in back.quantization.values()] == [luma, chroma]
    assert JpegImagePlugin.get_sampling(back) == 2  # 4:2:0


def test_a_grey_jpeg_has_one_channel() -> None:
    body = ENCODERS["jpeg"].write(Image.new("L", (20, 20), 90), 1000, b"")

    assert images.decoded(body).mode == "L"
    assert len(re.findall(rb"\xff\xdb", body)) == 1


@pytest.mark.parametrize("encoder", LOSSLESS)
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 5), (61, 37), (800, 700)])
def test_what_is_lossless_keeps_every_pixel(
    encoder: Encoder, mode: str, size: tuple[int, int]
) -> None:
    for picture in (images.texture((120, 80)), images.four_colours((120, 80))):
        image = picture.resize(size, Image.Resampling.NEAREST).convert(mode)
        if mode == "RGBA":
            image.putalpha(Image.linear_gradient("L").resize(size))

        back = images.decoded(encoder.write(image, 0, b""))

        assert drawn.looks(back) == drawn.looks(image)


@pytest.mark.parametrize("encoder", EVERY)
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_exif_data_is_written(encoder: Encoder, mode: str) -> None:
    if mode == "RGBA" and not encoder.keeps_alpha:
        pytest.skip("it is put on the background before")
    exif = Image.Exif()
    exif[0x8298] = "(c) somebody"

    body = encoder.write(images.texture((61, 37)).convert(mode), 60, exif.tobytes())

    assert images.decoded(body).getexif().get(0x8298) == "(c) somebody"


@pytest.mark.parametrize("kind", drawn.KINDS)
def test_pngs_of_graphics_are_lighter(kind: str) -> None:
    parts = [image.crop((0, 0, 300, 240)) for image in drawn.of_kind(kind).values()]

    plain, small = (
        [len(encoder.write(part, 0, b"")) for part in parts]
        for encoder in (ENCODERS["png"], PNG_GRAPHICS)
    )

    assert sum(small) < sum(plain)
    for before, after in zip(plain, small, strict=True):
        assert after <= 1.1 * before


@pytest.mark.parametrize("encoder", [AVIF_GRAPHICS, JPEG_GRAPHICS])
def test_thin_coloured_lines_keep_their_colours_in_graphics(encoder: Encoder) -> None:
    image = Image.new("RGB", (64, 64), images.WHITE)
    for x in range(0, 64, 8):
        image.paste(images.RED, (x, 0, x + 1, 64))
    setting = encoder.max_setting * 3 // 4
    plain = ENCODERS[encoder.format]

    lost = []
    for known in (plain, encoder):
        back = images.decoded(known.write(image, setting, b"")).convert("YCbCr")
        difference = ImageChops.difference(image.convert("YCbCr"), back)
        lost.append(sum(ImageStat.Stat(difference).rms[1:]))

    assert lost[1] < lost[0] / 3


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("quality", range(5, 100))
def test_the_quality_that_libjpeg_saved_with_is_read(quality: int, mode: str) -> None:
    image = Image.new(mode, (16, 16), 90)
    found = JPEG_ORIGINAL.saved_quality(
        images.decoded(images.encoded(image, "JPEG", quality=quality))
    )

    assert found is not None
    assert abs(found - quality) <= 1


@pytest.mark.parametrize(
    ("table", "expected"),
    [([1] * 64, None), ([255] * 64, None), ([1] * 63 + [2], 99), ([16] * 64, range(50, 90))],
)
def test_the_quality_of_other_tables_is_read_where_there_is_any(
    table: list[int], expected: object
) -> None:
    file = images.encoded(Image.new("L", (16, 16)), "JPEG", qtables=[table])
    found = JPEG_ORIGINAL.saved_quality(images.decoded(file))

    assert found in expected if isinstance(expected, range) else found == expected


def test_what_is_no_jpeg_was_saved_with_no_quality() -> None:
    assert JPEG_ORIGINAL.saved_quality(Image.new("L", (16, 16))) is None
