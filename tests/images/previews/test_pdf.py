"""PDFs: pages as viewers show them, and sentences about those that nobody can show."""

import base64

import documents
import pytest
from documents import filled, pdf, pdf_of, said, stream
from drawn_documents import BLUE, GREEN, RED, WHITE, drawn, kind_of, refused

from imgprocessor.geometry import Page
from imgprocessor.images.previews.fonts import scripts_that_can_be_drawn
from imgprocessor.images.previews.kind import CUT_OFF, DAMAGED, EMPTY, LOCKED

QUARTERS = filled("0 50 100 50") + filled("100 50 100 50", "0 1 0") + filled("0 0 100 50", "0 0 1")
UPRIGHT = [RED, GREEN, BLUE, WHITE]
MAGENTA_FORM = stream(
    filled("0 0 40 20", "0 0 1"), b"/Type /XObject /Subtype /Form /BBox [0 0 40 20]"
)


def image_page(data: bytes, entries: bytes, *, colours: bytes = b"/DeviceRGB") -> bytes:
    """A page of 200 by 100 with one image in its left half."""
    return pdf(
        [b"100 0 0 100 0 0 cm /X Do"],
        resources=b"/XObject << /X 1000 0 R >>",
        more={
            1000: stream(
                data,
                b"/Type /XObject /Subtype /Image /Width 50 /Height 50 /BitsPerComponent 8"
                b" /ColorSpace %s %s" % (colours, entries),
            )
        },
    )


@pytest.mark.parametrize(
    ("entries", "size", "quarters"),
    [
        (b"", (200, 100), UPRIGHT),
        (b"/CropBox [50 25 150 75]", (200, 100), UPRIGHT),
        (b"/CropBox [0 50 100 100]", (200, 100), [RED] * 4),
        (b"/CropBox [900 900 990 990]", (200, 100), UPRIGHT),
        (b"/Rotate 90", (100, 200), [BLUE, RED, WHITE, GREEN]),
        (b"/Rotate 180", (200, 100), [WHITE, BLUE, GREEN, RED]),
        (b"/Rotate -90", (100, 200), [GREEN, WHITE, RED, BLUE]),
        (b"/Rotate 450", (100, 200), [BLUE, RED, WHITE, GREEN]),
        (b"/Rotate 90 /CropBox [0 50 100 100]", (100, 200), [RED] * 4),
        (b"/UserUnit 10", (200, 100), UPRIGHT),
    ],
)
def test_boxes_and_turns(entries: bytes, size: tuple[int, int], quarters: list[str]) -> None:
    shown = drawn(pdf([QUARTERS], page_entries=entries))

    assert (shown.picture.size, shown.quarters(), shown.pages) == (size, quarters, 1)


@pytest.mark.parametrize(
    ("box", "content", "size"),
    [
        (b"0 0 2880000 2880000", b"14400 0 0 14400 0 0 cm " + filled("0 0 100 200"), (200, 200)),
        (b"0 0 0.1 0.1", filled("0 0 0.05 0.1"), (200, 200)),
        (b"0 0 10000 1", filled("0 0 5000 1"), (200, 1)),
        (b"0 0 1 10000000", filled("0 0 1 10000000"), (1, 200)),
        (b"200 100 0 0", filled("0 0 100 100"), (200, 100)),
        (b"-100 -50 100 50", filled("-100 -50 100 100"), (200, 100)),
    ],
    ids=["a square kilometre", "tiny", "long", "high", "swapped", "negative"],
)
def test_a_page_of_any_size_has_as_many_pixels(
    box: bytes, content: bytes, size: tuple[int, int]
) -> None:
    shown = drawn(pdf([content], media_box=box))

    assert (shown.picture.size, shown.at(0.2, 0.9)) == (size, RED)


@pytest.mark.parametrize("box", [b"0 0 0 0", b"0 0 1e400 1e400", b"a b c d"])
def test_a_page_without_a_size_is_a_letter(box: bytes) -> None:
    shown = drawn(pdf([QUARTERS], media_box=box))

    assert shown.picture.size == (155, 200)


