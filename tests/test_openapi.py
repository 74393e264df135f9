"""The interface as docs/openapi.yaml has it, asked of the whole application in this process."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import images
import pytest
import schemathesis
from conftest import ROOT
from flask import Flask
from hypothesis import HealthCheck, event, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from schemathesis.checks import CheckFunction, load_all_checks, not_a_server_error
from schemathesis.core.transport import Response
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks

from imgprocessor import client, errors, query
from imgprocessor.app import make_web
from imgprocessor.errors import ImageError
from imgprocessor.loading import DEFAULT_CONF, Overrides, load_settings
from imgprocessor.settings import LogSettings

load_all_checks()
Case = schemathesis.Case[Any]

RUNNING: list[Flask] = []
"""The application: operations know theirs before there is any."""


SENT: dict[str, str] = {}
"""Headers that are sent whatever a case has, as WSGI calls them."""


def _running(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    return RUNNING[-1](environ | SENT, start_response)


SCHEMA = schemathesis.openapi.from_path(ROOT / "docs" / "openapi.yaml")
SCHEMA.app = _running
DOCUMENT: dict[str, Any] = SCHEMA.raw_schema
CASES = int(os.environ.get("IMGPROCESSOR_OPENAPI_CASES", "1000"))

TOKEN = "a-token-of-sixteen"  # noqa: S105 - guards nothing

CHECKS: list[CheckFunction] = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.response_headers_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]

OF_THE_BODY = {"content-type", "content-length"}
"""Not described as headers (OpenAPI 3.1, 4.8.16.1), but where a HEAD has them, too."""

ONLY_RENDERING_TELLS = OF_THE_BODY | {"content-dpr", "x-content-type-options", "image-decision"}
ITS_OWN = {"server-timing"}
UNPROCESSABLE = HTTPStatus.UNPROCESSABLE_ENTITY


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """The application over small originals, with a token for purges."""
    folder: Path = tmp_path_factory.mktemp("openapi")
    images.save(folder / "originals" / "nasa.jpeg", images.texture((60, 40)), "JPEG")
    clear = images.four_colours((30, 20)).convert("RGBA")
    images.save(folder / "originals" / "a b" / "c.png", clear, "PNG")
    (folder / "originals" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0broken")
    (folder / "token").write_text(TOKEN)
    (folder / "token").chmod(0o600)
    delivered = load_settings(DEFAULT_CONF, Overrides(originals=folder / "originals"))
    web = make_web(
        replace(
            delivered,
            log=LogSettings(str(folder / "requests.log")),
            store=replace(delivered.store, folder=str(folder / "cache")),
            purge=replace(delivered.purge, token_file=str(folder / "token")),
        )
    )
    RUNNING.append(web)
    yield web
    RUNNING.clear()
    SENT.clear()


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


def _asked(case: Case) -> tuple[Response, dict[str, str]]:
    """Ask, check the answer against the document; return it with its headers."""
    answer = case.call()
    event(f"{case.method} {case.path} {answer.status_code}")
    # A HEAD has no body, and may have no type.
    applying = CHECKS if case.method != "HEAD" else CHECKS[:-2]
    case.validate_response(answer, checks=applying)
    headers = {name.lower(): ", ".join(values) for name, values in answer.headers.items()}
    assert headers.keys() <= _documented(case, answer.status_code)
    return answer, headers


bounded = hypothesis_settings(deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.usefixtures("web")
@hypothesis_settings(bounded, max_examples=CASES * 8 // 10)
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


@pytest.mark.usefixtures("web")
@hypothesis_settings(bounded, max_examples=CASES // 10)
@given(_cases("/images/-/purge", "POST"), st.sampled_from([TOKEN, TOKEN, TOKEN, "wrong", ""]))
def test_purges_are_as_documented(case: Case, token: str) -> None:
    SENT["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    answer, _ = _asked(case)

    assert (answer.status_code == HTTPStatus.UNAUTHORIZED) == (token != TOKEN)


OTHERS = [
    (path, method.upper())
    for path, methods in DOCUMENT["paths"].items()
    for method in methods
    if (path, method)
    not in {("/images/", "get"), ("/images/", "head"), ("/images/-/purge", "post")}
]


@pytest.mark.usefixtures("web")
@hypothesis_settings(bounded, max_examples=CASES // 10)
@given(
    st.sampled_from(OTHERS).flatmap(lambda other: _cases(*other)),
    st.dictionaries(
        st.sampled_from(["Accept", "Host", "ECT", "If-None-Match", "If-Modified-Since"]),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20).map(str.strip),
    ),
)
def test_all_else_is_as_documented(case: Case, headers: dict[str, str]) -> None:
    case.headers.update(headers)
    _asked(case)


# The document against the code.


def _parameters(where: str) -> set[str]:
    described = DOCUMENT["components"]["parameters"]
    used = DOCUMENT["paths"]["/images/"]["get"]["parameters"]
    named = [described[one["$ref"].rpartition("/")[2]] for one in used]
    return {one["name"] for one in named if one["in"] == where}


def test_every_parameter_and_every_hint_is_documented() -> None:
    assert _parameters("query") == set(query.PARAMETERS)
    hints = {name.lower() for name in _parameters("header")}
    # A header Accept may not be described (OpenAPI 3.1, 4.8.12.2.1).
    assert hints == {*client.HEADERS, "if-none-match", "if-modified-since", "imagekey"} - {"accept"}


def test_every_error_is_documented_with_its_status() -> None:
    known = [
        error
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, ImageError) and error is not ImageError
    ]
    responses = DOCUMENT["paths"]["/images/"]["get"]["responses"]

    assert DOCUMENT["components"]["schemas"]["code"]["enum"] == [error.code for error in known]
    assert {str(error.status) for error in known} - {"405"} == set(responses) - {"200", "304"}
