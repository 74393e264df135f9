"""Load by Debian's wrk: requests for renditions that nobody asked for before."""

import itertools
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from conftest import ROOT
from servers import Server

LUA = ROOT / "tests/torture/overload.lua"
NUMBERS = 144_000
"""So many renditions there are to ask for each time: `overload.lua` has 1,152,000 of eight names.
"""
QUERY = "bandwidth=4g&dpr=1"
ACCEPT = {"Accept": "image/avif,image/webp,image/apng,image/*,*/*;q=0.8"}
"""Chromium's: what most visitors have made for them. `overload.lua` sends it, too."""


@dataclass(frozen=True)
class Load:
    """What wrk was answered."""

    seconds: float
    statuses: Counter[int]

    @property
    def renders(self) -> float:
        """A second."""
        return self.statuses[200] / self.seconds


class Wrk:
    """Asks for renditions that nobody asked for before."""

    def __init__(
        self, server: Server, names: Path, numbers: int = NUMBERS, prefix: tuple[str, ...] = ()
    ) -> None:
        """Ask for so many at most each time."""
        self._prefix = prefix
        self._server = server
        self._names = names
        self._numbers = numbers
        self._first = itertools.count(0, numbers)

    def ask(self, seconds: int, connections: int, per_second: float = 0) -> Load:
        """Ask as fast as answers come, or at a rate."""
        told = subprocess.run(
            [
                *self._prefix,
                "wrk", "-t2", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", LUA,
                f"http://127.0.0.1:{self._server.port}", "--",
                self._names, str(next(self._first)), str(per_second), str(connections), "2",
            ],
            capture_output=True,
            text=True,
            check=True,
        ).stdout  # fmt: skip
        (line,) = [line for line in told.splitlines() if line.startswith("answers:")]
        _, took, *counts = line.split()
        statuses: Counter[int] = Counter()
        for count in counts:
            status, _, number = count.partition("=")
            statuses[int(status)] += int(number)
        assert sum(statuses.values()) < self._numbers, "some were asked for before, and are kept"
        return Load(float(took), statuses)
