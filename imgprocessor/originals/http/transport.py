"""Connections to other hosts: only to public addresses, each step with a deadline.

The author of a URL decides what this server connects to, so the check of addresses sits where the
socket is opened: a name is resolved there, once; each of its addresses must be public; and the
connection goes to one of those, by number. A name that means something else a moment later changes
nothing. TLS is for the name.
"""

import contextlib
import ipaddress
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator

import httpcore

from imgprocessor.config.settings import RemoteSettings
from imgprocessor.errors import OriginBusy, OriginFailed, OriginForbidden, OriginTimeout
from imgprocessor.originals.http.ip_ranges import is_global
from imgprocessor.originals.source import HostDown

Resolve = Callable[[str, int], Iterable[str]]
"""From a name and a port to IP addresses; raises OSError where there are none."""

Dial = Callable[[str, int, float], socket.socket]
"""Connects to an IP address and a port within so many seconds; raises OSError."""

_SLOW_START_SECONDS = 2.0
"""A body need not keep the rate for so long."""

_MAX_ADDRESSES = 4
"""So many are tried, within the time for one."""

_MAX_RESOLVING = 32
"""Names being resolved in this process at once. A request waits for one until its own deadline;
the C library does, and cannot be stopped.
"""


def resolve(host: str, port: int) -> Iterable[str]:
    """Ask the system."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def dial(address: str, port: int, seconds: float) -> socket.socket:
    """Connect."""
    number = ipaddress.ip_address(address)
    family = socket.AF_INET if number.version == 4 else socket.AF_INET6  # noqa: PLR2004 - IPv4
    connected = socket.socket(family, socket.SOCK_STREAM)
    try:
        connected.settimeout(seconds)
        connected.connect((str(number), port))
    except BaseException:
        connected.close()
        raise
    return connected


class Deadline:
    """What is left of the time: of all there is, and of the part that is going on."""

    def __init__(self, settings: RemoteSettings, seconds: float) -> None:
        self._settings = settings
        self._end = time.monotonic() + seconds
        self._part_end = self._end
        self._part = "all of it"
        self._body_began = 0.0

    def begin_resolving(self) -> None:
        """Begin to ask for the addresses of a name."""
        self._begin("resolving its host's name", self._settings.dns_seconds)

    def begin_connecting(self) -> None:
        """Begin to connect, TLS included."""
        self._begin("connecting", self._settings.connect_seconds)

    def begin_asking(self) -> None:
        """Begin to send a request, and to wait for the headers of its answer."""
        self._begin("its headers", self._settings.first_byte_seconds)

    def begin_body(self) -> None:
        """Begin to receive a body."""
        self._body_began = time.monotonic()
        self.have(0)

    def have(self, size: int) -> None:
        """Say how much of the body is there; the next part must come while the rate is kept."""
        self._part = f"a body of {self._settings.min_bytes_per_second} bytes a second"
        may_take = _SLOW_START_SECONDS + size / self._settings.min_bytes_per_second
        self._part_end = self._body_began + may_take

    def left(self) -> float:
        """Return the seconds that are left.

        Raises:
            OriginTimeout: there are none.
        """
        left = min(self._end, self._part_end) - time.monotonic()
        if left <= 0:
            raise self.over()
        return left

    def over(self) -> OriginTimeout:
        """Return the error that says what took too long."""
        late = "all of it" if self._end <= self._part_end else self._part
        return OriginTimeout(f"it takes too long: {late}")

    def _begin(self, part: str, seconds: float) -> None:
        self._part, self._part_end = part, time.monotonic() + seconds


class Resolver:
    """Resolves names of hosts."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._resolving = threading.BoundedSemaphore(_MAX_RESOLVING)

    def addresses(self, host: str, port: int, clock: Deadline) -> list[str]:
        """Resolve a name; every address that it has must be public.

        Raises:
            OriginForbidden: one is not.
            OriginFailed, OriginTimeout: it cannot be resolved, or not in time.
            OriginBusy: too many names are being resolved.
        """
        if not self._resolving.acquire(blocking=False):
            raise OriginBusy(f"{_MAX_RESOLVING} names are being resolved")
        answers: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

        def ask() -> None:
            try:
                answers.put(list(dict.fromkeys(self._resolve(host, port))))
            except (OSError, UnicodeError) as error:
                answers.put(error)
            finally:
                self._resolving.release()

        try:
            threading.Thread(target=ask, name="resolver", daemon=True).start()
        except RuntimeError as error:  # no more threads
            self._resolving.release()
            raise OriginBusy(str(error)) from error
        try:
            found = answers.get(timeout=clock.left())
        except queue.Empty:
            raise OriginTimeout(f"the name {host} is not resolved in time") from None
        if isinstance(found, Exception) or not found:
            raise OriginFailed(f"the name {host} cannot be resolved: {found}")
        for address in found:
            if not is_global(address):
                raise OriginForbidden(f"{host} has the address {address}, which is not global")
        return found


