"""Files as they were sent: accepted as the pictures that they are, or refused; nothing else."""

import contextlib
import io
import itertools
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

import drawn
import hostile
import images
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageSequence

from imgprocessor.config.settings import OriginalsSettings
from imgprocessor.config.upload_settings import KeptMetadata
from imgprocessor.errors import BrokenOriginal, ImageError, OversizedOriginal, UnsupportedOriginal
from imgprocessor.geometry import Size
from imgprocessor.images.acceptance import AcceptedFile, accept
from imgprocessor.images.clean.extras import Extras
from imgprocessor.images.clean.gif import gif_frames
from imgprocessor.images.clean.png import PNG_SIGNATURE
from imgprocessor.images.clean.rewrite import clean
from imgprocessor.images.clean.tails import without_tails
from imgprocessor.images.decode import fault_of_the_original, open_original
from imgprocessor.images.formats.exif import Exif

LIMITS = OriginalsSettings()
SIZE = (96, 64)
SECRET = b"SECRET-4711"


def accepted(file: bytes, metadata: KeptMetadata = "none") -> AcceptedFile:
    return accept(file, LIMITS, metadata)


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x013B], exif[0x8298], exif[0x010F] = "Me", "(c) Somebody", SECRET.decode()
    return exif


def a_picture(image_format: str, **options: object) -> bytes:
    image = images.texture(SIZE)
    return images.encoded(
        image.quantize(64) if image_format == "GIF" else image, image_format, **options
    )


GOOD = {
    "jpeg": a_picture("JPEG", exif=exif_of(6)),
    "progressive": a_picture("JPEG", exif=exif_of(6), progressive=True),
    "png": a_picture("PNG", exif=exif_of(6)),
    "webp": a_picture("WEBP", exif=exif_of(6)),
    "lossless": a_picture("WEBP", exif=exif_of(6), lossless=True),
    "gif": a_picture("GIF"),
    "interlaced": a_picture("GIF", interlace=True),
}
FORMATS = {"progressive": "jpeg", "lossless": "webp", "interlaced": "gif"}


@pytest.mark.parametrize("metadata", ["none", "copyright", "all"])
@pytest.mark.parametrize("name", GOOD)
def test_a_picture_is_kept_as_it_is_shown(name: str, metadata: KeptMetadata) -> None:
    file = GOOD[name]

    kept = accepted(file, metadata)

    lies = kept.format != "gif"
    assert kept.format == FORMATS.get(name, name)
    assert kept.displayed == (Size(64, 96) if lies else Size(96, 64))
    assert not kept.is_animated
    assert images.decoded(kept.body).tobytes() == images.decoded(file).tobytes()
    known = open_original(io.BytesIO(kept.body), LIMITS).metadata
    assert known.orientation == (6 if lies else 1)
    owned = lies and metadata != "none"
    assert dict(known.copyright) == ({0x013B: "Me", 0x8298: "(c) Somebody"} if owned else {})
    assert accepted(kept.body, metadata) == kept


@pytest.mark.parametrize("metadata", ["none", "copyright"])
@pytest.mark.parametrize("name", GOOD)
def test_no_other_metadata_is_kept(name: str, metadata: KeptMetadata) -> None:
    assert SECRET not in accepted(GOOD[name], metadata).body


@pytest.mark.parametrize("name", GOOD)
@given(data=st.data())
def test_what_was_cut_off_is_refused(name: str, data: st.DataObject) -> None:
    """But for the byte behind all pictures of a GIF."""
    file = GOOD[name]
    most = len(file) - (2 if FORMATS.get(name, name) == "gif" else 1)
    end = data.draw(st.integers(0, most))

    with pytest.raises((BrokenOriginal, UnsupportedOriginal)):
        accepted(file[:end])


def _png_of(packed: bytes, before: bytes = b"") -> bytes:
    parts = (before, hostile.chunk(b"IDAT", packed), hostile.chunk(b"IEND", b""))
    return hostile.png_header((64, 64), 8, 0) + b"".join(parts)


