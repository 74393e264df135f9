"""Pictures: how many a second, for clients that take JPEG alone and as browsers ask for them.

`measures` says what is measured.
"""

import io
import os
import random
import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from load import (
    JPEG_ALONE,
    Answer,
    Load,
    LoadError,
    ask_each,
    at_rest,
    jpeg_size,
    processor_seconds,
    repeat,
    touch_memory,
    watching,
)
from peers import QUALITIES, STATIC
from picture_measures import (
    BROWSERS,
    BROWSERS_QUALITY,
    BROWSERS_WIDTH,
    JPEG_QUALITY,
    JPEG_WIDTH,
    NEW_WIDTHS,
    SCORED_OF_A_MATRIX,
    WARM_UP,
    WARM_UP_WIDTHS,
    WIDTHS,
)
from PIL import Image
from results import OURS, STATIC_NAME, Outcome
from runner import Running, running
from scores import Sample, formats_of
from systems import System

import imgprocessor.images.formats.encoders  # noqa: F401 - teaches Pillow to open AVIF

TOUCHED_BYTES = 1_500_000_000
SEED = 20
PEERS_REPEAT_SECONDS = 3
_OK = 200
_KILO, _MEGA = 1000, 1_000_000


class WrongAnswer(Exception):
    """An answer is not the rendition that was asked for; the message says what it is."""


@dataclass(frozen=True)
class Counts:
    """How much is asked of each system in each round."""

    cold: int
    browsers: dict[str, int]
    """Cold originals, by browser."""
    matrix: int
    """Originals of the matrix."""
    browsers_matrix: int
    """The same, as Chromium asks."""
    new: int
    """New renditions of each photograph."""
    repeat_seconds: int

    def told(self, seconds: float) -> str:
        """Return it in words, after so many seconds."""
        each = len(WIDTHS) * len(QUALITIES)
        browsers = ", ".join(f"{count} as {name} asks" for name, count in self.browsers.items())
        return (
            f"In each round of each system: cold originals: {self.cold} as JPEG, {browsers}; a "
            f"matrix of {self.matrix * each} renditions of {self.matrix} originals, and as "
            f"Chromium asks of {self.browsers_matrix * each} of {self.browsers_matrix}; "
            f"{self.new} new renditions of each photograph; repeats for {self.repeat_seconds} s, "
            f"of peers for {min(PEERS_REPEAT_SECONDS, self.repeat_seconds)} s. "
            f"Measured in {seconds:.0f} s."
        )


FULL = Counts(38, {"Chromium": 19, "Firefox": 8, "Safari": 8}, 7, 2, 5, 5)
QUICK = Counts(6, dict.fromkeys(BROWSERS, 2), 1, 1, 1, 1)


@dataclass(frozen=True)
class Asked:
    """One rendition."""

    photograph: int
    name: str
    width: int
    quality: int


@dataclass(frozen=True)
class Turn:
    """A system's turn in a round."""

    server: Running
    number: int
    """The round's."""
    outcome: Outcome


_Part = Callable[[Turn], Sequence[Answer]]
"""What is measured in a turn; it returns JPEGs, to be asked for again."""


