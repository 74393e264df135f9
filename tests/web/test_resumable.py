"""Uploads in pieces over HTTP: one ident with those by a form, and clients who do it wrong."""

import io
import itertools
import json
import random
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import images
import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from imgprocessor.app import make_web
from imgprocessor.config.settings import Settings
from imgprocessor.config.upload_settings import UploadsSettings
from imgprocessor.config.upload_tokens import UploadToken, describe_token, token_hash
from imgprocessor.storage.uploads.resumable.unfinished import Unfinished

ROOT = "/upload/resumable/"
TUS = {"Tus-Resumable": "1.0.0"}
PIECE = {"Content-Type": "application/offset+octet-stream", **TUS}
PICTURE = images.encoded(images.texture((40, 30)), "jpeg")
PROGRAM = {"Accept": "application/json"}


def _taking(settings: Settings, tmp_path: Path, **uploads: Any) -> Flask:
    known = {"enabled": True, "folder": tmp_path / "uploads", "min_free_bytes": 0, **uploads}
    return make_web(replace(settings, uploads=UploadsSettings(**known)))


@pytest.fixture
def web(settings: Settings, tmp_path: Path) -> Flask:
    return _taking(settings, tmp_path)


@pytest.fixture
def client(web: Flask) -> FlaskClient:
    return web.test_client()


def _metadata(**values: str) -> str:
    return ",".join(f"{key} {b64encode(value.encode()).decode()}" for key, value in values.items())


def _begin(client: FlaskClient, length: int, **values: str) -> str:
    headers = {**TUS, "Upload-Length": str(length), "Upload-Metadata": _metadata(**values)}
    answer = client.post(ROOT, headers=headers)
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"].startswith(ROOT)
    return answer.headers["Location"]


def _piece(client: FlaskClient, url: str, offset: int, piece: bytes) -> TestResponse:
    return client.patch(url, headers={**PIECE, "Upload-Offset": str(offset)}, data=piece)


def _offset(client: FlaskClient, url: str) -> int:
    answer = client.head(url, headers=TUS)
    assert answer.status_code == 200
    return int(answer.headers["Upload-Offset"])


def _sent(client: FlaskClient, body: bytes, cuts: Sequence[int] = (), **values: str) -> str:
    url = _begin(client, len(body), **values)
    ends = [0, *sorted({cut for cut in cuts if cut < len(body)}), len(body)]
    for start, end in itertools.pairwise(ends):
        answer = _piece(client, url, start, body[start:end])
        assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, str(end))
    return url


def _by_form(client: FlaskClient, body: bytes) -> TestResponse:
    return client.post("/upload", data={"image": (io.BytesIO(body), "tom.jpg")}, headers=PROGRAM)


def test_a_picture_in_pieces(client: FlaskClient) -> None:
    url = _begin(client, len(PICTURE), filename="../tom\r\n.jpg", sizes="20x10,150x<60")
    head = client.head(url, headers=TUS)
    assert (head.status_code, head.data) == (200, b"")
    assert head.headers["Upload-Offset"] == "0"
    assert head.headers["Upload-Length"] == str(len(PICTURE))
    assert head.headers["Upload-Metadata"] == _metadata(
        filename="../tom\r\n.jpg", sizes="20x10,150x<60"
    )
    assert head.headers["Upload-Expires"].endswith("GMT")
    assert client.get(url).status_code == 404

    assert _piece(client, url, 0, PICTURE[:100]).headers["Upload-Offset"] == "100"
    assert _offset(client, url) == 100
    last = _piece(client, url, 100, PICTURE[100:])

    assert (last.status_code, last.data) == (204, b"")
    told = client.get(url, headers=PROGRAM)
    assert (told.status_code, told.mimetype) == (200, "application/json")
    content = json.loads(told.data)["content"]
    assert content["sizes"] == [["20", "10"], ["150", "<60"]]
    assert json.loads(_by_form(client, PICTURE).data)["content"] == content
    assert client.get(f"/image/{content['ident']}.jpg").status_code == 200
    # A client that lost the answers.
    assert _offset(client, url) == len(PICTURE)
    assert _piece(client, url, len(PICTURE), b"").status_code == 204
    assert _piece(client, url, 100, PICTURE[100:]).status_code == 410


