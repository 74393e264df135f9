"""Hostile originals, made in code: bombs, disguises, damage, and the good ones nearest to them.

`python tests/hostile.py FOLDER` writes them all; the same bytes each time, in some seconds.
"""

import random
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import images
from PIL import Image, ImageCms, MpoImagePlugin

PICTURE, UNSUPPORTED = "picture", "unsupported-original"
OVERSIZED, BROKEN, ANY = "oversized-original", "broken-original", "any"


@dataclass(frozen=True)
class Hostile:
    """One file, and what must become of it."""

    name: str
    make: Callable[[], bytes]
    expected: str
    """A picture, an error code, or anything but a fault of the server."""


# JPEG, written by hand: Pillow would need a minute for the large ones, and refuses to do the rest.


def segment(marker: int, content: bytes) -> bytes:
    """A JPEG segment."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def frame(marker: int, size: tuple[int, int], samplings: tuple[int, ...] = (0x11,)) -> bytes:
    """A JPEG frame header; 0xC0 is baseline, 0xC2 progressive."""
    width, height = size
    content = struct.pack(">BHHB", 8, height, width, len(samplings))
    for number, sampling in enumerate(samplings):
        content += bytes((number + 1, sampling, 0))
    return segment(marker, content)


def scan(components: tuple[int, ...], first: int, last: int, data: bytes) -> bytes:
    """A JPEG scan of the coefficients from `first` to `last`."""
    tables = b"".join(bytes((number, 0)) for number in components)
    return segment(0xDA, bytes((len(components),)) + tables + bytes((first, last, 0))) + data


def one_symbol(table: int, symbol: int) -> bytes:
    """A Huffman table with one code, a single zero bit."""
    return segment(0xC4, bytes((table, 1)) + bytes(15) + bytes((symbol,)))


_QUANTIZATION = segment(0xDB, b"\0" + b"\x10" * 64)
_ALL_FLAT, _END_OF_BANDS = 0x00, 0xE0


def flat_jpeg(size: tuple[int, int], before_scan: bytes = b"") -> bytes:
    """A grey picture in one scan: two bits for each eight by eight pixels."""
    blocks = -(-size[0] // 8) * -(-size[1] // 8)
    tables = one_symbol(0x00, _ALL_FLAT) + one_symbol(0x10, _ALL_FLAT)
    data = bytes(blocks // 4 + 1)
    begin = b"\xff\xd8" + segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
    head = begin + before_scan + _QUANTIZATION + frame(0xC0, size) + tables
    return head + scan((1,), 0, 63, data) + b"\xff\xd9"


def scan_bomb(size: tuple[int, int], scans: int, between: bytes = b"") -> bytes:
    """A legal progressive picture in so many scans, each of them some dozens of bytes."""
    blocks = -(-size[0] // 8) * -(-size[1] // 8)
    first = scan((1,), 0, 0, bytes(blocks // 8 + 1))
    # So many runs of 32,767 blocks without a coefficient, 15 bits each: the code, then ones.
    bits = ("0" + "1" * 14) * -(-blocks // 32_767)
    bits += "0" * (-len(bits) % 8)
    runs = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))
    again = between + scan((1,), 1, 63, runs.replace(b"\xff", b"\xff\0"))
    tables = one_symbol(0x00, _ALL_FLAT) + one_symbol(0x10, _END_OF_BANDS)
    head = b"\xff\xd8" + _QUANTIZATION + frame(0xC2, size) + tables
    return head + first + again * (scans - 1) + b"\xff\xd9"


def sequential_scan_bomb(size: tuple[int, int], scans: int) -> bytes:
    """Not progressive, each component by itself, again and again."""
    blocks = -(-size[0] // 8) * -(-size[1] // 8)
    tables = one_symbol(0x00, _ALL_FLAT) + one_symbol(0x10, _ALL_FLAT)
    head = b"\xff\xd8" + _QUANTIZATION + frame(0xC0, size, (0x11,) * 3) + tables
    data = bytes(blocks // 4 + 1)
    again = b"".join(scan((1 + number % 3,), 0, 63, data) for number in range(scans))
    return head + again + b"\xff\xd9"


# PNG


def chunk(name: bytes, content: bytes) -> bytes:
    """A PNG chunk."""
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def png_header(size: tuple[int, int], depth: int, colour: int) -> bytes:
    """What a PNG begins with."""
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)


def flat_png(
    size: tuple[int, int], depth: int, colour: int, before: bytes = b"", after: bytes = b""
) -> bytes:
    """A PNG of zeros."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = bytes(1 + (size[0] * depth * channels + 7) // 8)
    packer = zlib.compressobj(1)
    data = b"".join(packer.compress(row) for _ in range(size[1])) + packer.flush()
    palette = chunk(b"PLTE", bytes((200, 30, 30) * 2)) if colour == 3 else b""
    pixels = chunk(b"IDAT", data)
    return png_header(size, depth, colour) + palette + before + pixels + after + chunk(b"IEND", b"")


