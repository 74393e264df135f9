"""Compare imgprocessor with other image servers, on the same cores, in the same run.

    ./run bench [--rounds 3] [--quick] [--only NAME ...] [-o benchmarks/results] [--gallery]
                [--uploads] [--jobs]

Installs the others into ~/.cache/imgprocessor-bench, once; imgproxy may be named by the environment
variable IMGPROXY. Then each round starts every system in turn, in a fresh state, and measures what
`picture_measures` lists; with `--gallery` what `bench_gallery` says. Writes a table and a plot. The
originals are the photographs of Debian's lomiri-wallpapers-16.04 and -20.04. With `--uploads` it
does what `bench_uploads` says instead, with `--jobs` what `bench_jobs` does.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench_gallery import GALLERY, NETWORKS, Gallery, ways
from bench_jobs import measure_jobs
from bench_pictures import FULL, QUICK, Bench
from bench_uploads import measure_uploads, takers_of
from peers import SYSTEMS
from picture_measures import PICTURES, WIDTHS
from PIL import Image
from results import Comparison, write_results
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from scores import add_scores
from systems import CannotInstall, System

PHOTOGRAPHS = Path("/usr/share/backgrounds")
LIMIT_SECONDS = 2400
"""No round is begun that would probably end later than so many seconds after the first began."""


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
    parser.add_argument("--gallery", action="store_true", help="measure a page instead")
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
    cache = home / "imgprocessor-bench"
    if options.uploads or options.jobs:
        return _measure_instead(cache, options, console)
    notes: list[str] = []
    wanted = [system(cache) for system in SYSTEMS if system.name in options.only]
    if options.gallery:
        wanted = [system for system in wanted if system.negotiates]
    systems = _install(wanted, console, notes)
    with tempfile.TemporaryDirectory(prefix="imgprocessor-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        if options.gallery:
            networks = list(NETWORKS)[-1:] if options.quick else list(NETWORKS)
            bench: Bench | Gallery = Gallery(ways(systems, cache), _photographs(), networks, folder)
        else:
            bench = Bench(systems, _photographs(), QUICK if options.quick else FULL, folder)
        comparison = GALLERY if options.gallery else PICTURES
        _measure(bench, comparison, notes=notes, options=options, console=console)
    return 0


def _measure(
    bench: Bench | Gallery,
    comparison: Comparison,
    *,
    notes: list[str],
    options: argparse.Namespace,
    console: Console,
) -> None:
    """Measure rounds, score, and write what came of it."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        total = options.rounds * bench.steps
        task = progress.add_task("starting", total=total)
        begin, seconds = time.monotonic(), 0.0
        for number in range(options.rounds):
            if seconds * (number + 1) > LIMIT_SECONDS * max(1, number):
                notes.append(f"Only {number} rounds: more would take over {LIMIT_SECONDS} s")
                break
            bench.measure_round(lambda text: progress.update(task, advance=1, description=text))
            seconds = time.monotonic() - begin
        progress.update(task, completed=total, description=f"measured in {seconds:.0f} s")
        scoring = progress.add_task("scoring", total=None)
        add_scores(
            bench.samples,
            bench.rounds[0],
            [measure.key for measure in comparison.measures],
            lambda done, of: progress.update(scoring, completed=done, total=of),
        )
    write_results(
        options.output,
        comparison,
        systems=bench.systems,
        names=bench.names,
        rounds=bench.rounds,
        notes=[*notes, *bench.notes, *bench.formats()],
        asked=bench.asked(seconds),
    )
    console.print(f"{len(comparison.measures)} measures in {options.output}", markup=False)


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


if __name__ == "__main__":
    sys.exit(main())
