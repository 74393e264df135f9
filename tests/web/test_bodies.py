"""Bodies on their way in: what the virtual host does with them, and the caches in front of it."""

import contextlib
import json
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import bodies
import caches
import pytest
from bodies import BEARER, MAX_BODY_BYTES, Front, Told, answered, ask, begin, first_line
from conftest import ROOT
from servers import await_true

from imgprocessor.config.upload_settings import SMALL_BODY_BYTES
from imgprocessor.edge.writers import Cache
from imgprocessor.errors import LengthRequired, Overloaded, TooLarge
from imgprocessor.load import load_settings

pytestmark = pytest.mark.apache

IDENT = "0123456789abcdef" * 2
PROXIED = "X-Forwarded-For: 192.0.2.1"
CHUNKED = "Transfer-Encoding: chunked"
EXPECT = "Expect: 100-continue"


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with bodies.front(tmp_path_factory.mktemp("front")) as there:
        yield there


@pytest.fixture(scope="module", params=["varnish", "nginx"])
def edge(
    request: pytest.FixtureRequest, front: Front, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    cache: Cache = request.param
    settings = load_settings(ROOT / "conf" / "imgprocessor.ini")
    with caches.in_front(cache, settings, front.port, tmp_path_factory.mktemp(cache)) as port:
        yield port


# --- Where they go -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_line", "group"),
    [
        ("GET /image/a.jpg", "imgprocessor"),
        ("HEAD /image/a.jpg", "imgprocessor"),
        ("GET /images/?name=POST", "imgprocessor"),
        ("OPTIONS /image/a.jpg", "imgprocessor"),
        ("GET /images/?url=http://a/b", "imgremote"),
        ("POST /images/-/purge", "imgprocessor"),
        ("POST /images/-/purge?name=a", "imgprocessor"),
        ("POST /images/-/%70urge", "imguploads"),
        ("POST /image/a.jpg", "imguploads"),
        ("POST /images/?url=http://a/b", "imguploads"),
        ("PUT /image/a.jpg", "imguploads"),
        ("DELETE /image/a.jpg", "imguploads"),
        ("PATCH /upload/resumable/a", "imguploads"),
        ("GET /upload", "imguploads"),
        ("HEAD /upload/resumable/a", "imguploads"),
        ("OPTIONS /upload/resumable/", "imguploads"),
        ("GET /upload?url=http://a/b", "imguploads"),
        ("GET /convert", "imguploads"),
        ("GET /convert/a?wait=20", "imguploads"),
    ],
)
def test_what_may_have_a_body_has_a_process_of_its_own(
    front: Front, request_line: str, group: str
) -> None:
    before = len(front.arrived())
    assert ask(front.port, request_line)[0] == 200
    (came,) = front.arrived()[before:]
    assert (came["method"], came["group"]) == (request_line.split(maxsplit=1)[0], group)


@pytest.mark.parametrize(
    ("request_line", "headers", "status"),
    [
        ("POST /upload", [], 200),
        ("POST /upload/", [], 200),
        ("PATCH /upload/resumable/a", [PROXIED], 200),
        ("POST /image/a.jpg", [PROXIED], 200),
        ("DELETE /image/a.jpg", [], 200),
        ("GET /upload", [], 403),
        ("HEAD /upload/resumable/a", [], 403),
        ("OPTIONS /upload/resumable/a", [], 403),
        ("GET /image/a.jpg", [], 403),
        ("PROPFIND /image/a.jpg", [], 403),
        ("POST /images/?name=a", [BEARER], 403),
        ("POST /browse/", [BEARER], 403),
        ("DELETE /full/a.jpg", [BEARER], 403),
        ("PATCH /media/a.jpg", [BEARER], 403),
        ("POST /images/-/purge", [BEARER], 200),
        ("POST /images/-/purge", [], 403),
        ("POST /images/-/purge", [BEARER, PROXIED], 403),
        ("POST /uploads", [], 404),
    ],
)
def test_only_what_changes_something_may_have_a_body(
    front: Front, request_line: str, headers: list[str], status: int
) -> None:
    before = len(front.arrived())
    assert ask(front.port, request_line, b"body", *headers)[0] == status
    assert [came["body"] for came in front.arrived()[before:]] == [4] * (status == 200)


# --- What is refused -----------------------------------------------------------------------------


