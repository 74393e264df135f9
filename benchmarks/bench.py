"""Compare imgprocessor with other image servers, on the same cores, in the same run.

    ./run bench [--rounds 3] [--quick] [--only NAME ...] [-o benchmarks/results] [--uploads]
                [--jobs]

Installs the others into ~/.cache/imgprocessor-bench, once. Then each round starts every system in
turn, in a fresh state, and measures what `results.MEASURES` lists. Writes a table and a plot. The
originals are the photographs of Debian's lomiri-wallpapers-16.04 and -20.04. With `--uploads` it
does what `bench_uploads` says instead, with `--jobs` what `bench_jobs` does.
"""

import argparse
import datetime as dt
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench_jobs import measure_jobs
from bench_uploads import measure_uploads, takers_of
from load import Answer, Load, LoadError, ask_each, jpeg_size, repeat, touch_memory, watching
from peers import QUALITIES, STATIC, SYSTEMS
from PIL import Image
from quality_scale import ssimulacra2
from results import MEASURES, OURS, STATIC_NAME, Outcome, write_results
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from runner import Running, running
from systems import CORES, CannotInstall, System

PHOTOGRAPHS = Path("/usr/share/backgrounds")
WIDTHS = (320, 480, 640, 960, 1280)
NEW_WIDTHS = tuple(width - 16 for width in WIDTHS)
COLD_WIDTH, COLD_QUALITY = 640, 60
WARM_UP, WARM_UP_WIDTHS = "warm.jpg", range(200, 208)
BACKGROUND_SECONDS = 1.0
"""What a server may do of its own accord after an original's first rendition is over by then."""
TOUCHED_BYTES = 1_500_000_000
SEED = 20
PEERS_REPEAT_SECONDS = 3
LIMIT_SECONDS = 600
"""No round is begun that would probably end later than so many seconds after the first began."""
_OK = 200
_KILO, _MEGA = 1000, 1_000_000


class WrongAnswer(Exception):
    """An answer is not the rendition that was asked for; the message says what it is."""


@dataclass(frozen=True)
class Counts:
    """How much is asked of each system in each round."""

    cold: int
    matrix: int
    """Originals of the matrix."""
    new: int
    """New renditions of each photograph."""
    repeat_seconds: int


@dataclass(frozen=True)
class Asked:
    """One rendition."""

    name: str
    width: int
    quality: int


class Bench:
    """One run over some systems, and what came of it."""

    def __init__(
        self, systems: Sequence[System], photographs: Sequence[Path], counts: Counts, folder: Path
    ) -> None:
        self._systems = systems
        self._photographs = photographs
        self._counts = counts
        self._originals = folder / "originals"
        self._static = folder / "static"
        self._folder = folder
        self.rounds: list[dict[str, Outcome]] = []
        self.notes: list[str] = []
        self.samples: dict[str, dict[str, bytes]] = {}
        """By photograph and system: answers of the first round."""
        _lay_out(photographs, self._originals)
        self._static.mkdir()

    def measure_round(self, step: Callable[[str], None]) -> None:
        """Run each system once; each round begins with another one."""
        number = len(self.rounds)
        turn = number % len(self._systems)
        self.rounds.append({})
        for system in (*self._systems[turn:], *self._systems[:turn]):
            outcome: Outcome = {}
            self.rounds[-1][system.name] = outcome
            try:
                with running(system, self._originals, self._static, WARM_UP) as server:
                    self._measure(server, number, outcome, step)
            except LoadError as error:
                self._note(system.name, number, "start", error)

    def _measure(
        self, server: Running, number: int, outcome: Outcome, step: Callable[[str], None]
    ) -> None:
        name = server.system.name
        _ask(server, [Asked(WARM_UP, width, COLD_QUALITY) for width in WARM_UP_WIDTHS])
        parts = (("cold", self._cold), ("matrix", self._matrix), ("new", self._new))
        known: list[Answer] = []
        for part, measure in parts:
            step(f"round {number + 1}, {name}: {part}")
            os.sync()  # what the system before has written is no business of this one's
            touch_memory(TOUCHED_BYTES)
            try:
                known += measure(server, number, outcome).answers
            except (LoadError, WrongAnswer) as error:
                self._note(name, number, part, error)
        step(f"round {number + 1}, {name}: repeats")
        try:
            self._repeats(server, known, outcome)
        except LoadError as error:
            self._note(name, number, "repeats", error)

    def _cold(self, server: Running, number: int, outcome: Outcome) -> Load:
        names = [f"cold-{copy}-{index}.jpg" for copy in range(2) for index in self._all]
        asked = [Asked(name, COLD_WIDTH, COLD_QUALITY) for name in names[: self._counts.cold]]
        load = _ask(server, asked)
        outcome["cold"] = load.per_second
        ordered = sorted(answer.seconds for answer in load.answers)
        outcome["cold_p50"] = statistics.median(ordered) * _KILO
        outcome["cold_p95"] = ordered[round(0.95 * (len(ordered) - 1))] * _KILO
        if number == 0:
            bodies = {answer.path: answer.body for answer in load.answers}
            for index, one in enumerate(asked[: len(self._photographs)]):
                body = bodies[server.system.path(one.name, one.width, one.quality)]
                photograph = self._photographs[index].name
                self.samples.setdefault(photograph, {})[server.system.name] = body
        return load

    def _matrix(self, server: Running, number: int, outcome: Outcome) -> Load:
        names = [f"matrix-{index}.jpg" for index in self._turn(number, self._counts.matrix)]
        with watching(server.sessions) as memory:
            load = _ask(server, _every(names, WIDTHS))
        outcome["matrix"] = load.per_second
        outcome["pss"] = memory.pss / _MEGA
        outcome["rss"] = memory.rss / _MEGA
        return load

    def _new(self, server: Running, number: int, outcome: Outcome) -> Load:
        """Ask for a few renditions of every photograph, others in each round: how dear an original
        is to decode differs thirtyfold, so that a few originals say little.
        """
        names = [f"new-{index}.jpg" for index in self._all]
        _ask(server, [Asked(name, COLD_WIDTH, COLD_QUALITY) for name in names])
        time.sleep(BACKGROUND_SECONDS)
        asked: list[Asked] = []
        for index, name in enumerate(names):
            every = _every([name], NEW_WIDTHS)
            step = len(every) // self._counts.new
            asked += every[(number + index) % step :: step][: self._counts.new]
        load = _ask(server, asked)
        outcome["new"] = load.per_second
        return load

    def _repeats(self, server: Running, known: Sequence[Answer], outcome: Outcome) -> None:
        seconds = self._counts.repeat_seconds
        port, folder = server.place.port, server.place.state
        ours = server.system.name == OURS
        paths = [answer.path for answer in known]
        short = min(PEERS_REPEAT_SECONDS, seconds)
        outcome["repeats"] = repeat(port, paths, seconds if ours else short, folder)
        if ours:
            files = []
            for index, answer in enumerate(known):
                (self._static / f"{index}.jpg").write_bytes(answer.body)
                files.append(f"{STATIC}{index}.jpg")
            static: Outcome = {"repeats": repeat(port, files, seconds, folder)}
            self.rounds[-1][STATIC_NAME] = static

    @property
    def _all(self) -> range:
        return range(len(self._photographs))

    def _turn(self, number: int, count: int) -> list[int]:
        """Return which photographs it is a round's turn to use."""
        return [(number * count + index) % len(self._all) for index in range(count)]

    def _note(self, name: str, number: int, part: str, error: Exception) -> None:
        self.notes.append(f"{name}, round {number + 1}, {part}: void, because {error}")