def test_pages_are_counted() -> None:
    data = pdf([filled("0 0 200 100", "0 1 0")] * 2 + [filled("0 0 200 100", "0 0 1")])

    assert [drawn(data, number).at(0.5, 0.5) for number in (1, 2, 3)] == [GREEN, GREEN, BLUE]
    assert drawn(data, 2).pages == 3
    assert refused(data, 4) == "The document has no page 4: it has 3."
    assert refused(data, Page(10, "s")) == "The document has pages, and no moment 10s."


def test_ten_thousand_pages() -> None:
    data = pdf([b""] * 9_999 + [filled("0 0 200 100")])

    assert (drawn(data, 10_000).at(0.5, 0.5), drawn(data).pages) == (RED, 10_000)


def test_annotations_are_drawn_but_for_hidden_ones() -> None:
    entries = b"/Annots [1000 0 R 1001 0 R 1002 0 R]"
    stamp = b"<< /Type /Annot /Subtype /Stamp /Rect [%s] /F %d /AP << /N 1003 0 R >> >>"
    popup = b"<< /Type /Annot /Subtype /Popup /Rect [0 50 200 100] /Open true /Contents (x) >>"
    more = {
        1000: stamp % (b"0 0 100 50", 4),
        1001: stamp % (b"100 0 200 50", 2),
        1002: popup,
        1003: MAGENTA_FORM,
    }

    assert drawn(pdf([b""], page_entries=entries, more=more)).quarters() == [
        *(WHITE, WHITE),
        *(BLUE, WHITE),
    ]


def test_form_fields_are_drawn_with_what_is_filled_in() -> None:
    def form(value: bytes) -> bytes:
        field = (
            b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (a) /V (%s) /Rect [0 50 200 100] /F 4"
            b" /DA (/F1 30 Tf 0 g) >>" % value
        )
        button = (
            b"<< /Type /Annot /Subtype /Widget /FT /Btn /T (b) /V /Yes /AS /Yes"
            b" /Rect [0 0 100 50] /F 4 /AP << /N << /Yes 1002 0 R >> >> >>"
        )
        fields = (
            b"/AcroForm << /Fields [1000 0 R 1001 0 R] /DA (/F1 30 Tf 0 g)"
            b" /DR << /Font << /F1 3 0 R >> >> >>"
        )
        return pdf(
            page_entries=b"/Annots [1000 0 R 1001 0 R]",
            catalogue=fields,
            more={1000: field, 1001: button, 1002: MAGENTA_FORM},
        )

    empty, filled_in = drawn(form(b"")), drawn(form(b"Filled in"))

    assert empty.at(0.25, 0.75) == BLUE
    assert filled_in.ink() > empty.ink() + 200


def test_what_is_transparent_is_on_white_paper() -> None:
    data = pdf(
        [b"/G gs " + filled("0 0 100 100", "1 0 0")],
        resources=b"/ExtGState << /G << /ca 0.5 >> >>",
        page_entries=b"/Group << /S /Transparency /CS /DeviceRGB >>",
    )
    shown = drawn(data)

    assert shown.picture.mode == "RGB"
    assert shown.picture.getpixel((50, 50)) in {(255, 127, 127), (255, 128, 128)}
    assert shown.at(0.75, 0.5) == WHITE


def test_layers_that_are_off_are_left_out() -> None:
    layers = b"/OC /A BDC " + filled("0 0 100 100") + b"EMC /OC /B BDC "
    data = pdf(
        [layers + filled("100 0 100 100", "0 0 1") + b"EMC"],
        resources=b"/Properties << /A 1000 0 R /B 1001 0 R >>",
        catalogue=b"/OCProperties << /OCGs [1000 0 R 1001 0 R] /D << /OFF [1000 0 R] >> >>",
        more={1000: b"<< /Type /OCG /Name (a) >>", 1001: b"<< /Type /OCG /Name (b) >>"},
    )

    assert drawn(data).quarters() == [WHITE, BLUE, WHITE, BLUE]


