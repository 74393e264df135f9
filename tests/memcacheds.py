"""Real memcached servers for tests, each of its own."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

MEMCACHED = "/usr/bin/memcached"


class MemcachedServer:
    """One that may be killed and started again: then it knows nothing any more."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"memcached://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it; return when it takes connections."""
        user = ["-u", "root"] if os.geteuid() == 0 else []
        self._process = subprocess.Popen(
            [MEMCACHED, "-l", "127.0.0.1", "-p", str(self._port), "-U", "0", "-m", "16", *user]
        )
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self._port)).close()
                return
            assert time.monotonic() < deadline, "no memcached"
            time.sleep(0.01)

    def end(self, number: int = signal.SIGKILL) -> None:
        """End it, as a signal does that."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None


@contextlib.contextmanager
def running_memcached() -> Iterator[MemcachedServer]:
    """Run one."""
    server = MemcachedServer()
    server.start()
    try:
        yield server
    finally:
        server.end(signal.SIGTERM)
