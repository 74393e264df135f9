"""What all nodes share: found in the nearest tier that has it, kept in all of them behind answers.

An entry says by which marks it was begun, and is good only as long as these are the same: what is
written late, after a purge, is there and nobody finds it.
"""

import atexit
import hashlib
import math
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from imgprocessor.reporting import report_unexpected
from imgprocessor.storage.shared.signed import Signer
from imgprocessor.storage.shared.tier import (
    Guard,
    Seen,
    Tier,
    closing_mark,
    is_closed,
    new_mark,
)

_EVERYTHING = "everything"
"""The mark of all groups."""

_MAX_WAITING = 200
_MAX_WAITING_BYTES = 64_000_000

_MAX_FAILURES = 3
"""Marks that cannot be written are told; after so many a tier is left as it is."""

_CLEAR_SECONDS = 5.0
"""To remove what was made of all that is purged."""

_END_SECONDS = 5.0
"""A process that ends waits so long for what waits to be kept."""


@dataclass(frozen=True)
class Shared:
    """What the tiers have of an entry at a moment."""

    body: bytes | None = None
    """The nearest one's; None where none has it."""
    marks: Mapping[str, str] = field(default_factory=dict)
    """Of the tiers that were asked and have no good entry, by their names: what is made from now on
    may be kept there by these.
    """


@dataclass(frozen=True)
class _Waiting:
    group: str
    key: str
    body: bytes
    marks: Mapping[str, str]


class SharedEntries:
    """Entries by group and key, in tiers from the nearest to the farthest."""

    def __init__(self, tiers: Sequence[Guard], signer: Signer) -> None:
        self._tiers = tiers
        self._signer = signer
        self._waiting: queue.Queue[_Waiting] = queue.Queue(_MAX_WAITING)
        self._waiting_bytes = 0
        self._changing = threading.Lock()
        self._keeper: threading.Thread | None = None

    def look(self, group: str, key: str) -> Shared:
        """Look for an entry, no longer than `TOTAL_SECONDS` for each tier."""
        name, marks = _name(group, key), [_EVERYTHING, _short(group)]
        known: dict[str, str] = {}
        for guard in self._tiers:
            seen = guard.asked(lambda tier: tier.look(marks[-1], name, marks))
            if seen is None:
                continue
            if any(map(is_closed, seen.marks)):
                guard.count("outdated")
                continue
            body = self._good(guard, name, seen)
            if body is not None:
                if known:  # nearer ones
                    self._submit(_Waiting(group, key, body, known))
                return Shared(body)
            known[guard.tier.name] = _as_one(seen.marks)
        return Shared(None, known)

    def keep(self, group: str, key: str, body: bytes, marks: Mapping[str, str]) -> None:
        """Keep an entry behind the answer, in the tiers whose marks are known, if at all."""
        if marks:
            self._submit(_Waiting(group, key, body, marks))

    def close(self, groups: Sequence[str] | None) -> dict[str, str]:
        """Have nothing be found in some groups, or all of them, and nothing kept, until they are
        opened; return which tiers failed, and why: there it may be found still.
        """
        return self._marked(groups, closing_mark, clears=False)

    def open(self, groups: Sequence[str] | None) -> dict[str, str]:
        """Have new entries of such groups be found and kept again, and none that was begun before;
        remove those, where it is about some groups. Returns what `close` does.
        """
        return self._marked(groups, new_mark, clears=groups is not None)

    def _marked(
        self, groups: Sequence[str] | None, word: Callable[[], bytes], *, clears: bool
    ) -> dict[str, str]:
        marks = [_EVERYTHING] if groups is None else [*map(_short, groups)]
        failed: dict[str, str] = {}
        for guard in self._tiers:
            wrong = []
            for mark in marks:
                try:
                    guard.tier.mark(mark, word())
                except OSError as error:
                    wrong.append(str(error))
                    if len(wrong) == _MAX_FAILURES:  # it would not be otherwise with the rest
                        break
            if wrong:
                failed[guard.tier.name] = wrong[0]
            elif clears:
                # What stays is found by nobody, and expires.
                until = time.monotonic() + _CLEAR_SECONDS
                for mark in marks:
                    if time.monotonic() < until:
                        guard.asked(partial(_cleared, mark))
        return failed

    def probe(self) -> dict[str, str]:
        """Ask each tier; return what is wrong with it, or nothing, by its name."""
        wrong: dict[str, str] = {}
        for guard in self._tiers:
            try:
                guard.tier.look(_short(""), _short(""), [_EVERYTHING])
                wrong[guard.tier.name] = guard.tier.unbounded()
            except OSError as error:
                wrong[guard.tier.name] = str(error)
        return wrong

    def finish(self, at_most_seconds: float = math.inf) -> None:
        """Wait until all is kept that was handed over."""
        until = time.monotonic() + at_most_seconds
        with self._waiting.all_tasks_done:
            while self._waiting.unfinished_tasks and (left := until - time.monotonic()) > 0:
                self._waiting.all_tasks_done.wait(min(left, threading.TIMEOUT_MAX))

    def _good(self, guard: Guard, name: str, seen: Seen) -> bytes | None:
        if seen.entry is None:
            guard.count("miss")
            return None
        read = self._signer.read(name, seen.entry)
        if read is None:
            guard.count("bad")
            return None
        marks, body = read
        is_current = marks == _as_one(seen.marks)
        guard.count("hit" if is_current else "outdated")
        return body if is_current else None

    def _submit(self, one: _Waiting) -> None:
        with self._changing:
            if self._waiting_bytes + len(one.body) <= _MAX_WAITING_BYTES:
                try:
                    self._waiting.put_nowait(one)
                except queue.Full:
                    pass
                else:
                    self._waiting_bytes += len(one.body)
                    if self._keeper is None:
                        self._keeper = threading.Thread(
                            target=self._keep_all, name="shared", daemon=True
                        )
                        self._keeper.start()
                        # A program that was run for this is not to lose the last of it.
                        atexit.register(self.finish, _END_SECONDS)
                    return
        for guard in self._tiers:
            if guard.tier.name in one.marks:
                guard.count("dropped")

    def _keep_all(self) -> None:
        while True:
            one = self._waiting.get()
            try:
                self._keep_one(one)
            except Exception as error:  # noqa: BLE001 - the thread must go on
                report_unexpected(error)
            finally:
                with self._changing:
                    self._waiting_bytes -= len(one.body)
                self._waiting.task_done()

    def _keep_one(self, one: _Waiting) -> None:
        name, group = _name(one.group, one.key), _short(one.group)
        for guard in self._tiers:
            marks = one.marks.get(guard.tier.name)
            if marks is None:
                continue
            entry = self._signer.written(name, marks, one.body)
            if len(entry) > guard.tier.max_bytes:
                guard.count("dropped")
                continue
            is_kept = guard.asked(_kept(group, name, marks, entry))
            if is_kept is not None:
                guard.count("kept" if is_kept else "dropped")


def _kept(group: str, name: str, marks: str, entry: bytes) -> Callable[[Tier], bool]:
    """Return what keeps an entry, unless there was a purge: there is no use in it then."""

    def keep(tier: Tier) -> bool:
        is_current = _as_one(tier.marks([_EVERYTHING, group])) == marks
        if is_current:
            tier.put(group, name, entry)
        return is_current

    return keep


def _cleared(group: str, tier: Tier) -> bool:
    tier.clear(group)
    return True


def _as_one(marks: Sequence[bytes]) -> str:
    return " ".join(word.hex() for word in marks)


def _name(group: str, key: str) -> str:
    return _short(f"{group}\0{key}")


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
