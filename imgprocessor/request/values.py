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
from typing import Any

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
    word are written as that.
    """

    words: Mapping[str, tuple[Decimal, Decimal]]

    @property
    def pattern(self) -> str:
        """A word, or two shares of a point that has none."""
        named = "|".join(map(_of_shares, self.words.values()))
        return f"{'|'.join(self.words)}|(?!(?:{named})(?:&|$)){_SHARE},{_SHARE}"

    @property
    def examples(self) -> tuple[str, ...]:
        """All words, and some points."""
        return (*self.words, "0.3,0.6", "0,0.05", "0.95,1", "0.5,0.45")

    @property
    def respelled(self) -> Mapping[str, str]:
        """Shares of points that have words, and commas that are escaped."""
        shares = {_of_shares(point): word for word, point in self.words.items()}
        return shares | {f"({_SHARE})%2[cC]({_SHARE})": r"\1,\2"}

    def pattern_of(self, value: tuple[Decimal, Decimal]) -> str:
        """By its word, and by its shares."""
        return f"(?:{literal(self.write(value))}|{_of_shares(value)})"

    def read(self, spelled: str) -> tuple[Decimal, Decimal]:
        """Return the shares from the left and from the top."""
        if spelled in self.words:
            return self.words[spelled]
        found = re.fullmatch(f"({_SHARE})(?:,|%2[cC])({_SHARE})", spelled)
        if not found:
            words = ", ".join(self.words)
            raise ValueError(f"must be {words}, or a point such as 0.3,0.6 in steps of 0.05")
        return Decimal(found[1]), Decimal(found[2])

    def write(self, value: tuple[Decimal, Decimal]) -> str:
        """Return the word, or the shares."""
        for word, point in self.words.items():
            if point == value:
                return word
        return ",".join(map(write_number, value))


_SHARE = "(?:0[.](?:[1-9]|[0-9]5)|0|1)"
"""A share in steps of 0.05, in its one spelling."""


def _of_shares(point: tuple[Decimal, Decimal]) -> str:
    x, y = (literal(write_number(share)) for share in point)
    return f"{x}(?:,|%2[cC]){y}"


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
