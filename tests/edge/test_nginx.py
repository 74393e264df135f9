"""What nginx does with its configuration; it keeps no tags, and cannot tell who sent a 5xx."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import caches
import pytest
from caches import Asked, Behind, answer
from conftest import ROOT
from servers import await_true

from imgprocessor.load import load_settings
from imgprocessor.storage.proxy_files import remove_tagged

pytestmark = pytest.mark.caches

LONG = ("Cache-Control", "public, max-age=86400, s-maxage=600")
SHORT = "public, max-age=86400, s-maxage=1"
NO_STORE = ("Cache-Control", "no-store")

# nginx counts whole seconds: what is kept for one is surely old after 2.5.
OLD_SECONDS = 2.5

Told = tuple[int, dict[str, str], bytes]


@dataclass
class Edge:
    """nginx, and what stands behind it."""

    there: Behind
    port: int
    folder: Path
    """Where it keeps answers."""

    def ask(self, target: str, method: str = "GET", **headers: str) -> Told:
        """Send one request on a connection of its own."""
        with caches.connection(self.port) as connection:
            sent = [(name.replace("_", "-"), value) for name, value in headers.items()]
            return connection.ask(target, sent, method)

    def tell(self, status: int, *headers: tuple[str, str], body: bytes = b"") -> None:
        """Have every request from now on answered like this."""
        self.there.respond = lambda _: answer(status, list(headers), body)

    def wait_for(self, target: str, x_cache: str) -> Told:
        """Ask until the cache says this of what it sent."""
        deadline = time.monotonic() + 10
        while (told := self.ask(target))[1]["x-cache"] != x_cache:
            assert time.monotonic() < deadline, told
            time.sleep(0.1)
        return told


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    settings = load_settings(ROOT / "conf" / "imgprocessor.ini")
    with caches.behind() as there:
        folder = tmp_path_factory.mktemp("nginx")
        with caches.nginx(folder, settings, there.port) as port:
            yield Edge(there, port, folder / caches.NGINX_CACHE)


@pytest.fixture
def edge(running: Edge) -> Edge:
    """Each test takes an original of its own, so that one nginx is enough."""
    running.there.asked.clear()
    return running


def test_what_means_the_same_hits(edge: Edge) -> None:
    edge.tell(200, LONG, ("xkey", "o-1"), body=b"3g")
    first = edge.ask("/images/?name=same.jpeg&width=340", ECT="3g", Cookie="a=b", Authorization="x")
    assert (first[0], first[1]["x-cache"]) == (200, "MISS")
    seen = edge.there.asked[0].joined()
    spelled = "name=same.jpeg&width=340&bandwidth=3g&dpr=1&formats=gif"
    assert edge.there.asked[0].target == f"/images/?{spelled}"
    assert seen["image-asked"] == "name=same.jpeg&width=340"
    assert not {"cookie", "authorization"} & seen.keys()
    for target, headers in (
        ("/images/?utm_source=a&width=0340&name=same.jpeg&_=1", {"ECT": "3G"}),
        ("/images/?name=same.jpeg&width=340", {"RTT": "300", "Cookie": "c=d"}),
        ("http://elsewhere/images/?name=same.jpeg&width=340", {"ECT": "3g"}),
    ):
        status, found, body = edge.ask(target, **headers)
        assert (status, found["x-cache"], body) == (200, "HIT", b"3g")
        assert found["cache-control"] == LONG[1]
        assert "ECT" in found["vary"]
        assert "Accept" in found["vary"]
        assert "Viewport-Width" not in found["vary"]
        assert not {"age", "xkey"} & found.keys()
    _, found, _ = edge.ask("/images/?name=same.jpeg&width=340&bandwidth=3g&formats=gif&dpr=1")
    assert found["x-cache"] == "HIT"
    assert "vary" not in found
    assert len(edge.there.asked) == 1
    assert edge.ask("/images/?name=same.jpeg&width=340", ECT="4g")[1]["x-cache"] == "MISS"


def test_a_missing_original_is_kept(edge: Edge) -> None:
    edge.tell(404, ("Cache-Control", "public, max-age=30"), body=b"none")
    assert edge.ask("/images/?name=missing.jpeg")[0] == 404
    status, found, body = edge.ask("/images/?name=missing.jpeg")
    assert (status, found["x-cache"], body) == (404, "HIT", b"none")


@pytest.mark.parametrize("told", [NO_STORE, LONG, ("X-Other", "says nothing")], ids=lambda h: h[1])
def test_a_failure_is_not_kept(edge: Edge, told: tuple[str, str]) -> None:
    for status in (500, 503):
        edge.tell(status, told)
        for _ in range(2):
            assert edge.ask(f"/images/?name=failed-{len(told[1])}.jpeg")[0] == status
    assert len(edge.there.asked) == 4


def test_a_picture_is_never_sent_in_parts(edge: Edge) -> None:
    edge.tell(200, LONG, ("ETag", 'W/"1"'), body=b"picture")
    for state in ("MISS", "HIT"):
        status, found, body = edge.ask("/images/?name=whole.jpeg", Range="bytes=1-2")
        assert (status, found["x-cache"], body) == (200, state, b"picture")


def test_what_has_no_spelling_is_not_kept(edge: Edge) -> None:
    edge.tell(400, LONG)
    for _ in range(2):
        _, found, _ = edge.ask("/images/?name=refused.jpeg&name=a")
        assert found["x-cache"] == "BYPASS"
    assert len(edge.there.asked) == 2
    assert all(asked.target.endswith("&name=a") for asked in edge.there.asked)


def test_a_node_that_answers_with_long_headers_has_not_failed(edge: Edge) -> None:
    edge.tell(200, LONG, ("imagekey", "k" * 7000))
    for _ in range(4):
        assert edge.ask(f"/images/?name={'n' * 6000}.jpeg")[0] == 200


def test_what_still_varies_is_not_kept(edge: Edge) -> None:
    """The application's policy is another one than this configuration was written for."""
    edge.tell(200, LONG, ("Vary", "ECT"))
    for _ in range(2):
        _, found, _ = edge.ask("/images/?name=varies.jpeg")
        assert found["x-cache"] == "MISS"
    assert len(edge.there.asked) == 2


