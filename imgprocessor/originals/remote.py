"""Originals from elsewhere: fetched when they are asked for, and kept as plain files.

What is known of a picture is kept beside it. A file is written anew only when other bytes came, so
its version is the picture's. No request waits for a host longer than the settings say, and few are
fetched at once.
"""

import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from imgprocessor.config.settings import RemoteSettings
from imgprocessor.errors import ImageError, NotFound, OriginBusy, OriginFailed, OriginTimeout
from imgprocessor.originals.fetch import Fetcher, Known
from imgprocessor.originals.freshness import fresh_seconds
from imgprocessor.originals.local_copies import CopyRecord, LocalCopies, url_of
from imgprocessor.originals.source import Original
from imgprocessor.originals.transport import HostDown
from imgprocessor.request.urls import RemoteUrl
from imgprocessor.storage.entry_format import checksum_of
from imgprocessor.storage.generation import Generation, Generations
from imgprocessor.storage.locks import Locks

_MAX_REMEMBERED = 1024
"""Failures that a process remembers: they take no room on the disk, however many are made up."""

_LEAST_SECONDS = 0.1
"""A request that waited for another one so long that less is left does not begin a fetch."""

_EXCUSED = (OriginFailed, OriginTimeout, OriginBusy)
"""While a host fails like this, what is old is used. What it says for sure counts at once."""


@dataclass(frozen=True)
class _Copy:
    """What is here of a URL."""

    original: Original
    record: CopyRecord


class Remote:
    """Originals by URL: local copies, and how they come here."""

    def __init__(
        self,
        settings: RemoteSettings,
        copies: LocalCopies,
        *,
        generations: Generations,
        fetcher: Fetcher,
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
        self._failures = _Failures(settings.failed_seconds)

    def find(self, name: str) -> Original:
        """Size up an original; `name` is its URL. It is fetched where it is not here, or old.

        Raises:
            NotFound: its host says that there is none.
            OversizedOriginal: it has too many bytes.
            OriginForbidden, OriginFailed, OriginTimeout: it cannot be fetched.
            OriginBusy: too many are being fetched at this moment.
        """
        url = url_of(name)
        copy = self._copy(url)
        if copy is not None and self._age(copy) < copy.record.fresh_seconds:
            return copy.original
        try:
            return self._renewed(url, copy)
        except _EXCUSED:
            if copy is None or not self._may_be_used(copy):
                raise
            return copy.original

    def forget(self, name: str) -> int:
        """Have the host of an original asked anew. Raises as `Source.forget` does."""
        url = url_of(name)
        self._failures.forget(str(url))
        self._failures.forget(url.origin)
        return self._copies.forget(name)

    def forget_all(self) -> int:
        """Have all hosts asked anew. Raises as `Source.forget_all` does."""
        self._failures.clear()
        return self._copies.forget_all()

    def _copy(self, url: RemoteUrl) -> _Copy | None:
        record = self._copies.record(str(url))
        if record is not None:
            with contextlib.suppress(ImageError):
                return _Copy(self._copies.find(str(url)), record)
        return None

    def _age(self, copy: _Copy) -> float:
        """Return how long ago its host was asked; clocks go back, and then it counts as old."""
        age = self._clock() - copy.record.asked_at
        return age if age >= 0 else copy.record.fresh_seconds

    def _may_be_used(self, copy: _Copy) -> bool:
        return self._age(copy) < copy.record.fresh_seconds + self._settings.max_stale_seconds

    def _renewed(self, url: RemoteUrl, copy: _Copy | None) -> Original:
        """Ask the host, alone over all processes."""
        self._failures.check(str(url), url.origin)
        generation = self._generations.current()
        until = time.monotonic() + self._settings.total_seconds
        # A request that has something to show need not wait for another one.
        usable = copy is not None and self._may_be_used(copy)
        with contextlib.ExitStack() as stack:
            # Before the wait for another request that fetches the same: each keeps a thread.
            stack.enter_context(self._slot("all", self._settings.max_fetches))
            patience = 0 if usable else self._settings.total_seconds
            if not stack.enter_context(self._copies.turn(str(url), patience)):
                raise OriginBusy(f"{url} is being fetched")
            now = self._copy(url)
            if now is not None and self._age(now) < now.record.fresh_seconds:
                return now.original
            self._failures.check(str(url), url.origin)
            stack.enter_context(self._slot(f"host {url.host}", self._settings.max_host_fetches))
            seconds = until - time.monotonic()
            if seconds < _LEAST_SECONDS:
                raise OriginBusy(f"{url} took all of the time to wait for")
            return self._fetched(url, now, generation, seconds)

    def _fetched(
        self, url: RemoteUrl, copy: _Copy | None, generation: Generation, seconds: float
    ) -> Original:
        try:
            known = None if copy is None else _known(copy.record)
            download = self._fetcher.fetch(url, known, seconds=seconds)
        except HostDown as error:
            self._failures.remember(error.origin, error.error)
            raise error.error from error
        except NotFound as error:
            self._failures.remember(str(url), error)
            with contextlib.suppress(OSError):
                self._copies.forget(str(url))
            raise
        except OriginBusy:
            raise
        except ImageError as error:
            self._failures.remember(str(url), error)
            raise
        now, headers = self._clock(), download.headers
        asked: dict[str, Any] = {
            "asked_at": now,
            "fresh_seconds": fresh_seconds(headers, now, self._settings),
        }
        if copy is not None and download.body is None:
            self._copies.write_down(str(url), replace(copy.record, **asked), generation)
            return copy.original
        body = download.body or b""
        record = CopyRecord(
            source=str(download.url),
            checksum=checksum_of([body]),
            etag=headers.get("etag"),
            last_modified=headers.get("last-modified"),
            **asked,
        )
        return self._copies.keep(str(url), record, body, generation)

    @contextlib.contextmanager
    def _slot(self, what: str, most: int) -> Iterator[None]:
        """Be one of so many at this moment, over all processes, without waiting.

        Raises:
            OriginBusy: there are enough.
        """
        with contextlib.ExitStack() as stack:
            try:
                mine = self._locks.acquire_any([f"slot {n} of {what}" for n in range(most)])
            except OSError as error:
                self._complain(f"{self._settings.folder}: nobody counts fetches: {error.strerror}")
            else:
                if mine is None:
                    raise OriginBusy(f"{most} fetches at once: {what}")
                stack.callback(mine.release)
            yield


class _Failures:
    """What could not be fetched a moment ago, so that it is not asked for again by each request."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        # No error itself: its traceback would keep what was received of a body.
        self._until: OrderedDict[str, tuple[float, type[ImageError], str]] = OrderedDict()
        self._lock = threading.Lock()

    def remember(self, what: str, error: ImageError) -> None:
        with self._lock:
            self._until[what] = time.monotonic() + self._seconds, type(error), str(error)
            self._until.move_to_end(what)
            while len(self._until) > _MAX_REMEMBERED:
                self._until.popitem(last=False)

    def check(self, *names: str) -> None:
        """Raise what was raised a moment ago."""
        for name in names:
            with self._lock:
                until, kind, text = self._until.get(name, (0.0, ImageError, ""))
            if time.monotonic() < until:
                raise kind(f"{text} (a moment ago)")

    def forget(self, what: str) -> None:
        with self._lock:
            self._until.pop(what, None)

    def clear(self) -> None:
        with self._lock:
            self._until.clear()


def _known(record: CopyRecord) -> Known:
    """Return what asks whether a copy is still good."""
    known = {"If-None-Match": record.etag, "If-Modified-Since": record.last_modified}
    return Known(record.source, {name: value for name, value in known.items() if value})
