"""A bucket as a tier: entries that its lifecycle rules expire, and marks that stay."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TookTooLong
from functools import partial

from imgprocessor.config.buckets import BucketsSettings, BucketUrl
from imgprocessor.storage.shared.bucket import Bucket
from imgprocessor.storage.shared.failures import BucketFailed, Denied, ObjectTooLarge
from imgprocessor.storage.shared.tier import MAX_MARK_BYTES, TOTAL_SECONDS, Seen, TierName

_THREADS = 24
"""Three for each of eight who look at once; where more do, they wait, and no longer than for a
bucket that is slow.
"""

_PUT_SECONDS = 5.0
"""Nobody waits for that."""

_MARK_SECONDS = 2.0
"""A purge waits for two of these for each original, and for all nodes between them."""

_NO_MARK = b"-"
"""Nothing was purged yet. What a bucket once had it has still."""

_CLEAR_SECONDS = 3.0
"""An original has some dozen renditions."""


class BucketTier:
    """Entries in a bucket, under `renditions/`; marks under `purges/`."""

    name: TierName = "bucket"
    max_bytes = 32_000_000

    def __init__(self, url: BucketUrl, settings: BucketsSettings) -> None:
        self._reading = Bucket(url, settings, total_seconds=TOTAL_SECONDS)
        self._writing = Bucket(url, settings, total_seconds=_PUT_SECONDS)
        self._marking = Bucket(url, settings, total_seconds=_MARK_SECONDS)
        self._threads: ThreadPoolExecutor | None = None
        self._starting = threading.Lock()

    def check(self) -> None:
        """Look whether requests can be made, as `Bucket.check` does."""
        self._reading.check()

    def look(self, group: str, key: str | None, marks: Sequence[str]) -> Seen:
        """Return an entry and marks, as `Tier.look` says: all at once, in the time of one."""
        asks = [partial(self._mark, mark) for mark in marks]
        if key is not None:
            asks.append(partial(self._entry, group, key))
        asked, until = [*map(self._begun, asks)], time.monotonic() + TOTAL_SECONDS
        try:
            came = [one.result(max(0.0, until - time.monotonic())) for one in asked]
        except TookTooLong as error:
            raise BucketFailed(f"{self._reading.url}: it takes too long") from error
        finally:
            for one in asked:
                one.cancel()  # nobody waits for it
        words, found = came[: len(marks)], None if key is None else came[-1]
        if found is not None and None in words:
            wrong = "marks of purges may not be read, and entries may: give leave for both"
            raise BucketFailed(f"{self._reading.url}: {wrong}")
        return Seen(found, [_NO_MARK if word is None else word for word in words])

    def marks(self, marks: Sequence[str]) -> Sequence[bytes]:
        """Return marks, as `Tier.marks` says."""
        return [self._mark(mark) or _NO_MARK for mark in marks]

    def put(self, group: str, key: str, entry: bytes) -> None:
        """Keep an entry, as `Tier.put` says."""
        self._writing.put(_entry_key(group, key), entry)

    def mark(self, mark: str, word: bytes) -> None:
        """Have a mark be another word, as `Tier.mark` says."""
        with self._named():
            self._marking.put(_mark_key(mark), word)

    def clear(self, group: str) -> None:
        """Remove the entries of a group, as `Tier.clear` says."""
        until = time.monotonic() + _CLEAR_SECONDS
        with self._named():
            for found in list(self._marking.listed(_group_key(group))):
                if time.monotonic() > until:
                    raise BucketFailed(f"{self._marking.url}: not all could be removed in time")
                self._marking.remove(found.key)

    def unbounded(self) -> str:
        """Return nothing: its lifecycle rules are not looked at."""
        return ""

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Have failures name the place, which settings name, in place of a key in it."""
        try:
            yield
        except BucketFailed as error:
            reason = str(error).partition(": ")[2]
            raise BucketFailed(f"{self._marking.url}: {reason}") from error

    def _begun(self, ask: Callable[[], bytes | None]) -> "Future[bytes | None]":
        with self._starting:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="bucket")
        return self._threads.submit(ask)

    def _entry(self, group: str, key: str) -> bytes | None:
        try:
            got = self._reading.get(_entry_key(group, key), max_bytes=self.max_bytes)
        except (FileNotFoundError, Denied):  # of what is not there S3 says that it may not be read
            return None
        except ObjectTooLarge:  # none of ours
            return b""
        return None if got is None else got.body

    def _mark(self, mark: str) -> bytes | None:
        """Return a mark; None where it may not be read, or is not there, where nobody may list."""
        try:
            got = self._reading.get(_mark_key(mark), max_bytes=MAX_MARK_BYTES)
        except FileNotFoundError:
            return _NO_MARK
        except Denied:
            return None
        return None if got is None else got.body


def _group_key(group: str) -> str:
    return f"renditions/{group[:2]}/{group}"


def _entry_key(group: str, key: str) -> str:
    return f"{_group_key(group)}/{key}"


def _mark_key(mark: str) -> str:
    return f"purges/{mark[:2]}/{mark}"
