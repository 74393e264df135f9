"""Real caches for tests, with what `edge` writes, and something to put behind them."""

import base64
import contextlib
import re
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote_to_bytes

from processes import HTTPD, free_port, httpd_conf, nginx_command, running, varnish_command
from servers import open_up

from imgprocessor.app import edge_configuration
from imgprocessor.config.settings import Settings
from imgprocessor.edge.writers import Backend, Cache, Site

NGINX_CACHE = "nginx-cache"

QUICKLY_COMPILED = ("-p", "cc_command=exec gcc -O0 -pthread -fpic -shared -Wl,-x -o %o %s")
"""Varnish compiles its configuration: to optimize takes a second, and few requests gain by it."""

Headers = list[tuple[str, str]]

_TOLD_BY_APACHE = (
    'Header always set key "expr=%{QUERY_STRING}"\nHeader always set Vary "%{img_vary}e"\n'
    'Header always set path "expr=%{base64:%{REQUEST_URI}}"\n'
    'Header always set asked "%{HTTP_IMAGE_ASKED}e"\n'
)


@dataclass
class Asked:
    """A request as it arrived behind a cache."""

    method: str
    target: str
    headers: Headers
    """Names in lower case."""

    def joined(self) -> dict[str, str]:
        """Return the headers as Apache hands them to WSGI: those sent twice as one list."""
        known: dict[str, str] = {}
        for name, value in self.headers:
            known[name] = f"{known[name]}, {value}" if name in known else value
        return known


Ask = Callable[[str, Headers], tuple[str, str, Asked | None]]
"""From path and query string, and headers, to path and query string that an application behind is
asked with, the Vary that the client is told, and the request as it came there. What a cache refuses
by itself is asked as it is.
"""


@dataclass
class Behind:
    """What stands behind a cache in tests: remembers what it was asked, and answers as told."""

    port: int
    asked: list[Asked] = field(default_factory=list)
    respond: Callable[[Asked], bytes] = lambda _: answer(200, [("cache-control", "no-store")])


