"""`[allowed]`: the ladder of sizes, qualities, budgets and all else that a query may name.

What is not on it is refused and not rounded: `force` and `cover` promise exactly the size that was
asked for.
"""

from collections.abc import Callable, Mapping
from configparser import ConfigParser
from dataclasses import dataclass, field
from typing import Any

from imgprocessor.errors import ConfigurationError
from imgprocessor.request.parameters import AUTHORS, Ladder, Parameter

ALLOWED = "allowed"
"""The section of the policy."""

BYTES_A_KILOBYTE = 1000
"""As the policy counts."""

_MAX_WORDS = 50
"""So that a message which lists them fits into a header."""

Wrong = Callable[[str, str, str], ConfigurationError]
"""From section, key and problem to an error that names file and line, too."""


@dataclass(frozen=True)
class Allowed:
    """What a request may name."""

    ladders: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Values by the section's keys, numbers in ascending order; without any, all is free."""

    def of(self, row: Parameter) -> tuple[Any, ...] | None:
        """Return the values of a parameter that may be asked for, beside its default; None where
        all may.
        """
        if not self.ladders or row.ladder is None:
            return None
        return self.ladders.get(_key(row, row.ladder), None if row.ladder.is_free else ())

    def __str__(self) -> str:
        return ", ".join(
            f"{key} {' '.join(_word(_KEYS[key], value) for value in values)}"
            for key, values in self.ladders.items()
        )


def read_allowed(ini: ConfigParser, wrong: Wrong) -> Allowed:
    """Read the section; without it, all is free.

    Raises:
        ConfigurationError: naming key and word, and what would be right.
    """
    if ALLOWED not in ini:
        return Allowed()
    ladders: dict[str, tuple[Any, ...]] = {}
    for key, text in ini[ALLOWED].items():
        if key not in _KEYS:
            raise wrong(ALLOWED, key, f"no such key; there are {', '.join(_KEYS)}")
        ladders[key] = _values(key, text.split(), wrong)
    if not ladders:
        raise wrong(ALLOWED, ALLOWED, f"names nothing; there are {', '.join(_KEYS)}")
    return Allowed({key: ladders[key] for key in _KEYS if key in ladders})


def _key(row: Parameter, ladder: Ladder) -> str:
    return ladder.key or row.name


_KEYS = {_key(row, row.ladder): row for row in AUTHORS if row.ladder is not None}
"""The section's keys, each with a parameter that it is for."""


def _values(key: str, words: list[str], wrong: Wrong) -> tuple[Any, ...]:
    row = _KEYS[key]
    right = f"such as {_word(row, row.value.read(row.value.examples[-1]))}"
    if not words or len(words) > _MAX_WORDS:
        raise wrong(ALLOWED, key, f"must have 1 to {_MAX_WORDS} words, {right}")
    values: list[Any] = []
    for word in words:
        try:
            value = row.value.read(_spelled(row, word))
        except ValueError as error:
            raise wrong(ALLOWED, key, f"{word!r} {error}, {right}") from error
        if value is None or _word(row, value) != word:
            raise wrong(ALLOWED, key, f"{word!r} must be spelled {right}")
        if value in values:
            raise wrong(ALLOWED, key, f"{word!r}: named twice")
        values.append(value)
    return tuple(sorted(values) if isinstance(values[0], int) else values)


def _spelled(row: Parameter, word: str) -> str:
    """Return a word of the policy as it is spelled in a URL."""
    if row.ladder is not None and row.ladder.in_kilobytes:
        return f"{word.removesuffix('kB')}000" if word.endswith("kB") else word
    return word


def _word(row: Parameter, value: Any) -> str:
    if row.ladder is not None and row.ladder.in_kilobytes:
        return f"{value // BYTES_A_KILOBYTE}kB"
    return row.value.write(value)
