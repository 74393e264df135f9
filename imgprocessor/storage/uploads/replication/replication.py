"""Replication: what is to be copied is noted, copied, and tried again until it worked."""

import contextlib
import errno
import random
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Self, get_args

from imgprocessor.storage.locks import Locks
from imgprocessor.storage.shared.failures import BucketFailed, Conflict
from imgprocessor.storage.uploads.durable import told_of_a_full_disk
from imgprocessor.storage.uploads.replication.outbox import Note, Outbox
from imgprocessor.storage.uploads.store import UPLOAD_IDENT, Damaged, UploadStore
from imgprocessor.storage.usage import DurableCounter

if TYPE_CHECKING:  # they need the extra
    from imgprocessor.storage.uploads.bucket import UploadBucket
    from imgprocessor.storage.uploads.replication.copying import Copier

CopyResult = Literal["copied", "same", "removed", "damaged", "failed"]
"""What came of a copy: `same`, where there was nothing to do; the last two stay in the outbox."""

MOST_NOTES = 5000
"""So many notes are looked at, at most, by who counts them or sweeps."""

_AGAIN_SECONDS = 30.0
"""A note that is so old was lost on its way to whoever copies, or its copy failed."""

OVER_SECONDS = 120.0
"""A change that was begun so long ago is made, or never will be: longer than any takes."""

_MOST_FAILURES = 3
"""After so many a sweep stops: the replica is dead, or what is copied from."""

_SWEEP_SECONDS = 50.0
"""A sweep goes on for so long; the next one with what is left."""

_SILENT_SECONDS = 5.0
"""Where one fails, a process does not ask it again for so long."""

_KNOWN_SECONDS = 10.0
"""Numbers are so old at most: for a listing takes a while."""

_MOST_ROUNDS = 3
"""So often an upload is copied at once, that is changed all the time."""


class ToCopy(NamedTuple):
    """What is left to copy, of as many notes as are looked at."""

    uploads: int
    oldest_seconds: float