def test_no_store_is_not_kept(edge: Edge) -> None:
    edge.tell(200, NO_STORE)
    for _ in range(2):
        edge.ask("/images/?name=disagreed.jpeg")
    assert len(edge.there.asked) == 2


def test_what_is_posted_and_other_paths_are_passed(edge: Edge) -> None:
    edge.tell(200, LONG, ("Vary", "Accept-Language"))
    for method, target in (
        ("POST", "/images/?name=posted.jpeg"),
        ("GET", "/page.html"),
        ("GET", "/images/-/other"),
        ("GET", "/images"),
    ):
        before = len(edge.there.asked)
        for _ in range(2):
            status, found, _ = edge.ask(target, method, image_asked="forged", Content_Length="0")
            assert status == 200, target
            assert method == "POST" or found["vary"] == "Accept-Language"
        asked = edge.there.asked[before:]
        assert [each.method for each in asked] == [method] * 2
        assert all(each.joined().get("image-asked") != "forged" for each in asked)


def test_pages_that_ask_for_a_password_are_passed_with_it(edge: Edge) -> None:
    edge.tell(200, ("Cache-Control", "private, max-age=86400"))
    for _ in range(2):
        assert edge.ask("/flower/tasks", Authorization="Basic eDp5")[0] == 200

    assert [asked.target for asked in edge.there.asked] == ["/flower/tasks"] * 2
    assert {asked.joined()["authorization"] for asked in edge.there.asked} == {"Basic eDp5"}


@pytest.mark.parametrize("target", ["/image/once.jpg", "/upload/resumable/once"])
@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "DELETE"])
def test_what_changes_something_is_sent_once(edge: Edge, method: str, target: str) -> None:
    """Also on a connection that was kept, and has gone."""
    edge.tell(200, NO_STORE)
    edge.ask(target, "OPTIONS")
    edge.there.asked.clear()
    edge.there.respond = lambda _: b""
    assert edge.ask(target, method, Content_Length="0", Authorization="Bearer a")[0] == 502
    (asked,) = edge.there.asked
    assert (asked.method, asked.target) == (method, target)
    assert asked.joined()["authorization"] == "Bearer a"


def test_long_requests_are_answered(edge: Edge) -> None:
    edge.tell(200, LONG)
    for query in ("a=" + "x" * 6500, "width=" + "0" * 6500, "&" * 6500):
        status, _, _ = edge.ask(f"/images/?{query}&name=long.jpeg")
        assert status == 200
    status, _, _ = edge.ask("/images/?name=long.jpeg", Accept="image/webp," * 600)
    assert status == 200


def test_equal_requests_become_one(edge: Edge) -> None:
    def slow(_: Asked) -> bytes:
        time.sleep(0.7)
        return answer(200, [LONG], b"one")

    edge.there.respond = slow
    with ThreadPoolExecutor(8) as pool:
        targets = [f"/images/?name=herd.jpeg&a={number}" for number in range(8)]
        assert {body for _, _, body in pool.map(edge.ask, targets)} == {b"one"}
    assert len(edge.there.asked) == 1


def test_head_and_conditions_are_answered_from_what_is_kept(edge: Edge) -> None:
    edge.tell(200, LONG, ("ETag", '"1"'), body=b"good")
    target = "/images/?name=head.jpeg"
    status, found, _ = edge.ask(target, "HEAD", If_None_Match='"0"')
    assert (status, found["content-length"], found["x-cache"]) == (200, "4", "MISS")
    status, found, _ = edge.ask(target, If_None_Match='"1"')
    assert (status, found["etag"], found["x-cache"]) == (304, '"1"', "HIT")
    assert "Accept" in found["vary"]
    status, found, body = edge.ask(target)
    assert (status, body, found["x-cache"]) == (200, b"good", "HIT")
    (asked,) = edge.there.asked
    assert asked.method == "GET"
    assert "if-none-match" not in asked.joined()


