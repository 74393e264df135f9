"""Office documents: LibreOffice makes a PDF of the page that is asked for, and that is drawn."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from imgprocessor.errors import UndrawableDocument
from imgprocessor.geometry import FIRST_PAGE, Page
from imgprocessor.images.previews.drawing import drawn_by_python
from imgprocessor.images.previews.foreign.libreoffice import (
    LIBREOFFICE_SETTINGS,
    libreoffice_lacks,
    write_pdf,
)
from imgprocessor.images.previews.foreign.office_marks import filter_of, is_cut_off_text, is_office
from imgprocessor.images.previews.kind import CUT_OFF, DAMAGED, Drawn, Ends, Run
from imgprocessor.images.previews.pdf import Pdf

_MEMORY_BYTES = 2_000_000_000
_PDF = "page.pdf"


class Office:
    """Texts, sheets, slides and drawings of office programs: OpenDocument, Microsoft's, RTF."""

    name = "office"
    title = "Office"
    suffixes: Sequence[str] = (
        *(".docx", ".docm", ".dotx", ".doc", ".dot", ".odt", ".ott", ".fodt", ".rtf"),
        *(".xlsx", ".xlsm", ".xltx", ".xlsb", ".xls", ".xlt", ".ods", ".ots", ".fods"),
        *(".pptx", ".pptm", ".ppsx", ".potx", ".ppt", ".pps", ".odp", ".otp", ".fodp"),
        *(".odg", ".otg", ".fodg"),
    )

    def is_one(self, ends: Ends) -> bool:
        """Whether it is one of them."""
        return is_office(ends)

    def lacks(self) -> str | None:
        """Say what is missing of LibreOffice, or of what draws PDFs."""
        return libreoffice_lacks() or Pdf().lacks()

    def draw(self, run: Run, page: Page, side_pixels: int) -> Drawn:
        """Draw a page as it would be printed; slides without those that are hidden."""
        pages = drawn_by_python(
            run,
            self.name,
            run.document,
            page,
            side_pixels,
            memory_bytes=_MEMORY_BYTES,
            reads=[LIBREOFFICE_SETTINGS],
        ).pages
        drawn = drawn_by_python(run, Pdf.name, run.folder / _PDF, FIRST_PAGE, side_pixels)
        return replace(drawn, pages=pages)


def paint_office(document: Path, number: int, _: int, picture: Path) -> int:
    """Make the PDF inside of the sandbox: see `drawing.Paint`. The picture is made of it later."""
    try:
        return write_pdf(document, filter_of(document), number, picture.with_name(_PDF))
    except UndrawableDocument as error:
        if error.public == DAMAGED and is_cut_off_text(document):
            raise UndrawableDocument(CUT_OFF) from error
        raise
