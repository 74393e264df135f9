"""Downloads: from hosts that do all they should not, and from names that change their minds."""

import contextlib
import itertools
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
import trustme
from origins import PUBLIC, Behave, Wires, answer, origin, public, resetting, saying

from imgprocessor.config.settings import RemoteSettings
from imgprocessor.errors import (
    ImageError,
    NotFound,
    OriginBusy,
    OriginFailed,
    OriginForbidden,
    OriginTimeout,
    OversizedOriginal,
)
from imgprocessor.originals.http.fetch import Fetched, Fetcher, Known
from imgprocessor.originals.http.transport import Resolve
from imgprocessor.originals.source import HostDown
from imgprocessor.request.urls import read_url

HOSTS = ("a.example", "b.example")
SETTINGS = RemoteSettings(
    hosts=HOSTS,
    max_bytes=100_000,
    dns_seconds=20,
    connect_seconds=20,
    first_byte_seconds=20,
    total_seconds=20,
)
"""A test shortens the one limit that it is about: no other ends anything then, and a machine that
is busy changes no error into another."""
SLACK_SECONDS = 8
"""As much later than it should a limit may end something on a busy machine: far less than the next
limit, which would end it otherwise."""
BODY = b"picture" * 100


def fetched(
    port: int,
    url: str = "http://a.example/a.jpg",
    *,
    known: Known | None = None,
    resolve: Resolve = public,
    tls: ssl.SSLContext | None = None,
    settings: RemoteSettings = SETTINGS,
) -> Fetched:
    wires = Wires(port)
    fetcher = Fetcher(settings, resolve=resolve, dial=wires.dial, tls=tls)
    try:
        return fetcher.fetch(read_url(url), known, seconds=settings.total_seconds)
    finally:
        assert {address for address, _ in wires.dialled} <= {PUBLIC}


def test_what_a_host_gives_is_returned_with_what_it_says() -> None:
    with origin(saying(answer(BODY, ETag='"x"', Cache_Control="max-age=5"))) as there:
        got = fetched(there.port, "http://a.example/a%20b?c=d")

    assert got.body == BODY
    assert (got.headers["etag"], got.headers["cache-control"]) == ('"x"', "max-age=5")
    (request,) = there.requests
    assert request.startswith(b"GET /a%20b?c=d HTTP/1.1\r\n")
    named = {line.partition(b":")[0].lower() for line in request.split(b"\r\n")[1:] if line}
    assert named == {b"host", b"user-agent", b"accept", b"accept-encoding", b"connection"}
    assert b"Host: a.example\r\n" in request
    assert b"Accept-Encoding: identity\r\n" in request


def test_no_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with origin(saying(answer(b"proxy"))) as proxy, origin(saying(answer(BODY))) as there:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert fetched(there.port).body == BODY
        assert not proxy.requests


def drip(connection: socket.socket, head: bytes) -> None:
    connection.sendall(head)
    while True:
        connection.sendall(b"x")
        time.sleep(0.05)


def endlessly(connection: socket.socket, head: bytes, more: bytes) -> None:
    connection.sendall(head)
    while True:
        connection.sendall(more)


def cut(content: bytes) -> Behave:
    def behave(connection: socket.socket, _request: bytes) -> None:
        connection.sendall(content)
        time.sleep(0.1)
        resetting(connection)

    return behave


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SHORT = answer(BODY, Content_Length=str(len(BODY) + 1))


def stopping(connection: socket.socket, _request: bytes) -> None:
    connection.sendall(SHORT)
    time.sleep(30)


