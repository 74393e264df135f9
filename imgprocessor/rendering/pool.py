"""The daemons' side of the worker pool: hands a job over, and once more where a worker dies.

All workers accept from one socket, so that the kernel hands a job to one that is idle, first come
first served. A worker that dies over a job costs that job one more trial; an original over which
two die is in quarantine. `supervisor` starts them; this is what the daemons know of them.
"""

import contextlib
import copy
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgprocessor.errors import Busy, DeadlyOriginal, ImageError, JobOver
from imgprocessor.rendering.admission import Admission
from imgprocessor.rendering.check import Check, Checked
from imgprocessor.rendering.ipc import (
    ANSWER_BYTES,
    BEGUN,
    CALL_OFF,
    DECODED,
    DONE,
    READY,
    receive,
    send,
    wait_at_most,
)
from imgprocessor.rendering.job import Call, Job, Rendered
from imgprocessor.rendering.quarantine import Quarantine
from imgprocessor.rendering.run_folder import SOCKET

_PAUSE_SECONDS = 0.02
"""Before the next look for a worker, where there is none."""

_KNOWN_SECONDS = 1.0
"""So long after a look there is no other: any client may ask whether this node is ready, and each
look waits for a worker as a job does.
"""

_GRACE_SECONDS = 5.0
"""A worker ends by itself when its time is over; so much later it is given up."""

_ASK_AGAIN_SECONDS = 0.2
"""Whether a job is still wanted."""


