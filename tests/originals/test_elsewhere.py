"""Originals from elsewhere through the whole application, canaries and dead hosts included."""

import json
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import images
import pytest
from conftest import ROOT
from flask.testing import FlaskClient
from origins import Origin, Wires, answer, origin, public
from PIL import Image
from servers import await_true

from imgprocessor.app import make_web
from imgprocessor.config.settings import Settings
from imgprocessor.errors import ConfigurationError
from imgprocessor.originals.http.fetch import Fetcher

URL = "https://a.example/a.jpg"
PLAIN = "http://a.example/a.jpg"


@dataclass
class Elsewhere:
    """An application, and a host that it may ask."""

    client: FlaskClient
    there: Origin
    replies: dict[str, bytes]
    settings: Settings


@pytest.fixture
def elsewhere(settings: Settings, tmp_path: Path) -> Iterator[Elsewhere]:
    replies: dict[str, bytes] = {}

    def behave(connection: socket.socket, request: bytes) -> None:
        reply = replies.get(request.split(b" ")[1].decode(), answer(b"", "404 Not Found"))
        if reply == b"wait":
            time.sleep(30)
        connection.sendall(reply)

    remote = replace(
        settings.remote,
        hosts=("a.example", "*.b.example"),
        folder=tmp_path / "remote",
        first_byte_seconds=1,
        total_seconds=2,
    )
    changed = replace(settings, remote=remote)
    with origin(behave) as there:
        fetcher = Fetcher(remote, resolve=public, dial=Wires(there.port).dial)
        client = make_web(changed, fetcher=fetcher).test_client()
        yield Elsewhere(client, there, replies, changed)


def jpeg(colour: str = "red") -> bytes:
    return images.encoded(Image.new("RGB", (400, 300), colour), "JPEG")


@pytest.mark.parametrize("spelled", [PLAIN, quote(PLAIN, safe="")])
def test_a_picture_comes_from_elsewhere(elsewhere: Elsewhere, spelled: str) -> None:
    elsewhere.replies["/a.jpg"] = answer(jpeg())

    first = elsewhere.client.get(f"/images/?url={spelled}&width=100")
    second = elsewhere.client.get(f"/images/?url={spelled}&width=100")

    assert first.status_code == second.status_code == 200
    assert images.decoded(first.data).size == (100, 75)
    assert first.data == second.data
    assert first.headers["imagekey"].startswith("http%3A//a.example/a.jpg_100x_inside_-_1x_")
    assert first.headers["ETag"] == second.headers["ETag"]
    assert len(elsewhere.there.requests) == 1
    again = elsewhere.client.get(
        f"/images/?url={spelled}&width=100", headers={"If-None-Match": first.headers["ETag"]}
    )
    assert again.status_code == 304


def test_nothing_of_the_visitors_request_goes_on(elsewhere: Elsewhere) -> None:
    elsewhere.replies["/a.jpg"] = answer(jpeg())
    mine = {
        "Cookie": "mine=1",
        "Authorization": "Basic mine",
        "Referer": "http://mine.example/",
        "User-Agent": "mine",
        "X-Forwarded-For": "1.2.3.4",
        "Range": "bytes=0-1",
        "Accept-Language": "mine",
    }
    assert elsewhere.client.get(f"/images/?url={PLAIN}", headers=mine).status_code == 200
    (request,) = elsewhere.there.requests
    assert b"mine" not in request
    assert b"1.2.3.4" not in request
    assert b"Range" not in request


ANSWERS: dict[str, tuple[bytes, int, str]] = {
    "404": (answer(b"", "404 Not Found"), 404, "not-found"),
    "410": (answer(b"", "410 Gone"), 404, "not-found"),
    "500": (answer(b"", "500 Odd"), 502, "origin-failed"),
    "403": (answer(b"", "403 Forbidden"), 502, "origin-failed"),
    "silence": (b"wait", 504, "origin-timeout"),
    "half": (answer(b"half", Content_Length="9"), 502, "origin-failed"),
    "gzip": (answer(jpeg(), Content_Encoding="gzip"), 502, "origin-failed"),
    "no picture": (answer(b"<html>"), 422, "unsupported-original"),
    "half a picture": (answer(jpeg()[:600]), 422, "broken-original"),
    "too large": (answer(b"", Content_Length="20971521"), 422, "oversized-original"),
    "to this machine": (
        answer(b"", "302 Found", Location="http://127.0.0.1/"),
        403,
        "origin-forbidden",
    ),
}


