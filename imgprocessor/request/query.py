"""A URL's one parse: from what is spelled in it to what was asked.

A name may stand in the path. There it has several readings, because what looks like a folder may
be a size.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple

from imgprocessor.errors import BadQuery, ImageError, OriginForbidden
from imgprocessor.request.names import MAX_QUOTED, printable, read_name_in_path
from imgprocessor.request.parameters import OLD_NAMES, PARAMETERS, PROOFS, ImageQuery
from imgprocessor.request.shorthands import (
    HEIGHT_IN_PATH,
    SHORTHANDS,
    UPLOAD,
    WIDTH_IN_PATH,
    expanded,
    sized,
)
from imgprocessor.request.urls import is_allowed, read_url
from imgprocessor.request.values import AnyValue, Whole

FULL = "full"
"""The first segment of paths that name an original as it is."""

NAMED_IN_PATH = f"/(?:image|media|images|({FULL}))/((?!-(?:/|$)).+)"
"""A pattern of paths that name a picture; what begins with `-` is this server's own. Its groups are
`FULL`, where the original is wanted as it is, and the name.
"""

_BEFORE_NAME = r"(?:https?://[^/]*)?(?:/[^/]+)*?"
"""Of a URL: a site may have this server in a folder."""


@dataclass(frozen=True)
class ParsedQuery:
    """A query string after its one parse, and a name from the path, if one stands there."""

    query: ImageQuery
    """Everything that could be read."""
    problems: tuple[str, ...]
    """What is wrong, and what would be right; empty where all is well."""
    proofs: tuple[tuple[str, str], ...] = ()
    """What proves the link, in order, as it is spelled."""
    is_whole_path: bool = False
    """Whether the name is all of what stands in the path."""

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
    spelled = _split(query_string)
    given = spelled.values
    if given.get("name") and given.get("url"):
        spelled.problems.append("url: given beside name; one of them says which picture")
    elif not given.get("name") and not given.get("url"):
        spelled.problems.append("name: must be given, such as name=nasa.jpeg")
    return _read(spelled, max_side)


def parse_path(path: str, query_string: str, max_side: int) -> tuple[ParsedQuery, ...]:
    """Parse what stands behind the first segment of a path, as it came, and the query string.
    Never fails.

    Returns:
        The readings of the path, of which the first counts whose original is there. The first has
        all of it as a name.
    """
    readings: list[ParsedQuery] = []
    for name, size in _readings(path):
        spelled = _split(query_string)
        if spelled.values.get("name") or spelled.values.get("url"):
            spelled.problems.append("name, url: given beside a name in the path")
        spelled.values.pop("url", None)
        for word, value in size.items():
            if not spelled.values.get(word):
                spelled.values.pop(word, None)  # what is empty is not given
            spelled.add(word, value, " (the path names a size)")
        if re.fullmatch(UPLOAD, name) and not size:
            spelled.as_of_old()
        spelled.values["name"] = name
        readings.append(_read(spelled, max_side, is_whole_path=not readings, in_path=True))
    return tuple(readings)


class UrlParts(NamedTuple):
    """A URL as it is written in a page."""

    before: str
    """All of it before the `?`."""
    path: str | None
    """What names a picture there, as browsers send it, for `parse_path`."""
    query_string: str
    fragment: str
    is_full: bool
    """Whether the original as it is stands in the path."""


def url_parts(url: str) -> UrlParts:
    """Take a URL apart. Where it has no `?`, and names no picture in its path, all of it is the
    query string.
    """
    whole, _, fragment = url.partition("#")
    before, mark, query_string = whole.partition("?")
    # No name ends with a slash; but a folder that this server is in may be called `images`.
    named = re.fullmatch(f"{_BEFORE_NAME}{NAMED_IN_PATH}(?<!/)", before)
    if not mark and not named:
        return UrlParts("", None, whole, fragment, is_full=False)
    is_full = named is not None and named[1] is not None
    return UrlParts(before, named and as_sent(named[2]), query_string, fragment, is_full)


def as_sent(text: str) -> str:
    """Return a part of a URL as browsers send it, and web servers hand it on."""
    return text.encode().decode("latin-1")


def _readings(path: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yield names, as they are spelled, each with the size that stands before it."""
    yield path, {}
    width, slash, rest = path.partition("/")
    if slash and rest and re.fullmatch(WIDTH_IN_PATH, width):
        yield rest, sized(width, "0")
        height, slash, name = rest.partition("/")
        if slash and name and re.fullmatch(HEIGHT_IN_PATH, height):
            yield name, sized(width, height)