class WorkerPool:
    """The way to the workers."""

    def __init__(
        self,
        run_folder: Path,
        admission: Admission,
        quarantine: Quarantine,
        *,
        wait_seconds: float,
        answer_seconds: float,
    ) -> None:
        """Use the workers of a run folder: wait so long until one is free, and so long for it."""
        self._socket = str(run_folder / SOCKET)
        self._admission = admission
        self._quarantine = quarantine
        self._wait_seconds = wait_seconds
        self._answer_seconds = answer_seconds + _GRACE_SECONDS
        self._known_until = 0.0
        self._is_wanted: Callable[[], bool] | None = None

    def while_wanted(self, is_wanted: Callable[[], bool]) -> "WorkerPool":
        """Return the way to the same workers for a job that may be called off: over one that is
        not wanted any more its worker is ended, which the original is not blamed for.

        Its `render` and `check` raise `JobOver` then.
        """
        pool = copy.copy(self)
        pool._is_wanted = is_wanted  # noqa: SLF001 - it is one of these
        return pool

    def render(self, job: Job) -> Rendered:
        """Have a rendition made.

        Raises:
            Overloaded: too many wait already.
            Busy: no worker was free in time.
            DeadlyOriginal: workers died over the original.
            ImageError: as `Renderer.render` does.
        """
        rendered: Rendered = self._done(job, job.plan)
        return rendered

    def check(self, job: Check) -> Checked:
        """Have a file on its way in checked. Raises as `render` does."""
        checked: Checked = self._done(job, "check")
        return checked

    def _done(self, job: Job | Check, plan: object) -> Any:
        self._quarantine.check(job.original, plan)
        with self._admission.taken() if job.takes_place else contextlib.nullcontext():
            deaths = 0
            while True:
                result = self._done_once(job, plan)
                if not isinstance(result, _Death):
                    if deaths:
                        self._quarantine.forgive(job.original, plan)
                    return result
                # What is made behind an answer is of an original that was decoded for that.
                was_decoded = result.decoded or (isinstance(job, Job) and job.is_behind)
                deaths = self._quarantine.note_death(job.original, plan if was_decoded else "")
                if deaths > 1:
                    raise DeadlyOriginal(f"{job.original.id} killed workers")

    def require_place(self) -> None:
        """Look whether there was a place a moment ago.

        Raises:
            Overloaded: there was none.
        """
        self._admission.require_one()

    def has_workers(self) -> bool:
        """Whether a worker takes jobs, or did a moment ago."""
        if time.monotonic() < self._known_until:
            return True
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_GRACE_SECONDS)
            # Where too many jobs wait to be taken there is a worker, too.
            with contextlib.suppress(BlockingIOError):
                connection.connect(self._socket)
            self._known_until = time.monotonic() + _KNOWN_SECONDS
            return True
        return False

    def taken_places(self) -> int:
        """Return how many jobs are rendered or wait for that."""
        with contextlib.suppress(OSError):
            return self._admission.in_use()
        return 0

    def free_places(self) -> int:
        """Return how many more jobs would be taken now."""
        return self._admission.count - self.taken_places()

    def _done_once(self, job: Job | Check, plan: object) -> "Rendered | Checked | _Death":
        """Return what a worker made, or how it died over it.

        Raises:
            Busy: none was free in time.
            ImageError: as `Quarantine.check` does, or what the worker said.
        """
        before = job.timings.get("wait", 0.0)
        patience = job.timings.left_of(self._wait_seconds)
        deadline = time.monotonic() + patience
        result = None
        while result is None:
            with job.timings.timed("wait"):
                connection = self._hand_over(job, plan, deadline)
            if connection is None:
                raise Busy(f"no worker was free within {patience:.1f} s")
            waited = job.timings["wait"] - before
            with connection:
                result = self._heard(connection)
        if isinstance(result, _Death):
            return result
        if isinstance(result, ImageError):
            self._quarantine.note_verdict(job.original, result)
            raise result
        # What the worker knows of is the time before it took the job, and its own.
        job.timings.update(result.timings)
        job.timings["wait"] = round(result.timings.get("wait", 0.0) + waited, 2)
        return result

    def _heard(
        self, connection: socket.socket
    ) -> "Rendered | Checked | ImageError | _Death | None":
        """Return what a worker says of a job that was sent to it; None where it had not begun."""
        wait_at_most(connection, self._answer_seconds)
        words, decoded = b"", False
        try:
            if self._is_wanted is None:
                words = connection.recv(ANSWER_BYTES, socket.MSG_WAITALL)
            else:
                words = self._words_while_wanted(connection, self._is_wanted)
            decoded = words.startswith(BEGUN + DECODED)
            _, done, rest = words.partition(DONE)
            if done:
                result: Rendered | Checked | ImageError = receive(connection, rest)
                return result
        except (OSError, EOFError):
            pass
        return _Death(decoded) if words.startswith(BEGUN) else None

    def _words_while_wanted(
        self, connection: socket.socket, is_wanted: Callable[[], bool]
    ) -> bytes:
        """Return a worker's words up to the result; end it where its job is not wanted any more.

        Raises:
            OSError: there is none for too long.
            JobOver: it was ended.
        """
        words, processes, *_ = socket.recv_fds(connection, 1, 1)
        with contextlib.ExitStack() as stack:
            for process in processes:
                stack.callback(os.close, process)
            heard = select.poll()
            heard.register(connection, select.POLLIN)
            deadline = time.monotonic() + self._answer_seconds
            while words and not words.endswith(DONE):
                if heard.poll(_ASK_AGAIN_SECONDS * 1000):
                    word = connection.recv(1)
                    if not word:
                        break
                    words += word
                elif time.monotonic() > deadline:
                    break
                elif not is_wanted():
                    with contextlib.suppress(OSError):
                        signal.pidfd_send_signal(processes[0], CALL_OFF)
                    raise JobOver("it was called off")
        return words

    def _hand_over(self, job: Job | Check, plan: object, deadline: float) -> socket.socket | None:
        """Return a connection to a worker that was sent the job; None where none was free in time.

        Raises:
            ImageError: as `Quarantine.check` does.
        """
        while (left := deadline - time.monotonic()) > 0:
            with contextlib.ExitStack() as stack:
                connection = stack.enter_context(socket.socket(socket.AF_UNIX))
                # There may be none for a moment: the first is being started, or one was stopped
                # before it took this job.
                with contextlib.suppress(OSError):
                    wait_at_most(connection, left)
                    connection.connect(self._socket)
                    if connection.recv(1) == READY:
                        # Another worker may have died over it while this job was waiting.
                        self._quarantine.check(job.original, plan)
                        send(connection, Call(job, self._is_wanted is not None))
                        stack.pop_all()
                        return connection
            time.sleep(min(_PAUSE_SECONDS, left))
        return None


@dataclass(frozen=True)
class _Death:
    """A worker died."""

    decoded: bool
    """When the original had been decoded already."""