@hypothesis_settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    length=st.integers(len(PICTURE), 140_000) | st.sampled_from([65_535, 65_536, 65_537, 131_072]),
    cuts=st.lists(st.integers(1, 140_000), max_size=4),
    seed=st.integers(0, 2**32),
)
def test_one_ident_by_form_and_in_pieces(
    client: FlaskClient, length: int, cuts: list[int], seed: int
) -> None:
    """Over the bytes as sent, of any length and cut anywhere."""
    body = PICTURE + random.Random(seed).randbytes(length - len(PICTURE))

    by_form = json.loads(_by_form(client, body).data)
    in_pieces = client.get(_sent(client, body, cuts), headers=PROGRAM)

    assert json.loads(in_pieces.data) == by_form


class _Broken(io.BytesIO):
    """`wsgi.input` of a line that breaks, under mod_wsgi: the read in hand is lost."""

    def read(self, count: int | None = -1, /) -> bytes:
        part = super().read(count)
        if len(part) != count:
            raise OSError("Apache/mod_wsgi request data read error")
        return part


@pytest.mark.parametrize(("line", "arrived"), [(io.BytesIO, 10_000), (_Broken, 8192)])
def test_of_a_piece_that_breaks_off_what_arrived_is_kept(
    client: FlaskClient, line: Callable[[bytes], io.BytesIO], arrived: int
) -> None:
    body = PICTURE + b"\0" * 20_000
    url = _begin(client, len(body))
    environ = {"CONTENT_LENGTH": str(len(body)), "wsgi.input": line(body[:10_000])}
    headers = {**PIECE, "Upload-Offset": "0"}
    broken = client.patch(url, headers=headers, environ_overrides=environ)

    assert (broken.status_code, broken.headers["image-error"]) == (400, "bad-query")
    assert _offset(client, url) == arrived
    assert _piece(client, url, arrived, body[arrived:]).status_code == 204
    assert client.get(url).status_code == 200


@pytest.mark.parametrize("method", ["HEAD", "PATCH", "GET"])
def test_what_nobody_checked_yet_is_checked_when_it_is_asked_for(
    client: FlaskClient, tmp_path: Path, method: str
) -> None:
    """The process died after the last byte."""
    url = _begin(client, len(PICTURE))
    unfinished = Unfinished(tmp_path / "uploads/unfinished", UploadsSettings(min_free_bytes=0))
    unfinished.write(url.removeprefix(ROOT), 0, len(PICTURE), [PICTURE])
    headers = {**PIECE, "Upload-Offset": str(len(PICTURE))}

    assert client.open(url, method=method, headers=headers).status_code in {200, 204}
    assert client.get(url).status_code == 200
    assert _by_form(client, PICTURE).status_code == 200  # it is there already


@pytest.mark.parametrize("body", [
    b"nonsense", PICTURE[:200], b"\0", b"BM" + bytes(100),
])  # fmt: skip
def test_what_is_no_picture_fails_as_by_a_form(
    client: FlaskClient, tmp_path: Path, body: bytes
) -> None:
    by_form = _by_form(client, body)
    url = _begin(client, len(body))

    told = [_piece(client, url, 0, body), _piece(client, url, len(body), b""), client.get(url)]
    for answer in told:
        assert answer.status_code == by_form.status_code
        assert answer.headers["image-error"] == by_form.headers["image-error"]
        assert answer.data == by_form.data
    assert client.head(url, headers=TUS).status_code == by_form.status_code
    assert [*tmp_path.glob("uploads/unfinished/*/data")] == []


