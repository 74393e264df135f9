"""Turns: as many at once as may, over all processes, and never stuck behind one that is stopped."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from imgprocessor.service.turns import Turns
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
