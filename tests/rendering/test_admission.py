"""A bounded queue over all processes."""

import contextlib
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from servers import await_true

from imgprocessor.errors import Overloaded
from imgprocessor.rendering.admission import Admission
from imgprocessor.storage.locks import Lock, Locks


@pytest.fixture
def admission(tmp_path: Path) -> Admission:
    return Admission(Locks(tmp_path / "locks"), 3)


def test_so_many_find_a_place_and_no_more(admission: Admission) -> None:
    with contextlib.ExitStack() as stack:
        for taken in range(3):
            assert admission.in_use() == taken
            stack.enter_context(admission.taken())
        with pytest.raises(Overloaded, match="all 3 places"), admission.taken():
            pass
    assert admission.in_use() == 0


def test_a_place_is_free_again_whatever_happened_inside(admission: Admission) -> None:
    for _ in range(10):
        with pytest.raises(ZeroDivisionError), admission.taken():
            _ = 1 / 0
    assert admission.in_use() == 0


def test_others_count(admission: Admission, tmp_path: Path) -> None:
    others = Admission(Locks(tmp_path / "locks"), 3)
    with admission.taken(), others.taken():
        assert (admission.in_use(), others.in_use()) == (2, 2)


class CountingLocks(Locks):
    """Counts how often somebody looked for a place."""

    looks = 0

    def acquire_any(self, names: Sequence[str], wait_seconds: float = 0) -> Lock | None:
        """Look."""
        self.looks += 1
        return super().acquire_any(names, wait_seconds)


def test_where_there_was_no_place_one_looks_again_now_and_then(tmp_path: Path) -> None:
    """Or whoever is refused costs as much time as they hoped to get."""
    locks = CountingLocks(tmp_path / "locks")
    admission = Admission(locks, 1)
    with admission.taken():
        began = time.monotonic()
        for _ in range(1000):
            with pytest.raises(Overloaded), admission.taken():
                pass
        seconds = time.monotonic() - began

    assert 2 <= locks.looks <= 3 + seconds / 0.05
    await_true(lambda: finds_one(admission), 1)


@pytest.mark.slow
def test_no_process_keeps_all_places(tmp_path: Path) -> None:
    """Though it gives them back one at a time, and would take each again at once."""
    busy = Admission(Locks(tmp_path / "locks"), 3)
    others = Admission(Locks(tmp_path / "locks"), 3)
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            with contextlib.suppress(Overloaded), busy.taken():
                over.wait(0.01)

    workers = [threading.Thread(target=work) for _ in range(9)]
    for worker in workers:
        worker.start()
    try:
        await_true(lambda: busy.in_use() == 3, 5)
        for _ in range(20):
            await_true(lambda: finds_one(others), 2)
    finally:
        over.set()
        for worker in workers:
            worker.join()


def finds_one(admission: Admission) -> bool:
    with contextlib.suppress(Overloaded), admission.taken():
        return True
    return False


def test_where_nothing_can_be_locked_nobody_is_refused(tmp_path: Path) -> None:
    (tmp_path / "locks").mkdir()
    admission = Admission(Locks(tmp_path / "locks"), 1)
    with admission.taken(), admission.taken():
        pass


def test_where_nothing_can_be_locked_any_more_nobody_is_refused(tmp_path: Path) -> None:
    """Not even when all places were taken just before."""
    admission = Admission(Locks(tmp_path / "locks"), 1)
    with admission.taken():
        assert not finds_one(admission)
        (tmp_path / "locks").unlink()
        (tmp_path / "locks").mkdir()
        await_true(lambda: finds_one(admission), 1)

        assert finds_one(admission)
