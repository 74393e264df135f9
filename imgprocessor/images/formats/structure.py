"""A walk through an original's file by its structure, without a decoder, with everything counted.

Each format walks in its own module, segment by segment or chunk by chunk, by their lengths.
Whatever makes decoding expensive is found on the way: pixels, JPEG scans, memory, metadata, and the
number of parts, because Pillow reads each of them in Python. Frames after the first are not looked
at: none is ever decoded.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

from PIL import Image, ImageFile

from imgprocessor.config.settings import OriginalsSettings
from imgprocessor.errors import BrokenOriginal, OversizedOriginal
from imgprocessor.formats import Format
from imgprocessor.geometry import Size
from imgprocessor.images.formats.damaged import Shown
from imgprocessor.images.formats.exif import Exif, exif_in

Kind = Literal["JPEG", "PNG", "WEBP", "GIF"]
"""A format that originals may have, by Pillow's name for it."""

_MAX_SIDE_PIXELS = 65_535
"""What a JPEG and a GIF can say. A PNG with one longer row would need as much for the row alone."""

_MAX_DRAFT_PIXELS = 100_000_000
"""A decoder that reduces by itself makes no more, whatever is wanted: twelve times as many as a
square rendition of 2,900 pixels has.
"""

_MAX_PIXEL_PARTS = 65_536
"""PNG chunks, WebP frames and GIF blocks: 100 MB in chunks of 8192 bytes, which libpng writes, are
12,800. Pillow needs two microseconds for each.
"""
_MAX_STRAY_BYTES = 65_536
"""Between a JPEG's segments or a GIF's blocks, where nothing should be. Pillow skips them one by
one, a tenth of a microsecond each.
"""


@dataclass(frozen=True)
class Inspected:
    """What an original's structure says."""

    kind: Kind
    size: Size
    """As it is stored, before orientation; of a GIF the screen, enlarged to hold the frame."""
    pixel_bytes: int
    """What decoding takes a pixel at its peak, until there are 8 bits a channel. Measured with
    Pillow-SIMD 12.1.1 and libwebp 1.2.4 over 12 megapixels of each kind.
    """
    coefficient_bytes: int = 0
    """Of a JPEG in several scans."""
    scans: int = 1

    def memory_bytes(self, reduced_by: int = 1) -> int:
        """Return what decoding takes at its peak, where the decoder reduces by itself so much."""
        pixels = self.size.width * self.size.height
        return self.coefficient_bytes + self.pixel_bytes * pixels // reduced_by**2


def finest_draft(size: Size) -> int:
    """Return how much a decoder that can reduce by itself does so at least, a power of two."""
    draft = 1
    while size.width * size.height // draft**2 > _MAX_DRAFT_PIXELS:
        draft *= 2
    return draft


class Walk:
    """A way through a file, on which its parts are counted."""

    def __init__(self, file: BinaryIO, limits: OriginalsSettings) -> None:
        self.file = file
        self.limits = limits
        self._parts = self._pixel_parts = self._metadata_bytes = self._stray_bytes = 0

    def take(self, count: int) -> bytes:
        """Return the next bytes, all of them, or raise `struct.error`."""
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

    def count_stray(self) -> None:
        """Count a byte that belongs to no part."""
        self._stray_bytes += 1
        if self._stray_bytes > _MAX_STRAY_BYTES:
            raise BrokenOriginal(f"more than {_MAX_STRAY_BYTES} bytes where nothing should be")

    def sized(self, kind: Kind, width: int, height: int, *, pixel_bytes: int) -> Inspected:
        """Return what is known of an original whose size is within the limits.

        Raises:
            BrokenOriginal: there is no pixel.
            OversizedOriginal: a side is too long.
        """
        size = Size(width, height)
        if min(width, height) < 1:
            raise BrokenOriginal(f"{size}")
        if max(width, height) > _MAX_SIDE_PIXELS:
            raise OversizedOriginal(f"{size} has a side over {_MAX_SIDE_PIXELS} pixels")
        return Inspected(kind, size, pixel_bytes)

    def afforded(self, inspected: Inspected, finest_draft: int = 1) -> Inspected:
        """Return what was found, of which no more than one `finest_draft`-th is ever decoded.

        Raises:
            OversizedOriginal: decoding may take more memory than is allowed.
        """
        needed, most = inspected.memory_bytes(finest_draft), self.limits.max_decoded_bytes
        if needed > most:
            wrong = f"{inspected.size} of {inspected.kind} takes {needed} bytes to decode"
            raise OversizedOriginal(f"{wrong}, over max_decoded_bytes = {most}")
        return inspected


@dataclass(frozen=True)
class OriginalFormat:
    """One format that originals may have: how it is recognised, inspected and decoded."""

    format: Format
    """What such a file is where it is sent as it is."""
    matches: Callable[[bytes], bool]
    """Whether a file's first bytes are this format's."""
    inspect: Callable[[Walk], Inspected]
    decoder: Callable[[BinaryIO], ImageFile.ImageFile]
    """Pillow's, called by name: `Image.open()` would look for one by the file's first bytes."""
    shown: Callable[[ImageFile.ImageFile, BinaryIO], Shown | None] = lambda *_: None
    """What there is of a picture that could not be decoded to its end; None where that is nothing.
    """
    eight_bits: Callable[[Image.Image, BinaryIO], Image.Image] = lambda image, _: image
    """Bring channels of 16 bits to 8, and what colour among them is transparent to alpha."""
    is_lossless: bool = False
    """Whether every file of it has its pixels exactly, as a WebP may or may not."""
    max_draft: int = 1
    """By how much the decoder can reduce by itself, a power of two."""
    read_all: Callable[[ImageFile.ImageFile], None] = lambda _: None
    """Have a picture decoded from all of its file, though it is reduced."""
    saved_quality: Callable[[Image.Image], int | None] = lambda _: None
    """The quality that a file was saved with, as its opened image says, 1 to 100."""
    exif_in: Callable[[Mapping[Any, Any], int], Exif] = exif_in
    """Read the EXIF data, of at most so many bytes, from the `info` of Pillow's image."""
