"""Pictures over HTTP: requests in, answers out, one log line each. Knows nothing of pixels."""

import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import NamedTuple

from flask import Flask, g, request
from werkzeug.routing import BaseConverter
from werkzeug.wrappers import Response

from imgprocessor.config.settings import FreshnessSettings
from imgprocessor.errors import ImageError, Internal, NotFound, Overloaded
from imgprocessor.reporting import begin_trace, report_unexpected, trace_id
from imgprocessor.request.query import FULL
from imgprocessor.request.signing import Signing
from imgprocessor.service.delivery import Answer, Delivery, Found
from imgprocessor.service.full import FullOriginals
from imgprocessor.service.placeholder import Placeholder
from imgprocessor.service.understanding import Planned, Understood
from imgprocessor.web.caching import is_current, until
from imgprocessor.web.full import full
from imgprocessor.web.incoming import (
    asked_of_cache,
    incoming,
    named_in_path,
    queue_seconds,
    trace_id_of,
)
from imgprocessor.web.log import (
    MAX_TOLD_CHARACTERS,
    Entry,
    RequestLog,
    answer_entry,
    planned_entry,
    utc_now,
)
from imgprocessor.web.metrics import Metrics
from imgprocessor.web.operator import UNLOGGED
from imgprocessor.web.problems import known_error
from imgprocessor.web.responses import (
    IMAGE_DECISION,
    IMAGEKEY,
    SECURE,
    cross_origin,
    failure,
    not_modified,
    picture,
)

_RULES = ("/images/", "/images/<name:name>", "/image/<name:name>", "/media/<name:name>")

_TRIALS = 3
"""Of an answer, where purges come all the time."""


def create_web(
    delivery: Delivery,
    placeholder: Placeholder,
    freshness: FreshnessSettings,
    log: RequestLog,
    *,
    metrics: Metrics | None = None,
    signing: Signing | None = None,
    originals: FullOriginals | None = None,
    allow_origin: str | None = None,
) -> Flask:
    """Join the parts into a WSGI application that answers `/images/`. Without `metrics` nothing is
    counted; with `signing`, links must be signed; with `originals`, they are sent as they are, too;
    scripts of pages of `allow_origin` may read what is answered.
    """
    web = Flask("imgprocessor", static_folder=None)
    shared = cross_origin(allow_origin)
    pictures = _Pictures(delivery, placeholder, freshness, signing)

    web.before_request(_begin)
    web.teardown_request(_end)

    @web.after_request
    def write_down(response: Response) -> Response:
        _secure(response, shared)
        if request.endpoint in UNLOGGED and IMAGEKEY not in response.headers:
            return response
        pictures.restrain_caches(response)
        seconds = time.perf_counter() - g.began
        entry = {
            "time": utc_now(),
            "pid": os.getpid(),
            "trace_id": trace_id(),
            "method": request.method,
            "status": response.status_code,
            "bytes": 0 if request.method == "HEAD" else response.content_length or 0,
            "imagekey": response.headers.get(IMAGEKEY),
            **g.entry,
            "total_ms": round(seconds * 1000, 2),
        }
        log.write(entry)
        if metrics is not None:
            metrics.count(entry, seconds, queue_seconds(request.environ))
        return response

    web.url_map.merge_slashes = False  # no file's name has two, and nobody is sent elsewhere
    web.url_map.converters["name"] = _NameConverter
    for number, rule in enumerate(_RULES):
        _add_view(web, rule, f"images{number or ''}", pictures.answer)
    if originals is not None:
        view = partial(pictures.full, originals=originals, shared=shared)
        _add_view(web, f"/{FULL}/<name:name>", FULL, view)
    web.register_error_handler(Exception, pictures.fail)
    return web


def _begin() -> None:
    g.began = time.perf_counter()
    begin_trace(trace_id_of(request.environ))
    g.entry = {}


def _end(_: BaseException | None) -> None:
    begin_trace("")


def _add_view(web: Flask, rule: str, endpoint: str, view: Callable[..., Response]) -> None:
    methods = ["GET", "HEAD"]
    web.add_url_rule(rule, endpoint, view, methods=methods, provide_automatic_options=False)


class _NameConverter(BaseConverter):
    """What names a picture in a path; what begins with `-` is the operator's."""

    regex = r"(?!-(?:/|$))[^/](?:.|\n)*"
    part_isolating = False


class _Link(NamedTuple):
    """What is known of a request's link."""

    wrong: ImageError | None
    """Why it is no link of ours, where links must be signed."""
    expires: int | None = None
    """In seconds since 1970, if ever."""


