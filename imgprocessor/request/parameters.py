"""What was asked: the query string, checked and typed.

Two kinds of value are told apart. What a page's author writes (name, width, height, fit, quality,
max_bytes, format) must be right, or the answer is a 400 that says why. What scripts in visitors'
browsers fill in (bandwidth, screen, dpr) counts as not given when it makes no sense.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from string import ascii_lowercase, ascii_uppercase
from typing import TypeVar
from urllib.parse import quote, unquote_to_bytes

from imgprocessor.errors import BadQuery, ImageError, OriginForbidden
from imgprocessor.formats import FORMATS, Format
from imgprocessor.geometry import Box, Fit
from imgprocessor.request.urls import is_allowed, is_url, read_url, spelled_url

T = TypeVar("T")

_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)

MAX_NAME_BYTES = 150
"""So that no name makes an imagekey, a header or a file name too long."""

MAX_URL_BYTES = 500
"""The same; URLs are longer, and become no file's name."""

MAX_QUALITY = 100

MIN_BUDGET_BYTES = 1000
"""Below this there is no picture to speak of: a JPEG's tables alone weigh some 600 bytes."""

_MAX_QUOTED = 40
"""So much of a wrong value is repeated in the message, which goes into a header."""

PARAMETERS = (
    "name",
    "url",
    "width",
    "height",
    "fit",
    "bandwidth",
    "screen",
    "dpr",
    "quality",
    "max_bytes",
    "format",
)
"""Every parameter there is; proofs are ignored."""

PROOFS = ("signature", "expires")
"""Parameters that prove a link: not of the picture. Where links need not be signed, they count for
nothing.
"""

OLD_SPELLINGS = {"screensize": "screen", "fsize": "fit"}


@dataclass(frozen=True)
class ImageQuery:
    """A request's query string, understood. None is what was not given."""

    name: str
    """Path of the original under the root, `/` between folders; or a URL: see `is_url`."""
    spelled_name: str
    """The name as it is spelled in the URL; printable ASCII."""
    box: Box | None = None
    fit: Fit = Fit.INSIDE
    bandwidth: str | None = None
    """Lower case, not yet looked up in the policy's table."""
    screen: str | None = None
    """Lower case, a row's name or CSS pixels, not yet looked up in the policy's table."""
    dpr: Decimal | None = None
    quality: int | None = None
    max_bytes: int | None = None
    format: Format | None = None

    @property
    def is_remote(self) -> bool:
        """Whether the original is on another host."""
        return is_url(self.name)


@dataclass(frozen=True)
class ParsedQuery:
    """A query string after its one parse."""

    query: ImageQuery
    """Everything that could be read."""
    problems: tuple[str, ...]
    """What is wrong, and what would be right; empty where all is well."""
    proofs: tuple[tuple[str, str], ...] = ()
    """What proves the link, in order, as it is spelled."""

    def require(self) -> ImageQuery:
        """Return the query, where nothing is wrong with it.

        Raises:
            BadQuery: naming every parameter that is wrong, and what would be right.
        """
        if self.problems:
            raise BadQuery(list(self.problems))
        return self.query


def parse_query(query_string: str, max_side: int) -> ImageQuery:
    """Parse a query string in which nothing may be wrong.

    Raises:
        BadQuery: as `ParsedQuery.require` does.
    """
    return parse(query_string, max_side).require()


def parse(query_string: str, max_side: int) -> ParsedQuery:
    """Parse a query string as it came (still percent-encoded). Never fails."""
    values, problems, proofs = _split(query_string)
    query = _read(values, problems, max_side)
    return ParsedQuery(query, tuple(dict.fromkeys(problems)), tuple(proofs))


def parse_number(text: str) -> Decimal | None:
    """Read a hint such as `360`, `0.7` or `2.625`; anything else, and 0 digits, is None.

    The grammar is small on purpose, so that caches in front can read hints the same way.
    """
    if not re.fullmatch(r"[0-9]{1,5}(\.[0-9]{1,3})?", text):
        return None
    return Decimal(text)


