"""Start a system of `peers`, wait until it answers, and end all of its processes again."""

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from load import LoadError, ask_each, processes_of
from systems import CORES, Command, Place, System

sys.path.append(str(Path(__file__).resolve().parent.parent / "tasks"))

from processes import START_SECONDS, STOP_SECONDS, listens, start

_POLL_SECONDS = 0.05
_OK = 200

_states = contextlib.ExitStack()
"""Folders of systems that have ended. They go when all is measured: for five minutes ext4 does not
use the inodes of files that were removed, and each file made beside them looks at every one, so
that what one system had kept would cost the next one a millisecond a picture.
"""
atexit.register(_states.close)


@dataclass(frozen=True)
class Running:
    """A system that answers."""

    system: System
    place: Place
    sessions: frozenset[int]
    """Every process of the server belongs to one of them."""


@contextlib.contextmanager
def running(system: System, originals: Path, static: Path, first: str) -> Iterator[Running]:
    """Run a system in a fresh state; it is ready once it has answered for an original.

    Raises:
        LoadError: when it ends before, or takes too long.
    """
    folder = tempfile.TemporaryDirectory(prefix="imgprocessor-bench-", ignore_cleanup_errors=True)
    state = Path(_states.enter_context(folder))
    state.chmod(0o755)
    port, *spare = _free_ports(1 + CORES)
    place = Place(state, originals, static, port, spare)
    processes: list[tuple[subprocess.Popen[bytes], Command]] = []
    try:
        with (state / "output.log").open("wb") as output:
            # One by one: what was started before a failure must be known, too.
            for command in system.commands(place):
                processes += [(_start(command, output.fileno()), command)]
        _await_first_answer(system, place, first, processes)
        yield Running(system, place, _sessions(processes))
    finally:
        _end(processes)


def _start(command: Command, output: int) -> subprocess.Popen[bytes]:
    return start(
        command.words,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env={**os.environ, **command.environment},
    )


def _await_first_answer(
    system: System,
    place: Place,
    first: str,
    processes: list[tuple[subprocess.Popen[bytes], Command]],
) -> None:
    # All ports first: a proxy that is asked too early takes a process behind it for dead.
    silent = {command.port for _, command in processes}
    deadline = time.monotonic() + START_SECONDS
    path = system.path(first, 320, 60)
    said = "nothing"
    while time.monotonic() < deadline:
        if any(process.poll() is not None for process, _ in processes):
            said = "that it ends"
            break
        silent = {port for port in silent if not listens(port)}
        if not silent:
            with contextlib.suppress(OSError, LoadError):
                (answer,) = ask_each(place.port, [path], connections=1).answers
                if answer.status == _OK:
                    return
                said = f"status {answer.status}"
        time.sleep(_POLL_SECONDS)
    printed = (place.state / "output.log").read_text(errors="replace").strip()
    last = printed.splitlines()[-1] if printed else "and printed nothing"
    raise LoadError(f"it did not start: it said {said}; {last}")


def _sessions(processes: list[tuple[subprocess.Popen[bytes], Command]]) -> frozenset[int]:
    sessions: set[int] = set()
    for process, command in processes:
        if command.children_only:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
            sessions.update(int(child) for child in children.split())
        else:
            sessions.add(process.pid)
    return frozenset(sessions)


def _end(processes: list[tuple[subprocess.Popen[bytes], Command]]) -> None:
    """Ask each first process to end, the last started first; kill what is left of its session."""
    for process, _ in reversed(processes):
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
    for process, _ in reversed(processes):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        for pid in processes_of({process.pid}):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def _free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on; all different, because they are held together."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
