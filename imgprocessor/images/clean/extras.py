"""Metadata that goes into a cleaned file, written anew: none, copyright, or all but the place."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imgprocessor.config.settings import OriginalsSettings
from imgprocessor.images.clean.exif_kept import kept_exif
from imgprocessor.images.clean.iptc import kept_iptc
from imgprocessor.images.clean.xmp import kept_xmp
from imgprocessor.images.formats.exif import Exif, binary_in, write_exif

_IPTC_RESOURCE = 0x0404
"""Of Photoshop's in a JPEG."""
_KEPT_TEXTS = (
    *("Title", "Author", "Description", "Copyright", "Creation Time", "Software"),
    *("Disclaimer", "Warning", "Source"),
)
"""PNG's own keywords (PNG, third edition, 11.3.3) but for comments."""
_MAX_TEXT_CHARACTERS = 2000


@dataclass(frozen=True)
class Extras:
    """Metadata as each format has it; empty where there is none."""

    exif: bytes = b""
    """It begins with `EXIF_PREFIX`."""
    xmp: bytes = b""
    iptc: bytes = b""
    """IIM datasets: for a JPEG alone."""
    texts: tuple[tuple[str, str], ...] = ()
    """Keywords and texts: for a PNG alone."""

    @classmethod
    def of(cls, kept: Exif) -> "Extras":
        """Return a few EXIF tags as metadata."""
        return cls(exif=write_exif(kept.copyright, kept.orientation))


def extras_in(info: Mapping[Any, Any], kept: Exif, limits: OriginalsSettings) -> Extras:
    """Return all that a decoder of Pillow's found beside the pixels, but for the place: EXIF data,
    XMP, IPTC and texts are written anew from lists of what may stay. What makes no sense goes.

    Args:
        info: of Pillow's image.
        kept: the orientation that counts; artist and copyright, for a file without EXIF data.
        limits: longer EXIF data counts as absent.
    """
    exif = kept_exif(binary_in(info, "exif", limits.max_exif_bytes), kept.orientation)
    resources = info.get("photoshop")
    iptc = resources.get(_IPTC_RESOURCE) if isinstance(resources, dict) else None
    texts = ((keyword, info.get(keyword)) for keyword in _KEPT_TEXTS)
    return Extras(
        exif=exif or write_exif(kept.copyright, kept.orientation),
        xmp=kept_xmp(binary_in(info, "xmp", limits.max_metadata_bytes)),
        iptc=kept_iptc(iptc) if isinstance(iptc, bytes) else b"",
        texts=tuple(
            (keyword, text[:_MAX_TEXT_CHARACTERS])
            for keyword, text in texts
            if isinstance(text, str)
        ),
    )
