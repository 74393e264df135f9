"""What hides behind coded pixels of a JPEG, PNG or GIF, where only decoding finds it: cut off.

Decoders take no notice of what follows the last pixel in a scan, packed rows or a frame's blocks.
"""

import io
import itertools
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from PIL import Image, _imaging

from imgprocessor.images.clean.gif import gif_frames
from imgprocessor.images.clean.jpeg import scans_in
from imgprocessor.images.clean.parts import Part
from imgprocessor.images.clean.png import PNG_SIGNATURE, png_chunk, png_chunks
from imgprocessor.images.formats.jpeg import JPEG_ORIGINAL
from imgprocessor.images.formats.structure import Kind

_STEP_BYTES, _IDLE_STEPS = 127, 8
"""A decoder takes bytes as it needs them, up to eight at once, so that by chance it has taken all
there are. It never has after so many steps in a row, unless it does not decode them: the step is a
prime, and coprime to whatever repeats in a picture.
"""
_LARGE_STEP_BYTES, _LAST_BYTES = 65_536, 4096
"""Steps are large up to so near a scan's end: hardly ever hides more behind its pixels."""
_BLOCK_BYTES = 1 << 20
_MOST_PIXELS = 200_000_000
"""Of all frames of a GIF: they take three seconds."""

_MOST_UNPACKED_BYTES = 500_000_000
"""Of all frames of an animated PNG: they take two seconds."""

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""By a PNG's type of colours."""
_ALL_AT_ONCE = ((0, 0, 1, 1),)
_ADAM7 = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)
"""Of each pass its first pixel, across and down, and how far it is to the next."""


@dataclass(frozen=True)
class Trimmed:
    """A file without what hides."""

    body: bytes
    is_decoded: bool = False
    """Whether all of its pixels were decoded on the way."""


def without_tails(file: bytes, kind: Kind) -> Trimmed:
    """Return a cleaned file without what follows coded pixels, but for a kilobyte a scan of a JPEG
    and two blocks a frame of a GIF. A file that cannot be decoded comes back as it is.

    What is kept still: what follows within a WebP's chunks, before a JPEG's restart markers, in a
    JPEG with arithmetic coding, in a GIF's frames once they have `_MOST_PIXELS` together, in those
    that are larger than its screen, and in a PNG's frames after `_MOST_UNPACKED_BYTES`.
    """
    match kind:
        case "JPEG":
            return _jpeg(file)
        case "PNG":
            return Trimmed(_png(file))
        case "GIF":
            return Trimmed(_without(file, list(_gif_tails(file))))
        case "WEBP":
            return Trimmed(file)


def _without(file: bytes, tails: list[tuple[int, int]]) -> bytes:
    """Return a file without parts of it, by their begins and ends."""
    if not any(begin < end for begin, end in tails):
        return file
    view, place, parts = memoryview(file), 0, []
    for begin, end in tails:
        parts.append(view[place:begin])
        place = end
    return b"".join((*parts, view[place:]))


def _jpeg(file: bytes) -> Trimmed:
    scans = scans_in(file)
    found = _ends(file, scans, _LAST_BYTES) or _ends(file, scans, len(file))
    assert found is not None  # noqa: S101 - for mypy: no step was large
    ends, is_decoded = found
    tails = [(end, known) for end, (_, known) in zip(ends, scans, strict=True)]
    return Trimmed(_without(file, tails), is_decoded)


def _gif_tails(file: bytes) -> Iterator[tuple[int, int]]:
    """Yield of each frame where its blocks may end, and where they do."""
    across, down = struct.unpack_from("<6xHH", file)
    pixels = 0
    for descriptor, place, end in gif_frames(file):
        width, height, flags = struct.unpack_from("<4xHHB", descriptor)
        pixels += width * height
        # For a screen's pixels there is memory: that was inspected.
        if pixels > _MOST_PIXELS or not 0 < width * height <= across * down:
            continue
        args = (file[place], flags >> 6 & 1, -1)
        decoder = Image._getdecoder("L", "gif", args)  # noqa: SLF001 - as Pillow itself does
        image = _imaging.new("L", (width, height))
        decoder.setimage(image, (0, 0, width, height))
        block, taken = place + 1, 0
        while block < end and taken >= 0:
            following = block + 1 + file[block]
            taken, _ = decoder.decode(file[block:following])
            block = following
        yield block, end


