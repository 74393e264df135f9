"""Work behind answers: never waited for, never twice, never more than a little."""

import threading
import time
from pathlib import Path

import pytest
from servers import await_true

from imgprocessor.errors import JobsUnavailable
from imgprocessor.service.later import Gathered, InProcess, regularly
from imgprocessor.storage.locks import Locks


class _Work:
    """Notes what was done; waits in each until it may go on."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.may_go_on = threading.Event()
        self.has_room = True
        self.asked = threading.Semaphore(0)
        self.seconds = 0.0

    def __call__(self, name: str) -> bool | None:
        assert self.may_go_on.wait(10)
        time.sleep(self.seconds)
        self.done.append(name)
        if name == "bad":
            raise ValueError(name)
        return False if name == "not now" else None

    def may_begin(self) -> bool:
        self.asked.release()
        return self.has_room


def _later(folder: Path, work: _Work) -> InProcess[str]:
    return InProcess(work, may_begin=work.may_begin, locks=Locks(folder / "locks"))


def test_each_is_done_once_and_nobody_waits(tmp_path: Path) -> None:
    work = _Work()
    behind = _later(tmp_path, work)

    assert all(behind.submit(name) for name in ("a", "b", "a", "b", "a"))
    assert work.done == []
    work.may_go_on.set()
    await_true(lambda: work.done == ["a", "b"])
    assert behind.submit("c")
    await_true(lambda: work.done == ["a", "b", "c"])


def test_what_was_done_may_be_asked_for_again(tmp_path: Path) -> None:
    work = _Work()
    work.may_go_on.set()
    behind = _later(tmp_path, work)

    await_true(lambda: behind.submit("a") and work.done.count("a") > 1)


@pytest.mark.parametrize("name", ["bad", "not now"])
def test_what_could_not_be_done_is_not_tried_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    work = _Work()
    work.may_go_on.set()
    behind = _later(tmp_path, work)

    assert behind.submit(name)
    await_true(lambda: behind.submit("other") and "other" in work.done)
    assert behind.submit(name)
    await_true(lambda: behind.submit("other") and work.done.count("other") > 1)
    assert work.done.count(name) == 1
    later_on = time.monotonic() + 61
    monkeypatch.setattr(time, "monotonic", lambda: later_on)
    assert behind.submit(name)
    await_true(lambda: work.done.count(name) == 2)


def test_two_processes_take_turns(tmp_path: Path) -> None:
    """Who has much to do does not keep the lock."""
    works = [_Work(), _Work()]
    one, other = (_later(tmp_path, work) for work in works)
    for work in works:
        work.may_go_on.set()
        work.seconds = 0.02
    for number in range(200):
        one.submit(str(number))
    other.submit("a")

    await_true(lambda: works[1].done)
    assert len(works[0].done) < 200


def test_one_too_many_is_dropped(tmp_path: Path) -> None:
    work = _Work()
    work.has_room = False
    behind = _later(tmp_path, work)
    taken = sum(behind.submit(str(number)) for number in range(2000))

    # One is taken out of the queue, and waits for its moment.
    assert 500 <= taken <= 501
    assert work.done == []


def test_nothing_is_done_while_others_work(tmp_path: Path) -> None:
    work = _Work()
    work.may_go_on.set()
    work.has_room = False
    behind = _later(tmp_path, work)

    assert behind.submit("a")
    assert work.asked.acquire(timeout=10)
    assert work.done == []
    work.has_room = True
    await_true(lambda: work.done == ["a"])


def test_two_processes_work_one_after_the_other(tmp_path: Path) -> None:
    work = _Work()
    work.may_go_on.set()
    lock = Locks(tmp_path / "locks").acquire("later", 0)
    assert lock is not None
    behind = _later(tmp_path, work)

    assert behind.submit("a")
    assert work.asked.acquire(timeout=10)
    assert work.asked.acquire(timeout=10)  # it came, could not, and came again
    assert work.done == []
    lock.release()
    await_true(lambda: work.done == ["a"])


def test_a_failure_ends_nothing(tmp_path: Path) -> None:
    work = _Work()
    work.may_go_on.set()
    behind = _later(tmp_path, work)

    assert behind.submit("bad")
    assert behind.submit("good")
    await_true(lambda: work.done == ["bad", "good"])


def test_what_cannot_begin_is_dropped_and_the_next_is_done(tmp_path: Path) -> None:
    work = _Work()
    work.may_go_on.set()
    failures = [OSError("too many open files")]

    def may_begin() -> bool:
        if failures:
            raise failures.pop()
        return True

    behind = InProcess(work, may_begin=may_begin, locks=Locks(tmp_path / "locks"))
    assert all(behind.submit(name) for name in ("a", "b"))

    await_true(lambda: work.done == ["b"])


def test_what_fails_regularly_goes_on_and_is_no_flood(capfd: pytest.CaptureFixture[str]) -> None:
    tried, enough = threading.Semaphore(0), threading.Event()

    def work() -> None:
        tried.release()
        if enough.is_set():
            threading.Event().wait()  # for good: nothing ends such a thread
        raise JobsUnavailable("no Redis")

    regularly(0.01, work)
    for _ in range(5):
        assert tried.acquire(timeout=10)
    enough.set()

    lines = capfd.readouterr().err.splitlines()
    assert lines == [
        "imgprocessor: work that is done regularly must wait: jobs-unavailable: no Redis"
    ]


class _Submitted:
    """Notes what is submitted; takes it only when it may."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.may_go_on = threading.Event()

    def submit(self, name: str) -> bool:
        self.names.append(name)
        assert self.may_go_on.wait(10)
        if name == "bad":
            raise ValueError(name)
        return True


def test_what_is_gathered_is_submitted_once_and_what_comes_then_once_more() -> None:
    later = _Submitted()
    gathered = Gathered(later, seconds=0.01)
    for _ in range(3):
        gathered.submit("bad")
    await_true(lambda: later.names == ["bad"])
    for _ in range(3):
        gathered.submit("good")
        gathered.submit("bad")  # one is being submitted, and may be too early

    later.may_go_on.set()

    await_true(lambda: later.names == ["bad", "good", "bad"])
    await_true(lambda: not any(one.name == "gathered" for one in threading.enumerate()))
    gathered.submit("later")
    await_true(lambda: later.names[-1] == "later")
