"""Measure uploads: how many are taken, and what they cost those who look at pictures meanwhile.

    ./run bench --uploads [--rounds 3] [--quick]

The photographs are six of Debian's lomiri-wallpapers, as a telephone would have taken them: of 12
megapixels and about 3 MB. Every upload has other bytes. In each round each system, in a fresh
state, takes them over 4 connections, without sizes and with two; then pictures are asked for, alone
and beside 20 uploads that run all the time. Prints a table of medians over the rounds.

thumbor reads a file's header and writes the file, in the time of its disk. Here a file is decoded
whole, cleaned, and on the disk (`fsync`) before the answer. thumbor keeps no sizes: both are asked
for, at quality 60, once it has answered.
"""

import contextlib
import io
import itertools
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

from load import ANSWER_SECONDS, CONNECTIONS, LoadError, ask_each, processor_seconds
from peers import Imgprocessor, Thumbor
from PIL import Image, ImageChops, ImageOps
from results import Measure, Outcome, median, ratio_to_best
from runner import Running, running
from systems import System

PHOTOGRAPHS = 6
WIDTH, HEIGHT = 4032, 3024
PHOTOGRAPH_BYTES = 3_000_000
NOISE = 5.0
"""Of each pixel, standard deviation in steps of 255."""
QUALITIES = range(50, 99)
SIZES = (320, 640)
AT_ONCE = 20
COLD_WIDTH, QUALITY = 640, 60
WARM_UP = "warm.jpg"
SETTLE_SECONDS = 2.0
"""Until 20 uploads are at all stages."""
_BOUNDARY = "a-boundary-of-this-benchmark"
_CREATED, _OK, _UNAVAILABLE = 201, 200, 503
_KILO = 1000

MEASURES = (
    Measure("plain", "uploads", "per second", True),
    Measure("plain_cpu", "uploads: processor time of one", "ms", False, 0),
    Measure("plain_p50", "uploads: latency, median", "ms", False, 0),
    Measure("sized", "uploads with two sizes", "per second", True),
    Measure("sized_cpu", "uploads with two sizes: processor time of one", "ms", False, 0),
    Measure("sized_p50", "uploads with two sizes: latency, median", "ms", False, 0),
    *(
        Measure(f"{what}_{key}{when}", f"{what}, {said}{title}", unit, key == "rate")
        for what in ("cold", "kept")
        for key, title, unit in (
            ("rate", "", "per second"),
            ("p50", ": latency, median", "ms"),
            ("p95", ": latency, 95th percentile", "ms"),
            ("failed", ": refused", "percent"),
        )
        for when, said in (("", "alone"), ("_beside", "beside 20 uploads"))
    ),
    Measure("cold_share", "cold, a second: beside 20 uploads / alone", "ratio", True, 2),
    Measure("kept_share", "kept, a second: beside 20 uploads / alone", "ratio", True, 2),
    Measure("beside", "uploads beside cold pictures", "per second", True),
    Measure("refused", "uploads beside pictures that were refused (503)", "percent", False, 0),
)
"""Kept pictures are those of ours alone: thumbor keeps none here."""


@dataclass(frozen=True)
class Counts:
    """How much is asked of each system in each round."""

    plain: int
    sized: int
    cold: int
    """Originals never seen, and as many again beside uploads."""
    kept: int
    """Requests for what was made before, and as many again."""


@dataclass(frozen=True)
class Taker:
    """A system that takes uploads as forms."""

    system: System
    path: str
    field: str
    """Of the form, for the file."""
    makes_sizes: bool
    """Whether it makes the sizes that a form names."""

    def upload(self, connection: HTTPConnection, file: bytes, sizes: Sequence[int]) -> None:
        """Hand a file in, and have sizes of it made.

        Raises:
            LoadError: it was not taken, or has not these sizes.
            Refused: the system has too much to do.
        """
        body = form({"sizes": ",".join(f"{width}x0" for width in sizes)}, self.field, file)
        connection.request("POST", self.path, body, form_headers())
        answer = connection.getresponse()
        told = answer.read()
        if answer.status == _UNAVAILABLE:
            raise Refused
        if answer.status != _CREATED:
            raise LoadError(f"an upload was answered with {answer.status}: {told[:200]!r}")
        place = answer.headers["Location"]
        if self.makes_sizes and told.count(b'"0"]') != len(sizes):
            raise LoadError(f"{len(sizes)} sizes were asked for, and there are {told!r}")
        for width in () if self.makes_sizes else sizes:
            connection.request("GET", self.system.path(place.split("/")[-2], width, QUALITY))
            answer = connection.getresponse()
            if not answer.read() or answer.status != _OK:
                raise LoadError(f"a size was answered with {answer.status}")


class Refused(Exception):
    """A system said that it has too much to do."""


class ThumborTaking(Thumbor):
    """thumbor with its handler of uploads, as its documentation has it."""

    CONF = f"""\
{Thumbor.CONF.replace("no_storage", "file_storage")}
FILE_STORAGE_ROOT_PATH = {{state!r}}
UPLOAD_ENABLED = True
UPLOAD_PHOTO_STORAGE = "thumbor.storages.file_storage"
"""


