"""How much was taken in the last hour by name, over all processes: requests and bytes.

A sliding hour in steps of a minute: simple, and never is more taken in any hour than may be, as it
would be from a bucket that fills up again meanwhile.
"""

import math
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from imgprocessor.storage.locks import Locks
from imgprocessor.storage.usage import numbers_checksum, write_in_place

_STEP_SECONDS = 60
_HOUR_STEPS = 60
_MAX_STEPS = _HOUR_STEPS + 2
"""An hour begins within a step; and a clock that is set back a little leaves one ahead."""

_WAIT_SECONDS = 1.0
"""For the lock, which each process holds for less than a millisecond."""


class _Taken(NamedTuple):
    """What was taken within one step, or may be in an hour."""

    step: int
    """Minutes since 1970."""
    requests: int
    size_bytes: int


_NOTHING = _Taken(0, 0, 0)

_LAYOUT = struct.Struct(f"<{_MAX_STEPS * len(_Taken._fields)}qI")
"""All steps, and a checksum: always as long, so that it can be written where the disk is full."""


class Allowance:
    """Files, one for each name, and the locks that stand for them."""

    def __init__(
        self, folder: Path, locks: Locks, *, clock: Callable[[], float] = time.time
    ) -> None:
        """Use a folder, which is made when first needed."""
        self._folder = folder
        self._locks = locks
        self._clock = clock

    def take(
        self, name: str, *, requests: int, size_bytes: int, max_requests: int, max_bytes: int
    ) -> int | None:
        """Take so many requests and bytes of what a name may have in an hour; return None, or,
        where nothing was taken, in how many seconds it may be tried again. Nothing is given back.

        What was taken is forgotten where its file is torn, and where the clock is set back for more
        than a minute: nobody is locked out by either.

        Raises:
            OSError: it cannot be written down.
        """
        with self._locks.held(f"allowance {name}", _WAIT_SECONDS) as mine:
            if not mine:
                return 1
            now = self._clock()
            step = int(now // _STEP_SECONDS)
            wanted = _Taken(step, requests, max(0, size_bytes))
            most = _Taken(step, max_requests, max_bytes)
            taken = self._taken(name, step)
            wait_seconds = _seconds_until_room(taken, wanted, most, now)
            if wait_seconds is None:
                self._write(name, taken, wanted)
            return wait_seconds

    def _taken(self, name: str, now_step: int) -> Sequence[_Taken]:
        """Return what was taken in the last hour, in the order of time."""
        try:
            *numbers, checksum = _LAYOUT.unpack_from((self._folder / name).read_bytes())
        except (FileNotFoundError, struct.error):
            return []
        if checksum != numbers_checksum(*numbers):
            return []
        taken = (_Taken(*numbers[at : at + 3]) for at in range(0, len(numbers), 3))
        return sorted(one for one in taken if -1 <= now_step - one.step <= _HOUR_STEPS)

    def _write(self, name: str, taken: Sequence[_Taken], new: _Taken) -> None:
        by_step = {one.step: one for one in taken}
        _, requests, size_bytes = by_step.get(new.step, _NOTHING)
        by_step[new.step] = _Taken(new.step, requests + new.requests, size_bytes + new.size_bytes)
        unused = [_NOTHING] * (_MAX_STEPS - len(by_step))
        numbers = [number for one in (*by_step.values(), *unused) for number in one]
        self._folder.mkdir(parents=True, exist_ok=True)
        write_in_place(self._folder / name, _LAYOUT.pack(*numbers, numbers_checksum(*numbers)))


def _seconds_until_room(
    taken: Sequence[_Taken], wanted: _Taken, most: _Taken, now: float
) -> int | None:
    """Return when there is room: None at once; an hour where there never is."""
    requests = wanted.requests + sum(one.requests for one in taken)
    size_bytes = wanted.size_bytes + sum(one.size_bytes for one in taken)
    if requests <= most.requests and size_bytes <= most.size_bytes:
        return None
    for one in taken:
        requests -= one.requests
        size_bytes -= one.size_bytes
        if requests <= most.requests and size_bytes <= most.size_bytes:
            return math.ceil((one.step + _HOUR_STEPS + 1) * _STEP_SECONDS - now)
    return _HOUR_STEPS * _STEP_SECONDS
