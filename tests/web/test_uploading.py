"""Uploads over HTTP: in one process what a client may send; the rest with Apache and caches."""

import contextlib
import hashlib
import http.client
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import caches
import images
import pytest
from flask.testing import FlaskClient
from processes import DAEMON_USER
from servers import free_port, open_up, serving
from werkzeug.test import TestResponse

from imgprocessor.app import edge_configuration, make_web
from imgprocessor.config.settings import Settings
from imgprocessor.config.upload_settings import UploadsSettings
from imgprocessor.config.upload_tokens import UploadToken, describe_token, token_hash
from imgprocessor.edge.writers import Backend, Site
from imgprocessor.load import load_settings

IDENT = "0123456789abcdef" * 2
TOKEN = secrets.token_urlsafe(32)
READER = secrets.token_urlsafe(32)
URLENCODED = "application/x-www-form-urlencoded"
HTML = "text/html,application/xhtml+xml,*/*;q=0.8"


@pytest.fixture
def uploads(tmp_path: Path) -> UploadsSettings:
    """Those that are delivered, but on."""
    return UploadsSettings(
        enabled=True, folder=tmp_path / "uploads", min_free_bytes=0, max_bytes=300_000
    )


@pytest.fixture
def taking(settings: Settings, uploads: UploadsSettings) -> FlaskClient:
    """A client of an application that takes uploads."""
    return make_web(replace(settings, uploads=uploads)).test_client()


BOUNDARY = "------------------------d74496d66958873e"


def form(body: bytes, sizes: str | None = None) -> dict[str, Any]:
    """Return a form with a file, as curl sends it: arguments of a client's `post`."""
    return fields(
        ('image"; filename="a.jpg', body),
        *([] if sizes is None else [("sizes", sizes.encode())]),
    )


def fields(*named: tuple[str, bytes]) -> dict[str, Any]:
    """Return a form with fields."""
    begin = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="'.encode()
    parts = [begin + name.encode() + b'"\r\n\r\n' + value + b"\r\n" for name, value in named]
    body = b"".join([*parts, f"--{BOUNDARY}--\r\n".encode()])
    return {"data": body, "content_type": f"multipart/form-data; boundary={BOUNDARY}"}


def told(answer: TestResponse) -> dict[str, Any]:
    """Check that a failure has the one shape; return what it says."""
    assert answer.content_type == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert isinstance(answer.json, dict)
    assert answer.json["code"] == answer.headers["image-error"]
    assert answer.json["status"] == answer.status_code
    return answer.json


def test_the_contract(taking: FlaskClient, photograph: bytes) -> None:
    ident = hashlib.sha256(photograph).hexdigest()[:32]
    content = {"ident": ident, "sizes": [["100", "50"], ["150", "<60"]]}

    new = taking.post("/upload", **form(photograph, "100x50,150x<60"))
    again = taking.post("/upload", **form(photograph))

    assert (new.status_code, again.status_code) == (201, 200)
    assert new.json == again.json == {"status": "ok", "content": content}
    assert new.headers["Location"] == f"/image/{ident}.jpg"
    assert "Location" not in again.headers  # Apache would send what is there instead
    assert new.headers["Cache-Control"] == "no-store"
    for path in (
        f"/image/{ident}.jpg?width=100&height=50",
        f"/image/100/50/{ident}.jpg",
        f"/image/{ident}.jpg?width=150&height=%3C60",
        f"/image/{ident}.jpg",
        f"/full/{ident}.jpg",
    ):
        answer = taking.get(path)
        assert (answer.status_code, answer.content_type) == (200, "image/jpeg"), path
        answer.close()


def test_sizes_are_added(taking: FlaskClient, photograph: bytes) -> None:
    ident = taking.post("/upload", **form(photograph)).json["content"]["ident"]  # type: ignore[index]

    for data in ({"sizes": "100x50"}, {"sizes": "1x1", "ident": "x", "callback": "http://a"}):
        answer = taking.post(f"/image/{ident}.jpg", data=data)

    assert answer.status_code == 200
    assert answer.json == {
        "status": "ok",
        "content": {"ident": ident, "sizes": [["100", "50"], ["1", "1"]]},
    }


