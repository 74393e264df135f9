"""What an original is, found from its bytes before a decoder reads any: format, size, memory."""

import struct
from typing import BinaryIO

from imgprocessor.config.settings import OriginalsSettings
from imgprocessor.errors import BrokenOriginal, UnsupportedOriginal
from imgprocessor.formats import FILE_SUFFIXES
from imgprocessor.images.formats.gif import GIF_ORIGINAL
from imgprocessor.images.formats.jpeg import JPEG_ORIGINAL
from imgprocessor.images.formats.png import PNG_ORIGINAL
from imgprocessor.images.formats.structure import Inspected, Kind, OriginalFormat, Walk
from imgprocessor.images.formats.webp import WEBP_ORIGINAL

ORIGINAL_FORMATS: dict[Kind, OriginalFormat] = {
    "JPEG": JPEG_ORIGINAL,
    "PNG": PNG_ORIGINAL,
    "WEBP": WEBP_ORIGINAL,
    "GIF": GIF_ORIGINAL,
}
"""The allow-list. Nothing else is ever decoded."""

SUFFIXES = frozenset(
    suffix for known in ORIGINAL_FORMATS.values() for suffix in FILE_SUFFIXES[known.format]
)
"""How names of such files end, in lower case. Only where nothing is opened do names count."""

LONGEST_SIGNATURE = 12


def inspect(file: BinaryIO, limits: OriginalsSettings) -> Inspected:
    """Decide whether a file may be decoded; it is left at its beginning.

    Raises:
        UnsupportedOriginal: it is in no format on the allow-list.
        OversizedOriginal: it is over one of the limits.
        BrokenOriginal: its structure makes no sense.
    """
    head = file.read(LONGEST_SIGNATURE)
    kind = next((kind for kind, known in ORIGINAL_FORMATS.items() if known.matches(head)), None)
    if kind is None:
        raise UnsupportedOriginal(f"begins with {head!r}")
    file.seek(0)
    try:
        inspected = ORIGINAL_FORMATS[kind].inspect(Walk(file, limits))
    except (struct.error, IndexError) as error:
        raise BrokenOriginal(f"{kind} ends before its pixels") from error
    file.seek(0)
    return inspected
