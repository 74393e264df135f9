"""SVGs: drawings as viewers show them, and what is left out or refused of hostile ones."""

import base64
import gzip
import io
from pathlib import Path

import pytest
from drawn_documents import BLUE, CLEAR, GREEN, RED, drawn, kind_of, refused
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from imgprocessor.errors import UndrawableDocument
from imgprocessor.images.previews.kind import CUT_OFF, DAMAGED, EMPTY, TOO_LARGE, Ends
from imgprocessor.images.previews.svg import Svg
from imgprocessor.images.previews.svg_text import is_svg, rewritten

NAMESPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
QUARTERS = (
    '<rect width="50%" height="50%" fill="#f00"/>'
    '<rect x="50%" width="50%" height="50%" fill="#0f0"/>'
    '<rect y="50%" width="50%" height="50%" fill="#00f"/>'
)
UPRIGHT = [RED, GREEN, BLUE, CLEAR]
LOCAL_PICTURES = [str(path) for path in Path("/usr/share/pixmaps").glob("*.png")]


def svg(inner: str = QUARTERS, root: str = 'width="200" height="100"') -> str:
    return f"<svg {NAMESPACES} {root}>{inner}</svg>"


@pytest.mark.parametrize(
    ("root", "size"),
    [
        ('width="20" height="10"', (200, 100)),
        ('viewBox="0 0 100 200" width="100%" height="100%"', (100, 200)),
        ('viewBox="0 0 100,200"', (100, 200)),
        ("", (200, 100)),
        ('width="50" viewBox="0 0 200 100"', (200, 100)),
        ('height="50%" viewBox="0 0 200 100"', (200, 100)),
        ('width="25.4mm" height="2in"', (100, 200)),
        ('width="6pc" height="144pt"', (100, 200)),
        ('width="1e30" height="1e30"', (200, 200)),
        ('width="100000" height="1"', (200, 1)),
        ('width="0.001" height="0.002"', (100, 200)),
        ('width="wide" height="-0" viewBox="0 0 0 9"', None),
        ('width="0" height="100"', None),
        ('width="-5" height="100"', None),
        ('width="1e999" height="1"', None),
    ],
)
def test_sides(root: str, size: tuple[int, int] | None) -> None:
    data = svg(root=root).encode()
    if size is None:
        assert refused(data) == EMPTY
        return
    shown = drawn(data)

    assert (shown.picture.size, shown.pages) == (size, 1)
    if size[1] > 1:
        assert shown.quarters() == UPRIGHT


def test_ratios_are_kept_as_the_drawing_says() -> None:
    square = '<rect width="100" height="100" fill="#f00"/>'
    amid = drawn(svg(square, 'width="200" height="100" viewBox="0 0 100 100"').encode())
    all_over = 'width="200" height="100" viewBox="0 0 100 100" preserveAspectRatio="none"'

    assert [amid.at(x, 0.5) for x in (0.1, 0.5, 0.9)] == [CLEAR, RED, CLEAR]
    assert drawn(svg(square, all_over).encode()).quarters() == [RED] * 4


def test_it_has_one_page() -> None:
    assert refused(svg().encode(), 2) == "The document has no page 2: it has 1."


TEXT = '<text x="10" y="80" font-size="80">{}</text>'


