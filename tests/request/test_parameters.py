"""The query string: what is understood, what is refused, and what counts as not given."""

from decimal import Decimal
from urllib.parse import quote, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imgprocessor.errors import BadQuery
from imgprocessor.geometry import Box, Fit, Flip
from imgprocessor.request.names import MAX_NAME_BYTES, spell
from imgprocessor.request.parameters import OLD_NAMES, PARAMETERS, ImageQuery
from imgprocessor.request.query import parse, parse_query
from imgprocessor.request.values import parse_number

MAX_SIDE = 4096
TOO_LONG = "must be at most 1024 bytes of UTF-8, decoded, and 255 between slashes"


def _parse(rest: str) -> ImageQuery:
    return parse_query(f"name=nasa.jpeg&{rest}", MAX_SIDE)


@pytest.mark.parametrize(
    ("rest", "field", "expected"),
    [
        ("width=340&height=400", "box", Box(340, 400)),
        ("width=340", "box", Box(340, None)),
        ("height=400", "box", Box(None, 400)),
        ("width=0&height=400", "box", Box(None, 400)),
        ("width=&height=", "box", None),
        ("width=0&height=0", "box", None),
        ("width=0340", "box", Box(340, None)),
        ("width=4096", "box", Box(4096, None)),
        ("fit=cover", "fit", Fit.COVER),
        ("fit=", "fit", Fit.INSIDE),
        ("fsize=1", "fit", Fit.FORCE),
        ("fsize=0", "fit", Fit.INSIDE),
        ("fsize=yes", "fit", Fit.INSIDE),
        ("flip=h", "flip", Flip.ACROSS),
        ("flip=v", "flip", Flip.DOWN),
        ("flip=hv", "flip", Flip.BOTH),
        ("flip=none", "flip", None),
        ("flip=", "flip", None),
        ("bandwidth=2G", "bandwidth", "2g"),
        ("bandwidth=*", "bandwidth", "*"),
        ("bandwidth=%2A", "bandwidth", "*"),
        ("screen=Phone", "screen", "phone"),
        ("screen=des%E2%84%AAtop", "screen", "des%e2%84%aatop"),
        ("screensize=320", "screen", "320"),
        ("dpr=2", "dpr", Decimal(2)),
        ("dpr=2.625", "dpr", Decimal("2.625")),
        ("dpr=1.100000023841858", "dpr", Decimal("1.1")),
        ("dpr=0", "dpr", None),
        ("dpr=undefined", "dpr", None),
        ("dpr=1.1x", "dpr", None),
        ("dpr=123456", "dpr", None),
        ("quality=40", "quality", 40),
        ("quality=0", "quality", None),
        ("max_bytes=1000", "max_bytes", 1000),
        ("max_bytes=", "max_bytes", None),
        ("format=auto", "format", None),
        ("format=avif", "format", "avif"),
        ("format=jpeg", "format", "jpeg"),
        ("colour=red&width=10", "box", Box(10, None)),
        ("%77idth=10", "box", None),
    ],
)
def test_a_parameter_is_understood(rest: str, field: str, expected: object) -> None:
    assert expected == getattr(_parse(rest), field)


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("nasa.jpeg", "nasa.jpeg"),
        ("space/nasa.jpeg", "space/nasa.jpeg"),
        ("space%2Fnasa.jpeg", "space/nasa.jpeg"),
        ("a+b%20c", "a b c"),
        ("%C3%A9t%C3%A9.jpg", "été.jpg"),
        ("\xc3\xa9.jpg", "é.jpg"),
        ("..%252fx", "..%2fx"),
        ("...", "..."),
    ],
)
def test_a_name_is_decoded_once(spelled: str, name: str) -> None:
    assert name == parse_query(f"name={spelled}", MAX_SIDE).name


