"""Hosts that originals come from, for tests: plain sockets that do what they are told.

The product connects to addresses that are everybody's alone, and to ports 80 and 443. Nothing of
that is turned off here: a test says which address a name has, and where a connection to that very
address ends up.
"""

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from imgprocessor.config.settings import RemoteSettings
from imgprocessor.originals.http.fetch import Fetcher
from imgprocessor.originals.local_copies import LocalCopies
from imgprocessor.originals.remote import Remote
from imgprocessor.originals.source import url_address
from imgprocessor.storage.generation import Generations
from imgprocessor.storage.plain_files import PlainFiles

PUBLIC = "93.184.215.14"
"""An address that is everybody's; nobody is ever connected to there."""

URL = "http://a.example/a.jpg"

Behave = Callable[[socket.socket, bytes], None]
"""What a host does with a connection and the request that came."""


@dataclass
class Origin:
    """A host that listens."""

    port: int
    requests: list[bytes] = field(default_factory=list)
    """What came, up to the end of the headers."""
    server_names: list[str | None] = field(default_factory=list)
    """What clients said in TLS, whom they want."""


@contextlib.contextmanager
def origin(behave: Behave, tls: ssl.SSLContext | None = None) -> Iterator[Origin]:
    """Listen on a free port of this machine; each connection is dealt with in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        there = Origin(listener.getsockname()[1])
        ended = threading.Event()
        if tls is not None:
            tls.sni_callback = lambda _socket, name, _context: there.server_names.append(name)

        def deal_with(connection: socket.socket) -> None:
            with contextlib.suppress(OSError), connection:
                talking = (
                    connection if tls is None else tls.wrap_socket(connection, server_side=True)
                )
                with talking:
                    request = b""
                    while b"\r\n\r\n" not in request:
                        more = talking.recv(65536)
                        if not more:
                            return
                        request += more
                    there.requests.append(request)
                    behave(talking, request)

        def listen() -> None:
            while not ended.is_set():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=deal_with, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        try:
            yield there
        finally:
            ended.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def answer(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    """Return an answer as bytes; underscores in headers' names stand for hyphens."""
    lines = {"Content-Length": str(len(body))} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode("latin-1") + body


def saying(content: bytes) -> Behave:
    """Return what says the same to everybody."""
    return lambda connection, _: connection.sendall(content)


def resetting(connection: socket.socket) -> None:
    """Have a connection end in RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@dataclass
class Wires:
    """Where connections to the one public address end up, and which were opened."""

    port: int
    """Of this machine."""
    dialled: list[tuple[str, int]] = field(default_factory=list)

    def dial(self, address: str, port: int, seconds: float) -> socket.socket:
        """Connect as the product does, but for the public address."""
        self.dialled.append((address, port))
        if address == PUBLIC:
            return socket.create_connection(("127.0.0.1", self.port), seconds)
        return socket.create_connection((address, port), seconds)


def public(_host: str, _port: int) -> list[str]:
    """Resolve every name to the public address."""
    return [PUBLIC]


@dataclass
class Host:
    """A host whose answers a test decides, and everything that asks it."""

    there: Origin
    folder: Path
    replies: dict[str, bytes]
    """By path; what is not there is a 404."""
    wires: Wires
    complaints: list[str] = field(default_factory=list)
    late: float = 0
    """Seconds that the clock is ahead."""
    kept: PlainFiles = field(init=False)
    """The disk cache of the last process."""

    def remote(self, *, max_kept_bytes: int = 50_000_000, **changed: int) -> Remote:
        """Return what a process would have."""
        settings = replace(
            RemoteSettings(
                hosts=("a.example", "b.example"),
                folder=self.folder / "remote",
                total_seconds=2,
                first_byte_seconds=1,
                connect_seconds=1,
            ),
            **changed,  # type: ignore[arg-type]
        )
        self.kept = PlainFiles(
            settings.folder,
            max_bytes=max_kept_bytes,
            min_free_percent=0,
            complain=self.complaints.append,
        )
        return Remote(
            settings,
            LocalCopies(settings.folder, settings.max_bytes, self.kept, url_address),
            generations=Generations(self.folder),
            fetcher=Fetcher(
                settings,
                resolve=public,
                dial=self.wires.dial,
                clock=lambda: time.time() + self.late,
            ),
            complain=self.complaints.append,
            clock=lambda: time.time() + self.late,
        )

    def picture(self, url: str = URL) -> str:
        """Return where a picture is kept."""
        return self.kept.path(url, "picture")

    @property
    def asked(self) -> int:
        """How many requests came."""
        return len(self.there.requests)


@contextlib.contextmanager
def host_in(folder: Path) -> Iterator[Host]:
    """Let a host answer; processes that ask it keep what they fetch in a folder."""
    replies: dict[str, bytes] = {}

    def behave(connection: socket.socket, request: bytes) -> None:
        path = request.split(b" ")[1].decode()
        reply = replies.get(path, answer(b"", "404 Not Found"))
        if reply == b"wait":
            time.sleep(30)
        etag = reply.partition(b"ETag: ")[2].partition(b"\r\n")[0]
        if etag and b"If-None-Match: " + etag in request:
            reply = answer(b"", "304 Not Modified", ETag=etag.decode("latin-1"), Content_Length="")
        connection.sendall(reply)

    with origin(behave) as there:
        yield Host(there, folder, replies, Wires(there.port))
