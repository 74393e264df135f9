"""Readers: each turns the text of a setting into its value.

A reader raises a ValueError whose message says what would be right.
"""

import re
import shlex
from collections.abc import Callable
from dataclasses import field
from pathlib import Path
from typing import Any, Literal, get_args

_BEST_QUALITY = 100
_WHOLE_PERCENT = 100
_LONGEST_WEBP_SIDE_PIXELS = 16_383


MAX_PORT = 65_535

LABEL = "[A-Za-z0-9-]{1,63}"
"""Of a host's name, between its dots."""

SwitchOrAuto = Literal["yes", "no", "auto"]


def some_text(value: str) -> str:
    """Read any text but none."""
    if not value:
        raise ValueError("must not be empty")
    return value


def positive(value: str) -> int:
    """Read a whole number from 1."""
    number = not_negative(value)
    if number == 0:
        raise ValueError("must be greater than 0")
    return number


def not_negative(value: str) -> int:
    """Read a whole number from 0."""
    if not re.fullmatch(r"[0-9]{1,15}", value):
        raise ValueError("must be a whole number, such as 300")
    return int(value)


def factor(value: str) -> float:
    """Read a number of at least 1."""
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3})?", value) or float(value) < 1:
        raise ValueError("must be a number of at least 1, such as 1.5")
    return float(value)


def quality(value: str) -> int:
    """Read a quality, 1 to 100."""
    number = positive(value)
    if number > _BEST_QUALITY:
        raise ValueError(f"must be a whole number from 1 to {_BEST_QUALITY}")
    return number


def percent(value: str) -> int:
    """Read a whole number from 0 to 100."""
    number = not_negative(value)
    if number > _WHOLE_PERCENT:
        raise ValueError(f"must be a whole number from 0 to {_WHOLE_PERCENT}")
    return number


def output_side(value: str) -> int:
    """Read the longest side of a rendition, in pixels."""
    number = positive(value)
    if number > _LONGEST_WEBP_SIDE_PIXELS:
        raise ValueError(
            f"must be at most {_LONGEST_WEBP_SIDE_PIXELS}, the longest side that WebP can have"
        )
    return number


def switch(value: str) -> bool:
    """Read yes or no."""
    if value not in {"yes", "no"}:
        raise ValueError("must be yes or no")
    return value == "yes"


def choice(words: Any) -> Callable[[str], str]:
    """Return the reader of one of several words, a `Literal`."""
    known: tuple[str, ...] = get_args(words)

    def read(value: str) -> str:
        if value not in known:
            raise ValueError(f"must be {', '.join(known[:-1])} or {known[-1]}")
        return value

    return read


def several(known: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    """Return the reader of some of several words, at least one."""

    def read(value: str) -> tuple[str, ...]:
        found = tuple(words(value))
        if not found or not set(found) <= set(known):
            raise ValueError(f"must be some of {', '.join(known)}, with blanks between")
        return tuple(word for word in known if word in found)

    return read


def colour(value: str) -> str:
    """Read a colour such as #ffffff."""
    if not re.fullmatch(r"#[0-9a-f]{6}", value):
        raise ValueError("must be a colour such as #ffffff")
    return value


def path(value: str) -> Path:
    """Read a path; one that is not absolute is relative to the settings file."""
    return Path(some_text(value))


def path_or_none(value: str) -> Path | None:
    """Read a path, or none."""
    return None if value == "none" else path(value)


def words(value: str) -> list[str]:
    """Read words with blanks between them; one that has blanks itself stands in quotes."""
    try:
        return shlex.split(value)
    except ValueError as error:
        raise ValueError('must have an even number of quotes, as "a b" has') from error


def paths(value: str) -> tuple[Path, ...]:
    """Read paths with blanks between them, or none."""
    return () if value == "none" else tuple(map(Path, words(value)))


def addresses(value: str) -> tuple[str, ...]:
    """Read addresses with blanks between them, or none."""
    found = () if value == "none" else tuple(value.split())
    try:
        for address in found:
            read_address(address)
    except ValueError as error:
        wrong = "must be none, or HOST:PORT, several with blanks between them"
        raise ValueError(wrong) from error
    return found


def read_address(text: str) -> tuple[str, int]:
    """Read `HOST:PORT`; the host is a name, an IPv4 address, or an IPv6 address in brackets.

    Raises:
        ValueError: it is something else; the message says what would be right.
    """
    host, _, port = text.rpartition(":")
    known = re.fullmatch(rf"{LABEL}(\.{LABEL})*|\[[0-9A-Fa-f:.]+\]", host)
    if not known or not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) <= MAX_PORT:
        raise ValueError(f"must be HOST:PORT, the port from 1 to {MAX_PORT}")
    return host, int(port)


def port_number(value: str) -> int:
    """Read a TCP port; 0 lets the system choose."""
    if not re.fullmatch("[0-9]{1,5}", value) or int(value) > MAX_PORT:
        raise ValueError(f"must be a number from 0 to {MAX_PORT}")
    return int(value)


def hosts(value: str) -> tuple[str, ...]:
    """Read names of hosts with blanks between them, or none; `*.` stands for all under a name."""
    found = () if value == "none" else tuple(value.lower().split())
    for host in found:
        name = host.removeprefix("*.")
        # Names of digits alone are old spellings of IPv4 addresses.
        if not re.fullmatch(rf"{LABEL}(\.{LABEL})*", name) or re.search(
            r"(^|\.)(0x[0-9a-f]*|[0-9]+)$", name
        ):
            raise ValueError(
                "must be none, or names such as images.example.org or *.example.org, several with"
                " blanks between them; no addresses, no ports"
            )
    return found


def origin_or_none(value: str) -> str | None:
    """Read the origin of pages, as browsers name it; `*` is any of them; or none."""
    if value == "none":
        return None
    if not re.fullmatch(rf"[*]|https?://{LABEL}([.]{LABEL})*(:[0-9]{{1,5}})?", value):
        raise ValueError("must be *, none, or one origin such as https://www.example.org")
    return value


def redis_url_or_none(value: str) -> str | None:
    """Read where a Redis is, or none; without a password, which others may read here."""
    if value == "none":
        return None
    host = rf"(?:{LABEL}(?:[.]{LABEL})*|\[[0-9A-Fa-f:.]+\])"
    if not re.fullmatch(rf"redis://{host}(:[0-9]{{1,5}})?(/[0-9]{{1,3}})?|unix:///[!-~]+", value):
        raise ValueError("must be none, redis://HOST:PORT/NUMBER, or unix:///PATH")
    return value


def instance_name(value: str) -> str:
    """Read the name of an installation."""
    if not re.fullmatch("[a-z0-9-]{1,40}", value):
        raise ValueError("must have 1 to 40 of a-z, 0-9 and -")
    return value


def setting(default: object, read: Callable[[str], Any], help_text: str) -> Any:
    """Declare a setting: its default, how its text is read, and what it is for."""
    return field(default=default, metadata={"read": read, "help": help_text})
