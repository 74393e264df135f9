"""Office documents: pages as they would be printed, and what they name but must not get."""

import io
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import drawn_documents
import pytest
from drawn_documents import RED, WHITE, Shown, drawn, kind_of, refused
from office_files import (
    ODF_TYPE,
    RED_SQUARE,
    compound,
    docx,
    flat,
    linked_picture,
    odf,
    pptx,
    sheet_body,
    slides_body,
    text_body,
    with_macro,
    xlsx,
    xlsx_rows,
    zipped,
)
from PIL import Image

from imgprocessor.geometry import Page
from imgprocessor.images.previews.foreign import libreoffice
from imgprocessor.images.previews.foreign.libreoffice import libreoffice_lacks
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
from imgprocessor.images.previews.office import Office
from imgprocessor.jobs.previews.sandbox import Sandbox
from imgprocessor.jobs.previews.ways import Bubblewrap, Confinement, Landlock

WAYS: Sequence[Confinement] = tuple(way for way in (Bubblewrap.found(), Landlock()) if way)

THREE_PAGES = text_body(["One", "Two", "Three"])
RTF = rb"{\rtf1\ansi One\par\page Two\par\page Three\par}"
CANARY = (255, 0, 255)


def name_of(data: bytes) -> str | None:
    kind = kind_of(data)
    return kind.name if kind else None


@pytest.fixture(scope="module")
def canary() -> str:
    """The URL of a picture that no document may show."""
    place = Path(tempfile.mkdtemp(prefix="canary-"), "canary.png")
    Image.new("RGB", (100, 100), CANARY).save(place)
    return place.as_uri()


def canary_pixels(shown: Shown) -> int:
    """Count what is as good as the canary's colour."""
    pixels = shown.picture.convert("RGB").tobytes()
    triples = zip(pixels[::3], pixels[1::3], pixels[2::3], strict=True)
    return sum(red > 150 and green < 100 and blue > 150 for red, green, blue in triples)


def rewritten(data: bytes, suffix: str) -> bytes:
    """Have LibreOffice's own program write a document as files were until 2007, or are now."""
    with tempfile.TemporaryDirectory(prefix="old-files-") as name:
        folder = Path(name)
        source = folder / "document"
        source.write_bytes(data)
        subprocess.run(
            [
                *("soffice", f"-env:UserInstallation={folder.as_uri()}/profile", "--headless"),
                *("--convert-to", suffix, "--outdir", str(folder), str(source)),
            ],
            check=True,
            capture_output=True,
        )
        return source.with_suffix(f".{suffix}").read_bytes()


@pytest.fixture(scope="module")
def old_files() -> dict[str, bytes]:
    """Files as Word, Excel and PowerPoint wrote them."""
    wanted = {
        "doc": flat("text", THREE_PAGES),
        "xls": flat("spreadsheet", sheet_body(120)),
        "ppt": flat("presentation", slides_body([RED_SQUARE] * 3)),
    }
    return {suffix: rewritten(data, suffix) for suffix, data in wanted.items()}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_pages_in_each_sandbox(way: Confinement, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawn_documents, "sandbox", lambda: Sandbox(way, []))

    shown = drawn(odf("text", THREE_PAGES), 3, 400)

    assert shown.pages == 3
    assert max(shown.picture.size) == 400
    assert 10 < shown.ink() < 1000


@pytest.mark.parametrize(
    ("document", "pages"),
    [
        (docx(["One", "Two", "Three"]), 3),
        (flat("text", THREE_PAGES), 3),
        (RTF, 3),
        (xlsx(xlsx_rows(100)), 2),
        (odf("spreadsheet", sheet_body(100)), 3),
    ],
    ids=["docx", "fodt", "rtf", "xlsx", "ods"],
)
def test_pages(document: bytes, pages: int) -> None:
    shown = drawn(document, 2)

    assert shown.pages == pages
    assert shown.ink()


@pytest.mark.slow
@pytest.mark.parametrize(("suffix", "pages"), [("doc", 3), ("xls", 3), ("ppt", 3)])
def test_old_files(old_files: dict[str, bytes], suffix: str, pages: int) -> None:
    shown = drawn(old_files[suffix])

    assert shown.pages == pages
    assert shown.ink()


@pytest.mark.slow
def test_a_drawing_fills_its_page_as_it_should() -> None:
    drawing = drawn(flat("graphics", slides_body([RED_SQUARE, ""], kind="drawing")))

    assert (drawing.pages, drawing.at(0.2, 0.2), drawing.at(0.7, 0.7)) == (2, RED, WHITE)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["fodt", "doc"])
def test_comments_are_left_out(suffix: str) -> None:
    comment = "<office:annotation><text:p>A comment of some words</text:p></office:annotation>"
    commented = flat("text", text_body([f"Some {comment}words"] * 2))

    if suffix == "fodt":
        uncommented = drawn(flat("text", text_body(["Some words"] * 2)))
        assert drawn(commented).picture.tobytes() == uncommented.picture.tobytes()
    for number in range(2):
        shown = drawn(commented if suffix == "fodt" else rewritten(commented, suffix), number + 1)

        # No wider than the words, which are at the left: comments would be at the right.
        assert 0 < shown.covered()[2] < 0.4