def _every(names: Sequence[str], widths: Sequence[int]) -> list[Asked]:
    return [
        Asked(name, width, quality) for name in names for width in widths for quality in QUALITIES
    ]


def _ask(server: Running, asked: Sequence[Asked]) -> Load:
    """Ask for renditions in an order that is the same for all systems, and check what came."""
    shuffled = random.Random(SEED).sample(asked, len(asked))  # noqa: S311 - it must come back
    path_of = server.system.path
    wanted = {path_of(one.name, one.width, one.quality): one for one in shuffled}
    load = ask_each(server.place.port, list(wanted))
    for answer in load.answers:
        size = jpeg_size(answer.body)
        if answer.status != _OK or size is None or size[0] != wanted[answer.path].width:
            what = f"width {size[0]}" if size else f"{len(answer.body)} bytes that are no JPEG"
            said = f"{answer.path} was answered with status {answer.status}, {what}"
            raise WrongAnswer(f"{said}, and not {wanted[answer.path].width} wide")
    return load


def _lay_out(photographs: Sequence[Path], folder: Path) -> None:
    """Put the photographs into a folder under several names, a set for each measure."""
    folder.mkdir()
    for index, photograph in enumerate(photographs):
        first = folder / f"cold-0-{index}.jpg"
        first.write_bytes(photograph.read_bytes())
        for name in (f"cold-1-{index}", f"matrix-{index}", f"new-{index}"):
            (folder / f"{name}.jpg").hardlink_to(first)
    (folder / WARM_UP).hardlink_to(folder / "cold-0-0.jpg")


def score(photograph: Path, bodies: Mapping[str, bytes]) -> dict[str, float]:
    """Return SSIMULACRA2 of each system's answer, against the original resized to its size."""
    original = Image.open(photograph).convert("RGB")
    scores = {}
    for name, body in bodies.items():
        reference = original.resize(jpeg_size(body) or (1, 1), Image.Resampling.LANCZOS)
        reference.info = {}
        scores[name] = ssimulacra2(reference, body)
    return scores


def _install(systems: Sequence[System], console: Console, notes: list[str]) -> list[System]:
    """Install what is not there yet; return what can run."""
    found = []
    for system in systems:
        if not system.installed():
            console.print(f"installing {system.name} (not measured) ...")
            try:
                system.install()
            except CannotInstall as error:
                notes.append(f"{system.name} is left out: {error}")
                console.print(notes[-1], markup=False)
                continue
        found.append(system)
    return found