@pytest.mark.parametrize("body", [b"%PDF-1.7\n", b'<svg xmlns="http://www.w3.org/2000/svg"/>'])
def test_documents_are_refused_where_none_are_shown(taking: FlaskClient, body: bytes) -> None:
    answer = taking.post("/upload", **form(body))

    assert (answer.status_code, answer.headers["image-error"]) == (415, "unsupported-upload")
    told = "The file must be a JPEG, PNG, WebP or GIF picture, whatever its name says."
    assert answer.headers["image-error-detail"] == told
    page = taking.get("/upload", headers={"Accept": "text/html"}).text
    assert 'accept="image/jpeg,image/png,image/webp,image/gif" aria' in page
    assert "JPEG, PNG, WebP or GIF, up to" in page


def test_what_is_deleted_is_gone_and_may_come_again(taking: FlaskClient, photograph: bytes) -> None:
    ident = taking.post("/upload", **form(photograph)).json["content"]["ident"]  # type: ignore[index]

    gone = taking.delete(f"/image/{ident}.jpg")

    assert (gone.status_code, gone.data) == (204, b"")
    missing = taking.get(f"/image/{ident}.jpg")
    assert missing.status_code == 404
    assert missing.headers["Cache-Control"] == "no-store"
    assert missing.content_type == "image/jpeg"
    assert told(taking.delete(f"/image/{ident}.jpg"))["code"] == "no-such-upload"
    assert taking.post("/upload", **form(photograph)).status_code == 201
    assert taking.get(f"/image/{ident}.jpg").status_code == 200


def test_what_the_client_names_is_ignored(taking: FlaskClient, photograph: bytes) -> None:
    others = [("ident", IDENT.encode()), ("callback", b"http://127.0.0.1/")]

    answer = taking.post("/upload", **fields(*others, ('file"; filename="', photograph)))

    assert answer.json["content"]["ident"] == hashlib.sha256(photograph).hexdigest()[:32]  # type: ignore[index]


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (fields(("image", b"text")), 415, "unsupported-upload"),
        (form(b"text"), 415, "unsupported-upload"),
        (form(b""), 415, "unsupported-upload"),
        (form(b"\xff\xd8\xff\xe0"), 422, "broken-original"),
        (fields(("sizes", b"1x1")), 400, "bad-query"),
        (fields(), 400, "bad-query"),
        (form(b"x" * 300_001), 413, "too-large"),
        (form(b"x" * 400_001), 413, "too-large"),
        ({"data": b"{}"}, 415, "unsupported-upload"),
        (fields(*[("a", b"")] * 700), 400, "bad-query"),
        (fields(*[("a", b"")] * 5000), 413, "too-large"),
    ],
)
def test_what_cannot_be_taken_is_told_in_words(
    taking: FlaskClient, uploads: UploadsSettings, data: Any, status: int, code: str
) -> None:
    answer = taking.post("/upload", **data)

    known = told(answer)
    assert (known["status"], known["code"]) == (status, code)
    assert len(known["title"]) > 10
    assert not [file for file in uploads.folder.rglob("*/*") if file.is_file()]


@pytest.mark.parametrize("sizes", ["0x0", "nonsense", "1x1," * 5000, "\u0661x1", "5000x1"])
def test_sizes_that_make_no_sense_leave_nothing(
    taking: FlaskClient, uploads: UploadsSettings, photograph: bytes, sizes: str
) -> None:
    answer = taking.post("/upload", **form(photograph, sizes))

    assert told(answer)["status"] == 400
    assert not [file for file in uploads.folder.rglob("*/*") if file.is_file()]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", f"/image/{IDENT}.jpg", 400),
        ("POST", f"/image/{IDENT}.jpg?sizes=1x1", 400),
        ("DELETE", f"/image/{IDENT}.jpg", 404),
        ("DELETE", "/image/nasa.jpeg", 404),
        ("DELETE", f"/image/{IDENT.upper()}.jpg", 404),
        ("DELETE", f"/image/{IDENT}.png", 404),
        ("DELETE", f"/image/100/{IDENT}.jpg", 404),
        ("DELETE", "/image/..%2f..%2fx.jpg", 404),
        ("DELETE", f"/image/{'a' * 3000}", 404),
        ("PUT", "/upload", 405),
        ("DELETE", "/upload", 405),
        ("OPTIONS", "/upload", 405),
    ],
)
def test_what_is_not_there_cannot_be_changed(
    taking: FlaskClient, method: str, path: str, status: int
) -> None:
    assert told(taking.open(path, method=method))["status"] == status


