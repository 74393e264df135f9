"""Processes beside each other, one for each queue: what is quick never waits behind what is not."""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence

from imgprocessor.jobs.records import Queue
from imgprocessor.reporting import complain

_ENDING = {signal.SIGTERM, signal.SIGINT}

_PAUSE_SECONDS = 1.0
"""Before a process is started in the place of one that ended."""


def run_beside(queues: Sequence[Queue], run: Callable[[Queue], int]) -> int:
    """Run each queue's work in a process of its own until a signal ends all; return the status.

    One that ends by itself is started anew. When this process is killed, the others finish what
    they do, and end.
    """
    _Processes(run).run_all(queues)
    return 0


class _Processes:
    """Those that run, as the one sees them that started them."""

    def __init__(self, run: Callable[[Queue], int]) -> None:
        self._run = run
        self._running: dict[int, Queue] = {}
        self._is_over = threading.Event()
        # Each child reads from it: its end tells them that this process has gone.
        self._leash, self._held = os.pipe()

    def run_all(self, queues: Sequence[Queue]) -> None:
        for number in _ENDING:
            signal.signal(number, self._end)
        for queue in queues:
            self._start(queue)
        while self._running:
            pid, status = os.wait()
            if pid not in self._running:
                continue  # the first process of a container inherits what others started
            queue = self._running.pop(pid)
            if not self._is_over.is_set():
                how = os.waitstatus_to_exitcode(status)
                complain(f"the process for {queue} jobs ended: {how}")
                self._is_over.wait(_PAUSE_SECONDS)
            if not self._is_over.is_set():
                self._start(queue)

    def _start(self, queue: Queue) -> None:
        # Whatever comes meanwhile must find it among those that run.
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        pid = os.fork()
        if not pid:
            os.close(self._held)
            _be_a_child(self._leash, queue, self._run)
        self._running[pid] = queue
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)

    def _end(self, *_: object) -> None:
        self._is_over.set()
        for pid in self._running:
            os.kill(pid, signal.SIGTERM)


def _be_a_child(leash: int, queue: Queue, run: Callable[[Queue], int]) -> None:
    """Run, and end; also when the process that started this one has gone."""

    def follow() -> None:
        os.read(leash, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    status = 1
    try:
        for number in _ENDING:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        threading.Thread(target=follow, name="leash", daemon=True).start()
        status = run(queue)
    except Exception:  # noqa: BLE001 - whoever reads the log
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