def _is_refused(answer: Told, status: int, code: str) -> None:
    found, headers, body = answer
    told = json.loads(body)
    assert (found, told["status"], told["code"]) == (status, status, code)
    assert told["title"].endswith(".")
    assert headers["image-error"] == code
    assert headers["content-type"] == "application/problem+json"
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        (f"POST /upload HTTP/1.1\r\nHost: x\r\n{CHUNKED}", 411, LengthRequired.code),
        (f"POST /image/a.jpg HTTP/1.1\r\nHost: x\r\n{CHUNKED}", 411, LengthRequired.code),
        ("POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: -1", 400, "bad-request"),
        ("POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 9x", 400, "bad-request"),
        (f"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: {'9' * 40}", 400, "bad-request"),
        ("POST /upload HTTP/1.1", 400, "bad-request"),
    ],
)
def test_what_apache_refuses_has_the_one_shape(
    front: Front, head: str, status: int, code: str
) -> None:
    with socket.create_connection(("127.0.0.1", front.port), timeout=30) as client:
        client.sendall(f"{head}\r\n\r\n".encode())
        _is_refused(answered(client), status, code)


def test_what_the_application_says_stays_as_it_is(front: Front) -> None:
    for status in (400, 408, 411, 413, 503, 504):
        found, headers, body = ask(front.port, f"POST /upload?status={status}", b"body")
        assert (found, headers["content-type"]) == (status, "application/json")
        assert json.loads(body)["body"] == 4
        assert not {"image-error", "cache-control"} & headers.keys()


LARGE = [
    ("POST /upload", [BEARER], MAX_BODY_BYTES),
    ("PATCH /upload/resumable/a", [BEARER, PROXIED], MAX_BODY_BYTES),
    ("POST /upload", [PROXIED], SMALL_BODY_BYTES),
    ("POST /image/a.jpg", [BEARER], SMALL_BODY_BYTES),
]


@pytest.mark.parametrize(("request_line", "headers", "limit"), LARGE)
@pytest.mark.parametrize("expect", [[], [EXPECT]])
def test_what_is_too_large_is_refused_before_it_comes(
    front: Front, request_line: str, headers: list[str], limit: int, expect: list[str]
) -> None:
    before = len(front.arrived())
    with begin(front.port, request_line, limit + 1, *headers, *expect) as client:
        assert first_line(client) == b"HTTP/1.1 413"
        _is_refused(answered(client), 413, TooLarge.code)
    assert front.arrived()[before:] == []


@pytest.mark.parametrize(
    ("headers", "limit"),
    [
        ([], MAX_BODY_BYTES),
        ([BEARER], MAX_BODY_BYTES),
        (["Via: 1.1 proxy"], SMALL_BODY_BYTES),
        (["Forwarded: for=192.0.2.1"], SMALL_BODY_BYTES),
    ],
)
def test_what_is_as_large_as_may_be_arrives(front: Front, headers: list[str], limit: int) -> None:
    status, _, body = ask(front.port, "POST /upload", bytes(limit), *headers)
    assert (status, json.loads(body)["body"]) == (200, limit)


@pytest.mark.parametrize("expect", [[], [EXPECT]])
def test_who_is_refused_by_the_application_hears_it(front: Front, expect: list[str]) -> None:
    """Though Apache reads the body to its end first."""
    size = 5_000_000
    request = "POST /upload?unread=1&status=401"
    with begin(front.port, request, size, BEARER, *expect) as client:
        if expect:
            assert first_line(client) == b"HTTP/1.1 100"
        client.sendall(bytes(size))
        status, _, body = answered(client)
    assert (status, json.loads(body)["body"]) == (401, 0)


# --- What arrives --------------------------------------------------------------------------------


@pytest.mark.parametrize("is_reset", [False, True])
def test_what_arrived_before_a_body_broke_off_is_seen(front: Front, *, is_reset: bool) -> None:
    before = len(front.arrived())
    with begin(front.port, "PATCH /upload/resumable/a?tell=1", 40_000) as client:
        client.sendall(bytes(30_000))
        # Seven pieces; what came of the eighth is lost.
        await_true(lambda: len(front.arrived()) == before + 7)
        if is_reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await_true(lambda: len(front.arrived()) > before + 7)
    came = front.arrived()[-1]
    assert (came["body"], came["broken"]) == (28_672, True)


SLOW_BYTES = 14_000
"""More than ten seconds, the time that is given beforehand, at 1,200 bytes a second."""