FAULTS: dict[str, tuple[Behave, type[ImageError], float]] = {
    "drip in the headers": (lambda c, _: drip(c, b"HTTP/1.1 200 OK\r\nX: "), OriginTimeout, 1),
    "drip in the body": (
        lambda c, _: drip(c, b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n"),
        OriginTimeout,
        2.1,
    ),
    "drip of chunks": (lambda c, _: drip(c, CHUNKED + b"ffff\r\n"), OriginTimeout, 2.1),
    "nothing for ever": (lambda _c, _: time.sleep(30), OriginTimeout, 1),
    "1xx for ever": (
        lambda c, _: endlessly(c, b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        OriginTimeout,
        1,
    ),
    "a body that stops": (stopping, OriginTimeout, 2.1),
    "RST at once": (lambda c, _: resetting(c), OriginFailed, 0),
    "RST in the headers": (cut(b"HTTP/1.1 200 OK\r\nX:"), OriginFailed, 0.1),
    "RST in the body": (cut(SHORT), OriginFailed, 0.1),
    "the end at once": (saying(b""), OriginFailed, 0),
    "half a body": (saying(SHORT), OriginFailed, 0),
    "half a chunk": (saying(CHUNKED + b"ff\r\nx"), OriginFailed, 0),
    "chunks without an end": (saying(CHUNKED + b"1\r\nx\r\n"), OriginFailed, 0),
    "two lengths": (saying(answer(BODY, content_length="5")), OriginFailed, 0),
    "no number for a length": (saying(answer(BODY, Content_Length="-5")), OriginFailed, 0),
    "a length with 5,000 digits": (saying(answer(b"", Content_Length="9" * 5000)), ImageError, 0),
    "no length": (saying(b"HTTP/1.1 200 OK\r\n\r\nx"), OriginFailed, 0),
    "a length over the limit": (
        saying(answer(b"", Content_Length="100001")),
        OversizedOriginal,
        0,
    ),
    "a body without end": (
        lambda c, _: endlessly(c, CHUNKED, b"ffff\r\n" + bytes(65535) + b"\r\n"),
        OversizedOriginal,
        0,
    ),
    "headers without end": (
        lambda c, _: endlessly(c, b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        OriginFailed,
        0,
    ),
    "gzip": (saying(answer(BODY, Content_Encoding="gzip")), OriginFailed, 0),
    "gzip for the transfer": (
        saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        OriginFailed,
        0,
    ),
    "no HTTP": (saying(b"SSH-2.0-OpenSSH_9.2\r\n"), OriginFailed, 0),
    "to itself for ever": (
        saying(answer(b"", "302 Found", Location="/a.jpg")),
        OriginFailed,
        0,
    ),
    "elsewhere without saying where": (saying(answer(b"", "302 Found")), OriginFailed, 0),
    "404": (saying(answer(b"", "404 Not Found")), NotFound, 0),
    "410": (saying(answer(b"", "410 Gone")), NotFound, 0),
    "304 unasked": (saying(b"HTTP/1.1 304 Not Modified\r\n\r\n"), OriginFailed, 0),
    **{
        status: (saying(answer(b"x", f"{status} Odd")), OriginFailed, 0)
        for status in ("201", "206", "300", "401", "403", "407", "418", "500", "503", "599")
    },
}  # fmt: skip


@pytest.mark.parametrize(
    "fault",
    [
        fault if seconds < 1 else pytest.param(fault, marks=pytest.mark.slow)
        for fault, (_, _, seconds) in FAULTS.items()
    ],
)
def test_a_host_that_does_what_it_should_not_costs_bounded_time(fault: str) -> None:
    behave, error, seconds = FAULTS[fault]
    settings = replace(SETTINGS, first_byte_seconds=1) if seconds == 1 else SETTINGS
    with origin(behave) as there:
        began = time.monotonic()
        with pytest.raises(error):
            fetched(there.port, settings=settings)
        assert seconds - 0.1 < time.monotonic() - began < seconds + SLACK_SECONDS
        assert len(there.requests) <= SETTINGS.max_redirects + 1


@pytest.mark.slow
def test_the_total_time_is_bounded_whatever_each_part_takes() -> None:
    """Each hop is within its own bounds, and a body that keeps the rate may be long."""

    def behave(connection: socket.socket, request: bytes) -> None:
        if b"/a.jpg" in request:
            time.sleep(0.8)
            connection.sendall(answer(b"", "302 Found", Location="/b.jpg"))
        else:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n")
            while True:
                connection.sendall(bytes(1500))
                time.sleep(0.1)

    settings = replace(SETTINGS, total_seconds=2)
    with origin(behave) as there:
        began = time.monotonic()
        with pytest.raises(OriginTimeout, match="all of it"):
            fetched(there.port, settings=settings)
        assert 1.9 < time.monotonic() - began < 2 + SLACK_SECONDS


@pytest.mark.slow
def test_a_body_that_keeps_the_rate_may_take_its_time() -> None:
    """Over the whole of it: most comes at first, so that a pause of some seconds does no harm."""

    def behave(connection: socket.socket, _request: bytes) -> None:
        connection.sendall(answer(b"", Content_Length="99000") + bytes(90_000))
        for _ in range(30):
            connection.sendall(bytes(300))
            time.sleep(0.1)

    with origin(behave) as there:
        assert fetched(there.port).body == bytes(99_000)


def test_what_is_longer_than_it_says_ends_where_it_says() -> None:
    with origin(saying(answer(BODY, Content_Length="100"))) as there:
        assert fetched(there.port).body == BODY[:100]


def redirecting(*steps: bytes) -> Behave:
    each = iter(steps)
    return lambda connection, _: connection.sendall(next(each))


def moved(location: str, status: str = "302 Found") -> bytes:
    return answer(b"", status, Location=location)


def test_three_redirects_are_followed_and_not_a_fourth() -> None:
    hops = [moved("/1"), moved("//b.example/2", "301 Moved"), moved("x", "308 Moved")]
    with origin(redirecting(*hops, answer(BODY))) as there:
        got = fetched(there.port)
        assert (got.body, str(got.url)) == (BODY, "http://b.example/x")
        hosts = [request.partition(b"Host: ")[2].split(b"\r\n")[0] for request in there.requests]
        assert hosts == [b"a.example", b"a.example", b"b.example", b"b.example"]
    with origin(redirecting(*hops, moved("/y"), answer(BODY))) as there:
        with pytest.raises(OriginFailed, match="more than 3 times"):
            fetched(there.port)
        assert len(there.requests) == 4


@pytest.mark.parametrize(
    "location",
    [
        *("http://c.example/", "http://127.0.0.1/", "http://[::1]/", "http://localhost/"),
        *("http://2130706433/", "http://a.example:22/", "http://u:p@a.example/", "file:///etc/passwd"),
        *("//169.254.169.254/latest/meta-data", "http://a.example\\@127.0.0.1/", "gopher://a.example"),
        *("http://b.example@127.0.0.1/", "http://a.example#@127.0.0.1/\\", "http://127.1/"),
    ],
)  # fmt: skip
def test_a_redirect_is_checked_as_the_url_was(location: str) -> None:
    with origin(saying(moved(location))) as there, pytest.raises(OriginForbidden):
        fetched(there.port)
    assert len(there.requests) == 1


def test_a_redirect_to_a_name_with_an_address_of_this_machine_goes_nowhere() -> None:
    def resolve(host: str, _port: int) -> list[str]:
        return [PUBLIC] if host == "a.example" else ["127.0.0.1"]

    with origin(saying(moved("http://b.example/"))) as there:
        with pytest.raises(OriginForbidden, match=r"127\.0\.0\.1"):
            fetched(there.port, resolve=resolve)
        assert len(there.requests) == 1


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"], ["::1"], ["10.1.2.3"], ["169.254.169.254"], ["0.0.0.1"], ["fe80::1%lo"],
        ["::ffff:127.0.0.1"], ["64:ff9b::7f00:1"], [PUBLIC, "127.0.0.1"], ["::1", PUBLIC],
        [PUBLIC, "8.8.8.8", "1.1.1.1", "9.9.9.9", "8.8.4.4", "10.0.0.1"],
    ],
)  # fmt: skip
def test_one_address_that_is_not_everybodys_is_enough(addresses: Sequence[str]) -> None:
    with origin(saying(answer(BODY))) as there:
        with pytest.raises(OriginForbidden):
            fetched(there.port, resolve=lambda _host, _port: addresses)
        assert not there.requests


def test_a_name_that_changes_its_mind_is_asked_once_for_each_connection() -> None:
    """C2: 1,000 tries, public and loopback by turns."""
    answers = itertools.cycle([[PUBLIC], ["127.0.0.1"], [PUBLIC, "127.0.0.1"], ["::1"], [PUBLIC]])
    asked = []

    def resolve(host: str, _port: int) -> list[str]:
        asked.append(host)
        return next(answers)

    with contextlib.ExitStack() as stack:
        there = stack.enter_context(origin(saying(answer(BODY))))
        wires = Wires(there.port)
        fetcher = Fetcher(SETTINGS, resolve=resolve, dial=wires.dial)
        came = 0
        for _ in range(1000):
            with contextlib.suppress(OriginForbidden):
                fetcher.fetch(read_url("http://a.example/"), None, seconds=SETTINGS.total_seconds)
                came += 1

    assert came == 400
    assert len(asked) == 1000
    assert wires.dialled == [(PUBLIC, 80)] * 400


@pytest.mark.slow
def test_addresses_are_tried_one_after_the_other_within_the_time_for_one() -> None:
    settings = replace(SETTINGS, connect_seconds=3)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as stack:
        port = full.getsockname()[1]
        for _ in range(3):  # until nobody else gets in
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        there = stack.enter_context(origin(saying(answer(BODY))))

        shares: list[float] = []

        def dial(address: str, _port: int, seconds: float) -> socket.socket:
            shares.append(seconds)
            ports = {PUBLIC: there.port, "8.8.8.8": port, "1.1.1.1": 1, "9.9.9.9": port}
            return socket.create_connection(("127.0.0.1", ports[address]), seconds)

        def resolved(*found: str) -> Fetched:
            fetcher = Fetcher(settings, resolve=lambda _host, _port: found, dial=dial)
            return fetcher.fetch(
                read_url("http://a.example/"), None, seconds=SETTINGS.total_seconds
            )

        assert resolved("1.1.1.1", "8.8.8.8", PUBLIC).body == BODY
        shares.clear()
        with pytest.raises(HostDown) as caught:
            resolved("8.8.8.8", "9.9.9.9")
        assert len(shares) == 2
        assert sum(shares) <= 3
        assert isinstance(caught.value.error, OriginTimeout)
        with pytest.raises(HostDown) as caught:
            resolved("1.1.1.1")
        assert isinstance(caught.value.error, OriginFailed)


def test_a_resolver_that_hangs_is_not_waited_for() -> None:
    released = threading.Event()

    def resolve(_host: str, _port: int) -> list[str]:
        released.wait(30)
        return ["127.0.0.1"]

    fetcher = Fetcher(replace(SETTINGS, dns_seconds=1), resolve=resolve)
    began = time.monotonic()
    with pytest.raises(HostDown, match="in time"):
        fetcher.fetch(read_url("http://a.example/"), None, seconds=SETTINGS.total_seconds)
    assert 0.9 < time.monotonic() - began < 1 + SLACK_SECONDS
    released.set()


def test_only_so_many_resolvers_hang() -> None:
    released = threading.Event()
    asked = itertools.count()

    def resolve(_host: str, _port: int) -> list[str]:
        next(asked)
        released.wait(30)
        return []

    fetcher = Fetcher(replace(SETTINGS, dns_seconds=1), resolve=resolve)

    def one() -> None:
        with contextlib.suppress(HostDown, OriginBusy):
            fetcher.fetch(read_url("http://a.example/"), None, seconds=SETTINGS.total_seconds)

    threads = [threading.Thread(target=one) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    released.set()
    assert next(asked) == 32


@pytest.mark.parametrize("found", [socket.gaierror("no"), UnicodeError("no"), None])
def test_a_name_without_addresses_is_no_host(found: Exception | None) -> None:
    def resolve(_host: str, _port: int) -> list[str]:
        if found is not None:
            raise found
        return []

    with pytest.raises(HostDown) as caught:
        fetched(1, resolve=resolve)
    assert isinstance(caught.value.error, OriginFailed)
    assert caught.value.origin == "http://a.example"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def serving(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def test_tls_is_for_the_name(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    with origin(saying(answer(BODY)), serving(authority, "a.example")) as there:
        assert fetched(there.port, "https://a.example/", tls=trusting).body == BODY
        assert there.server_names == ["a.example"]


@pytest.mark.parametrize("names", [["b.example"], [PUBLIC], ["*.a.example"]])
def test_a_certificate_for_somebody_else_is_refused(
    authority: trustme.CA, trusting: ssl.SSLContext, names: list[str]
) -> None:
    with (
        origin(saying(answer(BODY)), serving(authority, *names)) as there,
        pytest.raises(HostDown, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        fetched(there.port, "https://a.example/", tls=trusting)
    assert not there.requests


def test_a_certificate_of_an_unknown_authority_is_refused(authority: trustme.CA) -> None:
    with (
        origin(saying(answer(BODY)), serving(authority, "a.example")) as there,
        pytest.raises(HostDown, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        fetched(there.port, "https://a.example/")
    assert not there.requests


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that accepts, and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_handshake_ends_in_time(silent: int) -> None:
    began = time.monotonic()
    with pytest.raises(HostDown) as caught:
        fetched(silent, "https://a.example/", settings=replace(SETTINGS, connect_seconds=1))
    assert isinstance(caught.value.error, OriginTimeout)
    assert 0.9 < time.monotonic() - began < 1 + SLACK_SECONDS


def test_a_handshake_that_is_none_is_a_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(HostDown) as caught:
            fetched(listener.getsockname()[1], "https://a.example/")
    assert isinstance(caught.value.error, OriginFailed)


def test_half_a_body_over_tls_is_noticed(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    with (
        origin(saying(SHORT), serving(authority, "a.example")) as there,
        pytest.raises(OriginFailed),
    ):
        fetched(there.port, "https://a.example/", tls=trusting)


def test_only_who_sent_it_is_asked_whether_it_is_still_good() -> None:
    conditions = {"If-None-Match": '"x"', "If-Modified-Since": "yesterday"}
    not_modified = b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n'
    with origin(redirecting(moved("/b"), not_modified)) as there:
        got = fetched(there.port, known=Known("http://a.example/b", conditions))
        assert got.body is None
        assert b"If-None-Match" not in there.requests[0]
        assert b'If-None-Match: "x"\r\nIf-Modified-Since: yesterday' in there.requests[1]
    with origin(saying(not_modified)) as there, pytest.raises(OriginFailed):
        fetched(there.port, known=Known("http://a.example/b", conditions))
