"""Never heavier than the original: what is sent of originals that are light already."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import images
import pytest
from PIL import Image, ImageChops, ImageCms, ImageDraw, ImageFilter

from imgprocessor.images.formats.encoders import ENCODERS
from imgprocessor.images.pipeline import Rendition
from imgprocessor.load import DEFAULT_CONF, Overrides, load_settings
from imgprocessor.parts import make_delivery
from imgprocessor.service.delivery import Delivery
from imgprocessor.service.understanding import Incoming

CHROMIUM = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
WEBP_ALONE = "image/webp,*/*"
PLAIN = "*/*"
JPEG_ALONE = "image/jpeg,image/png;q=0"
ACCEPTS = (CHROMIUM, WEBP_ALONE, PLAIN)

SIZE = (320, 214)


def _text(size: tuple[int, int] = (600, 400)) -> Image.Image:
    page = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(page)
    for line, y in enumerate(range(10, size[1] - 10, 18)):
        colour = ("black", "navy", "maroon")[line % 3]
        draw.text((10, y), "The quick brown fox jumps over the lazy dog 0123456789 " * 3, colour)
    return page


def _flat(size: tuple[int, int] = (400, 400)) -> Image.Image:
    width, height = size
    page = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(page)
    draw.ellipse((width // 8, height // 8, width * 7 // 8, height * 7 // 8), (200, 0, 0))
    draw.rectangle((width * 3 // 8, height * 3 // 8, width * 5 // 8, height * 5 // 8), (0, 0, 120))
    return page


def _squares(count: int, size: int) -> Image.Image:
    """A code of black and white squares, each of many pixels."""
    small = images.noise((count, count)).convert("L").point(lambda grey: 255 * (grey > 127))
    return small.resize((size, size), Image.Resampling.NEAREST).convert("RGB")


def _photograph() -> Image.Image:
    return images.texture(SIZE).filter(ImageFilter.GaussianBlur(1))


def _logo() -> Image.Image:
    logo = _flat((300, 300)).convert("RGBA")
    logo.putalpha(ImageChops.invert(logo.convert("L").point(lambda grey: 255 * (grey > 250))))
    return logo


def _palette(image: Image.Image, colours: int) -> Image.Image:
    return image.convert("P", palette=Image.Palette.ADAPTIVE, colors=colours)


ORIGINALS: dict[str, Callable[[], bytes]] = {
    "text.png": lambda: images.encoded(_palette(_text(), 16), "PNG", optimize=True),
    "text-grey.png": lambda: images.encoded(_text().convert("L"), "PNG", optimize=True),
    "text-rgb.png": lambda: images.encoded(_text(), "PNG", optimize=True),
    "text.gif": lambda: images.encoded(_palette(_text(), 16), "GIF"),
    "text-bilevel.png": lambda: images.encoded(_text().convert("1"), "PNG", optimize=True),
    "flat.png": lambda: images.encoded(_palette(_flat(), 8), "PNG", optimize=True),
    "flat.webp": lambda: images.encoded(_flat(), "WEBP", lossless=True),
    "code.png": lambda: images.encoded(_squares(33, 330).convert("1"), "PNG", optimize=True),
    "logo.png": lambda: images.encoded(_logo(), "PNG", optimize=True),
    "q30.jpg": lambda: images.encoded(_photograph(), "JPEG", quality=30, optimize=True),
    "q30-progressive.jpg": lambda: images.encoded(
        _photograph(), "JPEG", quality=30, optimize=True, progressive=True
    ),
    "q10.jpg": lambda: images.encoded(_photograph(), "JPEG", quality=10),
    "q60-grey.jpg": lambda: images.encoded(_photograph().convert("L"), "JPEG", quality=60),
    "q40.webp": lambda: images.encoded(_photograph(), "WEBP", quality=40),
    "dot.gif": lambda: images.encoded(Image.new("P", (1, 1)), "GIF"),
}
"""Light already, each in its own way."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("light")
    for name, make in ORIGINALS.items():
        (folder / name).write_bytes(make())
    return folder