_ROWS = random.Random(1).randbytes(65 * 64).replace(b"\0", b"\1")
_PACKED = zlib.compress(b"".join(b"\0" + _ROWS[at : at + 64] for at in range(0, 65 * 64, 65)))
DAMAGED = {
    "png-of-few-rows": _png_of(zlib.compress(zlib.decompress(_PACKED)[:1000])),
    "png-cut-in-its-rows": _png_of(_PACKED[:2000]),
    "png-with-bad-rows": _png_of(_PACKED[:2000] + bytes(2000)),
    "png-with-a-short-frame-header": _png_of(
        _PACKED, hostile.chunk(b"acTL", b"\0\0\0\1\0\0\0\0") + hostile.chunk(b"fcTL", bytes(6))
    ),
    "gif-of-few-pixels": hostile.gif_header((8, 8)) + hostile.gif_frame((8, 8)) + b";",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_whole_file_with_a_part_of_a_picture_is_refused(name: str) -> None:
    """Of most of them, what there is would be shown."""
    assert accepted(_png_of(_PACKED)).body == _png_of(_PACKED)

    with pytest.raises(BrokenOriginal):
        accepted(DAMAGED[name])


FALSE = {
    "empty": b"",
    "text": b"Not a picture.\n" * 100,
    "html": b"<!DOCTYPE html><script>alert(1)</script>",
    "zeros": bytes(1000),
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "tiff": b"II*\0\x08\0\0\0\1\0\0\1\3\0\1\0\0\0\x09\0\0\0",
    "bmp": b"BM" + bytes(12) + b"\x28\0\0\0\x09\0\0\0\x09\0\0\0\1\0\x18\0",
    "avif": b"\0\0\0\x20ftypavif\0\0\0\0avifmif1" + bytes(100),
}


@pytest.mark.parametrize("name", FALSE)
def test_what_is_no_picture_is_refused(name: str) -> None:
    with pytest.raises(UnsupportedOriginal):
        accepted(FALSE[name])


@pytest.mark.parametrize("name", GOOD)
def test_a_beginning_alone_is_refused(name: str) -> None:
    with pytest.raises(BrokenOriginal):
        accepted(GOOD[name][:12] + FALSE["html"] * 50)


def a_zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", SECRET)
    return file.getvalue()


@pytest.mark.parametrize(
    "more", [a_zip(), b"<script>" + SECRET, GOOD["jpeg"] + SECRET, b"%PDF-1.4"]
)
@pytest.mark.parametrize("name", GOOD)
def test_what_follows_a_picture_is_not_kept(name: str, more: bytes) -> None:
    assert accepted(GOOD[name] + more) == accepted(GOOD[name])


# What hides behind pixels.

MUCH = (SECRET + b" ") * 2000
ENDS = {
    "text": MUCH,
    "zip": MUCH + a_zip(),
    "stuffed": MUCH + b"\xff\0" * 3000,
    "restarts": b"\xff\xd3".join([MUCH] * 3),
    "filled": b"\xff\xff\xff\0".join([MUCH] * 3),
    "zeros": bytes(3000),
}
SCANS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 5},
    "progressive-restarts": {"restart_marker_blocks": 5, "progressive": True},
    "grey": {"mode": "L"},
    "fine": {"subsampling": 0, "quality": 100},
}


def a_jpeg(name: str, size: tuple[int, int] = (640, 400)) -> bytes:
    options: dict[str, Any] = {**SCANS[name]}
    image = images.texture(size).convert(options.pop("mode", "RGB"))
    return images.encoded(image, "JPEG", **options)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("name", SCANS)
