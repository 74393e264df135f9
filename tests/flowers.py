"""Real `imgprocessor flower` for tests."""

import base64
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import servers
from conftest import ROOT
from servers import Answer

from imgprocessor.config.secrets import FLOWER_USER

PASSWORD = "correct-horse-battery-staple"  # noqa: S105 - a test's


def basic(password: str = PASSWORD, user: str = FLOWER_USER) -> dict[str, str]:
    """Return the header that shows a password."""
    word = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {word}"}


@dataclass
class Pages:
    """Flower, as it listens."""

    port: int
    pid: int

    def ask(self, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> Answer:
        """Ask for a page, with the password unless other headers are given."""
        return servers.ask(self.port, path, basic() if headers is None else headers, method)


@contextlib.contextmanager
def flower(conf: Path, cwd: Path, **environment: str) -> Iterator[Pages]:
    """Run it for a settings file; its log is beside that."""
    command = [sys.executable, "-m", "imgprocessor", "flower", "--conf", str(conf), "--port", "0"]
    environment = {"PYTHONPATH": str(ROOT)} | environment
    with (
        (conf.parent / "flower.log").open("ab") as log,
        subprocess.Popen(
            command,
            cwd=cwd,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        # Reading has no time-out of its own.
        watchdog = threading.Timer(servers.START_SECONDS, process.kill)
        watchdog.start()
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("ready on http://127.0.0.1:"), line
            yield Pages(int(line.split(":")[2].partition("/")[0]), process.pid)
        finally:
            watchdog.cancel()
            process.terminate()
            assert process.wait(30) == 0
