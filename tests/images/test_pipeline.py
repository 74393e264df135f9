"""Pixels: what comes out of odd originals, and what is refused."""

import io
import pickle
import struct
import zlib
from dataclasses import replace
from decimal import Decimal
from typing import Any

import images
import pytest
from full_plan import FULL
from PIL import ExifTags, Image, ImageCms, MpoImagePlugin

from imgprocessor.config.settings import OriginalsSettings, PixelsSettings
from imgprocessor.errors import (
    BrokenOriginal,
    CropOutside,
    ImageError,
    OversizedOriginal,
    UnsupportedOriginal,
)
from imgprocessor.geometry import COMPASS, UPPER, Box, Crop, Fit, Flip, Layout, Size
from imgprocessor.images.decode import Metadata, Picture, open_original
from imgprocessor.images.pipeline import Rendition, render
from imgprocessor.images.pyramid import Level
from imgprocessor.policy.negotiation import negotiate
from imgprocessor.policy.plan import Plan, make_plan
from imgprocessor.policy.table import Cell, Policy
from imgprocessor.request.hints import Hints
from imgprocessor.request.query import parse_query
from imgprocessor.timing import Timings

UPRIGHT = ["red", "green", "blue", "white"]
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def boxed(width: int | None, height: int | None, fit: Fit) -> Plan:
    return replace(
        FULL, box=Box(width, height), fit=fit, density=Decimal(1), screen=None, cell=Cell(95)
    )


def render_bytes(file: bytes, plan: Plan = FULL, limits: Any = None) -> Rendition:
    return images.rendered(file, plan, Timings(), limits)


def pixels(file: bytes, plan: Plan = FULL) -> Image.Image:
    return images.decoded(render_bytes(file, plan).body)


@pytest.mark.parametrize(
    ("image_format", "mode", "options"),
    [
        ("JPEG", "RGB", {"quality": 95}),
        ("JPEG", "RGB", {"quality": 95, "progressive": True}),
        ("JPEG", "CMYK", {"quality": 95}),
        ("PNG", "RGB", {}),
        ("PNG", "RGBA", {}),
        ("PNG", "P", {}),
        ("WEBP", "RGB", {"lossless": True}),
        ("WEBP", "RGBA", {"lossless": True}),
        ("GIF", "P", {}),
    ],
)
def test_each_kind_of_original_keeps_its_colours(
    image_format: str, mode: str, options: dict[str, Any]
) -> None:
    drawn = images.four_colours((64, 48))
    source = drawn.quantize(8) if mode == "P" else drawn.convert(mode)
    file = images.encoded(source, image_format, **options)

    result = pixels(file)

    assert ("JPEG", "RGB", (64, 48)) == (result.format, result.mode, result.size)
    assert images.mean_difference(source, result) < 6


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_each_orientation_is_displayed_upright(orientation: int, image_format: str) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored = images.STORED[orientation](images.four_colours((120, 80)))
    file = images.encoded(stored, image_format, exif=exif.tobytes())

    rendition = render_bytes(file, boxed(60, 60, Fit.INSIDE))

    assert Size(120, 80) == rendition.original_size
    result = images.decoded(rendition.body)
    assert (60, 40) == result.size
    assert UPRIGHT == images.corner_colours(result)
    assert not result.getexif()


def _exif_with_orientation(kind: int, value: bytes) -> bytes:
    """One entry, written by hand: Pillow itself would refuse to write some of these."""
    entry = struct.pack("<HHI", ExifTags.Base.Orientation, kind, 1) + value.ljust(4, b"\0")
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)


SHORT, ASCII = 3, 2


@pytest.mark.parametrize(
    ("kind", "value", "turned"),
    [
        (SHORT, b"\6\0", True),  # so that it is seen that these are read at all
        (SHORT, b"\0\0", False),
        (SHORT, b"\x09\0", False),
        (SHORT, b"\xff\xff", False),
        (ASCII, b"6\0", False),
        (99, b"6", False),
    ],
)
def test_a_nonsensical_orientation_turns_nothing(kind: int, value: bytes, turned: bool) -> None:  # noqa: FBT001
    exif = _exif_with_orientation(kind, value)
    file = images.encoded(images.four_colours((120, 80)), "JPEG", exif=exif)

    assert turned == (images.corner_colours(pixels(file)) != UPRIGHT)