@pytest.mark.slow
def test_hidden_slides_are_left_out() -> None:
    slides = odf("presentation", slides_body(["", "", RED_SQUARE], hidden=[2]))

    assert drawn(slides, 1).at(0.2, 0.3) == WHITE
    shown = drawn(slides, 2)
    assert (shown.pages, shown.at(0.2, 0.3)) == (2, RED)
    assert refused(slides, 3) == "The document has no page 3: it has 2."
    assert refused(pptx(["A"], hidden=[1])) == EMPTY


@pytest.mark.slow
def test_a_page_that_is_not_there() -> None:
    assert refused(odf("text", THREE_PAGES), 7) == "The document has no page 7: it has 3."
    assert refused(odf("text", THREE_PAGES), Page(10, "%")) == (
        "The document has pages, and no moment 10%."
    )


MARKED = {
    "docx": docx(),
    "xlsx": xlsx(xlsx_rows(1)),
    "pptx": pptx(["A"]),
    "xlsb": zipped({"[Content_Types].xml": "x", "xl/workbook.bin": "x"}),
    "odt": odf("text", THREE_PAGES),
    "ott": odf("text-template", THREE_PAGES),
    "ods": odf("spreadsheet", sheet_body(1)),
    "odp": odf("presentation", slides_body([""])),
    "odg": odf("graphics", slides_body([""], kind="drawing")),
    "fodt": flat("text", THREE_PAGES),
    "fodt with a mark": b"\xef\xbb\xbf" + flat("text", THREE_PAGES),
    "rtf": RTF,
    "doc": compound({"WordDocument": b"x"}),
    "xls": compound({"Workbook": b"x"}),
    "xls of 1995": compound({"Book": b"x"}),
    "ppt": compound({"PowerPoint Document": b"x"}),
    "doc by its class": compound({}, bytes.fromhex("0609020000000000c000000000000046")),
    "locked": compound({"EncryptedPackage": b"x"}),
    "a large doc": compound({"Data": bytes(300_000), "WordDocument": bytes(300_000)}),
    "docx among much": docx(more={f"word/media/{number}": b"" for number in range(2000)}),
    "docx without its end": docx()[:-300],
}

OTHERS = {
    "epub": zipped({"mimetype": "application/epub+zip", "x": "x"}, stored=["mimetype"]),
    "formula": odf("formula", ""),
    "text of the web": odf("text-web", ""),
    "jar": zipped({"META-INF/MANIFEST.MF": "x", "word/A.class": "x"}),
    "zip": zipped({"word/document.xml": "x"}),
    "zip of a docx": zipped({"a.docx": docx()}, stored=["a.docx"]),
    "xps": zipped({"[Content_Types].xml": "x", "FixedDocSeq.fdseq": "x"}),
    "msi": compound({"SummaryInformation": b"x"}),
    "msi of a docx": compound({"Data": docx()}),
    "csv": b"a,b\n1,2\n",
    "text": b"application/vnd.oasis.opendocument.text",
    "html": b"<html><office:document office:mimetype='application/vnd.oasis.opendocument.text'>",
    "xml": b"<?xml version='1.0'?><document mimetype='text/plain'/>",
    "nothing": b"",
    "cut": b"PK\x03\x04",
    "cut again": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
}


@pytest.mark.parametrize("document", MARKED)
def test_documents_are_told_by_their_bytes(document: str) -> None:
    assert name_of(MARKED[document]) == "office"


@pytest.mark.parametrize("document", OTHERS)
def test_others_are_no_office_documents(document: str) -> None:
    assert not Office().is_one(Ends.of(io.BytesIO(OTHERS[document])))


@pytest.mark.parametrize("mime_type", ["text", "spreadsheet", "presentation", "graphics"])
def test_a_kind_of_open_document_is_a_whole_word(mime_type: str) -> None:
    flat_one = f"<?xml version='1.0'?><office:document office:mimetype='{ODF_TYPE}{mime_type}{{}}'>"

    assert name_of(flat_one.format("").encode()) == "office"
    assert name_of(flat_one.format("-template").encode()) == "office"
    assert name_of(flat_one.format("-web").encode()) is None


LOCKED_ODT = odf(
    "text",
    THREE_PAGES,
    manifest='<manifest:file-entry manifest:full-path="x" manifest:media-type=""/>'
    '<manifest:encryption-data manifest:checksum="x"/>',
)


@pytest.mark.parametrize(
    "document",
    [LOCKED_ODT, compound({"EncryptionInfo": b"x", "EncryptedPackage": b"x" * 9000})],
    ids=["odt", "docx"],
)
def test_passwords_are_told_without_libreoffice(document: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawn_documents, "SECONDS", 5.0)
        assert refused(document) == LOCKED


