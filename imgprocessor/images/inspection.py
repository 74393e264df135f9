"""What an original is, told from its bytes before any decoder sees it: format, size, what it costs.

Reads structure only: segments, chunks and blocks by their lengths. Whatever makes decoding dear is
found here: pixels, JPEG scans, memory, metadata, and how many parts a file comes in, because
Pillow takes each of them in Python. Frames after the first are not looked at: none is ever decoded.
"""

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

from imgprocessor.config.settings import OriginalsSettings
from imgprocessor.errors import BrokenOriginal, OversizedOriginal, UnsupportedOriginal
from imgprocessor.geometry import Size

Kind = Literal["JPEG", "PNG", "WEBP", "GIF"]
"""The allow-list, as Pillow calls each format. Nothing else is ever decoded."""

# How files begin. JPEG also stands for MPO, which is a JPEG with more pictures behind the first.
_SIGNATURES: tuple[tuple[Kind, Callable[[bytes], bool]], ...] = (
    ("JPEG", lambda head: head.startswith(b"\xff\xd8\xff")),
    ("PNG", lambda head: head.startswith(b"\x89PNG\r\n\x1a\n")),
    ("WEBP", lambda head: head[:4] + head[8:12] == b"RIFFWEBP"),
    ("GIF", lambda head: head[:6] in {b"GIF87a", b"GIF89a"}),
)
_LONGEST_SIGNATURE = 12

# What decoding takes a pixel at its peak, until there are 8 bits a channel. Measured with
# Pillow-SIMD 12.1.1 and libwebp 1.2.4 over 12 megapixels of each kind.
_PIXEL_BYTES: dict[Kind, int] = {"JPEG": 4, "PNG": 5, "WEBP": 18, "GIF": 5}
"""WebP: two canvases, Pillow's copy and Pillow's pixels; a lossy picture's alpha adds 1.6."""
_TRANSPARENT_PNG_PIXEL_BYTES = 8
"""With a colour that means transparent: RGB, and RGBA made of it."""
_COEFFICIENT_BYTES = 2
"""Of a JPEG in several scans all coefficients are kept, one a sample (libjpeg's JCOEF)."""

_MAX_PIXEL_PARTS = 65_536
"""PNG chunks, WebP frames and GIF blocks: 50 MB in chunks of 8192 bytes, which libpng writes, are
6,400. Pillow needs two microseconds for each.
"""
_MAX_COMMENT_BLOCKS = 2048
"""Of a GIF: half a megabyte. Pillow copies the whole comment for each of its blocks."""
_MAX_STRAY_BYTES = 65_536
"""Between a JPEG's segments or a GIF's blocks, where nothing should be. Pillow skips them one by
one, a tenth of a microsecond each.
"""

_BLOCK_BYTES = 1 << 20

# JPEG markers (ITU-T T.81, table B.1).
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_TEM, _RST0, _RST7 = 0x01, 0xD0, 0xD7
_APP1, _APP15, _COM = 0xE1, 0xEF, 0xFE
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_AFTER_A_SCAN = re.compile(rb"\xff([\xc0-\xcf\xd8-\xfe])")
"""What ends entropy-coded data: no stuffed zero, no restart marker."""
_FRAME_HEADER = struct.Struct(">xHHB")
"""Bits a sample, height, width, components; three bytes each component follow."""
_MAX_COMPONENTS = 4


@dataclass(frozen=True)
class Inspected:
    """What an original's structure says."""

    kind: Kind
    size: Size
    """As it is stored, before orientation; with GIF that of the screen or of what is beyond it."""
    pixel_bytes: int = 0
    coefficient_bytes: int = 0
    """Of a JPEG in several scans."""
    scans: int = 1

    def memory_bytes(self, reduced_by: int = 1) -> int:
        """Return what decoding takes at its peak, where the decoder reduces by itself. Without, it
        is the most that decoding can take.
        """
        pixels = self.size.width * self.size.height
        return self.coefficient_bytes + self.pixel_bytes * pixels // reduced_by**2


