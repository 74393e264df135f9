"""A disk whose calls fail with EIO while everything runs: slower, and never wrong."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from failing_disk import KEYS, PRELOAD, ROUNDS, WIDTHS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PRELOAD.exists(), reason="there is no libfiu0"),
]

# Not there: what libfiu has no point for (fallocate, utime, stat, mkdir, and Python's way to read a
# folder), fsync, which nothing here calls, and close, which libfiu fails without closing anything.
WRITING = [
    "rw/write", "rw/write/reduce", "rw/pwrite", "rw/pwrite/reduce", "rw/ftruncate", "dir/rename",
    "dir/unlink", "dir/rename dir/unlink", "dir/opendir",
]  # fmt: skip
READING = ["oc/open", "rw/read", "rw/read/reduce", "rw/readv"]
ALL = " ".join(point for point in WRITING + READING if " " not in point)
MOST_KINDS = 5
"""Of complaints about one disk cache."""
MIXED = pytest.param(ALL, id="all")
ANSWERS = 3 * len(WIDTHS)


Run = Callable[[str, Path, float, str], tuple[dict[str, Any], list[str]]]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Return what came of a run, and what was complained of."""
    with subprocess.Popen(
        [sys.executable, ROOT / "tests/failing_disk.py"],
        env={**os.environ, "LD_PRELOAD": str(PRELOAD), "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        asking, answers = process.stdin, process.stdout

        def ask(
            what: str, folder: Path, chance: float, points: str
        ) -> tuple[dict[str, Any], list[str]]:
            told = folder / "complaints"
            names = (f"posix/io/{point}" for point in points.split())
            asking.write(f"{json.dumps([what, str(folder), str(told), chance, *names])}\n")
            asking.flush()
            line, complaints = answers.readline(), told.read_text()
            assert line.startswith("{"), line + complaints
            came: dict[str, Any] = json.loads(line)
            return came, complaints.splitlines()

        yield ask
        asking.close()


@pytest.mark.parametrize("chance", [1, 0.2])
@pytest.mark.parametrize("points", [*WRITING, *READING, MIXED])
def test_a_store_is_never_wrong_and_heals(
    run: Run, tmp_path: Path, points: str, chance: float
) -> None:
    came, complaints = run("store", tmp_path, chance, points)

    assert came["wrong"] == []
    assert came["healed"]
    left, collected = came["in_the_way"]
    assert collected == 0
    assert left == 0 or "unlink" in points
    # Each kind once a minute at most, and the complaint itself may not get through.
    assert len(complaints) <= MOST_KINDS
    if points != ALL:  # or the complaint is torn, too
        kinds = [re.sub(r"/\S*", "", line) for line in complaints]
        assert len(kinds) == len(set(kinds))
        assert all("Input/output error" in line or "damaged" in line for line in complaints)
    if points in WRITING:
        assert came["lost"] == 0
        assert came["got"] == KEYS * ROUNDS
    if chance < 1 and points != ALL:
        assert came["put"] > 0


@pytest.mark.parametrize("points", ["rw/pwrite", "rw/ftruncate", "dir/rename", "oc/open"])
def test_the_faults_are_real(run: Run, tmp_path: Path, points: str) -> None:
    """Otherwise nothing would be tried above."""
    came, complaints = run("store", tmp_path, 1, points)

    assert came["put"] == 0
    assert complaints
    assert all("Input/output error" in line for line in complaints)


@pytest.mark.parametrize("points", WRITING)
def test_a_disk_that_is_not_written_costs_no_answer(run: Run, tmp_path: Path, points: str) -> None:
    came, _ = run("web", tmp_path, 1, points)

    assert came["while_failing"] == {"200": 3 * ANSWERS}
    assert came["after"] == {"200": ANSWERS}
    assert came["sources"] == ["store"] * ANSWERS


@pytest.mark.parametrize("chance", [1, 0.2])
@pytest.mark.parametrize("points", [*READING, MIXED])
def test_a_disk_that_is_not_read_is_unavailable_and_no_fault(
    run: Run, tmp_path: Path, points: str, chance: float
) -> None:
    """Neither a 500, nor a 422, which would be remembered of an original that is good."""
    came, _ = run("web", tmp_path, chance, points)

    assert came["while_failing"].keys() <= {"200", "503"}
    assert came["after"] == {"200": ANSWERS}
    assert came["sources"] == ["store"] * ANSWERS
