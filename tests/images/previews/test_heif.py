"""HEIFs: the picture that viewers show first, upright, in its colours; and broken ones."""

import io

import pytest
from drawn_documents import BLUE, GREEN, RED, WHITE, drawn, kind_of, refused
from hypothesis import given
from hypothesis import strategies as st
from photographs import Item, box, extent, grid_item, heif, icc, scene_item, turned
from PIL import ImageCms

from imgprocessor.images.previews.heif import Heif
from imgprocessor.images.previews.kind import CUT_OFF, DAMAGED, TOO_LARGE, Ends

UPRIGHT = [RED, GREEN, BLUE, WHITE]
MIRRORED = box(b"imir", b"\1")


@pytest.mark.parametrize(
    ("properties", "size", "quarters"),
    [
        ((), (64, 48), UPRIGHT),
        ((turned(1),), (48, 64), [GREEN, WHITE, RED, BLUE]),
        ((turned(2),), (64, 48), [WHITE, BLUE, GREEN, RED]),
        ((turned(3),), (48, 64), [BLUE, RED, WHITE, GREEN]),
        ((MIRRORED,), (64, 48), [GREEN, RED, WHITE, BLUE]),
    ],
)
def test_it_is_upright(
    properties: tuple[bytes, ...], size: tuple[int, int], quarters: list[str]
) -> None:
    shown = drawn(heif([scene_item(*properties)]))

    assert (shown.picture.format, shown.picture.size, shown.quarters(), shown.pages) == (
        *("JPEG", size),
        *(quarters, 1),
    )


def test_it_is_as_large_as_it_should_be_and_never_larger_than_it_is() -> None:
    assert drawn(heif(), side_pixels=32).picture.size == (32, 24)
    assert drawn(heif(), side_pixels=4000).picture.size == (64, 48)


def test_the_primary_picture_is_the_first_page() -> None:
    data = heif([scene_item(turned(1)), scene_item(), scene_item(turned(3))], primary=2)
    sizes = [drawn(data, number).picture.size for number in (1, 2, 3)]

    assert (sizes, drawn(data).pages) == ([(64, 48), (48, 64), (48, 64)], 3)
    assert drawn(data, 2).quarters() == [GREEN, WHITE, RED, BLUE]
    assert refused(data, 4) == "The document has no page 4: it has 3."


def test_tiles_are_one_picture() -> None:
    tiles = [scene_item(hidden=True)] * 4
    shown = drawn(heif([grid_item(2, 2, 128, 96), *tiles], references={(b"dimg", 1): [2, 3, 4, 5]}))

    assert (shown.picture.size, shown.pages) == ((128, 96), 1)
    assert [shown.at(x, y) for y in (0.125, 0.375) for x in (0.125, 0.375)] == UPRIGHT
    assert [shown.at(x, y) for y in (0.625, 0.875) for x in (0.625, 0.875)] == UPRIGHT


def test_a_thumbnail_is_no_page() -> None:
    data = heif([scene_item(), scene_item(hidden=True)], references={(b"thmb", 2): [1]})

    assert drawn(data).pages == 1


def test_its_profile_is_kept() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()

    assert drawn(heif([scene_item(icc(profile))])).picture.info["icc_profile"] == profile
    assert "icc_profile" not in drawn(heif()).picture.info


WHOLE = heif()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (WHOLE[:-60], CUT_OFF),
        (WHOLE[: len(WHOLE) // 2], CUT_OFF),
        (WHOLE[:40], CUT_OFF),
        (WHOLE[:24], DAMAGED),
        (WHOLE.replace(b"iloc", b"xxxx"), DAMAGED),
        (WHOLE.replace(b"hvcC", b"xxxx"), DAMAGED),
        (heif([grid_item(2, 2, 128, 96)], references={(b"dimg", 1): [1, 1, 1, 1]}), DAMAGED),
        (heif([Item(b"grid", b"", (extent(64, 48),))]) + bytes(8), DAMAGED),
        (
            heif(
                [grid_item(200, 200, 60_000, 60_000), scene_item(hidden=True)],
                references={(b"dimg", 1): [2] * 40_000},
            ),
            TOO_LARGE,
        ),
    ],
    ids=[
        *("cut", "half", "head", "brands", "no places", "no decoder", "itself", "no grid", "huge"),
    ],
)
def test_what_cannot_be_shown_is_said(data: bytes, sentence: str) -> None:
    assert refused(data) == sentence


@pytest.mark.parametrize(
    ("data", "is_one"),
    [
        (WHOLE, True),
        (heif(major=b"mif1"), True),
        (heif(major=b"msf1", brands=b"heix"), True),
        (heif(major=b"avif", brands=b"mif1heic"), False),
        (heif(major=b"mif1", brands=b"avifmif1"), False),
        (heif(major=b"isom", brands=b"iso2mp41"), False),
        (heif(major=b"crx ", brands=b"isom"), False),
        (b"\0\0\0\x18ftypheic", True),
        (b"", False),
        (b"\0\0\0\x18ftyp", False),
    ],
)
def test_heifs_are_told_by_their_brands(data: bytes, *, is_one: bool) -> None:
    kind = kind_of(data)

    assert (kind is not None and kind.name == "heif") is is_one


@given(st.binary())
def test_any_bytes_are_looked_at(data: bytes) -> None:
    for around in (data, b"\0\0\0\xffftyp" + data, io.BytesIO(data).read(8)):
        assert Heif().is_one(Ends(around, b"")) in {True, False}