def lower_ascii(text: str) -> str:
    """Lower the case as every cache in front would: of ASCII alone. Unicode knows other letters
    whose small form is ASCII, such as the Kelvin sign's; classes have none of those.
    """
    return text.translate(_LOWER)


def spell(name: str) -> str:
    """Spell a file's name for a URL."""
    return quote(name, safe="/")


def decoded_name(spelled: str) -> str:
    """Return the name of a file, or the URL, that is spelled so in a URL.

    Raises:
        BadQuery: no original may be called so.
    """
    try:
        return _read_url(spelled) if _is_spelled_url(spelled) else _read_name(spelled)
    except _Wrong as error:
        raise BadQuery([f"name={_printable(spelled)[:_MAX_QUOTED]}: {error}"]) from error


def require_name(name: str) -> None:
    """Check a file's name, or a URL, that is decoded already.

    Raises:
        BadQuery: no original may be called so.
    """
    try:
        name.encode()
        if is_url(name):
            _checked_url(name)
        else:
            _checked(name)
    except UnicodeEncodeError as error:
        raise BadQuery(["name: must be UTF-8"]) from error
    except _Wrong as error:
        raise BadQuery([f"name={spell(name)[:_MAX_QUOTED]}: {error}"]) from error


def forbidden(query: ImageQuery, hosts: Sequence[str]) -> Callable[[], ImageError] | None:
    """Return what makes the error where an original is on a host that is not among these; None
    where it may be fetched, or is no remote original.
    """
    if not query.is_remote:
        return None
    if not hosts:
        wrong = "url: this server takes no originals from elsewhere ([remote] hosts)"
        return partial(BadQuery, [wrong])
    host = read_url(query.name).host
    if is_allowed(host, hosts):
        return None
    return partial(OriginForbidden, f"{host} is not among [remote] hosts")


class _Wrong(ValueError):
    """One parameter's value is wrong; the message says what would be right."""


def _read(values: dict[str, str], problems: list[str], max_side: int) -> ImageQuery:
    """Read parameters by their names; what is wrong is added to the problems."""

    def read(parameter: str, reader: Callable[[str], T], default: T) -> T:
        spelled = values.get(parameter, "")
        if spelled == "":
            return default
        try:
            return reader(spelled)
        except _Wrong as error:
            problems.append(f"{parameter}={_printable(spelled)[:_MAX_QUOTED]}: {error}")
            return default

    def read_side(spelled: str) -> int | None:
        return _read_side(spelled, max_side)

    if values.get("name") and values.get("url"):
        problems.append("url: given beside name; one of them says which picture")
    elif not values.get("name") and not values.get("url"):
        problems.append("name: must be given, such as name=nasa.jpeg")
    width = read("width", read_side, None)
    height = read("height", read_side, None)
    return ImageQuery(
        name=read("name", _read_name, "") or read("url", _read_url, ""),
        spelled_name=_printable(values.get("name") or values.get("url", "")),
        box=None if width is None and height is None else Box(width, height),
        fit=read("fit", _read_fit, Fit.INSIDE),
        bandwidth=read("bandwidth", _read_class, None),
        screen=read("screen", _read_class, None),
        dpr=read("dpr", _read_dpr, None),
        quality=read("quality", _read_quality, None),
        max_bytes=read("max_bytes", _read_max_bytes, None),
        format=read("format", _read_format, None),
    )


def _split(query_string: str) -> tuple[dict[str, str], list[str], list[tuple[str, str]]]:
    """Return parameters as they are spelled, what was given twice, and what proves the link."""
    values: dict[str, str] = {}
    problems: list[str] = []
    proofs: list[tuple[str, str]] = []
    for part in query_string.split("&"):
        word, _, value = part.partition("=")
        parameter = OLD_SPELLINGS.get(word, word)
        if parameter not in PARAMETERS:
            # One more than there are names tells that one was given twice.
            if word in PROOFS and len(proofs) <= len(PROOFS):
                proofs.append((word, value))
            continue
        if word == "fsize":
            # The ancestor's: exactly 1 forces, anything else is as if not given.
            value = Fit.FORCE.value if value == "1" else ""
        if parameter in values:
            old = "" if word == parameter else f" ({word} is its old spelling)"
            problems.append(f"{parameter}: given twice{old}")
        values[parameter] = value
    return values, problems, proofs


