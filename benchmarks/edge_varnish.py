"""Start a real Varnish for the measurements of `edge`, and read its counters."""

import contextlib
import json
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

VARNISHD, VARNISHSTAT = "/usr/sbin/varnishd", "/usr/bin/varnishstat"
START_SECONDS = 30
STOP_SECONDS = 10


@dataclass(frozen=True)
class Varnish:
    """A Varnish that answers."""

    port: int
    folder: Path

    def counter(self, name: str) -> int:
        """Return one of its counters, such as `MAIN.n_object`."""
        command = [VARNISHSTAT, "-n", str(self.folder), "-j", "-f", name]
        told = subprocess.run(command, capture_output=True, check=True).stdout
        return int(json.loads(told)["counters"][name]["value"])


@contextlib.contextmanager
def varnish(vcl: str, megabytes: int = 64) -> Iterator[Varnish]:
    """Run Varnish with a configuration on a free port.

    Raises:
        RuntimeError: it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="imgprocessor-edge-") as text:
        folder, port = Path(text), free_port()
        folder.chmod(0o755)
        file, state, log = folder / "bench.vcl", folder / "state", folder / "varnish.log"
        file.write_text(vcl)
        command = [VARNISHD, "-F", "-n", str(state), "-f", str(file), "-a", f"127.0.0.1:{port}"]
        command += ["-s", f"malloc,{megabytes}m", "-T", "none", "-p", "thread_pool_min=50"]
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        with process:
            try:
                deadline = time.monotonic() + START_SECONDS
                while not _listens(port):
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise RuntimeError(log.read_text(errors="replace")[-2000:])
                    time.sleep(0.05)
                yield Varnish(port, state)
            finally:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(STOP_SECONDS)
                process.kill()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
