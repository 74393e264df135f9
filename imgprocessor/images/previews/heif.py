"""HEIF with HEVC inside: photographs as phones take them, decoded by libheif and libde265."""

import struct
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from imgprocessor.errors import UndrawableDocument
from imgprocessor.geometry import Page
from imgprocessor.images.previews.drawing import NoPage, drawn_by_python, library_lacks
from imgprocessor.images.previews.kind import CUT_OFF, DAMAGED, TOO_LARGE, Drawn, Ends, Run

_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis"})
"""HEVC's, in pictures (ISO/IEC 23008-12, annex B). AVIF has others, and no decoder here."""
_AVIF = frozenset({b"avif", b"avis"})
_MAX_BRANDS_BYTES = 400

MAX_PHOTOGRAPH_PIXELS = 150_000_000
_MEMORY_BYTES = 1_500_000_000

_MODES_WITH_ALPHA = frozenset({"RGBA", "LA", "RGBa", "La"})

_TOO_LARGE_SAYS = ("memory", "security limit")
_TOO_SHORT_SAYS = ("end of file", "unexpected end", "extent in iloc")
"""In what libheif says of a document that is too large, or ends too early."""


class Heif:
    """HEIF and HEIC."""

    name = "heif"
    title = "HEIF"
    suffixes: Sequence[str] = (".heic", ".heif", ".hif")

    def is_one(self, ends: Ends) -> bool:
        """Whether one of its brands is of pictures in HEVC."""
        if ends.head[4:8] != b"ftyp":
            return False
        size = min(int.from_bytes(ends.head[:4]), _MAX_BRANDS_BYTES)
        major, others = ends.head[8:12], ends.head[16:size]
        brands = {major} | {others[at : at + 4] for at in range(0, len(others), 4)}
        return bool(brands & _BRANDS) and major not in _AVIF

    def lacks(self) -> str | None:
        """Say where libheif is missing."""
        return library_lacks(self.name, "heif")

    def draw(self, run: Run, page: Page, side_pixels: int) -> Drawn:
        """Draw one of its pictures, the primary one first."""
        return drawn_by_python(run, self.name, run.document, page, side_pixels, _MEMORY_BYTES)


def paint_heif(document: Path, number: int, side_pixels: int, picture: Path) -> int:
    """Draw a picture inside of the sandbox: see `drawing.Paint`. It is turned as the file says."""
    import pi_heif  # noqa: PLC0415 - inside of the sandbox alone

    pi_heif.options.DECODE_THREADS = 1
    pi_heif.options.THUMBNAILS = pi_heif.options.DEPTH_IMAGES = pi_heif.options.AUX_IMAGES = False
    try:
        images = pi_heif.open_heif(document)
        # The primary picture is the one that viewers show, wherever it is in the file.
        order = sorted(range(len(images)), key=lambda index: index != images.primary_index)
        if not order:
            raise UndrawableDocument(CUT_OFF if ends_early(document) else DAMAGED)
        if number > len(order):
            raise NoPage(len(order))
        chosen = images[order[number - 1]]
        if chosen.size[0] * chosen.size[1] > MAX_PHOTOGRAPH_PIXELS:
            raise UndrawableDocument(TOO_LARGE)
        painted: Image.Image = chosen.to_pillow()
    except (ValueError, EOFError, SyntaxError, RuntimeError, OSError) as error:
        raise UndrawableDocument(_reason(error, document)) from error
    save_photograph(painted, painted.info.get("icc_profile"), side_pixels, picture)
    return len(order)


def _reason(error: Exception, document: Path) -> str:
    said = str(error).lower()
    if isinstance(error, OSError) or any(says in said for says in _TOO_LARGE_SAYS):
        return TOO_LARGE
    too_short = any(says in said for says in _TOO_SHORT_SAYS)
    return CUT_OFF if too_short or ends_early(document) else DAMAGED


def ends_early(document: Path) -> bool:
    """Whether the last box of a file of boxes (ISO/IEC 14496-12) is longer than the file."""
    size = document.stat().st_size
    with document.open("rb") as file:
        at = 0
        while at < size:
            file.seek(at)
            head = file.read(16)
            length = int.from_bytes(head[:4])
            if length == 1 and len(head) == 16:  # noqa: PLR2004 - a length of 64 bits follows
                (length,) = struct.unpack_from(">Q", head, 8)
            if length == 0:
                return False
            at += max(length, 8)
    return at > size


def save_photograph(
    painted: Image.Image, profile: bytes | None, side_pixels: int, picture: Path
) -> None:
    """Write a photograph as a JPEG in which nothing of it is lost, or a PNG where parts are clear.

    Args:
        painted: Its pixels, upright.
        profile: Its colours' ICC profile.
        side_pixels: The longer side at most.
        picture: Where to write it.
    """
    has_alpha = painted.mode in _MODES_WITH_ALPHA
    if painted.mode not in {"RGB", "RGBA", "L"}:
        profile = None  # of colours that it does not have any more
        painted = painted.convert("RGBA" if has_alpha else "RGB")
    painted.thumbnail((side_pixels, side_pixels), Image.Resampling.LANCZOS, reducing_gap=3.0)
    if has_alpha:
        painted.save(picture, "PNG", compress_level=1, icc_profile=profile)
    else:
        painted.save(picture, "JPEG", quality=95, subsampling=0, icc_profile=profile)
