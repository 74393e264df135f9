"""Start a node with an empty disk among visitors: with what other nodes made, and without.

    python benchmarks/cold_node.py [--rounds 3] [--rates 15 50] [--seconds 30]

fills a disk cache and a bucket (a SeaweedFS on loopback) with what one stream of made-up visitors
asks for (`edge_visitors`, to pages that leave widths to the table; the photographs of Debian's
lomiri-wallpapers under other names). Then other streams come to a node, at a rate, whatever they
are answered, with no cache in front: to one whose disk is empty and who shares nothing, to one
whose disk is empty and who shares the bucket, and to one with the filled disk, in turn; all three
are asked for the same. What nobody has asked for before is new to all. The policy is the delivered
one with `effort = quick`, so that what is made at first is final, and shared. Prints renders,
refusals and milliseconds, medians over rounds; the 95th percentile by five seconds; and from when
on that is no more than the warm node's.
"""

import argparse
import http.client
import itertools
import json
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from pathlib import Path

from edge_visitors import Ask, Visitors
from load import ANSWER_SECONDS, LoadError, at_rest, processor_seconds
from peers import ROOT, Imgprocessor
from rich.console import Console
from runner import Running, running
from systems import Command, Place

sys.path.append(str(ROOT / "tests"))
sys.path.append(str(ROOT / "tasks"))

from processes import DAEMON_USER
from weeds import BUCKET, S3Server, place_in, running_s3

WALLPAPERS = Path("/usr/share/backgrounds")
FIRST = "first.jpg"
CLIENTS = 24
FILLERS = 4
WINDOW_SECONDS = 5
NEARLY = 1.25
"""What is no more than so many times another one's is like it."""
NODES = ("empty, alone", "empty, sharing", "warm")
OK, REFUSED = 200, 503
MADE = ("original", "master")
"""What the log says of where pixels came from."""


@dataclass
class Visit:
    """What a stream of visitors was answered."""

    began: list[float] = field(default_factory=list)
    """Seconds since the first."""
    ms: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    processor_ms: float = 0.0

    def windows(self) -> list[float]:
        """Return the 95th percentile of each window."""
        found: dict[int, list[float]] = {}
        for began, ms in zip(self.began, self.ms, strict=True):
            found.setdefault(int(began / WINDOW_SECONDS), []).append(ms)
        return [percentile95(found[number]) for number in sorted(found)]

    @property
    def renders(self) -> int:
        """How many were made."""
        return sum(self.sources[source] for source in MADE)


class Node(Imgprocessor):
    """The server with a disk cache that outlives it, which may share a bucket."""

    def __init__(self, folder: Path, *, shares: bool) -> None:
        """Use a folder that has `buckets.ini` and `store.key`, and in it `cache`."""
        self._folder, self._shares = folder, shares

    def commands(self, place: Place) -> list[Command]:
        """Add to what the settings say."""
        commands = super().commands(place)
        with (place.state / "conf" / "imgprocessor.ini").open("a") as file:
            file.write(f"[disk_cache]\nfolder = {self._folder}/cache\nmin_free_percent = 0\n")
            if self._shares:
                file.write(
                    f"[buckets]\nfile = {self._folder}/buckets.ini\n[store]\n"
                    f"bucket = s3://{BUCKET}/kept\nkey_file = {self._folder}/store.key\n"
                )
        return commands

    def policy(self) -> str:
        """Return the delivered one, by which the first picture made is the last one."""
        text = (ROOT / "conf" / "policy.ini").read_text()
        quick = text.replace("\neffort = behind\n", "\neffort = quick\n")
        if quick == text:
            raise LoadError("conf/policy.ini has no effort = behind any more")
        return quick


class Bench:
    """Originals, a bucket, and a disk that was filled."""

    def __init__(self, folder: Path, server: S3Server, options: argparse.Namespace) -> None:
        """Use a folder that all may look into."""
        self._folder, self._server, self._options = folder, server, options
        self._originals = folder / "originals"
        self._warm = self._made("warm")
        _lay_out(self._originals, options.originals)

    def fill(self, count: int) -> None:
        """Have a node make what a stream asks for, as fast as it can."""
        with self._running(Node(self._warm, shares=True)) as server:
            visit = _visit(server, self._asks(0, count), None, FILLERS)
            at_rest(server.sessions)
        if set(visit.statuses) != {OK}:
            raise LoadError(f"a node is not filled: {visit.statuses}")

    def visited(self, seed: int, rate: int) -> dict[str, Visit]:
        """Return what each node did for the visitors of a seed. What one makes is not yet there for
        the next: only the second one shares, and the third one's disk is its own.
        """
        asks = self._asks(seed, rate * self._options.seconds)
        alone, sharing = self._made(f"alone-{seed}"), self._made(f"sharing-{seed}")
        nodes = (
            Node(alone, shares=False),
            Node(sharing, shares=True),
            Node(self._warm, shares=False),
        )
        visits = {}
        for name, node in zip(NODES, nodes, strict=True):
            with self._running(node) as server:
                visits[name] = _visit(server, asks, rate, CLIENTS)
        return visits

    def _running(self, node: Node) -> AbstractContextManager[Running]:
        return running(node, self._originals, self._folder, FIRST)

    def _asks(self, seed: int, count: int) -> list[Ask]:
        """Return requests of few originals."""
        asks = []
        for ask in Visitors(seed, sized=False).requests(count):
            number = ask.query.partition("photographs/")[2][:4]
            few = f"{int(number) % self._options.originals:04}"
            query = ask.query.replace(f"photographs/{number}", f"photographs/{few}")
            asks.append(Ask(query, ask.headers))
        return asks

    def _made(self, name: str) -> Path:
        """Make a node's folder, which the daemons' user may use."""
        folder = self._folder / name
        (folder / "cache").mkdir(parents=True)
        place_in(self._server, folder, "kept")
        key = folder / "store.key"
        key.touch(mode=0o600)
        key.write_text("0123456789abcdef" * 2)
        if os.geteuid() == 0:
            for path in (folder / "cache", key, folder / "buckets.ini"):
                shutil.chown(path, DAEMON_USER)
        return folder


