"""Jobs: how many a second, by how many workers, and what those notice who look at pictures.

Photographs of 12 megapixels are handed in while all workers are stopped; then these go on, and the
time is taken until nothing waits and nothing is held. Workers are beside each other on the machine
of the daemons, or, as machines of their own would be, with a disk cache and renderers each. All of
them, Apache, Redis and the clients have the same cores.
"""

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import redis
from bench_uploads import (
    COLD_WIDTH,
    PHOTOGRAPHS,
    QUALITY,
    WARM_UP,
    form,
    form_headers,
    lay_out,
    numbered,
    photograph,
)
from load import ANSWER_SECONDS, CONNECTIONS, LoadError, ask_each, processor_seconds
from peers import ROOT, Imgprocessor
from results import Measure, Outcome, median
from runner import Running, running
from systems import Command, Place

sys.path.append(str(ROOT / "tasks"))

from processes import DAEMON_USER, REDIS, STOP_SECONDS, start

WORKERS = (1, 2, 3)
_BEGIN_SECONDS = 60.0
_LOOK_AGAIN_SECONDS = 0.01
_ACCEPTED, _OK = 202, 200
_KILO = 1000

MEASURES = (
    *(
        Measure(f"{where}{count}", f"{count} {said}", "jobs per second", True)
        for where, said in (("beside", "on one machine"), ("machine", "machines"))
        for count in WORKERS
    ),
    Measure("cpu", "processor time of one job", "ms", False, 0),
    *(
        Measure(f"{what}_{key}{when}", f"{what}, {said}: {title}", "ms", False, decimals)
        for what, decimals in (("cold", 0), ("kept", 1))
        for key, title in (("p50", "median"), ("p95", "95th percentile"))
        for when, said in (("", "alone"), ("_jobs", "while jobs are done"))
    ),
    Measure("during", "jobs beside cold pictures", "jobs per second", True),
)


@dataclass(frozen=True)
class Counts:
    """How much is asked in each round."""

    jobs: int
    """To take the time of."""
    beside: int
    """Beside visitors."""
    cold: int
    """Originals never seen, and as many again."""
    kept: int
    """Requests for what was made before, and as many again."""


class TakingJobs(Imgprocessor):
    """The server with a Redis of its own, and no worker."""

    JOBS = """\
[uploads]
enabled = yes
folder = {state}/uploads
[jobs]
enabled = yes
redis = redis://127.0.0.1:{port}/0
"""

    def commands(self, place: Place) -> list[Command]:
        """Start Redis first, as it is to be for jobs."""
        port, folder = place.spare_ports[0], place.state / "redis"
        folder.mkdir()
        kept = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")
        words = (REDIS, "--bind", "127.0.0.1", "--port", str(port), "--dir", folder, *kept)
        commands = super().commands(place)
        with _settings(place).open("a") as file:
            file.write(self.JOBS.format(state=place.state, port=port))
        return [Command(words, port), *commands]


class JobBench:
    """One run, and what came of it."""

    def __init__(
        self, system: TakingJobs, counts: Counts, wallpapers: Sequence[Path], folder: Path
    ) -> None:
        self._system = system
        self._counts = counts
        self._photographs = [photograph(path) for path in wallpapers[:PHOTOGRAPHS]]
        self._originals, self._static = folder / "originals", folder / "static"
        self._cold = lay_out(wallpapers, self._originals, 2 * counts.cold)
        self._static.mkdir()
        self._handed_in = 0
        self.rounds: list[dict[str, Outcome]] = []

    def measure_round(self, step: Callable[[str], None]) -> None:
        """Measure all once; each round begins with another number of workers, and half."""
        number, outcome = len(self.rounds), Outcome()
        turn = number % len(WORKERS)
        for count in (*WORKERS[turn:], *WORKERS[:turn]):
            for where in ("beside", "machine"):
                step(f"round {number + 1}: {where}, {count}")
                with running(self._system, self._originals, self._static, WARM_UP) as server:
                    self._rate(server, f"{where}{count}", count, where, outcome)
        step(f"round {number + 1}: pictures")
        with running(self._system, self._originals, self._static, WARM_UP) as server:
            self._visitors(server, number, outcome)
        self.rounds.append({self._system.name: outcome})

    def _rate(self, server: Running, key: str, count: int, where: str, outcome: Outcome) -> None:
        machines = range(count) if where == "machine" else [0] * count
        with _workers(server, machines) as workers:
            self._warm_up(server, count)
            with _stopped(workers):
                self._hand_in(server, self._counts.jobs)
                sessions = {*server.sessions, *(worker.pid for worker in workers)}
                before, began = processor_seconds(sessions), time.perf_counter()
            _await_done(server)
            outcome[key] = self._counts.jobs / (time.perf_counter() - began)
            if key == "beside1":
                taken = processor_seconds(sessions) - before
                outcome["cpu"] = taken / self._counts.jobs * _KILO

    def _visitors(self, server: Running, number: int, outcome: Outcome) -> None:
        halves = [self._cold[: self._counts.cold], self._cold[self._counts.cold :]]
        with _workers(server, [0]) as workers:
            self._warm_up(server, 1)
            for when, half in zip(("", "_jobs")[:: (-1) ** number], halves, strict=True):
                cold = [self._system.path(name, COLD_WIDTH, QUALITY) for name in half]
                if when:
                    with _stopped(workers):
                        self._hand_in(server, self._counts.beside)
                before, began = _open(server), time.perf_counter()
                _look(server, cold, "cold", when, outcome)
                if when:
                    passed = time.perf_counter() - began
                    outcome["during"] = (before - _open(server)) / passed
                kept = [cold[index % len(cold)] for index in range(self._counts.kept)]
                _look(server, kept, "kept", when, outcome)
                if when and not _open(server):
                    raise LoadError("the jobs were done before the pictures: hand in more")
                _await_done(server)

    def _warm_up(self, server: Running, workers: int) -> None:
        """Wait until each worker has very probably done something."""
        self._hand_in(server, 4 * workers)
        _await_done(server)

    def _hand_in(self, server: Running, count: int) -> None:
        """Hand in photographs that nobody sent before."""
        numbers = iter(range(self._handed_in, self._handed_in + count))
        self._handed_in += count

        def take_turns() -> None:
            connection = HTTPConnection("127.0.0.1", server.place.port, timeout=ANSWER_SECONDS)
            with contextlib.closing(connection):
                for number in numbers:
                    file = self._photographs[number % len(self._photographs)]
                    body = form({}, "file", numbered(file, number))
                    connection.request("POST", "/convert", body, form_headers())
                    answer = connection.getresponse()
                    told = answer.read()
                    if answer.status != _ACCEPTED:
                        raise LoadError(f"a job was answered with {answer.status}: {told[:200]!r}")

        with ThreadPoolExecutor(CONNECTIONS) as pool:
            for turns in [pool.submit(take_turns) for _ in range(CONNECTIONS)]:
                turns.result()


