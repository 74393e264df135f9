"""What may be taken in an hour: never more, over all processes, and nobody is locked out."""

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgprocessor.storage.locks import Locks
from imgprocessor.storage.uploads.allowance import Allowance

NOON = 1_900_000_000.0 - 1_900_000_000 % 60
"""The beginning of a minute."""

HOUR = 3600


class _Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


class _Taking(NamedTuple):
    """An allowance of 10 requests and 100 bytes an hour, and its clock."""

    folder: Path
    clock: _Clock

    def take(self, size_bytes: int = 0, requests: int = 1, name: str = "a") -> int | None:
        """Each time as a new process would."""
        return Allowance(self.folder, Locks(self.folder / "locks"), clock=self.clock).take(
            name, requests=requests, size_bytes=size_bytes, max_requests=10, max_bytes=100
        )


@pytest.fixture
def taking(tmp_path: Path) -> _Taking:
    return _Taking(tmp_path / "new" / "allowance", _Clock())


def test_so_much_and_no_more(taking: _Taking) -> None:
    assert taking.take(60) is None
    assert taking.take(41) == HOUR + 60
    assert taking.take(40) is None
    assert taking.take(0) is None
    assert [taking.take() for _ in range(8)] == [None] * 7 + [HOUR + 60]


def test_names_do_not_get_into_each_others_way(taking: _Taking) -> None:
    assert taking.take(100) is None
    assert taking.take(100, name="b") is None
    assert taking.take(1) is not None


def test_what_is_refused_is_not_counted(taking: _Taking) -> None:
    assert taking.take(90) is None
    assert taking.take(11) is not None
    assert taking.take(10) is None


def test_more_than_may_be_at_all_is_refused_for_an_hour(taking: _Taking) -> None:
    assert taking.take(101) == HOUR
    assert taking.take(10**30) == HOUR
    assert taking.take(100) is None


def test_nothing_is_given_back_for_less_than_nothing(taking: _Taking) -> None:
    assert taking.take(100) is None
    assert taking.take(-50) is None
    assert taking.take(1) is not None


def test_it_says_when_there_is_room_for_as_much(taking: _Taking) -> None:
    assert taking.take(50) is None
    taking.clock.now += 600.5
    assert taking.take(50) is None

    assert taking.take(50) == HOUR + 60 - 600
    assert taking.take(51) == HOUR + 60


@given(
    asked=st.lists(
        st.tuples(st.sampled_from([0, 0.5, 59, 60, 61, 600, 1799, 3540, 3600]), st.integers(0, 60)),
        max_size=60,
    )
)
def test_no_hour_has_more_and_what_it_says_is_right(
    tmp_path_factory: pytest.TempPathFactory, asked: list[tuple[float, int]]
) -> None:
    """In any hour, wherever it begins. Refused is only what would be too much for 61 minutes."""
    taking = _Taking(tmp_path_factory.mktemp("allowance"), _Clock())
    taken: list[tuple[float, int]] = []

    def take(size_bytes: int) -> int | None:
        wait_seconds = taking.take(size_bytes)
        if wait_seconds is None:
            taken.append((taking.clock.now, size_bytes))
        return wait_seconds

    for pause_seconds, size_bytes in asked:
        taking.clock.now += pause_seconds
        wait_seconds = take(size_bytes)
        if wait_seconds is not None:
            recent = [one for at, one in taken if at > taking.clock.now - HOUR - 60]
            assert len(recent) + 1 > 10 or sum(recent) + size_bytes > 100
            assert 0 < wait_seconds <= HOUR + 60
            taking.clock.now += wait_seconds
            assert take(size_bytes) is None
    for begin, _ in taken:
        hour = [size_bytes for at, size_bytes in taken if begin <= at < begin + HOUR]
        assert len(hour) <= 10
        assert sum(hour) <= 100


TAKE = """
import sys
from pathlib import Path
from imgprocessor.storage.uploads.allowance import Allowance
from imgprocessor.storage.locks import Locks
folder = Path(sys.argv[1])
allowance = Allowance(folder, Locks(folder / "locks"), clock=lambda: 1_900_000_000)
print("ready", flush=True)
sys.stdin.readline()
taken = [allowance.take("a", requests=1, size_bytes=3, max_requests=100, max_bytes=10**6)
         for _ in range(80)]
print(taken.count(None))
"""


def test_processes_share_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TAKE, str(tmp_path)]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for one in started:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in started:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    taken = [int(one.communicate(timeout=60)[0]) for one in started]

    assert sum(taken) == 100


@pytest.mark.parametrize(
    "nonsense", [b"", b"\0", b"\0" * 1492, b"\xff" * 1492, b"{}", b"x" * 9999], ids=len
)
def test_a_file_of_nonsense_counts_as_empty_and_is_written_anew(
    taking: _Taking, nonsense: bytes
) -> None:
    assert taking.take(100) is None
    (taking.folder / "a").write_bytes(nonsense)

    assert taking.take(100) is None
    assert taking.take(1) is not None


def test_a_torn_file_counts_as_empty(taking: _Taking) -> None:
    assert taking.take(100) is None
    whole = (taking.folder / "a").read_bytes()
    assert len(whole) == 1492  # all of it is written at once, and always as much
    for at in range(0, len(whole), 7):
        (taking.folder / "a").write_bytes(whole[:at])
        assert taking.take(100) is None
        (taking.folder / "a").write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert taking.take(100) is None


def test_a_clock_that_is_set_back_locks_nobody_out(taking: _Taking) -> None:
    assert taking.take(100) is None
    taking.clock.now -= 86_400

    assert taking.take(100) is None
    assert taking.take(1) == HOUR + 60


def test_a_clock_that_is_set_right_by_a_second_forgets_nothing(taking: _Taking) -> None:
    assert taking.take(100) is None
    taking.clock.now -= 1

    assert taking.take(1) == HOUR + 61
    taking.clock.now += HOUR + 61
    assert taking.take(100) is None


def test_what_cannot_be_written_is_an_error(taking: _Taking) -> None:
    (taking.folder / "a").mkdir(parents=True)

    with pytest.raises(OSError, match="directory"):
        taking.take()


def test_where_others_hold_the_lock_it_may_be_tried_again(taking: _Taking) -> None:
    with Locks(taking.folder / "locks").held("allowance a", 0):
        assert taking.take() == 1
