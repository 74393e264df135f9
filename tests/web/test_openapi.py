"""The interface as docs/openapi.yaml has it, asked of the whole application in this process."""

import hashlib
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from wsgiref.types import StartResponse, WSGIEnvironment

import images
import pytest
import schemathesis
from conftest import EXAMPLES, ROOT
from failures import EVERY_ERROR, OF_PICTURES, an_error
from flask import Flask
from hypothesis import HealthCheck, event, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from origins import Wires, origin, public
from origins import answer as reply
from schemathesis.checks import CheckFunction, load_all_checks, not_a_server_error
from schemathesis.core.transport import Response
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks

from imgprocessor.app import make_web
from imgprocessor.config.jobs_settings import JobsSettings
from imgprocessor.config.settings import LogSettings, Settings, SigningSettings
from imgprocessor.config.upload_settings import UploadsSettings
from imgprocessor.config.upload_tokens import UPLOAD_RIGHTS, UploadToken, describe_token, token_hash
from imgprocessor.errors import (
    BadQuery,
    BrokenOriginal,
    Busy,
    DeadlyOriginal,
    ImageError,
    Internal,
    JobsUnavailable,
    MethodNotAllowed,
    NoRoom,
    NoSuchUpload,
    NotAllGone,
    NotYetGone,
    OriginalsUnavailable,
    Overloaded,
    OversizedOriginal,
    PageBeingMade,
    TooManyRequests,
    UnsupportedUpload,
    UploadsUnavailable,
)
from imgprocessor.jobs.conversions import Conversions
from imgprocessor.load import DEFAULT_CONF, Overrides, load_settings
from imgprocessor.originals.http.fetch import Fetcher
from imgprocessor.request import names, parameters
from imgprocessor.request.hints import HINT_HEADERS
from imgprocessor.request.signing import (
    EXPIRES,
    EXPIRES_PATTERN,
    SIGNATURE,
    SIGNATURE_PATTERN,
    sign,
)
from imgprocessor.service.uploads import Uploads
from imgprocessor.storage.uploads.allowance import Allowance
from imgprocessor.storage.uploads.resumable.unfinished import Unfinished
from imgprocessor.web.incoming import ASKED
from imgprocessor.web.metrics import METRICS_PATH
from imgprocessor.web.pictures.plain import PlainGets
from imgprocessor.web.uploads.permission import Permission

load_all_checks()
schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")
Case = schemathesis.Case[Any]

RUNNING: list[Flask] = []
"""The application, last of all: operations know theirs before there is any."""


SENT: dict[str, str] = {}
"""Headers that are sent whatever a case has, as WSGI calls them."""


