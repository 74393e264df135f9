"""A request as WSGI has it: query string and hints; and as it came to a cache in front."""

from imgprocessor.request.hints import HINT_HEADERS
from imgprocessor.service.delivery import Incoming

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

_QUEUED, _TAKEN = "mod_wsgi.queue_start", "mod_wsgi.daemon_start"
"""When Apache handed the request on, and when a daemon took it, in seconds."""


def incoming(environ: Environ) -> Incoming:
    """Return the request as the application wants it."""
    return Incoming(str(environ.get("QUERY_STRING", "")), _hints(environ))


def asked_of_cache(environ: Environ) -> Incoming | None:
    """Return the request as it came to a cache in front; None where none is there."""
    asked = environ.get(_ASKED)
    return None if asked is None else Incoming(str(asked), _hints(environ))


def queue_seconds(environ: Environ) -> float | None:
    """Return how long the request waited for a daemon; None without Apache."""
    queued, taken = environ.get(_QUEUED), environ.get(_TAKEN)
    if isinstance(queued, float | int) and isinstance(taken, float | int):
        return float(taken - queued)
    return None


def _hints(environ: Environ) -> dict[str, str]:
    return {name: str(environ[key]) for name, key in _HEADERS.items() if key in environ}