def _read_name(spelled: str) -> str:
    octets = unquote_to_bytes(spelled.replace("+", " ").encode("latin-1"))
    if len(_printable(spelled)) > MAX_NAME_BYTES:  # what goes into keys and headers
        raise _Wrong(f"must be at most {MAX_NAME_BYTES} bytes long, as spelled in the URL")
    try:
        return _checked(octets.decode())
    except UnicodeDecodeError as error:
        raise _Wrong("must be UTF-8") from error


def _is_spelled_url(spelled: str) -> bool:
    return re.fullmatch(spelled_url(), spelled) is not None


def _read_url(spelled: str) -> str:
    if len(_printable(spelled)) > MAX_URL_BYTES:
        raise _Wrong(f"must be at most {MAX_URL_BYTES} bytes long, as spelled in the URL")
    octets = unquote_to_bytes(spelled.replace("+", " ").encode("latin-1"))
    try:
        url = _checked_url(octets.decode())
    except UnicodeDecodeError as error:
        raise _Wrong("must be UTF-8") from error
    if not _is_spelled_url(spelled):
        raise _Wrong(
            "must be escaped as encodeURIComponent does, and its scheme, host and port not at all"
            " but for : and /"
        )
    return url


def _checked_url(url: str) -> str:
    try:
        read_url(url)
    except ValueError as error:
        raise _Wrong(str(error)) from error
    return url


def _checked(name: str) -> str:
    if re.search(r"[\x00-\x1f\x7f\\]", name):
        raise _Wrong("must have no control characters and no backslashes")
    if any(segment in {"", ".", ".."} for segment in name.split("/")):
        raise _Wrong("must be a path under the folder of originals, without empty parts, . or ..")
    return name


def _read_side(spelled: str, max_side: int) -> int | None:
    """Read width or height in CSS pixels; 0 means not given."""
    if not re.fullmatch(r"[0-9]{1,9}", spelled) or int(spelled) > max_side:
        raise _Wrong(f"must be a whole number from 1 to {max_side}")
    return int(spelled) or None


def _read_fit(spelled: str) -> Fit:
    try:
        return Fit(spelled)
    except ValueError as error:
        raise _Wrong(f"must be {_either(tuple(Fit))}") from error


def _read_class(spelled: str) -> str:
    # A form's script writes the asterisk as it is, proofs escape it; nothing else needs escaping.
    return re.sub("^%2[aA]$", "*", lower_ascii(spelled))


def _read_dpr(spelled: str) -> Decimal | None:
    # devicePixelRatio comes with fifteen decimals on a zoomed page: three are kept.
    whole, point, decimals = spelled.partition(".")
    if decimals and not re.fullmatch(r"[0-9]{1,30}", decimals):
        return None
    return parse_number(whole + point + decimals[:3]) or None


def _read_quality(spelled: str) -> int | None:
    if not re.fullmatch(r"[0-9]{1,3}", spelled) or int(spelled) > MAX_QUALITY:
        raise _Wrong(f"must be a whole number from 1 to {MAX_QUALITY}")
    return int(spelled) or None


def _read_max_bytes(spelled: str) -> int:
    if not re.fullmatch(r"[0-9]{1,12}", spelled) or int(spelled) < MIN_BUDGET_BYTES:
        raise _Wrong(f"must be a whole number of bytes, at least {MIN_BUDGET_BYTES}")
    return int(spelled)


def _read_format(spelled: str) -> Format | None:
    if spelled == "auto":
        return None
    for known in FORMATS:
        if spelled == known:
            return known
    raise _Wrong(f"must be {_either(('auto', *FORMATS))}")


def _either(words: tuple[str, ...]) -> str:
    return " or ".join((", ".join(words[:-1]), words[-1]))


def _printable(spelled: str) -> str:
    """Percent-encode what may not stand in a header; what is printable ASCII stays as it is."""
    return quote(spelled.encode("latin-1", "replace"), safe="!#$%&'()*+,-./:;<=>?@[]^_`{|}~")
