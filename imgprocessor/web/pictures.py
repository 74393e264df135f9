"""HTTP: requests in, answers out, one log line each. Knows nothing of pixels."""

import contextlib
import os
import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from pathlib import Path

from flask import Flask, g, request, send_from_directory
from werkzeug.exceptions import BadHost, HTTPException
from werkzeug.exceptions import MethodNotAllowed as RouteMethodNotAllowed
from werkzeug.exceptions import NotFound as RouteNotFound
from werkzeug.wrappers import Response

from imgprocessor.config.settings import FreshnessSettings
from imgprocessor.errors import (
    BadQuery,
    ImageError,
    Internal,
    MethodNotAllowed,
    NotFound,
    Overloaded,
)
from imgprocessor.reporting import report_unexpected
from imgprocessor.request.hints import ACCEPT_CH, HINT_HEADERS
from imgprocessor.request.signing import Signing, proof, until
from imgprocessor.service.delivery import Answer, Delivery, Found, Incoming, Planned
from imgprocessor.service.placeholder import Placeholder
from imgprocessor.service.purge import PURGE_PATH
from imgprocessor.web.log import Entry, RequestLog, utc_now
from imgprocessor.web.metrics import Metrics
from imgprocessor.web.operator import UNLOGGED
from imgprocessor.web.responses import IMAGEKEY, SECURE, failure, not_modified, picture, validators

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

PAGE_SECURITY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""`Content-Security-Policy` of the demonstration page, which has scripts."""

_CONDITIONS = {"HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE"}

_TRIALS = 3
"""Of an answer, where purges come all the time."""

_MAX_DETAIL_CHARACTERS = 500
"""So that a log line stays one write."""


def create_web(
    delivery: Delivery,
    placeholder: Placeholder,
    freshness: FreshnessSettings,
    log: RequestLog,
    *,
    metrics: Metrics | None = None,
    signing: Signing | None = None,
) -> Flask:
    """Join the parts into a WSGI application that answers `/images/`. Without `metrics` nothing is
    counted; with `signing`, links must be signed.
    """
    web = Flask("imgprocessor", static_folder=None)

    @web.before_request
    def begin() -> None:
        g.began = time.perf_counter()
        g.entry = {}

    @web.route("/images/", methods=["GET", "HEAD"], provide_automatic_options=False)
    def images() -> Response:
        # First of all: without a right signature nobody learns what there is.
        expires = _require_signature(signing)
        return _answered(delivery, partial(_until, expires, freshness))

    @web.errorhandler(Exception)
    def failed(error: Exception) -> Response:
        known = _known(error)
        if isinstance(known, Internal):
            report_unexpected(error)
        as_json = _asks_for_json()
        with_pixels = not as_json and request.method != "HEAD"
        expires, may_choose = None, False
        with contextlib.suppress(ImageError):
            expires, may_choose = _require_signature(signing), True
        if known.is_passing:
            stand = placeholder.plain()
        else:
            stand = placeholder.stand_in(
                _incoming(), with_pixels=with_pixels, may_choose=may_choose
            )
        detail = "; ".join(text for text in (str(known), stand.trouble) if text)
        g.entry.update(_planned_entry(stand.planned))
        g.entry.update(error=known.code, detail=detail[:_MAX_DETAIL_CHARACTERS])
        response = failure(known, stand, _until(expires, freshness), as_json=as_json)
        if isinstance(known, MethodNotAllowed):
            response.headers["Allow"] = "POST" if request.path == PURGE_PATH else "GET, HEAD"
        return response

    @web.after_request
    def write_down(response: Response) -> Response:
        _secure(response)
        if request.endpoint in UNLOGGED and IMAGEKEY not in response.headers:
            return response
        _restrain_caches(delivery, signing, response)
        seconds = time.perf_counter() - g.began
        entry = {
            "time": utc_now(),
            "pid": os.getpid(),
            "method": request.method,
            "status": response.status_code,
            "bytes": 0 if request.method == "HEAD" else response.content_length or 0,
            "imagekey": response.headers.get(IMAGEKEY),
            **g.entry,
            "total_ms": round(seconds * 1000, 2),
        }
        log.write(entry)
        if metrics is not None:
            metrics.count(entry, seconds, _queue_seconds())
        return response

    return web


def _answered(delivery: Delivery, freshness: Callable[[], FreshnessSettings]) -> Response:
    """Answer; `freshness` is asked at the end, because making a picture takes its time."""
    for _ in range(_TRIALS):
        found = delivery.find(_incoming())
        response = _answered_once(delivery, found, freshness)
        if found.began.is_current:
            return response
        # Purged since it was begun: it may be the old picture.
    response.headers["Cache-Control"] = "no-store"
    return response


def _answered_once(
    delivery: Delivery, found: Found, freshness: Callable[[], FreshnessSettings]
) -> Response:
    g.entry.update(_planned_entry(found.planned))
    if _is_current(found):
        return not_modified(found, freshness())
    answer = delivery.kept(found) if request.method == "HEAD" else _made(delivery, found)
    if answer is None:
        return picture(found, None, freshness())
    g.entry.update(_answer_entry(answer))
    response = picture(answer.found, answer.rendition, freshness())
    if answer.is_cheaper:
        response.headers["image-decision"] += "; cheaper=overloaded"
        response.headers["Cache-Control"] = "no-store"
    return response


def _made(delivery: Delivery, found: Found) -> Answer:
    """Return the picture; where there is too much to do, one for a worse bandwidth if there is."""
    try:
        return delivery.answer(found)
    except Overloaded:
        cheaper = delivery.cheaper(_incoming())
        if cheaper is None:
            raise
        return cheaper


def add_page(web: Flask, folder: Path) -> None:
    """Serve the demonstration page as well, where there is no Apache to do it."""

    @web.route("/", defaults={"file": "index.html"})
    @web.route("/<file>")
    def static_file(file: str) -> Response:
        response = send_from_directory(folder, file)
        if response.mimetype == "text/html":
            response.headers["Accept-CH"] = ACCEPT_CH
            response.headers["Content-Security-Policy"] = PAGE_SECURITY
        return response


def _incoming() -> Incoming:
    environ = request.environ
    headers = {name: environ[key] for name, key in _HEADERS.items() if key in environ}
    query_string: str = environ.get(_QUERY) or environ.get("QUERY_STRING", "")
    return Incoming(query_string, headers)


def _secure(response: Response) -> None:
    """Set the headers that every answer has, where they are not set yet."""
    if response.status_code != HTTPStatus.NOT_MODIFIED:
        for name, value in SECURE.items():
            response.headers.setdefault(name, value)


def _queue_seconds() -> float | None:
    """Return how long the request waited for a daemon; None without Apache."""
    queued, taken = request.environ.get(_QUEUED), request.environ.get(_TAKEN)
    return None if queued is None or taken is None else taken - queued


def _require_signature(signing: Signing | None) -> int | None:
    """Check the link, where it must be signed; return when it expires, if ever.

    Raises:
        BadSignature, BadQuery: as `Signing.require` does.
    """
    return None if signing is None else signing.require(_incoming().query_string, time.time())


def _until(expires: int | None, freshness: FreshnessSettings) -> FreshnessSettings:
    """Return how long an answer that is sent now may be kept."""
    return freshness if expires is None else until(freshness, max(0, int(expires - time.time())))


def _restrain_caches(delivery: Delivery, signing: Signing | None, response: Response) -> None:
    """Have nothing kept that is only right for this client, nor anything by a cache that takes a
    request for another than it is.
    """
    if response.location is not None or request.endpoint in UNLOGGED:
        # A redirect repeats the Host that the client named; and who may see the counts must not be
        # told what was told to somebody who may not.
        response.headers["Cache-Control"] = "no-store"
    environ = request.environ
    claims = []
    if _CLAIMED in environ:
        proven = "" if signing is None else f"&{environ.get(_CLAIMED_PROOF, '')}"
        claims.append(f"{environ[_CLAIMED]}{proven}")
    if _QUERY in environ:
        claims.append(environ["QUERY_STRING"])
        del response.headers["Vary"]  # which is said by Apache, behind its cache
    if not claims:
        return
    own = None
    with contextlib.suppress(ImageError):
        # A cache that keeps answers by imagekey alone would hand them to who has no signature.
        proven = "" if signing is None else f"&{proof(_incoming().query_string)}"
        own = f"{delivery.understand(_incoming()).imagekey}{proven}"
    for claimed in claims:
        if claimed != own:
            g.entry["claimed"] = claimed[:_MAX_DETAIL_CHARACTERS]
            response.headers["Cache-Control"] = "no-store"


def _is_current(found: Found) -> bool:
    """Whether the client's own copy is still good (RFC 9110, 13.2.2)."""
    if not _CONDITIONS & request.environ.keys():
        return False
    valid = validators(found)
    if request.if_none_match:
        return request.if_none_match.contains_weak(valid.etag)
    try:
        since = request.if_modified_since
    except OverflowError:  # a year or a zone that no calendar has
        return False
    return since is not None and valid.modified_seconds <= since.timestamp()


