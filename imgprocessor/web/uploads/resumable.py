"""Uploads in pieces over HTTP, by tus 1.0.0: a line that breaks costs what was under way."""

import binascii
import re
from base64 import b64decode
from collections.abc import Callable, Sequence
from email.utils import formatdate
from functools import partial
from pathlib import Path

from flask import Flask, g, request
from werkzeug.wrappers import Response

from imgprocessor.errors import (
    BadQuery,
    ImageError,
    MethodNotAllowed,
    NoSuchUpload,
    TooLarge,
    UnsupportedUpload,
    WrongTusVersion,
)
from imgprocessor.request.sizes import KeptSize
from imgprocessor.service.uploads import Uploads
from imgprocessor.storage.uploads.durable import told_in_words
from imgprocessor.storage.uploads.resumable.pieces import Outcome, PieceByPiece, UnfinishedUploads
from imgprocessor.web.problems import METHODS
from imgprocessor.web.uploads.form import body_length, body_parts
from imgprocessor.web.uploads.permission import Permission
from imgprocessor.web.uploads.routes import (
    OUTCOME,
    UploadBounds,
    UploadPages,
    as_json,
)

RESUMABLE_PATH = "/upload/resumable/"

_VERSION = "1.0.0"
_ALWAYS = {"Tus-Resumable": _VERSION, "Cache-Control": "no-store"}

_OF_ONE = ("HEAD", "PATCH", "DELETE", "GET")

_READ_BYTES = 4096
"""mod_wsgi loses the read in hand where a line breaks: so much of a piece at most."""

_NUMBER = "[0-9]{1,18}"
_MAX_METADATA_CHARACTERS = 8000
_KEY = re.compile("[!-+.-~-]+")

_LASTING = {BadQuery.status, UnsupportedUpload.status, 422}
"""What a trial of the same bytes would end in again, unless the failure says otherwise."""


def add_resumable(
    web: Flask,
    uploads: Uploads,
    unfinished: UnfinishedUploads,
    *,
    permission: Permission,
    bounds: UploadBounds,
    pages: UploadPages,
) -> None:
    """Answer `/upload/resumable/`: core, creation, expiration and termination of tus 1.0.0."""
    views = _Views(uploads, unfinished, permission, bounds)
    told = {
        "Tus-Version": _VERSION,
        "Tus-Extension": "creation,expiration,termination",
        "Tus-Max-Size": str(bounds.settings.max_bytes),
    }

    def answered(view: Callable[..., Response], methods: Sequence[str], **named: str) -> Response:
        if request.method == "OPTIONS":
            return Response(status=204, headers={**told, **_ALWAYS})
        try:
            _require_method(methods)
            with told_in_words():
                answer = view(**named)
        except Exception as error:  # noqa: BLE001 - a client is told in the form that it can read
            answer = pages.failed(error)
        if answer.status_code in {WrongTusVersion.status, TooLarge.status}:
            answer.headers.update(told)
        answer.headers.update(_ALWAYS)
        return answer

    def add(rule: str, endpoint: str, view: Callable[..., Response], *methods: str) -> None:
        web.add_url_rule(
            rule,
            endpoint,
            partial(answered, view, methods),
            methods=METHODS,
            provide_automatic_options=False,
            strict_slashes=False,
        )

    add(RESUMABLE_PATH, "resumable", views.begin, "POST")
    add(f"{RESUMABLE_PATH}<upload>", "piece", views.one, *_OF_ONE)


