"""The parameters of a request: one table, from which all else that knows them follows.

A row is a field of `ImageQuery`: its name, type, default, who writes it, and what it means.
Reading and its messages, the form that is signed, `[allowed]`, the one spelling in caches, the
documents, the page's form and what tests make up are worked out from the rows.

Two kinds of value are told apart. What a page's author writes must be right, or the answer is a 400
that says why. What scripts in visitors' browsers fill in counts as not given when it makes no
sense.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from imgprocessor.formats import ENCODED, FORMATS, UNIVERSAL, Format
from imgprocessor.geometry import CENTRE, COMPASS, UPPER, Box, Crop, Fit, Flip, Gravity, Page
from imgprocessor.request.names import read_file_name, read_name, read_spelled_url, spell
from imgprocessor.request.number_patterns import NUMBER
from imgprocessor.request.values import (
    AnyValue,
    PageOf,
    Point,
    Rectangle,
    Text,
    Whole,
    Word,
    lower_ascii,
    parse_number,
    write_number,
)

NAMES = ("name", "url")
"""Parameters that say which original; the others say what becomes of it."""

PROOFS = ("expires", "signature")
"""Parameters that prove a link: not of the picture. Where links need not be signed, they count for
nothing.
"""

NO_FORMATS = "none"
"""The word for no formats but those that every client takes, which are never written."""

YES, NO = "yes", "no"

LEAST_BUDGET_BYTES = 1000
"""Below it there is no picture to speak of: a JPEG's tables alone weigh some 600 bytes."""


@dataclass(frozen=True)
class Ladder:
    """How the policy's section `[allowed]` restricts a parameter."""

    key: str = ""
    """Of the section; empty where it is the parameter's name."""
    is_free: bool = False
    """Whether any value may be asked for where the section does not name the parameter; if not,
    only the default may.
    """
    in_kilobytes: bool = False
    """Whether the policy counts in kilobytes."""


@dataclass(frozen=True)
class Parameter:
    """A row of the table."""

    name: str
    value: AnyValue
    default: Any
    """What counts where the parameter is not given."""
    help: str
    """One sentence, in Markdown."""
    old: Mapping[str, Mapping[str, str] | None]
    """Old spellings of the name, each with old values and what they stand for, any other being as
    if it were not given; None where values stay as they are.
    """
    is_signed: bool
    """Whether the page's author writes it, and a signature is for it. Otherwise a script in the
    visitor's browser does: it is free, because the policy brings it down to few classes.
    """
    ladder: Ladder | None
    """None where it does not shape the picture, or is free."""


_Old = Mapping[str, Mapping[str, str] | None]
_NONE: _Old = MappingProxyType({})


def _author(
    default: Any,
    value: AnyValue,
    help_text: str,
    ladder: Ladder | None = Ladder(),
    old: _Old = _NONE,
) -> Any:
    row = (value, default, help_text, old, True, ladder)
    return field(default=default, metadata={"row": row})


def _script(value: AnyValue, help_text: str, old: _Old = _NONE) -> Any:
    return field(default=None, metadata={"row": (value, None, help_text, old, False, None)})


def _read_class(spelled: str) -> str:
    # A form's script writes the asterisk as it is, proofs escape it; nothing else needs escaping.
    return re.sub("^%2[aA]$", "*", lower_ascii(spelled))


def _read_dpr(spelled: str) -> Decimal | None:
    # devicePixelRatio comes with fifteen decimals on a zoomed page: three are kept.
    whole, point, decimals = spelled.partition(".")
    if decimals and not re.fullmatch(r"[0-9]{1,30}", decimals):
        return None
    return parse_number(whole + point + decimals[:3]) or None


def _read_formats(spelled: str) -> frozenset[Format] | None:
    # Nothing but formats, so that there are few spellings to keep.
    if spelled == NO_FORMATS:
        return UNIVERSAL
    words = re.split(r"[+]|%2[bB]|%20", spelled)
    known = frozenset(known for known in FORMATS if known in words)
    return known | UNIVERSAL if len(words) <= len(FORMATS) and set(words) == known else None


def _write_formats(formats: frozenset[Format]) -> str:
    return "+".join(known for known in FORMATS if known in formats - UNIVERSAL) or NO_FORMATS


def _read_download(spelled: str) -> str | None:
    return None if spelled == NO else read_file_name(spelled)


def _write_download(name: str | None) -> str:
    return NO if name is None else spell(name)


_SIDE = Whole(1, None, digits=9, examples=("1", "320", "640"))
_SIZES = Ladder("sizes", is_free=True)


