"""Real Redis servers for tests, each of its own, on a socket in a folder."""

import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

REDIS = "/usr/bin/redis-server"


class RedisServer:
    """One as it is to be for jobs. What it said that it keeps is in its folder."""

    def __init__(self, folder: Path, *options: str) -> None:
        """Use a folder with a short path."""
        self._folder = folder
        self._socket = folder / "redis.sock"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{self._socket}"

    def start(self) -> None:
        """Start it; return when it takes connections."""
        command = [
            *(REDIS, "--port", "0", "--unixsocket", str(self._socket), "--unixsocketperm", "777"),
            *("--dir", str(self._folder), "--save", "", "--appendonly", "yes"),
            *("--appendfsync", "always", "--maxmemory-policy", "noeviction"),
            *self._options,
        ]
        with (self._folder / "redis.out").open("ab") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=out)
        _await(self._socket)

    def end(self, number: int = signal.SIGKILL) -> None:
        """End it, as a signal does that."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._socket.unlink(missing_ok=True)
            self._process = None

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Have it answer nothing meanwhile, and take connections as ever."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def running_redis(folder: Path, *options: str) -> Iterator[RedisServer]:
    """Run one that may be killed and started again meanwhile."""
    server = RedisServer(folder, *options)
    server.start()
    try:
        yield server
    finally:
        server.end(signal.SIGTERM)


@contextlib.contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[str]:
    """Run one; yield its URL."""
    with running_redis(folder, *options) as server:
        yield server.url


def _await(path: Path) -> None:
    deadline = time.monotonic() + 10
    while True:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            return
        assert time.monotonic() < deadline, "no Redis"
        time.sleep(0.01)
