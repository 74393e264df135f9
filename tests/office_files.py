"""Small office documents, written by hand: texts, sheets, slides, and what they link."""

import io
import struct
import zipfile
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

ODF = "urn:oasis:names:tc:opendocument:xmlns"
ODF_TYPE = "application/vnd.oasis.opendocument."
_ODF_SPACES = " ".join(
    [
        *(f'xmlns:{name}="{ODF}:{name}:1.0"' for name in ("office", "text", "table", "style")),
        *(f'xmlns:{name}="{ODF}:{name}:1.0"' for name in ("presentation", "script", "manifest")),
        f'xmlns:draw="{ODF}:drawing:1.0" xmlns:svg="{ODF}:svg-compatible:1.0"',
        f'xmlns:fo="{ODF}:xsl-fo-compatible:1.0" xmlns:form="{ODF}:form:1.0"',
        'xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:ooo="http://openoffice.org/2004/office"',
        'xmlns:of="urn:oasis:names:tc:opendocument:xmlns:of:1.2"',
        'xmlns:dom="http://www.w3.org/2001/xml-events" office:version="1.2"',
    ]
)
_ODF_STYLES = """<office:automatic-styles>
<style:style style:name="new" style:family="paragraph">
<style:paragraph-properties fo:break-before="page"/></style:style>
<style:style style:name="red" style:family="graphic">
<style:graphic-properties draw:fill="solid" draw:fill-color="#ff0000" draw:stroke="none"/>
</style:style>
<style:style style:name="hidden" style:family="drawing-page">
<style:drawing-page-properties presentation:visibility="hidden"/></style:style>
</office:automatic-styles>"""

RED_SQUARE = (
    '<draw:rect draw:style-name="red" svg:x="2cm" svg:y="2cm" svg:width="6cm" svg:height="6cm"/>'
)


def text_body(pages: Sequence[str]) -> str:
    """Each page is what stands in its one paragraph."""
    first, later = "<text:p>", '<text:p text:style-name="new">'
    paragraphs = [
        f"{later if number else first}{page}</text:p>" for number, page in enumerate(pages)
    ]
    return f"<office:text>{''.join(paragraphs)}</office:text>"


def sheet_body(rows: int, cells: str = "", before: str = "") -> str:
    cell = '<table:table-cell office:value-type="string"><text:p>Row {}</text:p></table:table-cell>'
    lines = "".join(
        f"<table:table-row>{cell.format(row + 1)}{cells}</table:table-row>" for row in range(rows)
    )
    table = f'<table:table table:name="Sheet">{lines}</table:table>'
    return f"<office:spreadsheet>{before}{table}</office:spreadsheet>"


def slides_body(
    slides: Sequence[str], hidden: Sequence[int] = (), kind: str = "presentation"
) -> str:
    """Each slide is what is drawn on it; the hidden ones are told by their numbers, from 1."""
    style = ' draw:style-name="hidden"'
    pages = "".join(
        f'<draw:page draw:name="page{number}"{style * (number in hidden)}>{slide}</draw:page>'
        for number, slide in enumerate(slides, 1)
    )
    return f"<office:{kind}>{pages}</office:{kind}>"


def flat(kind: str, body: str, scripts: str = "") -> bytes:
    """Write a document as one XML file; the kind is `text`, `spreadsheet`, `presentation` or
    `graphics`.
    """
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<office:document {_ODF_SPACES} office:mimetype="{ODF_TYPE}{kind}">'
        f"{scripts}{_ODF_STYLES}<office:body>{body}</office:body></office:document>"
    ).encode()


def zipped(entries: Mapping[str, str | bytes], stored: Sequence[str] = ()) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in entries.items():
            archive.writestr(
                zipfile.ZipInfo(name),
                data,
                zipfile.ZIP_STORED if name in stored else zipfile.ZIP_DEFLATED,
            )
    return out.getvalue()