def test_without_uploads_nothing_is_taken(client: FlaskClient, photograph: bytes) -> None:
    assert client.get("/upload").status_code == 404
    assert client.post("/upload", **form(photograph)).status_code == 404
    assert client.delete(f"/image/{IDENT}.jpg").status_code == 405


def test_a_browser_gets_pages(taking: FlaskClient, photograph: bytes) -> None:
    empty = taking.get("/upload")
    taken = taking.post("/upload", **form(photograph, "100x50"), headers={"Accept": HTML})
    refused = taking.post("/upload", **form(b"text"), headers={"Accept": HTML})

    assert (empty.status_code, taken.status_code, refused.status_code) == (200, 201, 415)
    for page in (empty, taken, refused):
        assert page.content_type == "text/html; charset=utf-8"
        assert page.headers["Cache-Control"] == "no-store"
        assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert "The file must be a JPEG" in refused.text
    assert hashlib.sha256(photograph).hexdigest()[:32] in taken.text
    assert refused.headers["image-error"] == "unsupported-upload"


def test_another_sites_page_may_not(taking: FlaskClient, photograph: bytes) -> None:
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        refused = taking.post("/upload", **form(photograph), headers=headers)
        assert told(refused)["code"] == "forbidden"
        refused = taking.delete(f"/image/{IDENT}.jpg", headers=headers)
        assert told(refused)["code"] == "forbidden"
    answer = taking.post("/upload", **form(photograph), headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 201
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_a_disk_that_is_nearly_full_is_told(
    settings: Settings, uploads: UploadsSettings, photograph: bytes
) -> None:
    full = replace(uploads, min_free_bytes=10**18)
    client = make_web(replace(settings, uploads=full)).test_client()

    assert told(client.post("/upload", **form(photograph)))["code"] == "no-room"


def test_a_folder_without_rights_is_told(
    settings: Settings, uploads: UploadsSettings, photograph: bytes, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    nowhere = replace(uploads, folder=tmp_path / "file" / "uploads")
    client = make_web(replace(settings, uploads=nowhere)).test_client()

    answer = client.post("/upload", **form(photograph))

    assert told(answer)["code"] == "uploads-unavailable"
    assert "Retry-After" in answer.headers


def test_unsigned_links_to_kept_sizes_are_answered(
    settings: Settings, uploads: UploadsSettings, photograph: bytes, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(secrets.token_hex(32))
    keys.chmod(0o600)
    signed = replace(settings, uploads=uploads, signing=replace(settings.signing, keys_file=keys))
    client = make_web(signed).test_client()
    ident = client.post("/upload", **form(photograph, "100x50")).json["content"]["ident"]  # type: ignore[index]
    images.save(settings.originals.folders[0] / f"{IDENT}.jpg", images.texture((300, 200)), "JPEG")

    for path in (f"100/50/{ident}.jpg", f"{ident}.jpg?size=100x50&bandwidth=2g"):
        assert client.get(f"/image/{path}").status_code == 200, path
    for path in (
        f"{ident}.jpg",
        f"100/51/{ident}.jpg",
        f"{ident}.jpg?size=100x50&flip=h",
        f"100/50/{IDENT}.jpg",
        f"100/50/{'0' * 32}.jpg",
        "nasa.jpeg?size=100x50",
    ):
        assert client.get(f"/image/{path}").status_code == 403, path
    assert client.get(f"/full/{ident}.jpg").status_code == 404


def test_the_log_says_who_and_what_and_no_token(
    settings: Settings, uploads: UploadsSettings, photograph: bytes, tmp_path: Path
) -> None:
    tokens = tokens_file(tmp_path)
    client = make_web(replace(settings, uploads=replace(uploads, tokens_file=tokens))).test_client()
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    client.post("/upload", **form(photograph), headers=bearer)
    client.post("/upload", **form(photograph), headers={"Authorization": f"Bearer {READER}"})
    client.post(f"/upload?token={TOKEN}", **form(photograph))

    text = settings.log.file.read_text()
    lines = [json.loads(line) for line in text.splitlines()][-3:]
    assert [(line["status"], line.get("by"), line["upload"]) for line in lines] == [
        (201, "editors", "new"),
        (403, "readers", "refused"),
        (401, None, "refused"),
    ]
    assert TOKEN not in text
    assert READER not in text


# --- Real servers --------------------------------------------------------------------------------


def tokens_file(folder: Path) -> Path:
    """Write a file of tokens: `editors` may all, `readers` nothing but add sizes."""
    file = folder / "tokens.ini"
    editors = UploadToken("editors", token_hash(TOKEN), frozenset(("upload", "sizes", "delete")))
    readers = UploadToken("readers", token_hash(READER), frozenset(("sizes",)))
    file.write_text(describe_token(editors) + "\n" + describe_token(readers))
    file.chmod(0o640)
    return file


@dataclass
class Way:
    """A way to a real server."""

    port: int
    folder: Path
    """Of the uploads."""

    def send(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a request with the token."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with contextlib.closing(connection):
            connection.request(method, path, body, {"Authorization": f"Bearer {TOKEN}", **named})
            answer = connection.getresponse()
            known = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, known, answer.read()

    def upload(self, body: bytes, sizes: str = "") -> tuple[int, dict[str, str], Any]:
        """Send a form as curl does."""
        sent = form(body, sizes)
        kind = {"Content_Type": sent["content_type"]}
        status, headers, answer = self.send("POST", "/upload", sent["data"], **kind)
        return status, headers, json.loads(answer)


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Way]]:
    """Apache with uploads by token, and Varnish and nginx before it, which it purges."""
    folder, originals = tmp_path_factory.mktemp("server"), tmp_path_factory.mktemp("originals")
    of_varnish, of_nginx = tmp_path_factory.mktemp("varnish"), tmp_path_factory.mktemp("nginx")
    varnish_port = free_port()
    for one in (folder, originals, of_nginx):
        open_up(one)
    tokens = tokens_file(folder)
    if os.geteuid() == 0:
        shutil.chown(tokens, group=DAEMON_USER)
    settings = (
        f"[uploads]\nfolder = uploads\ntokens_file = {tokens}\nmin_free_bytes = 0\n"
        f"[purge]\nvarnish = 127.0.0.1:{varnish_port}\n"
        f"proxy_cache_folders = {of_nginx / caches.NGINX_CACHE}\n"
    )
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving(folder, originals, settings=settings))
        known = load_settings(folder / "imgprocessor.ini")
        vcl = edge_configuration("varnish", known, Site([Backend("127.0.0.1", server.port)]))
        stack.enter_context(caches.varnish(of_varnish, vcl, varnish_port))
        nginx_port = stack.enter_context(caches.nginx(of_nginx, known, server.port))
        ports = {"apache": server.port, "varnish": varnish_port, "nginx": nginx_port}
        yield {name: Way(port, folder / "uploads") for name, port in ports.items()}


WAYS = pytest.mark.parametrize("way", ["apache", "varnish", "nginx"])


@pytest.mark.apache
@pytest.mark.caches
@WAYS
def test_the_contract_holds_directly_and_through_caches(
    ways: dict[str, Way], photograph: bytes, way: str
) -> None:
    there, body = ways[way], photograph + way.encode()
    ident = hashlib.sha256(body).hexdigest()[:32]

    # As a page may ask that is quicker than its upload.
    early, _, _ = there.send("GET", f"/image/100/50/{ident}.jpg")
    status, headers, told_new = there.upload(body, "100x50,150x<60")
    again, _, _ = there.upload(body)
    added, _, told_added = there.send(
        "POST", f"/image/{ident}.jpg", b"sizes=1x1", Content_Type=URLENCODED
    )

    assert (early, status, again, added) == (404, 201, 200, 200)
    assert headers["location"] == f"/image/{ident}.jpg"
    assert told_new["content"] == {"ident": ident, "sizes": [["100", "50"], ["150", "<60"]]}
    assert json.loads(told_added)["content"]["sizes"][-1] == ["1", "1"]
    for path in (
        f"/image/100/50/{ident}.jpg",
        f"/image/{ident}.jpg?width=100&height=50",
        f"/image/{ident}.jpg?width=150&height=%3C60",
        f"/full/{ident}.jpg",
    ):
        for _ in range(2):
            status, headers, _ = there.send("GET", path, Accept="image/jpeg")
            assert (status, headers["content-type"]) == (200, "image/jpeg"), path
    assert there.send("GET", f"/full/{ident}.jpg")[2] == photograph

    gone, _, _ = there.send("DELETE", f"/image/{ident}.jpg")
    left = [there.send("GET", f"/image/100/50/{ident}.jpg")[0] for _ in range(2)]
    back, _, _ = there.upload(body)
    shown = there.send("GET", f"/image/{ident}.jpg?width=100&height=50")[0]

    assert (gone, left, back, shown) == (204, [404, 404], 201, 200)


@pytest.mark.apache
@WAYS
def test_what_is_refused_is_refused_through_caches(ways: dict[str, Way], way: str) -> None:
    there = ways[way]
    for headers, status in [
        ({"Authorization": ""}, 401),
        ({"Authorization": "Bearer x"}, 401),
        ({"Authorization": f"Bearer {READER}"}, 403),
        ({"Origin": "http://evil.example"}, 403),
    ]:
        answer, _, body = there.send("DELETE", f"/image/{IDENT}.jpg", None, **headers)
        assert (answer, json.loads(body)["status"]) == (status, status)
    status, _, told_why = there.upload(b"text")
    assert (status, told_why["code"]) == (415, "unsupported-upload")


@pytest.mark.apache
def test_eight_equal_ones_at_once_are_one(ways: dict[str, Way], photograph: bytes) -> None:
    body = photograph + b"eight"
    ident = hashlib.sha256(body).hexdigest()[:32]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ways["apache"].upload(body, "100x50"), range(8)))

    assert sorted(status for status, _, _ in answers) == [200] * 7 + [201]
    assert {told_new["content"]["ident"] for _, _, told_new in answers} == {ident}
    (file,) = ways["apache"].folder.rglob(f"kept/*/{ident}/original")
    assert file.read_bytes() == photograph


