"""Small videos, written by hand: QuickTime and AVI with JPEGs as their frames."""

import io
import struct
from collections.abc import Iterable, Sequence

from PIL import Image, ImageDraw

FRAMES_A_SECOND = 10

UPRIGHT = (1, 0, 0, 1)
TURNED_RIGHT = (0, 1, -1, 0)
"""What a telephone writes that was held upright: shown a quarter to the right."""


def four_colours(width: int = 64, height: int = 48) -> Image.Image:
    """Return a frame that is red and green above, blue and white below."""
    frame = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(frame)
    half = (width // 2, height // 2)
    draw.rectangle((0, 0, half[0] - 1, half[1] - 1), "#ff0000")
    draw.rectangle((half[0], 0, width, half[1] - 1), "#00ff00")
    draw.rectangle((0, half[1], half[0] - 1, height), "#0000ff")
    return frame


def plain(colour: str = "black", width: int = 64, height: int = 48) -> Image.Image:
    return Image.new("RGB", (width, height), colour)


def _jpeg(frame: Image.Image) -> bytes:
    out = io.BytesIO()
    frame.save(out, "JPEG", quality=95, subsampling=0)
    return out.getvalue()


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _full(kind: bytes, *parts: bytes, flags: int = 0) -> bytes:
    return _box(kind, struct.pack(">I", flags), *parts)


def mov(
    frames: Sequence[Image.Image],
    *,
    brand: bytes = b"qt  ",
    matrix: tuple[int, int, int, int] = UPRIGHT,
    pixel_ratio: tuple[int, int] = (1, 1),
    size: tuple[int, int] | None = None,
    codec: bytes = b"jpeg",
    is_index_first: bool = False,
) -> bytes:
    """Write a QuickTime film, of ten frames a second.

    Args:
        frames: its frames, all of one size.
        brand: what it says that it is; none for one that is older than brands.
        matrix: how it is turned.
        pixel_ratio: how wide a pixel is, and how high.
        size: what it says that its frames are.
        codec: what it says that they are made by.
        is_index_first: whether the index is before the frames.
    """
    samples = [_jpeg(frame) for frame in frames]
    width, height = size or frames[0].size
    head = _box(b"ftyp", brand, struct.pack(">I", 512), brand) if brand else b""

    def index(at: int) -> bytes:
        entry = _box(
            codec,
            struct.pack(
                ">6xHHH4sIIHHIIIH32sHh",
                *(1, 0, 0, b"test", 0, 0, width, height, 0x480000, 0x480000, 0, 1),
                *(b"\4test", 24, -1),
            ),
            _box(b"pasp", struct.pack(">II", *pixel_ratio)),
        )
        table = _box(
            b"stbl",
            _full(b"stsd", struct.pack(">I", 1), entry),
            _full(b"stts", struct.pack(">III", 1, len(samples), 100)),
            _full(b"stsc", struct.pack(">IIII", 1, 1, len(samples), 1)),
            _full(b"stsz", struct.pack(">II", 0, len(samples)), _longs(map(len, samples))),
            _full(b"stco", struct.pack(">II", 1, at)),
        )
        data = _box(b"dinf", _full(b"dref", struct.pack(">I", 1), _full(b"url ", flags=1)))
        duration = len(samples) * 100
        a, b, c, d = matrix
        across = height if c < 0 else 0
        turned = struct.pack(
            ">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, across << 16, 0, 1 << 30
        )
        still = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
        return _box(
            b"moov",
            _full(
                b"mvhd",
                struct.pack(">IIIIIH10x", 0, 0, 1000, duration, 1 << 16, 1 << 8),
                still,
                struct.pack(">24xI", 2),
            ),
            _box(
                b"trak",
                _full(
                    b"tkhd",
                    struct.pack(">IIIII8xHHHH", 0, 0, 1, 0, duration, 0, 0, 0, 0),
                    turned,
                    struct.pack(">II", width << 16, height << 16),
                    flags=7,
                ),
                _box(
                    b"mdia",
                    _full(b"mdhd", struct.pack(">IIIIHH", 0, 0, 1000, duration, 0, 0)),
                    _full(b"hdlr", struct.pack(">4s4s12x", b"mhlr", b"vide"), b"\0"),
                    _box(b"minf", _full(b"vmhd", bytes(8), flags=1), data, table),
                ),
            ),
        )

    body = _box(b"mdat", *samples)
    if is_index_first:
        return head + index(len(head) + len(index(0)) + 8) + body
    return head + body + index(len(head) + 8)


def _longs(numbers: Iterable[int]) -> bytes:
    return b"".join(struct.pack(">I", number) for number in numbers)


def _chunk(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack("<4sI", kind, len(body)) + body + b"\0" * (len(body) % 2)


def avi(frames: Sequence[Image.Image], size: tuple[int, int] | None = None) -> bytes:
    """Write an AVI, of ten frames a second."""
    samples = [_jpeg(frame) for frame in frames]
    width, height = size or frames[0].size
    count = len(samples)
    main = struct.pack("<14I", 100_000, 0, 0, 16, count, 0, 1, 0, width, height, 0, 0, 0, 0)
    stream = struct.pack(
        "<4s4sIHHIIIIIIII8x", b"vids", b"MJPG", 0, 0, 0, 0, 1, FRAMES_A_SECOND, 0, count, 0, 0, 0
    )
    picture = struct.pack("<IiiHH4sIiiII", 40, width, height, 1, 24, b"MJPG", 0, 0, 0, 0, 0)
    head = _chunk(
        b"LIST",
        b"hdrl",
        _chunk(b"avih", main),
        _chunk(b"LIST", b"strl", _chunk(b"strh", stream), _chunk(b"strf", picture)),
    )
    chunks = [_chunk(b"00dc", sample) for sample in samples]
    index, at = b"", 4
    for chunk, sample in zip(chunks, samples, strict=True):
        index += struct.pack("<4sIII", b"00dc", 16, at, len(sample))
        at += len(chunk)
    body = b"AVI " + head + _chunk(b"LIST", b"movi", *chunks) + _chunk(b"idx1", index)
    return struct.pack("<4sI", b"RIFF", len(body)) + body


def playlist() -> bytes:
    return b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n"


def ebml(doc_type: bytes, more: bytes = b"") -> bytes:
    """Write how a Matroska file begins."""
    head = b"\x42\x82" + bytes([0x80 | len(doc_type)]) + doc_type
    return b"\x1aE\xdf\xa3" + bytes([0x80 | len(head)]) + head + more
