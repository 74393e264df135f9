"""Names in paths, and older services' spellings: what they mean."""

import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

from imgprocessor.geometry import Fit
from imgprocessor.request.names import spell
from imgprocessor.request.parameters import ImageQuery
from imgprocessor.request.query import parse, parse_path, parse_query, url_parts

MAX_SIDE = 4096
IDENT = f"{'0123456789abcdef' * 2}.jpg"

READINGS: list[tuple[str, list[str]]] = [
    ("a.jpg", ["a.jpg"]),
    ("cats/tom.jpg", ["cats/tom.jpg"]),
    ("a+b.jpg", ["a+b.jpg"]),
    ("a%20b%3Fc%26d%3Be.jpg", ["a b?c&d;e.jpg"]),
    ("%C3%A9.jpg", ["é.jpg"]),
    ("100/a.jpg", ["100/a.jpg", "a.jpg 100x0"]),
    ("100/200/a.jpg", ["100/200/a.jpg", "200/a.jpg 100x0", "a.jpg 100x200"]),
    ("100/0/a.jpg", ["100/0/a.jpg", "0/a.jpg 100x0", "a.jpg 100x0"]),
    ("150/%3C60/a.jpg", ["150/<60/a.jpg", "<60/a.jpg 150x0", "a.jpg 150x<60"]),
    ("100/cats/tom.jpg", ["100/cats/tom.jpg", "cats/tom.jpg 100x0"]),
    ("0/a.jpg", ["0/a.jpg"]),
    ("0100/a.jpg", ["0100/a.jpg"]),
    ("100", ["100"]),
]


def _query(spelled: str) -> ImageQuery:
    name, _, size = spelled.rpartition(" ") if " 1" in spelled else (spelled, "", "")
    return parse_query(f"name={spell(name)}{f'&size={size}' if size else ''}", MAX_SIDE)


@pytest.mark.parametrize(("path", "expected"), READINGS)
def test_a_path_is_a_name_or_a_size_and_a_name(path: str, expected: list[str]) -> None:
    found = parse_path(path, "", MAX_SIDE)

    assert [reading.require() for reading in found] == [_query(known) for known in expected]
    assert [reading.is_whole_path for reading in found] == [True, *[False] * (len(found) - 1)]


SIZES = [
    ("size=100x50", {"width": 100, "height": 50, "fit": Fit.COVER}),
    ("size=100x0", {"width": 100, "fit": Fit.FORCE}),
    ("crop&width=5&height=6", {"width": 5, "height": 6, "fit": Fit.COVER}),
    ("crop=on&w=5&h=6", {"width": 5, "height": 6, "fit": Fit.COVER}),
    ("crop=1", {"fit": Fit.COVER}),
    ("crop=true", {"fit": Fit.COVER}),
    ("crop=", {}),
    ("encoding=webp", {"format": "webp"}),
    ("encoding=jpg", {"format": "jpeg"}),
    ("encoding=bmp", {}),
    ("cache-timeout=60", {"ct": 60}),
    ("ct=000", {"ct": 0}),
    ("download=yes", {"download": "yes"}),
    ("download=no", {}),
    ("download=%C3%A9+a.jpg", {"download": "é a.jpg"}),
    ("size=", {}),
]


@pytest.mark.parametrize(("rest", "expected"), SIZES)
def test_older_spellings_stand_for_parameters(rest: str, expected: dict[str, object]) -> None:
    assert parse_query(f"name=a.jpg&{rest}", MAX_SIDE) == ImageQuery(name="a.jpg", **expected)  # type: ignore[arg-type]


WRONG = [
    ("size=100", "size=100: must be such as 100x50, 100x0 or 100x<60"),
    ("size=0x50", "size=0x50: must be such as"),
    ("size=100x50&width=3", "width: given twice"),
    ("width=3&size=100x0", "width: given twice (size stands for it)"),
    ("crop&fit=inside", "fit: given twice"),
    ("w=3&width=3", "width: given twice"),
    ("download=a/b.jpg", "without folders"),
    ("download=..", "must be"),
    ("ct=-1", "must be a whole number of seconds"),
]


@pytest.mark.parametrize(("rest", "expected"), WRONG)
def test_what_makes_no_sense_is_said(rest: str, expected: str) -> None:
    assert any(expected in problem for problem in parse(f"name=a.jpg&{rest}", MAX_SIDE).problems)