JPEG_2000 = base64.b64decode(
    "AAAADGpQICANCocKAAAAFGZ0eXBqcDIgAAAAAGpwMiAAAAAtanAyaAAAABZpaGRyAAAAMgAAADIAAwgHAAAA"
    "AAAPY29scgEAAAAAABAAAAC/anAyY/9P/1EALwAAAAAAMgAAADIAAAAAAAAAAAAAAQAAAAEAAAAAAAAAAAAA"
    "AwcBAQcBAQcBAf9SAAwAAAABAAYCAgAA/1wAKSJ/IH7gfuB+oHbwdvB2wG8AbwBu4GdQZ1BnaFAFUAVQR1fT"
    "V9NXYv9kABEAAUxhdmM1OS4zNy4xMDD/kAAKAAAAAAA2AAH/k9/4MBgHOI/f+DAYBziP3/gwIASK/38AAAAA"
    "AAAAAAAAAAAAAAAAAAD/2Q=="
)
"""50 by 50 pixels in blue, by ffmpeg."""
JBIG2 = base64.b64decode(
    "AAAAADAAAQAAABMAAAAyAAAAMgAAAAAAAAAAAAAAAAAAASYAAQAAACUAAAAyAAAAMgAAAAAAAAAAAAEmoaX/"
    "//////////////+ACACA"
)
"""50 by 50 pixels in black: a page's information, a generic region in MMR, no end."""


def test_jpeg_2000_and_jbig2() -> None:
    jpx = drawn(image_page(JPEG_2000, b"/Filter /JPXDecode"))
    jbig2 = drawn(
        image_page(JBIG2, b"/Filter /JBIG2Decode", colours=b"/DeviceGray").replace(
            b"/BitsPerComponent 8", b"/BitsPerComponent 1"
        )
    )

    assert jpx.quarters() == [BLUE, WHITE, BLUE, WHITE]
    assert jbig2.picture.getpixel((50, 50)) == (0, 0, 0)
    assert jbig2.at(0.75, 0.5) == WHITE


@pytest.mark.parametrize(
    "name", ["Arial", "TimesNewRoman,Bold", "Calibri", "CourierNew", "AAAAAA+Nobody", ""]
)
def test_a_font_that_is_not_there_is_drawn_in_another(name: str) -> None:
    font = b"<< /Type /Font /Subtype /TrueType /BaseFont /%s /Encoding /WinAnsiEncoding >>"
    data = pdf([said("Hagelslag", 40, "10 40")], more={3: font % name.encode()})

    left, top, right, bottom = drawn(data).covered()

    assert (0.03 < left < 0.1, 0.2 < top < 0.4, right > 0.75, bottom < 0.75) == (True,) * 4


@pytest.mark.parametrize(
    ("text", "encoding", "ordering", "name"),
    [
        ("中国语言", "UniGB-UCS2-H", "GB1", "SimSun"),
        ("中國語言", "UniCNS-UCS2-H", "CNS1", "MingLiU"),
        ("日本語かな", "UniJIS-UCS2-H", "Japan1", "MS-Mincho"),
        pytest.param(
            *("한국어글꼴", "UniKS-UCS2-H", "Korea1", "Batang"),
            marks=pytest.mark.skipif(
                "Korean" not in scripts_that_can_be_drawn(), reason="no font has Hangul"
            ),
        ),
    ],
)
def test_east_asian_text_without_its_font(
    text: str, encoding: str, ordering: str, name: str
) -> None:
    more = {
        3: f"<< /Type /Font /Subtype /Type0 /BaseFont /{name} /Encoding /{encoding}"
        " /DescendantFonts [1000 0 R] >>".encode(),
        1000: f"<< /Type /Font /Subtype /CIDFontType2 /BaseFont /{name} /CIDSystemInfo"
        f" << /Registry (Adobe) /Ordering ({ordering}) /Supplement 2 >>"
        " /FontDescriptor 1001 0 R >>".encode(),
        1001: f"<< /Type /FontDescriptor /FontName /{name} /Flags 4 /ItalicAngle 0 /Ascent 800"
        " /Descent -200 /CapHeight 700 /StemV 80 /FontBBox [0 -200 1000 900] >>".encode(),
    }
    content = b"BT /F1 35 Tf 10 40 Td <%s> Tj ET" % text.encode("utf-16-be").hex().encode()

    assert drawn(pdf([content], more=more)).ink() > 500


