"""Failures in words: one shape for programs, a page for browsers, headers that say what to do."""

import json
from collections.abc import Callable

import pytest
from flask import Flask, g
from werkzeug.exceptions import ImATeapot
from werkzeug.wrappers import Response

from imgprocessor.errors import (
    BadQuery,
    Busy,
    Forbidden,
    ImageError,
    Internal,
    MethodNotAllowed,
    NoRoom,
    NoSuchUpload,
    NotAuthorized,
    TooLarge,
    TooManyRequests,
)
from imgprocessor.web.log import MAX_TOLD_CHARACTERS, Entry
from imgprocessor.web.problems import in_words

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"

ERRORS = [
    BadQuery(["sizes: must be given"]), NotAuthorized(), Forbidden("You may not."), NoSuchUpload(),
    MethodNotAllowed(allowed=["GET", "POST"]), TooLarge(5), TooManyRequests(70), Busy(), NoRoom(),
    Internal(),
]  # fmt: skip


def _page(error: ImageError) -> Response:
    return Response(f"<p>{error.public}", mimetype="text/html")


def _answered(error: Exception, accept: str | None = None) -> tuple[Response, Entry]:
    web = Flask("words")
    headers = {} if accept is None else {"Accept": accept}
    with web.test_request_context("/upload", headers=headers):
        g.entry = {}
        return in_words(error, _page), g.entry


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
def test_a_failure_has_one_shape(error: ImageError) -> None:
    answer, entry = _answered(error)

    assert (answer.status_code, answer.mimetype) == (error.status, "application/problem+json")
    expected = {"title": error.public, "status": error.status, "code": error.code}
    assert json.loads(answer.get_data()) == expected
    assert answer.headers["image-error"] == error.code
    assert (answer.headers["Cache-Control"], answer.headers["Vary"]) == ("no-store", "Accept")
    assert entry == {"error": error.code, "detail": str(error)}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
def test_a_browser_gets_a_page_with_the_same_status_and_headers(error: ImageError) -> None:
    page, _ = _answered(error, BROWSER)
    words, _ = _answered(error)

    assert (page.status_code, page.mimetype) == (error.status, "text/html")
    assert error.public in page.get_data(as_text=True)
    varying = {"Content-Type", "Content-Length", "Retry-After"}
    for name in {*page.headers.keys(), *words.headers.keys()} - varying:
        assert page.headers[name] == words.headers[name]


@pytest.mark.parametrize(
    ("accept", "mimetype"),
    [
        (None, "application/problem+json"),
        ("", "application/problem+json"),
        ("*/*", "application/problem+json"),
        ("nonsense", "application/problem+json"),
        ("application/json", "application/problem+json"),
        ("application/json, text/html;q=0.9", "application/problem+json"),
        ("image/avif, image/*", "application/problem+json"),
        ("text/html", "text/html"),
        ("text/*", "text/html"),
        ("text/html, application/json;q=0.9", "text/html"),
        (BROWSER, "text/html"),
    ],
)
def test_the_page_is_for_clients_that_prefer_one(accept: str | None, mimetype: str) -> None:
    assert _answered(NoRoom(), accept)[0].mimetype == mimetype


@pytest.mark.parametrize(
    ("error", "name", "is_right"),
    [
        (NotAuthorized(), "WWW-Authenticate", 'Bearer realm="uploads"'.__eq__),
        (TooManyRequests(70), "Retry-After", "70".__eq__),
        (TooManyRequests(0), "Retry-After", "0".__eq__),
        (Busy(), "Retry-After", lambda text: 1 <= int(text) <= 3),
        (MethodNotAllowed(allowed=["DELETE", "POST"]), "Allow", "DELETE, POST".__eq__),
    ],
    ids=lambda value: getattr(value, "code", None),
)
def test_a_failure_says_in_headers_what_to_do(
    error: ImageError, name: str, is_right: Callable[[str], bool]
) -> None:
    assert is_right(_answered(error)[0].headers[name])
    for other in {"WWW-Authenticate", "Retry-After", "Allow"} - {name}:
        assert other not in _answered(error)[0].headers


def test_what_a_client_wrote_does_not_break_a_header() -> None:
    answer, _ = _answered(BadQuery(["sizes: '\u0663x\u00e9\r\nx: y\0' is wrong"]))

    assert answer.headers["image-error-detail"] == "sizes: '?x???x: y?' is wrong"
    title = json.loads(answer.get_data())["title"]
    assert title == "sizes: '\u0663x\u00e9\r\nx: y\0' is wrong"


@pytest.mark.parametrize("error", [ZeroDivisionError("of ours"), ImATeapot(), Internal()])
def test_what_is_unexpected_is_reported_and_told_to_nobody(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    answer, entry = _answered(error)

    assert answer.status_code == 500
    assert "of ours" not in answer.get_data(as_text=True)
    assert entry["error"] == "internal"
    assert type(error).__name__ in capsys.readouterr().err


def test_what_a_client_did_is_not_reported(capsys: pytest.CaptureFixture[str]) -> None:
    _answered(NotAuthorized())

    assert capsys.readouterr().err == ""


def test_the_detail_in_the_log_is_bounded() -> None:
    _, entry = _answered(Forbidden("No.", "x" * 9999))

    assert entry["detail"] == "x" * MAX_TOLD_CHARACTERS


def test_the_sentence_about_a_method_names_those_that_are_right() -> None:
    assert MethodNotAllowed(allowed=["POST"]).public == "The method must be POST."
    assert MethodNotAllowed(allowed=["GET", "HEAD"]).public == "The method must be GET or HEAD."
