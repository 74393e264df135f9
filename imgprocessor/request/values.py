"""Types of value: what a parameter may be, how it is read, and its one spelling.

A type reads what stands in a URL, still percent-encoded, and raises a ValueError whose message says
what would be right. What it writes it reads as the same value.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from string import ascii_lowercase, ascii_uppercase
from typing import Any, Literal

from imgprocessor.geometry import FIRST_PAGE, Crop, Gravity, Page
from imgprocessor.request.number_patterns import NUMBER, literal, whole_between

_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)


class Value:
    """What all types have in common."""

    @property
    def pattern(self) -> str:
        """What matches every spelling that is written, bounds included."""
        raise NotImplementedError

    @property
    def examples(self) -> tuple[str, ...]:
        """Spellings of some values, as they are written."""
        raise NotImplementedError

    @property
    def respelled(self) -> Mapping[str, str]:
        r"""For caches: patterns of other spellings that are read, each with what is written for
        them; `\1` and `\2` stand for what the pattern captures.
        """
        return {}

    def pattern_of(self, value: Any) -> str:
        """Return what matches every spelling of one value; of one that has none, nothing."""
        return literal(self.write(value))

    def read(self, spelled: str) -> Any:
        """Return the value.

        Raises:
            ValueError: it is none; the message says what would be right.
        """
        raise NotImplementedError

    def write(self, value: Any) -> str:
        """Return the one spelling of a value."""
        raise NotImplementedError


@dataclass(frozen=True)
class Whole(Value):
    """A whole number in a range; None for 0, where that is not in the range."""

    least: int
    most: int | None
    """None: the settings say how much."""
    digits: int
    """As many, zeros before it among them."""
    unit: str = ""
    """What is counted, for messages."""
    zero_is_none: bool = True
    examples: tuple[str, ...] = ()

    @property
    def pattern(self) -> str:
        """Without zeros before it."""
        return whole_between(self.least, self._highest)

    @property
    def respelled(self) -> Mapping[str, str]:
        """Zeros before it are taken away."""
        kept = "[1-9][0-9]*" if self.least else "[1-9][0-9]*|0"
        return {f"(?=0[0-9]{{1,{self.digits - 1}}}(?:&|$))0+({kept})": r"\1"}

    def pattern_of(self, value: int | None) -> str:
        """With zeros before it."""
        if value is None and not self.zero_is_none:
            return "(?!)"
        return f"(?=[0-9]{{1,{self.digits}}}(?:&|$))0*{'' if value is None else value}"

    def up_to(self, most: int) -> "Whole":
        """Return the type with the settings' bound."""
        return replace(self, most=most) if self.most is None else self

    def read(self, spelled: str) -> int | None:
        """Return the number, or None."""
        if re.fullmatch(f"[0-9]{{1,{self.digits}}}", spelled):
            number = int(spelled)
            if number == 0 and self.zero_is_none:
                return None
            if self.least <= number <= self._highest:
                return number
        number_of = f"a whole number{f' of {self.unit}' if self.unit else ''}"
        if self._highest == 10**self.digits - 1:
            raise ValueError(f"must be {number_of}, at least {self.least}")
        raise ValueError(f"must be {number_of} from {self.least} to {self._highest}")

    def write(self, value: int | None) -> str:
        """Return the digits."""
        return str(value or 0)

    @property
    def _highest(self) -> int:
        return 10**self.digits - 1 if self.most is None else self.most