class UploadBench:
    """One run, and what came of it."""

    def __init__(
        self, takers: Sequence[Taker], counts: Counts, wallpapers: Sequence[Path], folder: Path
    ) -> None:
        self._takers = takers
        self._counts = counts
        self._photographs = [photograph(path) for path in wallpapers[:PHOTOGRAPHS]]
        self._originals = folder / "originals"
        self._static = folder / "static"
        self._serial = itertools.count()
        self._cold = lay_out(wallpapers, self._originals, 2 * counts.cold)
        self._static.mkdir()
        self.rounds: list[dict[str, Outcome]] = []

    def measure_round(self) -> None:
        """Run each system once; each round begins with another one, and with another half."""
        number = len(self.rounds)
        turn = number % len(self._takers)
        self.rounds.append({})
        for taker in (*self._takers[turn:], *self._takers[:turn]):
            with running(taker.system, self._originals, self._static, WARM_UP) as server:
                outcome = self._measured(taker, server, number)
            self.rounds[-1][taker.system.name] = outcome

    def _measured(self, taker: Taker, server: Running, number: int) -> Outcome:
        outcome: Outcome = {}
        self._uploads(taker, server, CONNECTIONS, ())  # does not count
        for key, count, sizes in (
            ("plain", self._counts.plain, ()),
            ("sized", self._counts.sized, SIZES),
        ):
            os.sync()  # what was written before is no business of this
            before, began = processor_seconds(server.sessions), time.perf_counter()
            latencies = self._uploads(taker, server, count, sizes)
            outcome[key] = count / (time.perf_counter() - began)
            taken = processor_seconds(server.sessions) - before
            outcome[f"{key}_cpu"] = taken / count * _KILO
            outcome[f"{key}_p50"] = statistics.median(latencies) * _KILO
        halves = [
            partial(self._alone, server, outcome),
            partial(self._beside, taker, server, outcome),
        ]
        cold = [self._cold[: self._counts.cold], self._cold[self._counts.cold :]]
        for look, names in zip(halves[:: (-1) ** number], cold, strict=True):
            look([server.system.path(name, COLD_WIDTH, QUALITY) for name in names])
        for what in ("cold", "kept"):
            if f"{what}_rate" in outcome:
                outcome[f"{what}_share"] = outcome[f"{what}_rate_beside"] / outcome[f"{what}_rate"]
        return outcome

    def _uploads(
        self, taker: Taker, server: Running, count: int, sizes: Sequence[int]
    ) -> list[float]:
        """Hand in so many photographs; return the seconds that each took."""
        latencies: list[float] = []
        files = (self._numbered(next(self._serial)) for _ in range(count))
        waiting = iter(list(files))

        def take_turns() -> None:
            connection = HTTPConnection("127.0.0.1", server.place.port, timeout=ANSWER_SECONDS)
            with contextlib.closing(connection):
                for file in waiting:
                    began = time.perf_counter()
                    taker.upload(connection, file, sizes)
                    latencies.append(time.perf_counter() - began)

        with ThreadPoolExecutor(CONNECTIONS) as pool:
            for turns in [pool.submit(take_turns) for _ in range(CONNECTIONS)]:
                turns.result()
        return latencies

    def _alone(self, server: Running, outcome: Outcome, cold: Sequence[str]) -> None:
        self._look(server, outcome, "", cold)

    def _beside(self, taker: Taker, server: Running, outcome: Outcome, cold: Sequence[str]) -> None:
        with self._uploading(taker, server) as (done, refused):
            time.sleep(SETTLE_SECONDS)
            self._look(server, outcome, "_beside", cold, done)
            outcome["refused"] = 100 * refused.value / max(1, refused.value + done.value)

    def _look(
        self,
        server: Running,
        outcome: Outcome,
        when: str,
        cold: Sequence[str],
        done: "Synchronized[int] | None" = None,
    ) -> None:
        """Ask for cold pictures, then for those again that are kept by then."""
        before = done.value if done else 0
        parts = [("cold", cold)]
        if isinstance(server.system, Imgprocessor):
            parts.append(
                ("kept", [cold[number % len(cold)] for number in range(self._counts.kept)])
            )
        for what, paths in parts:
            load = ask_each(server.place.port, paths)
            failed = sum(answer.status != _OK for answer in load.answers)
            outcome[f"{what}_failed{when}"] = 100 * failed / len(paths)
            if done and what == "cold":
                outcome["beside"] = (done.value - before) / load.seconds
            ordered = sorted(answer.seconds for answer in load.answers)
            outcome[f"{what}_rate{when}"] = load.per_second
            outcome[f"{what}_p50{when}"] = statistics.median(ordered) * _KILO
            outcome[f"{what}_p95{when}"] = ordered[round(0.95 * (len(ordered) - 1))] * _KILO

    @contextlib.contextmanager
    def _uploading(
        self, taker: Taker, server: Running
    ) -> "Iterator[tuple[Synchronized[int], Synchronized[int]]]":
        """Hand in photographs all the time, 20 at once, from another process; yield how many were
        taken so far, and how many refused.
        """
        over = multiprocessing.Event()
        done, refused = multiprocessing.Value("q"), multiprocessing.Value("q")

        def upload() -> None:
            connection = HTTPConnection("127.0.0.1", server.place.port, timeout=ANSWER_SECONDS)
            with contextlib.closing(connection):
                while not over.is_set():
                    counted = done
                    try:
                        taker.upload(connection, self._numbered(next(self._serial)), ())
                    except Refused:
                        counted = refused
                    with counted.get_lock():
                        counted.value += 1

        def upload_many() -> None:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                for one in [pool.submit(upload) for _ in range(AT_ONCE)]:
                    one.result()

        process = multiprocessing.get_context("fork").Process(target=upload_many)
        process.start()
        try:
            yield done, refused
        finally:
            over.set()
            process.join()
            for _ in range(done.value + refused.value + AT_ONCE):
                next(self._serial)  # that process counted by itself
        if process.exitcode:
            raise LoadError(f"{taker.system.name}: uploads failed beside pictures")

    def _numbered(self, number: int) -> bytes:
        """Return a photograph that nobody sent before."""
        return numbered(self._photographs[number % len(self._photographs)], number)