def test_slow_senders_keep_no_picture_waiting_and_steady_ones_arrive(front: Front) -> None:
    """Three hundred, more than the uploads' daemon has threads. A thousand: torture."""
    before = len(front.arrived())
    with contextlib.ExitStack() as stack:

        def slow(*headers: str) -> socket.socket:
            client = stack.enter_context(begin(front.port, "POST /upload", SLOW_BYTES, *headers))
            client.sendall(b"a")
            return client

        steady = slow("X-Steady: yes")
        others = [slow(BEARER) for _ in range(300)]
        took = []
        for number in range(1, SLOW_BYTES, 300):
            time.sleep(0.25)
            steady.sendall(bytes(min(300, SLOW_BYTES - number)))
            asked = time.monotonic()
            assert ask(front.port, f"GET /image/a.jpg?x={number}")[0] == 200
            took.append(time.monotonic() - asked)
        assert json.loads(answered(steady)[2])["body"] == SLOW_BYTES
        statuses = set()
        for client in others[:64]:
            answer = answered(client)
            statuses.add(answer[0])
            _is_refused(
                answer, answer[0], "request-timeout" if answer[0] == 408 else Overloaded.code
            )
    # Some time out by themselves, and the others found no thread.
    assert 408 in statuses
    assert statuses <= {408, 503, 504}
    assert sorted(took)[len(took) // 2] < 0.2
    assert max(took) < 3
    groups = {came["group"] for came in front.arrived()[before:] if came["method"] == "POST"}
    assert groups == {"imguploads"}


# --- What was kept -------------------------------------------------------------------------------


@pytest.mark.parametrize("known", ["jpeg", "png", "webp", "gif"])
def test_apache_sends_the_file_that_was_uploaded(front: Front, known: str) -> None:
    kept = front.folder / "root" / "uploads" / "kept" / IDENT[:2] / IDENT
    kept.mkdir(parents=True, exist_ok=True)
    (kept / "original").write_bytes(b"as it is")
    (kept / "record.json").write_text("{}")
    inner = f"/-imgprocessor-inner/uploads/{known}"
    there = f"{inner}/kept/{IDENT[:2]}/{IDENT}"

    def ask_for(path: str) -> Told:
        return ask(front.port, f"GET /full/{IDENT}.jpg?Location={path}")

    status, headers, body = ask_for(f"{there}/original%3FCache-Control=private")
    assert (status, body, headers["content-type"]) == (200, b"as it is", f"image/{known}")
    assert headers["cache-control"] == "private"
    for path in (f"{there}/record.json", f"{inner}/kept", f"{inner}/", there):
        assert ask_for(path)[0] in {403, 404}
    assert ask(front.port, f"GET {there}/original")[0] == 403


# --- Caches in front -----------------------------------------------------------------------------


@pytest.mark.caches
@pytest.mark.parametrize(
    ("request_line", "size"),
    [
        ("POST /upload", 1_000_000),
        ("POST /upload/resumable/", 0),
        ("PATCH /upload/resumable/a", 262_144),
        ("HEAD /upload/resumable/a", None),
        ("GET /upload/resumable/a", None),
        ("DELETE /upload/resumable/a", None),
        ("OPTIONS /upload/resumable/", None),
        ("POST /image/a.jpg", 1000),
        ("DELETE /image/a.jpg", None),
    ],
)
def test_a_cache_hands_it_on_as_it_is(
    front: Front, edge: int, request_line: str, size: int | None
) -> None:
    """And keeps nothing of it."""
    request = f"{request_line}?Cache-Control=public,max-age%3D600&Imagekey=x"
    body = None if size is None else bytes(size)
    for _ in range(2):
        before = len(front.arrived())
        assert ask(edge, request, body, BEARER)[0] == 200
        (came,) = front.arrived()[before:]
        method = request_line.split(maxsplit=1)[0]
        assert (came["method"], came["body"], came["group"]) == (method, size or 0, "imguploads")
        assert (came["token"], came["by"]) == ("Bearer token", "127.0.0.1")


@pytest.mark.caches
def test_a_cache_hands_a_body_on_as_it_comes_and_waits_for_the_rest(
    front: Front, edge: int
) -> None:
    """Longer than Varnish does by itself."""
    with begin(edge, f"PATCH /upload/resumable/a?tell={edge}", 20_000, BEARER) as client:
        client.sendall(bytes(10_000))
        await_true(lambda: front.arrived().count({"came": str(edge)}) == 2)
        time.sleep(6)
        client.sendall(bytes(10_000))
        assert json.loads(answered(client)[2])["body"] == 20_000


@pytest.mark.caches
@pytest.mark.parametrize(("request_line", "headers", "limit"), LARGE)
def test_a_cache_refuses_what_is_too_large(
    front: Front, edge: int, request_line: str, headers: list[str], limit: int
) -> None:
    before = len(front.arrived())
    size = max(limit + 1, 1_000_000) if limit == SMALL_BODY_BYTES else limit + 1
    _is_refused(ask(edge, request_line, bytes(size), *headers), 413, TooLarge.code)
    assert front.arrived()[before:] == []


@pytest.mark.caches
def test_who_is_refused_behind_a_cache_hears_it(edge: int) -> None:
    answer = ask(edge, "POST /upload?unread=1&status=401", bytes(5_000_000), BEARER)
    assert answer[0] == 401


@pytest.mark.caches
def test_many_bodies_at_once_come_through_a_cache(edge: int) -> None:
    def send(size: int) -> int:
        return int(json.loads(ask(edge, "POST /upload", bytes(size), BEARER)[2])["body"])

    sizes = [100_000 + number for number in range(40)]
    with ThreadPoolExecutor(20) as pool:
        assert [*pool.map(send, sizes)] == sizes