@pytest.mark.parametrize("what", ANSWERS)
def test_a_failure_is_a_placeholder_that_says_what_and_not_why(
    elsewhere: Elsewhere, what: str
) -> None:
    reply, status, code = ANSWERS[what]
    elsewhere.replies["/a.jpg"] = reply

    began = time.monotonic()
    response = elsewhere.client.get(f"/images/?url={PLAIN}&width=60")

    assert time.monotonic() - began < 3
    assert (response.status_code, response.headers["image-error"]) == (status, code)
    assert images.decoded(response.data).format == "JPEG"
    assert "a.example" not in response.headers["image-error-detail"]
    if status != 404:
        assert response.headers["Cache-Control"] == "no-store"
    elsewhere.client.get(f"/images/?url={PLAIN}&width=61")
    assert len(elsewhere.there.requests) == 1
    if code.startswith("origin"):
        kept = Path(elsewhere.settings.remote.folder, "entries").rglob("*")
        assert not [path for path in kept if path.is_file()]


@pytest.mark.parametrize(
    ("query", "status", "detail"),
    [
        (f"name=nasa.jpeg&url={PLAIN}", 400, "url: given beside name"),
        (f"url={PLAIN}&url={PLAIN}", 400, "url: given twice"),
        ("url=", 400, "name: must be given"),
        ("url=x", 400, "url=x: must be such as https://images.example.org/a.jpg"),
        (f"url={PLAIN}{'x' * 500}", 400, "must be at most 500 bytes"),
        ("url=http://a.example/a[b]", 400, "must be escaped as encodeURIComponent does"),
        ("url=http://a.example/%FF", 400, "must be UTF-8"),
        ("url=http://c.example/", 403, "This server may not fetch that original."),
        ("url=http://b.example/", 403, "This server may not fetch that original."),
        ("url=http://127.0.0.1/", 403, "This server may not fetch that original."),
        ("name=http://a.example/a.jpg", 400, "without empty parts"),
    ],
)
def test_what_a_page_writes_must_be_right(
    elsewhere: Elsewhere, query: str, status: int, detail: str
) -> None:
    response = elsewhere.client.get(f"/images/?{query}")
    assert response.status_code == status
    assert detail in response.headers["image-error-detail"]
    assert response.headers["Cache-Control"] == "no-store"
    assert not elsewhere.there.requests


def test_where_no_host_is_allowed_there_is_no_url(client: FlaskClient) -> None:
    response = client.get(f"/images/?url={URL}")
    assert response.status_code == 400
    assert "takes no originals from elsewhere" in response.headers["image-error-detail"]
    assert client.get("/images/?name=nasa.jpeg&url=").status_code == 200


