"""Raw photographs: as the camera showed them, or developed; upright."""

import io
import struct

import pytest
from drawn_documents import BLUE, GREEN, RED, WHITE, drawn, kind_of, refused
from hypothesis import given
from hypothesis import strategies as st
from photographs import dng
from PIL import Image

from imgprocessor.images.previews.kind import CUT_OFF, UNDRAWABLE, Ends
from imgprocessor.images.previews.raw import Raw

SHORT, LONG, ASCII, BYTE = 3, 4, 2, 1
UPRIGHT = [RED, GREEN, BLUE, WHITE]
TURNED = {
    1: UPRIGHT,
    3: [WHITE, BLUE, GREEN, RED],
    6: [BLUE, RED, WHITE, GREEN],
    8: [GREEN, WHITE, RED, BLUE],
}


def camera_jpeg(width: int = 160, height: int = 120, *, orientation: int | None = None) -> bytes:
    """A picture as the camera puts it beside: in the colours of the others, one further."""
    picture = Image.new("RGB", (width, height), "white")
    picture.paste("lime", (0, 0, width // 2, height // 2))
    picture.paste("blue", (width // 2, 0, width, height // 2))
    picture.paste("red", (0, height // 2, width // 2, height))
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    file = io.BytesIO()
    picture.save(file, "JPEG", subsampling=0, exif=exif)
    return file.getvalue()


CAMERAS = [GREEN, BLUE, RED, WHITE]


def tiff(*tags: tuple[int, int, int], order: str = "<", magic: int = 42) -> bytes:
    """A TIFF's first directory, with values that stand in their entries."""
    mark = {"<": b"II", ">": b"MM"}[order]
    entries = b"".join(
        struct.pack(order + "HHI", tag, kind, 1)
        + struct.pack(
            order + {SHORT: "HH", LONG: "I"}[kind], *[value, 0][: 2 if kind == SHORT else 1]
        )
        for tag, kind, value in tags
    )
    return (
        struct.pack(order + "2sHIH", mark, magic, 8, len(tags))
        + entries
        + struct.pack(order + "I", 0)
    )


@pytest.mark.parametrize("orientation", TURNED)
def test_what_has_no_picture_beside_is_developed(orientation: int) -> None:
    shown = drawn(dng(orientation=orientation))
    lies = orientation in {6, 8}

    assert shown.picture.size == ((96, 128) if lies else (128, 96))
    assert (shown.picture.format, shown.quarters()) == ("JPEG", TURNED[orientation])


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("says_so_itself", [True, False])
def test_the_cameras_own_picture_is_shown(orientation: int, *, says_so_itself: bool) -> None:
    own = camera_jpeg(orientation=orientation if says_so_itself else None)
    shown = drawn(dng(orientation=orientation, preview=own))

    expected = {GREEN: RED, BLUE: GREEN, RED: BLUE, WHITE: WHITE}
    assert max(shown.picture.size) == 160
    assert [expected[colour] for colour in shown.quarters()] == TURNED[orientation]


def test_a_small_picture_beside_is_not_enough() -> None:
    data = dng(preview=camera_jpeg(80, 60))

    assert drawn(data, side_pixels=160).quarters() == CAMERAS
    assert drawn(data, side_pixels=170).quarters() == UPRIGHT


def test_a_broken_picture_beside_is_passed_over() -> None:
    assert drawn(dng(preview=camera_jpeg()[:300])).quarters() in (UPRIGHT, CAMERAS)
    assert drawn(dng(preview=b"\xff\xd8 no picture")).quarters() == UPRIGHT


def test_it_is_as_large_as_it_should_be() -> None:
    assert drawn(dng(), side_pixels=64).picture.size == (64, 48)


WHOLE = dng()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (WHOLE[: len(WHOLE) // 2], CUT_OFF),
        (WHOLE[:500], CUT_OFF),
        (b"FUJIFILMCCD-RAW 0201", CUT_OFF),
        (tiff((0x828E, LONG, 0)) + bytes(10_000), UNDRAWABLE),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(10_000), UNDRAWABLE),
    ],
)
def test_what_cannot_be_shown_is_said(data: bytes, sentence: str) -> None:
    assert refused(data) == sentence


def test_it_has_one_page() -> None:
    assert refused(WHOLE, 2) == "The document has no page 2: it has 1."


@pytest.mark.parametrize(
    ("data", "is_one"),
    [
        (WHOLE, True),
        (dng(preview=camera_jpeg()), True),
        (b"II*\0\x10\0\0\0CR\x02\0", True),
        (b"IIRO\x08\0\0\0", True),
        (b"IIU\0\x18\0\0\0", True),
        (b"FUJIFILMCCD-RAW ", True),
        (b"\0\0\0\x18ftypcrx ", True),
        (b"FOVb", True),
        (tiff((0x0106, SHORT, 32803)), True),
        (tiff((0x0106, SHORT, 34892), order=">"), True),
        (tiff((0x0103, SHORT, 34713), order=">"), True),
        (tiff((0x0103, SHORT, 6), (0x010F, LONG, 0), (0x014A, LONG, 0)), True),
        (tiff((0x0103, SHORT, 1), (0x0106, SHORT, 2)), False),
        (tiff((0x0103, SHORT, 5), (0x010F, LONG, 0)), False),
        (tiff((0x014A, LONG, 8)), False),
        (b"II*\0", False),
        (b"II*\0\xff\xff\xff\xff", False),
        (b"", False),
    ],
)
def test_raw_photographs_are_told_by_their_bytes(data: bytes, *, is_one: bool) -> None:
    kind = kind_of(data)

    assert (kind is not None and kind.name == "raw") is is_one


@given(st.binary(), st.integers(0, 40))
def test_any_bytes_are_looked_at(data: bytes, first: int) -> None:
    for head in (b"", b"II*\0" + bytes([first, 0, 0, 0]), b"MM\0*\0\0\0" + bytes([first])):
        assert Raw().is_one(Ends(head + data, b"")) in {True, False}
