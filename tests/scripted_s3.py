"""A small S3 of our own for faults that no real server shows: a test says how it behaves.

Without being told it is right, over a dictionary. It accepts any signature.
"""

import contextlib
import hashlib
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qsl, quote, quote_plus, unquote
from xml.sax.saxutils import escape

import pytest
from weeds import BUCKET, access_section

_MODIFIED = "2026-11-01T12:00:00.000Z"
_LAST_MODIFIED = "Sun, 01 Nov 2026 12:00:00 GMT"


@pytest.fixture
def scripted() -> Iterator["ScriptedS3"]:
    """A scripted S3 that a test has for itself."""
    with ScriptedS3().running() as server:
        yield server


@dataclass(frozen=True)
class Asked:
    """A request that came."""

    method: str
    target: str
    """Path and query, as they were sent."""
    headers: Mapping[str, str]
    """By names in lower case."""
    body: bytes

    @property
    def key(self) -> str:
        """The object's key; "" where the whole bucket is asked."""
        path = unquote(self.target.partition("?")[0])
        return path.removeprefix(f"/{BUCKET}").removeprefix("/")

    @property
    def query(self) -> dict[str, str]:
        """The query's values, decoded."""
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))

    @property
    def is_listing(self) -> bool:
        """Whether objects are to be listed."""
        return self.method == "GET" and not self.key


@dataclass(frozen=True)
class Answer:
    """What is sent, and how badly."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Content-Length is that of the body, unless it is here."""
    is_lost: bool = False
    """Whether the connection is closed with no byte sent."""
    body_bytes_sent: int | None = None
    """After so many the connection is closed."""
    silent_seconds: float = 0.0
    """So long nothing is sent, or until the server ends."""
    drip_seconds: float = 0.0
    """So long passes before each byte of the body."""


Behaviour = Callable[[Asked], Answer | None]
"""None is the right answer, which nothing was done for yet."""


def refusal(
    status: int, code: str, headers: Mapping[str, str] | None = None, **more: str
) -> Answer:
    """Return an error as S3 says it: a code, and more elements of these names."""
    elements = {"Code": code, "Message": "as a test wants it", **more}
    said = "".join(f"<{name}>{escape(it)}</{name}>" for name, it in elements.items())
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{said}</Error>'.encode()
    return Answer(status, body, {"content-type": "application/xml", **(headers or {})})


