"""Work behind answers: done when nobody waits for anything, or not at all."""

import math
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Generic, Literal, Protocol, TypeVar

from imgprocessor.errors import BrokenOriginal, DeadlyOriginal, ImageError, OversizedOriginal
from imgprocessor.reporting import complain, report_unexpected
from imgprocessor.service.delivery import Answer, Delivery
from imgprocessor.service.understanding import Planned
from imgprocessor.storage.locks import Locks

_MAX_WAITING = 500
"""Some pages of a gallery. What is dropped is asked for again by the next one that misses it."""

_LOOK_AGAIN_SECONDS = 0.25
"""Where there is other work."""

_BREATH_SECONDS = 0.03
"""After each piece, or none at all after shorter ones: longer than who waits for the lock pauses,
or one process would keep it.
"""

_NOT_AGAIN_SECONDS = 60.0
"""Until what could not be done is tried once more."""

_LOCK = "later"

_LASTING = (BrokenOriginal, DeadlyOriginal, OversizedOriginal)
"""Where these are raised, the best would fail once more."""


@dataclass(frozen=True)
class Owed:
    """The best of a picture that was made quickly. Of one key it is owed once."""

    imagekey: str
    planned: Planned = field(compare=False)


def owed(answer: Answer) -> Owed:
    """Return what is owed whoever was sent a quick picture."""
    return Owed(answer.found.planned.imagekey, answer.found.planned)


BestOutcome = Literal["made", "known", "shared", "put_off", "dropped"]
"""What came of a best: `known` where it, or nothing any more, was there already; `shared` where
another node had made it; `put_off` where its original has gone, there is too much to do, or no room
to keep it: who asks again in a minute is owed it again; `dropped` where too many wait.
"""


def make_best(delivery: Delivery, owed: Owed) -> BestOutcome:
    """Make the best of what is kept as made quickly, and put it in its place. Where it cannot be
    made, the quick one is the best from then on: it is not tried again and again.
    """
    try:
        quick = delivery.kept(delivery.found(owed.planned))
        if quick is None or not quick.is_quick:  # someone was quicker, or it was evicted
            return "known"
        found, best = delivery.looked_for_elsewhere(quick.found)
        if best is not None:
            return "shared"
        is_kept = delivery.keep(_best_of(delivery, replace(quick, found=found)))
    except ImageError:
        return "put_off"
    return "made" if is_kept else "put_off"


def _best_of(delivery: Delivery, quick: Answer) -> Answer:
    try:
        return delivery.render(quick.found, is_behind=True)
    except ImageError as error:
        if not isinstance(error, _LASTING) or not error.is_lasting:
            raise
        return replace(quick, rendition=replace(quick.rendition, is_quick=False))


def regularly(seconds: float, work: Callable[[], None]) -> None:
    """Do some work again and again, so many seconds apart, in a thread of this process. A failure
    that has a name is no reason for a traceback each time.
    """

    def run() -> None:
        while True:
            time.sleep(seconds)
            try:
                work()
            except ImageError as error:
                complain(f"work that is done regularly must wait: {error.code}: {error}")
            except Exception as error:  # noqa: BLE001 - the thread must go on
                report_unexpected(error)

    threading.Thread(target=run, name="regularly", daemon=True).start()


_Wanted = TypeVar("_Wanted")
_Wanted_contra = TypeVar("_Wanted_contra", contravariant=True)


class Later(Protocol[_Wanted_contra]):
    """Takes work that no answer waits for."""

    def submit(self, wanted: _Wanted_contra) -> bool:
        """Have the work done, on an original, say, at some time; return at once whether it will
        be.
        """


class InProcess(Generic[_Wanted]):
    """Does such work in a thread of this process, one piece at a time over all processes. What it
    is done on is hashed: equals are the same, and where it could not be done they are not taken
    for a minute.
    """

    def __init__(
        self, work: Callable[[_Wanted], bool | None], *, may_begin: Callable[[], bool], locks: Locks
    ) -> None:
        """Do `work`, which handles its own failures, whenever it `may_begin`; it says False where
        it could not be done.
        """
        self._work = work
        self._may_begin = may_begin
        self._locks = locks
        self._waiting: queue.Queue[_Wanted] = queue.Queue(_MAX_WAITING)
        self._known: dict[_Wanted, float] = {}
        """What waits, or was not done, and until when no other is taken."""
        self._changing = threading.Lock()
        self._thread: threading.Thread | None = None

    def submit(self, wanted: _Wanted) -> bool:
        """Have it done; what waits already waits once, and where too much waits it is dropped."""
        with self._changing:
            if time.monotonic() < self._known.get(wanted, 0.0):
                return True
            try:
                self._waiting.put_nowait(wanted)
            except queue.Full:
                return False
            self._known[wanted] = math.inf
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="later", daemon=True)
                self._thread.start()
        return True

    def _run(self) -> None:
        while True:
            wanted = self._waiting.get()
            try:
                while not self._tried(wanted):
                    time.sleep(_LOOK_AGAIN_SECONDS)
            except Exception as error:  # noqa: BLE001 - the thread must go on
                report_unexpected(error)
                self._forget(wanted, is_done=False)

    def _tried(self, wanted: _Wanted) -> bool:
        """Do it if this is the moment; return whether it was."""
        if not self._may_begin():
            return False
        with self._locks.held_if_possible(_LOCK, _LOOK_AGAIN_SECONDS) as mine:
            if not mine:
                return False
            began = time.monotonic()
            is_done = self._work(wanted) is not False
        self._forget(wanted, is_done=is_done)
        time.sleep(min(_BREATH_SECONDS, time.monotonic() - began))
        return True

    def _forget(self, wanted: _Wanted, *, is_done: bool) -> None:
        now = time.monotonic()
        with self._changing:
            self._known = {one: until for one, until in self._known.items() if now < until}
            if is_done:
                del self._known[wanted]
            else:
                self._known[wanted] = now + _NOT_AGAIN_SECONDS


class Gathered(Generic[_Wanted]):
    """Submits what is wanted a moment later, in a thread of this process: what is wanted several
    times in that moment is submitted once.
    """

    def __init__(self, later: Later[_Wanted], *, seconds: float = 1.0) -> None:
        """Gather for so many seconds."""
        self._later = later
        self._seconds = seconds
        self._wanted: dict[_Wanted, None] = {}
        self._changing = threading.Lock()
        self._thread: threading.Thread | None = None

    def submit(self, wanted: _Wanted) -> bool:
        """Have it submitted."""
        with self._changing:
            self._wanted[wanted] = None
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="gathered", daemon=True)
                self._thread.start()
        return True

    def _run(self) -> None:
        while True:
            time.sleep(self._seconds)
            with self._changing:
                wanted, self._wanted = self._wanted, {}
                if not wanted:
                    self._thread = None
                    return
            for one in wanted:
                try:
                    self._later.submit(one)
                except Exception as error:  # noqa: BLE001 - the thread must go on
                    report_unexpected(error)
