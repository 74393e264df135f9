"""A tier: a place that all nodes share, where entries are found by key; and how it is asked.

A mark says that something was purged: it is another word after each purge, and during one it says
that nothing is to be found. Whoever may write there may write anything.
"""

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol, TypeVar

TierName = Literal["bucket", "memory"]

TierOutcome = Literal["hit", "miss", "bad", "outdated", "failed", "left_out", "kept", "dropped"]
"""What came of asking a tier: `bad` is an entry that is none of ours or is not whole, `outdated`
one from before a purge; `left_out` is a tier that failed a moment ago, `dropped` what there was no
time or no reason to keep any more.
"""

Count = Callable[[TierName, TierOutcome], object]

MAX_MARK_BYTES = 64

TOTAL_SECONDS = 0.3
"""An answer waits so long for a tier, and no longer."""

_MAX_FAILURES = 3
_LEFT_OUT_SECONDS = 5.0

_Result = TypeVar("_Result")


_CLOSED = b"c"
_OPEN = b"o"
_CLOSED_SECONDS = 600.0
"""A purge that was not finished closes a group for so long; clocks may differ by minutes."""


def new_mark() -> bytes:
    """Return a word that no mark was before."""
    return _OPEN + uuid.uuid4().bytes


def closing_mark() -> bytes:
    """Return one for the time of a purge: by it nothing is found, and nothing kept."""
    return _CLOSED + int(time.time()).to_bytes(8, "big") + uuid.uuid4().bytes


def is_closed(word: bytes) -> bool:
    """Whether a mark says that a purge is under way."""
    since = int.from_bytes(word[1:9], "big")
    return word.startswith(_CLOSED) and abs(time.time() - since) < _CLOSED_SECONDS


class Seen(NamedTuple):
    """What a tier has at a moment."""

    entry: bytes | None
    marks: Sequence[bytes]
    """Those that were asked for, in their order."""


class Tier(Protocol):
    """A place that all nodes share. Everything raises OSError where it fails."""

    name: TierName
    max_bytes: int
    """Of an entry: larger ones are not kept."""

    def look(self, group: str, key: str | None, marks: Sequence[str]) -> Seen:
        """Return an entry of a group, if it is wanted, and marks."""

    def marks(self, marks: Sequence[str]) -> Sequence[bytes]:
        """Return marks, for whoever can wait: it is asked in the thread of the caller."""

    def put(self, group: str, key: str, entry: bytes) -> None:
        """Keep an entry, instead of what has the key."""

    def mark(self, mark: str, word: bytes) -> None:
        """Have a mark be another word; nobody sees the one before once this returns."""

    def clear(self, group: str) -> None:
        """Remove the entries of a group, where they would not be forgotten by themselves soon."""

    def unbounded(self) -> str:
        """Return what is wrong with how much it keeps; nothing where nothing is."""


class Guard:
    """Asks a tier, and leaves it out for a while where it fails again and again: a dead one costs
    little time.
    """

    def __init__(
        self,
        tier: Tier,
        count: Count,
        complain: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tier = tier
        self._count = count
        self._complain = complain
        self._clock = clock
        self._failures = 0
        self._until = 0.0
        self._changing = threading.Lock()

    def count(self, outcome: TierOutcome) -> None:
        """Count what came of it."""
        self._count(self.tier.name, outcome)

    def asked(self, ask: Callable[[Tier], _Result]) -> _Result | None:
        """Ask; None where that fails, or has just failed too often."""
        if self._clock() < self._until:
            self.count("left_out")
            return None
        try:
            result = ask(self.tier)
        except OSError as error:
            self.count("failed")
            self._complain(f"[store]: {error}")
            with self._changing:
                self._failures += 1
                if self._failures >= _MAX_FAILURES:
                    self._until = self._clock() + _LEFT_OUT_SECONDS
            return None
        # One that works again has all its trials again; until then one failure is enough.
        self._failures = 0
        return result