@pytest.fixture(scope="module")
def delivery(folder: Path) -> Delivery:
    return make_delivery(load_settings(DEFAULT_CONF, Overrides(originals=folder)))


def _sent(delivery: Delivery, name: str, accept: str, **asked: object) -> Rendition:
    query = urlencode({"name": name, "bandwidth": "4g", "screen": "desktop", **asked})
    understood = delivery.understand(Incoming(query, {"accept": accept}))
    return delivery.render(delivery.find(understood)).rendition


def _weight(folder: Path, name: str) -> int:
    return (folder / name).stat().st_size


@pytest.mark.parametrize("accept", ACCEPTS)
@pytest.mark.parametrize("name", sorted({*ORIGINALS} - {"q40.webp", "flat.webp"}))
def test_at_its_own_size_nothing_weighs_more_than_the_original(
    delivery: Delivery, folder: Path, name: str, accept: str
) -> None:
    sent = _sent(delivery, name, accept)

    assert sent.size == sent.original_size
    assert len(sent.body) <= _weight(folder, name)


@pytest.mark.parametrize("accept", [CHROMIUM, WEBP_ALONE])
@pytest.mark.parametrize("name", ["q40.webp", "flat.webp"])
def test_nor_more_than_a_webp_where_that_is_taken(
    delivery: Delivery, folder: Path, name: str, accept: str
) -> None:
    assert len(_sent(delivery, name, accept).body) <= _weight(folder, name)


@pytest.mark.parametrize("accept", ACCEPTS)
@pytest.mark.parametrize("width", [300, 180, 100])
@pytest.mark.parametrize("name", ["text.png", "text.gif", "flat.png", "code.png", "q10.jpg"])
def test_nor_does_anything_smaller(
    delivery: Delivery, folder: Path, name: str, width: int, accept: str
) -> None:
    sent = _sent(delivery, name, accept, width=width)

    assert len(sent.body) <= _weight(folder, name)
    assert sent.size.width <= width or sent.is_original


@pytest.mark.parametrize("accept", ACCEPTS)
@pytest.mark.parametrize("name", [name for name in ORIGINALS if name.startswith("text")])
def test_letters_are_as_sharp_as_they_were(
    delivery: Delivery, folder: Path, name: str, accept: str
) -> None:
    """Some shades of their edges may be one, and nothing else: as WebP with loss it is 2.5."""
    sent = _sent(delivery, name, accept)

    with Image.open(folder / name) as original:
        assert images.mean_difference(images.decoded(sent.body), original) < 1.5
    assert images.decoded(sent.body).convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_a_webp_is_as_light_a_jpeg_as_its_quality_allows(delivery: Delivery, folder: Path) -> None:
    """A client without WebP gains nothing by more than was kept."""
    saved_at_40 = _sent(delivery, "q40.webp", JPEG_ALONE)
    photograph = images.save(folder / "whole.png", _photograph(), "PNG")
    whole = _sent(delivery, photograph.name, JPEG_ALONE)

    assert saved_at_40.quality < 50 < whole.quality
    assert len(saved_at_40.body) < 0.7 * len(whole.body)