class Replication:
    """The way from a change to its copy. What one process left undone another one does."""

    def __init__(
        self,
        first: UploadStore,
        replica: "UploadBucket",
        copier: "Copier",
        outbox: Outbox,
        *,
        unsent: Outbox | None,
        folder: Path,
        complain: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Join the parts.

        Args:
            first: where uploads are kept.
            replica: where copies of them are kept.
            copier: copies from one to the other.
            outbox: where notes are left, beside uploads.
            unsent: where they are left on this node while that fails; None where there is no need.
            folder: of this node, for counts.
            complain: is told in a line what could not be copied, and why.
            clock: in tests another one.
        """
        self.first = first
        self.replica = replica
        self.copier = copier
        self.submit: Callable[[str], object] | None = None
        """Has an upload copied at some time; without, a sweep does."""
        self._outbox = outbox
        self._unsent = unsent
        self._folder = folder
        self._complain = complain
        self._clock = clock
        self._locks = Locks(folder / "locks")
        self._counts = {
            result: DurableCounter(folder / f"{result}.count", self._locks)
            for result in get_args(CopyResult)
        }
        self._silent_until = 0.0
        self._known: tuple[float, ToCopy] | None = None

    def __reduce__(self) -> tuple[Callable[[], Self], tuple[()]]:
        """Another process has parts of its own."""
        make = partial(type(self), unsent=self._unsent, folder=self._folder)
        make = partial(make, complain=self._complain)
        return partial(make, self.first, self.replica, self.copier, self._outbox), ()

    @contextlib.contextmanager
    def noted(self, ident: str) -> Iterator[None]:
        """Leave a note of a change that is made inside; afterwards have it copied.

        Raises:
            FileNotFoundError: no upload may be called so.
            OSError: there is no note.
        """
        word = self.leave(ident)
        try:
            yield
        except FileNotFoundError:  # there was nothing to change
            self.done(ident, word)
            raise
        self.done(ident, word)

    def leave(self, ident: str, *, is_removal: bool = False) -> str:
        """Leave a note of a change, before it is made. Returns its word, raises as `noted` does."""
        if not UPLOAD_IDENT.fullmatch(ident):
            raise FileNotFoundError(errno.ENOENT, "no ident", ident)
        with told_of_a_full_disk():
            return self._outbox.leave(ident, is_removal=is_removal)

    def done(self, ident: str, word: str) -> None:
        """Say that a change was made, and have it copied."""
        with contextlib.suppress(OSError):  # it is made, and has a note
            self._outbox.done(ident, word)
        if self.submit is not None:
            self.submit(ident)

    def noted_removal(self, ident: str, take_out: Callable[[str], bool]) -> bool:
        """Leave a note, take an upload out, and have that copied; return whether there was one. It
        must be possible while the bucket fails, and may be postponed, so that the note is on this
        node until it is done; and on a full disk, without a note.

        Raises:
            OSError: what `take_out` raises.
        """
        here = self._unsent or self._outbox
        word = None
        try:
            word = here.leave(ident, is_removal=True)
        except OSError as error:
            self._complain(f"{ident} is removed, and the replica may not be told: {error}")
        is_taken = take_out(ident)
        with contextlib.suppress(OSError):  # it is done, and has a note
            mine = [note for note in here.of(ident) if note.word == word]
            if word is None:
                self._outbox.done(ident, self._outbox.leave(ident, is_removal=True))
            elif not is_taken:
                here.remove(mine)
            elif self._unsent is None:
                here.done(ident, word)
            else:
                self.send(mine)
        if is_taken and self.submit is not None:
            self.submit(ident)
        return is_taken

    def unsent(self) -> Sequence[Note]:
        """Return the notes of this node of what is over, or was postponed.

        Raises:
            OSError: as `Outbox.notes` does.
        """
        notes = () if self._unsent is None else self._unsent.notes(MOST_NOTES)
        return [note for note in notes if self._age_seconds(note) >= OVER_SECONDS]

    def send(self, notes: Sequence[Note]) -> None:
        """Send notes of this node, once what they are about was done.

        Raises:
            OSError: some are still here.
        """
        for note in notes:
            self._outbox.done(note.ident, note.word)
            if self._unsent is not None:
                self._unsent.remove([note])

    def copy(self, ident: str) -> bool:
        """Copy an upload, if it has notes of changes that were made; return whether all went well.
        What fails is told and counted, and stays in the outbox.
        """
        if time.monotonic() < self._silent_until:
            return False
        try:
            for _ in range(_MOST_ROUNDS):
                notes = self._made(self._outbox.of(ident))
                if not notes:
                    break
                is_removed = any(note.is_removal for note in notes)
                self._count(self.copier.copy(ident, is_removed=is_removed))
                self._outbox.remove(notes)
        except OSError as error:
            self._count("damaged" if isinstance(error, Damaged) else "failed")
            self._fall_silent(error)
            self._complain(f"{ident} is not copied to {self.replica.url} yet: {error}")
            return False
        return True

    def is_noted_removed(self, ident: str) -> bool:
        """Return whether there is a note that an upload was removed.

        Raises:
            OSError: nobody knows at this moment.
        """
        return any(note.is_removal for note in self._outbox.of(ident))

    def remove_soon(self, ident: str) -> None:
        """Have the replica know at once of a removal, where it answers within a second."""
        if time.monotonic() < self._silent_until:
            return
        try:
            self.copier.remove(ident)
        except OSError as error:  # there is a note
            self._fall_silent(error)

    def sweep(self, *, again_seconds: float = _AGAIN_SECONDS) -> None:
        """Have what was noted so long ago copied again, in no order; clear away what was left half
        done in the replica. Where it is dead, that costs a few trials.

        Raises:
            OSError: nobody knows what is to be copied, or the replica cannot be cleared.
        """
        with self._locks.held("sweep", 0) as mine:
            if not mine:
                return
            notes = self._made(self._outbox.notes(MOST_NOTES))
            old = {note.ident for note in notes if self._age_seconds(note) >= again_seconds}
            failures, end = 0, time.monotonic() + _SWEEP_SECONDS
            for ident in random.sample(sorted(old), len(old)):
                self._silent_until = 0.0
                if not self.copy(ident):
                    failures += time.monotonic() < self._silent_until
                if failures == _MOST_FAILURES or time.monotonic() > end:
                    return
            for ident in self.replica.taken_out():
                self.replica.clear(ident)
            self.replica.sweep()

    def waiting(self) -> ToCopy:
        """Return what is left to copy, as it was a few seconds ago at most.

        Raises:
            OSError: nobody knows at this moment.
        """
        if self._known is None or time.monotonic() - self._known[0] > _KNOWN_SECONDS:
            notes = [*self._outbox.notes(MOST_NOTES), *self.unsent()]
            oldest = max(map(self._age_seconds, notes), default=0.0)
            waiting = ToCopy(len({note.ident for note in notes}), max(0.0, oldest))
            self._known = time.monotonic(), waiting
        return self._known[1]

    def counts(self) -> dict[str, int]:
        """Return what came of copies on this node.

        Raises:
            OSError: nobody knows at this moment.
        """
        return {result: counter.read() for result, counter in self._counts.items()}

    def _fall_silent(self, error: OSError) -> None:
        if isinstance(error, BucketFailed) and not isinstance(error, Conflict):
            self._silent_until = time.monotonic() + _SILENT_SECONDS

    def _made(self, notes: Sequence[Note]) -> Sequence[Note]:
        """Return the notes of changes that were made, or will never be."""
        done = {note.word for note in notes if note.is_done}
        return [
            note for note in notes if note.word in done or self._age_seconds(note) >= OVER_SECONDS
        ]

    def _age_seconds(self, note: Note) -> float:
        return self._clock() - note.left_seconds

    def _count(self, result: CopyResult) -> None:
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._counts[result].increase()
