"""Admission control: how many jobs may run or wait for a worker; one too many is a 503 at once."""

import contextlib
import time
from collections.abc import Iterator

from imgprocessor.errors import Overloaded
from imgprocessor.storage.locks import Lock, Locks

_LOOK_AGAIN_SECONDS = 0.05
"""Where there was no place there is none for a moment: who is refused must cost next to nothing.
Workers go on meanwhile, where jobs of so long wait for them. Whoever gives a place back looks no
sooner than others do, or one process would keep them all.
"""


class Admission:
    """A bounded queue: one place for each job that is rendered or waits for that."""

    def __init__(self, locks: Locks, count: int) -> None:
        """Use locks that the kernel frees when their holder dies, so that no place is ever lost."""
        self._locks = locks
        self._names = [f"place {number}" for number in range(count)]
        self._full_until = 0.0

    @property
    def count(self) -> int:
        """How many places there are."""
        return len(self._names)

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Take a place for the time inside.

        Raises:
            Overloaded: there is none.
        """
        with contextlib.ExitStack() as stack:
            # Where nothing can be locked, nobody is refused: daemons have so many threads only.
            with contextlib.suppress(OSError):
                stack.callback(self._place().release)
            yield

    def require_one(self) -> None:
        """Refuse at once who would have found none a moment ago, before anything else is done.

        Raises:
            Overloaded: there was none.
        """
        if time.monotonic() < self._full_until:
            raise Overloaded(f"all {self.count} places are taken")

    def _place(self) -> Lock:
        self.require_one()
        if self._full_until:  # one looks again for all
            self._full_until = time.monotonic() + _LOOK_AGAIN_SECONDS
        try:
            place = self._locks.acquire_any(self._names)
        except OSError:
            self._full_until = 0.0  # or those who do not look were refused
            raise
        self._full_until = 0.0 if place else time.monotonic() + _LOOK_AGAIN_SECONDS
        if place is None:
            raise Overloaded(f"all {self.count} places are taken")
        return place

    def in_use(self) -> int:
        """Return how many are taken.

        Raises:
            OSError: nothing can be locked.
        """
        return self._locks.count_held(self._names)
