"""Plain GETs of pictures, answered before Flask, whose look at them took half of a repeat.

Of a refusal it took more, and those come when there is no time.
"""

import re
import time
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from flask import Flask

from imgprocessor.config.settings import FreshnessSettings
from imgprocessor.errors import ImageError, Overloaded
from imgprocessor.reporting import begin_trace
from imgprocessor.request.signing import Signing
from imgprocessor.service.delivery import Delivery, Found
from imgprocessor.service.placeholder import Placeholder
from imgprocessor.service.understanding import Planned, Understood
from imgprocessor.web.caching import has_conditions
from imgprocessor.web.incoming import Environ, incoming, queue_seconds, trace_id_of
from imgprocessor.web.log import Entry, RequestLog, answer_entry, failure_entry, request_entry
from imgprocessor.web.metrics import Metrics
from imgprocessor.web.pictures.asked import (
    FAILED,
    FOUND,
    TRIED,
    UNDERSTOOD,
    CheckedLink,
    checked_link,
    decided,
    is_picture,
)
from imgprocessor.web.problems import may_ask_for_json
from imgprocessor.web.responses import picture_headers, refusal_headers

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

_LABEL = "[A-Za-z0-9-]{1,63}"
_PLAIN_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*(?::[0-9]{{1,5}})?")


class PlainGets:
    """A WSGI application in front of another one, which gets all else: conditions, whatever is not
    a plain GET, and what fails, but for want of a place. It would answer the same.
    """

    def __init__(
        self,
        web: Flask,
        delivery: Delivery,
        placeholder: Placeholder,
        freshness: FreshnessSettings,
        log: RequestLog,
        *,
        metrics: Metrics | None,
        signing: Signing | None,
        shared: Mapping[str, str],
    ) -> None:
        """Stand in front of `web`; all else as `create_web` has it."""
        self._web = web.wsgi_app
        self._delivery = delivery
        self._placeholder = placeholder
        self._freshness = freshness
        self._log = log
        self._metrics = metrics
        self._signing = signing
        self._shared = [*shared.items()]

    def __call__(self, environ: Environ, start_response: "StartResponse") -> Iterable[bytes]:
        """Answer, or have it answered."""
        environ.pop("HTTP_UPGRADE", None)  # Flask would refuse who asks for a WebSocket by a 500
        if not _is_plain(environ):
            return self._web(environ, start_response)
        begin_trace(trace_id_of(environ))
        try:
            return self._answered(environ, start_response)
        finally:
            begin_trace("")

    def _answered(self, environ: Environ, start_response: "StartResponse") -> Iterable[bytes]:
        began = time.perf_counter()
        sent = self._answer(environ)
        if sent is None:
            return self._web(environ, start_response)
        seconds = time.perf_counter() - began
        entry = request_entry(
            "GET",
            sent.status,
            body_bytes=len(sent.body),
            imagekey=sent.planned.imagekey,
            told={**decided(self._delivery, environ, sent.planned), **sent.told},
            seconds=seconds,
        )
        self._log.write(entry)
        if self._metrics is not None:
            self._metrics.count(entry, seconds, queue_seconds(environ))
        length = ("Content-Length", str(len(sent.body)))
        status = f"{sent.status.value} {sent.status.phrase}"
        start_response(status, [*sent.headers.items(), *self._shared, length])
        return [sent.body]

    def _answer(self, environ: Environ) -> "_Sent | None":
        """Return the picture, where nothing fails and nothing is purged meanwhile, or a refusal.
        What was found out is left behind.
        """
        known = self._find(environ)
        if known is None:
            return None
        asked, its_link, found = known
        try:
            answer = self._delivery.answer(found)
        except Exception as error:  # noqa: BLE001 - it is raised there
            environ[FOUND], environ[FAILED] = found, _light(error)
            if isinstance(error, Overloaded) and not may_ask_for_json(environ):
                return self._refusal(error, asked, found)
            return None
        if not found.began.is_current:
            environ[TRIED] = 1
            return None
        headers = picture_headers(answer, its_link.left(self._freshness))
        body = answer.rendition.body
        return _Sent(HTTPStatus.OK, headers, body, answer.found.planned, answer_entry(answer))

    def _find(self, environ: Environ) -> tuple[Understood, CheckedLink, Found] | None:
        """Return what is asked for, and where it is, if it is there and is answered here."""
        found = None
        try:
            asked = environ[UNDERSTOOD] = self._delivery.understand(incoming(environ))
            its_link = checked_link(self._signing, asked)
            if its_link.wrong is None:
                found = self._delivery.find(asked)
        except Exception as error:  # noqa: BLE001 - it is raised there
            environ[FAILED] = _light(error)
            return None
        if found is None or found.planned.query.download:  # a name, which may have any letters
            environ[FOUND] = found
            return None
        return asked, its_link, found

    def _refusal(self, error: Overloaded, asked: Understood, found: Found) -> "_Sent | None":
        """Return the placeholder, where there is one, and no cheaper picture."""
        stand_in = self._placeholder.plain()
        if stand_in.rendition is None or self._delivery.cheaper(asked.hints, found) is not None:
            return None
        headers, body = refusal_headers(error, stand_in), stand_in.rendition.body
        status = HTTPStatus(error.status)
        return _Sent(status, headers, body, stand_in.planned, failure_entry(error))


class _Sent(NamedTuple):
    """An answer, and what the log is told of it beside the decision."""

    status: HTTPStatus
    headers: dict[str, str]
    body: bytes
    planned: Planned
    told: Entry


def _light(error: Exception) -> Exception:
    """Return an error without the frames that it was raised in, one of which has the environment
    that it is left in: only a look for garbage would free the two. Of what is unexpected they are
    told.
    """
    return error.with_traceback(None) if isinstance(error, ImageError) else error


def _is_plain(environ: Environ) -> bool:
    return (
        environ.get("REQUEST_METHOD") == "GET"
        and not has_conditions(environ)
        and _PLAIN_HOST.fullmatch(str(environ.get("HTTP_HOST", ""))) is not None
        and is_picture(environ)
    )
