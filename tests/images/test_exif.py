"""EXIF data of originals: the tags that count, whatever the rest is."""

import io
import struct
import time

import hostile
import images
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from imgprocessor.config.settings import OriginalsSettings
from imgprocessor.images.decode import open_original
from imgprocessor.images.formats.exif import ARTIST, COPYRIGHT, Exif, read_exif, write_exif

BYTE, ASCII, SHORT, LONG, FLOAT = 1, 2, 3, 4, 11


@pytest.mark.parametrize(
    ("kind", "value", "orientation"),
    [
        (SHORT, b"\6\0", 6),
        (SHORT, b"\x08\0", 8),
        (BYTE, b"\3", 3),
        (LONG, b"\5\0\0\0", 5),
        (SHORT, b"\0\0", 1),
        (SHORT, b"\x09\0", 1),
        (SHORT, b"\xff\xff", 1),
        (ASCII, b"6\0", 1),
        (FLOAT, b"\0\0\xc0@", 1),
        (99, b"\6\0", 1),
    ],
)
def test_an_orientation_counts_where_it_makes_sense(
    kind: int, value: bytes, orientation: int
) -> None:
    assert read_exif(hostile.orientation(kind, value)).orientation == orientation


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders_are_read(order: str) -> None:
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    entry = struct.pack(f"{order}HHHIH", 1, 0x0112, SHORT, 1, 7) + bytes(6)

    assert read_exif(head + entry).orientation == 7


def test_it_says_what_pillow_wrote() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 4
    exif[ExifTags.Base.Copyright] = "(c) Somebody"
    exif[ExifTags.Base.Artist] = "Me"
    exif[ExifTags.Base.Software] = "x" * 5000

    read = read_exif(exif.tobytes())

    assert read == Exif(4, ((COPYRIGHT, "(c) Somebody"), (ARTIST, "Me")))


@pytest.mark.parametrize(
    "name", ["Ren\u00e9e \u674e", "Somebody", "caf\u00e9".encode().decode("latin-1")]
)
def test_a_name_is_written_as_it_was_read(name: str) -> None:
    """Whether the original has it in UTF-8, as cameras write it, or in Latin-1."""
    data = name.encode()
    place = struct.pack("<I", 26)
    read = read_exif(hostile.exif((ARTIST, ASCII, len(data) + 1, place), data=data + b"\0"))
    assert read.copyright == ((ARTIST, data.decode("latin-1")),)

    written = write_exif(read.copyright)

    assert data + b"\0" in written
    assert read_exif(written) == read


def test_a_text_is_cut() -> None:
    place = struct.pack("<I", 26)
    data = hostile.exif((COPYRIGHT, ASCII, 70_000, place), data=b"c" * 70_000)

    assert read_exif(data).copyright == ((COPYRIGHT, "c" * 1000),)


def test_a_text_that_goes_beyond_the_end_counts_as_absent() -> None:
    data = hostile.exif((COPYRIGHT, ASCII, 51, struct.pack("<I", 26)), data=b"c" * 50)

    assert read_exif(data).copyright == ()


@pytest.mark.parametrize(
    ("xmp", "orientation"),
    [
        ('<rdf:Description tiff:Orientation="6"/>', 6),
        ("<tiff:Orientation>8</tiff:Orientation>", 8),
        ('tiff:Orientation="9"', 1),
        ("", 1),
    ],
)
def test_without_exif_data_xmp_knows_the_orientation(xmp: str, orientation: int) -> None:
    assert read_exif(b"", xmp).orientation == orientation
    assert read_exif(hostile.orientation(SHORT, b"\3\0"), xmp).orientation == 3


@given(st.binary(max_size=200), st.sampled_from([b"", b"II*\0\x08\0\0\0", b"Exif\0\0MM\0*"]))
def test_whatever_comes_there_is_an_answer(data: bytes, head: bytes) -> None:
    assert 1 <= read_exif(head + data).orientation <= 8


@pytest.mark.parametrize(
    "data",
    [
        hostile.overlapping(2700, 32_000),
        hostile.overlapping(40_000, 500_000),
        b"Exif\0\0" * 150_000,
        b"II*\0\x08\0\0\0\xff\xff" + bytes(1_000_000),
        hostile.exif(
            *[(COPYRIGHT, ASCII, 900_000, struct.pack("<I", 0))] * 5000, data=bytes(10**6)
        ),
    ],
)
def test_nothing_in_it_takes_long(data: bytes) -> None:
    begin = time.process_time()
    read_exif(data)

    assert time.process_time() - begin < 0.2


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_pillows_own_reader_is_never_called(
    image_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It copies every value, which may take much memory."""
    file = images.encoded(
        images.four_colours((64, 48)), image_format, exif=hostile.orientation(SHORT, b"\6\0")
    )
    monkeypatch.setattr(Image.Exif, "load", lambda *_: pytest.fail("called"))

    opened = open_original(io.BytesIO(file), OriginalsSettings())

    assert opened.decode(1).size == (64, 48)
    assert opened.metadata.orientation == 6