def test_the_quality_of_a_large_webp_is_found_by_a_part_of_it(
    delivery: Delivery, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 4096x4096, trials of the whole picture took more than `max_processor_seconds`."""
    large = images.noise((1500, 1500)).filter(ImageFilter.GaussianBlur(1))
    path = images.save(folder / "large.webp", large, "WEBP", quality=40)
    tried = []

    def write(image: Image.Image, setting: int, exif: bytes) -> bytes:
        tried.append(image.size)
        return webp.write(image, setting, exif)

    webp = ENCODERS["webp"]
    monkeypatch.setitem(ENCODERS, "webp", replace(webp, write=write))
    sent = _sent(delivery, path.name, JPEG_ALONE, width=1500)

    assert tried
    assert {*tried} == {(576, 576)}
    assert 35 <= sent.quality <= 50


@pytest.mark.parametrize(
    ("name", "asked", "wanted"),
    [
        ("q30.jpg", {"format": "webp"}, "webp"),
        ("q30.jpg", {"format": "avif"}, "avif"),
        ("flat.png", {"format": "webp"}, "webp"),
        ("q40.webp", {"format": "avif"}, "avif"),
        ("text.png", {"format": "png"}, "png"),
    ],
)
def test_a_format_that_is_asked_for_is_no_heavier_either(
    delivery: Delivery, folder: Path, name: str, asked: dict[str, str], wanted: str
) -> None:
    sent = _sent(delivery, name, CHROMIUM, **asked)

    assert (sent.format, sent.size) == (wanted, sent.original_size)
    assert len(sent.body) <= _weight(folder, name)


@pytest.mark.parametrize(("wanted", "least"), [("avif", 45), ("webp", 31)])
def test_a_jpeg_of_low_quality_is_not_blurred_again(
    delivery: Delivery, folder: Path, wanted: str, least: int
) -> None:
    """Nor is quality spent that it never had: by the bytes, WebP cannot come up to AVIF."""
    sent = _sent(delivery, "q30.jpg", CHROMIUM, format=wanted, bandwidth="4g")

    assert least <= sent.quality <= 60
    assert len(sent.body) < _weight(folder, "q30.jpg")


@pytest.mark.parametrize("wanted", ["jpeg", "avif"])
def test_a_format_that_cannot_be_as_light_keeps_its_size(delivery: Delivery, wanted: str) -> None:
    sent = _sent(delivery, "text.png", CHROMIUM, format=wanted)

    assert (sent.format, sent.is_original) == (wanted, False)
    assert sent.size == sent.original_size


def _save_jpeg(path: Path, **options: object) -> Path:
    return images.save(path, _photograph(), "JPEG", quality=20, **options)


def _exif(orientation: int = 1, artist: str = "") -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    if artist:
        exif[0x013B] = artist
    return exif


def test_what_is_sent_has_nothing_of_the_metadata(delivery: Delivery, folder: Path) -> None:
    path = _save_jpeg(folder / "place.jpg", exif=_exif(artist="Somebody"), comment="here")
    path.write_bytes(path.read_bytes() + b"and an archive behind it")
    # So light that no encoder comes near.
    sent = _sent(delivery, path.name, PLAIN, width=319)

    assert sent.is_original
    assert not any(word in sent.body for word in (b"Exif", b"Somebody", b"here", b"archive"))
    with Image.open(path) as original:
        assert images.mean_difference(images.decoded(sent.body), original) == 0


def test_a_heavy_file_of_metadata_counts_by_its_pixels(delivery: Delivery, folder: Path) -> None:
    light = _save_jpeg(folder / "light.jpg")
    heavy = _save_jpeg(folder / "heavy.jpg", comment=b"x" * 60_000)

    sent = _sent(delivery, heavy.name, PLAIN)

    assert len(sent.body) <= _weight(folder, light.name)


@pytest.mark.parametrize("orientation", [2, 3, 6, 8])
def test_what_lies_on_its_side_is_made_upright_and_no_heavier(
    delivery: Delivery, folder: Path, orientation: int
) -> None:
    path = _save_jpeg(folder / f"turned{orientation}.jpg", exif=_exif(orientation))

    sent = _sent(delivery, path.name, PLAIN)

    assert not sent.is_original
    assert sent.size == sent.original_size
    assert len(sent.body) <= path.stat().st_size


def test_colours_of_another_profile_are_converted(delivery: Delivery, folder: Path) -> None:
    wide = _save_jpeg(folder / "wide.jpg", icc_profile=_other())
    plain = _save_jpeg(folder / "srgb.jpg", icc_profile=_srgb())

    assert not _sent(delivery, wide.name, PLAIN, width=319).is_original
    sent = _sent(delivery, plain.name, PLAIN, width=319)
    assert sent.is_original
    assert b"ICC_PROFILE" not in sent.body


def _srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _other() -> bytes:
    """Red and blue of sRGB exchanged: any profile that is another."""
    profile = bytearray(_srgb())
    red, blue = profile.find(b"rXYZ"), profile.find(b"bXYZ")
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    name = profile.find("sRGB".encode("utf-16-be"))
    while name >= 0:
        profile[name : name + 8] = "none".encode("utf-16-be")
        name = profile.find("sRGB".encode("utf-16-be"))
    return bytes(profile)


def test_an_animation_is_its_first_frame(delivery: Delivery, folder: Path) -> None:
    frames = [_flat((60, 60)).rotate(angle) for angle in (0, 30, 60)]
    moving = io.BytesIO()
    frames[0].save(moving, "GIF", save_all=True, append_images=frames[1:])
    (folder / "moving.gif").write_bytes(moving.getvalue())

    sent = _sent(delivery, "moving.gif", "image/gif,image/png;q=0,image/jpeg;q=0.1")

    assert not sent.is_original
    assert getattr(images.decoded(sent.body), "n_frames", 1) == 1


def test_a_dot_is_sent_as_the_gif_that_it_is(delivery: Delivery) -> None:
    assert _sent(delivery, "dot.gif", PLAIN).format == "gif"
    assert _sent(delivery, "dot.gif", "image/png").format == "png"


def test_cut_mirrored_and_stretched_pictures_are_made(delivery: Delivery) -> None:
    for asked in (
        {"width": 200, "height": 200, "fit": "cover"},
        {"width": 200, "height": 200, "fit": "force"},
        {"width": 200, "flip": "h"},
        {"crop": "0,0,600,399"},
        {"crop": "0,0,600,399", "width": 200},
        {"crop": "1%,0%,99%,100%"},
        {"width": 200, "max_height": 132},
        {"width": 600, "max_height": 399},
        {"width": 700, "fit": "force"},
    ):
        assert not _sent(delivery, "text.png", CHROMIUM, **asked).is_original


def test_all_of_a_picture_is_sent_as_it_is_however_that_is_said(delivery: Delivery) -> None:
    for asked in (
        {"crop": "0,0,600,400"},
        {"crop": "0%,0%,100%,100%"},
        {"max_height": 133},
    ):
        sent = _sent(delivery, "text.png", CHROMIUM, width=200, **asked)
        assert sent == _sent(delivery, "text.png", CHROMIUM, width=200)
        assert sent.is_original


def test_an_original_is_not_sent_where_fewer_pixels_are_promised(
    delivery: Delivery, folder: Path
) -> None:
    images.save(folder / "small.webp", Image.new("RGB", (40, 30), "red"), "WEBP", lossless=True)

    sent = _sent(delivery, "small.webp", CHROMIUM, lqip="yes")

    assert (sent.format, str(sent.size), sent.is_original) == ("webp", "16x12", False)


def test_an_original_over_the_budget_is_not_sent(delivery: Delivery, folder: Path) -> None:
    budget = _weight(folder, "text-rgb.png") // 3

    sent = _sent(delivery, "text-rgb.png", PLAIN, max_bytes=budget)

    assert not sent.is_original
    assert len(sent.body) <= budget


def test_huge_pictures_of_one_colour_are_not_sent_for_thumbnails(
    delivery: Delivery, folder: Path
) -> None:
    """A browser would take more than 16 MB to show it."""
    images.save(folder / "huge.png", Image.new("1", (2100, 2000)), "PNG")

    assert not _sent(delivery, "huge.png", PLAIN, width=2050).is_original
