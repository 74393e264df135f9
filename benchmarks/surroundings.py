"""Measure what an answer costs beside its pixels: processor time by process, and where it goes.

    python benchmarks/surroundings.py [--rounds 3] [--each 400]

starts the project's Apache over the photographs of Debian's lomiri-wallpapers, asks for two
renditions of each, waits until its masters are kept, and then for so many new JPEGs some 464 pixels
wide, over four connections; then for the same ones past Apache's own cache (`Cache-Control:
no-store`), which Python finds in the disk cache. Prints the processor's milliseconds of one answer
in Apache's processes, in the daemons and in the workers, as the kernel counts them, and those of
pixels as the log has them; medians over rounds.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from load import ask_each, processes_of
from peers import QUALITIES, Imgprocessor
from rich.console import Console
from runner import Running, running

PHOTOGRAPHS = Path("/usr/share/backgrounds")
SEEN_WIDTHS, WIDTH = (640, 1200), 464
KINDS = ("apache", "daemons", "workers")
BACKGROUND_SECONDS = 2.0
"""What is kept behind the answers to first requests is over by then."""
NO_STORE = "Cache-Control: no-store\r\n"
PIXELS = ("resize", "encode")
"""Of the parts that the log tells of."""


def main() -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(description="Measure what an answer costs beside its pixels.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--each", type=int, default=400)
    options = parser.parse_args()
    names = sorted(path.name for path in PHOTOGRAPHS.glob("*.jpg") if not path.is_symlink())
    rounds = [_round(names, options.each) for _ in range(options.rounds)]
    console = Console()
    for row in rounds[0]:
        medians = {
            kind: statistics.median(one[row][kind] for one in rounds) for kind in rounds[0][row]
        }
        told = ", ".join(f"{kind} {value:.2f}" for kind, value in medians.items())
        console.print(f"{row}: {told}", highlight=False)
    return 0


def _round(names: Sequence[str], each: int) -> dict[str, dict[str, float]]:
    with (
        tempfile.TemporaryDirectory(prefix="imgprocessor-around-") as text,
        running(Imgprocessor(Path(text)), PHOTOGRAPHS, Path(text), names[0]) as server,
    ):
        system = server.system
        for width in SEEN_WIDTHS:
            ask_each(server.place.port, [system.path(name, width, 60) for name in names])
        time.sleep(BACKGROUND_SECONDS)
        widths = range(WIDTH, WIDTH + -(-each // (len(names) * len(QUALITIES))))
        paths = [
            system.path(name, width, quality)
            for width in widths
            for quality in QUALITIES
            for name in names
        ][:each]
        return {
            "new": _asked(server, paths, ""),
            "kept": _asked(server, paths * 3, NO_STORE),
        }


def _asked(server: Running, paths: Sequence[str], header: str) -> dict[str, float]:
    """Return milliseconds of the processor by kind of process, for one answer of some."""
    before = _spent(server)
    load = ask_each(server.place.port, paths, headers=header)
    time.sleep(BACKGROUND_SECONDS / 2)
    after = _spent(server)
    found = {kind: (after[kind] - before[kind]) / len(paths) / 1e6 for kind in KINDS}
    found["all"] = sum(found.values())
    found["pixels"] = _pixels(server, len(paths))
    found["ms, median"] = statistics.median(answer.seconds for answer in load.answers) * 1000
    return found


def _pixels(server: Running, count: int) -> float:
    """Return what the last answers' pixels took, by the log, on average."""
    lines = (server.place.state / "logs" / "requests.log").read_text().splitlines()[-count:]
    return statistics.fmean(
        sum(json.loads(line).get("ms", {}).get(part, 0.0) for part in PIXELS) for line in lines
    )


def _spent(server: Running) -> Counter[str]:
    """Return nanoseconds of the processor that processes have had, by their kind."""
    spent: Counter[str] = Counter()
    for pid in processes_of(server.sessions):
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        kind = "apache"
        if b"wsgi:" in words:
            kind = "daemons"
        elif b"imgprocessor.rendering.worker" in words:
            kind = "workers"
        for thread in Path(f"/proc/{pid}/task").iterdir():
            spent[kind] += int((thread / "schedstat").read_text().split()[0])
    return spent


if __name__ == "__main__":
    sys.exit(main())