def test_what_hides_behind_a_scan_is_not_kept(name: str, end: str) -> None:
    """But for the kilobyte that it takes to be sure."""
    file = a_jpeg(name)
    assert accepted(file).body == file
    hiding = file[:-2] + ENDS[end] + file[-2:]

    kept = accepted(hiding)

    assert len(file) <= len(kept.body) <= len(file) + 1200
    assert images.decoded(kept.body).tobytes() == images.decoded(file).tobytes()
    assert accepted(kept.body) == kept
    assert not zipfile.is_zipfile(io.BytesIO(kept.body))


def test_what_hides_behind_each_of_many_scans_is_not_kept() -> None:
    file = a_jpeg("progressive")
    first = file.index(b"\xff\xda") + 2
    hiding = file[:first] + re.sub(rb"\xff[\xc4\xda\xd9]", MUCH + rb"\g<0>", file[first:])

    kept = accepted(hiding)

    scans = file.count(b"\xff\xda")
    assert len(hiding) > len(file) + scans * len(MUCH)
    assert len(kept.body) <= len(file) + scans * 1200
    assert images.decoded(kept.body).tobytes() == images.decoded(file).tobytes()


@pytest.mark.parametrize("name", drawn.KINDS)
@pytest.mark.parametrize("progressive", [False, True])
def test_nothing_is_cut_off_a_jpeg_that_hides_nothing(name: str, progressive: bool) -> None:  # noqa: FBT001
    """Also where all blocks are coded alike."""
    flat = Image.new("L", (3000, 2000), 128)
    for image in (*drawn.of_kind(name).values(), flat):
        for quality in (30, 95):
            options = {"quality": quality, "progressive": progressive}
            file = images.encoded(image.convert("RGB"), "JPEG", **options)
            assert accepted(file).body == file


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("size", [(100, 5), (5, 100), (7, 7), (1, 1)])
def test_a_side_may_be_shorter_than_a_block(size: tuple[int, int], progressive: bool) -> None:  # noqa: FBT001
    file = images.encoded(images.texture(size), "JPEG", quality=90, progressive=progressive)

    assert accepted(file).displayed == Size(*size)


@pytest.mark.parametrize("name", SCANS)
def test_a_jpeg_is_decoded_once_and_what_cannot_be_is_refused(name: str) -> None:
    """Where its pixels were decoded on the way, decoding once more would find nothing wrong."""
    rng = random.Random(5)
    whole = without_tails(a_jpeg(name, (80, 50)), "JPEG")
    assert whole.is_decoded
    counts = dict.fromkeys((True, False), 0)
    for _ in range(300):
        file = bytearray(whole.body)
        for _ in range(rng.randrange(1, 4)):
            file[rng.randrange(2, len(file))] = rng.randrange(256)
        try:
            opened = open_original(io.BytesIO(bytes(file)), LIMITS)
            cleaned = clean(bytes(file), "JPEG", Extras.of(Exif(1, ())))
            with fault_of_the_original():
                trimmed = without_tails(cleaned.body, "JPEG")
        except ImageError:
            continue
        counts[trimmed.is_decoded] += 1
        opened = open_original(io.BytesIO(trimmed.body), LIMITS)
        if trimmed.is_decoded:
            opened.decode(8, reads_all=True)
            assert not opened.metadata.is_damaged
        else:
            with pytest.raises(BrokenOriginal):
                opened.decode(8, reads_all=True)
    assert all(counts.values()), counts


DEEP = {"1": 1, "L": 1, "P": 1, "RGB": 3, "RGBA": 4}