def test_a_purge_by_name_takes_a_url(settings: Settings, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("0123456789abcdef")
    token.chmod(0o600)
    replies = [answer(jpeg("red"), Cache_Control="max-age=999"), answer(jpeg("blue"))]
    with origin(lambda connection, _: connection.sendall(replies.pop(0))) as there:
        remote = replace(settings.remote, hosts=("a.example",), folder=tmp_path / "remote")
        changed = replace(settings, remote=remote, purge=replace(settings.purge, token_file=token))
        fetcher = Fetcher(remote, resolve=public, dial=Wires(there.port).dial)
        client = make_web(changed, fetcher=fetcher).test_client()
        allowed = {"Authorization": "Bearer 0123456789abcdef"}
        for escaped in (PLAIN, quote(PLAIN, safe="")):
            first = client.get(f"/images/?url={escaped}&width=20")
            assert client.get(f"/images/?url={escaped}&width=20").data == first.data
        tag = first.headers["xkey"].split()[0]
        purged = client.post("/images/-/purge", data={"name": PLAIN}, headers=allowed)
        assert (purged.status_code, purged.json["failed"]) == (200, {})  # type: ignore[index]
        # The picture, what is known of it, the rendition; and what is kept behind answers.
        assert purged.json["removed"][PLAIN] >= 3  # type: ignore[index]
        second = client.get(f"/images/?url={PLAIN}&width=20")
        assert second.headers["xkey"].split()[0] == tag
        assert images.corner_colours(images.decoded(second.data))[0] == "blue"
        key = second.headers["imagekey"]
        purged = client.post("/images/-/purge", data={"imagekey": key}, headers=allowed)
        assert purged.json == {"removed": {key: 1}, "failed": {}}
        assert client.get(f"/images/?url={PLAIN}&width=20").status_code == 200
        assert len(there.requests) == 2


def test_a_head_says_what_a_get_would(elsewhere: Elsewhere) -> None:
    elsewhere.replies["/a.jpg"] = answer(jpeg())
    head = elsewhere.client.head(f"/images/?url={PLAIN}&width=100")
    get = elsewhere.client.get(f"/images/?url={PLAIN}&width=100")
    for name in ("imagekey", "ETag", "Last-Modified", "Cache-Control", "xkey"):
        assert head.headers[name] == get.headers[name]


def test_a_dead_host_does_not_slow_pictures_of_our_own(elsewhere: Elsewhere) -> None:
    """With as many waiting for it as may, and more who are turned away."""
    for number in range(30):
        elsewhere.replies[f"/{number}"] = b"wait"
    client = elsewhere.client

    def local() -> float:
        times = []
        for _ in range(40):
            began = time.perf_counter()
            assert client.get("/images/?name=nasa.jpeg&width=64").status_code == 200
            times.append(time.perf_counter() - began)
        return statistics.median(times)

    local()
    alone = local()
    statuses: list[int] = []

    def remote(number: int) -> None:
        there = elsewhere.client.application.test_client()
        statuses.append(there.head(f"/images/?url=http://a.example/{number}").status_code)

    with ThreadPoolExecutor(30) as pool:
        waiting = [pool.submit(remote, number) for number in range(30)]
        await_true(lambda: len(elsewhere.there.requests) >= 4, 5)
        await_true(lambda: len(statuses) >= 26, 5)
        assert sorted(statuses) == [503] * 26
        beside = local()
        assert len(statuses) == 26, "the host must still be waited for while this is measured"
        for one in waiting:
            one.result()
    assert sorted(statuses) == [503] * 26 + [504] * 4
    # Other tests run meanwhile, and may have begun or ended.
    assert beside < 1.5 * max(alone, local()) + 0.002


def test_caps_that_cannot_hold_one_original_are_refused_at_the_start(settings: Settings) -> None:
    remote = replace(settings.remote, hosts=("a.example",), max_kept_bytes=200_000_000)
    with pytest.raises(ConfigurationError, match="at least ten times max_bytes"):
        make_web(replace(settings, remote=remote))


def _in_a_network_of_its_own() -> list[str]:
    for command in (["unshare", "-n"], ["unshare", "-r", "-n"]):
        if (
            shutil.which("unshare")
            and subprocess.run([*command, "true"], check=False).returncode == 0
        ):
            return command
    return []


@pytest.mark.slow
def test_no_canary_ever_sees_a_connection() -> None:
    """C1: each kind of address that is not everybody's, on both ports, however it is spelled."""
    command = _in_a_network_of_its_own()
    if not command:
        pytest.skip("no leave to make a network")
    script = ROOT / "tests/canaries.py"
    done = subprocess.run(
        [*command, sys.executable, script], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)

    assert all(told["listens"].values()), told["listens"]
    assert len(told["listens"]) > 50
    assert len(told["answers"]) >= 3 * 60
    assert told["connections"] == 0
    for url, (status, code, detail, kept) in told["answers"].items():
        assert (status, code) in {
            (400, "bad-query"),
            (403, "origin-forbidden"),
            (502, "origin-failed"),
        }, url
        assert kept == "no-store", url
        if status == 403:
            assert detail == "This server may not fetch that original."
        if status == 502:
            # Names that are not known to anybody: nobody was asked for more than an address.
            assert "localhost" in url or "odd" in url, url
