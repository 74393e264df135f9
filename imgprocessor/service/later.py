"""Work behind answers: done when nobody waits for anything, or not at all."""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Generic, Literal, Protocol, TypeVar

from imgprocessor.errors import ImageError
from imgprocessor.reporting import complain, report_unexpected
from imgprocessor.service.delivery import Answer, Delivery
from imgprocessor.service.understanding import Planned
from imgprocessor.storage.locks import Locks

_MAX_WAITING = 500
"""Some pages of a gallery. What is dropped is asked for again by the next one that misses it."""

_LOOK_AGAIN_SECONDS = 0.25
"""Where there is other work."""

_LOCK = "later"


@dataclass(frozen=True)
class Owed:
    """The best of a picture that was made quickly. Of one key it is owed once."""

    imagekey: str
    planned: Planned = field(compare=False)


def owed(answer: Answer) -> Owed:
    """Return what is owed whoever was sent a quick picture."""
    return Owed(answer.found.planned.imagekey, answer.found.planned)


BestOutcome = Literal["made", "known", "put_off", "dropped"]
"""What came of a best: `known` where it, or nothing any more, was there already; `put_off` where
its original has gone, or there is too much to do: who asks again is owed it again; `dropped` where
too many wait.
"""


def make_best(delivery: Delivery, owed: Owed) -> BestOutcome:
    """Make the best of what is kept as made quickly, and put it in its place. Where it cannot be
    made, the quick one is the best from then on: it is not tried again and again.
    """
    try:
        quick = delivery.kept(delivery.found(owed.planned))
        if quick is None or not quick.is_quick:  # someone was quicker, or it was evicted
            return "known"
        delivery.keep(_best_of(delivery, quick))
    except ImageError:
        return "put_off"
    return "made"


def _best_of(delivery: Delivery, quick: Answer) -> Answer:
    try:
        return delivery.render(quick.found, is_behind=True)
    except ImageError as error:
        if error.is_passing:
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
    is done on is hashed: equals are the same.
    """

    def __init__(
        self, work: Callable[[_Wanted], None], *, may_begin: Callable[[], bool], locks: Locks
    ) -> None:
        """Do `work`, which handles its own failures, whenever it `may_begin`."""
        self._work = work
        self._may_begin = may_begin
        self._locks = locks
        self._waiting: queue.Queue[_Wanted] = queue.Queue(_MAX_WAITING)
        self._known: set[_Wanted] = set()
        self._changing = threading.Lock()
        self._thread: threading.Thread | None = None

    def submit(self, wanted: _Wanted) -> bool:
        """Have it done; what waits already waits once, and where too much waits it is dropped."""
        with self._changing:
            if wanted in self._known:
                return True
            try:
                self._waiting.put_nowait(wanted)
            except queue.Full:
                return False
            self._known.add(wanted)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="later", daemon=True)
                self._thread.start()
        return True

    def _run(self) -> None:
        while True:
            wanted = self._waiting.get()
            while not self._done(wanted):
                time.sleep(_LOOK_AGAIN_SECONDS)
            with self._changing:
                self._known.discard(wanted)

    def _done(self, wanted: _Wanted) -> bool:
        """Do it if this is the moment; return whether it was, or it failed."""
        try:
            if not self._may_begin():
                return False
            with self._locks.held_if_possible(_LOCK, 0) as mine:
                if mine:
                    self._work(wanted)
                return mine
        except Exception as error:  # noqa: BLE001 - the thread must go on
            report_unexpected(error)
            return True
