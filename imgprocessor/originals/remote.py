"""Originals from elsewhere: fetched when they are asked for, and kept as plain files.

What is kept is opened by its path like any other original, so it is as it came; what is known of
it is kept beside it. A file is written anew only when other bytes came, so its version is the
picture's. No request waits for a host longer than the settings say, and few are fetched at once.
"""

import contextlib
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from imgprocessor.config.settings import OriginalsSettings, RemoteSettings
from imgprocessor.errors import (
    ImageError,
    NotFound,
    OriginalsUnavailable,
    OriginBusy,
    OriginFailed,
    OriginTimeout,
)
from imgprocessor.originals.fetch import Fetched, Fetcher, Known
from imgprocessor.originals.folder import Original, Originals
from imgprocessor.originals.freshness import fresh_seconds
from imgprocessor.originals.local_copies import CopyRecord, KeptCopy, LocalCopies, PassingCopy
from imgprocessor.originals.transport import HostDown
from imgprocessor.request.urls import RemoteUrl, read_url
from imgprocessor.storage.entry_format import checksum_of
from imgprocessor.storage.generation import Generation, Generations
from imgprocessor.storage.locks import Locks
from imgprocessor.storage.plain_files import PlainFiles

_PICTURE, _RECORD = "picture", "facts"
"""The keys under which the picture and its record are kept; the group is the URL."""

_MAX_REMEMBERED = 1024
"""Failures that a process remembers: they take no room on the disk, however many are made up."""

_CHUNK_BYTES = 1 << 20

_LEAST_SECONDS = 0.1
"""A request that waited for another one so long that less is left does not begin a fetch."""

_EXCUSED = (OriginFailed, OriginTimeout, OriginBusy)
"""While a host fails like this, what is old is used. What it says for sure counts at once."""


@dataclass(frozen=True)
class _Copy:
    """What is here of a URL."""

    original: KeptCopy
    record: CopyRecord