def odf(
    kind: str,
    body: str,
    *,
    scripts: str = "",
    more: Mapping[str, str | bytes] | None = None,
    manifest: str = "",
) -> bytes:
    """Write a document as a ZIP; further entries must stand in `manifest`, too."""
    content = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<office:document-content {_ODF_SPACES}>"
        f"{scripts}{_ODF_STYLES}<office:body>{body}</office:body></office:document-content>"
    )
    entries = (
        f'<manifest:file-entry manifest:full-path="/" manifest:media-type="{ODF_TYPE}{kind}"/>'
        '<manifest:file-entry manifest:full-path="content.xml" manifest:media-type="text/xml"/>'
        f"{manifest}"
    )
    listed = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<manifest:manifest xmlns:manifest="{ODF}:manifest:1.0" manifest:version="1.2">'
        f"{entries}</manifest:manifest>"
    )
    return zipped(
        {
            "mimetype": f"{ODF_TYPE}{kind}",
            "content.xml": content,
            "META-INF/manifest.xml": listed,
            **(more or {}),
        },
        stored=["mimetype"],
    )


def with_macro(file: str) -> bytes:
    """Write a text with a macro that writes a file into the temporary folder as soon as it is
    opened.
    """
    basic = f"""Sub Auto
  Dim f As Integer
  f = FreeFile
  Open Environ("TMPDIR") & "/{file}" For Output As #f
  Close #f
End Sub"""
    listener = (
        '<office:event-listeners><script:event-listener script:language="ooo:script"'
        ' script:event-name="dom:load" xlink:type="simple" xlink:href='
        '"vnd.sun.star.script:Standard.M.Auto?language=Basic&amp;location=document"/>'
        "</office:event-listeners>"
    )
    libraries = (
        '<office:script script:language="ooo:Basic"><ooo:libraries>'
        '<ooo:library-embedded ooo:name="Standard"><ooo:module ooo:name="M"><ooo:source-code>'
        f"{escape(basic)}</ooo:source-code></ooo:module></ooo:library-embedded></ooo:libraries>"
        "</office:script>"
    )
    scripts = f"<office:scripts>{libraries}{listener}</office:scripts>"
    return flat("text", text_body(["x"]), scripts)


OOXML = "http://schemas.openxmlformats.org"
_TYPE = "application/vnd.openxmlformats-officedocument"
_RELATED = f"{OOXML}/officeDocument/2006/relationships"


def _related(targets: Sequence[tuple[str, str, bool]]) -> str:
    """Write which parts belong to one: kind, target, and whether that is outside of the ZIP."""
    outside = ' TargetMode="External"'
    lines = "".join(
        f'<Relationship Id="r{number}" Type="{_RELATED}/{kind}" Target="{escape(target)}"'
        f"{outside * external}/>"
        for number, (kind, target, external) in enumerate(targets, 1)
    )
    space = f"{OOXML}/package/2006/relationships"
    return f'<?xml version="1.0"?><Relationships xmlns="{space}">{lines}</Relationships>'


def _types(parts: Mapping[str, str]) -> str:
    overrides = "".join(
        f'<Override PartName="/{part}" ContentType="{_TYPE}.{kind}+xml"/>'
        for part, kind in parts.items()
    )
    return (
        f'<?xml version="1.0"?><Types xmlns="{OOXML}/package/2006/content-types">'
        '<Default Extension="rels"'
        ' ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        f"{overrides}</Types>"
    )


