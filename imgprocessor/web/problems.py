"""Failures in words: for programs as RFC 9457 has them, or as a page for a browser."""

from collections.abc import Callable

from flask import g, request
from werkzeug.exceptions import BadHost, HTTPException
from werkzeug.exceptions import MethodNotAllowed as RouteMethodNotAllowed
from werkzeug.exceptions import NotFound as RouteNotFound
from werkzeug.wrappers import Response

from imgprocessor.errors import BadQuery, ImageError, Internal, MethodNotAllowed, NotFound
from imgprocessor.reporting import report_unexpected
from imgprocessor.web.incoming import Environ
from imgprocessor.web.log import failure_entry
from imgprocessor.web.responses import failure_headers, problem

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
"""Those of browsers and scripts: who answers all of them refuses in words."""


def in_words(error: Exception, page: Callable[[ImageError], Response]) -> Response:
    """Answer with what is wrong, whatever was raised: with the page of it where the client prefers
    HTML, else as `application/problem+json`. The log's line says why; what is unexpected is
    reported.
    """
    known = known_error(error)
    if isinstance(known, Internal):
        report_unexpected(error)
    g.entry.update(failure_entry(known))
    if prefers_html():
        answer = page(known)
    else:
        answer = Response(problem(known), content_type="application/problem+json")
    answer.status_code = known.status
    answer.headers.update({"Vary": "Accept", **failure_headers(known)})
    return answer


def prefers_html() -> bool:
    """Whether the client wants a page rather than JSON; one that takes all alike gets JSON."""
    kinds = ["application/problem+json", "application/json", "text/html"]
    return request.accept_mimetypes.best_match(kinds) == "text/html"


def may_ask_for_json(environ: Environ) -> bool:
    """Whether a client that asked for a picture may want to read of a failure instead."""
    return "application/" in str(environ.get("HTTP_ACCEPT", "")).lower()


def asks_for_json() -> bool:
    """Whether it does."""
    if not may_ask_for_json(request.environ):
        return False
    accepted = request.accept_mimetypes
    as_picture = accepted.best_match(
        ["image/jpeg", "application/problem+json", "application/json"], default="image/jpeg"
    )
    return as_picture != "image/jpeg"


def known_error(error: Exception) -> ImageError:
    """Return the error of ours that stands for whatever was raised."""
    if isinstance(error, ImageError):
        return error
    if isinstance(error, RouteNotFound):
        return NotFound(f"no such path: {request.path!r}")
    if isinstance(error, RouteMethodNotAllowed):
        return MethodNotAllowed(allowed=sorted(error.valid_methods or ()))
    if isinstance(error, BadHost):
        return BadQuery(["the header Host must be the name of a host"])
    if isinstance(error, HTTPException):
        return Internal(f"{error.code} {error.name}")
    return Internal(f"{type(error).__name__}: {error}")
