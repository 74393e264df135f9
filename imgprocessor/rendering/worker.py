"""What a worker's process runs: job after job, until its supervisor has gone."""

import contextlib
import contextvars
import os
import pickle
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from imgprocessor.config.rendering_settings import RenderingSettings
from imgprocessor.config.settings import Settings
from imgprocessor.errors import ImageError, Internal, OversizedOriginal
from imgprocessor.images.formats.png import begin_threads
from imgprocessor.rendering.check import Check, Checked
from imgprocessor.rendering.ipc import (
    BEGUN,
    DECODED,
    DONE,
    READY,
    receive,
    send,
    wait_at_most,
)
from imgprocessor.rendering.job import Call, DirectRenderer, Job, Rendered
from imgprocessor.rendering.masters import Masters
from imgprocessor.rendering.process import (
    give_rest_back,
    keep_memory,
    make_masters,
    max_job_seconds,
    run_folder,
)
from imgprocessor.rendering.run_folder import SOCKET, inode
from imgprocessor.reporting import report_unexpected, traced

_HANDED_OVER_SECONDS = 5.0
"""A daemon whose connection was accepted hands its job over at once."""

_NICER = 10
"""Than the worker: a thread so much nicer gets a tenth of a processor that others want."""

_Result = TypeVar("_Result")

_MAX_JOBS = 10_000
"""Then another worker takes this one's place: a safety net, should a library leak memory."""

_IDLE_SECONDS = 60.0
"""After so long without a job the memory that is kept for the next one is given back, which then
takes a quarter longer to decode: 123 ms for 98.
"""

_LINGER_SECONDS = 2.0
_LOOK_AGAIN_SECONDS = 0.05
"""When the supervisor has gone, until the next one has workers that can start."""


def run_worker() -> int:
    """Render until standard input ends; the settings are the first thing in it."""
    # Apache's daemons block signals, and children inherit that.
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server
    try:
        settings: Settings = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the supervisor
    except (EOFError, pickle.UnpicklingError):  # the supervisor has ended already
        return 0
    listener = socket.socket(fileno=int(sys.argv[1]))
    listener.setblocking(False)
    _limit(settings.rendering)
    keep_memory()
    masters = make_masters(settings, keeps=True)
    work = _Work(masters, settings)
    begin_threads()
    with contextlib.suppress(BrokenPipeError):  # the supervisor has ended already
        os.write(sys.stdout.fileno(), READY)  # tells it that all is loaded
    done, is_rested = 0, True
    while done < _MAX_JOBS:
        patience = None if is_rested else _IDLE_SECONDS
        ready, _, _ = select.select([listener, sys.stdin], [], [], patience)
        if sys.stdin in ready:
            _finish(listener, work, run_folder(settings) / SOCKET)
            break
        if listener in ready:
            done += _do_next(listener, work)
            is_rested = False
        else:
            masters.rest()
            give_rest_back()
            is_rested = True
    listener.close()
    masters.finish()
    return 0


def _finish(listener: socket.socket, work: "_Work", path: Path) -> None:
    """Go on until there are other workers, or there will be none; then do what was handed over
    before that, because no other may accept from this socket.
    """
    own, deadline = inode(path), time.monotonic() + _LINGER_SECONDS
    while inode(path) == own and time.monotonic() < deadline:
        select.select([listener], [], [], _LOOK_AGAIN_SECONDS)
        _do_next(listener, work)
    while _do_next(listener, work):
        pass


class _Work:
    """What is done with one job."""

    def __init__(self, masters: Masters, settings: Settings) -> None:
        self._masters = masters
        self._cpu_seconds = settings.rendering.max_processor_seconds
        self._seconds = max_job_seconds(settings.rendering)
        self._process = os.pidfd_open(os.getpid())

    def do(self, connection: socket.socket) -> None:
        """Take a job, and answer with what became of it."""
        wait_at_most(connection, _HANDED_OVER_SECONDS)
        connection.sendall(READY)
        call: Call = receive(connection)
        job = call.job
        if call.may_be_called_off:
            socket.send_fds(connection, [BEGUN], [self._process])
        else:
            connection.sendall(BEGUN)
        # The kernel ends this process when its time is over, whatever a decoder does.
        signal.setitimer(signal.ITIMER_PROF, self._cpu_seconds)
        signal.setitimer(signal.ITIMER_REAL, self._seconds)
        with traced(job.trace_id):
            work = partial(self._result, job, connection)
            result = _apart(work) if _is_behind(job) else work()
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        send(connection, result, after=DONE)

    def _result(
        self, job: Job | Check, connection: socket.socket
    ) -> Rendered | Checked | ImageError:
        def decoded() -> None:
            with contextlib.suppress(OSError):  # the daemon has gone; the master is still kept
                connection.sendall(DECODED)
            if _is_behind(job):
                _be_nicer()

        try:
            renderer = DirectRenderer(self._masters, decoded)
            return renderer.check(job) if isinstance(job, Check) else renderer.render(job)
        except ImageError as error:
            return error.with_traceback(None)
        except MemoryError:  # past decoding: resizing, encoding
            return OversizedOriginal.for_want_of_memory()
        except Exception as error:  # noqa: BLE001 - the next job is another one
            report_unexpected(error)
            return Internal(f"{type(error).__name__}: {error}")


def _is_behind(job: Job | Check) -> bool:
    return isinstance(job, Job) and job.is_behind


def _be_nicer() -> None:
    """Go on at a lower priority, past decoding: that holds locks which visitors wait for."""
    own = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, own + _NICER)  # of this thread alone, on Linux


def _apart(work: Callable[[], _Result]) -> _Result:
    """Do some work in a thread of its own: one that has become nicer cannot take that back."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(contextvars.copy_context().run, work).result()


def _do_next(listener: socket.socket, work: _Work) -> bool:
    """Do the next job; return whether there was one."""
    try:
        connection, _ = listener.accept()
    except BlockingIOError:  # another worker was quicker
        return False
    try:
        with connection, contextlib.suppress(OSError, EOFError):  # the daemon has gone
            work.do(connection)
    except Exception as error:  # noqa: BLE001 - a job of another version: the daemon tries again
        report_unexpected(error)
    return True


def _limit(settings: RenderingSettings) -> None:
    limit = settings.max_memory_bytes
    with contextlib.suppress(OSError, ValueError):  # a lower limit is set already
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    with contextlib.suppress(OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    sys.exit(run_worker())