def _running(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    body = RUNNING[-1](environ | SENT, start_response)
    try:
        return [*body]
    finally:
        getattr(body, "close", lambda: None)()  # schemathesis leaves files open


SCHEMA = schemathesis.openapi.from_path(ROOT / "docs" / "openapi.yaml")
SCHEMA.app = _running
DOCUMENT: dict[str, Any] = SCHEMA.raw_schema

TOKEN = "a-token-of-sixteen"  # noqa: S105 - guards nothing
KEY = "a-key-of-no-less-than-thirty-two-characters"
IDLE = "a-token-used-up"
MAX_BYTES = 10_000
MUCH = 10**12
UPLOADERS = [
    UploadToken("editors", token_hash(TOKEN), frozenset(UPLOAD_RIGHTS), MUCH, MUCH),
    UploadToken("idle", token_hash(IDLE), frozenset(UPLOAD_RIGHTS), MUCH, 1),
]
"""Of uploads: one that may all, and one that may be used once an hour."""

OF_BODIES: list[CheckFunction] = [
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
CONFORMANCE: list[CheckFunction] = [
    checks.status_code_conformance,
    checks.response_headers_conformance,
    *OF_BODIES,
]

OF_THE_BODY = {"content-type", "content-length"}
"""Not described as headers (OpenAPI 3.1, 4.8.16.1), but where a HEAD has them, too."""

ONLY_RENDERING_TELLS = OF_THE_BODY | {"content-dpr", "image-decision"}
ITS_OWN = {"server-timing"}
UNPROCESSABLE = HTTPStatus.UNPROCESSABLE_ENTITY
BY_PROXY = {"Via", "Forwarded", "X-Forwarded-For"}
CHANGES = [
    (path, method.upper())
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    if "401" in operation["responses"] and path != "/images/-/purge"
]
"""What needs a token of uploads."""

PICTURE = images.encoded(images.texture((20, 10)), "JPEG")
BROKEN = PICTURE[:3] + b"broken"
IDENT = hashlib.sha256(PICTURE).hexdigest()[:32]
TUS = {"Tus-Resumable": "1.0.0"}
WHOLE = len(PICTURE)
SECURE = {
    "Content-Security-Policy",
    "Cross-Origin-Resource-Policy",
    "Referrer-Policy",
    "X-Content-Type-Options",
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Small originals, a token for purges, and some for uploads."""
    folder: Path = tmp_path_factory.mktemp("openapi")
    images.save(folder / "originals" / "nasa.jpeg", images.texture((60, 40)), "JPEG")
    clear = images.four_colours((30, 20)).convert("RGBA")
    images.save(folder / "originals" / "a b" / "c.png", clear, "PNG")
    (folder / "originals" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0broken")
    (folder / "token").write_text(TOKEN)
    (folder / "token").chmod(0o600)
    (folder / "uploaders").write_text("\n".join(map(describe_token, UPLOADERS)))
    (folder / "uploaders").chmod(0o600)
    delivered = load_settings(DEFAULT_CONF, Overrides(originals=folder / "originals"))
    return replace(
        delivered,
        log=LogSettings(folder / "requests.log"),
        disk_cache=replace(delivered.disk_cache, folder=folder / "cache"),
        purge=replace(delivered.purge, token_file=folder / "token"),
        # Two answers are compared: no better one may take the first one's place between them.
        rendering=replace(delivered.rendering, best_behind=False),
        uploads=UploadsSettings(
            enabled=True,
            folder=folder / "uploads",
            tokens_file=folder / "uploaders",
            max_bytes=MAX_BYTES,
            max_unfinished=10**6,
            min_free_bytes=0,
        ),
        jobs=JobsSettings(enabled=True, max_pending=10**6),
    )


@pytest.fixture(scope="module")
def web(small: Settings) -> Iterator[Flask]:
    """The application."""
    web = make_web(small)
    RUNNING.append(web)
    yield web
    RUNNING.clear()
    SENT.clear()


@pytest.fixture
def signed_web(small: Settings, tmp_path: Path) -> Iterator[Flask]:
    """One where links must be signed."""
    keys = tmp_path / "keys"
    keys.write_text(KEY)
    keys.chmod(0o600)
    web = make_web(replace(small, signing=SigningSettings(keys)))
    RUNNING.append(web)
    yield web
    RUNNING.pop()


def _cases(path: str, method: str) -> st.SearchStrategy[Case]:
    """What the document allows, and, where there is anything to be wrong, what it does not."""
    operation = SCHEMA[path][method]
    right = operation.as_strategy(GenerationMode.POSITIVE)
    if "parameters" not in DOCUMENT["paths"][path][method.lower()]:
        return right
    return right | operation.as_strategy(GenerationMode.NEGATIVE)


@st.composite
def _pictures(draw: st.DrawFn) -> Case:
    """Mostly of an original that is there, and small, or nothing but large 404s would be made."""
    case = draw(_cases("/images/", "GET"))
    case.query = {**(case.query or {})}
    case.headers["Accept"] = draw(
        st.sampled_from(["*/*", "image/avif,image/webp,*/*", "image/webp", "application/json", "x"])
    )
    if draw(st.integers(0, 9)):
        case.query["name"] = draw(st.sampled_from(["nasa.jpeg", "a b/c.png", "broken.jpg", "none"]))
        if draw(st.integers(0, 19)):
            case.query.pop("url", None)  # both are a 400
    for side in ("width", "height"):
        if isinstance(case.query.get(side), int) and draw(st.integers(0, 19)):
            case.query[side] = draw(st.integers(0, 99))
    return case


def _documented(case: Case, status: int) -> set[str]:
    """Return the names of the headers that an answer may have."""
    answer = DOCUMENT["paths"][case.path][case.method.lower()]["responses"][str(status)]
    if "$ref" in answer:
        answer = DOCUMENT["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    return {name.lower() for name in answer.get("headers", {})} | OF_THE_BODY


def _checked(case: Case, conformance: list[CheckFunction]) -> tuple[Response, dict[str, str]]:
    """Ask, check the answer against the document; return it with its headers."""
    answer = case.call()
    # A HEAD has no body, and may have no type.
    applying = [check for check in conformance if case.method != "HEAD" or check not in OF_BODIES]
    case.validate_response(answer, checks=applying)
    headers = {name.lower(): ", ".join(values) for name, values in answer.headers.items()}
    assert headers.keys() <= _documented(case, answer.status_code)
    return answer, headers


def _asked(case: Case) -> tuple[Response, dict[str, str]]:
    """Ask and check where nothing may be this server's fault."""
    answer, headers = _checked(case, [not_a_server_error, *CONFORMANCE])
    event(f"{case.method} {case.path} {answer.status_code}")
    return answer, headers


bounded = hypothesis_settings(deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.slow
@pytest.mark.usefixtures("web")
@hypothesis_settings(bounded, max_examples=EXAMPLES)
@given(_pictures())
def test_pictures_are_as_documented(case: Case) -> None:
    """A HEAD says the same as a GET, and an ETag is good for a 304."""
    got, headers = _asked(case)
    case.method, case.operation = "HEAD", SCHEMA["/images/"]["HEAD"]
    head, heads = _asked(case)

    assert head.content == b""
    if got.status_code != UNPROCESSABLE:  # which no HEAD can know, because it reads no pixels
        assert head.status_code == got.status_code
        for name in (headers.keys() | heads.keys()) - ITS_OWN:
            if name not in ONLY_RENDERING_TELLS:
                assert heads.get(name) == headers.get(name), name
    if "etag" in headers:
        again = case.call(headers={"If-None-Match": headers["etag"]})
        assert again.status_code == HTTPStatus.NOT_MODIFIED
        assert again.headers["etag"] == [headers["etag"]]
        other = case.call(headers={"If-None-Match": '"other"'})
        assert other.status_code == HTTPStatus.OK


PROOFS = ["for ever", "for a while", "expired", "wrong", "absent"]


def _prove(case: Case, how: str) -> bool:
    """Sign a link, or do as if; return whether it is good. One that makes no sense never is."""
    plain = {name: value for name, value in case.query.items() if name not in {SIGNATURE, EXPIRES}}
    case.query = plain
    expires = {"for a while": int(time.time()) + 100, "expired": 1}.get(how)
    try:
        signed = sign(urlencode(plain, doseq=True), KEY if how != "wrong" else KEY[::-1], expires)
    except BadQuery:
        return False
    if how != "absent":
        case.query = plain | {SIGNATURE: signed.rpartition(f"{SIGNATURE}=")[2]}
    if expires is not None:
        case.query[EXPIRES] = expires
    return how in {"for ever", "for a while"}


@pytest.mark.usefixtures("web", "signed_web")
@hypothesis_settings(bounded, max_examples=EXAMPLES // 4)
@given(_pictures(), st.sampled_from(PROOFS))
def test_signed_pictures_are_as_documented(case: Case, how: str) -> None:
    is_good = _prove(case, how)
    got, headers = _asked(case)
    case.method, case.operation = "HEAD", SCHEMA["/images/"]["HEAD"]
    head, _ = _asked(case)

    if got.status_code != UNPROCESSABLE:
        assert head.status_code == got.status_code
    if got.status_code != HTTPStatus.BAD_REQUEST:
        assert (got.status_code == HTTPStatus.FORBIDDEN) == (not is_good)
        assert (headers.get("image-error") == "bad-signature") == (not is_good)


@pytest.mark.usefixtures("web")
@hypothesis_settings(bounded, max_examples=EXAMPLES // 4)
@given(_cases("/images/-/purge", "POST"), st.sampled_from([TOKEN, TOKEN, TOKEN, "wrong", ""]))
def test_purges_are_as_documented(case: Case, token: str) -> None:
    SENT["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    answer, _ = _asked(case)

    assert (answer.status_code == HTTPStatus.UNAUTHORIZED) == (token != TOKEN)


def _begun(arrived: bytes = b"", length: int = WHOLE) -> str:
    """Begin an upload in pieces; return its id."""
    headers = {**TUS, "Upload-Length": str(length)}
    answer, known = _checked(
        SCHEMA["/upload/resumable/"]["POST"].Case(headers=headers), CONFORMANCE
    )
    assert answer.status_code == HTTPStatus.CREATED
    upload = known["location"].rpartition("/")[2]
    if arrived:
        _checked(_change("/upload/resumable/{id}", "PATCH", upload, arrived), CONFORMANCE)
    return upload


def _job() -> str:
    """Begin a job; return its id."""
    _, known = _checked(_change("/convert", "POST"), CONFORMANCE)
    return known["location"].rpartition("/")[2]


def _change(path: str, method: str, upload: str = "", body: bytes = PICTURE) -> Case:
    """Return a right request; for an upload in pieces, if there is one, else for a new one."""
    known: dict[str, Any] = {"headers": {}}
    if "{ident}" in path:
        known["path_parameters"] = {"ident": IDENT}
    if "{id}" in path:
        known["path_parameters"] = {"id": upload or _begun()}
    if "{job}" in path:
        known["path_parameters"] = {"job": _job()}
    if "/resumable/" in path:
        known["headers"] = dict(TUS)
    if method == "PATCH":
        known["headers"]["Upload-Offset"] = "0"
        known |= {"body": body, "media_type": "application/offset+octet-stream"}
    elif path == "/upload/resumable/":
        known["headers"]["Upload-Length"] = str(WHOLE)
    elif path == "/convert":
        known |= {"body": {"file": body}, "media_type": "multipart/form-data"}
    elif path == "/upload":
        known |= {"body": {"image": body, "sizes": "8x8"}, "media_type": "multipart/form-data"}
    elif method == "POST":
        known |= {"body": {"sizes": "8x8"}, "media_type": "application/x-www-form-urlencoded"}
    return SCHEMA[path][method].Case(**known)


@st.composite
def _changes(draw: st.DrawFn) -> Case:
    """Mostly of what is there, or hardly anything but a 403 or 404 would come."""
    path, method = draw(st.sampled_from(CHANGES))
    case = draw(_cases(path, method))
    case.headers["Accept"] = draw(st.sampled_from(["*/*", "application/json", "text/html"]))
    if draw(st.integers(0, 9)):
        case.headers.pop("Origin", None)
        case.headers.pop("Sec-Fetch-Site", None)
    if isinstance(case.body, dict):
        if "sizes" in case.body:
            case.body["sizes"] = draw(
                st.sampled_from(["8x8", "8x8,9x<7", "9x0", "0x0", "9999x1"]) | st.text()
            )
        for name in ("image", "file"):
            if name in case.body:
                body: Any = draw(st.sampled_from([PICTURE, BROKEN, b""]) | st.binary())
                case.body[name] = body
    elif method == "PATCH" and draw(st.booleans()):
        case.body = draw(st.sampled_from([PICTURE, BROKEN]))
        case.headers["Upload-Offset"] = "0"
    return case


@pytest.mark.slow
@pytest.mark.usefixtures("web")
@hypothesis_settings(bounded, max_examples=EXAMPLES)
@given(_changes(), st.sampled_from([TOKEN] * 7 + [IDLE, "wrong", ""]), st.integers(0, 9))
def test_uploads_are_as_documented(case: Case, token: str, chance: int) -> None:
    SENT["HTTP_AUTHORIZATION"] = f"Bearer {TOKEN}"
    if chance and "{id}" in case.path:
        length = len(case.body) if isinstance(case.body, bytes) else 0
        case.path_parameters = {"id": _begun(length=min(length, MAX_BYTES) or WHOLE)}
    if chance and "{ident}" in case.path:
        _checked(_change("/upload", "POST"), CONFORMANCE)
        case.path_parameters = {"ident": IDENT}
    SENT["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    answer, headers = _asked(case)

    assert "imagekey" not in headers  # failures come in words
    if headers.get("content-type") == "application/problem+json" and answer.content:
        told = answer.json()
        assert (told["status"], told["code"]) == (answer.status_code, headers["image-error"])


Change = Callable[[Case], object]
Operations = Sequence[tuple[str, str]]


def _saying(**headers: str) -> Change:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda case: case.headers.update(named)


def _sending(body: Any, media_type: str = "") -> Change:
    def change(case: Case) -> None:
        case.body, case.media_type = body, media_type or case.media_type

    return change


def _of_another(case: Case) -> None:
    case.path_parameters = dict.fromkeys(case.path_parameters, "0" * 32)


def _of_an_ended_one(case: Case) -> None:
    upload = _begun()
    _checked(_change(ONE, "DELETE", upload), CONFORMANCE)
    case.path_parameters = {"id": upload}


def _of_a_cancelled_one(case: Case) -> None:
    case.call()  # be it over or not


def _of_a_piece_later(case: Case) -> None:
    case.body, case.headers["Upload-Offset"] = PICTURE[1:], "1"


def _of_a_broken_one(case: Case) -> None:
    whole = _change(ONE, "PATCH", case.path_parameters["id"])
    whole.body = (BROKEN + PICTURE)[:WHOLE]
    _checked(whole, CONFORMANCE)
    case.body, case.headers["Upload-Offset"] = b"", str(WHOLE)


FORM, SIZES, BEGIN = "/upload", "/image/{ident}.jpg", "/upload/resumable/"
ONE = "/upload/resumable/{id}"
CONVERT, JOB = "/convert", "/convert/{job}"
WITH_BODIES = [(CONVERT, "POST"), (FORM, "POST"), (SIZES, "POST"), (BEGIN, "POST"), (ONE, "PATCH")]
OF_TUS = [(path, method) for path, method in CHANGES if path in {BEGIN, ONE} and method != "GET"]
OF_ONE = [(path, method) for path, method in CHANGES if path == ONE]
ENDS = [(FORM, "POST"), (ONE, "PATCH"), (ONE, "HEAD"), (ONE, "GET")]
"""What may have a picture checked, or tells what came of it."""

WRONG: list[tuple[Operations, str, Change]] = [
    (CHANGES, "bad-query", _saying(Host=".")),
    (CHANGES, "not-authorized", _saying(Authorization="Bearer unknown")),
    (CHANGES, "forbidden", _saying(Origin="http://evil.example")),
    (CHANGES, "too-many-requests", _saying(Authorization=f"Bearer {IDLE}")),
    (WITH_BODIES, "length-required", _saying(Transfer_Encoding="chunked")),
    (OF_TUS, "wrong-tus-version", _saying(Tus_Resumable="0.2.2")),
    (OF_ONE, "no-such-upload", _of_another),
    (OF_ONE, "upload-over", _of_an_ended_one),
    ([(FORM, "POST")], "bad-query", _sending({"image": PICTURE, "sizes": "0x0"})),
    ([(FORM, "POST")], "too-large", _sending({"image": b"x" * (MAX_BYTES + 1)})),
    ([(FORM, "POST")], "unsupported-upload", _sending({"image": b"text"})),
    ([(FORM, "POST")], "broken-original", _sending({"image": BROKEN})),
    ([(SIZES, "POST")], "bad-query", _sending({"sizes": "0x0"})),
    ([(SIZES, "POST")], "too-large", _sending({"sizes": "1" * 70_000})),
    ([(SIZES, "POST")], "unsupported-upload", _sending("8x8", "text/plain")),
    ([(SIZES, "POST"), (SIZES, "DELETE")], "no-such-upload", _of_another),
    ([(CONVERT, "POST")], "bad-query", _sending({"file": PICTURE, "width": "x"})),
    ([(CONVERT, "POST")], "too-large", _sending({"file": b"x" * (MAX_BYTES + 1)})),
    ([(CONVERT, "POST")], "unsupported-upload", _sending("8x8", "text/plain")),
    ([(JOB, "DELETE")], "no-such-job", _of_another),
    ([(JOB, "DELETE")], "job-over", _of_a_cancelled_one),
    ([(BEGIN, "POST")], "bad-query", _saying(Upload_Length="x")),
    ([(BEGIN, "POST")], "too-large", _saying(Upload_Length=str(MAX_BYTES + 1))),
    ([(BEGIN, "POST")], "unsupported-upload", _saying(Upload_Length="0")),
    ([(ONE, "PATCH")], "bad-query", _saying(Upload_Offset="x")),
    ([(ONE, "PATCH")], "wrong-offset", _of_a_piece_later),
    ([(ONE, "PATCH")], "broken-original", _of_a_broken_one),
]
"""What clients may do wrong."""

UNMADE = (OversizedOriginal, BrokenOriginal, DeadlyOriginal, OriginalsUnavailable)
UNCHECKED = (BadQuery, UnsupportedUpload, NoSuchUpload, *UNMADE, Busy, Overloaded)
NOT_KEPT = (UploadsUnavailable, NoRoom)

CIRCUMSTANCES: list[tuple[Operations, type, str, Sequence[type[Exception]]]] = [
    (CHANGES, Permission, "require", [ZeroDivisionError]),
    (CHANGES, Allowance, "take", [OSError, NoRoom]),
    (ENDS, Uploads, "accept", [*UNCHECKED, *NOT_KEPT]),
    ([(SIZES, "POST")], Uploads, "add_sizes", [*UNMADE, *NOT_KEPT]),
    ([(SIZES, "DELETE")], Uploads, "remove", [NotYetGone, NotAllGone, UploadsUnavailable]),
    ([(CONVERT, "POST")], Conversions, "begin", [JobsUnavailable, *NOT_KEPT]),
    ([(JOB, "DELETE")], Conversions, "cancel", [JobsUnavailable, UploadsUnavailable]),
    ([(BEGIN, "POST")], Unfinished, "begin", [UploadsUnavailable, NoRoom]),
    ([(ONE, "DELETE")], Unfinished, "end", [UploadsUnavailable, Busy]),
]
"""What no client is to blame for, or not alone: where it comes up, and the failures."""


def _code(error: type[Exception], attribute: str) -> str:
    if issubclass(error, ImageError):
        return error.code
    return UploadsUnavailable.code if attribute == "take" else Internal.code


def _failing(case: Case, code: str) -> None:
    """Ask for a failure as programs and as browsers do; check that it is as documented."""
    for accept in ("*/*", "text/html"):
        case.headers["Accept"] = accept
        _, headers = _checked(case, CONFORMANCE)
        assert headers["image-error"] == code
        is_passing = code in {error.code for error in EVERY_ERROR if error.is_passing}
        assert ("retry-after" in headers) == (is_passing or code == TooManyRequests.code)


@pytest.mark.usefixtures("web")
@pytest.mark.parametrize(
    ("path", "method", "code", "change"),
    [(*one, code, change) for operations, code, change in WRONG for one in operations],
)
def test_what_clients_do_wrong_with_uploads_is_as_documented(
    path: str, method: str, code: str, change: Change
) -> None:
    SENT["HTTP_AUTHORIZATION"] = f"Bearer {TOKEN}"
    _checked(_change(FORM, "POST"), CONFORMANCE)
    case = _change(path, method)
    change(case)
    if "Authorization" in case.headers:
        SENT["HTTP_AUTHORIZATION"] = case.headers.pop("Authorization")
    if code == TooManyRequests.code:
        case.call()

    _failing(case, code)


@pytest.mark.usefixtures("web")
@pytest.mark.parametrize(
    ("path", "method", "part", "attribute", "error"),
    [
        (*one, part, attribute, error)
        for operations, part, attribute, errors in CIRCUMSTANCES
        for error in errors
        for one in operations
    ],
)
def test_what_fails_of_uploads_is_as_documented(
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    method: str,
    part: type,
    attribute: str,
    error: type[Exception],
) -> None:
    SENT["HTTP_AUTHORIZATION"] = f"Bearer {TOKEN}"
    case = _change(path, method)
    raised: list[Exception] = [Busy()]

    def fail(*_: object, **__: object) -> None:
        raise raised[-1]

    if attribute == "accept" and method != "POST":  # one that is whole, and not checked yet
        with monkeypatch.context() as patch:
            patch.setattr(part, attribute, fail)
            _checked(_change(path, "PATCH", case.path_parameters["id"]), CONFORMANCE)
        if method == "PATCH":
            case.body, case.headers["Upload-Offset"] = b"", str(WHOLE)
    monkeypatch.setattr(part, attribute, fail)
    raised.append(an_error(error) if issubclass(error, ImageError) else error())

    _failing(case, _code(error, attribute))


def test_of_uploads_what_can_fail_is_documented_and_nothing_else() -> None:
    wrong = {(*one, code) for operations, code, _ in WRONG for one in operations}
    failing = {
        (*one, _code(error, attribute))
        for operations, _, attribute, errors in CIRCUMSTANCES
        for error in errors
        for one in operations
    }

    assert _documented_codes() == wrong | failing


def _documented_codes() -> set[tuple[str, str, str]]:
    statuses = {error.code: str(error.status) for error in EVERY_ERROR}
    found = set()
    for path, method in CHANGES:
        for status, answer in DOCUMENT["paths"][path][method.lower()]["responses"].items():
            name = answer.get("$ref", "").rpartition("/")[2]
            if name == "refused":  # of pictures: where Host names no host
                found.add((path, method, BadQuery.code))
            elif name:
                known = DOCUMENT["components"]["responses"][name]["headers"]["image-error"][
                    "schema"
                ]
                codes = known["enum"] if "enum" in known else [known["const"]]
                assert {statuses[code] for code in codes} == {status}
                found |= {(path, method, code) for code in codes}
    return found


def _full(name: str, **query: str) -> Case:
    return SCHEMA["/full/{name}"]["GET"].Case(path_parameters={"name": name}, query=query)


OTHERS = [
    (path, method.upper())
    for path, methods in DOCUMENT["paths"].items()
    for method in methods
    if (path, method)
    not in {("/images/", "get"), ("/images/", "head"), ("/images/-/purge", "post")}
    and (path, method.upper()) not in CHANGES
]


@pytest.mark.usefixtures("web")
@hypothesis_settings(bounded, max_examples=EXAMPLES // 4)
@given(
    st.sampled_from(OTHERS).flatmap(lambda other: _cases(*other)),
    st.dictionaries(
        st.sampled_from(
            ["Accept", "Host", "ECT", "If-None-Match", "If-Modified-Since", *sorted(BY_PROXY)]
        ),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20).map(str.strip),
    ),
)
@example(SCHEMA["/images"]["GET"].Case(), {"Host": "."})
@example(SCHEMA["/images/-/health"]["GET"].Case(), {"Host": "."})
@example(SCHEMA["/images/-/ready"]["HEAD"].Case(), {"Host": "."})
@example(SCHEMA[METRICS_PATH]["GET"].Case(), {"Host": ".", "Via": "x"})
@example(_full("nasa.jpeg", download="yes"), {})
@example(_full("a b/c.png"), {"If-None-Match": "*"})
@example(_full("nasa.jpeg"), {"Range": "bytes=1-2"})
@example(_full("nasa.jpeg"), {"Range": "bytes=9999999-"})
@example(_full("broken.jpg"), {"Range": "bytes=1-2"})
def test_all_else_is_as_documented(case: Case, headers: dict[str, str]) -> None:
    case.headers.update(headers)
    answer, _ = _asked(case)

    # A Host that is none is a 400 before anything else is looked at.
    is_host = answer.status_code != HTTPStatus.BAD_REQUEST
    if case.path == METRICS_PATH and case.method != "POST" and is_host:
        by_proxy = bool(headers.keys() & BY_PROXY)
        assert (answer.status_code == HTTPStatus.NOT_FOUND) == by_proxy


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_node_that_is_not_ready_is_as_documented(
    small: Settings, tmp_path: Path, method: str
) -> None:
    shutil.copytree(small.originals.folders[0], tmp_path / "originals")
    originals = replace(small.originals, roots=(tmp_path / "originals",))
    RUNNING.append(make_web(replace(small, originals=originals)))
    shutil.rmtree(tmp_path / "originals")

    try:
        answer, _ = _checked(SCHEMA["/images/-/ready"][method].Case(), CONFORMANCE)
    finally:
        RUNNING.pop()

    assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE


ELSEWHERE = {
    "http://a.example/small.png": None,
    "http://a.example/gone.png": "not-found",
    "http://a.example/odd.png": "origin-failed",
    "http://a.example/none.html": "unsupported-original",
    "http://other.example/small.png": "origin-forbidden",
    "http://a.example:8080/small.png": "bad-query",
    "https://a.example/small.png": "origin-timeout",  # no TLS is spoken there
}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_originals_from_elsewhere_are_as_documented(
    small: Settings, tmp_path: Path, method: str
) -> None:
    replies = {
        "/small.png": reply(images.encoded(images.four_colours((30, 20)), "PNG")),
        "/gone.png": reply(b"", "404 Not Found"),
        "/odd.png": reply(b"", "500 Odd"),
        "/none.html": reply(b"<html>"),
    }

    def behave(connection: socket.socket, request: bytes) -> None:
        connection.sendall(replies[request.split(b" ")[1].decode()])

    folder = str(tmp_path / "remote")
    remote = replace(small.remote, hosts=("a.example",), folder=Path(folder), connect_seconds=1)
    with origin(behave) as there:
        fetcher = Fetcher(remote, resolve=public, dial=Wires(there.port).dial)
        RUNNING.append(make_web(replace(small, remote=remote), fetcher=fetcher))
        found = {}
        try:
            for url in ELSEWHERE:
                case = SCHEMA["/images/"][method].Case(query={"url": url})
                _, headers = _checked(case, CONFORMANCE)
                found[url] = headers.get("image-error")
        finally:
            RUNNING.pop()

    # No HEAD reads pixels.
    unread = {"http://a.example/none.html": None} if method == "HEAD" else {}
    assert found == ELSEWHERE | unread


@pytest.mark.parametrize("accept", ["image/jpeg", "application/json"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "error", [error for error in OF_PICTURES if error is not MethodNotAllowed], ids=lambda e: e.code
)
def test_every_failure_is_as_documented(
    web: Flask, monkeypatch: pytest.MonkeyPatch, error: type[ImageError], method: str, accept: str
) -> None:
    """Those, too, that no single request can cause."""

    def fail() -> None:
        raise an_error(error)

    monkeypatch.setitem(web.view_functions, "images", fail)
    # What fails is left to it.
    monkeypatch.setattr(PlainGets, "_answer", lambda *_: None)
    case = SCHEMA["/images/"][method].Case(query={"name": "nasa.jpeg"}, headers={"Accept": accept})
    answer, headers = _checked(case, CONFORMANCE)

    assert (answer.status_code, headers["image-error"]) == (error.status, error.code)
    assert ("retry-after" in headers) == (error.is_passing or error is PageBeingMade)


# The document against the code.


def _parameters(where: str) -> set[str]:
    described = DOCUMENT["components"]["parameters"]
    used = DOCUMENT["paths"]["/images/"]["get"]["parameters"]
    named = [described[one["$ref"].rpartition("/")[2]] for one in used]
    return {one["name"] for one in named if one["in"] == where}


def test_every_parameter_and_every_hint_is_documented() -> None:
    assert _parameters("query") == {*parameters.PARAMETERS, SIGNATURE, EXPIRES}
    known = {name.lower() for name in _parameters("header")}
    conditions = {"if-none-match", "if-modified-since"}
    # A header Accept may not be described (OpenAPI 3.1, 4.8.12.2.1).
    assert known == {*HINT_HEADERS, *conditions, ASKED} - {"accept"}


def test_proofs_are_documented_as_they_are_spelled() -> None:
    described = DOCUMENT["components"]["parameters"]
    expires = described[EXPIRES]["schema"]

    assert described[SIGNATURE]["schema"]["pattern"] == f"^{SIGNATURE_PATTERN}$"
    for moment, is_one in (
        (expires["minimum"] - 1, False),
        (expires["minimum"], True),
        (expires["maximum"], True),
        (expires["maximum"] + 1, False),
    ):
        assert bool(re.fullmatch(EXPIRES_PATTERN, str(moment))) == is_one, moment


def test_names_and_urls_are_as_long_as_documented() -> None:
    schemas = DOCUMENT["components"]["schemas"]

    assert schemas["name"]["maxLength"] == names.MAX_NAME_BYTES
    assert schemas["url"]["maxLength"] == names.MAX_URL_BYTES


def test_every_answer_but_a_304_is_documented_with_what_makes_it_safe() -> None:
    named = DOCUMENT["components"]["responses"]
    own = {
        f"{method} {path} {status}": answer
        for path, methods in DOCUMENT["paths"].items()
        for method, operation in methods.items()
        for status, answer in operation["responses"].items()
        if "$ref" not in answer
    }
    for name, answer in (named | own).items():
        expected = set() if name == "still_good" or name.endswith(" 304") else SECURE
        assert SECURE & answer["headers"].keys() == expected, name
    for name in SECURE:
        assert DOCUMENT["components"]["headers"][name]["required"] is True


def test_every_error_is_documented_with_its_status() -> None:
    responses = DOCUMENT["paths"]["/images/"]["get"]["responses"]

    codes = DOCUMENT["components"]["schemas"]["code"]["enum"]
    assert codes == [error.code for error in OF_PICTURES]
    assert {str(error.status) for error in OF_PICTURES} - {"405"} == set(responses) - {"200", "304"}
