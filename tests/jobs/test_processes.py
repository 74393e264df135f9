"""A process for each queue: started anew where one ends, and none left behind."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT
from servers import await_true

PROGRAM = """
import os, pathlib, signal, sys
from imgprocessor.jobs.processes import run_beside
folder = pathlib.Path(sys.argv[1])
def run(queue):
    def end(*_):
        folder.joinpath(f"{queue}-ended").touch()
        sys.exit()
    signal.signal(signal.SIGTERM, end)
    folder.joinpath(f"{queue}-{os.getpid()}").touch()
    while True:
        signal.pause()
if not os.fork():
    os._exit(0)  # a child of nobody's, as the first process of a container gets them
sys.exit(run_beside(["quick", "slow", "bulk"], run))
"""


@pytest.fixture
def started(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Three that run."""
    parent = subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path)], cwd=ROOT)
    await_true(lambda: len(list(tmp_path.iterdir())) == 3)
    yield parent
    parent.kill()
    parent.wait()
    await_true(lambda: not any(is_there(pid) for pid in children(tmp_path)))


def children(folder: Path) -> list[int]:
    names = [path.name.split("-")[1] for path in folder.iterdir()]
    return [int(name) for name in names if name.isdigit()]


def is_there(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return "imgprocessor" in Path(f"/proc/{pid}/cmdline").read_text()
    return False


def ended(folder: Path) -> set[str]:
    return {path.name.removesuffix("-ended") for path in folder.glob("*-ended")}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_in_order(
    started: subprocess.Popen[bytes], tmp_path: Path, number: signal.Signals
) -> None:
    started.send_signal(number)

    assert started.wait(10) == 0
    assert ended(tmp_path) == {"quick", "slow", "bulk"}


def test_where_the_first_is_killed_the_others_end_in_order(
    started: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    started.kill()

    await_true(lambda: ended(tmp_path) == {"quick", "slow", "bulk"})


def test_one_that_is_killed_is_started_anew(
    started: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    assert started.poll() is None
    (killed,) = [path for path in tmp_path.iterdir() if path.name.startswith("slow-")]
    began = time.monotonic()
    os.kill(int(killed.name.split("-")[1]), signal.SIGKILL)

    await_true(lambda: len(list(tmp_path.glob("slow-*"))) == 2)
    assert time.monotonic() - began > 0.9  # not as fast as it can, should it end each time


def test_one_queue_alone_has_its_process_started_anew_too(tmp_path: Path) -> None:
    program = PROGRAM.replace('["quick", "slow", "bulk"]', '["quick"]')
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT) as parent:
        await_true(lambda: len(children(tmp_path)) == 1)
        os.kill(children(tmp_path)[0], signal.SIGKILL)
        await_true(lambda: len(children(tmp_path)) == 2)
        parent.terminate()
        assert parent.wait(10) == 0