class ScriptedS3:
    """A server with one bucket, on a port of its own."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        """Listen; it answers once it is `running`."""
        self.objects: dict[str, bytes] = {}
        self.asked: list[Asked] = []
        """All requests that came, in their order."""
        self.behaviour: Behaviour = lambda _: None
        """What a test replaces: it is asked for each answer, at once by several threads."""
        self.page = 1000
        """So many keys a listing has at most, whatever is asked for."""
        self._ending = threading.Event()
        self._changing = threading.Lock()
        self._server = _Server(self, tls)
        scheme = "http" if tls is None else "https"
        self.endpoint = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"

    @contextlib.contextmanager
    def running(self) -> Iterator["ScriptedS3"]:
        """Have it answer meanwhile."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield self
        finally:
            self._ending.set()
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def access(self, **instead: str) -> str:
        """Return the section that a file of buckets has of it."""
        return access_section(BUCKET, **{"endpoint": self.endpoint, **instead})

    def right(self, asked: Asked) -> Answer:
        """Do what is asked, and return the right answer, from which a test may make a worse one."""
        with self._changing:
            if asked.is_listing:
                return self._listing(asked.query)
            return _ON_OBJECTS[asked.method](self, asked)

    def answer(self, asked: Asked) -> Answer:
        """Return what is sent."""
        self.asked.append(asked)
        told = self.behaviour(asked)
        return self.right(asked) if told is None else told

    def pause(self, seconds: float) -> None:
        """Wait, but not for longer than the server is there."""
        self._ending.wait(seconds)

    def _get(self, asked: Asked) -> Answer:
        body = self.objects.get(asked.key)
        if body is None:
            return refusal(404, "NoSuchKey", Key=quote(asked.key))
        headers = {"etag": etag_of(body), "last-modified": _LAST_MODIFIED}
        if asked.headers.get("if-none-match") == headers["etag"]:
            return Answer(304, b"", headers)
        return Answer(200, body, headers)

    def _head(self, asked: Asked) -> Answer:
        got = self._get(asked)
        size = {"content-length": str(len(got.body))}
        return Answer(got.status, b"", {**got.headers, **size})

    def _put(self, asked: Asked) -> Answer:
        there = self.objects.get(asked.key)
        match = asked.headers.get("if-match")
        if match is not None and there is None:
            return refusal(404, "NoSuchKey")
        if asked.headers.get("if-none-match") == "*" and there is not None:
            return refusal(412, "PreconditionFailed")
        if match is not None and there is not None and match != etag_of(there):
            return refusal(412, "PreconditionFailed")
        self.objects[asked.key] = asked.body
        return Answer(200, b"", {"etag": etag_of(asked.body)})

    def _delete(self, asked: Asked) -> Answer:
        self.objects.pop(asked.key, None)
        return Answer(204)

    def _listing(self, query: Mapping[str, str]) -> Answer:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        after = unquote(query.get("continuation-token", "")) or query.get("start-after", "")
        most = min(self.page, int(query.get("max-keys", "1000")))
        found: dict[str, bool] = {}  # by whether it is a folder
        for key in sorted(self.objects, key=str.encode):
            rest = key.removeprefix(prefix)
            head, is_folder, _ = rest.partition(delimiter) if delimiter else (rest, "", "")
            one = prefix + head + delimiter if is_folder else key
            if key.startswith(prefix) and one.encode() > after.encode():
                found[one] = bool(is_folder)
        page = list(found)[:most]
        is_url = query.get("encoding-type") == "url"
        lines = [self._element(one, found[one], is_url) for one in page]
        if is_url:
            lines.append("<EncodingType>url</EncodingType>")
        if len(found) > most:
            lines.append(f"<NextContinuationToken>{quote(page[-1])}</NextContinuationToken>")
        more = str(len(found) > most).lower()
        said = "".join(lines)
        xmlns = "http://s3.amazonaws.com/doc/2006-03-01/"
        body = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="{xmlns}">'
            f"<Name>{BUCKET}</Name><IsTruncated>{more}</IsTruncated>{said}</ListBucketResult>"
        )
        return Answer(200, body.encode(), {"content-type": "application/xml"})

    def _element(self, one: str, is_folder: bool, is_url: bool) -> str:  # noqa: FBT001
        name = quote_plus(one, safe="/") if is_url else escape(one)
        if is_folder:
            return f"<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>"
        body = self.objects[one]
        return (
            f"<Contents><Key>{name}</Key><LastModified>{_MODIFIED}</LastModified>"
            f"<ETag>{escape(etag_of(body))}</ETag><Size>{len(body)}</Size></Contents>"
        )


_ON_OBJECTS: dict[str, Callable[[ScriptedS3, Asked], Answer]] = {
    "GET": ScriptedS3._get,  # noqa: SLF001 - this module's own
    "HEAD": ScriptedS3._head,  # noqa: SLF001
    "PUT": ScriptedS3._put,  # noqa: SLF001
    "DELETE": ScriptedS3._delete,  # noqa: SLF001
}


def etag_of(body: bytes) -> str:
    """Return the ETag of an object that was put at once."""
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


class _Server(ThreadingHTTPServer):
    def __init__(self, s3: ScriptedS3, tls: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.s3 = s3
        self._tls = tls

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands in the request's own thread; a client that hangs up is no error here."""
        with contextlib.suppress(OSError):  # or TLS's
            if self._tls is None:
                super().finish_request(request, client_address)
                return
            with self._tls.wrap_socket(request, server_side=True) as secured:
                super().finish_request(secured, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    wbufsize = -1  # headers and body at once: else each waits for the client's delayed ACK

    def _handle(self) -> None:
        s3 = cast("_Server", self.server).s3
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._send(s3, s3.answer(Asked(self.command, self.path, headers, body)))

    do_GET = do_HEAD = do_PUT = do_DELETE = do_POST = _handle  # noqa: N815

    def _send(self, s3: ScriptedS3, answer: Answer) -> None:
        if answer.silent_seconds:
            s3.pause(answer.silent_seconds)
        if answer.is_lost:
            self.close_connection = True
            return
        self.send_response(answer.status)
        size = {"content-length": str(len(answer.body))}
        if answer.status in (204, 304):
            size = {}
        for name, value in {**size, **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if answer.drip_seconds:
            self.wfile.flush()
        for block in self._blocks(s3, answer):
            self.wfile.write(block)
            self.wfile.flush()

    def _blocks(self, s3: ScriptedS3, answer: Answer) -> Iterator[bytes]:
        body = answer.body[: answer.body_bytes_sent]
        if answer.body_bytes_sent is not None:
            self.close_connection = True
        if not answer.drip_seconds:
            yield body
            return
        for number in range(len(body)):
            s3.pause(answer.drip_seconds)
            yield body[number : number + 1]

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""