class Transport(httpcore.NetworkBackend):
    """Opens the connection of one request."""

    def __init__(self, origin: str, clock: Deadline, names: Resolver, dial: Dial) -> None:
        self._origin = origin
        self._clock = clock
        self._names = names
        self._dial = dial

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the clock knows better
        local_address: str | None = None,  # noqa: ARG002 - any
        socket_options: object = None,  # noqa: ARG002 - none
    ) -> httpcore.NetworkStream:
        """Connect to one of the addresses that were checked.

        Raises:
            OriginForbidden, OriginBusy: as `Names.addresses` does.
            HostDown: there is no connection, or not in time.
        """
        with _of(self._origin):
            self._clock.begin_resolving()
            addresses = self._names.addresses(host, port, self._clock)[:_MAX_ADDRESSES]
            self._clock.begin_connecting()
            failed: OSError | None = None
            for place, address in enumerate(addresses):
                share = self._clock.left() / (len(addresses) - place)
                try:
                    return _Stream(self._dial(address, port, share), self._origin, self._clock)
                except OSError as error:
                    failed = error
            if isinstance(failed, TimeoutError):
                raise self._clock.over() from failed
            raise OriginFailed(f"{host} cannot be connected to: {failed}") from failed


@contextlib.contextmanager
def _of(origin: str) -> Iterator[None]:
    try:
        yield
    except (OriginFailed, OriginTimeout) as error:
        raise HostDown(origin, error) from error


class _Stream(httpcore.NetworkStream):
    """A connection whose every step ends in time."""

    def __init__(self, connected: socket.socket, origin: str, clock: Deadline) -> None:
        self._socket = connected
        self._origin = origin
        self._clock = clock
        self._asked = False

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - as above
        with self._in_time():
            return self._socket.recv(max_bytes)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - as above
        if not self._asked:
            self._asked = True
            self._clock.begin_asking()
        with self._in_time():
            self._socket.sendall(buffer)

    def close(self) -> None:
        self._socket.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 - as above
    ) -> httpcore.NetworkStream:
        try:
            with _of(self._origin), self._in_time():
                # A handshake in drops ends in time, too: it is timed as a whole.
                secured = ssl_context.wrap_socket(self._socket, server_hostname=server_hostname)
        except BaseException:
            self.close()
            raise
        return _Stream(secured, self._origin, self._clock)

    def get_extra_info(self, info: str) -> object:
        if info == "ssl_object" and isinstance(self._socket, ssl.SSLSocket):
            return self._socket
        return None

    @contextlib.contextmanager
    def _in_time(self) -> Iterator[None]:
        self._socket.settimeout(self._clock.left())
        try:
            yield
        except TimeoutError as error:
            raise self._clock.over() from error
        except OSError as error:  # TLS's, too
            raise OriginFailed(f"{self._origin}: {error}") from error
