"""Keeps as many workers running as there should be: one daemon does it for all.

The daemon that holds a lock is the supervisor. It makes the socket, starts the workers, and starts
another where one ended. When its process ends, the kernel gives the lock to the next daemon, which
makes a socket and workers of its own; the old ones notice that their supervisor has gone, finish
what was handed to them, and end.
"""

import contextlib
import os
import pickle
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from imgprocessor.rendering.ipc import CALL_OFF
from imgprocessor.rendering.run_folder import SOCKET, inode, run_folders
from imgprocessor.storage.locks import Locks

_LOCK = "supervisor"

_FORMER_LOCK = "foreman"
"""Its name in former programs, whose daemons may still run while they are replaced."""

_PAUSE_SECONDS = 0.1
"""Before another trial, where no worker could be started."""

_LOOK_ROUND_SECONDS = 1
"""How often it is looked whether the socket is still where daemons look for it."""

_BACKLOG = 512
"""Connections that wait for a worker. More than there can be places; the system's own limit is
4096.
"""

_UNUSED_SECONDS = 3600
"""After that a run folder without a supervisor is one of a program or settings that are no more."""

_SHORT_LIFE_SECONDS = 1.0
"""A worker that ends sooner cannot start at all, and is not replaced before that."""

_START_SECONDS = 5.0
"""For workers to start, in which those of the supervisor before are still there."""

_END_SECONDS = 0.5

_PACKAGES = Path(__file__).resolve().parent.parent.parent


class Supervisor:
    """Starts and watches workers, in a thread of its own, if no other daemon does."""

    def __init__(
        self, folder: Path, count: int, settings: object, complain: Callable[[str], None]
    ) -> None:
        """Use the run folder; `settings` are handed to each worker."""
        self._folder = folder
        self._socket = folder / SOCKET
        self._locks = Locks(folder / "locks")
        self._count = count
        self._settings = pickle.dumps(settings)
        self._complain = complain

    def start(self) -> None:
        """Begin; it ends with this process."""
        threading.Thread(target=self._run, name="supervisor", daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                mine = self._locks.acquire_when_free(_LOCK)
                try:
                    self._supervise()
                finally:
                    mine.release()
            except Exception as error:  # noqa: BLE001 - the thread must go on
                self._complain(f"no workers: {type(error).__name__}: {error}")
            time.sleep(_PAUSE_SECONDS)

    def _supervise(self) -> None:
        """Keep workers running until the socket has gone: then there is another one to make."""
        _remove_unused(self._folder)
        with socket.socket(socket.AF_UNIX) as listener:
            # Under another name first: the one before is heard until this one is.
            fresh = self._folder / f"{SOCKET}.{os.getpid()}"
            for left in self._folder.glob(f"{SOCKET}.*"):  # by supervisors that died at the start
                left.unlink(missing_ok=True)
            listener.bind(str(fresh))
            listener.listen(_BACKLOG)
            own = fresh.stat().st_ino
            workers = [_WorkerProcess(listener, self._settings) for _ in range(self._count)]
            try:
                _await_start(workers)
                fresh.replace(self._socket)
                while inode(self._socket) == own:
                    _await_an_end(workers)
                    self._replace_ended(workers, listener)
            finally:
                fresh.unlink(missing_ok=True)
                for worker in workers:
                    worker.dismiss()

    def _replace_ended(self, workers: "list[_WorkerProcess]", listener: socket.socket) -> None:
        for number, worker in enumerate(workers):
            if worker.has_ended():
                if how := worker.ended_how():
                    self._complain(f"a worker ended: {how}")
                workers[number] = _WorkerProcess(listener, self._settings)


class _WorkerProcess:
    """A worker, as the process that started it sees it."""

    def __init__(self, listener: socket.socket, settings: bytes) -> None:
        self._started = time.monotonic()
        descriptor = listener.fileno()
        reading, writing = os.pipe()
        # The worker's standard input, left open: its end tells it that its supervisor has gone.
        self._leash = os.fdopen(writing, "wb")
        with os.fdopen(reading, "rb") as standard_input:
            self._process = subprocess.Popen(  # noqa: S603 - this very program
                [_python(), "-m", "imgprocessor.rendering.worker", str(descriptor)],
                stdin=standard_input,
                stdout=subprocess.PIPE,
                pass_fds=[descriptor],
                cwd="/",
                env={**os.environ, "PYTHONPATH": str(_PACKAGES)},
            )
        with contextlib.suppress(OSError):  # it ended already
            self._leash.write(settings)
            self._leash.flush()
        self.pidfd = os.pidfd_open(self._process.pid)

    def await_start(self, deadline: float) -> bool:
        """Wait until it takes jobs, or it is no use to wait any longer; return whether it does."""
        started = b""
        if self._process.stdout is not None:
            output = self._process.stdout.fileno()
            ready, _, _ = select.select([output], [], [], max(0.0, deadline - time.monotonic()))
            started = os.read(output, 1) if ready else b""
        if not started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_SECONDS)  # where it has closed its output, it is ending
        return bool(started)

    def has_ended(self) -> bool:
        """Whether another should be started in its place."""
        ended = self._process.poll() is not None
        if ended:
            time.sleep(max(0.0, self._started + _SHORT_LIFE_SECONDS - time.monotonic()))
            self.dismiss()
        return ended

    def ended_how(self) -> str:
        """Return how it ended, in words; empty where all is well."""
        status = self._process.returncode
        if not status or status == -CALL_OFF:
            return ""
        if status < 0:
            return f"signal {-status} ({signal.strsignal(-status)})"
        return f"status {status}"

    def dismiss(self) -> None:
        """Let it finish what it does, and end. Once more does nothing: by then the descriptor's
        number may be that of another file.
        """
        with contextlib.suppress(OSError):
            self._leash.close()
            if self._process.stdout is not None:
                self._process.stdout.close()
        pidfd, self.pidfd = self.pidfd, -1
        if pidfd >= 0:
            os.close(pidfd)


def _remove_unused(own: Path) -> None:
    """Remove the run folders of this user beside its own that no daemon has used for an hour: each
    change of program or settings leaves one behind, and they may lie in memory.
    """
    for folder in run_folders(own.parent):
        with contextlib.suppress(OSError):
            is_old = time.time() - folder.stat().st_mtime > _UNUSED_SECONDS
            names = [_LOCK, _FORMER_LOCK]
            if folder != own and is_old and not Locks(folder / "locks").count_held(names):
                shutil.rmtree(folder)


def _await_start(workers: list[_WorkerProcess]) -> None:
    """Wait until all workers take jobs, or have ended, or take too long.

    Raises:
        ChildProcessError: none can start. Without a socket it is plain to see that there is none.
    """
    deadline = time.monotonic() + _START_SECONDS
    started = [worker.await_start(deadline) for worker in workers]
    if not any(started) and all(worker.has_ended() for worker in workers):
        raise ChildProcessError(f"none can start: {workers[0].ended_how()}")


def _await_an_end(workers: list[_WorkerProcess]) -> None:
    ended = select.poll()
    for worker in workers:
        ended.register(worker.pidfd, select.POLLIN)
    ended.poll(_LOOK_ROUND_SECONDS * 1000)


def _python() -> str:
    """Return the interpreter; inside Apache, that of the virtual environment all the same."""
    known = Path(sys.prefix) / "bin" / "python"
    return str(known) if known.exists() else sys.executable
