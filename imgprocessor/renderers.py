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
from dataclasses import replace
from pathlib import Path

from imgprocessor.errors import Busy, ConfigurationError, DeadlyOriginal, ImageError
from imgprocessor.places import Places
from imgprocessor.quarantine import Quarantine
from imgprocessor.renderer import Job, Made
from imgprocessor.wire import receive, send

SOCKET = "renderers"
"""The file's name in the run folder."""

BEGUN = b"+"
"""What a renderer says when a job is its own."""

_PAUSE_SECONDS = 0.02
"""Before a renderer is looked for again, where there is none."""

_GRACE_SECONDS = 5.0
"""A renderer ends by itself when its time is over; so much later it is given up."""


class Renderers:
    """The way to the renderers."""

    def __init__(
        self,
        run_folder: Path,
        places: Places,
        quarantine: Quarantine,
        *,
        max_wait_seconds: float,
        max_render_seconds: float,
    ) -> None:
        self._socket = str(run_folder / SOCKET)
        self._places = places
        self._quarantine = quarantine
        self._max_wait_seconds = max_wait_seconds
        self._answer_seconds = max_wait_seconds + max_render_seconds + _GRACE_SECONDS

    def make(self, job: Job) -> Made:
        """Have a rendition made.

        Raises:
            Overloaded: too many wait already.
            Busy: no renderer was free in time.
            DeadlyOriginal: renderers died over the original.
            ImageError: as `Renderer.make` does.
        """
        self._quarantine.check(job.original)
        job = replace(job, originals=job.originals.for_another_process(job.original))
        with self._places.taken():
            while True:
                made = self._tried(job)
                if made is not None:
                    return made
                deaths = self._quarantine.note_death(job.original)
                self._quarantine.check(job.original)
                if deaths > 1:
                    raise DeadlyOriginal(f"{job.original.path} killed renderers")

    def are_there(self) -> bool:
        """Whether a job would be taken."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_GRACE_SECONDS)
            connection.connect(self._socket)
            return True
        return False

    def free_places(self) -> int:
        """Return how many more jobs would be taken now."""
        with contextlib.suppress(OSError):
            return self._places.count - self._places.in_use()
        return self._places.count

    def _tried(self, job: Job) -> Made | None:
        """Return what a renderer made; None where it died over it."""
        with job.timings.timed("wait"):
            connection = self._renderer(job)
        with contextlib.closing(connection):
            connection.settimeout(self._answer_seconds)
            try:
                send(connection, job)
                said = receive(connection)
            except (OSError, EOFError):
                return None
        if isinstance(said, ImageError):
            self._quarantine.note_verdict(job.original, said)
            raise said
        made: Made = said
        job.timings.update(made.timings)
        return made

    def _renderer(self, job: Job) -> socket.socket:
        """Return a connection to a renderer that waits for the job.

        Raises:
            Busy: none was free in time.
        """
        patience = job.timings.left_of(self._max_wait_seconds)
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
                if connection.recv(1) == BEGUN:
                    return connection
            connection.close()
            time.sleep(min(_PAUSE_SECONDS, left))


def own_folder(parent: Path, store_folder: Path) -> Path:
    """Make the folder that all daemons of one installation share while they run: named after the
    user, and after what they keep, so that no two get into each other's way.

    Raises:
        ConfigurationError: it cannot be made, or is somebody else's.
    """
    named = hashlib.sha256(os.fsencode(store_folder)).hexdigest()[:16]
    folder = parent / f"imgprocessor-{os.geteuid()}-{named}"
    where = f"[renderers] run_folder: {folder}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise ConfigurationError(f"{where}: {error.strerror}") from error
    # Whoever can write there could hand jobs to the renderers.
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise ConfigurationError(f"{where} must be a folder of this user's alone: remove it")
    return folder
