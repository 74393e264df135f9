"""Flower's pages of what Celery's workers do: to look at, with a password, and nothing else.

Flower itself lets its pages end workers, shows its metrics to everybody, and runs a
`flowerconfig.py` that lies in the current folder: none of that is so here.
"""

import base64
import hashlib
import hmac
import logging
import re
import signal
import sys
from http import HTTPStatus
from pathlib import Path
from typing import Any

from flower.app import Flower
from flower.options import options
from flower.urls import settings as flower_settings
from flower.views import BaseHandler
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, HTTPServerRequest
from tornado.web import ErrorHandler, OutputTransform, RedirectHandler, RequestHandler

from imgprocessor.config.jobs_settings import JobsSettings
from imgprocessor.config.secrets import FLOWER_USER
from imgprocessor.jobs.by_celery import make_celery

FLOWER_PATH = "/flower/"
"""All pages are below it."""

_MAX_TASKS = 1000
"""Tasks that are remembered, the latest."""

_MAX_WORKERS = 200
_FORGET_WORKERS_SECONDS = 3600
"""After its end a worker is shown for so long."""

_INLINE_SCRIPT = "\nvar autorefresh = 1;\n"
"""What the page of workers has in itself; a test compares."""

_SCRIPT_HASH = base64.b64encode(hashlib.sha256(_INLINE_SCRIPT.encode()).digest()).decode()

_SCRIPT = "static/js/flower.js"

_POSTS_A_QUESTION = re.compile(r"type: 'POST',(?=\s+url: url_prefix\(\) \+ '/tasks/datatable')")
"""Where Flower's script asks for the list of tasks by POST; it is answered by GET as well."""

_HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; script-src 'self' 'sha256-{_SCRIPT_HASH}'; style-src 'self';"
        " style-src-attr 'unsafe-inline'; img-src 'self' data:; connect-src 'self';"
        " form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def show_jobs(settings: JobsSettings, password: str, host: str, port: int) -> None:
    """Show what this installation's workers do, until a signal ends it.

    Raises:
        OSError: nobody can listen there.
    """
    # By itself it asks a folder's flowerconfig.py and FLOWER_* for all of these.
    told = {
        "address": host,
        "port": port,
        "url_prefix": FLOWER_PATH.strip("/"),
        "basic_auth": [f"{FLOWER_USER}:{password}"],
        "read_only": True,
        "max_tasks": _MAX_TASKS,
        "max_workers": _MAX_WORKERS,
        "purge_offline_workers": _FORGET_WORKERS_SECONDS,
    }
    for name, value in told.items():
        setattr(options, name, value)
    access = logging.getLogger("tornado.access")
    access.addHandler(logging.NullHandler())
    access.propagate = False
    BaseHandler.head = _head
    shown = _ReadOnly(settings)
    known_port = shown.start_http_server()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"ready on http://{host}:{known_port}{FLOWER_PATH}", flush=True)
    try:
        shown.start()
    finally:
        shown.stop()


class _ReadOnly(Flower):  # type: ignore[misc] # it has no types
    """Flower, which asks for the password whatever is asked for, and changes nothing."""

    def __init__(self, settings: JobsSettings) -> None:
        super().__init__(
            options=options,
            capp=make_celery(settings),
            **flower_settings
            | {
                "static_url_prefix": f"{FLOWER_PATH}static/",
                "login_url": f"{FLOWER_PATH}login",
                "transforms": [_Headers],
                # Only its own pages are shown it, and pictures' requests stay as they are.
                "xsrf_cookie_kwargs": {"path": FLOWER_PATH, "samesite": "Strict"},
            },
        )

    def find_handler(self, request: HTTPServerRequest, **_: Any) -> HTTPMessageDelegate:
        """Choose who answers: Flower, where somebody may look."""
        if request.path in {"/", FLOWER_PATH.rstrip("/")}:
            # Before the password is asked for: browsers send it to all that lies beside.
            return self._answered_by(request, RedirectHandler, {"url": FLOWER_PATH})
        if request.method not in {"GET", "HEAD"}:
            return self._answered_by(
                request, _Refusal, {"status_code": HTTPStatus.METHOD_NOT_ALLOWED}
            )
        if not self._may_look(request):
            return self._answered_by(request, _Refusal, {"status_code": HTTPStatus.UNAUTHORIZED})
        if request.path == FLOWER_PATH + _SCRIPT:
            return self._answered_by(request, _Script, {})
        found: HTTPMessageDelegate = super().find_handler(request)
        return found

    def _answered_by(
        self, request: HTTPServerRequest, handler: type, arguments: dict[str, Any]
    ) -> HTTPMessageDelegate:
        delegate: HTTPMessageDelegate = self.get_handler_delegate(request, handler, arguments)
        return delegate

    def _may_look(self, request: HTTPServerRequest) -> bool:
        (word,) = self.options.basic_auth
        right = base64.b64encode(word.encode()).decode()
        given = request.headers.get("Authorization", "")
        return hmac.compare_digest(given.encode(), f"Basic {right}".encode())


class _Refusal(ErrorHandler):
    """Says why nothing is shown."""

    def write_error(self, status_code: int, **_: Any) -> None:
        """Answer in a sentence."""
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        if status_code == HTTPStatus.UNAUTHORIZED:
            self.set_header("WWW-Authenticate", 'Basic realm="Flower", charset="UTF-8"')
            self.finish(f"The user is {FLOWER_USER}, the password the operator's.\n")
        else:
            self.set_header("Allow", "GET, HEAD")
            self.finish("These pages are to look at: GET and HEAD.\n")


class _Script(RequestHandler):
    """Sends Flower's script, which asks by GET here."""

    def get(self) -> None:
        """Send it."""
        folder = Path(flower_settings["template_path"]).parent
        self.set_header("Content-Type", "text/javascript; charset=utf-8")
        text = (folder / _SCRIPT).read_text(encoding="utf-8")
        self.write(_POSTS_A_QUESTION.sub("type: 'GET',", text))

    head = get


def _head(handler: RequestHandler, *arguments: str) -> Any:
    """Answer HEAD, which Flower does not know: Tornado leaves the body out."""
    return handler.get(*arguments)


class _Headers(OutputTransform):
    """Sets the headers that all answers have."""

    def __init__(self, request: HTTPServerRequest) -> None:
        self._is_static = request.path.startswith(f"{FLOWER_PATH}static/")

    def transform_first_chunk(
        self,
        status_code: int,
        headers: HTTPHeaders,
        chunk: bytes,
        finishing: bool,  # noqa: ARG002, FBT001 - as Tornado has it
    ) -> tuple[int, HTTPHeaders, bytes]:
        """Set them."""
        for name, value in _HEADERS.items():
            headers[name] = value
        kept = self._is_static and status_code in {HTTPStatus.OK, HTTPStatus.NOT_MODIFIED}
        headers["Cache-Control"] = "private, max-age=86400" if kept else "no-store"
        del headers["Server"]
        return status_code, headers, chunk
