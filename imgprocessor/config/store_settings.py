"""What an operator may decide about renditions that all nodes share."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from imgprocessor.config.buckets import BucketUrl, bucket_url_or_none
from imgprocessor.config.types import (
    path_or_none,
    positive,
    read_address,
    redis_url_or_none,
    setting,
)


@dataclass(frozen=True)
class MemoryUrl:
    """Where a Redis or a memcached is."""

    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def is_redis(self) -> bool:
        """Whether it is no memcached."""
        return not self.text.startswith(_MEMCACHED)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of a memcached."""
        return read_address(self.text.removeprefix(_MEMCACHED))


_MEMCACHED = "memcached://"

_REDIS_PORT = 6379


def redis_server(url: str) -> tuple[str, int]:
    """Return by which host and port, or socket, a Redis is reached, whatever its number there."""
    if url.startswith("unix://"):
        return os.path.realpath(url.removeprefix("unix://").partition("?")[0]), 0
    address = url.removeprefix("redis://").partition("/")[0].lower()
    port = re.search(":([0-9]+)$", address)
    host = address[: port.start()] if port else address
    number = int(port[1]) if port else _REDIS_PORT
    return ("127.0.0.1" if host in {"localhost", "[::1]"} else host), number


def memory_url_or_none(value: str) -> MemoryUrl | None:
    """Read where a Redis or a memcached is, or none."""
    try:
        if value.startswith(_MEMCACHED):
            MemoryUrl(value).address  # noqa: B018 - raises
        else:
            redis_url_or_none(value)
    except ValueError as error:
        wrong = f"must be none, {_MEMCACHED}HOST:PORT, redis://HOST:PORT/NUMBER or unix:///PATH"
        raise ValueError(wrong) from error
    return None if value == "none" else MemoryUrl(value)


@dataclass(frozen=True)
class StoreSettings:
    """Renditions that all nodes share, behind the disk cache of each."""

    bucket: BucketUrl | None = setting(
        None,
        bucket_url_or_none,
        "A place in a bucket, such as s3://kept/nodes, where nodes find what others made; the"
        " bucket's lifecycle rules must remove what is old.",
    )
    shared: MemoryUrl | None = setting(
        None,
        memory_url_or_none,
        "A Redis or a memcached that is asked before the bucket, or without one, such as"
        " redis://10.0.0.5:6379/0 or memcached://10.0.0.5:11211. Its memory must be bounded; never"
        " the Redis server of [jobs].",
    )
    shared_seconds: int = setting(
        86_400, positive, "It keeps a rendition no longer than for so long."
    )
    key_file: Path | None = setting(
        None,
        path_or_none,
        "A file with the keys that these entries are signed with, one a line: the first signs, all"
        " are taken; the same on all nodes, readable for the daemons' user, not for everybody.",
    )
