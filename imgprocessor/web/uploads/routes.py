"""Uploads over HTTP: pictures by a form, further sizes, removal; and the page to do it by hand."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus

from flask import Flask, g, request
from werkzeug.wrappers import Response

from imgprocessor.config.upload_settings import UploadsSettings
from imgprocessor.errors import BadQuery, MethodNotAllowed, NoSuchUpload
from imgprocessor.originals.uploads import ident_of, upload_name
from imgprocessor.request.sizes import KeptSize, read_sizes
from imgprocessor.service.uploads import Accepted, Uploads
from imgprocessor.storage.uploads.durable import told_in_words
from imgprocessor.web.problems import METHODS, prefers_html
from imgprocessor.web.uploads.form import body_length, read_form
from imgprocessor.web.uploads.pages import FormPages, TakenDocuments
from imgprocessor.web.uploads.permission import Permission

UPLOAD_PATH = "/upload"

OUTCOME = "upload"
"""Of the log's line: `new`, `known` or `refused`."""


@dataclass(frozen=True)
class UploadBounds:
    """What a request may hand in."""

    settings: UploadsSettings
    max_side_pixels: int
    """Of a kept size."""

    def read_sizes(self, text: str | None) -> tuple[KeptSize, ...]:
        """Read sizes; none where there is no text. Raises as `read_sizes` does."""
        return read_sizes(text or "", self.settings.max_sizes, self.max_side_pixels)


class UploadPages(FormPages):
    """Answers of uploads: as JSON, or as the page where a browser asks for it."""

    def __init__(
        self,
        max_bytes: int,
        *,
        needs_token: bool,
        documents: TakenDocuments = TakenDocuments(),
    ) -> None:
        """Have forms name this bound, and ask for a token where one is needed."""
        super().__init__(
            "upload.html",
            documents,
            max_bytes=max_bytes,
            needs_token=needs_token,
            accepted=None,
        )

    def accepted(self, accepted: Accepted, status: int) -> Response:
        """Answer with what is kept."""
        if prefers_html():
            shown = {
                "ident": accepted.ident,
                "sizes": [str(size) for size in accepted.sizes],
                "document": accepted.document,
            }
            answer = self.page(status, accepted=shown)
        else:
            answer = as_json(accepted, status)
        answer.headers["Vary"] = "Accept"
        # Apache takes a 200 with a Location for the request to send that in its place.
        header = "Location" if status == HTTPStatus.CREATED else "Content-Location"
        answer.headers[header] = f"/image/{upload_name(accepted.ident)}"
        # Werkzeug would make it a URL with the Host that the client named.
        answer.autocorrect_location_header = False
        return answer


def as_json(accepted: Accepted, status: int) -> Response:
    """Answer with what is kept, as services of old did."""
    sizes = [[size.width, size.height] for size in accepted.sizes]
    content = {"ident": accepted.ident, "sizes": sizes}
    if accepted.document is not None:
        content["format"] = accepted.document
    told = {"status": "ok", "content": content}
    headers = {"Cache-Control": "no-store"}
    return Response(json.dumps(told) + "\n", status, headers, mimetype="application/json")


def add_uploads(
    web: Flask, uploads: Uploads, permission: Permission, bounds: UploadBounds, pages: UploadPages
) -> None:
    """Answer `/upload`, and what changes uploads under `/image/`."""
    views = _Views(uploads, permission, bounds, pages)

    def add(rule: str, endpoint: str, view: Callable[..., Response], methods: list[str]) -> None:
        answer = partial(_answered, view, pages)
        web.add_url_rule(rule, endpoint, answer, methods=methods, provide_automatic_options=False)

    add(UPLOAD_PATH, "upload", views.upload, METHODS)
    add("/image/<name:name>", "change", views.change, ["POST", "DELETE"])


def _answered(view: Callable[..., Response], pages: UploadPages, **named: str) -> Response:
    try:
        with told_in_words():
            return view(**named)
    except Exception as error:  # noqa: BLE001 - a client is told in the form that it can read
        return pages.failed(error)


class _Views:
    """Answers one request each."""

    def __init__(
        self, uploads: Uploads, permission: Permission, bounds: UploadBounds, pages: UploadPages
    ) -> None:
        self._uploads = uploads
        self._permission = permission
        self._bounds = bounds
        self._pages = pages

    def upload(self) -> Response:
        """Take a picture; or show the page."""
        if request.method in {"GET", "HEAD"}:
            return self._pages.page()
        if request.method != "POST":
            raise MethodNotAllowed(allowed=("GET", "HEAD", "POST"))
        g.entry[OUTCOME] = "refused"
        length = body_length(request.environ)
        by = g.entry["by"] = self._permission.require(request, "upload", length)
        max_bytes = self._bounds.settings.max_bytes
        self._uploads.require_room(min(length, max_bytes))
        form = read_form(
            request.environ,
            new_file=self._uploads.new_file,
            max_bytes=max_bytes,
            require_room=self._uploads.require_room,
        )
        file = form.file
        if file is None:
            raise BadQuery(["the form must have a file as image"])
        try:
            sizes = self._bounds.read_sizes(form.sizes)
        except BadQuery:
            file.path.unlink(missing_ok=True)
            raise
        accepted = self._uploads.accept(file.path, file.sha256, sizes, by)
        g.entry[OUTCOME] = "new" if accepted.is_new else "known"
        g.entry["ident"] = accepted.ident
        return self._pages.accepted(accepted, 201 if accepted.is_new else 200)

    def change(self, name: str) -> Response:
        """Add sizes to an upload, or remove it."""
        ident = ident_of(name)
        if request.method == "DELETE":
            g.entry["by"] = self._permission.require(request, "delete", 0)
            if ident is None:
                raise NoSuchUpload
            self._uploads.remove(ident)
            g.entry["removed"] = ident
            answer = Response(status=204, headers={"Cache-Control": "no-store"})
            del answer.headers["Content-Type"]
            return answer
        length = body_length(request.environ) if _has_body() else 0
        g.entry["by"] = self._permission.require(request, "sizes", length)
        if ident is None:
            raise NoSuchUpload
        form = read_form(request.environ) if length else None
        sizes = self._bounds.read_sizes(form.sizes if form is not None else None)
        if not sizes:
            raise BadQuery(["sizes: must be given, such as sizes=100x50,150x<60"])
        accepted = self._uploads.add_sizes(ident, sizes)
        g.entry["ident"] = ident
        return self._pages.accepted(accepted, 200)


def _has_body() -> bool:
    """Whether the request has a body, however long (RFC 9112, 6.3)."""
    return bool(
        request.environ.get("CONTENT_LENGTH") or "HTTP_TRANSFER_ENCODING" in request.environ
    )