@pytest.mark.parametrize(("headers", "status", "said"), [
    ({"Upload-Length": ""}, 400, "Upload-Length"),
    ({"Upload-Length": "-1"}, 400, "Upload-Length"),
    ({"Upload-Length": "1e3"}, 400, "Upload-Length"),
    ({"Upload-Length": "1" * 19}, 400, "Upload-Length"),
    ({"Upload-Length": "1" * 18}, 413, "no more than"),
    ({"Upload-Length": "52428801"}, 413, "no more than 52428800"),
    ({"Upload-Length": "0"}, 415, "empty"),
    ({"Upload-Defer-Length": "1"}, 400, "Upload-Defer-Length"),
    ({"Upload-Concat": "partial"}, 400, "Upload-Concat"),
    ({"Upload-Metadata": "sizes MTB4MTA"}, 400, "base64"),
    ({"Upload-Metadata": "sizes 1*x1"}, 400, "base64"),
    ({"Upload-Metadata": "filename \xe4"}, 400, "base64"),
    ({"Upload-Metadata": "a YW*Jj"}, 400, "base64"),
    ({"Upload-Metadata": "a b c"}, 400, "base64"),
    ({"Upload-Metadata": ",,"}, 400, "base64"),
    ({"Upload-Metadata": "a,a"}, 400, "base64"),
    ({"Upload-Metadata": f"a {'a' * 8000}"}, 400, "base64"),
    ({"Upload-Metadata": _metadata(sizes="nonsense")}, 400, "sizes: nonsense"),
    ({"Upload-Metadata": _metadata(sizes="0x0")}, 400, "sizes: 0x0"),
    ({"Upload-Metadata": _metadata(sizes=",".join(["1x1"] * 500))}, 400, "too many"),
    ({"Tus-Resumable": "0.2.2"}, 412, "Tus-Resumable: 1.0.0"),
    ({"Tus-Resumable": ""}, 412, "Tus-Resumable: 1.0.0"),
    ({"Origin": "https://evil.example"}, 403, "other sites"),
])  # fmt: skip
def test_what_cannot_be_begun(
    client: FlaskClient, tmp_path: Path, headers: dict[str, str], status: int, said: str
) -> None:
    answer = client.post(ROOT, headers={**TUS, "Upload-Length": "10", **headers})

    assert answer.status_code == status
    assert said in json.loads(answer.data)["title"]
    assert answer.headers["Tus-Resumable"] == "1.0.0"
    assert answer.headers["Cache-Control"] == "no-store"
    if status in {412, 413}:
        assert answer.headers["Tus-Version"] == "1.0.0"
        assert answer.headers["Tus-Max-Size"] == "52428800"
    assert [*tmp_path.glob("uploads/unfinished/*/info")] == []


def test_metadata_may_be_missing_or_mean_nothing(client: FlaskClient) -> None:
    for metadata in ("", " ", "filename", "filename ,sizes", "is_confidential,a b2s=", "a /w=="):
        headers = {**TUS, "Upload-Length": "10", "Upload-Metadata": metadata}
        assert client.post(ROOT, headers=headers).status_code == 201


def test_nothing_is_sent_with_the_beginning(client: FlaskClient) -> None:
    answer = client.post(ROOT, headers={**TUS, "Upload-Length": "10"}, data=b"bytes")

    assert (answer.status_code, answer.headers["image-error"]) == (400, "bad-query")


@pytest.mark.parametrize(("headers", "status"), [
    ({"Upload-Offset": "4"}, 409),
    ({"Upload-Offset": "0"}, 409),
    ({"Upload-Offset": ""}, 400),
    ({"Upload-Offset": "-5"}, 400),
    ({"Upload-Offset": "\u0665"}, 400),
    ({"Upload-Offset": "1" * 18}, 400),
    ({"Content-Type": "image/jpeg"}, 415),
    ({"Content-Type": ""}, 415),
    ({"Tus-Resumable": "2.0.0"}, 412),
    ({"Content-Length": "6"}, 400),  # more than was declared
    ({"Content-Length": "99999999999"}, 400),
    ({"Content-Length": "-1"}, 400),
    ({"Content-Length": "", "Transfer-Encoding": "chunked"}, 411),
])  # fmt: skip
def test_pieces_that_do_not_fit(client: FlaskClient, headers: dict[str, str], status: int) -> None:
    url = _begin(client, 10)
    _piece(client, url, 0, b"abcde")
    environ = {
        "CONTENT_LENGTH": headers.pop("Content-Length", "5"),
        "CONTENT_TYPE": headers.pop("Content-Type", PIECE["Content-Type"]),
        "HTTP_UPLOAD_OFFSET": headers.pop("Upload-Offset", "5"),
        "wsgi.input": io.BytesIO(b"fghijk"),
    }
    answer = client.patch(url, headers={**TUS, **headers}, environ_overrides=environ)

    assert answer.status_code == status
    assert answer.headers["Tus-Resumable"] == "1.0.0"
    assert answer.headers["Cache-Control"] == "no-store"
    assert _offset(client, url) == 5