class Remote(LocalCopies):
    """Originals by URL."""

    def __init__(
        self,
        settings: RemoteSettings,
        limits: OriginalsSettings,
        *,
        disk_cache: PlainFiles,
        generations: Generations,
        fetcher: Fetcher,
        complain: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Use a disk cache in the folder of the settings."""
        self._limits = replace(limits, max_bytes=settings.max_bytes)
        super().__init__(settings.folder, self._limits)
        self._settings = settings
        self._folder = settings.folder
        self._disk_cache = disk_cache
        self._locks = Locks(self._folder / "locks")
        self._generations = generations
        self._fetcher = fetcher
        self._complain = complain
        self._clock = clock
        self._failures = _Failures(settings.failed_seconds)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that originals are fetched from."""
        return self._settings.hosts

    def find(self, name: str) -> Original:
        """Size up an original; `name` is its URL. It is fetched where it is not here, or old.

        Raises:
            NotFound: its host says that there is none.
            OversizedOriginal: it has too many bytes.
            OriginForbidden, OriginFailed, OriginTimeout: it cannot be fetched.
            OriginBusy: too many are being fetched at this moment.
        """
        url = _read(name)
        copy = self._copy(url)
        if copy is not None and self._age(copy) < copy.record.fresh_seconds:
            return copy.original
        try:
            return self._renewed(url, copy)
        except _EXCUSED:
            if copy is None or not self._may_be_used(copy):
                raise
            return copy.original

    def path_of(self, name: str) -> str:
        """Return the path of an original by its URL, be it here or not.

        Raises:
            NotFound: it is no URL.
        """
        return super().path_of(self._place(_read(name)))

    def forget(self, name: str) -> int:
        """Remove an original, so that its host is asked anew; return how many files that were.

        Raises:
            NotFound: it is no URL.
            OSError: it cannot be removed.
        """
        url = _read(name)
        self._failures.forget(str(url))
        self._failures.forget(url.origin)
        return self._disk_cache.purge(str(url))

    def forget_all(self) -> int:
        """Remove all originals from elsewhere; return how many files that were.

        Raises:
            OSError: one of them cannot be removed.
        """
        self._failures.clear()
        return self._disk_cache.purge_all()

    @contextlib.contextmanager
    def open(self, original: Original) -> Iterator[tuple[BinaryIO, Original]]:
        """Open what `find` found; yield the file and the original as it is by now.

        Raises:
            OriginalsUnavailable: it is damaged, or has gone; the next request has it fetched anew.
                Or as `LocalCopies.open` does.
        """
        with super().open(original) as (file, opened):
            if isinstance(original, KeptCopy):
                self._check(original, file)
            yield file, opened

    def for_another_process(self, original: Original) -> Originals:
        """Look whether an original is as it came; return where another process can open it."""
        with self.open(original):
            pass
        return LocalCopies(self._folder, self._limits)

    def _check(self, original: KeptCopy, file: BinaryIO) -> None:
        """Refuse what is damaged; it is removed, so that the next request fetches it anew."""
        checksum = _checksum(file)
        record = self._record(original.url)
        if record is None or record.checksum != checksum:
            # A process that has just fetched another version writes its record in a moment.
            with contextlib.suppress(OSError), self._locks.held(_turn(original.url), 1):
                record = self._record(original.url)
        if record is None:  # purged meanwhile; or damaged, which was noted when it was read
            raise OriginalsUnavailable(f"{original.path} has gone")
        if record.checksum != checksum:
            self._disk_cache.note_damage(f"{original.path} is damaged; it is fetched anew")
            with contextlib.suppress(OSError):
                self._disk_cache.purge(original.url)
            raise OriginalsUnavailable(f"{original.path} is damaged")
        file.seek(0)

    def _copy(self, url: RemoteUrl) -> _Copy | None:
        record = self._record(str(url))
        if record is None:
            return None
        try:
            return _Copy(self._kept(url), record)
        except ImageError:
            return None

    def _record(self, url: str) -> CopyRecord | None:
        content = self._disk_cache.get(url, _RECORD)
        try:
            return None if content is None else CopyRecord(**json.loads(bytes(content)))
        except TypeError:  # of another version of this program
            return None

    def _kept(self, url: RemoteUrl) -> KeptCopy:
        return KeptCopy(**asdict(super().find(self._place(url))), url=str(url))

    def _place(self, url: RemoteUrl) -> str:
        """Return where a picture is kept, under the folder."""
        return str(Path(self._disk_cache.path(str(url), _PICTURE)).relative_to(self._folder))

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
            if not stack.enter_context(self._locks.held_if_possible(_turn(str(url)), patience)):
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
            if copy is None or download.body is not None:
                return self._keep(url, download, download.body or b"", generation)
        except HostDown as error:
            self._failures.remember(error.origin, error.error)
            raise error.error from error
        except NotFound as error:
            self._failures.remember(str(url), error)
            with contextlib.suppress(OSError):
                self._disk_cache.purge(str(url))
            raise
        except OriginBusy:
            raise
        except ImageError as error:
            self._failures.remember(str(url), error)
            raise
        record = replace(copy.record, asked_at=self._clock(), **self._fresh(download))
        self._write_down(url, record, generation)
        return copy.original

    def _keep(
        self, url: RemoteUrl, download: Fetched, body: bytes, generation: Generation
    ) -> Original:
        checksum = checksum_of([body])
        record = CopyRecord(
            source=str(download.url),
            checksum=checksum,
            etag=download.headers.get("etag"),
            last_modified=download.headers.get("last-modified"),
            asked_at=self._clock(),
            **self._fresh(download),
        )
        if self._is_here(url, checksum) or self._disk_cache.put_file(
            str(url), _PICTURE, body, generation
        ):
            self._write_down(url, record, generation)
            with contextlib.suppress(ImageError):  # it is gone again
                return self._kept(url)
        path = self.path_of(str(url))
        return PassingCopy(path, len(body), time.time_ns(), int(checksum[:15], 16), 0, body)

    def _write_down(self, url: RemoteUrl, record: CopyRecord, generation: Generation) -> None:
        content = json.dumps(asdict(record)).encode()
        self._disk_cache.put(str(url), _RECORD, len(content), [content], generation)

    def _fresh(self, download: Fetched) -> dict[str, Any]:
        return {"fresh_seconds": fresh_seconds(download.headers, self._clock(), self._settings)}

    def _is_here(self, url: RemoteUrl, checksum: str) -> bool:
        """Whether the very bytes are kept already: then they keep their version, too."""
        with (
            contextlib.suppress(ImageError, OSError),
            super().open(super().find(self._place(url))) as (file, _),
        ):
            return _checksum(file) == checksum
        return False

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
                self._complain(f"{self._folder}: nobody counts fetches: {error.strerror}")
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


def _read(name: str) -> RemoteUrl:
    try:
        return read_url(name)
    except ValueError as error:
        raise NotFound(f"{name!r}: {error}") from error


def _turn(url: str) -> str:
    return f"fetch {url}"


def _known(record: CopyRecord) -> Known:
    """Return what asks whether a copy is still good."""
    known = {"If-None-Match": record.etag, "If-Modified-Since": record.last_modified}
    return Known(record.source, {name: value for name, value in known.items() if value})


def _checksum(file: BinaryIO) -> str:
    return checksum_of(iter(partial(file.read, _CHUNK_BYTES), b""))
