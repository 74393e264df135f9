"""Listings of S3, asked for by ourselves: obstore's fail over each key that is no path of its."""

import re
import ssl
import time
import weakref
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from datetime import datetime
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import quote, unquote_plus, urlencode

import httpcore

from imgprocessor.config.bucket_access import BucketAccess
from imgprocessor.config.buckets import BucketUrl
from imgprocessor.storage.shared.failures import BucketFailed, answered, unanswered
from imgprocessor.storage.shared.s3_signature import signed_headers

CONNECT_SECONDS = 2.0
"""So long a connection to a bucket may take, where there is so much time at all."""

_PAGE = 1000
_KEPT, _KEPT_SECONDS = 4, 5.0
"""So many connections are there for a next page, or listing, and so long: less than servers'."""

_MAX_BYTES = 8_000_000
"""Of a page: a thousand keys of 1,024 bytes, each byte written as three."""

_SEGMENT = r"(?!\.{1,2}(?:/|\Z))[^/\x00-\x1f\x7f\ud800-\udfff]+"
_PATH = re.compile(f"{_SEGMENT}(?:/{_SEGMENT})*")


class ListedKey(NamedTuple):
    """An object as S3 lists it."""

    key: str
    """In the whole bucket."""
    etag: str
    size_bytes: int
    modified_seconds: float


class ListedPage(NamedTuple):
    """A part of a listing."""

    keys: list[ListedKey]
    folders: list[str]
    """What keys have up to the delimiter, which is their end."""
    following: str
    """What the next part is asked for with; "" is the last one."""


def may_be_asked_for(key: str) -> bool:
    """Return whether obstore takes a key for a path."""
    return _PATH.fullmatch(key) is not None


class Asking(NamedTuple):
    """Which part of a listing is asked for."""

    after: str = ""
    """The keys that come after this one, in the whole bucket."""
    delimiter: str = ""
    following: str = ""
    """As the page before says."""


class S3Listing:
    """Lists a bucket. Threads may share it."""

    def __init__(self, url: BucketUrl, access: BucketAccess, seconds: float) -> None:
        """Ask as `access` says; no page takes longer than `seconds`."""
        self._access = access
        self._seconds = seconds
        path = "/" if access.virtual_hosted else f"/{url.bucket}"
        self._url = access.endpoint_of(url) + path
        self._pool = httpcore.ConnectionPool(  # by no proxy, as obstore
            ssl_context=_trusting(access) if self._url.startswith("https:") else None,
            max_connections=None,  # no more than threads
            max_keepalive_connections=_KEPT,
            keepalive_expiry=_KEPT_SECONDS,
            network_backend=_Backend(),
        )
        weakref.finalize(self, self._pool.close)

    def page(self, where: str, prefix: str, asked: Asking) -> ListedPage:
        """Ask for keys that begin with a prefix.

        Raises:
            BucketFailed: they cannot be listed; `where` says which.
        """
        query = {
            "continuation-token": asked.following,
            "delimiter": asked.delimiter,
            "encoding-type": "url",  # or a line break makes no XML, or another line break
            "list-type": "2",
            "max-keys": str(_PAGE),
            "prefix": prefix,
            "start-after": "" if asked.following else asked.after,
        }
        given = [(name, value) for name, value in query.items() if value]
        url = f"{self._url}?{urlencode(given, quote_via=quote, safe='-_.~')}"
        try:
            answer, body = self._answer(url)
            if answer.status == HTTPStatus.OK:
                return _read(body)
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
            raise BucketFailed(f"{where}: {unanswered(repr(error))}") from error
        except (ET.ParseError, ValueError, OverflowError) as error:
            raise BucketFailed(f"{where}: it answers what is no listing of S3: {error}") from error
        region = dict(answer.headers).get(b"x-amz-bucket-region", b"").decode("latin-1")
        raise answered(where, answer.status, body.decode(errors="replace"), region)

    def _answer(self, url: str) -> tuple[httpcore.Response, bytes]:
        headers = {**signed_headers("GET", url, self._access), "user-agent": "imgprocessor"}
        end = time.monotonic() + self._seconds
        connected = time.monotonic() + min(CONNECT_SECONDS, self._seconds)
        times = {"connect": connected, "read": end, "write": end, "pool": self._seconds}
        with self._pool.stream(
            "GET", url, headers=list(headers.items()), extensions={"timeout": times}
        ) as answer:
            body = bytearray()
            for block in answer.iter_stream():
                body += block
                if len(body) > _MAX_BYTES:
                    raise ValueError(f"it has more than {_MAX_BYTES} bytes")
        return answer, bytes(body)


def _read(body: bytes) -> ListedPage:
    """Read a page.

    Raises:
        ET.ParseError, ValueError, OverflowError: it is none.
    """
    if b"<!DOCTYPE" in body:
        raise ValueError("it declares a document type")
    page = ET.fromstring(body)  # noqa: S314 - bounded, and with no entities of its own
    space = page.tag.rpartition("}")[0] + page.tag.rpartition("}")[1]
    if page.tag != f"{space}ListBucketResult":
        raise ValueError(f"it is called {page.tag[:100]!a}")

    def text(element: ET.Element, name: str) -> str:
        return element.findtext(f"{space}{name}") or ""

    decoded = unquote_plus if text(page, "EncodingType") == "url" else str
    keys = [
        ListedKey(
            decoded(text(one, "Key")),
            text(one, "ETag"),
            int(text(one, "Size")),
            datetime.fromisoformat(text(one, "LastModified")).timestamp(),
        )
        for one in page.iter(f"{space}Contents")
    ]
    folders = [decoded(text(one, "Prefix")) for one in page.iter(f"{space}CommonPrefixes")]
    following = text(page, "NextContinuationToken")
    if (text(page, "IsTruncated") == "true") != bool(following):
        raise ValueError("it does not say whether it goes on")
    return ListedPage(keys, folders, following)


def _trusting(access: BucketAccess) -> ssl.SSLContext:
    trusting = ssl.create_default_context()
    if access.ca_certificates is not None:
        trusting.load_verify_locations(cadata=access.ca_certificates)
    return trusting


class _Backend(httpcore.NetworkBackend):
    """Takes time-outs for the times when they end, so that an answer in drops ends, too."""

    def __init__(self) -> None:
        self._real = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        return _Stream(
            self._real.connect_tcp(host, port, _left(timeout), local_address, socket_options)
        )


class _Stream(httpcore.NetworkStream):
    def __init__(self, real: httpcore.NetworkStream) -> None:
        self._real = real

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._real.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._real.write(buffer, _left(timeout))

    def close(self) -> None:
        self._real.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        return _Stream(self._real.start_tls(ssl_context, server_hostname, _left(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._real.get_extra_info(info)


def _left(end: float | None) -> float | None:
    if end is None:
        return None
    left = end - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("timed out")
    return left
