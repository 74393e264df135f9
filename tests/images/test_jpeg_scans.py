"""Progressive JPEG: what is passed over where the decoder reduces, and what that loses."""

import io
import random

import hostile
import images
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageStat
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from imgprocessor.images.formats import jpeg
from imgprocessor.images.formats.jpeg import JPEG_ORIGINAL
from imgprocessor.images.formats.jpeg_scans import Edit, edits_for

COLOURED = images.texture((640, 480))
GREY = COLOURED.convert("L")


def progressive(image: Image.Image, **options: object) -> bytes:
    return images.encoded(image, "JPEG", progressive=True, **{"quality": 90, **options})


def decoded(file: bytes, draft: int) -> Image.Image:
    return reduced(JPEG_ORIGINAL.decoder(io.BytesIO(file)), draft)


def with_all_scans(file: bytes, draft: int) -> Image.Image:
    return reduced(JpegImageFile(io.BytesIO(file)), draft)


def reduced(image: ImageFile, draft: int) -> Image.Image:
    image.draft(None, (image.width // draft, image.height // draft))
    image.load()
    return image


def edits_of(file: bytes, draft: int, max_bytes: int = 1 << 20) -> list[Edit]:
    return edits_for(io.BytesIO(file), draft, max_bytes)


def applied(file: bytes, edits: list[Edit]) -> bytes:
    parts, place = [], 0
    for edit in edits:
        parts += [file[place : edit.begin], edit.instead]
        place = edit.end
    return b"".join([*parts, file[place:]])


def scans(file: bytes, draft: int) -> list[tuple[int, int, int]]:
    """The scans passed over: component, first coefficient, bit positions."""
    found = []
    for edit in edits_of(file, draft):
        if file[edit.begin : edit.begin + 2] == b"\xff\xda" and not edit.instead:
            assert file[edit.begin + 4] == 1
            found.append((file[edit.begin + 5], file[edit.begin + 7], file[edit.begin + 9]))
    return found


Y, CB, CR = 1, 2, 3
LAST = 0x10
"""The scan of the last bit."""
ALL_OF_Y = [(Y, 1, 0x02), (Y, 6, 0x02), (Y, 1, 0x21), (Y, 1, LAST)]
ALL_OF_CHROMA = [(CR, 1, 0x01), (CB, 1, 0x01), (CR, 1, LAST), (CB, 1, LAST)]


@pytest.mark.parametrize(
    ("subsampling", "draft", "passed"),
    [
        ("4:2:0", 1, []),
        ("4:2:0", 2, [(Y, 1, LAST)]),
        ("4:2:0", 4, [(Y, 1, LAST), (CB, 1, LAST), (CR, 1, LAST)]),
        ("4:2:0", 8, [*ALL_OF_Y, (CB, 1, LAST), (CR, 1, LAST)]),
        ("4:4:4", 2, [(Y, 1, LAST), (CB, 1, LAST), (CR, 1, LAST)]),
        ("4:4:4", 4, [(Y, 1, LAST), (CB, 1, LAST), (CR, 1, LAST)]),
        ("4:4:4", 8, [*ALL_OF_Y, *ALL_OF_CHROMA]),
        ("4:2:2", 8, [*ALL_OF_Y, *ALL_OF_CHROMA]),
    ],
)
def test_what_is_passed_over(
    subsampling: str, draft: int, passed: list[tuple[int, int, int]]
) -> None:
    file = progressive(COLOURED, subsampling=subsampling, quality=97)
    assert sorted(scans(file, draft)) == sorted(passed)


@pytest.mark.parametrize(
    ("file", "draft"),
    [
        (images.encoded(COLOURED, "JPEG"), 8),
        (progressive(COLOURED)[:-9000], 8),
        (progressive(COLOURED, quality=30), 2),
        (progressive(COLOURED, quality=40), 4),
        (progressive(COLOURED, quality=80), 2),
        (b"", 8),
        (b"\xff\xd8\xff\xd9", 8),
    ],
    ids=[
        "one scan",
        "ends too early",
        "coarse",
        "coarse, a quarter",
        "fine but for texture",
        "empty",
        "no frame",
    ],
)
def test_where_nothing_is(file: bytes, draft: int) -> None:
    assert edits_of(file, draft) == []


def test_no_more_is_held_than_is_allowed() -> None:
    """Whatever is behind the picture; where its end is not seen, nothing is passed over."""
    file = progressive(GREY)
    assert edits_of(file + bytes(1000), 8, len(file)) == edits_of(file, 8) != []
    assert edits_of(file, 8, len(file) - 1) == []


def test_no_more_is_held_than_was_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    known = []

    def edits(_: object, draft: int, max_bytes: int) -> list[Edit]:
        known.append((draft, max_bytes))
        return []

    monkeypatch.setattr(jpeg, "edits_for", edits)
    decoded(progressive(GREY), 4)

    assert known == [(4, 2 * 640 * 480)]


SCAN, EMPTY_COMMENT = b"\xff\xda", b"\xff\xfe\0\2"


@pytest.mark.parametrize(("count", "passed"), [(1000, ALL_OF_Y), (10_000, [])])
def test_in_too_many_segments_nothing_is_passed_over(
    count: int, passed: list[tuple[int, int, int]]
) -> None:
    """They may be nothing but empty comments between scans, which nobody else counts."""
    before, scan, last = progressive(GREY).rpartition(SCAN)
    file = before + count * EMPTY_COMMENT + scan + last
    assert sorted(scans(file, 8)) == sorted(passed)


DC, AC = (0, 0), (1, 63)


def grey(
    marker: int = 0xC2,
    names: bytes = b"\1",
    scans: tuple[tuple[int, int], ...] = (DC, AC),
    data: bytes = bytes(50),
) -> bytes:
    """Nothing but zeros: of all components the first coefficients, or of the first one others."""
    frame = bytearray(hostile.frame(marker, (64, 64), (0x11,) * len(names)))
    frame[10::3] = names
    file = b"\xff\xd8" + hostile.segment(0xDB, b"\0" + b"\x10" * 64) + frame
    file += hostile.one_symbol(0x00, 0) + hostile.one_symbol(0x10, 0)
    for first, last in scans:
        file += hostile.scan((*names,) if first == 0 else (names[0],), first, last, data)
    return file + b"\xff\xd9"


@pytest.mark.parametrize(
    ("file", "count"),
    [
        (grey(), 1),
        (grey(names=b"\1\2\3"), 1),
        (grey(0xCA, data=b""), 0),
        (grey(scans=(AC,)), 0),
        (grey(names=b"\1\1\1"), 0),
    ],
    ids=["usual", "of three", "in arithmetic code", "without DC", "of one name"],
)
def test_what_is_odd_is_decoded_as_ever(file: bytes, count: int) -> None:
    assert len(scans(file, 8)) == count
    assert decoded(file, 8).tobytes() == with_all_scans(file, 8).tobytes()


@pytest.mark.parametrize("quality", [40, 90])
def test_an_eighth_is_the_same_to_the_bit(quality: int) -> None:
    """All of it is in the DC scans; of a file of any quality."""
    file = progressive(GREY, quality=quality)
    assert scans(file, 8)
    assert decoded(file, 8).tobytes() == with_all_scans(file, 8).tobytes()


@pytest.mark.parametrize(("image", "draft"), [(GREY, 2), (GREY, 4), (COLOURED, 2), (COLOURED, 4)])
def test_what_is_lost_is_no_more_than_the_last_bit(image: Image.Image, draft: int) -> None:
    file = progressive(image)
    whole, quick = with_all_scans(file, draft), decoded(file, draft)
    lost = ImageStat.Stat(ImageChops.difference(whole, quick))

    assert 0 < max(lost.mean) < 3
    assert max(high for _, high in lost.extrema) < 24


def test_nothing_is_guessed_instead_of_what_is_left_out() -> None:
    """Two ways to keep libjpeg from that give the same pixels."""
    file = progressive(GREY)
    by_a_step, by_a_bit = (applied(file, edits_of(file, draft)) for draft in (4, 2))
    assert by_a_step != by_a_bit
    one, other = (with_all_scans(known, 4) for known in (by_a_step, by_a_bit))
    guessed = applied(file, [edit for edit in edits_of(file, 4) if not edit.instead])

    assert one.tobytes() == other.tobytes()
    assert one.tobytes() != with_all_scans(guessed, 4).tobytes()


FILES = [
    progressive(COLOURED.resize((90, 60)), subsampling=known, quality=quality)
    for known in ("4:2:0", "4:4:4")
    for quality in (60, 95)
]


@given(
    file=st.sampled_from(FILES),
    seed=st.integers(0, 1 << 32),
    flips=st.integers(0, 6),
    draft=st.sampled_from((2, 4, 8)),
)
def test_whatever_a_file_says_edits_lie_in_it_one_behind_the_other(
    file: bytes, seed: int, flips: int, draft: int
) -> None:
    chance, bad = random.Random(seed), bytearray(file)
    for _ in range(flips):
        bad[chance.randrange(len(bad))] = chance.choice((0, 1, 255, chance.randrange(256)))
    edits = edits_of(bytes(bad), draft)
    places = [place for edit in edits for place in (edit.begin, edit.end)]

    assert places == sorted(places)
    assert all(0 < place <= len(bad) for place in places)