class _Views:
    """Answers one request each."""

    def __init__(
        self,
        uploads: Uploads,
        unfinished: UnfinishedUploads,
        permission: Permission,
        bounds: UploadBounds,
    ) -> None:
        self._uploads = uploads
        self._unfinished = unfinished
        self._permission = permission
        self._bounds = bounds

    def begin(self) -> Response:
        """Begin an upload. All its bytes count for the token now, and pieces no more."""
        max_bytes = self._bounds.settings.max_bytes
        said = request.headers.get("Upload-Length", "")
        length = int(said) if re.fullmatch(_NUMBER, said) else 0
        counted = length if length <= max_bytes else 0
        by = self._permission.require(request, "upload", counted)
        _require_version()
        for header in ("Upload-Defer-Length", "Upload-Concat"):
            if header in request.headers:
                raise BadQuery([f"the header {header} is not understood here"])
        if not re.fullmatch(_NUMBER, said):
            raise BadQuery(["the header Upload-Length must be the file's number of bytes"])
        if _body_length():
            raise BadQuery(["the body must be empty: bytes are sent by PATCH"])
        if length == 0:
            raise UnsupportedUpload("The file is empty.")
        if length > max_bytes:
            raise TooLarge(max_bytes)
        metadata = request.headers.get("Upload-Metadata", "")
        self._sizes(metadata)
        self._uploads.require_room(length)
        upload = self._unfinished.begin(length, metadata, by)
        answer = _standing(self._unfinished.find(upload), 201)
        answer.headers["Location"] = f"{RESUMABLE_PATH}{upload}"
        # Werkzeug would make it a URL with the Host that the client named.
        answer.autocorrect_location_header = False
        return answer

    def one(self, upload: str) -> Response:
        """Say how an upload stands, go on with it, end it, or tell what became of it."""
        by = self._permission.require(request, "upload", 0)
        if request.method != "GET":  # which is none of tus's
            _require_version()
        found = self._unfinished.find(upload)
        if found.by != by:
            raise NoSuchUpload(f"begun by {found.by}, asked for by {by}")
        if request.method == "DELETE":
            self._unfinished.end(upload)
            return Response(status=204)
        if request.method == "PATCH":
            self._take_piece(upload)
            found = self._unfinished.find(upload)
        if found.offset_bytes == found.length_bytes:
            # Here, too, where the process died that had taken the last byte.
            ident = self._settled(upload, found)
            if request.method == "GET":
                return as_json(self._uploads.found(ident), 200)
        elif request.method == "GET":
            raise NoSuchUpload("not finished yet")
        return _standing(found, 204 if request.method == "PATCH" else 200)

    def _take_piece(self, upload: str) -> None:
        if request.mimetype != "application/offset+octet-stream":
            raise UnsupportedUpload(
                "The header must be Content-Type: application/offset+octet-stream."
            )
        offset = request.headers.get("Upload-Offset", "")
        if not re.fullmatch(_NUMBER, offset):
            raise BadQuery(["the header Upload-Offset must say where the piece begins"])
        length = _body_length()
        parts = body_parts(request.environ, length, _READ_BYTES)
        self._unfinished.write(upload, int(offset), length, parts)

    def _settled(self, upload: str, found: PieceByPiece) -> str:
        """Have a whole upload accepted, once; return its ident.

        Raises:
            ImageError: the failure that it ended in, or that this trial ended in.
        """
        outcome = found.outcome
        if outcome is None:
            accept = partial(self._accept, self._sizes(found.metadata), found.by)
            outcome = self._unfinished.finish(upload, self._uploads.new_file, accept)
        if "ident" not in outcome:
            known: type[ImageError] = type("Known", (ImageError,), outcome)
            raise known
        g.entry["ident"] = outcome["ident"]
        return str(outcome["ident"])

    def _accept(self, sizes: tuple[KeptSize, ...], by: str, file: Path, sha256: str) -> Outcome:
        g.entry[OUTCOME] = "refused"
        try:
            accepted = self._uploads.accept(file, sha256, sizes, by)
        except ImageError as error:
            if error.status not in _LASTING or not error.is_lasting:
                raise
            return {"code": error.code, "status": error.status, "public": error.public}
        g.entry[OUTCOME] = "new" if accepted.is_new else "known"
        return {"ident": accepted.ident}

    def _sizes(self, metadata: str) -> tuple[KeptSize, ...]:
        return self._bounds.read_sizes(_read_metadata(metadata).get("sizes"))


def _require_method(methods: Sequence[str]) -> None:
    if request.method not in methods:
        raise MethodNotAllowed(allowed=[*methods, "OPTIONS"])


def _body_length() -> int:
    environ = request.environ
    if environ.get("CONTENT_LENGTH") or "HTTP_TRANSFER_ENCODING" in environ:
        return body_length(environ)
    return 0  # RFC 9112, 6.3


def _require_version() -> None:
    if request.headers.get("Tus-Resumable") != _VERSION:
        raise WrongTusVersion


def _standing(found: PieceByPiece, status: int) -> Response:
    """Answer with how far an upload has come."""
    headers = {"Upload-Offset": str(found.offset_bytes)}
    if found.outcome is None:
        headers["Upload-Expires"] = formatdate(found.expires_seconds, usegmt=True)
    if request.method == "HEAD":
        headers["Upload-Length"] = str(found.length_bytes)
        if found.metadata:
            headers["Upload-Metadata"] = found.metadata
    return Response(status=status, headers=headers)


def _read_metadata(text: str) -> dict[str, str]:
    """Read keys and values, as tus writes them: `sizes MTAweDUw,filename dG9tLmpwZw==`.

    Raises:
        BadQuery: it is something else.
    """
    wrong = BadQuery(["the header Upload-Metadata must be keys, each with a value in base64"])
    if len(text) > _MAX_METADATA_CHARACTERS:
        raise wrong
    read: dict[str, str] = {}
    for pair in text.split(",") if text.strip() else []:
        key, _, value = pair.strip().partition(" ")
        if not _KEY.fullmatch(key) or key in read:
            raise wrong
        try:
            # Names of files may be anything; what sizes make no sense is refused by itself.
            read[key] = b64decode(value, validate=True).decode(errors="replace")
        except (binascii.Error, ValueError) as error:
            raise wrong from error
    return read
