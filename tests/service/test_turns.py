"""Turns: as many at once as may, over all processes, and never stuck behind one that is stopped."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from servers import await_true

from imgprocessor.jobs.records import QUEUES
from imgprocessor.service.turns import AT_ONCE, LAST, Turns
from imgprocessor.storage.locks import Locks


def turns(folder: Path) -> Turns:
    return Turns(Locks(folder / "locks"), 2, folder / "turns")


def test_no_more_at_once_than_may(tmp_path: Path) -> None:
    inside, most, changing = [0], [0], threading.Lock()

    def work(_: int) -> None:
        with turns(tmp_path).taken():
            with changing:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            time.sleep(0.01)  # what takes a turn takes time
            with changing:
                inside[0] -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(30)))

    assert most == [2]


def test_where_nothing_goes_on_one_more_does(tmp_path: Path) -> None:
    """As behind a process that is stopped."""
    with turns(tmp_path).taken(), turns(tmp_path).taken():
        long_ago = time.time() - 100
        os.utime(tmp_path / "turns", (long_ago, long_ago))
        for _ in range(3):
            with turns(tmp_path).taken():
                assert time.time() - (tmp_path / "turns").stat().st_mtime < 50


def test_where_nothing_can_be_locked_nobody_waits(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with turns(tmp_path / "file").taken():
        pass


def test_jobs_wait_while_no_worker_is_idle(tmp_path: Path) -> None:
    """Whoever has a client that waits does not."""
    idle = threading.Event()
    locks = Locks(tmp_path / "locks")
    some = Turns(locks, 2, tmp_path / "turns", has_idle=idle.is_set)
    with some.taken(AT_ONCE), ThreadPoolExecutor(1) as pool:
        inside = pool.submit(_entered, some, LAST)
        assert not inside.done()
        idle.set()
        assert inside.result(10)


def test_what_comes_first_is_not_overtaken(tmp_path: Path) -> None:
    """With one turn, which is taken: who comes last gets it last, though it waits the longest."""
    some = Turns(Locks(tmp_path / "locks"), 1, tmp_path / "turns")
    order: list[int] = []
    threads = []
    with some.taken():
        for rank in (LAST, 2, 1, AT_ONCE):
            threads.append(threading.Thread(target=_entered, args=(some, rank, order)))
            threads[-1].start()
            # It waits once it holds the lock that says so.
            names = [f"waits for a turn {rank} 0"]
            await_true(partial(Locks(tmp_path / "locks").count_held, names))
    for thread in threads:
        thread.join()

    assert order == [AT_ONCE, 1, 2, LAST]


def test_each_queue_has_a_rank() -> None:
    assert len(QUEUES) == LAST


def _entered(some: Turns, rank: int, order: list[int] | None = None) -> bool:
    with some.taken(rank):
        if order is not None:
            order.append(rank)
        return True
