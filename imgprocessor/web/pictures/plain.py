"""Plain GETs of pictures, answered before Flask: that it looks at them took half of a repeat."""

import re
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from imgprocessor.config.settings import FreshnessSettings
from imgprocessor.reporting import begin_trace
from imgprocessor.request.signing import Signing
from imgprocessor.service.delivery import Answer, Delivery
from imgprocessor.web.caching import has_conditions
from imgprocessor.web.incoming import Environ, incoming, queue_seconds, trace_id_of
from imgprocessor.web.log import RequestLog, answer_entry, request_entry
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
from imgprocessor.web.responses import picture_headers

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

_LABEL = "[A-Za-z0-9-]{1,63}"
_PLAIN_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*(?::[0-9]{{1,5}})?")


class PlainGets:
    """A WSGI application in front of another one, which gets all else: what fails, conditions, and
    whatever is not a plain GET. It would answer the same.
    """

    def __init__(
        self,
        web: "WSGIApplication",
        delivery: Delivery,
        freshness: FreshnessSettings,
        log: RequestLog,
        *,
        metrics: Metrics | None,
        signing: Signing | None,
        shared: Mapping[str, str],
    ) -> None:
        """Stand in front of `web`; all else as `create_web` has it."""
        self._web = web
        self._delivery = delivery
        self._freshness = freshness
        self._log = log
        self._metrics = metrics
        self._signing = signing
        self._shared = [*shared.items()]

    def __call__(self, environ: Environ, start_response: "StartResponse") -> Iterable[bytes]:
        """Answer, or have it answered."""
        began = time.perf_counter()
        if not _is_plain(environ):
            return self._web(environ, start_response)
        begin_trace(trace_id_of(environ))
        answered = self._answer(environ)
        if answered is None:
            return self._web(environ, start_response)
        answer, its_link = answered
        planned, body = answer.found.planned, answer.rendition.body
        headers = picture_headers(answer, its_link.left(self._freshness))
        seconds = time.perf_counter() - began
        entry = request_entry(
            "GET",
            200,
            body_bytes=len(body),
            imagekey=planned.imagekey,
            told={**decided(self._delivery, environ, planned), **answer_entry(answer)},
            seconds=seconds,
        )
        self._log.write(entry)
        if self._metrics is not None:
            self._metrics.count(entry, seconds, queue_seconds(environ))
        begin_trace("")
        length = ("Content-Length", str(len(body)))
        start_response("200 OK", [*headers.items(), *self._shared, length])
        return [body]

    def _answer(self, environ: Environ) -> tuple[Answer, CheckedLink] | None:
        """Return the picture, where nothing fails and nothing is purged meanwhile. What was found
        out is left behind.
        """
        try:
            asked = environ[UNDERSTOOD] = self._delivery.understand(incoming(environ))
            its_link = checked_link(self._signing, asked)
            if its_link.wrong is not None:
                return None
            found = self._delivery.find(asked)
        except Exception:  # noqa: BLE001 - it is raised there once more
            return None
        if found.planned.query.download:  # a name, which may have any letters
            environ[FOUND] = found
            return None
        try:
            answer = self._delivery.answer(found)
        except Exception as error:  # noqa: BLE001 - it is raised there
            environ[FOUND], environ[FAILED] = found, error
            return None
        if not found.began.is_current:
            environ[TRIED] = 1
            return None
        return answer, its_link


def _is_plain(environ: Environ) -> bool:
    return (
        environ.get("REQUEST_METHOD") == "GET"
        and not has_conditions(environ)
        and _PLAIN_HOST.fullmatch(str(environ.get("HTTP_HOST", ""))) is not None
        and is_picture(environ)
    )
