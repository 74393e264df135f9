"""The memory of a Redis or a memcached as a tier: what it forgets is missed, and no more.

A mark that it has forgotten is made anew, as another word: what was kept before is not found then.
"""

import contextlib
import socket
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TookTooLong
from functools import partial
from typing import Protocol, TypeVar, cast

import redis
from pymemcache import PooledClient
from pymemcache.exceptions import (
    MemcacheUnexpectedCloseError,
    MemcacheUnknownCommandError,
    MemcacheUnknownError,
)
from redis.exceptions import InvalidResponse

from imgprocessor.config.store_settings import MemoryUrl
from imgprocessor.storage.shared.tier import (
    MAX_MARK_BYTES,
    TOTAL_SECONDS,
    Seen,
    TierName,
    new_mark,
)

_MARK_SECONDS = 604_800
_CONNECTIONS = 24
_THREADS = 16

_Result = TypeVar("_Result")


class MemoryFailed(OSError):
    """A Redis or a memcached did not do what it was asked for; `str()` says why, in one line."""


class _Client(Protocol):
    """What both can do. A value that is forgotten is None."""

    def get(self, keys: Sequence[str], max_bytes: int) -> list[bytes | None]: ...

    def put(self, key: str, value: bytes, seconds: int) -> None: ...

    def put_new(self, key: str, value: bytes, seconds: int) -> None: ...

    def unbounded(self) -> str: ...

    def close(self) -> None: ...


class MemoryTier:
    """Entries and marks in memory, of which nothing is kept for longer than was said."""

    name: TierName = "memory"
    max_bytes = 1_000_000
    """memcached takes no more, unless it is told to."""

    def __init__(self, url: MemoryUrl, prefix: str, seconds: int) -> None:
        """Keep entries for some seconds; all keys begin with a prefix."""
        self._client: _Client = _Redis(url) if url.is_redis else _Memcached(url)
        self._prefix = f"img:{prefix}:"
        self._seconds = seconds
        self._threads: ThreadPoolExecutor | None = None
        self._starting = threading.Lock()

    def look(self, group: str, key: str | None, marks: Sequence[str]) -> Seen:  # noqa: ARG002 - the protocol's
        """Return an entry and marks, as `Tier.look` says."""
        return self._in_time(partial(self._looked, key, marks))

    def marks(self, marks: Sequence[str]) -> Sequence[bytes]:
        """Return marks, as `Tier.marks` says."""
        return self._looked(None, marks).marks

    def put(self, group: str, key: str, entry: bytes) -> None:  # noqa: ARG002 - the protocol's
        """Keep an entry, as `Tier.put` says."""
        self._client.put(self._entry_key(key), entry, self._seconds)

    def mark(self, mark: str, word: bytes) -> None:
        """Have a mark be another word, as `Tier.mark` says."""
        key = self._mark_key(mark)
        self._in_time(lambda: self._client.put(key, word, _MARK_SECONDS))

    def clear(self, group: str) -> None:
        """Do nothing: it forgets by itself."""

    def unbounded(self) -> str:
        """Return what is wrong with how it is bounded; nothing where it is, or nobody says.

        Raises:
            MemoryFailed: it cannot be asked.
        """
        return self._client.unbounded()

    def close(self) -> None:
        """Close all connections; whoever asks for something opens them anew."""
        self._client.close()

    def _looked(self, key: str | None, marks: Sequence[str]) -> Seen:
        names = [self._mark_key(mark) for mark in marks]
        wanted = [] if key is None else [self._entry_key(key)]
        most = self.max_bytes if wanted else MAX_MARK_BYTES
        found = self._client.get([*names, *wanted], most)
        words, entry = found[: len(names)], found[-1] if wanted else None
        if None in words:
            for name in names:
                self._client.put_new(name, new_mark(), _MARK_SECONDS)
            words, entry = self._client.get(names, MAX_MARK_BYTES), None
        known = [word for word in words if word is not None and len(word) <= MAX_MARK_BYTES]
        if len(known) < len(marks):
            raise MemoryFailed("a mark that was just kept has gone, or is none: is there any room?")
        return Seen(entry, known)

    def _in_time(self, ask: Callable[[], _Result]) -> _Result:
        """Ask, and wait no longer for the whole answer, however it comes."""
        with self._starting:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="memory")
        asked = self._threads.submit(ask)
        try:
            return asked.result(TOTAL_SECONDS)
        except TookTooLong as error:
            asked.cancel()
            raise MemoryFailed("the memory that nodes share takes too long") from error

    def _entry_key(self, key: str) -> str:
        return f"{self._prefix}r:{key}"

    def _mark_key(self, mark: str) -> str:
        return f"{self._prefix}p:{mark}"


