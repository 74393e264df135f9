"""Keeps as many renderers running as there should be: one daemon does it for all.

The one that holds a lock is the foreman. It makes the socket, starts the renderers, and starts
another where one ended. When its process ends, the kernel gives the lock to the next daemon, which
makes a socket and renderers of its own; the old ones notice that their foreman has gone, finish
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

from imgprocessor.rendering.pool import SOCKET, inode, own_folders
from imgprocessor.storage.locks import Locks

_LOCK = "foreman"

_PAUSE_SECONDS = 0.1
"""Before another trial, where no renderer could be started."""

_LOOK_ROUND_SECONDS = 1
"""Whether the socket is still where others look for it."""

_BACKLOG = 512
"""Connections that wait for a renderer. More than there can be places; the system's own limit is
4096.
"""

_UNUSED_SECONDS = 3600
"""After that a run folder without a foreman is one of a program or settings that are no more."""

_SHORT_LIFE_SECONDS = 1.0
"""Who ends sooner cannot start at all, and is not started again before that."""

_START_SECONDS = 5.0
"""For renderers to start, in which those of the foreman before are still there."""

_END_SECONDS = 0.5

_PACKAGES = Path(__file__).resolve().parent.parent.parent


class Supervisor:
    """Starts and watches renderers, in a thread of its own, if nobody else does."""

    def __init__(
        self, folder: Path, count: int, settings: object, complain: Callable[[str], None]
    ) -> None:
        """Use the run folder; `settings` are handed to each renderer."""
        self._folder = folder
        self._locks = Locks(folder / "locks")
        self._count = count
        self._settings = pickle.dumps(settings)
        self._complain = complain

    def start(self) -> None:
        """Begin; it ends with this process."""
        threading.Thread(target=self._run, name="foreman", daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                mine = self._locks.acquire_when_free(_LOCK)
                try:
                    self._lead()
                finally:
                    mine.release()
            except Exception as error:  # noqa: BLE001 - the thread must go on
                self._complain(f"no renderers: {type(error).__name__}: {error}")
            time.sleep(_PAUSE_SECONDS)

    def _lead(self) -> None:
        _remove_unused(self._folder)
        with socket.socket(socket.AF_UNIX) as listener:
            # Under another name first: the one before is heard until this one is.
            fresh = self._folder / f"{SOCKET}.{os.getpid()}"
            for left in self._folder.glob(f"{SOCKET}.*"):  # by foremen who died while they began
                left.unlink(missing_ok=True)
            listener.bind(str(fresh))
            listener.listen(_BACKLOG)
            own = fresh.stat().st_ino
            crew = [_Renderer(listener, self._settings) for _ in range(self._count)]
            try:
                deadline = time.monotonic() + _START_SECONDS
                started = [member.await_start(deadline) for member in crew]
                if not any(started) and all(member.has_ended() for member in crew):
                    # Without a socket it is plain to see that there is none.
                    raise ChildProcessError(f"none can start: {crew[0].ended_how()}")
                fresh.replace(self._folder / SOCKET)
                # Somebody may clear the folder away: then there is another socket to make.
                while inode(self._folder / SOCKET) == own:
                    _await_an_end(crew)
                    for number, member in enumerate(crew):
                        if member.has_ended():
                            if how := member.ended_how():
                                self._complain(f"a renderer ended: {how}")
                            crew[number] = _Renderer(listener, self._settings)
            finally:
                fresh.unlink(missing_ok=True)
                for member in crew:
                    member.dismiss()


class _Renderer:
    """A renderer's process."""

    def __init__(self, listener: socket.socket, settings: bytes) -> None:
        self._began = time.monotonic()
        descriptor = listener.fileno()
        reading, writing = os.pipe()
        # Left open: its end tells the renderer that its foreman has gone.
        self._leash = os.fdopen(writing, "wb")
        with os.fdopen(reading, "rb") as leash:
            self._process = subprocess.Popen(  # noqa: S603 - this very program
                [_python(), "-m", "imgprocessor.rendering.worker", str(descriptor)],
                stdin=leash,
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
        said = b""
        if self._process.stdout is not None:
            output = self._process.stdout.fileno()
            ready, _, _ = select.select([output], [], [], max(0.0, deadline - time.monotonic()))
            said = os.read(output, 1) if ready else b""
        if not said:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_SECONDS)  # where it has closed its output, it is ending
        return bool(said)

    def has_ended(self) -> bool:
        """Whether another should be started in its place."""
        ended = self._process.poll() is not None
        if ended:
            time.sleep(max(0.0, self._began + _SHORT_LIFE_SECONDS - time.monotonic()))
            self.dismiss()
        return ended

    def ended_how(self) -> str:
        """Return how it ended, in words; empty where all is well."""
        status = self._process.returncode
        if not status:
            return ""
        if status < 0:
            return f"signal {-status} ({signal.strsignal(-status)})"
        return f"status {status}"

    def dismiss(self) -> None:
        """Let it finish what it does, and end. Once more does nothing: by then the descriptor's
        number may be somebody else's.
        """
        with contextlib.suppress(OSError):
            self._leash.close()
            if self._process.stdout is not None:
                self._process.stdout.close()
        pidfd, self.pidfd = self.pidfd, -1
        if pidfd >= 0:
            os.close(pidfd)


def _remove_unused(own: Path) -> None:
    """Remove the run folders of this user beside its own that nobody has used for an hour: each
    change of program or settings leaves one behind, and they may lie in memory.
    """
    for folder in own_folders(own.parent):
        with contextlib.suppress(OSError):
            is_old = time.time() - folder.stat().st_mtime > _UNUSED_SECONDS
            if folder != own and is_old and not Locks(folder / "locks").count_held([_LOCK]):
                shutil.rmtree(folder)


def _await_an_end(crew: list[_Renderer]) -> None:
    ended = select.poll()
    for member in crew:
        ended.register(member.pidfd, select.POLLIN)
    ended.poll(_LOOK_ROUND_SECONDS * 1000)


def _python() -> str:
    """Return the interpreter; inside Apache, that of the virtual environment all the same."""
    known = Path(sys.prefix) / "bin" / "python"
    return str(known) if known.exists() else sys.executable