class _Pictures:
    """Answers requests for pictures, each of which is understood once."""

    def __init__(
        self,
        delivery: Delivery,
        placeholder: Placeholder,
        freshness: FreshnessSettings,
        signing: Signing | None,
    ) -> None:
        self._delivery = delivery
        self._placeholder = placeholder
        self._freshness = freshness
        self._signing = signing

    def answer(self, name: str | None = None) -> Response:
        """Answer with the picture, or with as much as is asked for; what names it in the path is
        read as it came.
        """
        asked = self._permitted()
        _check_path(name)
        for _ in range(_TRIALS):
            found = self._delivery.find(asked)
            response = self._answered(found)
            if found.began.is_current:
                return response
            # Purged since it was begun: it may be the old picture.
        response.headers["Cache-Control"] = "no-store"
        return response

    def full(self, name: str, originals: FullOriginals, shared: Mapping[str, str]) -> Response:
        """Answer with the original as it is; all of the path is its name."""
        asked = self._understood().first
        wrong = self._link().wrong
        if wrong is not None:
            raise wrong
        _check_path(name)
        query = asked.require().query
        whole = originals.find(query.name)
        g.entry.update(format=whole.format, original_bytes=whole.original.size_bytes)
        return full(request, whole, originals, query=query, freshness=self._left(), shared=shared)

    def fail(self, error: Exception) -> Response:
        """Answer with the placeholder, or in words."""
        known = known_error(error)
        if isinstance(known, Internal):
            report_unexpected(error)
        as_json = _asks_for_json()
        if known.is_passing:
            stand_in = self._placeholder.plain()
        else:
            stand_in = self._placeholder.stand_in(
                self._understood(),
                with_pixels=not as_json and request.method != "HEAD",
                may_choose=self._link().wrong is None,
            )
        detail = "; ".join(text for text in (str(known), stand_in.trouble) if text)
        g.entry.update(self._entry(stand_in.planned))
        g.entry.update(error=known.code, detail=detail[:MAX_TOLD_CHARACTERS])
        return failure(known, stand_in, self._left(), as_json=as_json)

    def restrain_caches(self, response: Response) -> None:
        """Have nothing kept that is only right for this client."""
        if response.location is not None or request.endpoint in UNLOGGED:
            # A redirect repeats the Host that the client named; and a client who may see the counts
            # must not be told what was told to one who may not.
            response.headers["Cache-Control"] = "no-store"

    def _permitted(self) -> Understood:
        """Return the request, as far as its link permits: without a right signature a client gets
        the kept sizes of uploads, and learns nothing else.
        """
        asked, wrong = self._understood(), self._link().wrong
        if wrong is None:
            return asked
        of_kept_size = self._delivery.as_kept_size(asked)
        if of_kept_size is None:
            raise wrong
        return of_kept_size

    def _answered(self, found: Found) -> Response:
        g.entry.update(self._entry(found.planned))
        if is_current(request, found.etag, found.original.modified_seconds):
            return not_modified(found, self._left())
        head = request.method == "HEAD"
        answer = self._delivery.kept(found) if head else self._made(found)
        if answer is None:
            return picture(found, None, self._left())
        g.entry.update(answer_entry(answer))
        response = picture(answer.found, answer.rendition, self._left())
        if answer.is_cheaper:
            response.headers[IMAGE_DECISION] += "; cheaper=overloaded"
            response.headers["Cache-Control"] = "no-store"
        return response

    def _made(self, found: Found) -> Answer:
        """Return the picture; where there is too much to do, a kept one for a worse bandwidth."""
        try:
            return self._delivery.answer(found)
        except Overloaded:
            cheaper = self._delivery.cheaper(self._understood().hints, found)
            if cheaper is None:
                raise
            return cheaper

    def _understood(self) -> Understood:
        """Return the request; it is parsed on the first call."""
        if "understood" not in g:
            g.understood = self._delivery.understand(incoming(request.environ))
        understood: Understood = g.understood
        return understood

    def _link(self) -> _Link:
        """Check the link once, where it must be signed."""
        if "link" not in g:
            g.link = _Link(None)
            if self._signing is not None:
                try:
                    parsed, is_full = self._understood().first.parsed, request.endpoint == FULL
                    expires = self._signing.require(parsed, time.time(), is_full=is_full)
                    g.link = _Link(None, expires)
                except ImageError as error:
                    g.link = _Link(error)
        link: _Link = g.link
        return link

    def _left(self) -> FreshnessSettings:
        """Return how long an answer that is sent now may be kept: no copy outlives its link."""
        expires = self._link().expires
        if expires is None:
            return self._freshness
        return until(self._freshness, max(0, int(expires - time.time())))

    def _entry(self, planned: Planned) -> Entry:
        """Say what was decided and why: behind a cache, why it spelled the request so."""
        asked = asked_of_cache(request.environ)
        reasons = planned.decision
        for reading in self._delivery.understand(asked).readings if asked else ():
            if isinstance(reading.outcome, Planned):
                reasons = reading.outcome.decision
                if reading.outcome.imagekey == planned.imagekey:
                    break
        return planned_entry(planned, reasons)


def _check_path(name: str | None) -> None:
    """Refuse what is no name in a path."""
    path = named_in_path(request.environ)
    if name is not None and (path is None or "%2f" in path.lower()):
        raise NotFound(f"no such path: {request.path!r}")


def _secure(response: Response, shared: Mapping[str, str]) -> None:
    """Set the headers that every answer has, where they are not set yet; and those for other
    origins, where a picture was asked for, or is shown.
    """
    if response.status_code == HTTPStatus.NOT_MODIFIED:
        return
    for name, value in SECURE.items():
        response.headers.setdefault(name, value)
    is_picture = IMAGEKEY in response.headers or request.endpoint == FULL
    if is_picture and request.method in {"GET", "HEAD"}:
        response.headers.extend(shared)


def _asks_for_json() -> bool:
    if "application/" not in request.environ.get("HTTP_ACCEPT", "").lower():
        return False
    accepted = request.accept_mimetypes
    as_picture = accepted.best_match(
        ["image/jpeg", "application/problem+json", "application/json"], default="image/jpeg"
    )
    return as_picture != "image/jpeg"
