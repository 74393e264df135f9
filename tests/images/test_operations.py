"""Operations on pixels: each leaves a picture alone that it has nothing to do with."""

from collections.abc import Callable

import drawn
import images
import pytest
from full_plan import FULL
from PIL import Image, ImageCms

from imgprocessor.geometry import Layout, Size
from imgprocessor.images.decode import Metadata
from imgprocessor.images.operations.colour import is_converted, to_srgb
from imgprocessor.images.operations.resize import resize
from imgprocessor.images.operations.work import Work
from imgprocessor.images.pipeline import STEPS


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("step", [pytest.param(step, id=step.__name__) for _, step in STEPS])
def test_an_operation_with_nothing_to_do_gives_back_the_same_image(
    step: Callable[[Work], Image.Image], mode: str
) -> None:
    image = images.four_colours((40, 30), mode)
    metadata = Metadata(Size(40, 30), orientation=1, profile=b"", copyright=(), kind="PNG")
    work = Work(image, metadata, FULL, Layout((0.0, 0.0, 40.0, 30.0), Size(40, 30)))

    assert step(work) is image


def _work(
    image: Image.Image,
    size: tuple[int, int],
    *,
    part: tuple[float, float, float, float] | None = None,
    profile: bytes = b"",
) -> Work:
    metadata = Metadata(Size(*image.size), orientation=1, profile=profile, copyright=(), kind="PNG")
    return Work(image, metadata, FULL, Layout(part or (0.0, 0.0, *image.size), Size(*size)))


def _art(pixels: int, mode: str = "RGB") -> Image.Image:
    """Return an enlarged picture, each of its pixels a square of so many."""
    small = drawn.of_kind("pixel-art")["pixel-art-256-1"].convert(mode)
    small = small.crop((60, 90, 90, 110))
    assert len(small.getcolors() or ()) > 2
    return small.resize((30 * pixels, 20 * pixels), Image.Resampling.NEAREST)


def _two_colours(mode: str) -> Image.Image:
    return drawn.of_kind("scan")["scan-1-bit"].crop((0, 0, 120, 80)).convert(mode)


def _three_greys() -> Image.Image:
    image = _two_colours("L")
    image.putpixel((3, 3), 127)
    return image


BOX, LANCZOS = Image.Resampling.BOX, Image.Resampling.LANCZOS

RESIZED = [
    pytest.param(_two_colours("L"), (60, 40), BOX, id="two greys, halved"),
    pytest.param(_two_colours("RGB"), (30, 20), BOX, id="two colours, to a quarter"),
    pytest.param(_two_colours("RGBX"), (40, 80 // 3), LANCZOS, id="two colours, almost a third"),
    pytest.param(_two_colours("L"), (80, 53), LANCZOS, id="two greys, no whole factor"),
    pytest.param(_two_colours("L"), (240, 160), LANCZOS, id="two greys, enlarged"),
    pytest.param(_two_colours("L"), (60, 20), LANCZOS, id="two greys, another shape"),
    pytest.param(_two_colours("RGBA"), (60, 40), LANCZOS, id="with alpha"),
    pytest.param(_three_greys(), (60, 40), LANCZOS, id="three greys"),
    pytest.param(_art(4), (30, 20), BOX, id="squares, back to one pixel each"),
    pytest.param(_art(4), (60, 40), BOX, id="squares, to smaller ones"),
    pytest.param(_art(4), (40, 26), LANCZOS, id="squares, no whole factor"),
    pytest.param(_art(3), (45, 30), LANCZOS, id="squares, halved across their edges"),
    pytest.param(images.texture((120, 80)), (60, 40), LANCZOS, id="photograph"),
]


@pytest.mark.parametrize(("image", "size", "expected"), RESIZED)
def test_what_has_two_colours_or_is_made_of_squares_is_averaged(
    image: Image.Image, size: tuple[int, int], expected: Image.Resampling
) -> None:
    done = resize(_work(image, size))

    for way in (BOX, LANCZOS):
        same = done.tobytes() == image.resize(size, way).convert(done.mode).tobytes()
        assert same == (way is expected)


def test_enlarged_pixel_art_gets_its_pixels_back() -> None:
    for pixels in (2, 5, 8):
        for mode in ("L", "RGB"):
            small = _art(1, mode)

            assert resize(_work(_art(pixels, mode), small.size)).tobytes() == small.tobytes()


def test_a_part_of_two_colours_is_resized_as_ever() -> None:
    image, part = _two_colours("L"), (20.0, 20.0, 100.0, 60.0)

    done = resize(_work(image, (40, 20), part=part))

    assert done.tobytes() == image.resize((40, 20), LANCZOS, part).tobytes()


def _srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _lab() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


def _other_rgb() -> bytes:
    """Return sRGB under another name: it is applied, as the name is all that is looked at."""
    profile = _srgb().replace("sRGB".encode("utf-16-be"), "lin1".encode("utf-16-be"))
    return profile.replace(b"sRGB built-in", b"lin1 built-in")


CONVERTED = [
    *(("RGB", _other_rgb(), True), ("RGBA", _other_rgb(), True), ("RGBX", _other_rgb(), True)),
    *(("RGB", _srgb(), False), ("RGBA", _srgb(), False), ("RGBX", _srgb(), False)),
    *(("L", _other_rgb(), False), ("LA", _other_rgb(), False), ("L", _srgb(), False)),
    *(("RGB", _lab(), False), ("RGB", b"nonsense", False), ("RGB", b"", False)),
    *(("L", b"", False), ("LA", b"", False), ("RGBA", b"", False)),
    *(("CMYK", b"", True), ("CMYK", _other_rgb(), True), ("CMYK", b"nonsense", True)),
]


@pytest.mark.parametrize(("mode", "profile", "expected"), CONVERTED)
def test_it_is_known_beforehand_whether_colours_are_converted(
    mode: str, profile: bytes, *, expected: bool
) -> None:
    shown = images.four_colours((40, 30)).convert("RGB" if mode == "RGBX" else mode)

    assert is_converted(mode, profile) == expected
    assert (to_srgb(_work(shown, shown.size, profile=profile)) is not shown) == expected
