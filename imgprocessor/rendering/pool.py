"""The daemons' side of the worker pool: hands a job over, and once more where a worker dies.

All workers accept from one socket, so that the kernel hands a job to one that is idle, first come
first served. A worker that dies over a job costs that job one more trial; an original over which
two die is in quarantine. `supervisor` starts them; this is what the daemons know of them.
"""

import contextlib
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgprocessor.errors import Busy, DeadlyOriginal, ImageError
from imgprocessor.rendering.admission import Admission
from imgprocessor.rendering.check import Check, Checked
from imgprocessor.rendering.ipc import BEGUN, DECODED, DONE, READY, receive, send
from imgprocessor.rendering.job import Job, Rendered
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

    def render(self, job: Job) -> Rendered:
        """Have a rendition made.

        Raises:
            Overloaded: too many wait already.
            Busy: no worker was free in time.
            DeadlyOriginal: workers died over the original.
            ImageError: as `Renderer.render` does.
        """
        rendered: Rendered = self._done(job, repr(job.plan))
        return rendered

    def check(self, job: Check) -> Checked:
        """Have a file on its way in checked. Raises as `render` does."""
        checked: Checked = self._done(job, "check")
        return checked

    def _done(self, job: Job | Check, plan: str) -> Any:
        self._quarantine.check(job.original, plan)
        with self._admission.taken() if job.takes_place else contextlib.nullcontext():
            deaths = 0
            while True:
                result = self._done_once(job, plan)
                if not isinstance(result, _Death):
                    if deaths:
                        self._quarantine.forgive(job.original, plan)
                    return result
                deaths = self._quarantine.note_death(job.original, plan if result.decoded else "")
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

    def _done_once(self, job: Job | Check, plan: str) -> "Rendered | Checked | _Death":
        """Return what a worker made, or how it died over it."""
        before = job.timings.get("wait", 0.0)
        with job.timings.timed("wait"):
            connection = self._hand_over(job, plan)
        waited = job.timings["wait"] - before
        decoded = False
        with contextlib.closing(connection):
            connection.settimeout(self._answer_seconds)
            try:
                while (word := connection.recv(1)) == DECODED:
                    decoded = True
                if word != DONE:
                    return _Death(decoded)
                result: Rendered | Checked | ImageError = receive(connection)
            except (OSError, EOFError):
                return _Death(decoded)
        if isinstance(result, ImageError):
            self._quarantine.note_verdict(job.original, result)
            raise result
        # What the worker knows of is the time before it took the job, and its own.
        job.timings.update(result.timings)
        job.timings["wait"] = round(result.timings.get("wait", 0.0) + waited, 2)
        return result

    def _hand_over(self, job: Job | Check, plan: str) -> socket.socket:
        """Return a connection to a worker that has begun with the job.

        Raises:
            Busy: none was free in time.
            ImageError: as `Quarantine.check` does.
        """
        patience = job.timings.left_of(self._wait_seconds)
        deadline = time.monotonic() + patience
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Busy(f"no worker was free within {patience:.1f} s")
            with contextlib.ExitStack() as stack:
                connection = stack.enter_context(socket.socket(socket.AF_UNIX))
                # There may be none for a moment: the first is being started, or one was stopped
                # before it took this job.
                with contextlib.suppress(OSError):
                    connection.settimeout(left)
                    connection.connect(self._socket)
                    if connection.recv(1) == READY:
                        # Another worker may have died over it while this job was waiting.
                        self._quarantine.check(job.original, plan)
                        send(connection, job)
                        if connection.recv(1) == BEGUN:
                            stack.pop_all()
                            return connection
            time.sleep(min(_PAUSE_SECONDS, left))


@dataclass(frozen=True)
class _Death:
    """A worker died."""

    decoded: bool
    """When the original had been decoded already."""