@pytest.mark.slow
def test_a_password_that_libreoffice_would_ask_for(old_files: dict[str, bytes]) -> None:
    data = bytearray(old_files["doc"])
    # The flags fEncrypted and fObfuscated, and a key, in what WordDocument begins with.
    begin = data.index(b"\xec\xa5")
    data[begin + 11] |= 0x81
    data[begin + 14 : begin + 18] = b"key!"

    assert refused(bytes(data)) == LOCKED


@pytest.mark.slow
@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        (docx()[:-300], CUT_OFF),
        (odf("text", THREE_PAGES)[:-200], CUT_OFF),
        (flat("text", THREE_PAGES)[:-40], CUT_OFF),
        (zipped({"[Content_Types].xml": "x", "word/document.xml": "x"}), DAMAGED),
        (compound({"WordDocument": b"x"}), DAMAGED),
        (compound({"WordDocument": bytes(9000)})[:-512], CUT_OFF),
        (docx(more={"word/media/bomb": bytes(500_000_000)}), TOO_LARGE),
    ],
    ids=["docx", "odt", "fodt", "no docx", "no doc", "doc", "bomb"],
)
def test_damaged_documents(document: bytes, sentence: str) -> None:
    assert refused(document) == sentence


@pytest.mark.slow
def test_a_sheet_of_a_million_rows() -> None:
    cell = '<table:table-cell office:value-type="float" office:value="1"><text:p>1</text:p>'
    rows = f'<table:table-row table:number-rows-repeated="999999">{cell}</table:table-cell>'
    table = f'<table:table table:name="Sheet">{rows}</table:table-row></table:table>'

    shown = drawn(flat("spreadsheet", f"<office:spreadsheet>{table}</office:spreadsheet>"))

    assert shown.pages is not None
    assert shown.pages > 10_000


def linking(canary: str) -> dict[str, bytes]:
    """Return documents that name the canary, or what nobody answers."""
    frame = '<draw:frame svg:x="1cm" svg:y="1cm" svg:width="9cm" svg:height="9cm">{}</draw:frame>'
    link = 'xlink:type="simple" xlink:show="embed" xlink:actuate="onLoad"'
    image = frame.format(f'<draw:image xlink:href="{canary}" {link}/>')
    remote = frame.format(f'<draw:image xlink:href="http://127.0.0.1:9/x.png" {link}/>')
    framed = frame.format(f'<draw:floating-frame xlink:href="{canary}" {link}/>')
    path = canary.removeprefix("file://")
    formula = '<table:table-cell table:formula="of:={}" office:value-type="string"/>'
    web = formula.format("WEBSERVICE(&quot;http://127.0.0.1:9/&quot;)")
    dde = formula.format("DDE(&quot;soffice&quot;;&quot;/etc/hostname&quot;;&quot;x&quot;)")
    return {
        "odt": odf("text", f"<office:text><text:p>x</text:p>{image}{framed}</office:text>"),
        "odp": odf("presentation", slides_body([image + remote])),
        "docx": docx([linked_picture("r2")], related=[("image", canary, True)]),
        "template": docx(
            settings='<w:attachedTemplate r:id="r1"/>',
            settings_related=[("attachedTemplate", "http://127.0.0.1:9/t.dotx", True)],
        ),
        "rtf": b"".join(
            [
                rb"{\rtf1 x {\field{\*\fldinst INCLUDEPICTURE ",
                f'"{path}"'.encode(),
                rb" \\d}{\fldrslt }}\par}",
            ]
        ),
        "ods": odf("spreadsheet", sheet_body(3, web + dde)),
    }


@pytest.mark.slow
@pytest.mark.parametrize("document", ["odt", "odp", "docx", "template", "rtf", "ods"])
def test_what_a_document_links_is_not_in_its_picture(document: str, canary: str) -> None:
    shown = drawn(linking(canary)[document])

    assert canary_pixels(shown) == 0
    assert shown.pages == 1


@pytest.mark.slow
def test_a_macro_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    class Watched(Office):
        def draw(self, run: Run, page: Page, side_pixels: int) -> Drawn:
            try:
                return super().draw(run, page, side_pixels)
            finally:
                written.extend(path.name for path in run.folder.iterdir())

    monkeypatch.setattr(drawn_documents, "kind_of", lambda _: Watched())

    assert drawn(with_macro("macro-ran")).ink()
    assert "page.pdf" in written
    assert "macro-ran" not in written


def test_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert libreoffice_lacks() is None

    (tmp_path / "libmergedlo.so").touch()
    (tmp_path / "libsdlo.so").touch()
    monkeypatch.setattr(libreoffice, "INSTALLED", tmp_path)
    assert libreoffice_lacks() == (
        "LibreOffice is not installed, or not whole"
        " (Debian: libreoffice-writer-nogui, libreoffice-calc-nogui)"
    )