class _Redis:
    def __init__(self, url: MemoryUrl) -> None:
        self._where = str(url)
        self._redis = redis.Redis.from_url(
            self._where,
            socket_timeout=TOTAL_SECONDS,
            socket_connect_timeout=TOTAL_SECONDS,
            max_connections=_CONNECTIONS,
            retry=None,
        )

    def get(self, keys: Sequence[str], max_bytes: int) -> list[bytes | None]:
        # Not MGET: whoever may write there may have left anything there, of any size.
        with _told(self._where), self._redis.pipeline(transaction=False) as asking:
            for key in keys:
                asking.getrange(key, 0, max_bytes)
            return [memoryview(value).tobytes() or None for value in asking.execute()]

    def put(self, key: str, value: bytes, seconds: int) -> None:
        with _told(self._where):
            self._redis.set(key, value, ex=seconds)

    def put_new(self, key: str, value: bytes, seconds: int) -> None:
        with _told(self._where):
            self._redis.set(key, value, ex=seconds, nx=True)

    def unbounded(self) -> str:
        with _told(self._where):
            known = cast("dict[str, object]", self._redis.info("memory"))
        if not known.get("maxmemory"):
            return f"{self._where}: its memory has no bound: set maxmemory"
        policy = str(known.get("maxmemory_policy", "allkeys-lru"))
        if not policy.startswith("allkeys-"):
            return f"{self._where}: maxmemory-policy is {policy}: allkeys-lru forgets what is old"
        return ""

    def close(self) -> None:
        self._redis.close()


class _Memcached:
    def __init__(self, url: MemoryUrl) -> None:
        self._where = str(url)
        self._memcached = PooledClient(
            url.address,
            timeout=TOTAL_SECONDS,
            connect_timeout=TOTAL_SECONDS,
            max_pool_size=_CONNECTIONS,
            no_delay=True,
            default_noreply=False,
        )
        weakref.finalize(self, self._memcached.close)

    def get(self, keys: Sequence[str], max_bytes: int) -> list[bytes | None]:  # noqa: ARG002 - it has a bound of its own
        with _told(self._where):
            found = self._memcached.get_many(keys)
            return [memoryview(found[key]).tobytes() if key in found else None for key in keys]

    def put(self, key: str, value: bytes, seconds: int) -> None:
        with _told(self._where):
            self._memcached.set(key, value, expire=seconds)

    def put_new(self, key: str, value: bytes, seconds: int) -> None:
        with _told(self._where):
            self._memcached.add(key, value, expire=seconds)

    def unbounded(self) -> str:
        return ""  # it always is bounded

    def close(self) -> None:
        self._memcached.close()


@contextlib.contextmanager
def _told(where: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # what these raise at odd answers is not told anywhere
        kind = "memcached" if where.startswith("memcached:") else "Redis"
        raise MemoryFailed(f"{where}: {_reason(error, kind)}") from error


def _reason(error: Exception, kind: str) -> str:
    """Return in words what a client raised."""
    text = str(error)
    if error.args and isinstance(error.args[0], bytes):  # pymemcache has what was answered
        text = error.args[0].decode("ascii", "replace")
    if isinstance(error, MemcacheUnexpectedCloseError):
        return "the connection ends before its answer does"
    if isinstance(error, (MemcacheUnknownError, MemcacheUnknownCommandError, InvalidResponse)):
        return f"it is no {kind}"
    if isinstance(error, (TimeoutError, redis.TimeoutError)):
        return "it takes too long"
    is_unreached = isinstance(error, (ConnectionRefusedError, socket.gaierror))
    if is_unreached or (isinstance(error, redis.ConnectionError) and "connecting to" in text):
        return f"it cannot be connected to ({text})"
    return text or type(error).__name__
