"""Jobs done by threads of this very process: where there is no Redis, and so no other worker."""

import threading
import time
from collections.abc import Callable
from queue import PriorityQueue

from imgprocessor.jobs.records import QUEUES, Queue

_PAUSE_SECONDS = 1.0
"""Before a job is tried again for which there was no worker."""


class InProcessJobs:
    """A few threads, which do quick jobs before bulk ones."""

    def __init__(self, threads: int) -> None:
        self._waiting: PriorityQueue[tuple[int, float, str]] = PriorityQueue()
        self._count = threads

    def start(self, do: Callable[[str], Queue | None]) -> None:
        """Begin; `do` does a job, and returns its queue where it should be tried again."""
        for number in range(self._count):
            name = f"jobs {number}"
            threading.Thread(target=self._run, args=(do,), name=name, daemon=True).start()

    def dispatch(self, queue: Queue, job: str, *, first: bool = False) -> None:
        """Have a job done, as `Dispatch` says."""
        order = -1 if first else QUEUES.index(queue)
        self._waiting.put((order, time.monotonic(), job))

    def _run(self, do: Callable[[str], Queue | None]) -> None:
        while True:
            _, _, job = self._waiting.get()
            queue = do(job)
            if queue is not None:
                time.sleep(_PAUSE_SECONDS)
                self.dispatch(queue, job)
