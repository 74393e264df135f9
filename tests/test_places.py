"""A bounded queue over all processes."""

import contextlib
from pathlib import Path

import pytest

from imgprocessor.errors import Overloaded
from imgprocessor.gate import Gate
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


def test_where_nothing_can_be_locked_nobody_is_refused(tmp_path: Path) -> None:
    (tmp_path / "locks").mkdir()
    places = Places(Gate(tmp_path / "locks"), 1)
    with places.taken(), places.taken():
        pass