def docx(
    pages: Sequence[str] = ("Hello",),
    *,
    related: Sequence[tuple[str, str, bool]] = (),
    settings: str = "",
    settings_related: Sequence[tuple[str, str, bool]] = (),
    more: Mapping[str, str | bytes] | None = None,
) -> bytes:
    """Write a text: each page is what stands in its one paragraph, as runs or as text."""
    runs = [page if page.startswith("<") else f"<w:r><w:t>{page}</w:t></w:r>" for page in pages]
    new = "<w:r><w:br w:type='page'/></w:r>"
    body = "".join(f"<w:p>{new if number else ''}{run}</w:p>" for number, run in enumerate(runs))
    space = f'xmlns:w="{OOXML}/wordprocessingml/2006/main" xmlns:r="{_RELATED}"'
    spaces = (
        f'{space} xmlns:wp="{OOXML}/drawingml/2006/wordprocessingDrawing"'
        f' xmlns:a="{OOXML}/drawingml/2006/main" xmlns:pic="{OOXML}/drawingml/2006/picture"'
    )
    return zipped(
        {
            "[Content_Types].xml": _types(
                {
                    "word/document.xml": "wordprocessingml.document.main",
                    "word/settings.xml": "wordprocessingml.settings",
                }
            ),
            "_rels/.rels": _related([("officeDocument", "word/document.xml", False)]),
            "word/document.xml": f'<?xml version="1.0"?><w:document {spaces}><w:body>{body}'
            "</w:body></w:document>",
            "word/settings.xml": f'<?xml version="1.0"?><w:settings {space}>{settings}'
            "</w:settings>",
            "word/_rels/document.xml.rels": _related(
                [("settings", "settings.xml", False), *related]
            ),
            "word/_rels/settings.xml.rels": _related(settings_related),
            **(more or {}),
        }
    )


def linked_picture(relation: str) -> str:
    """Return runs of a text that show a picture which is outside."""
    return (
        '<w:r><w:drawing><wp:inline><wp:extent cx="2000000" cy="2000000"/>'
        '<wp:docPr id="1" name="p"/>'
        f'<a:graphic><a:graphicData uri="{OOXML}/drawingml/2006/picture"><pic:pic>'
        '<pic:nvPicPr><pic:cNvPr id="1" name="p"/><pic:cNvPicPr/></pic:nvPicPr>'
        f'<pic:blipFill><a:blip r:link="{relation}"/><a:stretch><a:fillRect/></a:stretch>'
        '</pic:blipFill><pic:spPr><a:xfrm><a:off x="0" y="0"/><a:ext cx="2000000" cy="2000000"/>'
        '</a:xfrm><a:prstGeom prst="rect"/></pic:spPr></pic:pic></a:graphicData></a:graphic>'
        "</wp:inline></w:drawing></w:r>"
    )


def xlsx(rows: str, *, more: Mapping[str, str | bytes] | None = None) -> bytes:
    space = f'xmlns="{OOXML}/spreadsheetml/2006/main" xmlns:r="{_RELATED}"'
    return zipped(
        {
            "[Content_Types].xml": _types(
                {
                    "xl/workbook.xml": "spreadsheetml.sheet.main",
                    "xl/worksheets/sheet1.xml": "spreadsheetml.worksheet",
                }
            ),
            "_rels/.rels": _related([("officeDocument", "xl/workbook.xml", False)]),
            "xl/workbook.xml": f'<?xml version="1.0"?><workbook {space}><sheets>'
            '<sheet name="Sheet" sheetId="1" r:id="r1"/></sheets></workbook>',
            "xl/_rels/workbook.xml.rels": _related([("worksheet", "worksheets/sheet1.xml", False)]),
            "xl/worksheets/sheet1.xml": f'<?xml version="1.0"?><worksheet {space}><sheetData>'
            f"{rows}</sheetData></worksheet>",
            **(more or {}),
        }
    )


def xlsx_rows(count: int) -> str:
    return "".join(
        f'<row r="{row}"><c r="A{row}"><v>{row}</v></c></row>' for row in range(1, count + 1)
    )


