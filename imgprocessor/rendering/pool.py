"""Renditions made by processes of their own, so that no picture can take a daemon down.

All renderers accept from one socket, so that the kernel hands a job to one that is idle, first come
first served. A renderer that dies over a job costs that job one more trial; an original over which
two die is in quarantine. `foreman` starts them; this is what the daemons know of them.
"""

import contextlib
import hashlib
import os
import socket
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from imgprocessor.errors import Busy, ConfigurationError, DeadlyOriginal, ImageError
from imgprocessor.rendering.admission import Admission
from imgprocessor.rendering.ipc import receive, send
from imgprocessor.rendering.job import Job, Rendered
from imgprocessor.rendering.quarantine import Quarantine

SOCKET = "renderers"
"""The file's name in the run folder."""

_MAX_PATH_BYTES = 97
"""Of the socket; Linux has 107 (unix(7)), and while a foreman starts it ends in a process' number.
"""

BEGUN, DECODED, DONE = b"+", b"d", b"="
"""What a renderer says: a job is its own; the original is decoded; what became of it follows."""

_DIGITS = 16
"""Hexadecimal ones, in the name of a run folder."""

_PAUSE_SECONDS = 0.02
"""Before a renderer is looked for again, where there is none."""

_KNOWN_SECONDS = 1.0
"""Who was there a moment ago is not looked for again: anybody may ask whether this node is ready,
and each look waits for a renderer as a job does.
"""

_GRACE_SECONDS = 5.0
"""A renderer ends by itself when its time is over; so much later it is given up."""


class WorkerPool:
    """The way to the renderers."""

    def __init__(
        self,
        run_folder: Path,
        admission: Admission,
        quarantine: Quarantine,
        *,
        wait_seconds: float,
        answer_seconds: float,
    ) -> None:
        self._socket = str(run_folder / SOCKET)
        self._admission = admission
        self._quarantine = quarantine
        self._wait_seconds = wait_seconds
        self._known_until = 0.0
        self._answer_seconds = answer_seconds + _GRACE_SECONDS

    def make(self, job: Job) -> Rendered:
        """Have a rendition made.

        Raises:
            Overloaded: too many wait already.
            Busy: no renderer was free in time.
            DeadlyOriginal: renderers died over the original.
            ImageError: as `Renderer.make` does.
        """
        plan = repr(job.plan)
        self._quarantine.check(job.original, plan)
        job = replace(job, originals=job.originals.for_another_process(job.original))
        with self._admission.taken() if job.takes_place else contextlib.nullcontext():
            deaths = 0
            while True:
                made = self._tried(job)
                if isinstance(made, Rendered):
                    if deaths:
                        self._quarantine.forgive(job.original, plan)
                    return made
                deaths = self._quarantine.note_death(job.original, plan if made.decoded else "")
                self._quarantine.check(job.original, plan)
                if deaths > 1:
                    raise DeadlyOriginal(f"{job.original.path} killed renderers")

    def require_place(self) -> None:
        """Look whether there was a place a moment ago.

        Raises:
            Overloaded: there was none.
        """
        self._admission.require_one()

    def are_there(self) -> bool:
        """Whether somebody hears jobs, or did a moment ago."""
        if time.monotonic() < self._known_until:
            return True
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_GRACE_SECONDS)
            # Where too many wait to be heard there is somebody, too.
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

    def _tried(self, job: Job) -> "Rendered | _Death":
        """Return what a renderer made, or how it died over it."""
        before = job.timings.get("wait", 0.0)
        with job.timings.timed("wait"):
            connection = self._renderer(job)
        waited = job.timings["wait"] - before
        decoded = False
        with contextlib.closing(connection):
            connection.settimeout(self._answer_seconds)
            try:
                while (word := connection.recv(1)) == DECODED:
                    decoded = True
                if word != DONE:
                    return _Death(decoded)
                said = receive(connection)
            except (OSError, EOFError):
                return _Death(decoded)
        if isinstance(said, ImageError):
            self._quarantine.note_verdict(job.original, said)
            raise said
        made: Rendered = said
        # What it knows of is the time before it was asked, and its own.
        job.timings.update(made.timings)
        job.timings["wait"] = round(made.timings.get("wait", 0.0) + waited, 2)
        return made

    def _renderer(self, job: Job) -> socket.socket:
        """Return a connection to a renderer that has begun with the job.

        Raises:
            Busy: none was free in time.
        """
        patience = job.timings.left_of(self._wait_seconds)
        deadline = time.monotonic() + patience
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Busy(f"no renderer was free within {patience:.1f} s")
            connection = socket.socket(socket.AF_UNIX)
            # There may be none for a moment: the first is being started, or its like was stopped
            # before it took this job.
            with contextlib.suppress(OSError):
                connection.settimeout(left)
                connection.connect(self._socket)
                send(connection, job)
                if connection.recv(1) == BEGUN:
                    return connection
            connection.close()
            time.sleep(min(_PAUSE_SECONDS, left))


@dataclass(frozen=True)
class _Death:
    """A renderer died."""

    decoded: bool
    """When the original had been decoded already."""


def inode(path: Path) -> int:
    """Return which file a path leads to; 0 where it leads nowhere."""
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def most_seconds(decode_wait_seconds: float, max_processor_seconds: float) -> float:
    """Return how long a job may take in all, where others keep the processors busy, too."""
    return decode_wait_seconds + 2 * max_processor_seconds


def own_folder(parent: Path, what_for: str) -> Path:
    """Make the folder that all daemons of one installation share while they run: named after the
    user, and after what they have in common, so that no two get into each other's way.

    Raises:
        ConfigurationError: it cannot be made, or is somebody else's.
    """
    named = hashlib.sha256(os.fsencode(what_for)).hexdigest()[:_DIGITS]
    folder = parent / f"imgprocessor-{os.geteuid()}-{named}"
    where = f"[rendering] run_folder: {folder}"
    if len(os.fsencode(folder / SOCKET)) > _MAX_PATH_BYTES:
        raise ConfigurationError(f"{where} is too long for a socket: name a shorter one")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if _is_ours(status) and not status.st_mode & 0o022:
            # Whoever took a lock after somebody removed the folder has made it anew.
            folder.chmod(0o700)
            status = folder.lstat()
    except OSError as error:
        raise ConfigurationError(f"{where}: {error.strerror}") from error
    # Whoever can write there could hand jobs to the renderers.
    if not _is_ours(status) or status.st_mode & 0o077:
        raise ConfigurationError(f"{where} must be a folder of this user's alone: remove it")
    return folder


def own_folders(parent: Path) -> Iterator[Path]:
    """Yield the folders of all of this user's installations, of former ones as well."""
    for folder in parent.glob(f"imgprocessor-{os.geteuid()}-{'[0-9a-f]' * _DIGITS}"):
        with contextlib.suppress(FileNotFoundError):
            if _is_ours(folder.lstat()):
                yield folder


def _is_ours(status: os.stat_result) -> bool:
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
