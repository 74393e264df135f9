"""Answers that wait for a job to change: few at once, and none whose client has gone."""

import threading
import time
import weakref
from collections.abc import Callable
from typing import Self

from imgprocessor.errors import ImageError
from imgprocessor.jobs.records import JobRecord

_LOOK_AGAIN_SECONDS = 0.25

_BLANK_SECONDS = 0.5
"""More than Apache waits before it hands on what a daemon of imguploads wrote
(`response-flush-delay`). The second or third that it writes to nobody fails.
"""


class Waiters:
    """Places for answers that wait: each keeps a thread."""

    def __init__(
        self, find: Callable[[str], JobRecord], tell: Callable[[JobRecord], str], most: int
    ) -> None:
        """Let so many wait at once; `find` finds a job, `tell` says how it stands, in JSON."""
        self._find = find
        self._tell = tell
        self._places = threading.BoundedSemaphore(most)

    def waiting(self, record: JobRecord, wait_seconds: float) -> "Waiting | None":
        """Return the body of an answer that comes once a job changes, or after so long; None where
        too many wait. Whoever takes it closes it: its place is free then.
        """
        if not self._places.acquire(blocking=False):
            return None
        deadline = time.monotonic() + wait_seconds
        return Waiting(self._find, self._tell, record, deadline, self._places.release)


class Waiting:
    """JSON with blanks before it, two a second: a server finds out that its client has gone only
    when it writes something.
    """

    def __init__(
        self,
        find: Callable[[str], JobRecord],
        tell: Callable[[JobRecord], str],
        record: JobRecord,
        deadline: float,
        release: Callable[[], None],
    ) -> None:
        """Wait for a record to change until a moment of the monotonic clock."""
        self._find = find
        self._tell = tell
        self._known = record
        self._deadline = deadline
        self._is_told = False
        self._release = weakref.finalize(self, release)  # also where nobody closes it

    def __iter__(self) -> Self:
        """Return itself: it is read once."""
        return self

    def __next__(self) -> bytes:
        """Return the next blank, or what is told in the end."""
        if self._is_told:
            raise StopIteration
        if self._is_waiting(min(self._deadline, time.monotonic() + _BLANK_SECONDS)):
            return b" "
        self._is_told = True
        return self._tell(self._known).encode()

    def close(self) -> None:
        """Free the place."""
        self._release()

    def _is_waiting(self, until: float) -> bool:
        """Look again and again; return whether there is more to wait for then."""
        state = self._known.state
        while time.monotonic() < until:
            time.sleep(_LOOK_AGAIN_SECONDS)
            try:
                self._known = self._find(self._known.job)
            except ImageError:
                return False  # the status was sent before: what was known last is told
            if self._known.state != state:
                return False
        return time.monotonic() < self._deadline
