"""One picture fetched from another host, with everything about that bounded.

httpcore speaks HTTP and nothing else: it knows no proxies from the environment, no cookies, no
credentials, follows no redirects and decompresses nothing. `transport` opens its connections.
"""

import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import httpcore

from imgprocessor.config.settings import RemoteSettings
from imgprocessor.errors import NotFound, OriginFailed, OriginForbidden, OversizedOriginal
from imgprocessor.originals.http.freshness import fresh_seconds
from imgprocessor.originals.http.transport import (
    Deadline,
    Dial,
    Resolve,
    Resolver,
    Transport,
    dial,
    resolve,
)
from imgprocessor.originals.source import Address, CopyRecord, FetchedCopy
from imgprocessor.request.urls import RemoteUrl, is_allowed, read_url, redirected

_HEADERS = {
    "User-Agent": "imgprocessor",
    "Accept": "image/jpeg,image/png,image/webp,image/gif,*/*;q=0.1",
    # What is decompressed here could be any number of times as large.
    "Accept-Encoding": "identity",
    "Connection": "close",
}
"""All that is ever said of ourselves; of the visitor's request nothing is."""

_OK, _NOT_MODIFIED = 200, 304
_MOVED = {301, 302, 303, 307, 308}
_GONE = {404, 410}

_MAX_LENGTH_DIGITS = 16
"""Of a Content-Length: more than any limit has."""


@dataclass(frozen=True)
class Known:
    """What is known of a picture that is here already."""

    source: str
    """The URL that it came from in the end: only that is asked whether it is still good."""
    conditions: Mapping[str, str]
    """Headers."""


@dataclass(frozen=True)
class Fetched:
    """What came."""

    url: RemoteUrl
    """Where it came from in the end."""
    headers: Mapping[str, str]
    """Names in lower case; of one that came twice, the first."""
    body: bytes | None
    """None where what is known is still good."""


class Fetcher:
    """Fetches originals from the hosts that the settings allow."""

    waits = False

    def __init__(
        self,
        settings: RemoteSettings,
        *,
        resolve: Resolve = resolve,
        dial: Dial = dial,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Use settings. All else is for tests: which addresses may be connected to is not."""
        self._settings = settings
        self.missing_seconds: float = settings.failed_seconds
        self._names = Resolver(resolve)
        self._dial = dial
        self._clock = clock
        self._tls = tls or httpcore.default_ssl_context()

    def copy(self, address: Address, known: CopyRecord | None, *, seconds: float) -> FetchedCopy:
        """Fetch a picture as `CopyFetcher.copy` does. Raises as `fetch` does."""
        asked = None if known is None else _known(known)
        came = self.fetch(read_url(address.id), asked, seconds=seconds)
        return FetchedCopy(
            str(came.url),
            came.body,
            fresh_seconds(came.headers, self._clock(), self._settings),
            etag=came.headers.get("etag"),
            last_modified=came.headers.get("last-modified"),
        )

    def fetch(self, url: RemoteUrl, known: Known | None, *, seconds: float) -> Fetched:
        """Fetch within so many seconds, unless what is known is still good.

        Raises:
            OriginForbidden: it leads to a host or an address that may not be asked.
            HostDown: a host cannot be connected to in time.
            NotFound, OriginFailed, OriginTimeout, OversizedOriginal: what came is no use.
        """
        clock = Deadline(self._settings, seconds)
        first = url
        for _ in range(self._settings.max_redirects + 1):
            if not is_allowed(url.host, self._settings.hosts):
                raise OriginForbidden(f"{url.host} is not among [remote] hosts")
            conditions = known.conditions if known and known.source == str(url) else {}
            got = self._ask(url, conditions, clock)
            if isinstance(got, Fetched):
                return got
            url = _follow(url, got)
        raise OriginFailed(f"{first} leads on more than {self._settings.max_redirects} times")

    def _ask(self, url: RemoteUrl, conditions: Mapping[str, str], clock: Deadline) -> Fetched | str:
        """Send one request; return what came, or where it leads."""
        line = Transport(url.origin, clock, self._names, self._dial)
        where = httpcore.URL(
            scheme=url.scheme, host=url.host, port=url.port, target=url.target.encode()
        )
        # As it was read: a validator may have any bytes (RFC 9110, 8.8.3), and httpcore refuses
        # texts that are not ASCII.
        headers = [
            (name.encode(), value.encode("latin-1"))
            for name, value in (*_HEADERS.items(), *conditions.items())
        ]
        try:
            with (
                httpcore.ConnectionPool(self._tls, network_backend=line) as pool,
                pool.stream("GET", where, headers=headers) as response,
            ):
                if response.status == _NOT_MODIFIED and conditions:
                    return Fetched(url, _headers(response), None)
                return self._received(url, response, clock)
        except (httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
            raise OriginFailed(f"{url}: {error}") from error

    def _received(
        self, url: RemoteUrl, response: httpcore.Response, clock: Deadline
    ) -> Fetched | str:
        headers = _headers(response)
        if response.status in _MOVED and "location" in headers:
            return headers["location"]
        if response.status in _GONE:
            raise NotFound(f"{url} answers {response.status}")
        if response.status != _OK:
            raise OriginFailed(f"{url} answers {response.status}")
        self._check(url, headers)
        clock.begin_body()
        body = bytearray()
        for part in response.iter_stream():
            body += part
            if len(body) > self._settings.max_bytes:
                raise self._oversized(url)
            clock.have(len(body))
        return Fetched(url, headers, bytes(body))

    def _check(self, url: RemoteUrl, headers: Mapping[str, str]) -> None:
        """Refuse a body before it comes."""
        coding = headers.get("content-encoding", "identity").strip().lower()
        if coding not in {"identity", ""}:
            raise OriginFailed(
                f"{url} is sent as {coding}, though nothing but identity is accepted"
            )
        length = headers.get("content-length")
        # Otherwise half a picture could not be told from a whole one.
        if length is None and headers.get("transfer-encoding", "").lower() != "chunked":
            raise OriginFailed(f"{url} is sent without saying where it ends")
        if length is not None and int(length[:_MAX_LENGTH_DIGITS]) > self._settings.max_bytes:
            raise self._oversized(url)

    def _oversized(self, url: RemoteUrl) -> OversizedOriginal:
        return OversizedOriginal(
            f"{url} has more bytes than [remote] max_bytes = {self._settings.max_bytes}"
        )


def _headers(response: httpcore.Response) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in response.headers:
        headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return headers


def _follow(url: RemoteUrl, location: str) -> RemoteUrl:
    try:
        return redirected(url, location)
    except ValueError as error:
        raise OriginForbidden(f"{url} leads to {location!r}: {error}") from error


def _known(record: CopyRecord) -> Known:
    """Return what asks whether a copy is still good."""
    known = {"If-None-Match": record.etag, "If-Modified-Since": record.last_modified}
    return Known(record.source, {name: value for name, value in known.items() if value})