def inspect(file: BinaryIO, limits: OriginalsSettings) -> Inspected:
    """Decide whether a file may be decoded; it is left at its beginning.

    Raises:
        UnsupportedOriginal: it is in no format on the allow-list.
        OversizedOriginal: it is over one of the limits.
        BrokenOriginal: its structure makes no sense.
    """
    head = file.read(_LONGEST_SIGNATURE)
    kind = next((kind for kind, matches in _SIGNATURES if matches(head)), None)
    if kind is None:
        raise UnsupportedOriginal(f"begins with {head!r}")
    file.seek(0)
    try:
        inspected = _INSPECTORS[kind](_Walk(file, limits))
    except (struct.error, IndexError) as error:
        raise BrokenOriginal(f"{kind} ends before its pixels") from error
    file.seek(0)
    return inspected


class _Walk:
    """A way through a file, on which its parts are counted."""

    def __init__(self, file: BinaryIO, limits: OriginalsSettings) -> None:
        self.file = file
        self.limits = limits
        self._parts = self._pixel_parts = self._metadata_bytes = self._stray_bytes = 0

    def take(self, count: int) -> bytes:
        """Return the next bytes, all of them."""
        taken = self.file.read(count)
        if len(taken) < count:
            raise struct.error
        return taken

    def skip(self, count: int) -> None:
        """Go on, maybe beyond the end, where nothing can be taken."""
        self.file.seek(count, 1)

    def count(self, metadata_bytes: int = 0) -> None:
        """Count a part that is not pixels."""
        self._parts += 1
        self._metadata_bytes += metadata_bytes
        limits = self.limits
        if self._parts > limits.max_metadata_parts:
            wrong = f"more parts beside pixels than max_metadata_parts = {self._parts - 1}"
            raise OversizedOriginal(wrong)
        if self._metadata_bytes > limits.max_metadata_bytes:
            wrong = f"{self._metadata_bytes} bytes of metadata"
            raise OversizedOriginal(
                f"{wrong}, over max_metadata_bytes = {limits.max_metadata_bytes}"
            )

    def count_pixels(self) -> None:
        """Count a part that is pixels, or one of many small blocks."""
        self._pixel_parts += 1
        if self._pixel_parts > _MAX_PIXEL_PARTS:
            raise OversizedOriginal(f"in more than {_MAX_PIXEL_PARTS} parts")

    def count_stray(self, stray_bytes: int = 1) -> None:
        """Count bytes that belong to no part."""
        self._stray_bytes += stray_bytes
        if self._stray_bytes > _MAX_STRAY_BYTES:
            raise BrokenOriginal(f"more than {_MAX_STRAY_BYTES} bytes where nothing should be")

    def sized(self, kind: Kind, width: int, height: int) -> Inspected:
        """Return a size that is within the limits.

        Raises:
            BrokenOriginal: there is no pixel.
            OversizedOriginal: there are too many, or a side is too long.
        """
        size, limits = Size(width, height), self.limits
        if min(width, height) < 1:
            raise BrokenOriginal(f"{size}")
        if max(width, height) > limits.max_side_pixels:
            wrong = f"{size} has a side over max_side_pixels = {limits.max_side_pixels}"
            raise OversizedOriginal(wrong)
        if width * height > limits.max_pixels:
            raise OversizedOriginal(f"{size} has more than max_pixels = {limits.max_pixels}")
        return Inspected(kind, size, _PIXEL_BYTES[kind])

    def afforded(self, inspected: Inspected) -> Inspected:
        """Return what was found, where there may be memory enough for it."""
        needed, most = inspected.memory_bytes(), self.limits.max_decoded_bytes
        if needed > most:
            wrong = f"{inspected.size} of {inspected.kind} takes {needed} bytes to decode"
            raise OversizedOriginal(f"{wrong}, over max_decoded_bytes = {most}")
        return inspected


def _inspect_jpeg(walk: _Walk) -> Inspected:
    frame: tuple[int, bytes] | None = None
    found: Inspected | None = None
    for marker, content in _segments_before_pixels(walk):
        if marker in _FRAMES:
            if found is not None:
                raise BrokenOriginal("two frame headers")
            height, width, _ = _FRAME_HEADER.unpack_from(content)
            found, frame = walk.sized("JPEG", width, height), (marker, content)
        elif marker == _SOS:
            break
    else:
        raise BrokenOriginal("no scan")
    if found is None or frame is None:
        raise BrokenOriginal("a scan before the frame header")
    return _with_scans(walk, found, frame, components=content[0])


