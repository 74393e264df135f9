"""A request as WSGI has it: query string and hints; and as it came to a cache in front."""

import random
import re

from imgprocessor.request.hints import HINT_HEADERS
from imgprocessor.request.query import NAMED_IN_PATH
from imgprocessor.service.understanding import Incoming

Environ = dict[str, object]

ASKED = "image-asked"
"""The header in which a cache in front, which asks in the one spelling, hands on the query string
as it came: for the log alone.
"""


def _environ_name(header: str) -> str:
    """Return what WSGI calls a header (PEP 3333)."""
    return f"HTTP_{header.upper().replace('-', '_')}"


_HEADERS = {name: _environ_name(name) for name in HINT_HEADERS}

_ASKED = _environ_name(ASKED)

_BY_PROXY = {"HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_VIA"}
"""What proxies say of their clients: a program on this machine sends none of it."""

_QUEUED, _TAKEN = "mod_wsgi.queue_start", "mod_wsgi.daemon_start"
"""When Apache handed the request on, and when a daemon took it, in seconds."""


_TRACEPARENT = re.compile(
    "(?:(?=00-.{52}$)|(?!00|ff))[0-9a-f]{2}"
    "-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?"
)
"""W3C Trace Context: version, the id of all that is done for one purpose, the caller's, flags; in
later versions there may be more.
"""


def trace_id_of(environ: Environ) -> str:
    """Return the id under which logs speak of a request: its client's, from `traceparent`, else a
    new one. It is 32 hexadecimal digits, whatever the client sent.
    """
    traceparent = environ.get("HTTP_TRACEPARENT")
    sent = _TRACEPARENT.fullmatch(str(traceparent)) if traceparent else None
    # No secret, and needed for every repeat: the system's own chance takes ten times as long.
    return sent[1] if sent else f"{random.getrandbits(128):032x}"


def incoming(environ: Environ) -> Incoming:
    """Return the request as the application wants it."""
    query_string = str(environ.get("QUERY_STRING", ""))
    return Incoming(query_string, _hints(environ), named_in_path(environ))


def named_in_path(environ: Environ) -> str | None:
    """Return what names a picture in the path, still percent-encoded; None where nothing does.
    What WSGI decoded tells no `%2F` from a slash.
    """
    target = str(environ.get("REQUEST_URI", ""))
    if target.startswith("/images/?"):  # as most
        return None
    # Apache takes several slashes at the beginning for one, and keeps the answer so.
    target = re.sub("^(?:[a-z]+://[^/?]*)?/+", "/", target)
    path = target.partition("?")[0]
    named = re.fullmatch(NAMED_IN_PATH, path, re.DOTALL)
    return named[2] if named else None


def asked_of_cache(environ: Environ) -> Incoming | None:
    """Return the request as it came to a cache in front; None where none is there."""
    asked = environ.get(_ASKED)
    if asked is None:
        return None
    return Incoming(str(asked), _hints(environ), named_in_path(environ))


def came_by_proxy(environ: Environ) -> bool:
    """Whether a proxy handed the request on, and its client may be anybody."""
    return bool(_BY_PROXY & environ.keys())


def queue_seconds(environ: Environ) -> float | None:
    """Return how long the request waited for a daemon; None without Apache."""
    queued, taken = environ.get(_QUEUED), environ.get(_TAKEN)
    if isinstance(queued, float | int) and isinstance(taken, float | int):
        return float(taken - queued)
    return None


def _hints(environ: Environ) -> dict[str, str]:
    return {name: str(environ[key]) for name, key in _HEADERS.items() if key in environ}
