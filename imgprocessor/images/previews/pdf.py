"""PDF: pages as viewers show them, drawn by PDFium, which is Chromium's."""

import ctypes
import functools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from imgprocessor.errors import UndrawableDocument
from imgprocessor.geometry import Page
from imgprocessor.images.previews.drawing import NoPage, drawn_by_python, library_lacks
from imgprocessor.images.previews.fonts import Face, faces
from imgprocessor.images.previews.kind import (
    CUT_OFF,
    DAMAGED,
    EMPTY,
    LOCKED,
    TOO_LARGE,
    Drawn,
    Ends,
    Run,
)

_MARK, _MARK_WITHIN_BYTES = b"%PDF-", 1024
"""Viewers accept what stands before it: headers of mail and of printers."""
_END, _END_WITHIN_BYTES = b"%%EOF", 2048

_OTHERS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"RIFF", b"PK\3\4", b"\xd0\xcf\x11\xe0")
"""What begins like a picture is one, whatever its metadata says; an office document may have a PDF
in it.
"""

_WHITE = 0xFFFFFFFF
_CHARSET_HANGUL, _HANGUL = 129, "가나다한글"

_kept: list[Any] = []
"""What PDFium calls."""

_NOTHING, _FORMAT, _PASSWORD, _SECURITY = 0, 3, 4, 5
"""Codes of PDFium's."""


class Pdf:
    """PDFs."""

    name = "pdf"
    title = "PDF"
    suffixes: Sequence[str] = (".pdf",)

    def is_one(self, ends: Ends) -> bool:
        """Whether it says so within the first bytes, as viewers have it."""
        return _MARK in ends.head[: _MARK_WITHIN_BYTES + len(_MARK) - 1] and not (
            ends.head.startswith(_OTHERS)
        )

    def lacks(self) -> str | None:
        """Say where PDFium is missing."""
        return library_lacks(self.name, "previews")

    def draw(self, run: Run, page: Page, side_pixels: int) -> Drawn:
        """Draw a page."""
        return drawn_by_python(run, self.name, run.document, page, side_pixels)


def paint_pdf(document: Path, number: int, side_pixels: int, picture: Path) -> int:
    """Draw a page inside of the sandbox: see `drawing.Paint`."""
    import pypdfium2  # noqa: PLC0415 - inside of the sandbox alone

    _kept.append(_find_hangul(faces()))
    try:
        pdf = pypdfium2.PdfDocument(document)
    except pypdfium2.PdfiumError as error:
        raise UndrawableDocument(_reason(error.err_code, document)) from error
    # Before the first page is asked for, or fields are left out.
    pdf.init_forms()
    pages = len(pdf)
    if number > pages:
        raise NoPage(pages)
    try:
        page = pdf[number - 1]
    except pypdfium2.PdfiumError as error:
        raise UndrawableDocument(_reason(_FORMAT, document)) from error
    _painted(pdf, page, side_pixels).save(picture, "PNG", compress_level=1)
    return pages


def _find_hangul(fonts: Iterable[Face]) -> Any:
    """Have PDFium draw Korean in a font that has Hangul. By itself it takes one that says so, and
    Droid Sans Fallback says so and has none.

    Returns:
        What must live as long as PDFium is in use.
    """
    import pypdfium2.raw as pdfium  # noqa: PLC0415 - inside of the sandbox alone

    known = pdfium.FPDF_GetDefaultSystemFontInfo()
    kind = type(known.contents.MapFont)
    # By its address: what is read from the structure is whatever stands in it when it is called.
    own_way = kind(ctypes.cast(known.contents.MapFont, ctypes.c_void_p).value)

    @functools.cache
    def korean() -> bytes | None:
        families = (face.families for face in fonts if face.has(_HANGUL))
        return next((min(names).encode("utf-8") for names in families if names), None)

    def find(*asked: Any) -> int:
        this, _, _, charset, *_ = asked
        family = korean() if charset == _CHARSET_HANGUL else None
        found = known.contents.GetFont(this, family) if family else None
        return found or own_way(*asked) or 0

    callback = kind(find)
    known.contents.MapFont = callback
    pdfium.FPDF_SetSystemFontInfo(known)
    return callback


def _painted(pdf: Any, page: Any, side_pixels: int) -> Image.Image:
    """Paint on white paper. The page may be of any size, and its sides of any ratio: the picture
    is as many pixels as it should be.
    """
    import pypdfium2  # noqa: PLC0415 - inside of the sandbox alone
    import pypdfium2.raw as pdfium  # noqa: PLC0415 - inside of the sandbox alone

    sides = page.get_size()
    if min(sides) <= 0:
        # What is cropped to nothing is shown whole.
        page.set_cropbox(*page.get_mediabox())
        sides = page.get_size()
    longer = max(sides)
    if not (min(sides) > 0 and longer < float("inf")):
        raise UndrawableDocument(DAMAGED)
    width, height = (max(1, round(side_pixels * side / longer)) for side in sides)
    bitmap = pypdfium2.PdfBitmap.new_native(width, height, pdfium.FPDFBitmap_BGRx)
    if not bitmap.raw:
        raise UndrawableDocument(TOO_LARGE)
    pdfium.FPDFBitmap_FillRect(bitmap, 0, 0, width, height, _WHITE)
    place = (bitmap, page, 0, 0, width, height, 0, pdfium.FPDF_ANNOT)
    pdfium.FPDF_RenderPageBitmap(*place)
    if pdf.formenv is not None:
        pdfium.FPDF_FFLDraw(pdf.formenv, *place)
    painted: Image.Image = bitmap.to_pil()
    return painted.convert("RGB")


def _reason(code: int | None, document: Path) -> str:
    if code in {_PASSWORD, _SECURITY}:
        return LOCKED
    if code == _NOTHING:
        return EMPTY
    with document.open("rb") as file:
        tail = Ends.of(file).tail
    return DAMAGED if re.search(_END, tail[-_END_WITHIN_BYTES:]) else CUT_OFF
