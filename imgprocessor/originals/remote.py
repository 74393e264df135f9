"""Originals from elsewhere: fetched when they are asked for, and kept as plain files.

What is known of a picture is kept beside it. A file is written anew only when other bytes came. No
request waits for a host longer than the settings say, and few are fetched at once. How they come is
a `CopyFetcher`'s business: by HTTP from other people's hosts, or from buckets.
"""

import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator

from imgprocessor.config.settings import RemoteSettings
from imgprocessor.errors import (
    ImageError,
    NotFound,
    OriginalsUnavailable,
    OriginBusy,
    OriginFailed,
    OriginTimeout,
)
from imgprocessor.originals.local_copies import Copy, LocalCopies
from imgprocessor.originals.source import (
    Address,
    CopyFetcher,
    CopyRecord,
    HostDown,
    Original,
)
from imgprocessor.storage.entry_format import checksum_of
from imgprocessor.storage.generation import Generation, Generations
from imgprocessor.storage.locks import Locks

_MAX_REMEMBERED = 1024
"""Failures that a process remembers: they take no room on the disk, however many are made up."""

_LEAST_SECONDS = 0.1
"""A request that waited for another one so long that less is left does not begin a fetch."""

QUICK_SECONDS = 2.0
"""So long a bucket may take, where there is something to show, and for requests of which nobody
needs the answer: whether it is there, a folder closed.
"""

_EXCUSED = (OriginFailed, OriginTimeout, OriginBusy, OriginalsUnavailable)
"""While a host fails like this, what is old is used. What it says for sure counts at once."""