def a_png(mode: str, *, interlaced: bool = False) -> tuple[bytes, bytes, bytes]:
    """A PNG's beginning, its rows, and its end."""
    image = images.texture((101, 67)).convert(mode)
    file = images.encoded(image, "PNG")
    begin = file.index(b"IDAT") - 4
    if not interlaced:
        (length,) = struct.unpack_from(">I", file, begin)
        rows = zlib.decompress(file[begin + 8 : begin + 8 + length])
        return file[:begin], rows, file[begin + 12 + length :]
    header = bytearray(file[16:29])
    header[12] = 1
    rows = b""
    for x, y, across, down in (
        *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
        *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
    ):
        for row in range(y, image.height, down):
            pixels: list[Any] = [
                image.getpixel((column, row)) for column in range(x, image.width, across)
            ]
            one = Image.new(mode, (len(pixels), 1))
            for column, pixel in enumerate(pixels):
                one.putpixel((column, 0), pixel)
            rows += b"\0" + one.tobytes()
    return file[:8] + hostile.chunk(b"IHDR", bytes(header)) + file[33:begin], rows, file[-12:]


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("mode", DEEP)
def test_what_hides_behind_packed_rows_is_not_kept(mode: str, interlaced: bool) -> None:  # noqa: FBT001
    begin, rows, end = a_png(mode, interlaced=interlaced)
    packed = zlib.compress(rows)

    def of(*contents: bytes) -> bytes:
        return begin + b"".join(hostile.chunk(b"IDAT", content) for content in contents) + end

    file = of(packed[:50], packed[50:])
    assert accepted(file).body == file
    for hiding in (
        of(packed + MUCH),
        of(packed[:50], packed[50:], MUCH, MUCH),
        of(packed, a_zip()),
        of(zlib.compress(rows + MUCH)),
        of(zlib.compress(rows + MUCH, 0)),
        of(zlib.compress(rows + b"\0", 0) + MUCH),
        of(zlib.compress(rows + bytes(10_000_000))),
    ):
        kept = accepted(hiding)

        assert SECRET not in kept.body
        assert len(kept.body) < len(file) + 100
        assert images.decoded(kept.body).tobytes() == images.decoded(file).tobytes()
        assert accepted(kept.body) == kept


def test_what_hides_behind_frames_of_a_png_is_not_kept() -> None:
    first, *others = (images.texture(SIZE, seed) for seed in (1, 2, 3))
    file = images.encoded(first, "PNG", save_all=True, append_images=others)
    assert accepted(file).body == file
    parts, place = [], 8
    while place < len(file):
        length, name = struct.unpack_from(">I4s", file, place)
        content = file[place + 8 : place + 8 + length]
        parts.append((name, content + MUCH if name in {b"fdAT", b"IDAT"} else content))
        place += 12 + length
    hiding = file[:8] + b"".join(hostile.chunk(*part) for part in parts)

    assert accepted(hiding) == accepted(file)


def _blocks(content: bytes) -> bytes:
    pieces = [content[at : at + 200] for at in range(0, len(content), 200)]
    return b"".join(bytes((len(piece),)) + piece for piece in pieces)


@pytest.mark.parametrize("interlace", [0, 1])
def test_what_hides_behind_blocks_of_a_gif_is_not_kept(interlace: int) -> None:
    """But for two blocks a frame."""
    first, *others = (images.texture(SIZE, seed).quantize(64) for seed in (1, 2, 3))
    for more in ({}, {"save_all": True, "append_images": others}):
        file = images.encoded(first, "GIF", interlace=interlace, **more)
        assert accepted(file).body == file
        ends = [end for _, _, end in gif_frames(file)]
        assert len(ends) == (3 if more else 1)
        pieces = [file[a:b] for a, b in itertools.pairwise([0, *ends, len(file)])]
        hiding = _blocks(MUCH).join(pieces)

        kept = accepted(hiding)

        assert len(kept.body) <= len(file) + 510 * len(ends)
        assert decoded_fully(kept.body) == decoded_fully(file)
        assert accepted(kept.body) == kept


def test_blocks_behind_the_end_of_a_later_frame_are_not_kept() -> None:
    """Also where that frame has fewer pixels than it should."""
    good, short = hostile.gif_frame((8, 1)), hostile.gif_frame((8, 8))
    head = hostile.gif_header((8, 8))
    assert accepted(head + good + short + b";").body == head + good + short + b";"

    kept = accepted(head + good + short[:-1] + _blocks(MUCH) + b"\0;")

    assert len(kept.body) < len(head + good + short) + 510