def _options() -> argparse.Namespace:
    known = [system.name for system in SYSTEMS]
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a few requests: does everything run?")
    parser.add_argument("--only", nargs="+", choices=known, default=known, help="these systems")
    parser.add_argument("--uploads", action="store_true", help="measure uploads instead")
    parser.add_argument("--jobs", action="store_true", help="measure jobs instead")
    output = Path(__file__).with_name("results")
    parser.add_argument("-o", "--output", type=Path, default=output, help="folder of results")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds must be 1 or more")
    return options


def _photographs() -> list[Path]:
    """Return the photographs that are wide enough for every rendition."""
    files = (path for path in PHOTOGRAPHS.iterdir() if path.is_file() and not path.is_symlink())
    found = []
    for path in sorted(path for path in files if path.suffix == ".jpg"):
        with Image.open(path) as image:
            if image.width >= max(WIDTHS):
                found.append(path)
    return found


def main() -> int:
    """Install, measure, score and write; return the exit status."""
    options = _options()
    for ends in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Through all that must be ended and removed.
        signal.signal(ends, lambda came, _: sys.exit(128 + came))
    console = Console(stderr=True)
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    notes: list[str] = []
    if options.uploads or options.jobs:
        return _measure_instead(home / "imgprocessor-bench", options, console)
    wanted = [system(home / "imgprocessor-bench") for system in SYSTEMS]
    chosen = [system for system in wanted if system.name in options.only]
    systems = _install(chosen, console, notes)
    photographs = _photographs()
    counts = Counts(38, 7, 5, 5)
    if options.quick:
        counts = Counts(6, 1, 1, 1)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with (
        tempfile.TemporaryDirectory(prefix="imgprocessor-bench-") as name,
        Progress(*columns, TimeElapsedColumn(), console=console) as progress,
    ):
        folder = Path(name)
        folder.chmod(0o755)
        bench = Bench(systems, photographs, counts, folder)
        total = options.rounds * len(systems) * 4
        task = progress.add_task("starting", total=total)
        begin, seconds = time.monotonic(), 0.0
        for number in range(options.rounds):
            if seconds * (number + 1) > LIMIT_SECONDS * max(1, number):
                notes.append(f"Only {number} rounds: more would take over {LIMIT_SECONDS} s")
                break
            bench.measure_round(lambda text: progress.update(task, advance=1, description=text))
            seconds = time.monotonic() - begin
        progress.update(task, completed=total, description=f"measured in {seconds:.0f} s")
        _score(bench, progress)
    write_results(
        options.output / f"{dt.datetime.now().astimezone():%Y-%m-%d}.md",
        systems=systems,
        rounds=bench.rounds,
        notes=[*notes, *bench.notes],
        asked=_asked(counts, seconds),
    )
    console.print(f"{len(MEASURES)} measures in {options.output}", markup=False)
    return 0


def _measure_instead(cache: Path, options: argparse.Namespace, console: Console) -> int:
    """Print what came of uploads, or of jobs; return the exit status."""
    measure = partial(measure_jobs, cache)
    if options.uploads:
        takers = {one.system: one for one in takers_of(cache) if one.system.name in options.only}
        found = _install(list(takers), console, [])
        measure = partial(measure_uploads, [takers[system] for system in found])
    with tempfile.TemporaryDirectory(prefix="imgprocessor-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        rounds, quick = options.rounds, options.quick
        print(measure(_photographs(), folder, rounds=rounds, quick=quick, step=console.print))
    return 0


def _score(bench: Bench, progress: Progress) -> None:
    """Score the answers to the cold requests of the first round; what is timed is over."""
    task = progress.add_task("scoring", total=len(bench.samples))
    scores: dict[str, list[float]] = {}
    kilobytes: dict[str, list[float]] = {}
    with ProcessPoolExecutor(CORES) as pool:
        jobs = {
            pool.submit(score, PHOTOGRAPHS / photograph, bodies): bodies
            for photograph, bodies in bench.samples.items()
        }
        for job in as_completed(jobs):
            progress.update(task, advance=1)
            for name, one in job.result().items():
                scores.setdefault(name, []).append(one)
                kilobytes.setdefault(name, []).append(len(jobs[job][name]) / _KILO)
    for name, all_scores in scores.items():
        bench.rounds[0][name]["score"] = statistics.fmean(all_scores)
        bench.rounds[0][name]["kilobytes"] = statistics.fmean(kilobytes[name])


def _asked(counts: Counts, seconds: float) -> str:
    each = len(WIDTHS) * len(QUALITIES)
    return (
        f"In each round of each system: {counts.cold} cold originals; a matrix of "
        f"{counts.matrix * each} renditions of {counts.matrix} originals; {counts.new} new "
        f"renditions of each photograph; repeats for {counts.repeat_seconds} s, of peers for "
        f"{min(PEERS_REPEAT_SECONDS, counts.repeat_seconds)} s. Measured in {seconds:.0f} s."
    )


if __name__ == "__main__":
    sys.exit(main())