@pytest.mark.parametrize(
    "data",
    [
        svg().encode(),
        ("\ufeff" + svg()).encode(),
        ("\ufeff" + svg()).encode("utf-16-le"),
        ('\ufeff<?xml version="1.0" encoding="UTF-16"?>' + svg()).encode("utf-16-be"),
        ('<?xml version="1.0" encoding="iso-8859-1"?>' + svg("<!-- é -->" + QUARTERS)).encode(
            "latin-1"
        ),
        ("<?xml version='1.0' encoding='Shift_JIS'?>" + svg("<!-- 日本 -->" + QUARTERS)).encode(
            "shift-jis"
        ),
        ("\n\n<!-- > <svg> -->\n<?x <html> ?><!DOCTYPE svg>\n" + svg()).encode(),
        (
            '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://localhost/svg11.dtd" [\n'
            '<!ENTITY ns "http://www.w3.org/2000/svg"> <!-- ]> " --> <!ENTITY gt "]>">]>'
            + svg().replace('xmlns="http://www.w3.org/2000/svg"', 'xmlns="&ns;"')
        ).encode(),
        svg()
        .replace("<rect", "<s:rect")
        .replace("svg>", "s:svg>")
        .replace("<svg xmlns=", "<s:svg xmlns:s=")
        .encode(),
        gzip.compress(svg().encode()),
        svg('<script>while(1);</script><a onclick="x">' + QUARTERS + "</a>").encode(),
        svg("<style><![CDATA[ svg > rect { stroke: none } ]]></style>" + QUARTERS).encode(),
    ],
    ids=[
        *("plain", "mark", "utf-16-le", "utf-16-be", "latin-1", "shift-jis", "prolog", "doctype"),
        *("prefix", "svgz", "scripts", "css"),
    ],
)
def test_however_it_is_written(data: bytes) -> None:
    kind = kind_of(data)

    assert kind is not None
    assert kind.name == "svg"
    assert drawn(data).quarters() == UPRIGHT


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<",
        b"<html><body>" + svg().encode(),
        b"<!DOCTYPE html>" + svg().encode(),
        b"<!DOCTYPE html [<!ENTITY a '",
        b"<?xml version='1.0'?><!-- <svg xmlns='http://www.w3.org/2000/svg'>",
        b"<svgx/>",
        b"<a:b:svg/>",
        b"text <svg/>",
        gzip.compress(b"<html/>", mtime=0),
        b"\x1f\x8b\x08\x00garbage",
        b"\x1f\x8b",
    ],
)
def test_what_is_none(data: bytes) -> None:
    assert kind_of(data) is None


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_are_looked_at(data: bytes) -> None:
    for around in (data, b"<!DOCTYPE svg [" + data, b"<svg>" + data, gzip.compress(data)):
        assert Svg().is_one(Ends(around, around)) in {True, False}


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_are_written_anew_or_refused(data: bytes) -> None:
    for around in (data, b"<svg>" + data + b"</svg>", gzip.compress(b"<svg>" + data + b"</svg>")):
        try:
            text, _ = rewritten(around, 100)
        except UndrawableDocument:
            continue
        assert is_svg(text.encode()) or "svg" not in text[:10]
        assert rewritten(text.encode(), 100)[0] == text


def test_a_head_of_ten_thousand_comments_takes_no_time() -> None:
    assert is_svg(b"<!---->" * 10_000 + b"<svg/>")
    assert not is_svg(b"<!DOCTYPE svg [" + b"<" * 60_000)


@pytest.mark.parametrize(
    ("family", "is_wide"),
    [
        ("Arial", None),
        ("arial", None),
        ("Times New Roman", None),
        ("&quot;Helvetica Neue&quot;, Arial", None),
        ("Nobody Knows", None),
        ("sans-serif", None),
        ("serif", None),
        ("cursive", None),
        ("fantasy", None),
        ("Courier New", True),
        ("monospace", True),
        ("Nobody, monospace", True),
    ],
)
def test_every_family_is_drawn_in_one_that_is_there(family: str, *, is_wide: bool | None) -> None:
    shown = drawn(svg(f'<g font-family="{family}">' + TEXT.format("iiiii") + "</g>").encode())

    left, _, right, _ = shown.covered()
    assert (right - left > 0.7) is bool(is_wide)


def test_families_are_those_that_people_mean() -> None:
    def widths(*families: str) -> list[float]:
        found = []
        for family in families:
            inner = f'<g style="font-family:{family}">' + TEXT.format("Rag") + "</g>"
            left, _, right, _ = drawn(svg(inner).encode()).covered()
            found.append(round(right - left, 2))
        return found

    sans, serif = widths("sans-serif", "serif")
    assert sans != serif
    assert widths("Arial", "VERDANA", "Times", "Georgia", "Nobody") == [
        *(sans, sans),
        *(serif, serif, serif),
    ]


def test_a_line_height_costs_no_font() -> None:
    plain, high, attribute = (
        drawn(svg(f"<style>{style}</style>{text}").encode()).covered()
        for style, text in [
            ("text { font: bold 60px Arial }", TEXT.format("Rag")),
            ("text { font: bold 60px / 1.2 Arial }", TEXT.format("Rag")),
            ("", '<text style="font:bold 60px/120% Arial" x="10" y="80">Rag</text>'),
        ]
    )

    assert plain == high == attribute
    assert plain[2] - plain[0] > 0.4


def test_letters_of_another_script_are_drawn() -> None:
    shown = [drawn(svg(TEXT.format(text)).encode()).ink() for text in ("", "Ж", "中", "あ", "Ω")]

    assert shown[0] == 0
    assert min(shown[1:]) > 300


