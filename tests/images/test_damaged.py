"""Originals that end too early, or have animations that do: what there is of them is shown."""

import errno
import functools
import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace

import hostile
import images
import pytest
from full_plan import FULL
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from imgprocessor.config.settings import OriginalsSettings
from imgprocessor.errors import BrokenOriginal, ImageError, OriginalsUnavailable
from imgprocessor.images.decode import Metadata, open_original
from imgprocessor.timing import Timings

SIZE = WIDTH, HEIGHT = 160, 120
TEXTURE = images.texture(SIZE)
ADAM7 = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)


def decoded(file: bytes, draft: int = 1) -> tuple[Metadata, Image.Image]:
    opened = open_original(io.BytesIO(file), OriginalsSettings())
    image = opened.decode(draft)
    return opened.metadata, image


def interlaced_png(image: Image.Image) -> bytes:
    """An RGB picture in seven passes, unfiltered; Pillow writes none."""
    width, height = image.size
    rows = b""
    for left, top, across, down in ADAM7:
        for y in range(top, height, down):
            line = [image.crop((x, y, x + 1, y + 1)) for x in range(left, width, across)]
            rows += (b"\0" + b"".join(pixel.tobytes() for pixel in line)) if line else b""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)
    begin = b"\x89PNG\r\n\x1a\n" + hostile.chunk(b"IHDR", header)
    return begin + hostile.chunk(b"IDAT", zlib.compress(rows)) + hostile.chunk(b"IEND", b"")


MAKERS: dict[str, Callable[[], bytes]] = {
    "baseline.jpg": lambda: images.encoded(TEXTURE, "JPEG", quality=90),
    "grey.jpg": lambda: images.encoded(TEXTURE.convert("L"), "JPEG", quality=90),
    "cmyk.jpg": lambda: images.encoded(TEXTURE.convert("CMYK"), "JPEG", quality=90),
    "progressive.jpg": lambda: images.encoded(TEXTURE, "JPEG", quality=90, progressive=True),
    "colours.png": lambda: images.encoded(TEXTURE, "PNG"),
    "alpha.png": lambda: images.encoded(TEXTURE.convert("RGBA"), "PNG"),
    "palette.png": lambda: images.encoded(TEXTURE.quantize(64), "PNG"),
    "grey.png": lambda: images.encoded(TEXTURE.convert("L"), "PNG"),
    "deep.png": lambda: images.encoded(TEXTURE.convert("I").convert("I;16"), "PNG"),
    "bits.png": lambda: images.encoded(TEXTURE.convert("1"), "PNG"),
    "interlaced.png": lambda: interlaced_png(TEXTURE),
    "rows.gif": lambda: images.encoded(TEXTURE.quantize(64), "GIF", interlace=0),
    "clear.gif": lambda: images.encoded(TEXTURE.quantize(64), "GIF", interlace=0, transparency=255),
    "interlaced.gif": lambda: images.encoded(TEXTURE.quantize(64), "GIF", interlace=1),
    "lossy.webp": lambda: images.encoded(TEXTURE, "WEBP"),
    "lossless.webp": lambda: images.encoded(TEXTURE, "WEBP", lossless=True),
}
FILES = {name: functools.cache(make) for name, make in MAKERS.items()}
"""Each is made once."""

# Cut after one tenth, two tenths and so on: how many percent of the rows are those of the whole
# picture.
ROWS_PERCENT = {
    "baseline.jpg": (0, 12, 12, 25, 39, 52, 65, 65, 79),
    "grey.jpg": (0, 13, 20, 33, 46, 53, 66, 73, 86),
    "cmyk.jpg": (6, 13, 26, 33, 46, 53, 66, 73, 86),
    "colours.png": (9, 19, 29, 39, 49, 59, 69, 79, 89),
    "alpha.png": (9, 19, 29, 39, 49, 59, 69, 79, 89),
    "palette.png": (7, 16, 27, 37, 48, 58, 68, 79, 89),
    "grey.png": (9, 19, 29, 39, 49, 59, 69, 79, 89),
    "deep.png": (8, 18, 28, 38, 48, 58, 69, 79, 89),
    "bits.png": (4, 15, 25, 36, 46, 57, 68, 79, 90),
    "rows.gif": (5, 16, 27, 38, 47, 58, 69, 77, 88),
    "clear.gif": (5, 16, 27, 38, 47, 58, 69, 77, 88),
}
# Of those that get finer instead: how far pixels are from it on average, of 255.
DIFFERENCE = {
    "progressive.jpg": (21, 18, 13, 11, 8, 8, 6, 3, 1),
    "interlaced.png": (28, 22, 13, 13, 13, 8, 8, 8, 8),
    # The first of four passes is not whole after one tenth.
    "interlaced.gif": (57, 23, 16, 16, 16, 7, 7, 7, 7),
}
# libwebp gives nothing of half a file, as it is called here.
NOTHING = ("lossy.webp", "lossless.webp")
TOLERANCE = 3
"""Another encoder's."""


