"""`[allowed]`: the ladder of sizes, qualities and budgets that a query may name.

What is not on it is refused and not rounded: `force` and `cover` promise exactly the size that was
asked for.
"""

import re
from collections.abc import Callable
from configparser import ConfigParser
from dataclasses import dataclass, replace

from imgprocessor.errors import ConfigurationError
from imgprocessor.geometry import Box
from imgprocessor.request.parameters import MAX_QUALITY, ImageQuery

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
    """What a request may name, each in ascending order; None leaves it free."""

    sizes: tuple[int, ...] | None = None
    """CSS pixels, of width and of height."""
    qualities: tuple[int, ...] | None = None
    budgets: tuple[int, ...] | None = None
    """Bytes."""

    def __str__(self) -> str:
        kinds = {"sizes": self.sizes, "qualities": self.qualities, "budgets": self.budgets}
        return ", ".join(
            f"{kind} {' '.join(_word(kind, number) for number in some)}"
            for kind, some in kinds.items()
            if some is not None
        )


def read_allowed(ini: ConfigParser, wrong: Wrong) -> Allowed:
    """Read the section; without it, all is free.

    Raises:
        ConfigurationError: naming key and word, and what would be right.
    """
    if ALLOWED not in ini:
        return Allowed()
    read: dict[str, tuple[int, ...]] = {}
    for key, text in ini[ALLOWED].items():
        if key not in _WORDS:
            raise wrong(ALLOWED, key, f"no such key; there are {', '.join(_WORDS)}")
        read[key] = _numbers(key, text.split(), wrong)
    if not read:
        raise wrong(ALLOWED, ALLOWED, f"names nothing; there are {', '.join(_WORDS)}")
    return Allowed(**read)


def refused(query: ImageQuery, allowed: Allowed) -> list[str]:
    """Return what a request names and may not, each with all that it may."""
    return [
        f"{parameter}={value}: the policy allows {', '.join(map(str, some))}"
        for parameter, value, some in _named(query, allowed)
        if some is not None and value is not None and value not in some
    ]


def permitted_part(query: ImageQuery, allowed: Allowed) -> ImageQuery:
    """Return a request without what it may not name."""
    wrong = {
        parameter
        for parameter, value, some in _named(query, allowed)
        if some is not None and value not in some
    }
    box = query.box
    if box is not None and wrong & {"width", "height"}:
        box = Box(
            None if "width" in wrong else box.width, None if "height" in wrong else box.height
        )
    return replace(
        query,
        box=None if box is None or box == Box(None, None) else box,
        quality=None if "quality" in wrong else query.quality,
        max_bytes=None if "max_bytes" in wrong else query.max_bytes,
    )


def _named(
    query: ImageQuery, allowed: Allowed
) -> list[tuple[str, int | None, tuple[int, ...] | None]]:
    """Return parameters that are held to the ladder, with what is asked and what is allowed."""
    width, height = (None, None) if query.box is None else (query.box.width, query.box.height)
    return [
        ("width", width, allowed.sizes),
        ("height", height, allowed.sizes),
        ("quality", query.quality, allowed.qualities),
        ("max_bytes", query.max_bytes, allowed.budgets),
    ]


_WORDS = {
    "sizes": (r"[1-9][0-9]{0,4}", "a number of CSS pixels, such as 640"),
    "qualities": (rf"[1-9][0-9]?|{MAX_QUALITY}", f"a quality from 1 to {MAX_QUALITY}"),
    "budgets": (r"[1-9][0-9]{0,5}kB", "a budget such as 25kB"),
}


def _word(kind: str, number: int) -> str:
    return f"{number // BYTES_A_KILOBYTE}kB" if kind == "budgets" else str(number)


def _numbers(key: str, words: list[str], wrong: Wrong) -> tuple[int, ...]:
    pattern, right = _WORDS[key]
    if not words or len(words) > _MAX_WORDS:
        raise wrong(ALLOWED, key, f"must have 1 to {_MAX_WORDS} words, each {right}")
    numbers: list[int] = []
    for word in words:
        if not re.fullmatch(pattern, word):
            raise wrong(ALLOWED, key, f"{word!r} must be {right}")
        factor = BYTES_A_KILOBYTE if word.endswith("kB") else 1
        numbers.append(int(word.removesuffix("kB")) * factor)
        if numbers.count(numbers[-1]) > 1:
            raise wrong(ALLOWED, key, f"{word!r}: named twice")
    return tuple(sorted(numbers))