def _ends(
    file: bytes, scans: list[tuple[int, int]], last_bytes: int
) -> tuple[list[int], bool] | None:
    """Return where each scan may end, by its begin and end, as libjpeg sees it, and whether it came
    to the last pixel. Before the last bytes of a scan steps are large: None where it ends there.

    At an eighth of the scale: all that is coded is read for it, too.
    """
    image = JPEG_ORIGINAL.decoder(io.BytesIO(file))
    most = JPEG_ORIGINAL.max_draft
    image.draft(None, (max(1, image.width // most), max(1, image.height // most)))
    (tile,) = image.tile
    pixels = _imaging.new(image.mode, image.size)
    decoder = Image._getdecoder(image.mode, tile[0], tile.args, image.decoderconfig)  # noqa: SLF001
    decoder.setimage(pixels, tile.extents)
    ends = [end for _, end in scans]
    left, place = b"", 0
    for number, (begin, end) in enumerate(scans):
        small = begin + max(0, (end - begin - last_bytes) // _STEP_BYTES) * _STEP_BYTES
        large_steps = range(begin, small, _LARGE_STEP_BYTES)
        small_steps = range(small, end, _STEP_BYTES)
        idle = 0
        for step in itertools.chain(large_steps, small_steps, [end]):
            left += file[place:step]
            place = step
            taken, error = decoder.decode(left)
            if taken < 0:  # there was an error, or all rows are there
                if error:
                    return ends, False
                if begin < step <= small:
                    return None
                return [*ends[:number], step, *ends[number + 1 :]], True
            left = left[taken:]
            is_idle = begin < step >= small and not left.strip(b"\xff")
            idle = idle + 1 if is_idle else 0
        if large_steps and idle > len(small_steps):
            return None
        first_idle = begin + max(0, -(-(end - begin) // _STEP_BYTES) - idle) * _STEP_BYTES
        ends[number] = min(end, first_idle + _IDLE_STEPS * _STEP_BYTES)
    taken, error = decoder.decode(left + file[place:])
    return ends, taken < 0 and not error


def _png(file: bytes) -> bytes:
    chunks = list(png_chunks(file))
    header = chunks[0][1]
    width, height = struct.unpack_from(">II", header)
    parts: list[tuple[bytes, Part]] = []
    is_same = True
    unpacked_bytes = 0
    for name, group in itertools.groupby(chunks, key=lambda chunk: chunk[0]):
        contents: list[Part] = [content for _, content in group]
        if name == b"fcTL":
            width, height = struct.unpack_from(">II", contents[0], 4)
        if name in {b"IDAT", b"fdAT"}:
            needed = _unpacked_bytes(header, width, height)
            unpacked_bytes += needed
            numbers = 4 if name == b"fdAT" else 0
            packed = None
            # The first picture is decoded anyway: it was inspected what that takes.
            if name == b"IDAT" or unpacked_bytes <= _MOST_UNPACKED_BYTES:
                packed = _exact(b"".join(content[numbers:] for content in contents), needed)
            if packed is not None:
                is_same = False
                contents = [bytes(numbers) + packed]
        parts += [(name, content) for content in contents]
    if is_same:
        return file
    return b"".join((PNG_SIGNATURE, *(png_chunk(*part) for part in _numbered(parts))))


def _numbered(parts: Iterable[tuple[bytes, Part]]) -> Iterator[tuple[bytes, Part]]:
    """Number the parts of an animation anew."""
    number = 0
    for name, content in parts:
        if name in {b"fcTL", b"fdAT"}:
            yield name, struct.pack(">I", number) + bytes(content[4:])
            number += 1
        else:
            yield name, content


def _unpacked_bytes(header: memoryview, width: int, height: int) -> int:
    """Return how many bytes the rows of a PNG, or of a frame, are, each with its filter."""
    depth, colour, _, _, interlace = struct.unpack_from(">BBBBB", header, 8)
    bits = depth * _CHANNELS.get(colour, 0)
    total = 0
    for left, top, across, down in _ADAM7 if interlace else _ALL_AT_ONCE:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * bits // 8))
    return total


def _exact(packed: bytes, needed: int) -> bytes | None:
    """Return packed rows without what follows them, packed or not; None where that is nothing, or
    where they cannot be unpacked.
    """
    unpacker = zlib.decompressobj()
    total = 0
    try:
        for block in _unpacked(unpacker, packed):
            total += len(block)
            if total > needed:
                return _packed_anew(packed, needed)
    except zlib.error:
        return None
    return packed[: -len(unpacker.unused_data)] if unpacker.unused_data else None


def _unpacked(unpacker: "zlib._Decompress", packed: bytes) -> Iterator[bytes]:
    """Yield what is packed, in blocks, as far as it goes."""
    while not unpacker.eof:
        block = unpacker.decompress(packed, _BLOCK_BYTES)
        packed = unpacker.unconsumed_tail
        if not block and not packed:
            return
        yield block


def _packed_anew(packed: bytes, needed: int) -> bytes:
    packer = zlib.compressobj()
    parts = []
    for block in _unpacked(zlib.decompressobj(), packed):
        parts.append(packer.compress(block[:needed]))
        needed -= min(needed, len(block))
        if not needed:
            break
    return b"".join((*parts, packer.flush()))
