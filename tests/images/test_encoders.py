"""Encoders: what each writes, and which Pillow they are part of."""

import platform
import re
from importlib import metadata

import images
import pytest
from PIL import Image, JpegImagePlugin

from imgprocessor.images.formats.encoder import Encoder
from imgprocessor.images.formats.encoders import ENCODERS, PILLOW, VERSIONS
from imgprocessor.images.formats.jpeg import jpeg_tables

EVERY = [pytest.param(encoder, id=encoder.format) for encoder in ENCODERS.values()]
LOSSY = [pytest.param(encoder, id=name) for name, encoder in ENCODERS.items() if name != "png"]


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
