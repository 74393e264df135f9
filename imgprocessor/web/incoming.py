"""A request as WSGI has it: query string, hints, and what a cache in front takes it for."""

from imgprocessor.request.hints import HINT_HEADERS
from imgprocessor.service.delivery import Incoming

Environ = dict[str, object]

_HEADERS = {name: f"HTTP_{name.upper().replace('-', '_')}" for name in HINT_HEADERS}
"""What WSGI calls the headers that can change an answer (PEP 3333)."""

_CLAIMED = "HTTP_IMAGEKEY"
"""What a cache in front took the request for: see `edge`."""

_CLAIMED_PROOF = "HTTP_IMAGEKEY_PROOF"
"""What a cache in front took for the link's proof: see `signing.proof`."""

_QUERY = "IMG_QUERY"
"""The query string as it came, where Apache put the imagekey in its place: see `apache.conf.jinja`.
Not a header, so no client can send it.
"""

_QUEUED, _TAKEN = "mod_wsgi.queue_start", "mod_wsgi.daemon_start"
"""When Apache handed the request on, and when a daemon took it, in seconds."""


def incoming(environ: Environ) -> Incoming:
    """Return the request as the application wants it."""
    headers = {name: str(environ[key]) for name, key in _HEADERS.items() if key in environ}
    return Incoming(str(environ.get(_QUERY) or environ.get("QUERY_STRING", "")), headers)


def is_rewritten(environ: Environ) -> bool:
    """Whether Apache put the imagekey in the query string's place, behind its cache."""
    return _QUERY in environ


def claims(environ: Environ, *, signed: bool) -> list[str]:
    """Return what caches in front keep this answer by: imagekeys, and proofs where links are
    signed.
    """
    found = []
    if _CLAIMED in environ:
        proven = f"&{environ.get(_CLAIMED_PROOF, '')}" if signed else ""
        found.append(f"{environ[_CLAIMED]}{proven}")
    if is_rewritten(environ):
        found.append(str(environ["QUERY_STRING"]))
    return found


def queue_seconds(environ: Environ) -> float | None:
    """Return how long the request waited for a daemon; None without Apache."""
    queued, taken = environ.get(_QUEUED), environ.get(_TAKEN)
    if isinstance(queued, float | int) and isinstance(taken, float | int):
        return float(taken - queued)
    return None