def _segments_before_pixels(walk: _Walk) -> Iterator[tuple[int, bytes]]:
    """Yield marker and content of each segment, the header of the first scan last."""
    walk.skip(2)
    while True:
        (marker,) = walk.take(1)
        if marker != 0xFF:  # noqa: PLR2004 - what every marker begins with
            walk.count_stray()
            continue
        while marker == 0xFF:  # noqa: PLR2004 - as many as there are
            walk.count_stray()
            (marker,) = walk.take(1)
        if marker in {0, _TEM, _SOI} or _RST0 <= marker <= _RST7:
            continue
        if marker == _EOI:
            return
        length = max(0, int.from_bytes(walk.take(2), "big") - 2)
        is_metadata = _APP1 <= marker <= _APP15 or marker == _COM
        walk.count(length if is_metadata else 0)
        yield marker, walk.take(length)
        if marker == _SOS:
            return


def _with_scans(
    walk: _Walk, found: Inspected, frame: tuple[int, bytes], *, components: int
) -> Inspected:
    """Add what further scans cost, and see whether that is within the limits.

    Args:
        walk: where the first scan's header ends.
        found: what is known already.
        frame: marker and content of the frame header.
        components: how many of the frame's are in the first scan.
    """
    marker, content = frame
    if marker not in _PROGRESSIVE and components == content[5]:
        # All is in the first scan; libjpeg reads no other.
        return walk.afforded(found)
    samplings = [content[index] for index in range(7, 6 + 3 * content[5], 3)]
    if not 1 <= len(samplings) <= _MAX_COMPONENTS:
        raise BrokenOriginal(f"{len(samplings)} components")
    pixels = found.size.width * found.size.height
    coefficients = int(_COEFFICIENT_BYTES * _samples_a_pixel(samplings) * pixels)
    most = min(walk.limits.max_scans, walk.limits.max_megapixel_scans * 1_000_000 // pixels)
    scans = _count_scans(walk, most)
    if scans > most:
        wrong = f"{found.size} in more than {most} scans"
        limits = f"max_scans = {walk.limits.max_scans}"
        limits += f" and max_megapixel_scans = {walk.limits.max_megapixel_scans} allow"
        raise OversizedOriginal(f"{wrong}, which is all that {limits}")
    return walk.afforded(Inspected(found.kind, found.size, found.pixel_bytes, coefficients, scans))


def _samples_a_pixel(samplings: list[int]) -> float:
    """Return how many samples there are for a pixel, over all components.

    Args:
        samplings: of each component, how fine it is across (the upper half of a byte) and down.
    """
    across, down = [both >> 4 for both in samplings], [both & 15 for both in samplings]
    samples = sum(one * other for one, other in zip(across, down, strict=True))
    return samples / (max(1, *across) * max(1, *down))


def _count_scans(walk: _Walk, most: int) -> int:
    """Return how many scans there are, from the first one's data on: at most one over the limit.

    Where the two bytes that begin a scan's header are rare, nothing else need be looked at.
    """
    begin = walk.file.tell()
    candidates, last = 1, b""
    while candidates <= most and (block := walk.file.read(_BLOCK_BYTES)):
        candidates += (last + block).count(b"\xff\xda")
        last = block[-1:]
    if candidates <= most:
        return candidates
    # Some may be in what another segment holds, or in another picture behind this one.
    walk.file.seek(begin)
    scans = 1
    for marker in _markers_between_scans(walk):
        scans += marker == _SOS
        if scans > most:
            break
    return scans


def _markers_between_scans(walk: _Walk) -> Iterator[int]:
    """Yield each segment's marker up to the end of the picture, as libjpeg would see them."""
    block, place = b"", 0
    while True:
        match = _AFTER_A_SCAN.search(block, place)
        if match is None or match.end() + 2 > len(block):
            # What was passed already is not looked at again: it may end like a marker begins.
            rest = block[match.start() :] if match else block[max(place, len(block) - 1) :]
            fresh = walk.file.read(_BLOCK_BYTES)
            if not fresh:
                return
            block, place = rest + fresh, 0
            continue
        marker = match[1][0]
        if marker == _EOI:
            return
        yield marker
        walk.count()
        place = match.end() + max(2, int.from_bytes(block[match.end() : match.end() + 2], "big"))
        if place > len(block):
            walk.skip(place - len(block))
            block, place = b"", 0


def _inspect_png(walk: _Walk) -> Inspected:
    walk.skip(8)
    length, name = struct.unpack(">I4s", walk.take(8))
    if name != b"IHDR":
        raise BrokenOriginal(f"begins with the chunk {name!r}")
    width, height = struct.unpack(">II", walk.take(8))
    found = walk.sized("PNG", width, height)
    walk.skip(length - 8 + 4)
    pixel_bytes = found.pixel_bytes
    # A file that ends too early is the decoder's to refuse, or to be content with.
    while len(head := walk.file.read(8)) == 8:  # noqa: PLR2004 - length and name
        length, name = struct.unpack(">I4s", head)
        if name == b"IEND":
            break
        if name == b"IHDR":
            raise BrokenOriginal("two headers")
        if name in {b"IDAT", b"fdAT", b"fcTL"}:
            walk.count_pixels()
        else:
            walk.count(length)
        if name == b"tRNS":
            pixel_bytes = _TRANSPARENT_PNG_PIXEL_BYTES
        walk.skip(length + 4)
    return walk.afforded(Inspected("PNG", found.size, pixel_bytes))


def _inspect_webp(walk: _Walk) -> Inspected:
    walk.skip(12)
    name, length = struct.unpack("<4sI", walk.take(8))
    found = walk.sized("WEBP", *_webp_size(name, walk.take(10)))
    walk.skip(length + length % 2 - 10)
    while len(head := walk.file.read(8)) == 8:  # noqa: PLR2004 - name and length
        name, length = struct.unpack("<4sI", head)
        if name in {b"VP8 ", b"VP8L", b"ALPH", b"ANMF"}:
            walk.count_pixels()
        else:
            walk.count(length)
        walk.skip(length + length % 2)
    return walk.afforded(found)


def _webp_size(name: bytes, content: bytes) -> tuple[int, int]:
    """Return width and height from the beginning of a WebP's first chunk (RFC 9649)."""
    if name == b"VP8X":
        width = int.from_bytes(content[4:7], "little") + 1
        return width, int.from_bytes(content[7:10], "little") + 1
    if name == b"VP8L":
        bits = int.from_bytes(content[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if name == b"VP8 ":
        width, height = struct.unpack_from("<HH", content, 6)
        return width & 0x3FFF, height & 0x3FFF
    raise BrokenOriginal(f"begins with the chunk {name!r}")


def _inspect_gif(walk: _Walk) -> Inspected:
    walk.skip(6)
    width, height, flags = struct.unpack("<HHB2x", walk.take(7))
    if flags & 0x80:
        walk.skip(3 << (flags & 7) + 1)
    comment_blocks = 0
    while (introducer := walk.take(1)) != b",":
        if introducer == b";":
            raise BrokenOriginal("no picture in it")
        if introducer != b"!":
            walk.count_stray()
            continue
        (label,) = walk.take(1)
        blocks, content_bytes = _skip_blocks(walk)
        walk.count(content_bytes)
        comment_blocks += blocks if label == 0xFE else 0  # noqa: PLR2004 - a comment
        if comment_blocks > _MAX_COMMENT_BLOCKS:
            raise OversizedOriginal(f"a comment in more than {_MAX_COMMENT_BLOCKS} blocks")
    left, top, across, down = struct.unpack("<HHHH", walk.take(8))
    # Pillow enlarges the screen to what the frame needs.
    return walk.afforded(walk.sized("GIF", max(width, left + across), max(height, top + down)))


def _skip_blocks(walk: _Walk) -> tuple[int, int]:
    """Go behind the blocks of a GIF's extension; return how many, and how many bytes in them."""
    blocks = content_bytes = 0
    while length := walk.take(1)[0]:
        walk.count_pixels()
        walk.skip(length)
        blocks += 1
        content_bytes += length
    return blocks, content_bytes


_INSPECTORS: dict[Kind, Callable[[_Walk], Inspected]] = {
    "JPEG": _inspect_jpeg,
    "PNG": _inspect_png,
    "WEBP": _inspect_webp,
    "GIF": _inspect_gif,
}