def test_passwords() -> None:
    assert refused(documents.encrypted_pdf(QUARTERS, user=b"secret")) == LOCKED
    assert drawn(documents.encrypted_pdf(QUARTERS)).quarters() == UPRIGHT


WHOLE = pdf([QUARTERS, said("two")])
CATALOGUE = {1: b"<< /Type /Catalog /Pages 2 0 R >>"}


@pytest.mark.parametrize(
    "data",
    [
        WHOLE.replace(b"xref", b"xxxx"),
        WHOLE.replace(b"startxref\n", b"startxref\n9"),
        b"From: me\r\n" * 50 + WHOLE,
        WHOLE + b"\0" * 5000,
        WHOLE[: WHOLE.index(b"startxref")],
        WHOLE.replace(b"/Count 2", b"/Count -2"),
        pdf([QUARTERS], catalogue=b"/X " + b"[" * 100_000),
        pdf([b"q " * 200_000 + QUARTERS]),
    ],
    ids=["no table", "lost table", "mail", "zeros", "no end", "-2 pages", "deep", "deep content"],
)
def test_what_viewers_repair_is_shown(data: bytes) -> None:
    assert drawn(data).quarters() == UPRIGHT


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (WHOLE[:300], CUT_OFF),
        (WHOLE[: len(WHOLE) * 2 // 3], CUT_OFF),
        (b"%PDF-1.7\n%%EOF\n", DAMAGED),
        (pdf_of(CATALOGUE | {2: b"<< /Type /Pages /Count 0 /Kids [] >>"}), EMPTY),
        (pdf_of(CATALOGUE | {2: b"<< /Type /Pages /Count 9 /Kids [2 0 R 2 0 R] >>"}), DAMAGED),
        (pdf_of(CATALOGUE | {2: b"<< /Type /Pages /Count 2000000000 /Kids [2 0 R] >>"}), EMPTY),
        (pdf_of(CATALOGUE | {2: b"<< /Type /Pages /Count 3 /Kids [null 9 0 R] >>"}), DAMAGED),
    ],
    ids=["head", "two thirds", "nothing", "no pages", "cycle", "two billion", "nulls"],
)
def test_what_cannot_be_shown_is_said(data: bytes, sentence: str) -> None:
    assert refused(data) == sentence


def test_content_that_draws_itself_ends() -> None:
    form = (
        b"/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /X 1000 0 R >> >>"
    )
    data = pdf(
        [filled("0 0 200 100") + b"/X Do"],
        resources=b"/XObject << /X 1000 0 R >>",
        more={1000: stream(b"/X Do", form)},
    )

    assert drawn(data).at(0.5, 0.5) == RED


def test_scripts_do_not_run_and_linked_files_are_not_read() -> None:
    script = b"/OpenAction << /S /JavaScript /JS (while\\(1\\);) >>"
    linked = image_page(b"", b"/F (/usr/share/pixmaps/debian-logo.png)").replace(
        b"/Catalog", b"/Catalog " + script
    )

    assert drawn(linked).quarters() == [WHITE] * 4


@pytest.mark.parametrize(
    ("data", "is_one"),
    [
        (WHOLE, True),
        (b"\n" * 1000 + WHOLE, True),
        (b"\n" * 1030 + WHOLE, False),
        (b"\xff\xd8\xff\xe0" + WHOLE, False),
        (b"\x89PNG\r\n\x1a\n" + WHOLE, False),
        (b"GIF89a" + WHOLE, False),
        (b"PK\3\4" + WHOLE, False),
        (b"RIFF\0\0\0\0WEBP" + WHOLE, False),
        (b"<html>%PDF</html>", False),
        (b"", False),
    ],
)
def test_pdfs_are_told_by_their_bytes(data: bytes, *, is_one: bool) -> None:
    kind = kind_of(data)

    assert (kind is not None and kind.name == "pdf") is is_one
