"""Steps run in a sandbox: started, watched and ended by the thread that waits for them."""

import json
import os
import platform
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from imgprocessor.errors import JobOver, NoPreview, UndrawableDocument
from imgprocessor.images.previews.kind import TOO_LARGE, TOO_SLOW, Ended, SandboxStep
from imgprocessor.jobs.previews.confined import CONFINED
from imgprocessor.jobs.previews.removed import RemovedFiles
from imgprocessor.jobs.previews.results import UNKNOWN_BYTES, folder_use
from imgprocessor.jobs.previews.visible import DEVICES
from imgprocessor.jobs.previews.ways import Confinement, Visible

_LOOK_SECONDS = 0.05
"""How often it is looked what a step has written."""
_ASK_SECONDS = 0.5
"""How often it is asked whether the page is still wanted."""
_BY_SIGNAL = 128
_SAID_BYTES = 4_000
_END_SECONDS = 5.0

_MAX_FILES_OPEN = 256
_MAX_THREADS = 256
_COUNTS_PROCESSES_SINCE = (5, 14)
"""Since this Linux, processes of a user are counted by namespace of users."""

_PATH = "/usr/bin:/bin"
_LANGUAGE = "C.UTF-8"


@dataclass(frozen=True)
class ConfinedRun:
    """A `Run`: steps for one document, by one way, in what is left of its time."""

    way: Confinement
    visible: Callable[[SandboxStep], list[Path]]
    document: Path
    folder: Path
    deadline: float
    """By `time.monotonic()`."""
    is_wanted: Callable[[], bool]

    def __call__(self, step: SandboxStep) -> Ended:
        """As `Run` says.

        Raises:
            UndrawableDocument: its time is over, or it wrote more than it may.
            JobOver: it is not wanted any more.
            NoPreview: the sandbox does not work.
        """
        shown = Visible(self.visible(step), self.document, self.folder)
        process = _Process(self.way, shown, self._wanted(step, shown))
        try:
            self._watch(process, step)
        finally:
            process.end()
        if not process.is_confined():
            raise NoPreview("Documents cannot be drawn at the moment.", process.failure())
        self._check_folder(step, 0)
        return Ended(process.status(), process.said())

    def _watch(self, process: "_Process", step: SandboxStep) -> None:
        looked = asked = time.monotonic()
        while not process.is_over(_LOOK_SECONDS):
            now = time.monotonic()
            if now >= self.deadline:
                raise UndrawableDocument(TOO_SLOW, process.said())
            if now - looked >= _LOOK_SECONDS:  # or it has said something
                self._check_folder(step, process.removed_bytes())
                if process.threads() > _MAX_THREADS:
                    raise UndrawableDocument(TOO_LARGE, f"{step.command[0]}: too many threads")
                looked = time.monotonic()
            if now - asked >= _ASK_SECONDS:
                if not self.is_wanted():
                    raise JobOver
                asked = time.monotonic()

    def _check_folder(self, step: SandboxStep, removed_bytes: int) -> None:
        use = folder_use(self.folder, step.output_bytes)
        use.file_bytes += removed_bytes
        if use.is_over(step.output_bytes):
            raise UndrawableDocument(TOO_LARGE, f"{step.command[0]} left too much: {use}")

    def _wanted(self, step: SandboxStep, shown: Visible) -> Mapping[str, object]:
        processor_seconds = int(max(0.0, self.deadline - time.monotonic())) + 1
        processor_seconds *= os.cpu_count() or 1
        limits = {
            "CORE": 0,
            "MSGQUEUE": 0,
            "CPU": processor_seconds,  # a net below the deadline
            "FSIZE": step.output_bytes,
            "NOFILE": _MAX_FILES_OPEN,
            "AS": step.memory_bytes,
        }
        if self.way.counts_processes and _linux() >= _COUNTS_PROCESSES_SINCE:
            limits["NPROC"] = 2 * _MAX_THREADS  # it is told before that
        folder = str(self.folder)
        return {
            "command": list(step.command),
            "environment": {
                "PATH": _PATH,
                "LANG": _LANGUAGE,
                **step.environment,
                **dict.fromkeys(("HOME", "TMPDIR", "TMP", "TEMP"), folder),
            },
            "reads": [str(path) for path in shown.reads],
            "document": str(shown.document),
            "folder": folder,
            "devices": [str(path) for path in DEVICES],
            "limits": limits,
            "needs_landlock": self.way.needs_landlock,
        }