@pytest.mark.parametrize(
    ("query_string", "message"),
    [
        ("", "name: must be given"),
        ("name=", "name: must be given"),
        ("name=a&name=b", "name: given twice"),
        ("name=a&name=a", "name: given twice"),
        ("name=a&width=abc", "width=abc: must be a whole number from 1 to 4096"),
        ("name=a&width=-5", "width=-5: must be"),
        ("name=a&width=1e9", "width=1e9: must be"),
        ("name=a&width=99999", "width=99999: must be"),
        ("name=a&height=4097", "height=4097: must be"),
        ("name=a&height=3.5", "height=3.5: must be"),
        ("name=a&height=+5", "height=+5: must be"),
        ("name=a&width=%D9%A3", "width=%D9%A3: must be"),
        ("name=a&width=1&width=2", "width: given twice"),
        ("name=a&fit=stretch", "fit=stretch: must be inside, force or cover"),
        ("name=a&flip=vh", "flip=vh: must be none, h, v or hv"),
        ("name=a&fit=INSIDE", "fit=INSIDE: must be"),
        ("name=a&fit=cover&fsize=1", "fit: given twice (fsize is its old spelling)"),
        ("name=a&screen=1&screensize=2", "screen: given twice (screensize is"),
        ("name=a&bandwidth=2g&bandwidth=3g", "bandwidth: given twice"),
        ("name=a&quality=101", "quality=101: must be a whole number from 1 to 100"),
        ("name=a&quality=low", "quality=low: must be"),
        ("name=a&max_bytes=999", "max_bytes=999: must be a whole number of bytes, at least 1000"),
        ("name=a&max_bytes=0", "max_bytes=0: must be"),
        ("name=a&max_bytes=25kB", "max_bytes=25kB: must be"),
        ("name=a&max_bytes=" + "9" * 13, "max_bytes=999"),
        ("name=a&format=bmp", "format=bmp: must be auto, jxl, avif, webp, png or jpeg"),
        ("name=../README.md", "name=../README.md: must be a path under"),
        ("name=%2e%2e/README.md", "name=%2e%2e/README.md: must be a path under"),
        ("name=..%2fREADME.md", "name=..%2fREADME.md: must be a path under"),
        ("name=a/../../b", "name=a/../../b: must be a path under"),
        ("name=/etc/passwd", "name=/etc/passwd: must be a path under"),
        ("name=%2fetc/passwd", "name=%2fetc/passwd: must be a path under"),
        ("name=./a", "name=./a: must be a path under"),
        ("name=a//b", "name=a//b: must be a path under"),
        ("name=a/", "name=a/: must be a path under"),
        ("name=a%00.jpg", "name=a%00.jpg: must have no control characters"),
        ("name=a%0d%0ab", "name=a%0d%0ab: must have no control characters"),
        ("name=a%5cb", "name=a%5cb: must have no control characters and no backslashes"),
        ("name=%FF", "name=%FF: must be UTF-8"),
        ("name=%ED%A0%80", "name=%ED%A0%80: must be UTF-8"),
        ("name=%C0%AF", "name=%C0%AF: must be UTF-8"),
        ("name=" + "a" * 256, "name=" + "a" * 40 + f": {TOO_LONG}"),
        ("name=" + "%61" * 256, f": {TOO_LONG}"),
        ("name=" + "%E4%BD%A0" * 85 + "a", f": {TOO_LONG}"),
        ("name=" + "\xe4\xbd\xa0" * 85 + "a", f": {TOO_LONG}"),
        ("name=" + "/".join(["a" * 255] * 4) + "%2Fa", f": {TOO_LONG}"),
        ("name=" + "a/" * 512 + "a", f": {TOO_LONG}"),
    ],
)
def test_a_page_authors_mistake_is_refused_by_name(query_string: str, message: str) -> None:
    with pytest.raises(BadQuery) as caught:
        parse_query(query_string, MAX_SIDE)

    assert message in caught.value.public


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(BadQuery) as caught:
        parse_query("width=x&height=y", MAX_SIDE)

    assert ["name", "width", "height"] == [
        problem.partition(":")[0].partition("=")[0] for problem in caught.value.public.split("; ")
    ]


def test_what_is_right_of_a_wrong_query_can_still_be_read() -> None:
    query = parse("name=../x&width=200&height=abc&fit=force", MAX_SIDE).query

    assert (Box(200, None), Fit.FORCE) == (query.box, query.fit)


@pytest.mark.parametrize(
    "name",
    ["a" * 255, "你" * 85, "/".join(["你" * 85] * 3 + ["你" * 84, "你"]), "a/" * 511 + "aa"],
    ids=len,
)
def test_a_name_is_as_long_as_file_systems_allow(name: str) -> None:
    """Decoded, however it is spelled."""
    assert len(name.encode()) in {255, MAX_NAME_BYTES}
    for spelled in (spell(name), quote(name, safe=""), name.encode().decode("latin-1")):
        assert parse_query(f"name={spelled}", MAX_SIDE).name == name


@pytest.mark.parametrize("text", ["", "-1", "1e3", " 1", "1 ", "1.", ".5", "1.2345", "123456", "٣"])
def test_what_is_no_hint_is_none(text: str) -> None:
    assert parse_number(text) is None


octets = st.text(st.characters(max_codepoint=0xFF))
PIECES = st.sampled_from(
    [*PARAMETERS, *OLD_NAMES, "=", "&", "%", "%00", "..", "/", "+", "1", "0", "99999", "x", "*"]
)


@given(octets | st.lists(PIECES | octets).map("".join))
@example("name=a&=&&%")
def test_nothing_whatever_raises_anything_else(query_string: str) -> None:
    try:
        query = parse_query(query_string, MAX_SIDE)
    except BadQuery as error:
        assert error.public.isprintable()
        assert error.public.isascii()
    else:
        assert spell(query.original).isascii()
        assert spell(query.original).isprintable()


@given(st.permutations(["name=nasa.jpeg", "width=3", "fit=cover", "dpr=2", "colour=red"]))
def test_the_order_of_parameters_does_not_matter(parts: list[str]) -> None:
    assert parse_query("&".join(parts), MAX_SIDE) == _parse("width=3&fit=cover&dpr=2")


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=40))
def test_any_name_that_is_understood_is_the_name_that_was_quoted(name: str) -> None:
    try:
        query = parse_query(urlencode({"name": name}), MAX_SIDE)
    except BadQuery:
        return
    assert name == query.name
    # What is spelled anew is read as the same name: no two names share a spelling.
    assert name == parse_query(f"name={spell(query.name)}", MAX_SIDE).name


def test_a_problem_is_told_once() -> None:
    parsed = parse("name=a" + "&fit=inside" * 100, MAX_SIDE)

    assert parsed.problems == ("fit: given twice",)


def test_parameters_that_nobody_knows_take_no_memory() -> None:
    """What is understood is remembered for many requests."""
    known = parse("name=a&signature=s&expires=1", MAX_SIDE)

    assert parse("&".join(["name=a", "ab", "cd=1"] * 1), MAX_SIDE).proofs == ()
    assert known.proofs == (("signature", "s"), ("expires", "1"))
    assert len(parse("name=a" + "&signature" * 100, MAX_SIDE).proofs) == 3
