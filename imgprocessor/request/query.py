"""A query string's one parse: from what is spelled in a URL to what was asked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from imgprocessor.errors import BadQuery, ImageError, OriginForbidden
from imgprocessor.request.names import MAX_QUOTED, printable
from imgprocessor.request.parameters import OLD_NAMES, PARAMETERS, PROOFS, ImageQuery
from imgprocessor.request.urls import is_allowed, read_url
from imgprocessor.request.values import AnyValue, Whole


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
    spelled, problems, proofs = _split(query_string)
    if spelled.get("name") and spelled.get("url"):
        problems.append("url: given beside name; one of them says which picture")
    elif not spelled.get("name") and not spelled.get("url"):
        problems.append("name: must be given, such as name=nasa.jpeg")
    read: dict[str, Any] = {}
    for name, value in _values(max_side).items():
        if spelled.get(name):
            try:
                read[name] = value.read(spelled[name])
            except ValueError as error:
                problems.append(f"{name}={printable(spelled[name])[:MAX_QUOTED]}: {error}")
    return ParsedQuery(ImageQuery(**read), tuple(dict.fromkeys(problems)), tuple(proofs))


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


def _split(query_string: str) -> tuple[dict[str, str], list[str], list[tuple[str, str]]]:
    """Return parameters as they are spelled, what was given twice, and what proves the link."""
    spelled: dict[str, str] = {}
    problems: list[str] = []
    proofs: list[tuple[str, str]] = []
    for part in query_string.split("&"):
        word, _, value = part.partition("=")
        row = PARAMETERS.get(word) or OLD_NAMES.get(word)
        if row is None:
            # One more than there are names tells that one was given twice.
            if word in PROOFS and len(proofs) <= len(PROOFS):
                proofs.append((word, value))
            continue
        stands_for = row.old.get(word)
        if stands_for is not None:
            value = stands_for.get(value, "")
        if row.name in spelled:
            old = "" if word == row.name else f" ({word} is its old spelling)"
            problems.append(f"{row.name}: given twice{old}")
        spelled[row.name] = value
    return spelled, problems, proofs