@pytest.mark.parametrize("query_string", ["name=b.jpg", "url=https://a.example/b.jpg"])
def test_a_path_has_no_other_name_beside_it(query_string: str) -> None:
    (reading,) = parse_path("a.jpg", query_string, MAX_SIDE)

    assert reading.problems == ("name, url: given beside a name in the path",)


@pytest.mark.parametrize(
    "path", ["..", "a/../b", "a//b", "/a", "a/", "a%00", "a%5Cb", "%FF", "a\x80", "x" * 256]
)
def test_no_path_leads_elsewhere(path: str) -> None:
    assert all(reading.problems for reading in parse_path(path, "", MAX_SIDE))


OF_OLD = [
    ("width=100&height=50", {"width": 100, "height": 50, "fit": Fit.COVER}),
    ("width=100&height=0", {"width": 100, "fit": Fit.FORCE}),
    ("width=100", {"width": 100, "fit": Fit.FORCE}),
    ("height=100", {"height": 100}),
    ("width=100&height=50&fit=inside", {"width": 100, "height": 50}),
    # As caches in front spell it: without zeros before it, and what is empty.
    ("width=0100&height=050&fit=", {"width": 100, "height": 50, "fit": Fit.COVER}),
    ("w=100&height=00&fsize=x", {"width": 100, "fit": Fit.FORCE}),
    ("width=50&h=050", {"width": 50, "height": 50, "fit": Fit.COVER, "gravity": "upper"}),
    (
        "width=50&height=50&gravity=",
        {"width": 50, "height": 50, "fit": Fit.COVER, "gravity": "upper"},
    ),
    ("width=50&height=50&gravity=centre", {"width": 50, "height": 50, "fit": Fit.COVER}),
    ("", {}),
]


@pytest.mark.parametrize(("rest", "expected"), OF_OLD)
def test_of_an_upload_of_old_two_sides_are_a_size(rest: str, expected: dict[str, object]) -> None:
    (reading,) = parse_path(IDENT, rest, MAX_SIDE)

    assert reading.require() == ImageQuery(name=IDENT, **expected)  # type: ignore[arg-type]


def test_only_in_paths() -> None:
    assert parse_query(f"name={IDENT}&width=100&height=50", MAX_SIDE).fit is Fit.INSIDE
    (reading,) = parse_path(f"x{IDENT}", "width=100&height=50", MAX_SIDE)
    assert reading.require().fit is Fit.INSIDE


@given(name=st.text(min_size=1, max_size=40), rest=strategies.parameters)
def test_a_name_means_the_same_in_a_path_and_in_a_query(name: str, rest: dict[str, str]) -> None:
    """But for what is a size, and what the path says of an upload."""
    query_string = "&".join(
        part
        for part in strategies.query_string(rest).split("&")
        if not part.startswith(("name", "url"))
    )
    in_path = parse_path(spell(name), query_string, MAX_SIDE)[0]
    in_query = parse(f"name={spell(name)}&{query_string}", MAX_SIDE)

    assert in_path.query == in_query.query
    assert bool(in_path.problems) == bool(in_query.problems)


URLS = [
    ("/image/a.jpg", "/image/a.jpg", "a.jpg", ""),
    (
        "https://x.example/img/image/b/a.jpg?w=3#x",
        "https://x.example/img/image/b/a.jpg",
        "b/a.jpg",
        "w=3",
    ),
    ("/images/?name=a.jpg", "/images/", None, "name=a.jpg"),
    ("/media/images/?name=a.jpg", "/media/images/", None, "name=a.jpg"),
    ("/images/-/health", "", None, "/images/-/health"),
    ("name=a/image/b.jpg", "", None, "name=a/image/b.jpg"),
    ("/media/é.jpg", "/media/é.jpg", "\xc3\xa9.jpg", ""),
    ("/full/b/a.jpg?x", "/full/b/a.jpg", "b/a.jpg", "x"),
    ("/image/full/a.jpg", "/image/full/a.jpg", "full/a.jpg", ""),
]


@pytest.mark.parametrize(("url", "before", "path", "query_string"), URLS)
def test_urls_are_taken_apart(url: str, before: str, path: str | None, query_string: str) -> None:
    found = url_parts(url)

    assert (found.before, found.path, found.query_string) == (before, path, query_string)
    assert found.is_full == url.startswith("/full/")
