"""Jobs over HTTP: a picture handed in, a task to ask for, and its thumbnail."""

import json
import re
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import PurePosixPath
from urllib.parse import parse_qs, quote

from flask import Flask, g, request
from werkzeug.wrappers import Response

from imgprocessor.config.settings import FreshnessSettings
from imgprocessor.errors import BadQuery, JobFailed, MethodNotAllowed, NoSuchJob
from imgprocessor.images.pipeline import Rendition
from imgprocessor.images.previews.kind import Ends
from imgprocessor.images.previews.registry import KINDS, document_kind
from imgprocessor.jobs.conversions import Conversions
from imgprocessor.jobs.records import CANCELLED, JobRecord, Queue, Wanted
from imgprocessor.originals.uploads import ident_of, upload_name
from imgprocessor.reporting import trace_id
from imgprocessor.request.parameters import PARAMETERS
from imgprocessor.service.uploads import Uploads
from imgprocessor.storage.uploads.durable import told_in_words
from imgprocessor.web.caching import is_current
from imgprocessor.web.jobs.pages import ConvertPages
from imgprocessor.web.jobs.waiting import Waiters
from imgprocessor.web.problems import METHODS, prefers_html
from imgprocessor.web.uploads.form import Form, body_length, read_form
from imgprocessor.web.uploads.permission import Permission

CONVERT_PATH = "/convert"

_MAX_WAIT_SECONDS = 20
_RETRY_SECONDS = 1
_KEPT_BY_NOBODY = {"Cache-Control": "no-store"}
_DEFAULT_SIDE = "100"
"""Of a thumbnail, where nothing is said: as the service had it that this one grew from."""

_OF_THE_PICTURE = tuple(row.name for row in PARAMETERS.values() if row.name not in {"name", "url"})
_TEXTS = (*_OF_THE_PICTURE, "name", "ident")
_SLOW_BYTES = 8_000_000
"""A larger file takes seconds, as a document may: others do not wait for it."""

_FILE = "file"
"""What the picture is called that was handed in: no source is asked for it."""


def add_convert(
    web: Flask,
    conversions: Conversions,
    uploads: Uploads,
    permission: Permission,
    pages: ConvertPages,
    *,
    max_bytes: int,
    freshness: FreshnessSettings,
    max_waiters: int,
) -> None:
    """Answer `/convert`; so many requests may wait at once for a job to change."""
    views = _Views(
        conversions,
        uploads,
        permission,
        pages,
        max_bytes=max_bytes,
        freshness=freshness,
        max_waiters=max_waiters,
    )

    def add(rule: str, endpoint: str, view: Callable[..., Response], *methods: str) -> None:
        answer = partial(_answered, view, methods, pages)
        web.add_url_rule(rule, endpoint, answer, methods=METHODS, provide_automatic_options=False)

    add(CONVERT_PATH, "convert", views.begin, "GET", "HEAD", "POST")
    add(f"{CONVERT_PATH}/<job>", "job", views.one, "GET", "HEAD", "DELETE")
    add(f"{CONVERT_PATH}/<job>/thumbnail", "thumbnail", views.thumbnail, "GET", "HEAD")
    add(f"{CONVERT_PATH}/<path:job>", "no-job", views.none, *METHODS)
    add(f"{CONVERT_PATH}/", "no-job-either", views.none, *METHODS)


def _answered(
    view: Callable[..., Response], methods: tuple[str, ...], pages: ConvertPages, **named: str
) -> Response:
    try:
        _require_method(methods)
        with told_in_words():
            return view(**named)
    except Exception as error:  # noqa: BLE001 - a client is told in the form that it can read
        return pages.failed(error)


def _require_method(methods: tuple[str, ...]) -> None:
    if request.method not in methods:
        raise MethodNotAllowed(allowed=methods)


