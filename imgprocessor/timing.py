"""What the time of one answer went to."""

import contextlib
import threading
import time
from collections.abc import Iterator


class Timings(dict[str, float]):
    """Milliseconds by part, in the order in which the parts began."""

    @contextlib.contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Book the time spent inside on a part, beside what it took before."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            spent = (time.perf_counter() - begin) * 1000
            self[part] = round(self.get(part, 0.0) + spent, 2)

    def left_of(self, wait_seconds: float) -> float:
        """Return what is left of the time for which an answer may be waited for in all."""
        return max(0.0, wait_seconds - self.get("wait", 0.0) / 1000)

    @contextlib.contextmanager
    def held(self, lock: threading.Lock) -> Iterator[None]:
        """Hold a lock; the time until it could be had is booked as waiting."""
        with self.timed("wait"):
            lock.acquire()
        try:
            yield
        finally:
            lock.release()
