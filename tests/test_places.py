"""A bounded queue over all processes."""

import contextlib
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from servers import await_true

from imgprocessor.errors import Overloaded
from imgprocessor.gate import Gate, Pass
from imgprocessor.places import Places


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(Gate(tmp_path / "locks"), 3)


def test_so_many_find_a_place_and_no_more(places: Places) -> None:
    with contextlib.ExitStack() as stack:
        for taken in range(3):
            assert places.in_use() == taken
            stack.enter_context(places.taken())
        with pytest.raises(Overloaded, match="all 3 places"), places.taken():
            pass
    assert places.in_use() == 0


def test_a_place_is_free_again_whatever_happened_inside(places: Places) -> None:
    for _ in range(10):
        with pytest.raises(ZeroDivisionError), places.taken():
            _ = 1 / 0
    assert places.in_use() == 0


def test_others_count(places: Places, tmp_path: Path) -> None:
    others = Places(Gate(tmp_path / "locks"), 3)
    with places.taken(), others.taken():
        assert (places.in_use(), others.in_use()) == (2, 2)


class CountingGate(Gate):
    """Counts how often somebody looked for a place."""

    looks = 0

    def enter_any(self, names: Sequence[str]) -> Pass | None:
        """Look."""
        self.looks += 1
        return super().enter_any(names)


def test_where_there_was_no_place_one_looks_again_now_and_then(tmp_path: Path) -> None:
    """Or whoever is refused costs as much time as they hoped to get."""
    gate = CountingGate(tmp_path / "locks")
    places = Places(gate, 1)
    with places.taken():
        began = time.monotonic()
        for _ in range(1000):
            with pytest.raises(Overloaded), places.taken():
                pass
        seconds = time.monotonic() - began

    assert 2 <= gate.looks <= 3 + seconds / 0.05
    await_true(lambda: finds_one(places), 1)


def test_no_process_keeps_all_places(tmp_path: Path) -> None:
    """Though it gives them back one at a time, and would take each again at once."""
    busy = Places(Gate(tmp_path / "locks"), 3)
    others = Places(Gate(tmp_path / "locks"), 3)
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


def finds_one(places: Places) -> bool:
    with contextlib.suppress(Overloaded), places.taken():
        return True
    return False


def test_where_nothing_can_be_locked_nobody_is_refused(tmp_path: Path) -> None:
    (tmp_path / "locks").mkdir()
    places = Places(Gate(tmp_path / "locks"), 1)
    with places.taken(), places.taken():
        pass


def test_where_nothing_can_be_locked_any_more_nobody_is_refused(tmp_path: Path) -> None:
    """Not even when all places were taken just before."""
    places = Places(Gate(tmp_path / "locks"), 1)
    with places.taken():
        assert not finds_one(places)
        (tmp_path / "locks").unlink()
        (tmp_path / "locks").mkdir()
        await_true(lambda: finds_one(places), 1)

        assert finds_one(places)
