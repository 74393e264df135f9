"""Visitors who go on asking while something happens to the server."""

import http.client
import itertools
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Self

import images
import pytest
import servers
from conftest import ROOT
from servers import Server

NASA = "/images/?name=nasa.jpeg&dpr=1&bandwidth=4g&format=jpeg"


def mixed(number: int) -> str:
    """Return a path: two in three are of a picture that is kept, past Apache's own cache."""
    width = 300 if number % 3 else 301 + number % 3700
    return f"{NASA}&width={width}&x={number}"


class Visitors:
    """Threads that ask for kept and new pictures until told to stop."""

    def __init__(
        self, port: int, count: int, pause_seconds: float, path: Callable[[int], str] = mixed
    ) -> None:
        """Ask a port; each of `count` visitors rests so long on average between two requests."""
        self._port = port
        self._path = path
        self._pause_seconds = pause_seconds
        self._over = threading.Event()
        self._numbers = itertools.count()
        self.statuses: Counter[int | str] = Counter()
        self.seconds: list[float] = []
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(count)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, seed: int) -> None:
        chance = random.Random(seed)
        while not self._over.is_set():
            number = next(self._numbers)
            began = time.perf_counter()
            try:
                answer = servers.ask(self._port, self._path(number))
                whole = answer.headers.get("content-length") == str(len(answer.body))
                self.statuses[answer.status if whole else "cut"] += 1
            except (OSError, http.client.HTTPException) as error:
                self.statuses[type(error).__name__] += 1
            self.seconds.append(time.perf_counter() - began)
            time.sleep(chance.random() * 2 * self._pause_seconds)


def percentile(values: list[float], percent: float) -> float:
    """Return the value that so many percent are not over."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def pid_file(server: Server) -> Path:
    """Return where `./run serve` has Apache write its process id."""
    command = Path(f"/proc/{server.apache()}/cmdline").read_bytes().decode().split("\0")
    return Path(command[command.index("-f") + 1]).parent / "httpd.pid"


def reload(server: Server, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command as an operator would."""
    command: list[str | Path] = [sys.executable, "-m", "imgprocessor", "reload"]
    command += ["--pid-file", pid_file(server)]
    command += ["--conf", server.logs.parent / "imgprocessor.ini"]
    command += ["--originals", server.originals, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=120
    )


@pytest.fixture
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that Apache's daemons can read, with eight originals of six megapixels."""
    folder = tmp_path_factory.mktemp("originals")
    servers.open_up(folder)
    nasa = images.encoded(images.texture((3000, 2000)), "JPEG", quality=92)
    for name in ("nasa.jpeg", *(f"{number}.jpg" for number in range(7))):
        (folder / name).write_bytes(nasa)
    return folder