@pytest.mark.skipif(not LOCAL_PICTURES, reason="no picture beside that one may read")
def test_no_link_leads_out_of_the_drawing() -> None:
    local = LOCAL_PICTURES[0]
    picture = io.BytesIO()
    Image.new("RGB", (4, 4), (255, 0, 0)).save(picture, "PNG")
    own = base64.b64encode(picture.getvalue()).decode()
    nested = base64.b64encode(
        svg(f'<image href="{local}" width="200" height="100"/>').encode()
    ).decode()
    links = "".join(
        f'<image {link} width="200" height="100" preserveAspectRatio="none"/>'
        for link in (
            f'href="{local}"',
            f'xlink:href="file://{local}"',
            f'href="  {local}"',
            'href="http://127.0.0.1/x.png"',
            f'href="data:image/svg+xml;base64,{nested}"',
        )
    )
    links += f'<filter id="f"><feImage href="{local}"/></filter><g filter="url(#f)">{QUARTERS}</g>'
    mine = f'<image href="data:image/png;base64,{own}" x="50%" width="50%" height="100%"/>'

    assert drawn(svg(links).encode()).quarters() == [CLEAR] * 4
    assert drawn(svg(mine).encode()).at(0.75, 0.5) == RED


def test_entities_from_elsewhere_are_left_out() -> None:
    outside = '<!DOCTYPE svg SYSTEM "x.dtd" [<!ENTITY x SYSTEM "file:///etc/passwd">'
    outside += ' <!ENTITY % y SYSTEM "http://127.0.0.1/"> %y;]>'

    text, _ = rewritten((outside + svg("<text>A&x;B&nbsp;C</text>")).encode(), 100)
    assert "<text>ABC</text>" in text


def laughs() -> str:
    entities = '<!ENTITY a "aaaaaaaaaa">' + "".join(
        f'<!ENTITY {name} "{f"&{of};" * 10}">'
        for of, name in zip("abcdefghi", "bcdefghij", strict=True)
    )
    return f"<!DOCTYPE svg [{entities}]>" + svg("<text>&j;</text>")


def uses(levels: int) -> str:
    inner = '<defs><rect id="a0" width="9" height="9"/>' + "".join(
        f'<g id="a{level + 1}">' + f'<use href="#a{level}"/>' * 10 + "</g>"
        for level in range(levels)
    )
    return svg(f'{inner}</defs><use href="#a{levels}"/>')


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (laughs().encode(), TOO_LARGE),
        (uses(8).encode(), TOO_LARGE),
        (svg("<g>" * 5000 + QUARTERS + "</g>" * 5000).encode(), TOO_LARGE),
        (gzip.compress(svg(QUARTERS + " " * 60_000_000).encode(), 1), TOO_LARGE),
        (svg()[:-20].encode(), CUT_OFF),
        (svg()[:-6].encode(), CUT_OFF),
        (gzip.compress(svg(QUARTERS * 20).encode())[:140], CUT_OFF),
        (gzip.compress(svg().encode())[:120] + b"\xff" * 99, DAMAGED),
        (svg("<a></b>").encode(), DAMAGED),
        (svg("&nbsp;").encode(), DAMAGED),
        (svg('<g a="1" a="2"/>').encode(), DAMAGED),
    ],
    ids=[
        *("laughs", "uses", "deep", "svgz bomb", "cut", "cut end", "cut svgz", "broken svgz"),
        *("other end", "no entity", "twice"),
    ],
)
def test_what_cannot_be_shown_is_said(data: bytes, sentence: str) -> None:
    assert refused(data) == sentence


@pytest.mark.parametrize(
    "inner",
    [
        "<g>" * 950 + QUARTERS + "</g>" * 950,
        f'<g id="a">{QUARTERS}<use href="#a"/></g>',
        f'{QUARTERS}<switch><foreignObject width="9" height="9"/><g/></switch>',
    ],
    ids=["nested", "loop", "foreign"],
)
def test_what_viewers_bear_is_drawn(inner: str) -> None:
    assert drawn(svg(inner).encode()).quarters() == UPRIGHT


def test_layers_that_take_all_memory_are_refused_or_drawn_smaller() -> None:
    """It depends on how fast this machine is."""
    layers = '<g opacity=".9">' * 900 + QUARTERS + "</g>" * 900
    try:
        shown = drawn(svg(layers).encode(), side_pixels=4000)
    except UndrawableDocument as error:
        assert error.public == TOO_LARGE
    else:
        assert 128 <= max(shown.picture.size) < 4000


def test_filters_that_take_minutes_are_drawn_smaller() -> None:
    noise = '<feTurbulence baseFrequency="0.9" numOctaves="10"/>' * 40
    shown = drawn(
        svg(
            f'<filter id="a" x="0" y="0" width="1" height="1">{noise}</filter>'
            '<rect width="100" height="50" fill="red"/>'
            '<rect y="50" width="100" height="50" filter="url(#a)"/>'
        ).encode(),
        side_pixels=2400,
    )

    assert 128 <= max(shown.picture.size) < 1200
    assert shown.at(0.2, 0.2) == RED
