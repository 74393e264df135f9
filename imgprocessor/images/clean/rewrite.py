"""A picture's file rewritten without metadata, whatever its format, and nothing decoded."""

import struct

from imgprocessor.errors import BrokenOriginal
from imgprocessor.images.clean.extras import Extras
from imgprocessor.images.clean.gif import clean_gif
from imgprocessor.images.clean.jpeg import clean_jpeg
from imgprocessor.images.clean.parts import Cleaned
from imgprocessor.images.clean.png import clean_png
from imgprocessor.images.clean.webp import clean_webp
from imgprocessor.images.formats.structure import Kind
from imgprocessor.images.inspection import LONGEST_SIGNATURE, ORIGINAL_FORMATS


def clean(file: bytes, kind: Kind, extras: Extras, *, keep_profile: bool = True) -> Cleaned:
    """Return the same picture without anything that is no use to a decoder: EXIF data, XMP, IPTC,
    comments and texts, thumbnails and further pictures, chunks and segments that are not known
    here, and whatever follows the picture. Frames of an animation stay. The coded pixels are the
    same bytes.

    Args:
        file: all of an original that `inspect` accepted.
        kind: as `inspect` says.
        extras: what is written beside the picture: the orientation that the original has, which
            must keep its effect, and what else is to be kept. GIF has no place for either.
            Browsers turn a JPEG and a PNG by their orientation, but no WebP.
        keep_profile: without, all that is said about colours is dropped: for a picture in sRGB.

    Raises:
        BrokenOriginal: its structure makes no sense, or it ends before the picture does.
        OversizedOriginal: it is in too many parts.
    """
    if not ORIGINAL_FORMATS[kind].matches(file[:LONGEST_SIGNATURE]):
        raise BrokenOriginal(f"no {kind}")
    try:
        match kind:
            case "JPEG":
                return clean_jpeg(file, extras, keep_profile=keep_profile)
            case "PNG":
                return clean_png(file, extras, keep_profile=keep_profile)
            case "WEBP":
                return clean_webp(file, extras, keep_profile=keep_profile)
            case "GIF":
                return clean_gif(file)
    except (struct.error, IndexError) as error:
        raise BrokenOriginal(f"{kind} ends before its picture") from error