def cut(name: str, tenth: int) -> bytes:
    file = FILES[name]()
    return file[: len(file) * tenth // 10]


def row(image: Image.Image, y: int) -> bytes:
    return image.crop((0, y, WIDTH, y + 1)).tobytes()


def leading_rows(image: Image.Image, whole: Image.Image) -> int:
    one, other = image.convert("RGB"), whole.convert("RGB")
    same = [row(one, y) == row(other, y) for y in range(HEIGHT)]
    return same.index(False) if False in same else HEIGHT


@pytest.mark.parametrize("name", FILES)
def test_a_whole_original_is_not_damaged(name: str) -> None:
    metadata, image = decoded(FILES[name]())

    assert not metadata.is_damaged
    assert image.size == SIZE


@pytest.mark.parametrize("tenth", range(1, 10))
@pytest.mark.parametrize("name", ROWS_PERCENT)
def test_what_was_there_before_the_end_is_shown(name: str, tenth: int) -> None:
    whole = decoded(FILES[name]())[1]
    metadata, image = decoded(cut(name, tenth))

    assert metadata.is_damaged
    rows = leading_rows(image, whole)
    assert abs(rows * 100 // HEIGHT - ROWS_PERCENT[name][tenth - 1]) <= TOLERANCE
    rest = image.crop((0, HEIGHT - 2, WIDTH, HEIGHT))
    if not name.endswith("jpg"):
        assert rest.getchannel("A").getextrema() == (0, 0)
        assert image.crop((0, 0, WIDTH, rows)).getchannel("A").getextrema() == (255, 255)
    elif name != "cmyk.jpg":
        assert {*rest.convert("RGB").get_flattened_data()} == {(128, 128, 128)}


@pytest.mark.parametrize("tenth", range(1, 10))
@pytest.mark.parametrize("name", DIFFERENCE)
def test_what_gets_finer_is_shown_as_fine_as_it_came(name: str, tenth: int) -> None:
    whole = decoded(FILES[name]())[1]
    metadata, image = decoded(cut(name, tenth))

    assert metadata.is_damaged
    difference = images.mean_difference(image, whole)
    assert abs(difference - DIFFERENCE[name][tenth - 1]) <= TOLERANCE


@pytest.mark.parametrize("tenth", range(1, 10))
@pytest.mark.parametrize("name", NOTHING)
def test_half_a_webp_is_broken(name: str, tenth: int) -> None:
    with pytest.raises(BrokenOriginal):
        decoded(cut(name, tenth))


@pytest.mark.parametrize("draft", [2, 4, 8])
@pytest.mark.parametrize("name", [*ROWS_PERCENT, *DIFFERENCE])
def test_half_an_original_is_shown_reduced(name: str, draft: int) -> None:
    metadata, image = decoded(cut(name, 5), draft)
    full = decoded(cut(name, 5))[1].reduce(draft)

    assert metadata.is_damaged
    assert image.size == full.size
    assert images.mean_difference(image, full) < 6


BEGINNINGS = {
    # How many bytes are there of the pixels: so few that no row is.
    "baseline.jpg": (b"\xff\xda", 14),
    "progressive.jpg": (b"\xff\xda", 14),
    "colours.png": (b"IDAT", 40),
    "palette.png": (b"IDAT", 40),
    "interlaced.png": (b"IDAT", 40),
    "rows.gif": (b"\0\0\0\0" + struct.pack("<HH", *SIZE), 60),
    "interlaced.gif": (b"\0\0\0\0" + struct.pack("<HH", *SIZE), 60),
}


@pytest.mark.parametrize("name", BEGINNINGS)
def test_where_no_row_is_there_the_original_is_broken(name: str) -> None:
    begin, more = BEGINNINGS[name]
    file = FILES[name]()

    for end in (10, 33, file.index(begin), file.index(begin) + more):
        with pytest.raises(ImageError) as caught:
            decoded(file[:end])
        assert caught.value.status == 422


def test_a_progressive_jpeg_may_end_anywhere_in_what_is_between_scans() -> None:
    """Libjpeg gives up over half a table or half a scan's header."""
    file = FILES["progressive.jpg"]()
    second = file.index(b"\xff\xda", file.index(b"\xff\xda") + 2)
    first_table = file.rindex(b"\xff\xc4", 0, second)

    for end in range(first_table, second + 14):
        metadata, image = decoded(file[:end])
        assert metadata.is_damaged
        assert images.mean_difference(image, TEXTURE) < 30


@pytest.mark.parametrize("behind", [b"", b"\n", b"\xff\xe1\xff\xff", b"\xff\xc4" * 40_000])
def test_what_is_around_a_whole_jpeg_does_not_matter(behind: bytes) -> None:
    """Not even where it looks like half a segment."""
    before = hostile.segment(0xED, b"\0\xff\xc4\xff\xf0" * 13_000) * 2

    metadata, image = decoded(hostile.flat_jpeg((64, 48), before) + behind)

    assert not metadata.is_damaged
    assert image.size == (64, 48)


def test_pixels_that_are_all_there_are_not_damaged() -> None:
    file = FILES["colours.png"]()

    for end in (len(file) - 12, len(file) - 3):
        assert decoded(file[:end])[0].is_damaged is False


@given(name=st.sampled_from([*FILES]), end=st.floats(0, 1), noise=st.binary(max_size=20))
def test_wherever_it_ends_it_is_shown_or_refused(name: str, end: float, noise: bytes) -> None:
    file = FILES[name]()
    try:
        image = decoded(file[: int(end * len(file))] + noise)[1]
    except ImageError as error:
        assert error.status == 422
    else:
        assert image.size == SIZE


@pytest.mark.parametrize("name", ["colours.png", "interlaced.png"])
def test_bad_data_ends_a_picture_as_the_end_of_the_file_does(name: str) -> None:
    whole = decoded(FILES[name]())[1]
    file = bytearray(FILES[name]())
    middle = len(file) // 2
    file[middle : middle + 400] = b"\xff" * 400

    metadata, image = decoded(bytes(file))

    assert metadata.is_damaged
    assert images.mean_difference(image.crop((0, 0, WIDTH, 40)), whole.crop((0, 0, WIDTH, 40))) < 20


class _Failing(io.BytesIO):
    """A disk that fails, from a moment on, where what it could read ends."""

    fails = False

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if self.fails and self.tell() == len(self.getbuffer()):
            raise OSError(errno.EIO, "input/output error")
        return data


@pytest.mark.parametrize("name", ["baseline.jpg", "colours.png", "rows.gif"])
def test_a_disk_that_fails_is_no_end_of_a_file(name: str) -> None:
    file = cut(name, 5)
    opened = open_original(io.BytesIO(file), OriginalsSettings())
    assert opened.decode(1).size == SIZE

    disk = _Failing(file)
    failing = open_original(disk, OriginalsSettings())
    disk.fails = True
    with pytest.raises(OriginalsUnavailable):
        failing.decode(1)


def test_a_gif_whose_frame_is_smaller_shows_its_part() -> None:
    """Rows are counted within the frame; what is outside is transparent."""
    gif = FILES["rows.gif"]()
    place = gif.index(b",\0\0\0\0" + struct.pack("<HH", *SIZE))
    moved = bytearray(gif[: len(gif) // 2])
    moved[6:10] = struct.pack("<HH", 200, 180)
    moved[place + 1 : place + 5] = struct.pack("<HH", 30, 40)

    metadata, image = decoded(bytes(moved))

    assert metadata.is_damaged
    left, top, right, bottom = image.getchannel("A").getbbox() or (0, 0, 0, 0)
    assert (left, top, right) == (30, 40, 190)
    assert 90 < bottom < 110


def test_the_rest_is_the_background_where_there_is_no_alpha() -> None:
    plan = replace(FULL, pixels=replace(FULL.pixels, background="#20a030"), formats=("jpeg",))
    rendition = images.rendered(cut("colours.png", 5), plan, Timings())

    assert rendition.is_damaged
    red, green, blue = images.decoded(rendition.body).getpixel((80, 110))  # type: ignore[misc]
    assert abs(red - 0x20) + abs(green - 0xA0) + abs(blue - 0x30) < 20


# Headers that lie.


def test_data_for_more_pixels_than_the_header_says_does_not_matter() -> None:
    file = FILES["colours.png"]()
    header = struct.pack(">II", WIDTH, 60)
    lying = file[:8] + hostile.chunk(b"IHDR", header + file[24:29]) + file[33:]

    metadata, image = decoded(lying)

    assert image.size == (WIDTH, 60)
    assert leading_rows_of(image, TEXTURE, 60)
    assert not metadata.is_damaged


def test_data_for_less_pixels_than_the_header_says_are_the_first_rows() -> None:
    file = FILES["colours.png"]()
    header = struct.pack(">II", WIDTH, 240)
    lying = file[:8] + hostile.chunk(b"IHDR", header + file[24:29]) + file[33:]

    metadata, image = decoded(lying)

    assert image.size == (WIDTH, 240)
    assert metadata.is_damaged
    assert image.getchannel("A").getbbox() == (0, 0, WIDTH, HEIGHT)


def leading_rows_of(image: Image.Image, whole: Image.Image, rows: int) -> bool:
    return all(row(image, y) == row(whole, y) for y in range(rows))


# Animations: the default picture is shown, whatever is wrong with the rest.


def control(number: int, size: tuple[int, int] = (96, 64)) -> bytes:
    return hostile.chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, *size, 0, 0, 1, 10, 0, 0))


def frame(number: int) -> bytes:
    pixels = zlib.compress((b"\0" + b"\xff" * 96) * 64)
    return hostile.chunk(b"fdAT", struct.pack(">I", number) + pixels)


def frames(count: int) -> bytes:
    return hostile.chunk(b"acTL", struct.pack(">II", count, 0))


APNGS = {
    "right": (frames(2) + control(0), control(1) + frame(2)),
    "fewer frames than it says": (frames(3) + control(0), control(1) + frame(2)),
    "more frames than it says": (frames(1) + control(0), control(1) + frame(2)),
    "no frames": (frames(0) + control(0), b""),
    "a picture beside the animation": (frames(1), control(0) + frame(1)),
    "no control": (frames(2), frame(0)),
    "no control for the second": (frames(2) + control(0), frame(1)),
    "numbers in the wrong order": (frames(2) + control(7), control(3) + frame(1)),
    "the same number twice": (frames(2) + control(0), control(0) + frame(0)),
    "two counts": (frames(2) + frames(2) + control(0), control(1) + frame(2)),
    "a count that is cut": (hostile.chunk(b"acTL", b"\0\0"), b""),
    "a control that is cut": (frames(2) + hostile.chunk(b"fcTL", b"\0\0"), b""),
    "a frame that is cut": (frames(2) + control(0), control(1) + hostile.chunk(b"fdAT", b"\0")),
    "a frame outside": (frames(2) + control(0, (9000, 9000)), b""),
    "a frame of a part": (frames(2) + control(0, (9, 9)), control(1) + frame(2)),
    "no count": (control(0), control(1) + frame(2)),
    "nonsense for pixels": (
        frames(2) + control(0), control(1) + hostile.chunk(b"fdAT", b"\0\0\0\2nonsense")
    ),
}  # fmt: skip


@pytest.mark.parametrize("wrong", APNGS)
def test_of_an_animated_png_the_default_picture_is_shown(wrong: str) -> None:
    before, after = APNGS[wrong]

    metadata, image = decoded(hostile.flat_png((96, 64), 8, 0, before, after))

    assert not metadata.is_damaged
    assert image.size == (96, 64)
    assert image.getextrema() == (0, 0)


# A colour that means transparent.


def keyed_png(depth: int, colour: int, key: bytes, pixels: bytes) -> bytes:
    """One row, and a second of zeros."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    width = len(pixels) * 8 // (depth * channels)
    palette = bytes(range(30)) if colour == 3 else b""
    chunks = (hostile.chunk(b"PLTE", palette) if palette else b"") + (
        hostile.chunk(b"tRNS", key) if key else b""
    )
    data = zlib.compress(b"\0" + pixels + b"\0" + bytes(len(pixels)))
    begin = hostile.png_header((width, 2), depth, colour) + chunks
    return begin + hostile.chunk(b"IDAT", data) + hostile.chunk(b"IEND", b"")


def be16(*values: int) -> bytes:
    return struct.pack(f">{len(values)}H", *values)


# Depth, colour type, the colour, one row; and what comes out: red or grey, and alpha.
KEYED: dict[str, tuple[int, int, bytes, bytes, list[tuple[int, int]]]] = {
    "16 bits of grey": (
        16, 0, be16(0x1234), be16(0x1234, 0x1235, 0x1334, 0xFFFF),
        [(18, 0), (18, 255), (19, 255), (255, 255)],
    ),
    "16 bits of black": (16, 0, be16(0), be16(0, 1, 256), [(0, 0), (0, 255), (1, 255)]),
    "16 bits of colours": (
        16, 2, be16(0x1234, 0x5678, 0x9ABC),
        be16(*(0x1234, 0x5678, 0x9ABC), *(0x1235, 0x5678, 0x9ABC), *(0x1234, 0x5678, 0x9BBC)),
        [(18, 0), (18, 255), (18, 255)],
    ),
    "8 bits of grey": (8, 0, be16(7), bytes((7, 8, 255)), [(7, 0), (8, 255), (255, 255)]),
    "8 bits of grey, more in the colour": (8, 0, be16(0x107), bytes((7, 8)), [(7, 0), (8, 255)]),
    "8 bits of colours": (
        8, 2, be16(1, 2, 3), bytes((1, 2, 3, 1, 2, 4)), [(1, 0), (1, 255)]
    ),
    "4 bits of grey": (4, 0, be16(5), b"\x56\xf0", [(85, 0), (102, 255), (255, 255), (0, 255)]),
    "2 bits of grey": (2, 0, be16(2), b"\x1b", [(0, 255), (85, 255), (170, 0), (255, 255)]),
    "1 bit of grey": (1, 0, be16(1), b"\xa0", [(255, 0), (0, 255), (255, 0), (0, 255)]),
    "1 bit of black": (1, 0, be16(0), b"\xa0", [(255, 255), (0, 0), (255, 255), (0, 0)]),
    "a palette": (8, 3, bytes((0, 255, 128)), bytes((0, 1, 2, 3)),
                  [(0, 0), (3, 255), (6, 128), (9, 255)]),
    "16 bits of grey and alpha": (
        16, 4, b"", be16(0x1234, 0, 0xFFFF, 0x8000), [(18, 0), (255, 128)]
    ),
    "16 bits of colours and alpha": (
        16, 6, b"", be16(0x1234, 1, 2, 0, 0xFFFF, 1, 2, 0x8000), [(18, 0), (255, 128)]
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KEYED)
def test_only_the_very_colour_is_transparent(kind: str) -> None:
    depth, colour, key, pixels, expected = KEYED[kind]

    metadata, image = decoded(keyed_png(depth, colour, key, pixels))

    assert not metadata.is_damaged
    rgba = image.convert("RGBA").crop((0, 0, len(expected), 1)).get_flattened_data()
    assert [(red, alpha) for red, _, _, alpha in rgba] == expected  # type: ignore[misc]


def test_half_a_picture_with_such_a_colour_is_shown() -> None:
    rows = (b"\0" + be16(0x1234, 0x1235)) * 30
    for colour, width in ((0, 2), (2, 1)):
        key = be16(0x1234) if colour == 0 else be16(0x1234, 0x1235, 0x1234)
        rows = (b"\0" + be16(0x1234, 0x1235) if colour == 0 else b"\0" + key) * 30
        begin = hostile.png_header((width, 60), 16, colour) + hostile.chunk(b"tRNS", key)

        metadata, image = decoded(begin + hostile.chunk(b"IDAT", zlib.compress(rows)))

        assert metadata.is_damaged
        expected = (1, 0, 2, 30) if colour == 0 else None
        assert image.getchannel("A").getbbox() == expected