def _asks_for_json() -> bool:
    if "application/" not in request.environ.get("HTTP_ACCEPT", "").lower():
        return False
    accepted = request.accept_mimetypes
    as_picture = accepted.best_match(
        ["image/jpeg", "application/problem+json", "application/json"], default="image/jpeg"
    )
    return as_picture != "image/jpeg"


def _known(error: Exception) -> ImageError:
    """Return the error of ours that stands for whatever was raised."""
    if isinstance(error, ImageError):
        return error
    if isinstance(error, RouteNotFound):
        return NotFound(f"no such path: {request.path!r}")
    if isinstance(error, RouteMethodNotAllowed):
        return MethodNotAllowed()
    if isinstance(error, BadHost):
        return BadQuery(["the header Host must be the name of a host"])
    if isinstance(error, HTTPException):
        return Internal(f"{error.code} {error.name}")
    return Internal(f"{type(error).__name__}: {error}")


def _planned_entry(planned: Planned) -> Entry:
    """Say what was decided and why."""
    decision = planned.decision
    return {
        "bandwidth": decision.bandwidth,
        "bandwidth_from": decision.bandwidth_from,
        "screen": decision.screen,
        "screen_from": decision.screen_from,
        "dpr": str(decision.dpr),
        "dpr_from": decision.dpr_from,
        "cell": str(decision.cell),
        "budget_bytes": planned.plan.budget_bytes,
    }


def _answer_entry(answer: Answer) -> Entry:
    rendition = answer.rendition
    return {
        "source": answer.source,
        **({"cheaper": True} if answer.is_cheaper else {}),
        "original": str(rendition.original_size),
        "original_bytes": answer.found.original.size_bytes,
        "size": str(rendition.size),
        "format": rendition.format,
        "quality": rendition.quality,
        "score": None if rendition.score is None else round(rendition.score, 1),
        "limited": rendition.limited,
        "trials": rendition.trials,
        "ms": answer.found.timings,
    }