def png_of_one_colour(size: tuple[int, int]) -> bytes:
    """One bit a pixel, all zeros: a megabyte of rows, compressed once, again and again."""
    row = bytes(1 + (size[0] + 7) // 8)
    packer = zlib.compressobj(9)
    block = packer.compress(row * 127) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(row * 127) + packer.flush(zlib.Z_FULL_FLUSH)
    data = block + again * (size[1] // 127)
    return png_header(size, 1, 0) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _zlib_bomb(size_bytes: int) -> bytes:
    return zlib.compress(bytes(size_bytes), 9)


# WebP and GIF


def riff(content: bytes) -> bytes:
    """A WebP file."""
    return b"RIFF" + struct.pack("<I", len(content) + 4) + b"WEBP" + content


def riff_chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a WebP file."""
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def flat_vp8l(size: tuple[int, int]) -> bytes:
    """A lossless WebP bitstream of one colour: five codes of one symbol each, and no bit a pixel
    (RFC 9649, section 3).
    """
    bits, place = 0, 0
    values = [(size[0] - 1, 14), (size[1] - 1, 14), (0, 1), (0, 3), (0, 3)] + [(1, 4)] * 5
    for value, width in values:
        bits |= value << place
        place += width
    return riff_chunk(b"VP8L", b"\x2f" + bits.to_bytes(-(-place // 8) + 1, "little"))


def webp_canvas(size: tuple[int, int], flags: int = 0x02) -> bytes:
    """What an animated WebP begins with."""
    sides = b"".join((side - 1).to_bytes(3, "little") for side in size)
    return riff_chunk(b"VP8X", bytes((flags, 0, 0, 0)) + sides)


def animated_webp(size: tuple[int, int], frames: int) -> bytes:
    """A WebP of so many frames, all of one colour."""
    sides = b"".join((side - 1).to_bytes(3, "little") for side in size)
    head = bytes(6) + sides + bytes((50, 0, 0, 0))
    one = riff_chunk(b"ANMF", head + flat_vp8l(size))
    return riff(webp_canvas(size) + riff_chunk(b"ANIM", bytes(6)) + one * frames)


def gif_header(size: tuple[int, int]) -> bytes:
    """What a GIF begins with, black and white."""
    return b"GIF89a" + struct.pack("<HHBBB", *size, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"


def gif_frame(size: tuple[int, int], place: tuple[int, int] = (0, 0)) -> bytes:
    """A GIF frame with eight black pixels, however many it should have."""
    clear, end = 4, 5
    codes = [clear, 0, 0, 0, clear, 0, 0, 0, clear, 0, 0, end]
    bits = sum(code << 3 * number for number, code in enumerate(codes))
    data = bits.to_bytes(5, "little")
    return b"," + struct.pack("<HHHHB", *place, *size, 0) + b"\x02\x05" + data + b"\0"


def gif_extension(label: int, block: bytes, blocks: int) -> bytes:
    """A GIF extension in so many equal blocks."""
    return bytes((0x21, label)) + (bytes((len(block),)) + block) * blocks + b"\0"


# EXIF


def exif(*entries: tuple[int, int, int, bytes], data: bytes = b"") -> bytes:
    """EXIF data: tag, type, count and four bytes for each entry; then other data."""
    packed = b"".join(
        struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")
        for tag, kind, count, value in entries
    )
    directory = struct.pack("<H", len(entries) & 0xFFFF) + packed + bytes(4)
    return b"Exif\0\0II*\0" + struct.pack("<I", 8) + directory + data


def orientation(kind: int, value: bytes) -> bytes:
    """EXIF data with an orientation that Pillow itself might refuse to write."""
    return exif((0x0112, kind, 1, value))


def overlapping(entries: int, data_bytes: int) -> bytes:
    """EXIF data whose many values are all the same bytes."""
    place = struct.pack("<I", 14 + 12 * entries)
    many = ((1000 + number, 7, data_bytes, place) for number in range(entries))
    return exif(*many, data=bytes(data_bytes))


def _jpeg(**options: object) -> bytes:
    return images.encoded(images.texture((96, 64)), "JPEG", **options)


def _with_exif(data: bytes) -> dict[str, bytes]:
    """The same EXIF data in each format that can have some."""
    tiff = data.removeprefix(b"Exif\0\0")
    large = len(data) > 65_000
    size = (96, 64)
    lossless = riff(webp_canvas(size, 0x08) + flat_vp8l(size) + riff_chunk(b"EXIF", data))
    found = {"png": flat_png(size, 8, 0, chunk(b"eXIf", tiff)), "webp": lossless}
    return found if large else found | {"jpg": flat_jpeg(size, segment(0xE1, data))}


def _bombs() -> Iterator[Hostile]:
    for width, height in ((15_000, 14_950), (65_500, 65_500)):
        size, name = (width, height), f"bomb-{width}x{height}"
        yield Hostile(f"{name}.png", partial(png_header, size, 8, 2), OVERSIZED)
        yield Hostile(f"{name}.gif", partial(bytes, gif_header(size) + gif_frame(size)), OVERSIZED)
    yield Hostile("bomb-65500x65500.jpg", lambda: flat_jpeg((65_500, 65_500)), OVERSIZED)
    lying = flat_jpeg((8, 8)).replace(frame(0xC0, (8, 8)), frame(0xC0, (65_500, 65_500)))
    yield Hostile("bomb-1kb.jpg", lambda: lying, OVERSIZED)
    yield Hostile("bomb-65536x1.png", lambda: png_header((65_536, 1), 8, 2), OVERSIZED)
    yield Hostile("bomb-one-colour.png", partial(png_of_one_colour, (65_500, 65_500)), OVERSIZED)
    canvas = (16_777_216, 255)
    yield Hostile("bomb-canvas.webp", lambda: riff(webp_canvas(canvas)), OVERSIZED)
    yield Hostile("bomb-4g.png", lambda: png_header((2**31 - 1,) * 2, 8, 6), OVERSIZED)
    yield Hostile("bomb-225mp.png", lambda: flat_png((15_000, 15_000), 1, 3), OVERSIZED)
    yield Hostile("bomb-104mp.webp", lambda: riff(flat_vp8l((10_200, 10_200))), OVERSIZED)
    yield Hostile("bomb-268mp.webp", lambda: riff(flat_vp8l((16_383, 16_383))), OVERSIZED)
    yield Hostile("good-60mp.png", lambda: flat_png((7750, 7742), 1, 3), PICTURE)
    yield Hostile("good-200mp.jpg", lambda: flat_jpeg((16_320, 12_240)), PICTURE)
    yield Hostile("good-16mp.webp", lambda: riff(flat_vp8l((4000, 4000))), PICTURE)
    yield Hostile("good-strip.jpg", lambda: flat_jpeg((65_500, 8)), PICTURE)
    yield Hostile("good-strip.png", lambda: flat_png((8, 65_535), 8, 2), PICTURE)
    flat = Image.new("P", (7750, 7742))
    yield Hostile("good-60mp.gif", lambda: images.encoded(flat, "GIF"), PICTURE)
    yield Hostile("none.png", lambda: png_header((0, 5), 8, 2), BROKEN)
    yield Hostile("none.jpg", lambda: flat_jpeg((5, 0)), BROKEN)
    yield Hostile("none.gif", lambda: gif_header((0, 0)) + gif_frame((0, 0)), BROKEN)


def _scans() -> Iterator[Hostile]:
    large, small = (7000, 5857), (64, 64)
    for scans in (150, 1500, 20_000):
        yield Hostile(f"scans-{scans}.jpg", partial(scan_bomb, large, scans), OVERSIZED)
    yield Hostile("scans-small-101.jpg", lambda: scan_bomb(small, 101), OVERSIZED)
    yield Hostile("scans-small-100.jpg", lambda: scan_bomb(small, 100), PICTURE)
    yield Hostile("scans-large-24.jpg", lambda: scan_bomb(large, 24), PICTURE)
    yield Hostile("scans-200mp.jpg", lambda: scan_bomb((16_320, 12_240), 20), OVERSIZED)
    sequential = sequential_scan_bomb
    yield Hostile("scans-sequential-300.jpg", lambda: sequential(small, 300), OVERSIZED)
    yield Hostile("scans-sequential-3.jpg", lambda: sequential(small, 3), PICTURE)
    # What looks like the beginning of a scan, and is not.
    other = segment(0xE5, b"\xff\xda" * 500)
    yield Hostile("scans-in-app5.jpg", lambda: scan_bomb(small, 5, other), PICTURE)
    behind = scan_bomb(small, 90)
    yield Hostile("scans-behind.jpg", lambda: behind + behind, PICTURE)
    # Bytes where nothing should be, and fill bytes, do not hide scans.
    filled = b"\xff" * 700
    yield Hostile("scans-filled.jpg", lambda: scan_bomb(large, 70, filled), OVERSIZED)
    yield Hostile("good-progressive-24mp.jpg", _progressive_photograph, PICTURE)


def _progressive_photograph() -> bytes:
    picture = images.texture((750, 500)).resize((6000, 4000), Image.Resampling.NEAREST)
    return images.encoded(picture, "JPEG", progressive=True, quality=80)


def _parts() -> Iterator[Hostile]:
    size = (96, 64)

    def jpeg(before: bytes) -> Callable[[], bytes]:
        return lambda: flat_jpeg(size, before)

    def png(before: bytes, after: bytes = b"") -> Callable[[], bytes]:
        return lambda: flat_png(size, 8, 0, before, after)

    def gif(before: bytes) -> Callable[[], bytes]:
        return lambda: gif_header((8, 8)) + before + gif_frame((8, 1))

    yield Hostile("segments.jpg", jpeg(segment(0xFE, b"") * 200_000), OVERSIZED)
    yield Hostile("segments-no-length.jpg", jpeg(b"\xff\xfe\0\0" * 900), PICTURE)
    yield Hostile("stray.jpg", jpeg(bytes(2_000_000)), BROKEN)
    yield Hostile("fill.jpg", jpeg(b"\xff" * 2_000_000), BROKEN)
    yield Hostile("restarts.jpg", jpeg(b"\xff\xd0" * 1_000_000), BROKEN)
    yield Hostile("xmp.jpg", jpeg(segment(0xE1, _XMP + bytes(65_000)) * 200), PICTURE)
    yield Hostile("xmp-huge.jpg", jpeg(segment(0xE1, _XMP + bytes(65_000)) * 300), OVERSIZED)
    yield Hostile("two-frames.jpg", jpeg(frame(0xC0, (9, 9))), BROKEN)
    hidden = segment(0xE2, b"\xff\xc0\0\x0b" + bytes(20))
    yield Hostile("frame-in-app2.jpg", jpeg(hidden), PICTURE)
    # For Pillow this marker has no length, and what follows counts; for all others it has.
    real = frame(0xC0, size)
    differing = flat_jpeg(size).replace(real, real + segment(0xF0, frame(0xC0, (9, 9))))
    yield Hostile("differing.jpg", lambda: differing, BROKEN)
    chunks = chunk(b"teSt", b"") * 100_000
    yield Hostile("chunks.png", png(chunks), OVERSIZED)
    yield Hostile("chunks-after.png", png(b"", chunks), OVERSIZED)
    yield Hostile("data-chunks.png", png(b"", chunk(b"IDAT", b"") * 100_000), OVERSIZED)
    yield Hostile("two-headers.png", png(png_header((9, 9), 8, 0)[8:]), BROKEN)
    text = chunk(b"tEXt", b"prompt\0" + b"x" * 500_000)
    yield Hostile("text-long.png", png(text), PICTURE)
    yield Hostile("text-huge.png", png(text * 40), OVERSIZED)
    bomb = _zlib_bomb(100_000_000)
    yield Hostile("text-bomb.png", png(chunk(b"zTXt", b"x\0\0" + bomb)), BROKEN)
    yield Hostile("text-bomb-after.png", png(b"", chunk(b"zTXt", b"x\0\0" + bomb)), PICTURE)
    itxt = chunk(b"iTXt", b"x\0\1\0\0\0" + bomb)
    yield Hostile("itxt-bomb.png", png(itxt), BROKEN)
    most = _zlib_bomb(1_000_000)
    texts = [chunk(b"zTXt", b"x%d\0\0" % number + most) for number in range(900)]
    yield Hostile("text-bombs.png", png(b"".join(texts)), BROKEN)
    yield Hostile("icc-bomb.png", png(chunk(b"iCCP", b"x\0\0" + bomb)), BROKEN)
    yield Hostile("exif-bomb.png", png(chunk(b"eXIf", bomb)), PICTURE)
    yield Hostile("exif-text.png", png(chunk(b"zTXt", b"Raw profile type exif\0\0" + bomb)), BROKEN)
    comment = gif_extension(0xFE, b"x", 300_000)
    yield Hostile("comment.gif", gif(comment), OVERSIZED)
    yield Hostile("comment-long.gif", gif(gif_extension(0xFE, b"x" * 255, 200_000)), OVERSIZED)
    yield Hostile("comment-3000.gif", gif(gif_extension(0xFE, b"x" * 255, 3000)), OVERSIZED)
    yield Hostile("comments.gif", gif(gif_extension(0xFE, b"x", 1) * 50_000), OVERSIZED)
    yield Hostile("stray.gif", gif(bytes(2_000_000)), BROKEN)
    xmp = gif_extension(0xFF, b"XMP DataXMP", 1)[:-1] + (b"\x50" + b"x" * 80) * 4000 + b"\0"
    yield Hostile("xmp.gif", gif(xmp), PICTURE)
    yield Hostile(
        "chunks.webp", lambda: riff(flat_vp8l(size) + b"JUNK\0\0\0\0" * 100_000), OVERSIZED
    )


_XMP = b"http://ns.adobe.com/xap/1.0/\0"


def _frames() -> Iterator[Hostile]:
    screen = (8, 8)
    many = gif_header(screen) + gif_frame((8, 1)) * 20_000
    yield Hostile("frames-20000.gif", lambda: many, PICTURE)
    beyond = gif_header(screen) + gif_frame((8, 1), (500, 500))
    yield Hostile("frame-beyond.gif", lambda: beyond, PICTURE)
    far = gif_header(screen) + gif_frame((8, 1), (65_000, 65_000))
    yield Hostile("frame-far-beyond.gif", lambda: far, OVERSIZED)
    yield Hostile("frame-none.gif", lambda: gif_header(screen) + b";", BROKEN)
    unbounded = gif_header(screen) + gif_frame((8, 1)) + b"!\xfe" + b"\xff" * 300_000
    yield Hostile("behind-a-frame.gif", lambda: unbounded, PICTURE)
    yield Hostile("frames-1000.webp", lambda: animated_webp((300, 200), 1000), PICTURE)
    yield Hostile("frames-100000.webp", lambda: animated_webp((30, 20), 100_000), OVERSIZED)
    yield Hostile("frames-large.webp", lambda: animated_webp((10_200, 10_200), 3), OVERSIZED)
    control = struct.pack(">IIIIIHHBB", 0, 96, 64, 0, 0, 1, 10, 0, 0)
    animated = chunk(b"acTL", struct.pack(">II", 2, 0)) + chunk(b"fcTL", control)
    again = chunk(b"fcTL", struct.pack(">I", 1) + control[4:])
    again += chunk(b"fdAT", struct.pack(">I", 2) + zlib.compress(bytes(97 * 64)))
    yield Hostile("apng.png", lambda: flat_png((96, 64), 8, 0, animated, again), PICTURE)
    endless = chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)) + chunk(b"fcTL", control)
    yield Hostile("apng-endless.png", lambda: flat_png((96, 64), 8, 0, endless), PICTURE)
    outside = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 9000, 9000, 9, 9, 1, 10, 0, 0))
    yield Hostile("apng-outside.png", lambda: flat_png((96, 64), 8, 0, outside), PICTURE)
    pictures = [images.texture((96, 64), seed) for seed in (1, 2)]
    mpo = images.encoded(
        pictures[0], MpoImagePlugin.MpoImageFile.format, save_all=True, append_images=pictures[1:]
    )
    yield Hostile("two-pictures.jpg", lambda: mpo, PICTURE)
    lying = mpo.replace(b"MPF\0II*\0", b"MPF\0II*\xff")
    yield Hostile("broken-index.jpg", lambda: lying, PICTURE)


def _metadata() -> Iterator[Hostile]:
    oddities = {
        "0": (3, b"\0\0"), "9": (3, b"\x09\0"), "65535": (3, b"\xff\xff"), "ascii": (2, b"6\0"),
        "type-99": (99, b"6"), "float": (11, b"\0\0\xc0@"), "6": (3, b"\6\0"),
    }  # fmt: skip
    for name, (kind, value) in oddities.items():
        for suffix, file in _with_exif(orientation(kind, value)).items():
            yield Hostile(f"orientation-{name}.{suffix}", partial(bytes, file), PICTURE)
    odd = {
        "overlapping": overlapping(2700, 32_000),
        "overlapping-huge": overlapping(40_000, 500_000),
        "prefixes": b"Exif\0\0" * 10_000,
        "prefixes-huge": b"Exif\0\0" * 150_000,
        "large": exif((0x0112, 3, 1, b"\1\0"), data=bytes(1_200_000)),
        "endless": exif((0x0112, 3, 2**32 - 1, b"\6\0"), (0x8298, 2, 2**32 - 1, b"\0\0\0\0")),
        "loop": b"Exif\0\0II*\0" + struct.pack("<I", 8) + b"\xff\xff" + bytes(1000),
        "outside": b"Exif\0\0MM\0*" + b"\xff" * 40,
        "short": b"Exif\0\0II*\0",
    }
    for name, data in odd.items():
        for suffix, file in _with_exif(data).items():
            yield Hostile(f"exif-{name}.{suffix}", partial(bytes, file), PICTURE)
    again = segment(0xE1, b"Exif\0\0" + bytes(65_000)) * 250
    yield Hostile("exif-again.jpg", lambda: flat_jpeg((96, 64), again), PICTURE)
    dated = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = dated[:24] + bytes(12) + dated[36:]  # the moment it was made
    yield Hostile("icc-huge.jpg", lambda: _jpeg(icc_profile=profile + bytes(2_000_000)), PICTURE)
    yield Hostile("icc-nonsense.jpg", lambda: _jpeg(icc_profile=b"acsp" * 200), PICTURE)
    unnamed = profile.replace("sRGB".encode("utf-16-be"), "abcd".encode("utf-16-be"))
    for number in range(40):
        flipped = _flipped(unnamed, random.Random(number), 1 + number % 8)
        yield Hostile(f"icc-{number}.jpg", partial(_jpeg, icc_profile=flipped), PICTURE)
    for keyword in (b"icc_profile", b"exif"):  # where Pillow has binary data of other files
        text = chunk(b"zTXt", keyword + b"\0\0" + zlib.compress(b"a text"))
        make = partial(flat_png, (96, 64), 8, 2, text)
        yield Hostile(f"text-{keyword.decode()}.png", make, PICTURE)
    table = chunk(b"tRNS", bytes(300))
    yield Hostile("transparency-long.png", lambda: flat_png((96, 64), 1, 3, table), ANY)
    deep = chunk(b"tRNS", b"\0\1\0\2\0\3")
    yield Hostile("transparent-16.png", lambda: flat_png((96, 64), 16, 2, deep), PICTURE)
    yield Hostile("palette-none.png", _png_without_palette, ANY)
    clear = gif_header((8, 8)) + b"!\xf9\x04\x01\0\0\xfe\0" + gif_frame((8, 1))
    yield Hostile("transparency-outside.gif", lambda: clear, ANY)


def _png_without_palette() -> bytes:
    return flat_png((96, 64), 8, 3).replace(chunk(b"PLTE", bytes((200, 30, 30) * 2)), b"")


_DISGUISES: dict[str, bytes] = {
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
    "eps-dos": b"\xc5\xd0\xd3\xc6\x20\0\0\0\xff\0\0\0",
    "psd": b"8BPS\0\1" + bytes(6) + b"\0\3\0\0\0\x09\0\0\0\x09\0\x08\0\3",
    "fits": b"SIMPLE  =                    T".ljust(80),
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
    "svg-xml": b"<?xml version='1.0'?><!DOCTYPE svg [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>",
    "mvg": b"push graphic-context\nviewbox 0 0 9 9\nimage over 0,0 0,0 'https://localhost/'\n",
    "tiff": b"II*\0\x08\0\0\0\1\0\0\1\3\0\1\0\0\0\x09\0\0\0",
    "tiff-big": b"MM\0+\0\x08\0\0" + bytes(8),
    "bmp": b"BM" + bytes(12) + b"\x28\0\0\0\x09\0\0\0\x09\0\0\0\1\0\x18\0",
    "ico": b"\0\0\1\0\1\0\x10\x10\0\0\1\0\x20\0\x68\4\0\0\x16\0\0\0",
    "jp2": b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 ",
    "j2k": b"\xff\x4f\xff\x51\0\x29\0\0",
    "pdf": b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n",
    "mcidas": b"\0\0\0\0\0\0\0\4" + bytes(248),
    "avif": b"\0\0\0\x20ftypavif\0\0\0\0avifmif1",
    "icns": b"icns\0\0\1\0ic07\0\0\0\x20",
    "pcx": b"\x0a\5\1\x08" + bytes(60),
    "sgi": b"\1\xda\0\1\0\3\0\x09\0\x09\0\3",
    "fli": bytes(4) + b"\x11\xaf\1\0\x09\0\x09\0\x08\0",
    "dds": b"DDS \x7c\0\0\0",
    "wmf": b"\xd7\xcd\xc6\x9a\0\0",
    "ppm": b"P6 9 9 255 ",
    "gzip": b"\x1f\x8b\x08\0" + bytes(20),
    "html": b"<!DOCTYPE html><script>alert(1)</script>",
}


def _disguises() -> Iterator[Hostile]:
    """Other formats under pictures' names, as they are and behind the beginning of a picture."""
    for name, head in _DISGUISES.items():
        body = head + bytes(2000)
        yield Hostile(f"{name}.jpg", partial(bytes, body), UNSUPPORTED)
        yield Hostile(f"jpeg-{name}.{name}", partial(bytes, b"\xff\xd8\xff" + body), BROKEN)
        yield Hostile(f"png-{name}.jpg", partial(bytes, b"\x89PNG\r\n\x1a\n" + body), BROKEN)
        yield Hostile(f"gif-{name}.jpg", partial(bytes, b"GIF89a" + body), ANY)
        yield Hostile(f"webp-{name}.jpg", partial(bytes, b"RIFF\0\0\0\0WEBP" + body), ANY)
    yield Hostile("riff-wave.webp", lambda: b"RIFF\x24\0\0\0WAVEfmt " + bytes(30), UNSUPPORTED)
    yield Hostile("empty.jpg", lambda: b"", UNSUPPORTED)
    yield Hostile("one-byte.png", lambda: b"\x89", UNSUPPORTED)
    good = {"png.eps": "PNG", "jpeg.psd": "JPEG", "gif.svg": "GIF", "webp.pdf": "WEBP"}
    for name, image_format in good.items():
        file = images.encoded(images.four_colours((96, 64)), image_format)
        yield Hostile(name, partial(bytes, file), PICTURE)


def _flipped(file: bytes, chance: random.Random, bits: int) -> bytes:
    flipped = bytearray(file)
    for _ in range(bits):
        flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
    return bytes(flipped)


def _damage() -> Iterator[Hostile]:
    """Good files cut off at many places, and with bits flipped; half of those in the header."""
    picture = images.texture((96, 64))
    data = exif((0x0112, 3, 1, b"\6\0"), data=bytes(40))
    good = {
        "baseline.jpg": images.encoded(picture, "JPEG", exif=data),
        "progressive.jpg": images.encoded(picture, "JPEG", progressive=True, exif=data),
        "cmyk.jpg": images.encoded(picture.convert("CMYK"), "JPEG"),
        "colours.png": images.encoded(picture, "PNG"),
        "palette.png": images.encoded(picture.quantize(16), "PNG", transparency=3),
        "lossy.webp": images.encoded(picture, "WEBP", exif=data),
        "lossless.webp": images.encoded(picture, "WEBP", lossless=True),
        "animated.webp": animated_webp((96, 64), 3),
        "picture.gif": images.encoded(picture.quantize(16), "GIF", comment=b"x" * 300),
    }
    for name, file in good.items():
        stem, suffix = name.split(".")
        for part in range(1, 16):
            cut = file[: len(file) * part // 16]
            yield Hostile(f"cut-{stem}-{part}.{suffix}", partial(bytes, cut), ANY)
        for number in range(40):
            chance = random.Random(f"{name} {number}")
            head = 2 ** (5 + number % 5) if number % 2 else len(file)
            flipped = _flipped(file[:head], chance, 1 + number % 4) + file[head:]
            yield Hostile(f"flip-{stem}-{number}.{suffix}", partial(bytes, flipped), ANY)


def hostile_files() -> Iterator[Hostile]:
    """Yield them all."""
    for group in (_bombs, _scans, _parts, _frames, _metadata, _disguises, _damage):
        yield from group()


def write(folder: Path) -> dict[str, str]:
    """Write all files into a folder; return what is expected of each."""
    folder.mkdir(parents=True, exist_ok=True)
    expected = {}
    for hostile in hostile_files():
        (folder / hostile.name).write_bytes(hostile.make())
        if hostile.name in expected:
            raise AssertionError(hostile.name)
        expected[hostile.name] = hostile.expected
    return expected


if __name__ == "__main__":
    print(f"{len(write(Path(sys.argv[1])))} files")