def test_what_is_old_is_asked_about(edge: Edge) -> None:
    def ask_about(asked: Asked) -> bytes:
        if asked.joined().get("if-none-match") == '"1"':
            return answer(304, [LONG, ("ETag", '"1"')])
        return answer(200, [("Cache-Control", SHORT), ("ETag", '"1"')], b"good")

    edge.there.respond = ask_about
    edge.ask("/images/?name=asked.jpeg")
    assert edge.wait_for("/images/?name=asked.jpeg", "REVALIDATED")[2] == b"good"
    assert edge.wait_for("/images/?name=asked.jpeg", "HIT")[2] == b"good"
    assert len(edge.there.asked) == 2


def test_the_old_one_is_sent_while_the_new_one_is_fetched(edge: Edge) -> None:
    fetch, target = threading.Event(), "/images/?name=grace.jpeg"
    edge.tell(200, ("Cache-Control", f"{SHORT}, stale-while-revalidate=600"), body=b"old")
    edge.ask(target)

    def slow(_: Asked) -> bytes:
        assert fetch.wait(20)
        return answer(200, [LONG], b"new")

    edge.there.respond = slow
    time.sleep(OLD_SECONDS)
    for _ in range(5):
        status, _, body = edge.ask(target)
        assert (status, body) == (200, b"old")
    fetch.set()
    assert edge.wait_for(target, "HIT")[2] == b"new"
    assert len(edge.there.asked) == 2


def _failing(status: int) -> Callable[[Asked], bytes]:
    return lambda _: answer(status, [NO_STORE], b"failed") if status else b""


@pytest.mark.parametrize("status", [500, 503, 0])
def test_the_old_one_is_sent_while_the_application_fails(edge: Edge, status: int) -> None:
    target = f"/images/?name=failing-{status}.jpeg"
    edge.tell(200, ("Cache-Control", f"{SHORT}, stale-if-error=600"), body=b"old")
    edge.ask(target)
    time.sleep(OLD_SECONDS)
    edge.there.respond = _failing(status)
    for _ in range(2):
        told, found, body = edge.ask(target)
        assert (told, body, found["x-cache"]) == (200, b"old", "STALE")
    edge.tell(200, LONG, body=b"new")
    await_true(lambda: edge.ask(target)[2] == b"new", 10)


@pytest.mark.parametrize("control", ["", ", stale-while-revalidate=600, stale-if-error=600"])
def test_a_deleted_original_is_gone(edge: Edge, control: str) -> None:
    """Its old picture is not sent instead, for a 404 is no error of the application's."""
    target = f"/images/?name=deleted-{len(control)}.jpeg"
    edge.tell(200, ("Cache-Control", SHORT + control), body=b"old")
    edge.ask(target)
    edge.tell(404, ("Cache-Control", "public, max-age=30"), body=b"none")
    await_true(lambda: edge.ask(target)[0] == 404, 6)


def test_no_older_one_is_sent_than_may_be(edge: Edge) -> None:
    target = "/images/?name=too-old.jpeg"
    edge.tell(200, ("Cache-Control", f"{SHORT}, stale-while-revalidate=0"), body=b"old")
    edge.ask(target)
    time.sleep(OLD_SECONDS)
    edge.tell(200, LONG, body=b"new")
    assert edge.ask(target)[2] == b"new"


def test_files_that_are_removed_were_never_there(edge: Edge) -> None:
    """A purge finds them by the tags in their headers."""
    target = "/images/?name=purged.jpg&width="
    edge.tell(200, LONG, ("xkey", "o-1234 k-1 imgprocessor"), body=b"old")
    edge.ask(f"{target}10")
    edge.tell(200, LONG, ("xkey", "o-1235 k-2 imgprocessor"), body=b"old")
    edge.ask(f"{target}11")
    edge.tell(200, LONG, ("xkey", "o-1236 k-3 imgprocessor"), body=b"new")

    assert remove_tagged(edge.folder, ["o-1234", "k-3"]) == 1
    assert edge.ask(f"{target}10")[2] == b"new"
    assert edge.ask(f"{target}11")[2] == b"old"
    assert edge.ask(f"{target}10")[1]["x-cache"] == "HIT"


def test_what_the_application_did_not_sign_is_not_kept(edge: Edge) -> None:
    """Another virtual host of the same Apache, for a Host that a client made up."""
    target = "/images/?name=unsigned.jpg"
    edge.there.respond = lambda _: answer(200, [LONG], b"foreign").replace(b"imagekey", b"x-other")
    assert edge.ask(target)[2] == b"foreign"
    edge.tell(200, LONG, body=b"ours")

    assert edge.ask(target)[2] == b"ours"
    assert edge.ask(target)[1]["x-cache"] == "HIT"