@pytest.mark.apache
@pytest.mark.caches
@WAYS
def test_the_page_of_this_host_may_send_through_caches(ways: dict[str, Way], way: str) -> None:
    there = ways[way]
    own = {"Origin": f"http://127.0.0.1:{there.port}", "Sec_Fetch_Site": "same-origin"}

    answer, _, body = there.send("DELETE", f"/image/{IDENT}.jpg", None, **own)

    assert (answer, json.loads(body)["code"]) == (404, "no-such-upload")


@pytest.mark.apache
@pytest.mark.caches
@WAYS
def test_a_job_is_taken_and_fetched_through_caches(
    ways: dict[str, Way], photograph: bytes, way: str
) -> None:
    there, sent = ways[way], form(photograph + way.encode())
    kind = {"Content_Type": sent["content_type"]}
    status, headers, body = there.send("POST", "/convert", sent["data"], **kind)
    job = json.loads(body)["submission_task_id"]
    told: dict[str, Any] = {}
    while told.get("status") not in {"SUCCESS", "FAILURE"}:
        asked, of_job, body = there.send("GET", f"/convert/{job}?wait=5")
        assert (asked, of_job["cache-control"]) == (200, "no-store")
        told = json.loads(body)
    answer, of_picture, picture = there.send("GET", told["result_url"])
    again, _, _ = there.send("DELETE", headers["location"])
    unknown, _, _ = there.send("GET", f"/convert/{'a' * 32}")

    assert (status, headers["location"]) == (202, f"/convert/{job}")
    assert (answer, of_picture["content-type"]) == (200, "image/jpeg")
    assert images.decoded(picture).size == (100, 67)
    assert (again, unknown) == (410, 404)
