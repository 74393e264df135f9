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

from imgprocessor.storage.locks import Lock, Locks

HOLD = """
import sys, time
from pathlib import Path
from imgprocessor.storage.locks import Locks
assert Locks(Path(sys.argv[1])).acquire("a", 0)
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def locks(tmp_path: Path) -> Locks:
    return Locks(tmp_path / "new" / "locks")


def test_one_at_a_time(locks: Locks) -> None:
    first = locks.acquire("a", 0)
    assert first is not None

    assert locks.acquire("a", 0) is None
    first.release()
    assert locks.acquire("a", 0) is not None


def test_names_do_not_get_into_each_others_way(locks: Locks) -> None:
    with locks.held("a", 0) as first, locks.held("b", 0) as second:
        assert (first, second) == (True, True)


def test_waiting_ends(locks: Locks) -> None:
    with locks.held("a", 0):
        begin = time.monotonic()
        assert locks.acquire("a", 0.1) is None
        assert 0.1 <= time.monotonic() - begin < 1


def test_who_waits_gets_the_first_of_several_that_is_free(locks: Locks) -> None:
    held = [locks.acquire_any(["a", "b"]) for _ in range(2)]
    began = time.monotonic()
    assert locks.acquire_any(["a", "b"], 0.1) is None
    assert 0.1 <= time.monotonic() - began < 1

    assert held[1] is not None
    threading.Timer(0.05, held[1].release).start()
    mine = locks.acquire_any(["a", "b"], 10)
    assert mine is not None
    assert locks.acquire("b", 0) is None


def test_who_waits_gets_in_when_the_holder_leaves(locks: Locks) -> None:
    held = locks.acquire("a", 0)
    assert held is not None
    entered: list[bool] = []

    def wait() -> None:
        with locks.held("a", 10) as mine:
            entered.append(mine)

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert entered == []
    held.release()
    waiting.join(10)

    assert entered == [True]


def test_threads_exclude_each_other(locks: Locks) -> None:
    inside, most = [0], [0]

    def work() -> None:
        for _ in range(20):
            with locks.held("a", 30) as mine:
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
        assert Locks(file).acquire("a", 0) is None

        holder.send_signal(signal.SIGKILL)
        begin = time.monotonic()
        entered = Locks(file).acquire("a", 10)

    assert entered is not None
    assert time.monotonic() - begin < 1


def test_the_file_stays_empty(locks: Locks, tmp_path: Path) -> None:
    for number in range(100):
        with locks.held(str(number), 0) as mine:
            assert mine

    assert (tmp_path / "new" / "locks").stat().st_size == 0


def when_free(locks: Locks) -> "tuple[threading.Thread, list[Lock]]":
    """Wait for a lock in a thread; return that, and what it will have got."""
    got: list[Lock] = []
    waiting = threading.Thread(target=lambda: got.append(locks.acquire_when_free("a")), daemon=True)
    waiting.start()
    return waiting, got


def somebody_waits_for(file: Path) -> bool:
    """Whether somebody is asleep until a lock of a file is free (proc_locks(5))."""
    inode = f":{file.stat().st_ino} "
    waiting = [line for line in Path("/proc/locks").read_text().splitlines() if "->" in line]
    return any(inode in line for line in waiting)


def test_who_waits_as_long_as_it_takes_sleeps_and_gets_in(locks: Locks, tmp_path: Path) -> None:
    held = locks.acquire("a", 0)
    assert held is not None
    waiting, got = when_free(locks)
    await_true(lambda: somebody_waits_for(tmp_path / "new" / "locks"), 5)
    held.release()
    waiting.join(5)

    assert len(got) == 1
    assert locks.acquire("a", 0) is None


def test_who_waited_for_a_file_that_was_cleared_away_waits_for_the_new_one(
    locks: Locks, tmp_path: Path
) -> None:
    old = locks.acquire("a", 0)
    assert old is not None
    waiting, got = when_free(locks)
    await_true(lambda: somebody_waits_for(tmp_path / "new" / "locks"), 5)
    (tmp_path / "new" / "locks").unlink()
    new = locks.acquire("a", 0)
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
        Locks(tmp_path / "locks").acquire("a", 0)


def test_no_descriptors_are_left(locks: Locks) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count is enough
    with locks.held("a", 0):
        for _ in range(10):
            assert locks.acquire("a", 0) is None

    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - as above


def test_where_nothing_can_be_locked_the_work_is_done_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("no folder")
    nowhere, somewhere = Locks(tmp_path / "folder" / "locks"), Locks(tmp_path / "locks")

    with nowhere.held_if_possible("a", 0) as mine, nowhere.held_if_possible("a", 0) as also:
        assert (mine, also) == (True, True)
    with somewhere.held_if_possible("a", 0) as mine, somewhere.held_if_possible("a", 0) as also:
        assert (mine, also) == (True, False)