@dataclass(frozen=True)
class Word(Value):
    """One of several words, each of which stands for a value."""

    words: Mapping[str, Any]

    @property
    def pattern(self) -> str:
        """One of the words."""
        return "|".join(self.words)

    @property
    def examples(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(self.words)

    def read(self, spelled: str) -> Any:
        """Return what the word stands for."""
        if spelled not in self.words:
            raise ValueError(f"must be {either(tuple(self.words))}")
        return self.words[spelled]

    def write(self, value: Any) -> str:
        """Return the word."""
        return self._word_of[value]

    @cached_property
    def _word_of(self) -> Mapping[Any, str]:
        return {value: word for word, value in self.words.items()}


@dataclass(frozen=True)
class Point(Value):
    """A point of a picture, in shares of its width and height, in steps of 0.05; points that have a
    word are written as that. A word may also stand for what is no point.
    """

    words: Mapping[str, Gravity]

    @property
    def pattern(self) -> str:
        """A word, or two shares of a point that has none."""
        named = "|".join(self._shares)
        return f"{'|'.join(self.words)}|(?!(?:{named})(?:&|$)){_SHARE},{_SHARE}"

    @property
    def examples(self) -> tuple[str, ...]:
        """All words, and some points."""
        return (*self.words, "0.3,0.6", "0,0.05", "0.95,1", "0.5,0.45")

    @property
    def respelled(self) -> Mapping[str, str]:
        """Shares of points that have words, and commas that are escaped."""
        return {**self._shares, f"({_SHARE})%2[cC]({_SHARE})": r"\1,\2"}

    def pattern_of(self, value: Gravity) -> str:
        """By its word, and by its shares."""
        written = literal(self.write(value))
        return written if isinstance(value, str) else f"(?:{written}|{_of_shares(value)})"

    def read(self, spelled: str) -> Gravity:
        """Return the shares from the left and from the top."""
        if spelled in self.words:
            return self.words[spelled]
        found = re.fullmatch(f"({_SHARE}){_COMMA}({_SHARE})", spelled)
        if not found:
            words = ", ".join(self.words)
            raise ValueError(f"must be {words}, or a point such as 0.3,0.6 in steps of 0.05")
        return Decimal(found[1]), Decimal(found[2])

    def write(self, value: Gravity) -> str:
        """Return the word, or the shares."""
        for word, known in self.words.items():
            if known == value:
                return word
        return ",".join(map(write_number, map(Decimal, value)))

    @property
    def _shares(self) -> Mapping[str, str]:
        """Patterns of points that have words, each with its word."""
        known = self.words.items()
        return {_of_shares(point): word for word, point in known if not isinstance(point, str)}


_COMMA = "(?:,|%2[cC])"
_SHARE = "(?:0[.](?:[1-9]|[0-9]5)|0|1)"
"""A share in steps of 0.05, in its one spelling."""


def _of_shares(point: tuple[Decimal, Decimal]) -> str:
    x, y = (literal(write_number(share)) for share in point)
    return f"{x}{_COMMA}{y}"


class Rectangle(Value):
    """A rectangle of a picture: left, top, width and height, all in pixels, or all in percent, with
    `%25` for its sign; None for all of the picture, which is written `none`.
    """

    @property
    def pattern(self) -> str:
        """The word, or four numbers."""
        pixels, percents = ",".join(_PIXELS), ",".join(_PERCENTS)
        return f"none|{pixels}|(?!{_ALL}(?:&|$)){percents}"

    @property
    def examples(self) -> tuple[str, ...]:
        """The word, and some rectangles."""
        percents = ("10%25,20%25,50%25,30%25", "99%25,0%25,1%25,100%25")
        return ("none", *percents, "0,0,1,1", "999999,0,999999,7", "10,20,300,200")

    @property
    def respelled(self) -> Mapping[str, str]:
        """Commas that are escaped."""
        numbers = (_COMMA.join(f"({number})" for number in form) for form in (_PIXELS, _PERCENTS))
        return dict.fromkeys(numbers, r"\1,\2,\3,\4")

    def pattern_of(self, value: Crop | None) -> str:
        """As it is written; all of the picture also in percent."""
        return f"(?:none|{_ALL})" if value is None else self.write(value)

    def read(self, spelled: str) -> Crop | None:
        """Return the rectangle."""
        if spelled == "none" or re.fullmatch(_ALL, spelled):
            return None
        for form in (_PIXELS, _PERCENTS):
            if re.fullmatch(_COMMA.join(form), spelled):
                texts = re.split(_COMMA, spelled)
                left, top, width, height = (int(text.removesuffix("%25")) for text in texts)
                return Crop(left, top, width, height, is_percent=form is _PERCENTS)
        raise ValueError(
            "must be none, or left, top, width and height in whole pixels, such as 10,20,300,200,"
            " or in percent, such as 10%25,20%25,50%25,30%25; width and height at least 1,"
            f" none over {_MOST_PIXELS}"
        )

    def write(self, value: Crop | None) -> str:
        """Return the four numbers, or the word."""
        return "none" if value is None else str(value).replace("%", "%25")


class PageOf(Value):
    """A page of a document, or a moment of a video in percent, with `%25` for its sign, or in whole
    seconds; None for the first page, which is written `1`.
    """

    @property
    def pattern(self) -> str:
        """A number, alone or with its unit."""
        return "|".join(_PAGES.values())

    @property
    def examples(self) -> tuple[str, ...]:
        """Some of each."""
        return ("1", "25%25", "90s", "2", "99999", "0%25", "0s")

    def read(self, spelled: str) -> Page | None:
        """Return the page."""
        for unit, pattern in _PAGES.items():
            if re.fullmatch(pattern, spelled):
                page = Page(int(spelled.removesuffix("%25").removesuffix("s")), unit)
                return None if page == FIRST_PAGE else page
        raise ValueError(
            "must be the number of a page, from 1; or of a video a moment, such as 90s, or 25%25: a"
            " URL has %25 for %"
        )

    def write(self, value: Page | None) -> str:
        """Return the number, with its unit."""
        return str(value or FIRST_PAGE).replace("%", "%25")


_PAGES: Mapping[Literal["", "%", "s"], str] = {
    "": whole_between(1, 99_999),
    "%": f"{whole_between(0, 99)}%25",
    "s": f"{whole_between(0, 99_999)}s",
}

_MOST_PIXELS = 999_999
_PIXELS = (whole_between(0, _MOST_PIXELS),) * 2 + (whole_between(1, _MOST_PIXELS),) * 2
_PERCENTS = (f"{whole_between(0, 99)}%25",) * 2 + (f"{whole_between(1, 100)}%25",) * 2
_ALL = _COMMA.join(("0%25", "0%25", "100%25", "100%25"))
"""All of a picture, in percent."""


@dataclass(frozen=True)
class Text:
    """A text that has its own reader and writer; caches leave it as it is spelled."""

    read: Callable[[str], Any]
    write: Callable[[Any], str]
    examples: tuple[str, ...]
    pattern: str = "[^&]+"

    @property
    def respelled(self) -> Mapping[str, str]:
        """Nothing."""
        return {}

    def pattern_of(self, value: Any) -> str:
        """As it is written."""
        return literal(self.write(value))


AnyValue = Value | Text


def parse_number(text: str) -> Decimal | None:
    """Read a hint such as `360`, `0.7` or `2.625`; anything else is None.

    The grammar is small on purpose, so that caches in front can read hints the same way.
    """
    return Decimal(text) if re.fullmatch(NUMBER, text) else None


def write_number(number: Decimal) -> str:
    """Return the one spelling of a number: `0.3`, never `0.30`."""
    return f"{number.normalize():f}"


def lower_ascii(text: str) -> str:
    """Lower the case as every cache in front would: of ASCII alone. Unicode knows other letters
    whose small form is ASCII, such as the Kelvin sign's; classes have none of those.
    """
    return text.translate(_LOWER)


def either(words: tuple[str, ...]) -> str:
    """Return words as a sentence lists them."""
    return " or ".join((", ".join(words[:-1]), words[-1]))
