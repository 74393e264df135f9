"""Start a real Varnish for the measurements of `edge`, and read its counters."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "tasks"))

from processes import free_port, running, varnish_command

VARNISHSTAT = "/usr/bin/varnishstat"


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

    def processor_seconds(self) -> float:
        """Return how much of processors its processes have taken so far."""
        name, ticks = str(self.folder).encode(), 0
        for status in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                if name in status.with_name("cmdline").read_bytes().split(b"\0"):
                    user, system = status.read_text().rpartition(") ")[2].split()[11:13]
                    ticks += int(user) + int(system)
        return ticks / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def varnish(vcl: str, megabytes: int = 64) -> Iterator[Varnish]:
    """Run Varnish with a configuration on a free port.

    Raises:
        CannotServe: it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="imgprocessor-edge-") as text:
        folder, port = Path(text), free_port()
        folder.chmod(0o755)
        options = ("-s", f"malloc,{megabytes}m", "-p", "thread_pool_min=50")
        command = varnish_command(folder, vcl, port, *options)
        with running(command, port, folder / "varnish.log"):
            yield Varnish(port, folder / "varnish")