def takers_of(cache: Path) -> list[Taker]:
    """Return the systems that take uploads."""
    return [
        Taker(Imgprocessor(cache), "/upload", "image", makes_sizes=True),
        Taker(ThumborTaking(cache), "/image", "media", makes_sizes=False),
    ]


def form(texts: dict[str, str], field: str, file: bytes) -> bytes:
    """Return a form with these texts, but for empty ones, and a file."""
    head = b"--" + _BOUNDARY.encode() + b'\r\nContent-Disposition: form-data; name="'
    parts = [head + f'{name}"\r\n\r\n{text}\r\n'.encode() for name, text in texts.items() if text]
    named = f'{field}"; filename="photograph.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'.encode()
    return b"".join((*parts, head, named, file, b"\r\n--", _BOUNDARY.encode(), b"--\r\n"))


def form_headers() -> dict[str, str]:
    """Return the headers of such a form."""
    return {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}


def numbered(file: bytes, number: int) -> bytes:
    """Return a JPEG with a number in a comment, so that it is not the same as others."""
    return file[:2] + b"\xff\xfe\0\x0a" + number.to_bytes(8, "big") + file[2:]


def photograph(wallpaper: Path) -> bytes:
    """Return a wallpaper with a telephone's pixels and the noise of its sensor, at the quality that
    comes next to 3 MB.
    """
    with Image.open(wallpaper) as image:
        pixels = ImageOps.fit(image.convert("RGB"), (WIDTH, HEIGHT))
    noise = Image.effect_noise(pixels.size, NOISE).convert("RGB")
    pixels = ImageChops.add(pixels, noise, offset=-128)

    def encoded(quality: int) -> bytes:
        file = io.BytesIO()
        pixels.save(file, "JPEG", quality=quality)
        return file.getvalue()

    low, high = QUALITIES[0], QUALITIES[-1]
    while low < high:
        middle = (low + high) // 2
        if len(encoded(middle)) < PHOTOGRAPH_BYTES:
            low = middle + 1
        else:
            high = middle
    return encoded(low)


def lay_out(wallpapers: Sequence[Path], folder: Path, count: int) -> list[str]:
    """Put so many originals into a folder; return their names."""
    folder.mkdir()
    names = [f"cold-{number}.jpg" for number in range(count)]
    for name, wallpaper in zip((WARM_UP, *names), itertools.cycle(wallpapers), strict=False):
        (folder / name).write_bytes(wallpaper.read_bytes())
    return names


def measure_uploads(
    takers: Sequence[Taker],
    wallpapers: Sequence[Path],
    folder: Path,
    *,
    rounds: int,
    quick: bool,
    step: Callable[[str], None],
) -> str:
    """Measure so many rounds; return a table in Markdown."""
    counts = Counts(8, 4, 4, 40) if quick else Counts(48, 24, 38, 2000)
    step("making photographs")
    bench = UploadBench(takers, counts, wallpapers, folder)
    for number in range(rounds):
        step(f"round {number + 1}")
        bench.measure_round()
    names = [taker.system.name for taker in takers]
    lines = [
        f"| medians of {rounds} rounds | unit | {' | '.join(names)} | ratio |",
        f"|---|---|{'--:|' * (len(names) + 1)}",
    ]
    for one in MEASURES:
        found = [median(bench.rounds, name, one.key) for name in names]
        ratio = None if one.unit == "percent" else ratio_to_best(bench.rounds, one)
        cells = ["" if value is None else f"{value:.{one.decimals}f}" for value in found]
        cells.append("" if ratio is None else f"{ratio:.2f}")
        lines.append(f"| {one.title} | {one.unit} | {' | '.join(cells)} |")
    return "\n".join(lines)