@dataclass(frozen=True)
class ImageQuery:
    """A request's query string, understood. None is what was not given."""

    name: str = _author(
        "",
        Text(read_name, spell, ("nasa.jpeg", "a/b.png", "a_b_c", "x%20y.jpg", "%C3%A9.jpg")),
        "path of the original under the folder of originals, in any script: see"
        " [names](requests.md#names); either `name` or `url` must be given",
        None,
    )
    url: str = _author(
        "",
        Text(read_spelled_url, spell, ("https%3A//images.example.org/a.jpg",)),
        "an original from another host, in place of `name`: see"
        " [remote originals](originals.md#remote-originals); 500 bytes at most",
        None,
    )
    page: Page | None = _author(
        None,
        PageOf(),
        "`1` (default), or another page of a [document](previews.md); of a video a moment: `25%25`,"
        " a quarter of its time (`%` is `%25` in a URL), or `90s`; without, one that shows what is"
        " in it; a picture has one page",
    )
    crop: Crop | None = _author(
        None,
        Rectangle(),
        "`none` (default), or a rectangle of the picture as displayed, `left,top,width,height`: in"
        " pixels, such as `10,20,300,200`, or in percent, such as `10%25,20%25,50%25,30%25` (`%` is"
        " `%25` in a URL); all else is done to what is inside, as if it were the original; as much"
        " of it counts as lies inside the picture, and where nothing does, the answer is a 422",
    )
    width: int | None = _author(
        None,
        _SIDE,
        "CSS pixels, 1 to 4096; without `height`, the height follows from the picture; 0 counts as"
        " not given",
        _SIZES,
        {"w": None},
    )
    height: int | None = _author(None, _SIDE, "the same for the height", _SIZES, {"h": None})
    max_height: int | None = _author(
        None,
        _SIDE,
        "CSS pixels, for a `width` without `height`: of a picture that is higher then, only the top"
        " is kept; counts for nothing otherwise",
    )
    fit: Fit = _author(
        Fit.INSIDE,
        Word({fit.value: fit for fit in Fit}),
        "`inside` (default): the whole picture, never enlarged; `force`: exactly that size,"
        " distorted if need be; `cover`: exactly that size, undistorted, the rest cut off",
        Ladder(is_free=True),
        {"fsize": {"1": Fit.FORCE.value}},
    )
    gravity: Gravity = _author(
        CENTRE,
        Point({**COMPASS, UPPER: UPPER}),
        "what `fit=cover` with both sides keeps of the picture: `centre` (default), `north`,"
        " `northeast` and so on, or a point such as `0.3,0.6`: shares of the width and the height,"
        " in steps of 0.05; it comes as near the middle as the edges allow; or `upper`: of what is"
        " lost in height, a quarter is lost at the top, as suits portraits",
    )
    flip: Flip | None = _author(
        None,
        Word({"none": None, **{flip.value: flip for flip in Flip}}),
        "`none` (default); `h`: the rendition mirrored left to right; `v`: top to bottom; `hv`:"
        " both; what is kept of the picture stays the same",
    )
    lqip: bool = _author(
        False,
        Word({"no": False, "yes": True}),
        "`no` (default); `yes`: a WebP of under 200 bytes and at most 16 pixels a side, to be shown"
        " blurred until the picture is there, the same for every visitor; of the other parameters"
        " only `crop` and `flip` count",
    )
    quality: int | None = _author(
        None,
        Whole(1, 100, digits=3, examples=("1", "40", "60", "77", "100")),
        "1 to 100; can lower the policy's quality, never raise it; 0 counts as not given",
        Ladder("qualities", is_free=True),
    )
    max_bytes: int | None = _author(
        None,
        Whole(
            LEAST_BUDGET_BYTES,
            10**12 - 1,
            digits=12,
            unit="bytes",
            zero_is_none=False,
            examples=("1000", "24999", "25000", "1000000"),
        ),
        "the answer weighs no more; at least 1000; can lower the policy's budget, never raise it",
        Ladder("budgets", is_free=True, in_kilobytes=True),
    )
    format: Format | None = _author(
        None,
        Word({"auto": None, **{known: known for known in ENCODED}}),
        "`auto` (default), or a format that the policy offers, or `png`",
        Ladder(is_free=True),
        {"encoding": {"jpg": "jpeg"} | {known: known for known in ENCODED}},
    )
    ct: int | None = _author(
        None,
        Whole(
            0,
            10**9 - 1,
            digits=9,
            unit="seconds",
            zero_is_none=False,
            examples=("0", "60", "3600"),
        ),
        "seconds for which browsers keep the answer, where the settings say longer; caches in front"
        " keep it as they do otherwise",
        None,
        {"cache-timeout": None},
    )
    download: str | None = _author(
        None,
        Text(_read_download, _write_download, ("yes", "a.jpg", "%C3%A9%20a.jpg")),
        "`yes`: browsers save the picture, under the original's name; a file's name: under that"
        " one, which ends as the format that is sent; `no` (default)",
        None,
    )
    bandwidth: str | None = _script(
        Text(_read_class, str, ("2g", "4g", "*")),
        "a class of the policy, such as `2g`; `*` is the default class",
    )
    screen: str | None = _script(
        Text(_read_class, str, ("phone", "360", "1024.5")),
        "CSS pixels across, or a row of the policy, such as `phone`; counts when no width or height"
        " is given",
        {"screensize": None},
    )
    dpr: Decimal | None = _script(
        Text(_read_dpr, write_number, ("1", "1.5", "2.625"), NUMBER),
        "device pixels per CSS pixel; rounded up to 1, 1.5, 2 or 3, and capped by the policy;"
        " counts when a width or height is given",
    )
    formats: frozenset[Format] | None = _script(
        Text(_read_formats, _write_formats, (NO_FORMATS, "webp", "avif+webp+gif")),
        "the formats that the browser shows, such as `avif+webp+gif`, in place of the header"
        " `Accept`; `none` for PNG and JPEG alone, which every browser shows and nobody need name",
    )

    @property
    def original(self) -> str:
        """What the original is called: a file's name, or a URL."""
        return self.name or self.url

    @property
    def box(self) -> Box | None:
        """The size asked for, in CSS pixels."""
        return None if self.width is self.height is None else Box(self.width, self.height)


PARAMETERS: Mapping[str, Parameter] = {
    known.name: Parameter(known.name, *known.metadata["row"]) for known in fields(ImageQuery)
}
"""The rows by name, in the order in which a link is spelled."""

AUTHORS = tuple(row for row in PARAMETERS.values() if row.is_signed)
"""What a page's author writes, and what is signed."""

OLD_NAMES: Mapping[str, Parameter] = {old: row for row in PARAMETERS.values() for old in row.old}