def _look(server: Running, paths: Sequence[str], what: str, when: str, outcome: Outcome) -> None:
    load = ask_each(server.place.port, paths)
    if any(answer.status != _OK for answer in load.answers):
        raise LoadError(f"{what} pictures were refused")
    ordered = sorted(answer.seconds for answer in load.answers)
    outcome[f"{what}_p50{when}"] = statistics.median(ordered) * _KILO
    outcome[f"{what}_p95{when}"] = ordered[round(0.95 * (len(ordered) - 1))] * _KILO


def _settings(place: Place) -> Path:
    return place.state / "conf" / "imgprocessor.ini"


@contextlib.contextmanager
def _workers(server: Running, machines: Sequence[int]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run workers; the first machine is that of the daemons, all others have caches of their own.
    Each worker has a session.
    """
    place = server.place
    options: dict[str, Any] = {}
    if os.geteuid() == 0:
        options = {"user": DAEMON_USER, "group": DAEMON_USER, "extra_groups": []}
    started: list[subprocess.Popen[bytes]] = []
    try:
        for machine in machines:
            settings = _settings(place)
            if machine:
                text, cache = settings.read_text(), place.state / f"machine-{machine}"
                cache.mkdir()
                cache.chmod(0o777)
                settings = settings.with_name(f"machine-{machine}.ini")
                settings.write_text(f"{text}[disk_cache]\nfolder = {cache}\n")
            words = (sys.executable, "-m", "imgprocessor", "worker", "--conf", settings)
            with (place.state / "workers.log").open("ab") as log:
                started += [start(words, cwd=ROOT, stdout=log, stderr=log, **options)]
        yield started
    finally:
        for worker in started:
            worker.terminate()
        for worker in started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.wait(STOP_SECONDS)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()


@contextlib.contextmanager
def _stopped(workers: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    for worker in workers:
        os.killpg(worker.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for worker in workers:
            os.killpg(worker.pid, signal.SIGCONT)


def _open(server: Running) -> int:
    """Return how many jobs wait or are held."""
    client = redis.Redis(port=server.place.spare_ports[0])
    with contextlib.closing(client):
        names = ("waiting:quick", "waiting:slow", "held")
        return sum(client.zcard(f"imgprocessor:{name}") for name in names)


def _await_done(server: Running) -> None:
    deadline, left = time.monotonic() + _BEGIN_SECONDS, _open(server)
    while left:
        time.sleep(_LOOK_AGAIN_SECONDS)
        before, left = left, _open(server)
        if left < before:
            deadline = time.monotonic() + _BEGIN_SECONDS
        if time.monotonic() > deadline:
            text = (server.place.state / "workers.log").read_text(errors="replace")[-2000:]
            raise LoadError(f"{left} jobs are not done:\n{text}")


def measure_jobs(
    cache: Path,
    wallpapers: Sequence[Path],
    folder: Path,
    *,
    rounds: int,
    quick: bool,
    step: Callable[[str], None],
) -> str:
    """Measure so many rounds; return a table in Markdown."""
    counts = Counts(8, 30, 4, 40) if quick else Counts(60, 200, 38, 2000)
    step("making photographs")
    bench = JobBench(TakingJobs(cache), counts, wallpapers, folder)
    for _ in range(rounds):
        bench.measure_round(step)
    lines = [f"| medians of {rounds} rounds | unit | |", "|---|---|--:|"]
    for one in MEASURES:
        value = median(bench.rounds, TakingJobs.name, one.key)
        cell = "" if value is None else f"{value:.{one.decimals}f}"
        lines.append(f"| {one.title} | {one.unit} | {cell} |")
    return "\n".join(lines)
