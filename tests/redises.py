"""Real Redis servers for tests, each of its own, on a socket in a folder."""

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

REDIS = "/usr/bin/redis-server"


@contextlib.contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[str]:
    """Run one as it is to be for jobs; yield its URL."""
    path = folder / "redis.sock"
    command = [
        *(REDIS, "--port", "0", "--unixsocket", str(path), "--dir", str(folder), "--save", ""),
        *("--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"),
        *options,
    ]
    with (
        (folder / "redis.out").open("wb") as out,
        subprocess.Popen(command, stdout=out, stderr=out) as process,
    ):
        try:
            _await(path)
            yield f"unix://{path}"
        finally:
            process.terminate()


def _await(path: Path) -> None:
    deadline = time.monotonic() + 10
    while True:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            return
        assert time.monotonic() < deadline, "no Redis"
        time.sleep(0.01)
