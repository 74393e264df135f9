"""Kept sizes: how the sizes of an upload are spelled, and which requests ask for one of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from imgprocessor.errors import BadQuery
from imgprocessor.request.names import MAX_QUOTED, spell
from imgprocessor.request.parameters import AUTHORS, PARAMETERS, ImageQuery
from imgprocessor.request.shorthands import SIZE, expanded

_SIDES = ("width", "height", "max_height")
_SHAPE = (*_SIDES, "fit", "gravity")
"""The parameters that a size may stand for."""

_OTHERS = tuple(row for row in AUTHORS if row.ladder is not None and row.name not in _SHAPE)
"""The others that shape a picture."""

_EXAMPLE = "sizes are such as 100x50, 100x0 or 150x<60, with commas between"

Shape = tuple[Any, ...]


@dataclass(frozen=True)
class KeptSize:
    """A size, as the services spell it that keep uploads: `100x50`, `100x0`, `150x<60`."""

    width: str
    height: str

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    def query(self, name: str) -> ImageQuery:
        """Return the request for a picture at this size."""
        stands_for = expanded(SIZE, str(self)) or {}
        read = {word: PARAMETERS[word].value.read(value) for word, value in stands_for.items()}
        return ImageQuery(name=name, **read)


def read_size(text: str, max_side: int) -> KeptSize:
    """Read one size, no side of which may be longer than `max_side` pixels.

    Raises:
        BadQuery: it makes no sense.
    """
    quoted = spell(text)[:MAX_QUOTED]
    try:
        stands_for = expanded(SIZE, text)
    except ValueError as error:
        raise BadQuery([f"sizes: {quoted}: {error}"]) from error
    if not stands_for or "%" in text:
        raise BadQuery([f"sizes: {quoted}: {_EXAMPLE}"])
    if any(int(stands_for.get(side, 0)) > max_side for side in _SIDES):
        raise BadQuery([f"sizes: {quoted}: no side may be over {max_side} pixels"])
    width, _, height = text.partition("x")
    return KeptSize(width, height)


def read_sizes(text: str, max_sizes: int, max_side: int) -> tuple[KeptSize, ...]:
    """Read sizes with commas between, each once; none where there is no text.

    Raises:
        BadQuery: one of them makes no sense, or there are too many.
    """
    words = text.split(",") if text.strip() else []
    if len(words) > max_sizes:
        raise BadQuery([f"sizes: {len(words)} are too many; a picture has at most {max_sizes}"])
    return tuple(dict.fromkeys(read_size(word.strip(), max_side) for word in words))


def shape(query: ImageQuery) -> Shape | None:
    """Return what a request wants of a picture's size; None where it wants anything else of it
    that its author may say.
    """
    if query.box is None or any(getattr(query, row.name) != row.default for row in _OTHERS):
        return None
    return tuple(getattr(query, name) for name in _SHAPE)


def size_asked(query: ImageQuery, sizes: Sequence[KeptSize]) -> KeptSize | None:
    """Return which of a picture's kept sizes a request asks for; None where it asks for another
    picture.
    """
    asked = shape(query)
    if asked is None:
        return None
    return next((size for size in sizes if shape(size.query("")) == asked), None)
