"""A file as it was sent, accepted: inspected, cleaned, and decoded whole once."""

import contextlib
import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from imgprocessor.config.settings import OriginalsSettings
from imgprocessor.config.upload_settings import KeptMetadata
from imgprocessor.errors import BrokenOriginal
from imgprocessor.formats import Format
from imgprocessor.geometry import Size
from imgprocessor.images.clean.extras import Extras, extras_in
from imgprocessor.images.clean.rewrite import clean
from imgprocessor.images.clean.tails import without_tails
from imgprocessor.images.decode import fault_of_the_original, open_original
from imgprocessor.images.formats.exif import Exif
from imgprocessor.images.inspection import ORIGINAL_FORMATS


@dataclass(frozen=True)
class AcceptedFile:
    """What is kept of a file."""

    body: bytes
    """The picture's file, cleaned."""
    format: Format
    displayed: Size
    """After orientation."""
    is_animated: bool


def accept(
    file: bytes,
    limits: OriginalsSettings,
    metadata: KeptMetadata,
    *,
    room: Callable[[int], AbstractContextManager[object]] = lambda _: contextlib.nullcontext(),
) -> AcceptedFile:
    """Return what is kept of a file as sent: the picture that it is, nothing that follows it or
    hides in it, and of its metadata what the settings say. It is decoded once, and whole: of what
    ends too early nothing is kept, though as an original it would be shown as far as it goes.

    Beside `file` one copy is in memory, and what decoding takes.

    Args:
        file: all of it.
        limits: those of originals.
        metadata: what is kept beside orientation and colours.
        room: held while the picture is decoded; it is told how many bytes of memory that takes.

    Raises:
        UnsupportedOriginal: it is in no format on the allow-list.
        OversizedOriginal: it is over one of the limits.
        BrokenOriginal: it ends too early, or makes no sense.
    """
    opened = open_original(io.BytesIO(file), limits)
    sent = opened.metadata
    kept = Exif(sent.orientation, () if metadata == "none" else sent.copyright)
    extras = extras_in(opened.info, kept, limits) if metadata == "all" else Extras.of(kept)
    cleaned = clean(file, sent.kind, extras)
    known = ORIGINAL_FORMATS[sent.kind]
    # A decoder that reduces by itself reads as much of the file as for all pixels.
    with room(opened.memory_bytes(known.max_draft)):
        with fault_of_the_original():
            trimmed = without_tails(cleaned.body, sent.kind)
        opened = open_original(io.BytesIO(trimmed.body), limits)
        if not trimmed.is_decoded:
            opened.decode(known.max_draft, reads_all=True)
    if opened.metadata.is_damaged:
        raise BrokenOriginal("ends too early")
    return AcceptedFile(trimmed.body, known.format, opened.metadata.displayed, cleaned.is_animated)
