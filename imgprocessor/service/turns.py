"""Turns: work that visitors must not wait for keeps no more than a share of the workers busy."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
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

AT_ONCE = 0
"""The rank of what a client waits for at this moment. Others take a turn only while no visitor
waits for a worker, and the higher its number the later a rank comes.
"""

LAST = 3
"""The rank of what nobody waits for."""

_MAX_KNOWN_WAITING = 4
"""Of each rank. That one of them waits is all that others must know."""


class Turns:
    """So many turns, over all processes that have the same locks."""

    def __init__(
        self,
        locks: Locks,
        count: int,
        progress: Path,
        *,
        has_idle: Callable[[], bool] = lambda: True,
    ) -> None:
        """Give `count` turns at once; the time stamp of the file `progress` says when last.

        `has_idle` says whether a worker has nothing to do.
        """
        self._locks = locks
        self._names = [f"turn {number}" for number in range(count)]
        self._beside = [f"turn {number} beside" for number in range(count)]
        self._progress = progress
        self._stuck = progress.with_name(f"{progress.name}-stuck")
        self._has_idle = has_idle

    @contextlib.contextmanager
    def taken(self, rank: int = AT_ONCE) -> Iterator[None]:
        """Wait for a turn, and have it for the time inside.

        Raises:
            Busy: there was none for a minute.
        """
        turn = None
        with contextlib.suppress(OSError):  # where nothing can be locked, nobody waits
            turn = self._awaited(rank)
        try:
            yield
        finally:
            if turn is not None:
                turn.release()
                _touch(self._progress)

    def _awaited(self, rank: int) -> Lock:
        deadline = time.monotonic() + _WAIT_SECONDS
        with contextlib.ExitStack() as stack:
            turn = self._found(rank)
            known = self._locks.acquire_any(_waiting(rank)) if turn is None else None
            if known is not None:
                stack.callback(known.release)
            while turn is None:
                if time.monotonic() > deadline:
                    raise Busy(f"all {len(self._names)} turns are taken all the time")
                time.sleep(_LOOK_AGAIN_SECONDS)
                turn = self._found(rank)
        _touch(self._progress)
        return turn

    def _found(self, rank: int) -> Lock | None:
        if rank > AT_ONCE:
            better = [name for first in range(rank) for name in _waiting(first)]
            if not self._has_idle() or (self._locks.count_held(better) and not self._is_stuck()):
                return None
        turn = self._locks.acquire_any(self._names)
        if turn is None and self._is_stuck():
            turn = self._locks.acquire_any(self._beside)
        return turn

    def _is_stuck(self) -> bool:
        if _is_recent(self._stuck, _BESIDE_SECONDS):
            return True
        if _is_recent(self._progress, _STUCK_SECONDS):
            return False
        _touch(self._stuck)
        return True


def _waiting(rank: int) -> list[str]:
    return [f"waits for a turn {rank} {number}" for number in range(_MAX_KNOWN_WAITING)]


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