class _Views:
    """Answers one request each."""

    def __init__(
        self,
        conversions: Conversions,
        uploads: Uploads,
        permission: Permission,
        pages: ConvertPages,
        *,
        max_bytes: int,
        freshness: FreshnessSettings,
        max_waiters: int,
    ) -> None:
        self._pages = pages
        self._conversions = conversions
        self._uploads = uploads
        self._permission = permission
        self._max_bytes = max_bytes
        self._freshness = freshness
        self._waiters = Waiters(conversions.find, _in_json, max_waiters)

    def begin(self) -> Response:
        """Take a job; or show the page."""
        if request.method != "POST":
            return self._pages.page()
        length = body_length(request.environ)
        by = self._permission.require(request, "upload", length)
        self._uploads.require_room(min(length, self._max_bytes))
        form = read_form(
            request.environ,
            new_file=self._uploads.new_file,
            max_bytes=self._max_bytes,
            require_room=self._uploads.require_room,
            texts=_TEXTS,
            needs_file=False,
        )
        try:
            wanted = _wanted(form, by)
        except BaseException:
            if form.file is not None:
                form.file.path.unlink(missing_ok=True)
            raise
        record = self._conversions.begin(wanted, form.file.path if form.file else None)
        g.entry["job"] = record.job
        answer = self._answered(record, 202)
        answer.headers["Location"] = f"{CONVERT_PATH}/{record.job}"
        answer.autocorrect_location_header = False
        return answer

    def one(self, job: str) -> Response:
        """Say how a job stands, at once or when that changes; or cancel it."""
        if request.method == "DELETE":
            self._permission.require(request, "upload", 0)
            self._conversions.cancel(job)
            answer = Response(status=204, headers=_KEPT_BY_NOBODY)
            del answer.headers["Content-Type"]
            return answer
        record, wait_seconds = self._conversions.find(job), _wait_seconds()
        if record.is_over or not wait_seconds or request.method == "HEAD" or prefers_html():
            return self._answered(record, 200)
        waiting = self._waiters.waiting(record, wait_seconds)
        if waiting is None:
            return _told(record, 200, retry=True)
        headers = {"Vary": "Accept", **_KEPT_BY_NOBODY}
        return Response(waiting, headers=headers, mimetype="application/json")

    def _answered(self, record: JobRecord, status: int) -> Response:
        return self._pages.of_job(record, status) if prefers_html() else _told(record, status)

    def none(self, job: str = "") -> Response:
        """Answer for all else below: no picture is called so.

        Raises:
            NoSuchJob: always.
        """
        raise NoSuchJob(f"{job!r:.60} is no id of a job")

    def thumbnail(self, job: str) -> Response:
        """Answer with what was made."""
        record = self._conversions.find(job)
        if not record.is_over:
            return _told(record, 202, retry=True)
        if record.failure is not None and record.failure.code != CANCELLED:
            raise JobFailed(record.failure.public)
        rendition = self._conversions.thumbnail(record)
        max_age = min(int(record.left_seconds), self._freshness.max_age_seconds)
        return _picture(rendition, int(record.created_seconds), max_age)


def _wanted(form: Form, by: str) -> Wanted:
    given = {name: text for name, text in form.texts.items() if text}
    named = [name for name in ("name", "ident") if name in given]
    if len(named) + (form.file is not None) != 1:
        raise BadQuery(["the form must have one of: file, ident, name"])
    if "ident" in given:
        given["name"] = upload_name(given.pop("ident"))
        if ident_of(given["name"]) is None:
            raise BadQuery(["ident: must be 32 of 0-9 and a-f"])
    name = given.pop("name", _FILE)
    if not given.keys() & {"width", "height", "screen"}:
        given |= {"width": _DEFAULT_SIDE, "height": _DEFAULT_SIDE}
    words = [f"name={quote(name)}"]
    # In the table's order, as they are spelled in a URL.
    words += [f"{word}={quote(given[word], safe='')}" for word in _OF_THE_PICTURE if word in given]
    query = "&".join(words)
    if form.file is None:
        # It may be a document, of which nobody knows anything yet but its name.
        suffix = PurePosixPath(name).suffix.lower()
        is_slow = any(suffix in kind.suffixes for kind in KINDS)
        return Wanted(query, "slow" if is_slow else "quick", by, trace_id=trace_id())
    size_bytes, sha256 = form.file.size_bytes, form.file.sha256
    with form.file.path.open("rb") as file:
        is_slow = size_bytes > _SLOW_BYTES or document_kind(Ends.of(file)) is not None
    queue: Queue = "slow" if is_slow else "quick"
    return Wanted(query, queue, by, size_bytes, sha256, trace_id=trace_id())


def _wait_seconds() -> int:
    # Not by Flask's reader, to which bytes that are no UTF-8 are an error of the server.
    query = request.query_string.decode("latin-1")
    given = parse_qs(query, keep_blank_values=True).get("wait", ["0"])
    if len(given) > 1 or not re.fullmatch("[0-9]{1,3}", given[0]):
        raise BadQuery([f"wait: must be one number of seconds, at most {_MAX_WAIT_SECONDS}"])
    return min(int(given[0]), _MAX_WAIT_SECONDS)


def _told(record: JobRecord, status: int, *, retry: bool = False) -> Response:
    headers = {"Retry-After": str(_RETRY_SECONDS)} if retry else {}
    headers |= {"Vary": "Accept", **_KEPT_BY_NOBODY}
    return Response(_in_json(record), status, headers, mimetype="application/json")


def _in_json(record: JobRecord) -> str:
    """Say how a job stands, in the words of the service that this one grew from."""
    result: object = record.result or None
    if record.failure is not None:
        result = record.failure.public
    told = {
        "submission_task_id": record.job,
        "status": record.state,
        "submission_status": record.state,
        "submission_result": result,
    }
    if record.state == "SUCCESS":
        told["result_url"] = f"{CONVERT_PATH}/{record.job}/thumbnail"
    return json.dumps(told) + "\n"


def _picture(rendition: Rendition, made_seconds: int, max_age: int) -> Response:
    digest = sha256(rendition.body).hexdigest()[:32]
    headers = {"ETag": f'"{digest}"', "Cache-Control": f"private, max-age={max_age}"}
    if is_current(request.environ, digest, made_seconds):
        return Response(status=304, headers=headers)
    return Response(rendition.body, headers=headers, mimetype=rendition.mime)
