"""Locks by name, over processes and threads."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from servers import await_true

from imgprocessor.gate import Gate, Pass

HOLD = """
import sys, time
from pathlib import Path
from imgprocessor.gate import Gate
assert Gate(Path(sys.argv[1])).enter("a", 0)
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "new" / "locks")


def test_one_at_a_time(gate: Gate) -> None:
    first = gate.enter("a", 0)
    assert first is not None

    assert gate.enter("a", 0) is None
    first.release()
    assert gate.enter("a", 0) is not None


def test_names_do_not_get_into_each_others_way(gate: Gate) -> None:
    with gate.held("a", 0) as first, gate.held("b", 0) as second:
        assert (first, second) == (True, True)


def test_waiting_ends(gate: Gate) -> None:
    with gate.held("a", 0):
        begin = time.monotonic()
        assert gate.enter("a", 0.1) is None
        assert 0.1 <= time.monotonic() - begin < 1


def test_who_waits_gets_in_when_the_holder_leaves(gate: Gate) -> None:
    held = gate.enter("a", 0)
    assert held is not None
    entered: list[bool] = []

    def wait() -> None:
        with gate.held("a", 10) as mine:
            entered.append(mine)

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert entered == []
    held.release()
    waiting.join(10)

    assert entered == [True]


def test_threads_exclude_each_other(gate: Gate) -> None:
    inside, most = [0], [0]

    def work() -> None:
        for _ in range(20):
            with gate.held("a", 30) as mine:
                assert mine
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.0005)
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == [1]


def test_a_killed_holders_place_is_taken_within_a_second(tmp_path: Path) -> None:
    file = tmp_path / "locks"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert Gate(file).enter("a", 0) is None

        holder.send_signal(signal.SIGKILL)
        begin = time.monotonic()
        entered = Gate(file).enter("a", 10)

    assert entered is not None
    assert time.monotonic() - begin < 1


def test_the_file_stays_empty(gate: Gate, tmp_path: Path) -> None:
    for number in range(100):
        with gate.held(str(number), 0) as mine:
            assert mine

    assert (tmp_path / "new" / "locks").stat().st_size == 0


def when_free(gate: Gate) -> "tuple[threading.Thread, list[Pass]]":
    """Wait for a lock in a thread; return that, and what it will have got."""
    got: list[Pass] = []
    waiting = threading.Thread(target=lambda: got.append(gate.enter_when_free("a")), daemon=True)
    waiting.start()
    return waiting, got


def somebody_waits_for(file: Path) -> bool:
    """Whether somebody is asleep until a lock of a file is free (proc_locks(5))."""
    inode = f":{file.stat().st_ino} "
    waiting = [line for line in Path("/proc/locks").read_text().splitlines() if "->" in line]
    return any(inode in line for line in waiting)


def test_who_waits_as_long_as_it_takes_sleeps_and_gets_in(gate: Gate, tmp_path: Path) -> None:
    held = gate.enter("a", 0)
    assert held is not None
    waiting, got = when_free(gate)
    await_true(lambda: somebody_waits_for(tmp_path / "new" / "locks"), 5)
    held.release()
    waiting.join(5)

    assert len(got) == 1
    assert gate.enter("a", 0) is None


def test_who_waited_for_a_file_that_was_cleared_away_waits_for_the_new_one(
    gate: Gate, tmp_path: Path
) -> None:
    old = gate.enter("a", 0)
    assert old is not None
    waiting, got = when_free(gate)
    await_true(lambda: somebody_waits_for(tmp_path / "new" / "locks"), 5)
    (tmp_path / "new" / "locks").unlink()
    new = gate.enter("a", 0)
    assert new is not None
    old.release()
    await_true(lambda: somebody_waits_for(tmp_path / "new" / "locks"), 5)

    assert got == []
    new.release()
    waiting.join(5)
    assert len(got) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_an_error_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    with pytest.raises(OSError, match="denied"):
        Gate(tmp_path / "locks").enter("a", 0)


def test_no_descriptors_are_left(gate: Gate) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count is enough
    with gate.held("a", 0):
        for _ in range(10):
            assert gate.enter("a", 0) is None

    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - as above
