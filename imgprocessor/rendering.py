"""What a renderer's process runs: job after job, until whoever started it has gone."""

import contextlib
import os
import pickle
import resource
import select
import signal
import socket
import sys
import time
from pathlib import Path

from imgprocessor.app import keep_memory, make_quarantine, make_renderer, run_folder
from imgprocessor.errors import ImageError, Internal
from imgprocessor.log import report_unexpected
from imgprocessor.quarantine import Quarantine
from imgprocessor.renderer import Job, Made, Renderer
from imgprocessor.renderers import BEGUN, SOCKET
from imgprocessor.settings import RenderersSettings, Settings
from imgprocessor.wire import receive, send

_HANDED_OVER_SECONDS = 5.0
"""A daemon that has our attention hands its job over at once."""

_MAX_JOBS = 10_000
"""Then another takes this one's place: a safety net, should a library leak memory."""

_LINGER_SECONDS = 2.0
_LOOK_AGAIN_SECONDS = 0.05
"""When the foreman has gone, until the next one has renderers that can start."""

_POLITENESS = 5
"""Added to the priority's number: daemons, who answer what is kept, go first."""


def main() -> int:
    """Render until standard input ends; the settings are the first thing in it."""
    # Apache's daemons block signals, and children inherit that.
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started us
    settings: Settings = pickle.load(sys.stdin.buffer)  # noqa: S301 - from whoever started us
    listener = socket.socket(fileno=int(sys.argv[1]))
    listener.setblocking(False)
    _restrain(settings.renderers)
    keep_memory()
    renderer, masters = make_renderer(settings)
    work = _Work(renderer, make_quarantine(settings), settings)
    os.close(sys.stdout.fileno())  # tells the foreman that all is loaded
    done = 0
    while done < _MAX_JOBS:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            _finish(listener, work, run_folder(settings) / SOCKET)
            break
        done += _taken(listener, work)
    listener.close()
    masters.finish()
    return 0


def _finish(listener: socket.socket, work: "_Work", path: Path) -> None:
    """Go on until there are other renderers, or there will be none; then do what was handed over
    before that, because nobody else may hear this socket.
    """
    inode, deadline = _inode(path), time.monotonic() + _LINGER_SECONDS
    while _inode(path) == inode and time.monotonic() < deadline:
        select.select([listener], [], [], _LOOK_AGAIN_SECONDS)
        _taken(listener, work)
    while _taken(listener, work):
        pass


def _inode(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_ino
    return 0


class _Work:
    """What is done with one job."""

    def __init__(self, renderer: Renderer, quarantine: Quarantine, settings: Settings) -> None:
        self._renderer = renderer
        self._quarantine = quarantine
        self._cpu_seconds = settings.renderers.max_render_seconds
        self._seconds = self._cpu_seconds + settings.store.max_wait_seconds

    def do(self, connection: socket.socket) -> None:
        """Take a job, and answer with what became of it."""
        connection.settimeout(_HANDED_OVER_SECONDS)
        connection.sendall(BEGUN)
        job: Job = receive(connection)
        # The kernel ends this process when its time is over, whatever a decoder does.
        signal.setitimer(signal.ITIMER_PROF, self._cpu_seconds)
        signal.setitimer(signal.ITIMER_REAL, self._seconds)
        said = self._said(job)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        send(connection, said)

    def _said(self, job: Job) -> Made | ImageError:
        try:
            # Another may have died over it while this job was waiting.
            self._quarantine.check(job.original)
            return self._renderer.make(job)
        except ImageError as error:
            return error.with_traceback(None)
        except Exception as error:  # noqa: BLE001 - the next job is another one
            report_unexpected(error)
            return Internal(f"{type(error).__name__}: {error}")


def _taken(listener: socket.socket, work: _Work) -> bool:
    """Do the next job; return whether there was one."""
    try:
        connection, _ = listener.accept()
    except BlockingIOError:  # another renderer was quicker
        return False
    with connection, contextlib.suppress(OSError, EOFError):  # whoever asked has gone
        work.do(connection)
    return True


def _restrain(settings: RenderersSettings) -> None:
    limit = settings.max_memory_bytes
    with contextlib.suppress(OSError, ValueError):  # a lower limit is set already
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    with contextlib.suppress(OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(_POLITENESS)


if __name__ == "__main__":
    sys.exit(main())