def pptx(slides: Sequence[str], hidden: Sequence[int] = ()) -> bytes:
    """Write slides, each with a text; there is no master, which PowerPoint would mind."""
    spaces = (
        f'xmlns:p="{OOXML}/presentationml/2006/main" xmlns:a="{OOXML}/drawingml/2006/main"'
        f' xmlns:r="{_RELATED}"'
    )
    names = [f"slides/slide{number}.xml" for number in range(1, len(slides) + 1)]
    listed = "".join(f'<p:sldId id="{255 + n}" r:id="r{n}"/>' for n in range(1, len(slides) + 1))
    entries: dict[str, str | bytes] = {
        "[Content_Types].xml": _types(
            {"ppt/presentation.xml": "presentationml.presentation.main"}
            | {f"ppt/{name}": "presentationml.slide" for name in names}
        ),
        "_rels/.rels": _related([("officeDocument", "ppt/presentation.xml", False)]),
        "ppt/presentation.xml": f'<?xml version="1.0"?><p:presentation {spaces}>'
        f'<p:sldIdLst>{listed}</p:sldIdLst><p:sldSz cx="9144000" cy="5143500"/></p:presentation>',
        "ppt/_rels/presentation.xml.rels": _related([("slide", name, False) for name in names]),
    }
    for number, (name, text) in enumerate(zip(names, slides, strict=True), 1):
        shape = (
            '<p:sp><p:nvSpPr><p:cNvPr id="2" name="t"/><p:cNvSpPr txBox="1"/><p:nvPr/></p:nvSpPr>'
            '<p:spPr><a:xfrm><a:off x="900000" y="900000"/><a:ext cx="5000000" cy="900000"/>'
            "</a:xfrm>"
            '<a:prstGeom prst="rect"/></p:spPr><p:txBody><a:bodyPr/><a:p><a:r><a:rPr sz="4800"/>'
            f"<a:t>{text}</a:t></a:r></a:p></p:txBody></p:sp>"
        )
        entries[f"ppt/{name}"] = (
            f'<?xml version="1.0"?><p:sld {spaces} show="{int(number not in hidden)}"><p:cSld>'
            '<p:spTree><p:nvGrpSpPr><p:cNvPr id="1" name=""/><p:cNvGrpSpPr/><p:nvPr/></p:nvGrpSpPr>'
            f"<p:grpSpPr/>{shape}</p:spTree></p:cSld></p:sld>"
        )
    return zipped(entries)


_SECTOR, _END, _FREE, _TABLE, _NONE = 512, 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD, 0xFFFFFFFF
_SMALL_BYTES = 4096


def compound(streams: Mapping[str, bytes], root_class: bytes = bytes(16)) -> bytes:
    """Write a compound file (OLE2), whose directory is its last sectors."""
    sectors: list[bytes] = []
    follows: list[int] = []

    def add(data: bytes) -> int:
        begin, count = len(sectors), max(1, -(-len(data) // _SECTOR))
        sectors.extend(
            data[at * _SECTOR : (at + 1) * _SECTOR].ljust(_SECTOR, b"\0") for at in range(count)
        )
        follows.extend([*range(begin + 1, begin + count), _END])
        return begin

    entries = [b""]
    for number, (name, data) in enumerate(streams.items(), 1):
        full = data.ljust(_SMALL_BYTES, b"\0")
        after = number + 1 if number < len(streams) else _NONE
        entries.append(_entry(name, 2, (_NONE, after, _NONE), bytes(16), add(full), len(full)))
    child = 1 if streams else _NONE
    entries[0] = _entry("Root Entry", 5, (_NONE, _NONE, child), root_class, _END, 0)
    entries += [bytes(128)] * (-len(entries) % 4)
    directory = add(b"".join(entries))
    tables = 1
    while tables * (_SECTOR // 4) < len(sectors) + tables:
        tables += 1
    first = len(sectors)
    follows += [_TABLE] * tables
    table = struct.pack(f"<{len(follows)}I", *follows).ljust(tables * _SECTOR, b"\xff")
    numbers = [*range(first, first + tables), *[_FREE] * (109 - tables)]
    head = struct.pack(
        "<8s16sHHHHH6sIIIIIIIII109I",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        bytes(16),
        *(0x3E, 3, 0xFFFE, 9, 6),
        bytes(6),
        *(0, tables, directory, 0, _SMALL_BYTES, _END, 0, _END, 0),
        *numbers,
    )
    return head + b"".join(sectors) + table


def _entry(
    name: str, kind: int, tree: tuple[int, int, int], own: bytes, begin: int, size: int
) -> bytes:
    text = name.encode("utf-16-le") + b"\0\0"
    return struct.pack(
        "<64sHBBIII16sIQQIQ", text, len(text), kind, 1, *tree, own, 0, 0, 0, begin, size
    )