def forbidden(query: ImageQuery, hosts: Sequence[str]) -> Callable[[], ImageError] | None:
    """Return what makes the error where an original is on a host that is not among these; None
    where it may be fetched, or is no remote original.
    """
    if not query.url:
        return None
    if not hosts:
        wrong = "url: this server takes no originals from elsewhere ([remote] hosts)"
        return partial(BadQuery, [wrong])
    host = read_url(query.url).host
    if is_allowed(host, hosts):
        return None
    return partial(OriginForbidden, f"{host} is not among [remote] hosts")


@lru_cache
def _values(max_side: int) -> dict[str, AnyValue]:
    """Return the parameters' types, sides not over a limit."""
    rows = PARAMETERS.items()
    return {
        name: row.value.up_to(max_side) if isinstance(row.value, Whole) else row.value
        for name, row in rows
    }


@dataclass
class _Spelled:
    """Parameters as they are spelled, what is wrong so far, and what proves the link."""

    values: dict[str, str]
    problems: list[str]
    proofs: list[tuple[str, str]]

    def add(self, name: str, value: str, why: str = "") -> None:
        """Add a parameter, which may stand there once."""
        if name in self.values:
            self.problems.append(f"{name}: given twice{why}")
        self.values[name] = value

    def as_of_old(self) -> None:
        """Take width and height for a size, where nothing says how they are met."""
        width, height = (self.values.get(side, "").lstrip("0") for side in ("width", "height"))
        is_size = re.fullmatch(WIDTH_IN_PATH, width) and re.fullmatch(f"|{WIDTH_IN_PATH}", height)
        if is_size and not self.values.get("fit"):
            for name, value in sized(width, height or "0").items():
                self.values[name] = self.values.get(name) or value


def _read(
    spelled: _Spelled, max_side: int, *, is_whole_path: bool = False, in_path: bool = False
) -> ParsedQuery:
    read: dict[str, Any] = {}
    for name, value in _values(max_side).items():
        text = spelled.values.get(name)
        if text:
            reader = read_name_in_path if in_path and name == "name" else value.read
            try:
                read[name] = reader(text)
            except ValueError as error:
                spelled.problems.append(f"{name}={printable(text)[:MAX_QUOTED]}: {error}")
    problems = tuple(dict.fromkeys(spelled.problems))
    return ParsedQuery(ImageQuery(**read), problems, tuple(spelled.proofs), is_whole_path)


def _split(query_string: str) -> _Spelled:
    """Take a query string apart."""
    found = _Spelled({}, [], [])
    for part in query_string.split("&"):
        word, equals, value = part.partition("=")
        try:
            stands_for = expanded(word, value if equals else None) if word in SHORTHANDS else None
        except ValueError as error:
            # Once: a URL may have hundreds of them, and what is wrong goes into a header.
            if not any(known.startswith(f"{word}=") for known in found.problems):
                found.problems.append(f"{word}={printable(value)[:MAX_QUOTED]}: {error}")
            continue
        if stands_for is not None:
            for name, written in stands_for.items():
                found.add(name, written, f" ({word} stands for it)")
            continue
        row = PARAMETERS.get(word) or OLD_NAMES.get(word)
        if row is None:
            # One more than there are names tells that one was given twice.
            if word in PROOFS and len(found.proofs) <= len(PROOFS):
                found.proofs.append((word, value))
            continue
        old_values = row.old.get(word)
        if old_values is not None:
            value = old_values.get(value, "")
        found.add(row.name, value, "" if word == row.name else f" ({word} is its old spelling)")
    return found