def main() -> int:
    """Print tables."""
    parser = argparse.ArgumentParser(description="A node's cold start.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rates", type=int, nargs="+", default=[15, 50], help="a second")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--originals", type=int, default=200)
    parser.add_argument("--fill", type=int, default=4000, help="requests before")
    options = parser.parse_args()
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="imgprocessor-cold-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with running_s3(folder / "s3") as server:
            bench = Bench(folder, server, options)
            console.print("filling ...")
            bench.fill(options.fill)
            rounds: dict[int, list[dict[str, Visit]]] = {rate: [] for rate in options.rates}
            for seed in range(1, options.rounds + 1):
                for place, rate in enumerate(options.rates):
                    console.print(f"round {seed}, {rate} a second")
                    rounds[rate].append(bench.visited(100 * place + seed, rate))
    for rate, known in rounds.items():
        print(f"{rate} a second for {options.seconds} s, {options.originals} originals:\n")
        _show(known)
    return 0


def _lay_out(folder: Path, count: int) -> None:
    (folder / "photographs").mkdir(parents=True)
    files = sorted(path for path in WALLPAPERS.glob("*.jpg") if not path.is_symlink())
    for path in files:
        shutil.copy(path, folder)
    shutil.copy(files[0], folder / FIRST)
    for number, path in zip(range(count), itertools.cycle(files), strict=False):
        os.link(folder / path.name, folder / "photographs" / f"{number:04}.jpg")


def _visit(server: Running, asks: Sequence[Ask], rate: int | None, clients: int) -> Visit:
    """Send requests, so many a second or as fast as they are answered."""
    visit, numbers = Visit(), itertools.count()
    processor = processor_seconds(server.sessions)
    log = server.place.state / "logs" / "requests.log"
    known = len(log.read_text().splitlines())
    first = time.perf_counter()

    def ask_on() -> None:
        connection = http.client.HTTPConnection(
            "127.0.0.1", server.place.port, timeout=ANSWER_SECONDS
        )
        with closing(connection):
            while (number := next(numbers)) < len(asks):
                if rate is not None:
                    time.sleep(max(0.0, first + number / rate - time.perf_counter()))
                ask, began = asks[number], time.perf_counter()
                connection.request("GET", f"/images/?{ask.query}", headers=dict(ask.headers))
                response = connection.getresponse()
                response.read()
                # Since it was to be sent: who waits for a client of ours waits as well.
                due = began if rate is None else first + number / rate
                visit.began.append(due - first)
                visit.ms.append((time.perf_counter() - due) * 1000)
                visit.statuses[response.status] += 1

    threads = [threading.Thread(target=ask_on) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    visit.processor_ms = (processor_seconds(server.sessions) - processor) * 1000
    lines = log.read_text().splitlines()[known:]
    visit.sources.update(json.loads(line).get("source", "none") for line in lines)
    return visit


def _show(rounds: Sequence[dict[str, Visit]]) -> None:
    print(
        "| node | renders | from the bucket | refused | p50, ms | p95, ms | p95 / warm"
        " | processor, s | like a warm one from |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    )
    for name in NODES:
        visits = [one[name] for one in rounds]
        warm = [percentile95(one["warm"].ms) for one in rounds]
        ratios = [percentile95(one.ms) / of for one, of in zip(visits, warm, strict=True)]
        cells = [
            f"{statistics.median(one.renders for one in visits):.0f}",
            f"{statistics.median(one.sources['shared'] for one in visits):.0f}",
            f"{statistics.median(one.statuses[REFUSED] for one in visits):.0f}",
            f"{statistics.median(statistics.median(one.ms) for one in visits):.1f}",
            f"{statistics.median(percentile95(one.ms) for one in visits):.1f}",
            f"{statistics.median(ratios):.2f}",
            f"{statistics.median(one.processor_ms for one in visits) / 1000:.1f}",
            _like_warm_from([one.windows() for one in visits], statistics.median(warm)),
        ]
        print(f"| {name} | {' | '.join(cells)} |")
    print("\n95th percentile by five seconds, ms, medians of rounds:\n")
    for name in NODES:
        shown = " ".join(f"{ms:.0f}" for ms in _by_window([one[name].windows() for one in rounds]))
        print(f"{name}: {shown}")
    statuses = sum((one[name].statuses for one in rounds for name in NODES), Counter[int]())
    print(f"\nstatuses of all: {dict(statuses)}\n", flush=True)


def _by_window(windows: Sequence[Sequence[float]]) -> list[float]:
    return [statistics.median(column) for column in zip(*windows, strict=False)]


def _like_warm_from(windows: Sequence[Sequence[float]], warm: float) -> str:
    """Say from when on a node is like a warm one, of which the 95th percentile is known."""
    from_window = 0
    medians = _by_window(windows)
    for number, ms in enumerate(medians):
        if ms > NEARLY * warm:
            from_window = number + 1
    return "never here" if from_window == len(medians) else f"{from_window * WINDOW_SECONDS} s"


def percentile95(values: Sequence[float]) -> float:
    """Return the value that one in twenty is over."""
    return sorted(values)[round(0.95 * (len(values) - 1))]


if __name__ == "__main__":
    sys.exit(main())
