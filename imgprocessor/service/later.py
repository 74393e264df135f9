"""Work behind answers: done when nobody waits for anything, or not at all."""

import queue
import threading
import time
from collections.abc import Callable
from typing import Protocol

from imgprocessor.errors import ImageError
from imgprocessor.reporting import complain, report_unexpected
from imgprocessor.storage.locks import Locks

_MAX_WAITING = 500
"""Some pages of a gallery. What is dropped is asked for again by the next page that misses it."""

_LOOK_AGAIN_SECONDS = 0.25
"""Where there is other work."""

_LOCK = "later"


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


class Later(Protocol):
    """Takes work that no answer waits for."""

    def submit(self, name: str) -> bool:
        """Have the work done on an original, at some time; return at once whether it will be."""


class InProcess:
    """Does such work in a thread of this process, one original at a time over all processes."""

    def __init__(
        self, work: Callable[[str], None], *, may_begin: Callable[[], bool], locks: Locks
    ) -> None:
        """Do `work`, which handles its own failures, whenever it `may_begin`."""
        self._work = work
        self._may_begin = may_begin
        self._locks = locks
        self._waiting: queue.Queue[str] = queue.Queue(_MAX_WAITING)
        self._known: set[str] = set()
        self._changing = threading.Lock()
        self._thread: threading.Thread | None = None

    def submit(self, name: str) -> bool:
        """Have it done; what waits already waits once, and where too much waits it is dropped."""
        with self._changing:
            if name in self._known:
                return True
            try:
                self._waiting.put_nowait(name)
            except queue.Full:
                return False
            self._known.add(name)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="later", daemon=True)
                self._thread.start()
        return True

    def _run(self) -> None:
        while True:
            name = self._waiting.get()
            while not self._done(name):
                time.sleep(_LOOK_AGAIN_SECONDS)
            with self._changing:
                self._known.discard(name)

    def _done(self, name: str) -> bool:
        """Do it if this is the moment; return whether it was, or it failed."""
        try:
            if not self._may_begin():
                return False
            with self._locks.held_if_possible(_LOCK, 0) as mine:
                if mine:
                    self._work(name)
                return mine
        except Exception as error:  # noqa: BLE001 - the thread must go on
            report_unexpected(error)
            return True