def test_what_never_was_and_what_is_over(client: FlaskClient) -> None:
    ended = _begin(client, 10)
    answer = client.delete(ended, headers=TUS)
    assert (answer.status_code, answer.headers["Tus-Resumable"]) == (204, "1.0.0")

    for url, status in ((ended, 410), (f"{ROOT}{'a' * 32}", 404), (f"{ROOT}nonsense", 404)):
        for method in ("HEAD", "GET", "DELETE", "PATCH"):
            headers = {**PIECE, "Upload-Offset": "0"}
            answer = client.open(url, method=method, headers=headers)
            assert answer.status_code == status
            assert answer.headers["Cache-Control"] == "no-store"


def test_what_was_removed_afterwards_is_not_told(client: FlaskClient) -> None:
    url = _sent(client, PICTURE)
    ident = json.loads(client.get(url, headers=PROGRAM).data)["content"]["ident"]
    assert client.delete(f"/image/{ident}.jpg").status_code == 204

    assert client.get(url).status_code == 404


def test_what_is_spoken(client: FlaskClient) -> None:
    for url in (ROOT, f"{ROOT}{'a' * 32}"):
        answer = client.options(url)
        assert answer.status_code == 204
        assert answer.headers["Tus-Resumable"] == answer.headers["Tus-Version"] == "1.0.0"
        assert answer.headers["Tus-Extension"] == "creation,expiration,termination"
        assert answer.headers["Tus-Max-Size"] == "52428800"
    for url, allowed in (
        (ROOT, "POST, OPTIONS"),
        (f"{ROOT}a", "HEAD, PATCH, DELETE, GET, OPTIONS"),
    ):
        answer = client.put(url, headers=TUS)
        assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)


def test_no_more_than_may_be_unfinished(settings: Settings, tmp_path: Path) -> None:
    client = _taking(settings, tmp_path, max_unfinished=1).test_client()
    _begin(client, 10)

    answer = client.post(ROOT, headers={**TUS, "Upload-Length": "10"})

    assert (answer.status_code, answer.headers["image-error"]) == (507, "no-room")


def test_an_upload_is_for_the_token_that_began_it(settings: Settings, tmp_path: Path) -> None:
    """And its bytes count once, when it is begun."""
    words = {name: name * 20 for name in ("tom", "eve")}
    bytes_an_hour = len(PICTURE) + 10
    file = tmp_path / "tokens"
    file.write_text("\n".join(
        describe_token(UploadToken(name, token_hash(word), frozenset({"upload"}), bytes_an_hour))
        for name, word in words.items()
    ))  # fmt: skip
    file.chmod(0o600)
    client = _taking(settings, tmp_path, tokens_file=file).test_client()
    tom, eve = ({**TUS, "Authorization": f"Bearer {word}"} for word in words.values())

    def begin(length: int) -> TestResponse:
        return client.post(ROOT, headers={**tom, "Upload-Length": str(length)})

    url = begin(len(PICTURE)).headers["Location"]
    for method in ("HEAD", "GET", "DELETE", "PATCH"):
        headers = {**PIECE, "Upload-Offset": "0"}
        assert client.open(url, method=method, headers={**headers, **eve}).status_code == 404
        assert client.open(url, method=method, headers=headers).status_code == 401
    piece = {**PIECE, **tom, "Upload-Offset": "0"}
    assert client.patch(url, headers=piece, data=PICTURE).status_code == 204
    assert client.get(url, headers=tom).status_code == 200
    assert begin(11).status_code == 429
    assert begin(10).status_code == 201


def test_a_folder_that_cannot_be_written_is_a_503(settings: Settings, tmp_path: Path) -> None:
    client = _taking(settings, tmp_path).test_client()
    (tmp_path / "uploads").mkdir(exist_ok=True)
    (tmp_path / "uploads/unfinished").write_bytes(b"")

    answer = client.post(ROOT, headers={**TUS, "Upload-Length": "10"})

    assert (answer.status_code, answer.headers["image-error"]) == (503, "uploads-unavailable")