class Remote:
    """Originals elsewhere: local copies, and when they are fetched."""

    def __init__(
        self,
        settings: RemoteSettings,
        copies: LocalCopies,
        *,
        generations: Generations,
        fetcher: CopyFetcher,
        complain: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Use copies in the folder of the settings."""
        self._settings = settings
        self._copies = copies
        # Nothing is fetched for these.
        self.id_of, self.shared_id, self.open = copies.id_of, copies.shared_id, copies.open
        self._locks = Locks(settings.folder / "locks")
        self._generations = generations
        self._fetcher = fetcher
        self._complain = complain
        self._clock = clock
        self._failures = _Failures(settings.failed_seconds, generations)

    def find(self, name: str) -> Original:
        """Size up an original. It is fetched where it is not here, or old.

        Raises:
            NotFound: there is none, where it comes from.
            OversizedOriginal: it has too many bytes.
            OriginForbidden, OriginFailed, OriginTimeout: it cannot be fetched from its host.
            OriginalsUnavailable: it cannot be fetched from a bucket.
            OriginBusy: too many are being fetched at this moment.
        """
        address = self._copies.address(name)
        copy = self._copies.copy(address.id)
        if copy is not None and self._is_fresh(copy):
            return copy.original
        try:
            return self._renewed(address, copy)
        except _EXCUSED:
            if copy is None or not self._may_be_used(copy):
                raise
            return copy.original

    def at_hand(self, name: str) -> Original | None:
        """Size up the copy that is here, be it old or not. Raises as `id_of` does."""
        copy = self._copies.copy(self.id_of(name))
        return None if copy is None else copy.original

    def asking(self) -> contextlib.AbstractContextManager[None]:
        """Be one of those who ask for something else from where originals come, without waiting.

        Raises:
            OriginBusy: there are enough.
        """
        return self._slot("others who ask", self._settings.max_fetches)

    def forget(self, name: str) -> int:
        """Have an original asked for anew. Raises as `Source.forget` does."""
        address = self._copies.address(name)
        self._failures.forget(address.id)
        self._failures.forget(address.origin)
        return self._copies.remove(address.id)

    def forget_all(self) -> int:
        """Have all originals asked for anew. Raises as `Source.forget_all` does."""
        self._failures.clear()
        return self._copies.forget_all()

    def _age(self, copy: Copy) -> float:
        """Return how long ago it was asked after; clocks go back, and then it counts as old."""
        age = self._clock() - copy.record.asked_at
        return age if age >= 0 else copy.record.fresh_seconds

    def _is_fresh(self, copy: Copy) -> bool:
        return self._age(copy) < copy.record.fresh_seconds

    def _may_be_used(self, copy: Copy) -> bool:
        return self._age(copy) < copy.record.fresh_seconds + self._settings.max_stale_seconds

    def _renewed(self, address: Address, copy: Copy | None) -> Original:
        """Ask for it, alone over all processes."""
        self._failures.check(address.id, address.origin)
        generation = self._generations.current()
        until = time.monotonic() + self._settings.total_seconds
        # A request that has something to show need not wait for another one.
        usable = copy is not None and self._may_be_used(copy)
        patience = 0 if usable else self._settings.total_seconds
        with contextlib.ExitStack() as stack:
            # Before the wait for another request that fetches the same: each keeps a thread.
            most = self._settings.max_fetches
            if self._fetcher.waits:
                stack.enter_context(self._slot("buckets, and the wait for them", 2 * most))
            else:
                stack.enter_context(self._slot("all", most))
            if not stack.enter_context(self._copies.turn(address.id, patience)):
                raise OriginBusy(f"{address.id} is being fetched")
            now = self._copies.copy(address.id)
            if now is not None and self._is_fresh(now):
                return now.original
            self._failures.check(address.id, address.origin)
            if self._fetcher.waits:
                self._enter_in_turn(stack, address, 0 if usable else until - time.monotonic())
            else:
                host = f"host {address.host}"
                stack.enter_context(self._slot(host, self._settings.max_host_fetches))
            seconds = until - time.monotonic()
            if usable and self._fetcher.waits:
                seconds = min(seconds, QUICK_SECONDS)
            if seconds < _LEAST_SECONDS:
                raise OriginBusy(f"{address.id} took all of the time to wait for")
            return self._fetched(address, now, generation, seconds)

    def _enter_in_turn(
        self, stack: contextlib.ExitStack, address: Address, wait_seconds: float
    ) -> None:
        """Wait for a slot. Of an origin that was down, until something came of it again, there is
        but one, and nobody waits for that: each request would find out by itself, with a thread
        each, how slow it is.
        """
        if self._failures.is_known(address.origin):
            probe = self._copies.turn(address.origin, 0)
            if not stack.enter_context(probe):
                self._failures.repeat(address.origin)
        else:
            most = self._settings.max_fetches
            stack.enter_context(self._slot("buckets", most, wait_seconds))

    def _fetched(
        self, address: Address, copy: Copy | None, generation: Generation, seconds: float
    ) -> Original:
        try:
            known = None if copy is None else copy.record
            came = self._fetcher.copy(address, known, seconds=seconds)
        except HostDown as error:
            self._failures.remember(error.origin, error.error)
            raise error.error from error
        except NotFound as error:
            self._failures.forget(address.origin)
            self._failures.remember(address.id, error, self._fetcher.missing_seconds)
            with contextlib.suppress(OSError):
                self._copies.remove(address.id)
            raise
        except OriginBusy:
            raise
        except ImageError as error:
            self._failures.remember(address.id, error)
            raise
        self._failures.forget(address.origin)
        asked_at = self._clock()
        if copy is not None and came.body is None:
            asked = copy.record._replace(asked_at=asked_at, fresh_seconds=came.fresh_seconds)
            self._copies.write_down(address.id, asked, generation)
            return copy.original
        body = came.body or b""
        record = CopyRecord(
            source=came.source,
            checksum=checksum_of([body]),
            etag=came.etag,
            last_modified=came.last_modified,
            asked_at=asked_at,
            fresh_seconds=came.fresh_seconds,
            modified_ns=came.modified_ns,
        )
        return self._copies.keep(address.id, record, body, generation)

    @contextlib.contextmanager
    def _slot(self, what: str, most: int, wait_seconds: float = 0) -> Iterator[None]:
        """Be one of so many at this moment, over all processes.

        Raises:
            OriginBusy: there are enough.
        """
        with contextlib.ExitStack() as stack:
            try:
                slots = [f"slot {n} of {what}" for n in range(most)]
                mine = self._locks.acquire_any(slots, wait_seconds)
            except OSError as error:
                self._complain(f"{self._settings.folder}: nobody counts fetches: {error.strerror}")
            else:
                if mine is None:
                    raise OriginBusy(f"{most} fetches at once: {what}")
                stack.callback(mine.release)
            yield


class _Failures:
    """What could not be fetched a moment ago, so that it is not asked for again by each request."""

    def __init__(self, seconds: float, generations: Generations) -> None:
        self._seconds = seconds
        self._generations = generations
        self._began = generations.stamp()
        # No error itself: its traceback would keep what was received of a body.
        self._until: OrderedDict[str, tuple[float, type[ImageError], str]] = OrderedDict()
        self._lock = threading.Lock()

    def remember(self, what: str, error: ImageError, seconds: float | None = None) -> None:
        until = time.monotonic() + (self._seconds if seconds is None else seconds)
        with self._lock:
            self._until[what] = until, type(error), str(error)
            self._until.move_to_end(what)
            while len(self._until) > _MAX_REMEMBERED:
                self._until.popitem(last=False)

    def check(self, *names: str) -> None:
        """Raise what was raised a moment ago, unless something was purged since: by whichever
        process.
        """
        if not self._until:
            return
        began = self._generations.stamp()
        if began != self._began:
            self._began = began
            self.clear()
        for name in names:
            with self._lock:
                until, kind, text = self._until.get(name, (0.0, ImageError, ""))
            if time.monotonic() < until:
                raise kind(f"{text} (a moment ago)")

    def is_known(self, what: str) -> bool:
        """Whether something failed, however long ago, and was not forgotten since."""
        with self._lock:
            return what in self._until

    def repeat(self, what: str) -> None:
        """Raise what was raised, however long ago."""
        with self._lock:
            _, kind, text = self._until.get(what, (0.0, OriginBusy, what))
        raise kind(f"{text} (a moment ago)")

    def forget(self, what: str) -> None:
        with self._lock:
            self._until.pop(what, None)

    def clear(self) -> None:
        with self._lock:
            self._until.clear()