def answer(status: int, headers: Headers, body: bytes = b"") -> bytes:
    """Return a whole response; `imagekey` is added, as the application does."""
    lines = [f"HTTP/1.1 {status} told", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if not any(name.lower() == "imagekey" for name, _ in headers):
        lines.append("imagekey: told")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@contextlib.contextmanager
def behind(host: str = "127.0.0.1", port: int = 0) -> Iterator[Behind]:
    """Listen on a free port."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while True:
                head = _read_head(self.rfile)
                if head is None:
                    return
                if "/-/health" in head.target:
                    self.wfile.write(answer(200, []))
                    return  # who probes waits for the end
                there.asked.append(head)
                told = there.respond(head)
                if not told:
                    return
                if head.method == "HEAD":
                    told = told.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
                self.wfile.write(told)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True
        request_queue_size = 64

    with Server((host, port), Handler) as server:
        there = Behind(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield there
        finally:
            server.shutdown()


def _read_head(stream: object) -> Asked | None:
    lines = []
    readline = stream.readline  # type: ignore[attr-defined]
    with contextlib.suppress(ConnectionError):
        while True:
            line: bytes = readline(65_536)
            if not line:
                return None
            text = line.rstrip(b"\r\n").decode("latin-1")
            if not text:
                break
            lines.append(text)
        method, target, _ = lines[0].split(" ", 2)
        headers = [
            (name.lower(), value.strip(" \t"))
            for name, _, value in (line.partition(":") for line in lines[1:])
        ]
        return Asked(method, target, headers)
    return None


class Connection:
    """A kept connection that sends bytes as they are: clients of Python's mend what is odd."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open()

    def _open(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=30)
        self._stream = self._socket.makefile("rb")
        self._has_answered = False

    def _first_line(self, request: bytes) -> bytes:
        """Send a request and return the first line of the answer.

        Servers close a connection that is idle (Varnish after five seconds) without a word. The
        client notices with the next request, and sends it again on a new connection (RFC 9112,
        9.3.1), but only once, and only where nothing of an answer came.
        """
        line = b""
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            self._socket.sendall(request)
            line = self._stream.readline()
        if not line and self._has_answered:
            self.close()
            self._open()
            return self._first_line(request)
        if not line:
            raise ConnectionResetError("The server closed a new connection without an answer.")
        self._has_answered = True
        return line

    def ask(
        self, target: str, headers: Sequence[tuple[str, str]] = (), method: str = "GET"
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers (names in lower case) and body."""
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost"]
        lines += [f"{name}: {value}" for name, value in headers]
        first = self._first_line("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")
        status = int(first.split()[1])
        found: dict[str, str] = {}
        while line := self._stream.readline().strip().decode("latin-1"):
            name, _, value = line.partition(":")
            found[name.lower()] = value.strip()
        body = b""
        if method != "HEAD" and status not in {204, 304}:
            if found.get("transfer-encoding") == "chunked":
                while size := int(self._stream.readline(), 16):
                    body += self._stream.read(size)
                    self._stream.readline()
                self._stream.readline()
            else:
                body = self._stream.read(int(found["content-length"]))
        if found.get("connection") == "close":
            self.close()
            self._open()
        return status, found, body

    def close(self) -> None:
        """Close it."""
        self._stream.close()
        self._socket.close()


@contextlib.contextmanager
def connection(port: int) -> Iterator[Connection]:
    """Open a connection; close it."""
    there = Connection(port)
    with contextlib.closing(there):
        yield there


def for_strangers(vcl: str) -> str:
    """Return a configuration in which this machine may not purge."""
    text, count = re.subn(r'(?m)^    "(127\.0\.0\.1|::1)";\n', '    "192.0.2.1";\n', vcl)
    assert count == 2
    return text


@contextlib.contextmanager
def varnish(folder: Path, vcl: str, port: int | None = None) -> Iterator[int]:
    """Run Varnish with a configuration; yield its port."""
    port = port or free_port()
    options = ("-s", "malloc,64m", "-p", "thread_pool_min=10", *QUICKLY_COMPILED)
    command = varnish_command(folder, vcl, port, *options)
    open_up(folder)
    with running(command, port, folder / "varnish.log"):
        yield port


@contextlib.contextmanager
def nginx(folder: Path, settings: Settings, backend: int) -> Iterator[int]:
    """Run nginx before a port, with what `edge` writes; yield its own port."""
    port = free_port()
    backends, kept = [Backend("127.0.0.1", backend)], str(folder / NGINX_CACHE)
    site = Site(backends, listen=f"127.0.0.1:{port}", folder=kept)
    text = edge_configuration("nginx", settings, site)
    command = nginx_command(folder, text, folder, workers="1")
    open_up(folder)
    with running(command, port, folder / "nginx.out"):
        yield port


@contextlib.contextmanager
def apache(folder: Path, included: str, modules: Sequence[str] = ()) -> Iterator[int]:
    """Run Apache with directives in its virtual host, without the application; yield its port."""
    port, file = free_port(), folder / "httpd.conf"
    (folder / "included.conf").write_text(included)
    names = ("mpm_event", "authz_core", "alias", "headers", "rewrite", "cache", *modules)
    file.write_text(
        f"{httpd_conf(folder, port, folder, names)}<VirtualHost *:{port}>\n"
        f'Include "{folder}/included.conf"\n</VirtualHost>\n'
    )
    open_up(folder)
    with running([HTTPD, "-f", file, "-DFOREGROUND"], port, folder / "apache.out"):
        yield port


@contextlib.contextmanager
def in_front(cache: Cache, settings: Settings, backend: int, folder: Path) -> Iterator[int]:
    """Run Varnish or nginx before a port, with what `edge` writes; yield its own port."""
    if cache == "nginx":
        with nginx(folder, settings, backend) as port:
            yield port
        return
    vcl = edge_configuration(cache, settings, Site([Backend("127.0.0.1", backend)]))
    with varnish(folder, vcl) as port:
        yield port


@contextlib.contextmanager
def asking(cache: Cache, settings: Settings, folder: Path) -> Iterator[Ask]:
    """Run a cache, and an application behind it that answers all; or Apache alone, which says in
    headers what the application would be handed.
    """
    with contextlib.ExitStack() as stack:
        if cache == "apache":
            included = edge_configuration(cache, settings, Site()) + _TOLD_BY_APACHE
            client = stack.enter_context(connection(stack.enter_context(apache(folder, included))))

            def ask_apache(target: str, headers: Headers) -> tuple[str, str, Asked | None]:
                status, found, _ = client.ask(target, headers)
                path, _, query_string = target.partition("?")
                if status == 400 or re.search("%(?:2[Ff]|00)", path):
                    return target, "", None
                assert status == 403, (status, target)  # of static files: their folder is closed
                asked = "" if found["asked"] == "(null)" else found["asked"]
                # Apache leaves the blanks out of Vary.
                told_vary = found.get("vary", "").replace("(null)", "").replace(",", ", ")
                assert asked in {query_string, ""}, (target, asked)
                if found.get("key", "") != query_string:
                    decoded = unquote_to_bytes(path.encode("latin-1"))
                    assert base64.b64decode(found["path"]) == decoded, (target, found)
                mark = "?" if "?" in target or found.get("key") else ""
                return f"{path}{mark}{found.get('key', '')}", told_vary, None

            yield ask_apache
            return
        there = stack.enter_context(behind())
        port = stack.enter_context(in_front(cache, settings, there.port, folder))
        client = stack.enter_context(connection(port))

        def ask(target: str, headers: Headers) -> tuple[str, str, Asked | None]:
            before = len(there.asked)
            status, found, _ = client.ask(target, headers)
            if status in {400, 404} and len(there.asked) == before:
                assert not target.startswith("/images/?")
                return target, "", None
            assert status == 200, (status, target, headers)
            (asked,) = there.asked[before:]
            return asked.target, found.get("vary", ""), asked

        yield ask