@dataclass
class Bench:
    """One run over some systems, and what came of it."""

    systems: Sequence[System]
    photographs: Sequence[Path]
    counts: Counts
    folder: Path
    rounds: list[dict[str, Outcome]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._originals, self._static = self.folder / "originals", self.folder / "static"
        _lay_out(self.photographs, self._originals, self.counts)
        self._static.mkdir()

    @property
    def steps(self) -> int:
        """In each round, at most."""
        return len(self.systems) * (5 + len(BROWSERS))

    @property
    def names(self) -> list[str]:
        """Of all that was measured."""
        static = [STATIC_NAME] if any(STATIC_NAME in one for one in self.rounds) else []
        return [*(system.name for system in self.systems), *static]

    def asked(self, seconds: float) -> str:
        """Return what was asked for in so many seconds, in words."""
        return self.counts.told(seconds)

    def measure_round(self, step: Callable[[str], None]) -> None:
        """Run each system once; each round begins with another one."""
        number = len(self.rounds)
        first = number % len(self.systems)
        self.rounds.append({})
        for system in (*self.systems[first:], *self.systems[:first]):
            outcome = self.rounds[-1][system.name] = {}
            try:
                with running(system, self._originals, self._static, WARM_UP) as server:
                    self._measure(Turn(server, number, outcome), step)
            except LoadError as error:
                self._note(system.name, number, "start", error)

    def formats(self) -> list[str]:
        """Return what was sent in the first round, in words."""
        return formats_of(self.samples, "Chromium", "Chromium")

    def _measure(self, turn: Turn, step: Callable[[str], None]) -> None:
        name = turn.server.system.name
        _ask(turn.server, [Asked(0, WARM_UP, width, JPEG_QUALITY) for width in WARM_UP_WIDTHS])
        known: list[Answer] = []
        parts: dict[str, _Part] = {"cold": self._jpegs, "matrix": self._matrix, "new": self._new}
        if turn.server.system.negotiates:
            parts |= {name: partial(self._as_browser, name) for name in BROWSERS}
            parts["matrix as Chromium asks"] = self._matrix_as_chromium
        for part, measure in parts.items():
            step(f"round {turn.number + 1}, {name}: {part}")
            os.sync()  # what the system before has written is no business of this one's
            touch_memory(TOUCHED_BYTES)
            try:
                known += measure(turn)
            except (LoadError, WrongAnswer) as error:
                self._note(name, turn.number, part, error)
        step(f"round {turn.number + 1}, {name}: repeats")
        try:
            self._repeats(turn, known)
        except LoadError as error:
            self._note(name, turn.number, "repeats", error)

    def _jpegs(self, turn: Turn) -> Sequence[Answer]:
        asked = self._one_each("cold", self.counts.cold, JPEG_WIDTH, JPEG_QUALITY)
        return self._cold(turn, "cold", asked)

    def _as_browser(self, browser: str, turn: Turn) -> Sequence[Answer]:
        count = self.counts.browsers[browser]
        asked = self._one_each(browser, count, BROWSERS_WIDTH, BROWSERS_QUALITY)
        self._cold(turn, browser, asked, BROWSERS[browser])
        return ()

    def _cold(
        self,
        turn: Turn,
        key: str,
        asked: Sequence[Asked],
        accept: str = JPEG_ALONE,
    ) -> Sequence[Answer]:
        paths = _paths(turn.server.system, asked, accept)
        before = processor_seconds(turn.server.sessions)
        with watching(turn.server.sessions) as memory:
            load = ask_each(turn.server.place.port, list(paths), accept=accept)
            spent = processor_seconds(turn.server.sessions) - before
        at_rest(turn.server.sessions)
        spent_behind = processor_seconds(turn.server.sessions) - before
        _check(paths, load)
        seconds = sorted(answer.seconds for answer in load.answers)
        turn.outcome.update(
            {
                key: load.per_second,
                f"{key}_p50": statistics.median(seconds) * _KILO,
                f"{key}_p95": seconds[round(0.95 * (len(seconds) - 1))] * _KILO,
                f"{key}_cpu": spent / len(seconds) * _KILO,
                f"{key}_cpu_behind": spent_behind / len(seconds) * _KILO,
                f"{key}_pss": memory.pss / _MEGA,
            }
        )
        self._keep(turn, key, load, paths, asked[: len(self.photographs)])
        return load.answers

    def _matrix(self, turn: Turn) -> Sequence[Answer]:
        with watching(turn.server.sessions) as memory:
            answers = self._ask_matrix(turn, "matrix", self.counts.matrix)
        turn.outcome["pss"] = memory.pss / _MEGA
        turn.outcome["rss"] = memory.rss / _MEGA
        return answers

    def _matrix_as_chromium(self, turn: Turn) -> Sequence[Answer]:
        count, accept = self.counts.browsers_matrix, BROWSERS["Chromium"]
        self._ask_matrix(turn, "browsers_matrix", count, accept)
        return ()

    def _ask_matrix(
        self,
        turn: Turn,
        key: str,
        count: int,
        accept: str = JPEG_ALONE,
    ) -> Sequence[Answer]:
        chosen = [(turn.number * count + index) % len(self.photographs) for index in range(count)]
        asked = [one for index in chosen for one in _every(index, f"{key}-{index}.jpg", WIDTHS)]
        paths = _paths(turn.server.system, asked, accept)
        load = ask_each(turn.server.place.port, list(paths), accept=accept)
        _check(paths, load)
        turn.outcome[key] = load.per_second
        scored = random.Random(SEED).sample(asked, SCORED_OF_A_MATRIX)  # noqa: S311 - comes back
        self._keep(turn, key, load, paths, scored)
        return load.answers

    def _new(self, turn: Turn) -> Sequence[Answer]:
        """Ask for a few renditions of every photograph, others in each round: how dear an original
        is to decode differs thirtyfold, so that a few originals say little.
        """
        seen = self._one_each("new", len(self.photographs), JPEG_WIDTH, JPEG_QUALITY)
        _ask(turn.server, seen)
        at_rest(turn.server.sessions)
        asked: list[Asked] = []
        for one in seen:
            every = _every(one.photograph, one.name, NEW_WIDTHS)
            step = len(every) // self.counts.new
            asked += every[(turn.number + one.photograph) % step :: step][: self.counts.new]
        load = _ask(turn.server, asked)
        turn.outcome["new"] = load.per_second
        return load.answers

    def _repeats(self, turn: Turn, known: Sequence[Answer]) -> None:
        seconds = self.counts.repeat_seconds
        port, folder = turn.server.place.port, turn.server.place.state
        ours = turn.server.system.name == OURS
        paths = [answer.path for answer in known]
        short = min(PEERS_REPEAT_SECONDS, seconds)
        turn.outcome["repeats"] = repeat(port, paths, seconds if ours else short, folder)
        if ours:
            files = []
            for index, answer in enumerate(known):
                (self._static / f"{index}.jpg").write_bytes(answer.body)
                files.append(f"{STATIC}{index}.jpg")
            static: Outcome = {"repeats": repeat(port, files, seconds, folder)}
            self.rounds[-1][STATIC_NAME] = static

    def _one_each(self, key: str, count: int, width: int, quality: int) -> list[Asked]:
        """Return one rendition of each of so many originals."""
        every = len(self.photographs)
        return [
            Asked(place % every, f"{key}-{place}.jpg", width, quality) for place in range(count)
        ]

    def _keep(
        self,
        turn: Turn,
        key: str,
        load: Load,
        paths: Mapping[str, Asked],
        scored: Collection[Asked],
    ) -> None:
        """Keep what says how good it was what was sent."""
        turn.outcome[f"{key}_kilobytes"] = (
            statistics.fmean(len(one.body) for one in load.answers) / _KILO
        )
        if turn.number:
            return
        for answer in load.answers:
            one = paths[answer.path]
            if one in scored:
                photograph = self.photographs[one.photograph]
                self.samples += [Sample(turn.server.system.name, key, photograph, answer.body)]

    def _note(self, name: str, number: int, part: str, error: Exception) -> None:
        self.notes.append(f"{name}, round {number + 1}, {part}: void, because {error}")


def _every(photograph: int, name: str, widths: Sequence[int]) -> list[Asked]:
    return [Asked(photograph, name, width, quality) for width in widths for quality in QUALITIES]


def _ask(server: Running, asked: Sequence[Asked]) -> Load:
    """Ask for JPEGs, and check what came."""
    paths = _paths(server.system, asked, JPEG_ALONE)
    load = ask_each(server.place.port, list(paths))
    _check(paths, load)
    return load


def _paths(system: System, asked: Sequence[Asked], accept: str) -> dict[str, Asked]:
    """Return paths of renditions, in an order that is the same for all systems."""
    shuffled = random.Random(SEED).sample(asked, len(asked))  # noqa: S311 - it must come back
    path = system.path if accept == JPEG_ALONE else system.negotiated
    return {path(one.name, one.width, one.quality): one for one in shuffled}


def _check(paths: Mapping[str, Asked], load: Load) -> None:
    for answer in load.answers:
        size = picture_size(answer.body)
        wanted = paths[answer.path].width
        if answer.status != _OK or size is None or size[0] != wanted:
            what = f"width {size[0]}" if size else f"{len(answer.body)} bytes that are no picture"
            said = f"{answer.path} was answered with status {answer.status}, {what}"
            raise WrongAnswer(f"{said}, and not {wanted} wide")


def picture_size(body: bytes) -> tuple[int, int] | None:
    """Return width and height of a whole picture of any format; None if it is none."""
    if body.startswith(b"\xff\xd8"):
        return jpeg_size(body)
    try:
        with Image.open(io.BytesIO(body)) as image:
            image.load()
            return image.size
    except (OSError, SyntaxError, ValueError):
        return None


def _lay_out(photographs: Sequence[Path], folder: Path, counts: Counts) -> None:
    """Put the photographs into a folder under several names, a set for each measure."""
    folder.mkdir()
    firsts = []
    for index, photograph in enumerate(photographs):
        first = folder / f"new-{index}.jpg"
        first.write_bytes(photograph.read_bytes())
        firsts.append(first)
        for key in ("matrix", "browsers_matrix"):
            (folder / f"{key}-{index}.jpg").hardlink_to(first)
    for key, count in {"cold": counts.cold, **counts.browsers}.items():
        for place in range(count):
            (folder / f"{key}-{place}.jpg").hardlink_to(firsts[place % len(firsts)])
    (folder / WARM_UP).hardlink_to(firsts[0])
