"""Pictures over HTTP: requests in, answers out, one log line each. Knows nothing of pixels."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus

from flask import Flask, g, request
from werkzeug.routing import BaseConverter
from werkzeug.wrappers import Response

from imgprocessor.config.settings import FreshnessSettings
from imgprocessor.errors import Internal, NotFound, Overloaded
from imgprocessor.reporting import begin_trace, report_unexpected, trace_id
from imgprocessor.request.query import FULL
from imgprocessor.request.signing import Signing
from imgprocessor.service.delivery import Answer, Delivery, Found
from imgprocessor.service.full import FullOriginals
from imgprocessor.service.placeholder import Placeholder
from imgprocessor.service.understanding import Understood
from imgprocessor.web.caching import has_copy, is_current
from imgprocessor.web.full import full
from imgprocessor.web.incoming import incoming, queue_seconds, trace_id_of
from imgprocessor.web.log import RequestLog, answer_entry, failure_entry, request_entry
from imgprocessor.web.metrics import Metrics
from imgprocessor.web.operator import UNLOGGED
from imgprocessor.web.pictures.asked import (
    FAILED,
    FOUND,
    NAME,
    PLACES,
    TRIED,
    UNDERSTOOD,
    CheckedLink,
    checked_link,
    decided,
    names_picture,
)
from imgprocessor.web.pictures.plain import PlainGets
from imgprocessor.web.problems import asks_for_json, known_error
from imgprocessor.web.responses import (
    IMAGE_DECISION,
    IMAGEKEY,
    SECURE,
    cross_origin,
    failure,
    not_modified,
    picture,
)

_RULES = (f"/{PLACES[0]}/", *(f"/{place}/<name:name>" for place in PLACES))

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
        entry = request_entry(
            request.method,
            response.status_code,
            body_bytes=0 if request.method == "HEAD" else response.content_length or 0,
            imagekey=response.headers.get(IMAGEKEY),
            told=g.entry,
            seconds=seconds,
        )
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
    # As Flask's documents have it.
    web.wsgi_app = PlainGets(  # type: ignore[method-assign]
        web, delivery, placeholder, freshness, log, metrics=metrics, signing=signing, shared=shared
    )
    return web


def _begin() -> None:
    g.began = time.perf_counter()
    if not trace_id():
        begin_trace(trace_id_of(request.environ))
    g.entry = {}


def _end(_: BaseException | None) -> None:
    begin_trace("")


def _add_view(web: Flask, rule: str, endpoint: str, view: Callable[..., Response]) -> None:
    methods = ["GET", "HEAD"]
    web.add_url_rule(rule, endpoint, view, methods=methods, provide_automatic_options=False)


class _NameConverter(BaseConverter):
    """What names a picture in a path."""

    regex = NAME
    part_isolating = False


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
        for _ in range(request.environ.get(TRIED, 0), _TRIALS):
            found = self._found(asked)
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
        as_json = asks_for_json()
        if known.is_passing:
            stand_in = self._placeholder.plain()
        else:
            stand_in = self._placeholder.stand_in(
                self._understood(),
                with_pixels=not as_json and request.method != "HEAD",
                may_choose=self._link().wrong is None,
            )
        g.entry.update(decided(self._delivery, request.environ, stand_in.planned))
        g.entry.update(failure_entry(known, stand_in.trouble))
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

    def _found(self, asked: Understood) -> Found:
        """Return what is there, which may be known."""
        found: Found | None = request.environ.pop(FOUND, None)
        if found is not None:
            return found
        failed: Exception | None = request.environ.pop(FAILED, None)
        if failed is not None:
            raise failed
        return self._delivery.find(asked)

    def _answered(self, found: Found) -> Response:
        g.entry.update(decided(self._delivery, request.environ, found.planned))
        if is_current(request.environ, found.etag, found.original.modified_seconds):
            return not_modified(found, self._left())
        head = request.method == "HEAD"
        answer = self._delivery.kept(found) if head else self._made(found)
        if answer is None:
            self._delivery.previews.look(found.original, found.planned.query, found.began)
            return picture(found, self._left())
        g.entry.update(answer_entry(answer))
        if answer.is_quick and has_copy(request.environ, answer.etag):
            return not_modified(answer, self._left())
        response = picture(answer, self._left())
        if answer.is_cheaper:
            response.headers[IMAGE_DECISION] += "; cheaper=overloaded"
            response.headers["Cache-Control"] = "no-store"
        return response

    def _made(self, found: Found) -> Answer:
        """Return the picture; where there is too much to do, a kept one for a worse bandwidth."""
        failed: Exception | None = request.environ.pop(FAILED, None)
        try:
            if failed is not None:
                raise failed
            return self._delivery.answer(found)
        except Overloaded:
            cheaper = self._delivery.cheaper(self._understood().hints, found)
            if cheaper is None:
                raise
            return cheaper

    def _understood(self) -> Understood:
        """Return the request; it is parsed on the first call."""
        environ = request.environ
        if UNDERSTOOD not in environ:
            environ[UNDERSTOOD] = self._delivery.understand(incoming(environ))
        understood: Understood = environ[UNDERSTOOD]
        return understood

    def _link(self) -> CheckedLink:
        """Check the link once, where it must be signed."""
        if "link" not in g:
            g.link = checked_link(
                self._signing, self._understood(), is_full=request.endpoint == FULL
            )
        checked: CheckedLink = g.link
        return checked

    def _left(self) -> FreshnessSettings:
        """Return how long an answer that is sent now may be kept."""
        return self._link().left(self._freshness)


def _check_path(name: str | None) -> None:
    """Refuse what is no name in a path."""
    if name is not None and not names_picture(request.environ):
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
