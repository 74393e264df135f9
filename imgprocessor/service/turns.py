"""Turns: work that visitors must not wait for keeps no more than a share of the workers busy."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from imgprocessor.errors import Busy
from imgprocessor.storage.locks import Lock, Locks

_WAIT_SECONDS = 60.0
_LOOK_AGAIN_SECONDS = 0.02

_STUCK_SECONDS = 8.0
"""Where nobody took or gave back a turn for so long, whoever has one may be a process that is
stopped: others go on beside it, ...
"""
_BESIDE_SECONDS = 60.0
"""... for so long, before it is looked again."""


class Turns:
    """So many turns, over all processes that have the same locks."""

    def __init__(self, locks: Locks, count: int, progress: Path) -> None:
        """Give `count` turns at once; the time stamp of the file `progress` says when last."""
        self._locks = locks
        self._names = [f"turn {number}" for number in range(count)]
        self._beside = [f"turn {number} beside" for number in range(count)]
        self._progress = progress
        self._stuck = progress.with_name(f"{progress.name}-stuck")

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for a turn, and have it for the time inside.

        Raises:
            Busy: there was none for a minute.
        """
        turn = None
        with contextlib.suppress(OSError):  # where nothing can be locked, nobody waits
            turn = self._awaited()
        try:
            yield
        finally:
            if turn is not None:
                turn.release()
                _touch(self._progress)

    def _awaited(self) -> Lock:
        deadline = time.monotonic() + _WAIT_SECONDS
        while time.monotonic() < deadline:
            turn = self._locks.acquire_any(self._names)
            if turn is None and self._is_stuck():
                turn = self._locks.acquire_any(self._beside)
            if turn is not None:
                _touch(self._progress)
                return turn
            time.sleep(_LOOK_AGAIN_SECONDS)
        raise Busy(f"all {len(self._names)} turns are taken all the time")

    def _is_stuck(self) -> bool:
        if _is_recent(self._stuck, _BESIDE_SECONDS):
            return True
        if _is_recent(self._progress, _STUCK_SECONDS):
            return False
        _touch(self._stuck)
        return True


def _is_recent(file: Path, seconds: float) -> bool:
    with contextlib.suppress(FileNotFoundError):
        # A time in the future is a clock that was set back.
        return 0 <= time.time() - file.stat().st_mtime < seconds
    return False


def _touch(file: Path) -> None:
    with contextlib.suppress(OSError):  # a disk that is read-only by now
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            os.utime(descriptor)
        finally:
            os.close(descriptor)
