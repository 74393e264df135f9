"""How long a remote original is fresh, by what its host said.

As caches that are shared do it (RFC 9111, 4.2), within the operator's bounds.
"""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from imgprocessor.config.settings import RemoteSettings

_UNKEPT = {"no-store", "no-cache", "private"}
"""What a host says of pictures that others may not keep: these are kept for the least time."""

_GUESSED_SHARE = 0.1
"""Of a picture's age, where its host says nothing (RFC 9111, 4.2.2)."""

_MAX_DIGITS = 10


def fresh_seconds(headers: Mapping[str, str], now: float, settings: RemoteSettings) -> float:
    """Return how long an answer is good; its headers' names are in lower case."""
    said = _lifetime(headers, now) - _seconds(headers.get("age", "0"))
    return max(settings.min_fresh_seconds, min(said, settings.max_fresh_seconds))


def _lifetime(headers: Mapping[str, str], now: float) -> float:
    directives: dict[str, str] = {}
    for part in headers.get("cache-control", "").split(","):
        name, _, value = part.strip().partition("=")
        directives.setdefault(name.lower(), value.strip('"'))
    if directives.keys() & _UNKEPT:
        return 0
    for name in ("s-maxage", "max-age"):
        if name in directives:
            return _seconds(directives[name])
    sent = _date(headers.get("date", "")) or now
    if "expires" in headers:
        return (_date(headers["expires"]) or sent) - sent
    modified = _date(headers.get("last-modified", ""))
    return 0 if modified is None else (sent - modified) * _GUESSED_SHARE


def _seconds(text: str) -> float:
    """Read seconds; what is none makes an answer old."""
    digits = text.strip(" \t")
    return int(digits[:_MAX_DIGITS]) if re.fullmatch("[0-9]+", digits) else 0


def _date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