@pytest.mark.parametrize(
    ("screen", "size", "frames"), [((8, 8), (9, 9), 1), ((6000, 5000),) * 2 + (7,)]
)
def test_frames_of_very_many_pixels_are_left_as_they_are(
    screen: tuple[int, int], size: tuple[int, int], frames: int
) -> None:
    head, first = hostile.gif_header(screen), hostile.gif_frame((8, 1))
    more = [hostile.gif_frame(size)] * (frames - 1)
    large = hostile.gif_frame(size)[:-1] + _blocks(MUCH) + b"\0"
    file = b"".join((head, first, *more, large, b";"))

    assert accepted(file).body == file


def test_frames_of_very_many_bytes_are_not_unpacked() -> None:
    """A file of 3 MB would keep a worker busy for half a minute, and another after it."""
    size, frames = (9000, 6000), 20
    rows = zlib.compressobj()
    packed = b"".join(rows.compress(bytes(1 + size[0])) for _ in range(size[1])) + rows.flush()
    control = struct.pack(">IIIIHHBB", *size, 0, 0, 1, 10, 0, 0)
    header = struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"acTL", struct.pack(">II", frames, 0))]
    parts += [(b"fcTL", bytes(4) + control), (b"IDAT", packed)]
    for number in range(1, 2 * frames - 1, 2):
        parts.append((b"fcTL", struct.pack(">I", number) + control))
        parts.append((b"fdAT", struct.pack(">I", number + 1) + packed + MUCH))
    file = PNG_SIGNATURE + b"".join(hostile.chunk(*part) for part in (*parts, (b"IEND", b"")))

    kept = accepted(file)

    assert kept.is_animated
    assert kept.body.count(MUCH) == frames - 500_000_000 // ((1 + size[0]) * size[1])


def decoded_fully(file: bytes) -> list[bytes]:
    return [frame.tobytes() for frame in ImageSequence.Iterator(Image.open(io.BytesIO(file)))]


def test_an_animation_stays_one() -> None:
    first, *others = (images.texture(SIZE, seed) for seed in (1, 2, 3))
    for image_format in ("GIF", "PNG", "WEBP"):
        file = images.encoded(first, image_format, save_all=True, append_images=others)
        assert accepted(file).is_animated


@pytest.mark.parametrize("name", ["png", "jpeg", "gif"])
def test_it_is_decoded_with_room_for_it(name: str) -> None:
    asked: list[int] = []

    @contextlib.contextmanager
    def room(memory_bytes: int) -> Iterator[None]:
        asked.append(memory_bytes)
        yield

    accept(GOOD[name], LIMITS, "none", room=room)

    assert asked == [96 * 64 * 6 if name != "jpeg" else 96 * 64 * 4 // 64]


def test_limits_of_originals_hold() -> None:
    with pytest.raises(OversizedOriginal):
        accept(GOOD["png"], OriginalsSettings(max_decoded_bytes=1000), "none")


@pytest.mark.slow
def test_hostile_files_are_accepted_or_refused() -> None:
    """What a decoder says is always said as an error of ours; and what is kept is kept again."""
    accepted_names = []
    for known in hostile.hostile_files():
        if "mp" in known.name:
            continue  # the largest are there for decoders, and take longest to make
        with contextlib.suppress(ImageError):
            kept = accepted(known.make(), "all")
            assert accepted(kept.body, "all") == kept, known.name
            assert known.expected in {hostile.PICTURE, hostile.ANY}, known.name
            accepted_names.append(known.name)

    assert len(accepted_names) > 200


@given(file=st.sampled_from(sorted(GOOD)), place=st.integers(0, 3000), byte=st.integers(0, 255))
def test_whatever_comes_is_accepted_or_refused(file: str, place: int, byte: int) -> None:
    damaged = bytearray(GOOD[file])
    damaged[place % len(damaged)] = byte
    with contextlib.suppress(ImageError):
        kept = accepted(bytes(damaged))
        assert accepted(kept.body) == kept