def test_cover_crops_the_centre_of_what_is_displayed() -> None:
    """A picture lying on its side: blue at the top, red in the middle, blue below."""
    upright = Image.new("RGB", (60, 180), images.BLUE)
    upright.paste(images.RED, (0, 60, 60, 120))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    lying = upright.transpose(Image.Transpose.ROTATE_90)
    file = images.encoded(lying, "PNG", exif=exif.tobytes())

    result = pixels(file, boxed(60, 60, Fit.COVER))

    assert ["red"] * 4 == images.corner_colours(result)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("gravity", "expected"),
    [("centre", "red"), ("north", "blue"), ("southeast", "green"), ("west", "red")],
)
def test_cover_keeps_what_gravity_says_of_what_is_displayed(
    gravity: str, expected: str, orientation: int
) -> None:
    """Blue at the top, red in the middle, green below, however it is stored."""
    upright = Image.new("RGB", (60, 180), images.BLUE)
    upright.paste(images.RED, (0, 60, 60, 120))
    upright.paste(images.GREEN, (0, 120, 60, 180))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored = images.STORED[orientation](upright)
    file = images.encoded(stored, "PNG", exif=exif.tobytes())

    result = pixels(file, replace(boxed(60, 60, Fit.COVER), gravity=COMPASS[gravity]))

    assert [expected] * 4 == images.corner_colours(result)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("flip", "expected"),
    [
        (None, ["red", "green", "blue", "white"]),
        (Flip.ACROSS, ["green", "red", "white", "blue"]),
        (Flip.DOWN, ["blue", "white", "red", "green"]),
        (Flip.BOTH, ["white", "blue", "green", "red"]),
    ],
)
def test_flip_mirrors_what_is_displayed_and_keeps_what_gravity_says(
    flip: Flip | None, expected: list[str], orientation: int
) -> None:
    """Four colours at the left of a grey picture, however it is stored."""
    upright = Image.new("RGB", (180, 60), (128, 128, 128))
    upright.paste(images.four_colours((80, 60)))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    file = images.encoded(images.STORED[orientation](upright), "PNG", exif=exif.tobytes())
    plan = replace(boxed(80, 60, Fit.COVER), gravity=COMPASS["west"], flip=flip)

    result = pixels(file, plan)

    assert (80, 60) == result.size
    assert expected == images.corner_colours(result)