class _Process:
    """A step's process, and what is around it."""

    def __init__(self, way: Confinement, shown: Visible, wanted: Mapping[str, object]) -> None:
        self._told, self._output = b"", b""
        self._pid: int | None = None
        self._step_pidfd = -1
        self._removed = RemovedFiles(shown.reads)
        self._own: list[int] = []
        theirs: list[int] = []
        try:
            # What ends when this process does; what the step says; and how it was confined, which
            # bubblewrap tells, and the program in it.
            held, _ = _pipe(theirs, self._own)
            self._said, saying = _pipe(self._own, theirs)
            self._status, telling = _pipe(self._own, theirs)
            also_telling = os.dup(telling)
            theirs.append(also_telling)
            self._process = subprocess.Popen(  # noqa: S603 - as the kind of document has it
                way.command(shown, telling, json.dumps({**wanted, "status": also_telling})),
                stdin=held,
                stdout=saying,
                stderr=saying,
                cwd="/",
                env={"PATH": _PATH, "LANG": _LANGUAGE},
                pass_fds=[telling, also_telling],
                start_new_session=True,
            )
        except OSError:
            _close(self._own)
            raise
        finally:
            _close(theirs)
        if way.needs_landlock:  # what confines itself is what becomes the step
            self._pid = self._process.pid
        os.set_blocking(self._said, False)
        os.set_blocking(self._status, False)
        self._poll = select.poll()
        try:
            self._pidfd = os.pidfd_open(self._process.pid)  # it is not reaped, so it is there
        except OSError:
            self.end()
            raise
        self._own.append(self._pidfd)
        for descriptor in (self._pidfd, self._said, self._status):
            self._poll.register(descriptor, select.POLLIN)

    def is_over(self, seconds: float) -> bool:
        """Wait so long at most; return whether it has ended."""
        for descriptor, _ in self._poll.poll(seconds * 1000):
            if descriptor == self._pidfd:
                self._read_all()
                return True
            self._read(descriptor)
        return False

    def _read_all(self) -> None:
        while self._read(self._said):
            pass
        while self._read(self._status):
            pass

    def _read(self, descriptor: int) -> bool:
        try:
            piece = os.read(descriptor, 65_536)
        except BlockingIOError:
            return False
        if not piece:
            with suppress(KeyError):
                self._poll.unregister(descriptor)
            return False
        if descriptor == self._said:
            self._output = (self._output + piece)[-_SAID_BYTES:]
            return True
        self._told += piece
        if self._pid is None and (found := re.search(rb'"child-pid":\s*(\d+)', self._told)):
            self._pid = int(found[1])
            if self._process.poll() is None:  # else the number may be another's by now
                with suppress(ProcessLookupError):
                    self._step_pidfd = os.pidfd_open(self._pid)
                    self._own.append(self._step_pidfd)
        return True

    def end(self) -> None:
        """End it, where it has not ended, and leave nothing of it behind."""
        if self._step_pidfd >= 0:
            # With the first of its namespace all others end, and bubblewrap sees that, and ends.
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._step_pidfd, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_SECONDS)
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._read_all()
        _close(self._own)

    def is_confined(self) -> bool:
        """Whether the step began."""
        lines = self._told.decode(errors="replace").splitlines()
        return bool(lines) and lines[-1] == CONFINED

    def failure(self) -> str:
        """Return what was in the way of its confinement."""
        told = re.sub(r"\{[^}]*\}", "", self._told.decode(errors="replace")).strip()
        return told or self.said().strip() or f"it ended with {self._process.returncode}"

    def said(self) -> str:
        """Return the end of what it wrote."""
        return self._output.decode(errors="replace")

    def status(self) -> int:
        """Return how it ended, as `Ended` has it."""
        status = self._process.returncode
        # As bubblewrap tells of a signal.
        return status if status <= _BY_SIGNAL else _BY_SIGNAL - status

    def threads(self) -> int:
        """Return how many it has, where that can be seen."""
        with suppress(OSError):
            return Path(f"/proc/{self._pid}/task").stat().st_nlink - 2
        return 0

    def removed_bytes(self) -> int:
        """Return what files take that it uses, and that are in no folder any more."""
        if self._pid is None or not self.is_confined():
            return 0
        try:
            return self._removed.held_bytes(self._pid)
        except PermissionError:  # a program that nobody may read is one that nobody may look at
            return UNKNOWN_BYTES


def _pipe(readers: list[int], writers: list[int]) -> tuple[int, int]:
    reader, writer = os.pipe()
    readers.append(reader)
    writers.append(writer)
    return reader, writer


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _linux() -> tuple[int, int]:
    major, minor = re.findall(r"\d+", platform.release())[:2]
    return int(major), int(minor)
