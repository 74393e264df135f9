"""Kept sizes: how they are spelled, and which requests ask for them."""

import re

import pytest

from imgprocessor.errors import BadQuery
from imgprocessor.request.query import parse, parse_path
from imgprocessor.request.sizes import KeptSize, read_sizes, size_asked

IDENT = "0123456789abcdef" * 2
SIZES = ("100x50", "100x100", "100x0", "150x<60")


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("", []),
        (" ", []),
        ("100x50", [("100", "50")]),
        ("100x50,150x<60", [("100", "50"), ("150", "<60")]),
        (" 100x0 , 100x100,100x0", [("100", "0"), ("100", "100")]),
        ("4096x4096", [("4096", "4096")]),
    ],
)
def test_sizes_are_read(text: str, sizes: list[tuple[str, str]]) -> None:
    assert [(size.width, size.height) for size in read_sizes(text, 4, 4096)] == sizes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0x0", "0x0: must be such as"),
        ("100", "100: must be such as"),
        ("100x", "must be such as"),
        ("x50", "must be such as"),
        ("-1x50", "must be such as"),
        ("1.5x50", "must be such as"),
        ("100x<0", "must be such as"),
        ("100x>60", "must be such as"),
        ("100x%3C60", "100x%253C60: sizes are such as"),
        ("\u0661\u0660\u0660x\u0665\u0660", "must be such as"),
        ("100x50\r\nx: y", "must be such as"),
        ("<script>", "%3Cscript%3E: must be such as"),
        ("100x50,", "sizes: : sizes are such as"),
        ("100x50;100x0", "must be such as"),
        ("4097x50", "no side may be over 4096"),
        ("100x4097", "no side may be over 4096"),
        ("100x<4097", "no side may be over 4096"),
        ("999999999999x50", "must be such as"),
        ("1x1,2x2,3x3,4x4,5x5", "5 are too many; a picture has at most 4"),
        (",".join(["1x1"] * 5000), "5000 are too many"),
    ],
)
def test_what_is_no_size_is_refused_in_words(text: str, message: str) -> None:
    with pytest.raises(BadQuery, match=re.escape(message)) as raised:
        read_sizes(text, 4, 4096)

    assert raised.value.public.isascii()
    assert raised.value.public.isprintable()


@pytest.mark.parametrize(
    ("path", "query", "size"),
    [
        (f"{IDENT}.jpg", "width=100&height=50", "100x50"),
        (f"{IDENT}.jpg", "height=50&width=100", "100x50"),
        (f"{IDENT}.jpg", "width=100&height=100", "100x100"),
        (f"{IDENT}.jpg", "width=100", "100x0"),
        (f"{IDENT}.jpg", "width=100&height=0", "100x0"),
        (f"{IDENT}.jpg", "width=150&height=%3C60", "150x<60"),
        (f"{IDENT}.jpg", "size=150x%3C60", "150x<60"),
        (f"{IDENT}.jpg", "size=100x50&bandwidth=2g&dpr=2&formats=avif&screen=phone", "100x50"),
        (f"{IDENT}.jpg", "size=100x50&ct=60&download=yes&unknown=1", "100x50"),
        (f"100/50/{IDENT}.jpg", "", "100x50"),
        (f"100/{IDENT}.jpg", "", "100x0"),
        (f"150/%3C60/{IDENT}.jpg", "", "150x<60"),
        (f"{IDENT}.jpg", "width=101&height=50", None),
        (f"{IDENT}.jpg", "", None),
        (f"{IDENT}.jpg", "screen=phone", None),
        (f"{IDENT}.jpg", "size=100x50&quality=50", None),
        (f"{IDENT}.jpg", "size=100x50&max_bytes=5000", None),
        (f"{IDENT}.jpg", "size=100x50&format=png", None),
        (f"{IDENT}.jpg", "size=100x50&flip=h", None),
        (f"{IDENT}.jpg", "size=100x50&crop=0,0,9,9", None),
        (f"{IDENT}.jpg", "size=100x50&gravity=north", None),
        (f"{IDENT}.jpg", "width=100&height=50&fit=inside", None),
        (f"{IDENT}.jpg", "size=100x0&max_height=70", None),
        (f"{IDENT}.jpg", "lqip=yes", None),
    ],
)
def test_a_request_asks_for_a_kept_size_as_nothing_else(
    path: str, query: str, size: str | None
) -> None:
    kept = read_sizes(",".join(SIZES), 9, 4096)
    parsed = parse_path(path, query, 4096)[-1]

    assert parsed.query.name == f"{IDENT}.jpg"
    assert size_asked(parsed.query, kept) == (size and read_sizes(size, 1, 4096)[0])


@pytest.mark.parametrize("size", SIZES)
def test_what_a_size_asks_for_is_that_size(size: str) -> None:
    (kept,) = read_sizes(size, 1, 4096)
    spelled = parse(f"name=a.jpg&size={size.replace('<', '%3C')}", 4096).require()

    assert kept.query("a.jpg") == spelled
    assert size_asked(kept.query("a.jpg"), [KeptSize("1", "1"), kept]) == kept