def _stored(upright: Image.Image, orientation: int, image_format: str = "PNG") -> bytes:
    """Return the file of a picture that is displayed as this one."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return images.encoded(images.STORED[orientation](upright), image_format, exif=exif.tobytes())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("crop", "flip", "size", "expected"),
    [
        (Crop(20, 10, 80, 60), None, (80, 60), UPRIGHT),
        (Crop(20, 10, 80, 60), Flip.ACROSS, (80, 60), ["green", "red", "white", "blue"]),
        (Crop(60, 40, 999, 999), None, (120, 110), ["white"] * 4),
        (Crop(10, 5, 20, 40, is_percent=True), None, (36, 60), ["red", "red", "blue", "blue"]),
    ],
)
def test_a_crop_is_of_what_is_displayed(
    crop: Crop, flip: Flip | None, size: tuple[int, int], expected: list[str], orientation: int
) -> None:
    """Four colours near the top left of a white picture, however it is stored."""
    upright = Image.new("RGB", (180, 150), images.WHITE)
    upright.paste(images.four_colours((80, 60)), (20, 10))
    plan = replace(FULL, crop=crop, flip=flip, formats=("png",))

    rendition = render_bytes(_stored(upright, orientation), plan)

    result = images.decoded(rendition.body)
    assert (rendition.original_size, result.size) == (Size(180, 150), size)
    assert images.corner_colours(result) == expected
    if flip is None:
        part = upright.crop(crop.of(Size(180, 150)))
        assert images.mean_difference(result, part) == 0


LARGE = images.encoded(images.noise((1000, 750)).resize((4000, 3000), 0), "JPEG", quality=92)
"""Squares of four pixels, each of another colour: half the scale is seen."""


@pytest.mark.parametrize(
    ("crop", "plan", "level"),
    [
        (Crop(3001, 2003, 100, 100), replace(FULL, formats=("png",)), Level(1)),
        (Crop(3001, 2003, 100, 100), boxed(100, 100, Fit.FORCE), Level(1)),
        (Crop(50, 50, 5, 5, is_percent=True), boxed(200, None, Fit.INSIDE), Level(1)),
        (
            Crop(0, 0, 50, 50, is_percent=True),
            boxed(600, 600, Fit.INSIDE),
            Level(2, Size(1600, 1200)),
        ),
        (Crop(0, 0, 50, 50, is_percent=True), boxed(100, 100, Fit.INSIDE), Level(2, None, 4)),
    ],
)
def test_a_crop_is_made_from_a_level_that_is_fine_enough(
    crop: Crop, plan: Plan, level: Level
) -> None:
    """As what is cut out of the whole original, and scaled then."""
    plan = replace(plan, crop=crop, formats=("png",))
    metadata = open_original(io.BytesIO(LARGE), OriginalsSettings()).metadata

    result = pixels(LARGE, plan)

    assert metadata.choose_level(plan) == level
    part = images.decoded(LARGE).crop(crop.of(Size(4000, 3000)))
    wanted = part.resize(result.size, Image.Resampling.LANCZOS)
    assert images.mean_difference(wanted, result) < (0.01 if result.size == part.size else 6)


def test_a_crop_outside_is_no_fault_of_the_original() -> None:
    file = images.encoded(images.four_colours((100, 80)), "PNG")

    with pytest.raises(CropOutside) as caught:
        render_bytes(file, replace(FULL, crop=Crop(100, 0, 10, 10)))

    assert (caught.value.status, caught.value.public) == (
        422,
        "The crop lies outside of the picture.",
    )
    assert str(caught.value) == "crop 100,0,10,10 of 100x80"
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upper_keeps_what_is_between_the_middle_and_the_top(orientation: int) -> None:
    """Of three times as high as wide: half a square is lost at the top, one and a half below."""
    upright = Image.new("RGB", (60, 180), images.BLUE)
    upright.paste(images.RED, (0, 30, 60, 90))
    plan = replace(boxed(60, 60, Fit.COVER), gravity=UPPER, formats=("png",))

    result = pixels(_stored(upright, orientation), plan)

    assert result.convert("RGB").getcolors() == [(3600, images.RED)]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_of_what_is_higher_than_wanted_the_top_is_sent(orientation: int) -> None:
    upright = images.four_colours((60, 180))
    whole = replace(boxed(25, None, Fit.INSIDE), formats=("png",))
    file = _stored(upright, orientation)

    result = pixels(file, replace(whole, max_height=50))

    assert result.size == (25, 50)
    top = pixels(file, whole).crop((0, 0, 25, 50))
    assert images.mean_difference(top, result) < 0.01


def _alpha_gradient(size: tuple[int, int]) -> Image.Image:
    image = images.texture(size).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(size))
    return image


def _alpha_noise(size: tuple[int, int]) -> Image.Image:
    image = images.noise(size).convert("RGBA")
    image.putalpha(images.noise(size).convert("L"))
    return image


@pytest.mark.parametrize(
    ("image", "size"),
    [
        (images.texture((900, 600)), (16, 11)),
        (images.four_colours((600, 900)), (11, 16)),
        (images.noise((16, 16)), (16, 16)),
        (images.noise((16, 16)).convert("L"), (16, 16)),
        (images.noise((400, 300)), (16, 12)),
        (images.noise((9, 5)), (9, 5)),
        (images.noise((3000, 2)), (16, 1)),
        (images.noise((1, 1)), (1, 1)),
        (_alpha_gradient((400, 300)), (16, 12)),
        (_alpha_noise((16, 16)), None),
        (_alpha_noise((400, 300)), None),
    ],
)
def test_bytes_to_be_shown_blurred_are_few(
    policy: Policy, image: Image.Image, size: tuple[int, int] | None
) -> None:
    """Only where the alpha is noise are there fewer pixels."""
    query = parse_query("name=a&lqip=yes", 4096)
    plan = make_plan(query, negotiate(query, Hints(), policy), PixelsSettings(), "", "quick")

    rendition = render_bytes(images.encoded(image, "PNG"), plan)

    assert rendition.format == "webp"
    assert len(rendition.body) < 200
    found = images.decoded(rendition.body).size
    assert found == size if size else 8 <= max(found) <= 16


@pytest.mark.parametrize(
    ("fit", "expected"),
    [(Fit.INSIDE, (40, 27)), (Fit.FORCE, (40, 70)), (Fit.COVER, (40, 70))],
)
@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_each_fit_gives_its_size(fit: Fit, expected: tuple[int, int], image_format: str) -> None:
    file = images.encoded(images.texture((900, 600)), image_format)

    assert expected == pixels(file, boxed(40, 70, fit)).size


def test_force_enlarges() -> None:
    file = images.encoded(images.four_colours((10, 10)), "PNG")

    assert (100, 50) == pixels(file, boxed(100, 50, Fit.FORCE)).size


def test_sixteen_bits_of_grey_are_scaled_and_not_clipped() -> None:
    ramp = Image.linear_gradient("L")
    sixteen = Image.new("I;16", ramp.size)
    sixteen.putdata([value * 257 for value in ramp.tobytes()])

    result = pixels(images.encoded(sixteen, "PNG"))

    assert result.mode == "L"
    assert images.mean_difference(ramp, result) < 1


def test_grey_stays_grey() -> None:
    ramp = Image.linear_gradient("L")

    assert pixels(images.encoded(ramp, "JPEG")).mode == "L"
    assert pixels(images.encoded(ramp.convert("1"), "PNG")).mode == "L"


@pytest.mark.parametrize(
    ("image_format", "mode"),
    [("PNG", "RGBA"), ("PNG", "LA"), ("PNG", "P"), ("WEBP", "RGBA"), ("GIF", "RGBA")],
)
def test_what_is_transparent_shows_the_background(image_format: str, mode: str) -> None:
    clear = Image.new("RGBA", (40, 40), (255, 0, 0, 0))
    clear.paste((0, 0, 0, 255), (0, 0, 20, 40))
    source = clear.quantize(4) if mode == "P" else clear.convert(mode)
    options = {"lossless": True} if image_format == "WEBP" else {}
    file = images.encoded(source, image_format, **options)

    result = pixels(file, replace(FULL, pixels=PixelsSettings(background="#20a030")))

    rgb = result.convert("RGB")
    assert max(rgb.getpixel((5, 20))) < 40  # type: ignore[arg-type]
    red, green, blue = rgb.getpixel((35, 20))  # type: ignore[misc]
    assert abs(red - 0x20) < 12
    assert abs(green - 0xA0) < 12
    assert abs(blue - 0x30) < 12


def test_a_colour_named_as_transparent_shows_the_background() -> None:
    image = Image.new("RGB", (40, 40), images.RED)
    file = images.encoded(image, "PNG", transparency=images.RED)

    assert ["white"] * 4 == images.corner_colours(pixels(file))


def test_half_transparent_edges_do_not_darken() -> None:
    """The colour under full transparency (black) must not bleed into a resized edge."""
    image = Image.new("RGBA", (200, 200), (0, 0, 0, 0))
    image.paste((255, 255, 255, 255), (0, 0, 101, 200))

    result = pixels(images.encoded(image, "PNG"), boxed(33, 33, Fit.INSIDE))

    assert result.convert("L").getextrema()[0] > 245  # type: ignore[operator]


def test_animations_show_their_first_frame() -> None:
    frames = [Image.new("RGB", (30, 30), colour) for colour in (images.RED, images.BLUE)]
    for image_format in ("GIF", "WEBP", "PNG"):
        file = images.encoded(frames[0], image_format, save_all=True, append_images=frames[1:])

        assert ["red"] * 4 == images.corner_colours(pixels(file))


def test_an_mpo_is_its_first_picture() -> None:
    file = images.encoded(
        images.four_colours((640, 480)),
        MpoImagePlugin.MpoImageFile.format,
        save_all=True,
        append_images=[Image.new("RGB", (640, 480))],
    )

    assert UPRIGHT == images.corner_colours(pixels(file, boxed(64, None, Fit.INSIDE)))


def _gamma_one_profile() -> bytes:
    """An RGB profile whose channels are linear: unmanaged, its pictures look far too dark."""
    profile = bytearray(SRGB)
    # Every tone curve of the sRGB profile becomes a curve with no entries: the identity.
    for signature in (b"rTRC", b"gTRC", b"bTRC"):
        entry = profile.index(signature)
        offset = int.from_bytes(profile[entry + 4 : entry + 8], "big")
        profile[offset : offset + 12] = b"curv" + bytes(8)
    return (
        bytes(profile)
        .replace("sRGB".encode("utf-16-be"), "lin1".encode("utf-16-be"))
        .replace(b"sRGB built-in", b"lin1 built-in")
    )


def test_colours_are_brought_to_srgb() -> None:
    """Linear 55 of 255 is sRGB 128."""
    image = Image.new("RGB", (40, 40), (55, 55, 55))
    for image_format in ("JPEG", "PNG", "WEBP"):
        file = images.encoded(image, image_format, icc_profile=_gamma_one_profile())

        value = pixels(file).getpixel((20, 20))[0]  # type: ignore[index]

        assert abs(value - 128) <= 3


def test_a_profile_is_applied_under_transparency_too() -> None:
    image = Image.new("RGBA", (40, 40), (55, 55, 55, 255))
    file = images.encoded(image, "PNG", icc_profile=_gamma_one_profile())

    assert abs(pixels(file).getpixel((20, 20))[0] - 128) <= 3  # type: ignore[index]
    image.putalpha(0)
    clear = images.encoded(image, "PNG", icc_profile=_gamma_one_profile())
    assert images.corner_colours(pixels(clear)) == ["white"] * 4


@pytest.mark.parametrize("profile", [b"nonsense", SRGB[:200], b"x" * (1 << 21)])
@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
def test_a_profile_that_is_broken_huge_or_for_other_channels_is_ignored(
    mode: str, profile: bytes
) -> None:
    source = images.four_colours((64, 48)).convert(mode)
    file = images.encoded(source, "JPEG", quality=95, icc_profile=profile)

    assert images.mean_difference(source, pixels(file)) < 6


def test_an_rgb_profile_in_a_grey_or_cmyk_picture_is_ignored() -> None:
    for mode in ("L", "CMYK"):
        source = images.four_colours((64, 48)).convert(mode)
        file = images.encoded(source, "JPEG", quality=95, icc_profile=_gamma_one_profile())

        assert images.mean_difference(source, pixels(file)) < 6


def _with_metadata() -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Copyright] = "(c) Somebody"
    exif[ExifTags.Base.Artist] = "Somebody"
    exif[ExifTags.Base.Make] = "Camera"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[1] = "N"
    return images.encoded(
        images.four_colours((64, 48)),
        "JPEG",
        exif=exif.tobytes(),
        comment=b"where I live",
        xmp=b"<x:xmpmeta>where I live</x:xmpmeta>",
        icc_profile=SRGB,
        dpi=(300, 300),
    )


def test_metadata_is_stripped() -> None:
    body = render_bytes(_with_metadata()).body

    result = images.decoded(body)
    assert not result.getexif()
    assert not {"comment", "icc_profile", "xmp", "exif"} & set(result.info)
    for word in (b"Somebody", b"Camera", b"live"):
        assert word not in body


def test_copyright_is_kept_if_asked_and_nothing_else() -> None:
    plan = replace(FULL, pixels=PixelsSettings(keep_copyright=True))

    body = render_bytes(_with_metadata(), plan).body

    kept = dict(images.decoded(body).getexif())
    assert {
        ExifTags.Base.Copyright: "(c) Somebody",
        ExifTags.Base.Artist: "Somebody",
    } == kept
    assert b"live" not in body


def test_a_notice_longer_than_formats_hold_is_cut() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Copyright] = "c" * 70_000
    file = images.encoded(images.texture((90, 60)), "PNG", exif=exif.tobytes())

    for known in ("jpeg", "webp", "avif", "png"):
        plan = replace(FULL, pixels=PixelsSettings(keep_copyright=True), formats=(known,))
        body = render_bytes(file, plan).body
        assert images.decoded(body).getexif()[ExifTags.Base.Copyright] == "c" * 1000


@pytest.mark.parametrize("margin", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("width", [50, 333, 640, 1000])
def test_drafted_decoding_looks_like_undrafted(margin: float, width: int) -> None:
    file = images.encoded(images.texture((2000, 1400)), "JPEG", quality=92)

    def at(master_margin: float) -> Image.Image:
        plan = boxed(width, None, Fit.INSIDE)
        return pixels(file, replace(plan, pixels=PixelsSettings(master_margin=master_margin)))

    assert images.mean_difference(at(margin), at(1000.0)) < 2.5


def test_a_jpeg_is_one_optimised_scan() -> None:
    """Ten scans weigh more and take longer; tables that are not optimised weigh a tenth more."""
    body = render_bytes(images.encoded(images.texture((90, 60)), "PNG"), FULL).body

    assert body.count(b"\xff\xda") == 1
    assert "progressive" not in images.decoded(body).info
    standard_huffman_tables = 420
    assert body.index(b"\xff\xda") - body.index(b"\xff\xc4") < standard_huffman_tables


def test_quality_is_honoured() -> None:
    file = images.encoded(images.texture((600, 400)), "PNG")
    sizes = [
        len(render_bytes(file, replace(FULL, cell=Cell(q, width_percent=100))).body)
        for q in (20, 50, 80, 100)
    ]

    assert sizes == sorted(set(sizes))


def test_the_noisiest_picture_can_be_encoded() -> None:
    """Optimised JPEG needs a buffer that some encoders make too small for this."""
    file = images.encoded(images.noise((700, 700)), "PNG")

    for quality in (75, 94, 100):
        render_bytes(file, replace(FULL, cell=Cell(quality, width_percent=100)))


@pytest.mark.parametrize(
    "file",
    [b"", b"x", b"GIF8", b"%!PS-Adobe-3.0 EPSF-3.0", b"<svg xmlns='http://www.w3.org/2000/svg'/>",
     b"8BPS\0\1", b"SIMPLE  =", b"II*\0", b"BM", b"\0\0\0\x0cjP  \r\n\x87\n", b"P6 1 1 255 \0\0\0",
     b"RIFF\0\0\0\0WAVE"],
)  # fmt: skip
def test_what_is_not_on_the_allow_list_is_refused(file: bytes) -> None:
    with pytest.raises(UnsupportedOriginal):
        render_bytes(file)


def test_originals_over_the_limit_are_refused_before_they_are_decoded() -> None:
    small = images.encoded(images.texture((100, 50)), "PNG")

    with pytest.raises(OversizedOriginal, match="100x50"):
        render_bytes(small, limits=OriginalsSettings(max_decoded_bytes=29_999))
    render_bytes(small, limits=OriginalsSettings(max_decoded_bytes=30_000))


def _png_header_claiming(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IEND\xae\x42\x60\x82"


@pytest.mark.parametrize(
    "size", [(14_960, 14_960), (65_536, 1), (65_500, 65_500), (2**31 - 1, 2**31 - 1)]
)
def test_a_header_that_claims_too_much_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ImageError) as caught:
        render_bytes(_png_header_claiming(*size))

    assert caught.value.status == 422


HOSTILE_PARTS = [
    (2.0**31, 0.0, 2.0**32, 5.0),
    (-(2.0**40), -(2.0**40), 2.0**40, 2.0**40),
    (5.0, 5.0, 5.0, 5.0),
    (20.0, 20.0, 10.0, 10.0),
    (float("nan"), 0.0, 10.0, 10.0),
    (0.0, 0.0, float("inf"), float("inf")),
]


@pytest.mark.parametrize("part", HOSTILE_PARTS)
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBX", "CMYK", "I;16", "I", "F", "P", "1", "LAB"])
def test_no_box_and_no_mode_that_pillow_gets_wrong_ever_reaches_it(
    monkeypatch: pytest.MonkeyPatch, part: tuple[float, float, float, float], mode: str
) -> None:
    """Facts that lie come out of no file; should some ever, they end in an error of ours."""
    lying = Metadata(Size(40, 30), 1, b"", (), "PNG")
    picture = Picture(lying, Level(1), Image.new(mode, (40, 30)))
    monkeypatch.setattr(Metadata, "lay_out", lambda *_: Layout(part, Size(16, 16)))
    handed_over: list[tuple[str, Any]] = []
    resize = Image.Image.resize

    def watched(image: Image.Image, size: Any, resample: Any = None, box: Any = None) -> Any:
        handed_over.append((image.mode, box or (0, 0, *image.size)))
        return resize(image, size, resample, box)

    monkeypatch.setattr(Image.Image, "resize", watched)
    try:
        render(picture, FULL, Timings())
    except BrokenOriginal:
        assert handed_over == []
    for known, (left, top, right, bottom) in handed_over:
        assert known in {"L", "RGB", "RGBX", "CMYK"}
        assert 0 <= left < right <= 40
        assert 0 <= top < bottom <= 30


def test_a_transform_for_another_mode_is_never_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    srgb, lab = (
        ImageCms.ImageCmsProfile(profile)
        for profile in (ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"))
    )
    for_colours = ImageCms.ImageCmsTransform(srgb, srgb, "RGB", "RGB")
    to_lab = ImageCms.ImageCmsTransform(srgb, lab, "RGB", "LAB")
    monkeypatch.setattr(ImageCms.ImageCmsTransform, "apply", lambda *_: pytest.fail("applied"))
    for mode, transform in (("L", for_colours), ("CMYK", for_colours), ("RGB", to_lab)):
        known = (transform,)
        monkeypatch.setattr(
            "imgprocessor.images.operations.colour._transform_to_srgb", lambda *_, k=known: k[0]
        )
        source = images.four_colours((64, 48)).convert(mode)

        pixels(images.encoded(source, "JPEG", icc_profile=SRGB))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("profile_of", ["RGB", "LAB", "XYZ"])
def test_a_transform_is_only_applied_to_the_mode_it_is_for(mode: str, profile_of: str) -> None:
    space = {"RGB": "sRGB", "LAB": "LAB", "XYZ": "XYZ"}[profile_of]
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile(space)).tobytes()  # type: ignore[arg-type]
    file = images.encoded(images.four_colours((64, 48)).convert(mode), "JPEG", icc_profile=profile)

    assert pixels(file).size == (64, 48)


def test_a_rendition_says_what_its_time_went_to() -> None:
    timings = Timings()
    images.rendered(images.encoded(images.texture((300, 200)), "JPEG"), FULL, timings)

    assert ["resize", "orient", "colour", "encode"] == list(timings)


def test_the_same_plan_gives_the_same_bytes() -> None:
    file = images.encoded(images.texture((900, 600)), "JPEG")

    assert render_bytes(file, boxed(300, None, Fit.INSIDE)).body == (
        render_bytes(file, boxed(300, None, Fit.INSIDE)).body
    )
