"""The memory of a Redis or a memcached as a tier: what it forgets is missed, and no more.

A mark that it has forgotten is made anew, as another word: what was kept before is not found then.
"""

import contextlib
import uuid
import weakref
from collections.abc import Iterator, Sequence
from typing import Protocol, cast

import redis
from pymemcache import MemcacheError, PooledClient

from imgprocessor.config.store_settings import MemoryUrl
from imgprocessor.storage.shared.tier import TOTAL_SECONDS, Seen, TierName

_MARK_SECONDS = 604_800
_CONNECTIONS = 24


class MemoryFailed(OSError):
    """A Redis or a memcached did not do what it was asked for; `str()` says why, in one line."""


class _Client(Protocol):
    """What both can do. A value that is forgotten is None."""

    def get(self, keys: Sequence[str]) -> list[bytes | None]: ...

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

    def look(self, key: str | None, marks: Sequence[str]) -> Seen:
        """Return an entry and marks, as `Tier.look` says."""
        names = [self._mark_key(mark) for mark in marks]
        wanted = [] if key is None else [self._entry_key(key)]
        found = self._client.get([*names, *wanted])
        words, entry = found[: len(names)], None if key is None else found[-1]
        if None in words:
            for name in names:
                self._client.put_new(name, uuid.uuid4().bytes, _MARK_SECONDS)
            words, entry = self._client.get(names), None
        if None in words:
            raise MemoryFailed("a mark that was just kept has gone: is there any room?")
        return Seen(entry, " ".join(word.hex() for word in words if word is not None))

    def put(self, key: str, entry: bytes) -> None:
        """Keep an entry, as `Tier.put` says."""
        self._client.put(self._entry_key(key), entry, self._seconds)

    def mark(self, mark: str) -> None:
        """Have a mark be another word, as `Tier.mark` says."""
        self._client.put(self._mark_key(mark), uuid.uuid4().bytes, _MARK_SECONDS)

    def unbounded(self) -> str:
        """Return what is wrong with how it is bounded; nothing where it is, or nobody says.

        Raises:
            MemoryFailed: it cannot be asked.
        """
        return self._client.unbounded()

    def close(self) -> None:
        """Close all connections; whoever asks for something opens them anew."""
        self._client.close()

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

    def get(self, keys: Sequence[str]) -> list[bytes | None]:
        with _told(self._where):
            return cast("list[bytes | None]", self._redis.mget(keys))

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

    def get(self, keys: Sequence[str]) -> list[bytes | None]:
        with _told(self._where):
            found = self._memcached.get_many(keys)
        return [found.get(key) for key in keys]

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
    except (redis.RedisError, MemcacheError, OSError) as error:
        raise MemoryFailed(f"{where}: {error or type(error).__name__}") from error
