"""Reduced copies of an original, from which renditions are made without decoding it again.

A master is the original at one level, its pixels as they were decoded, bit by bit: so a rendition
has the same bytes whether its master was kept or has just been decoded. Most originals are seen in
one rendition: of the first it is only noted that it was made, directly from the original. Masters
are made when another is wanted; they are kept in the background, and an original is decoded by one
process at a time.
"""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from imgprocessor.config.settings import OriginalsSettings
from imgprocessor.errors import Busy
from imgprocessor.images.decode import (
    DECODED_BY,
    Metadata,
    Picture,
    Pixels,
    at_level,
    open_original,
)
from imgprocessor.images.master_pixels import (
    at_levels,
    image_from_bytes,
    metadata_from_bytes,
    metadata_to_bytes,
    pixels_to_bytes,
)
from imgprocessor.images.pyramid import Level
from imgprocessor.originals.source import Original
from imgprocessor.policy.plan import Plan
from imgprocessor.rendering.check import Check, Checked, check_file
from imgprocessor.storage.disk_cache import DiskCache, Scratch
from imgprocessor.storage.generation import Generation
from imgprocessor.storage.locks import Lock, Locks
from imgprocessor.timing import Timings

MasterSource = Literal["original", "master"]

_MUCH_MEMORY_BYTES = 64_000_000
"""What a progressive JPEG of 21 megapixels takes, or of 10 whose colours are not reduced, a PNG of
10 and a WebP of 5.
"""

_QUEUE_SECONDS = 0.05
"""A visitor waits no longer for the master of the original before theirs to be written."""


@dataclass(frozen=True)
class FoundMaster:
    """A picture that renditions can be made from."""

    picture: Picture
    source: MasterSource
    original: Original
    """As it was when its pixels were read."""


@dataclass(frozen=True)
class _Pending:
    """Pixels to be kept."""

    original: Original
    metadata: Metadata
    decoded: list[Pixels]
    """One picture, or none where no level is kept; a list, so that it can be taken out and freed
    before its levels are written.
    """
    levels: list[Level]
    """Those to keep, the largest first."""
    lock: Lock
    began: Generation | None


class Masters:
    """Pictures at the levels that plans want, kept or decoded."""

    def __init__(
        self,
        disk_cache: DiskCache,
        locks: Locks,
        limits: OriginalsSettings,
        *,
        wait_seconds: float,
        report: Callable[[BaseException], None],
    ) -> None:
        """Use a store for pixels; `report` is told what should not happen in the background."""
        self._disk_cache = disk_cache
        self._locks = locks
        self._limits = limits
        self._wait_seconds = wait_seconds
        self._working = threading.Lock()
        self._report = report
        self._scratch = Scratch()
        self._jobs: queue.Queue[_Pending] = queue.Queue()
        self._idle = threading.Semaphore()
        self._starting = threading.Lock()
        self._keeper: threading.Thread | None = None

    @contextlib.contextmanager
    def found(
        self,
        original: Original,
        plan: Plan,
        timings: Timings,
        began: Generation | None = None,
        *,
        makes_masters: bool = False,
    ) -> Iterator[FoundMaster]:
        """Yield the picture that a plan's rendition is made from; it is only good inside, and this
        process works on no other meanwhile. It is kept, where it is the second of its original or
        `makes_masters` says so, unless a purge came since it `began`.

        Raises:
            ImageError: as `Source.open`, `open_original` and `Opened.decode` do.
        """
        with contextlib.ExitStack() as stack:
            with contextlib.ExitStack() as first:
                first.enter_context(timings.held(self._working))
                found = self._kept(original, plan, timings)
                if found is not None:
                    stack.push(first.pop_all())
            if found is None:
                lock = stack.enter_context(contextlib.ExitStack())
                with timings.timed("wait"):
                    mine = self._lock(original, timings)
                if mine is not None:
                    lock.callback(mine.release)
                stack.enter_context(timings.held(self._working))
                found = self._kept(original, plan, timings) if mine is not None else None
                if found is None:
                    more = mine is not None and (makes_masters or self._is_seen(original))
                    found = self._decoded(
                        original,
                        plan,
                        timings,
                        is_alone=not more,
                        lock=lock,
                        mine=mine,
                        began=began,
                    )
                lock.close()  # others need not wait until this one is encoded, too
            yield found

    def checked(self, job: Check) -> Checked:
        """Check a file on its way in, as this process decodes all else: one at a time.

        Raises:
            ImageError: as `check_file` does.
        """
        with job.timings.held(self._working):
            return check_file(job, self._limits, lambda size: self._room_for(size, job.timings))

    def purge(self, group: str) -> int:
        """Remove all that was made from an original; return how many files."""
        return self._disk_cache.purge(group)

    def purge_all(self) -> int:
        """Remove everything; return how many files."""
        return self._disk_cache.purge_all()

    def rest(self) -> None:
        """Let go of memory that is kept for the next picture."""
        with self._working:
            self._scratch = Scratch()

    def finish(self) -> None:
        """Wait until all that was decoded is kept: for tests, and before a process ends."""
        self._jobs.join()

    def _kept(self, original: Original, plan: Plan, timings: Timings) -> FoundMaster | None:
        with timings.timed("master"):
            content = self._disk_cache.get(original.group, _metadata_key(original))
            if content is None:
                return None
            metadata = metadata_from_bytes(content)
            level = metadata.choose_level(plan)
            pixels = self._disk_cache.get(
                original.group, _level_key(original, level), self._scratch
            )
            if pixels is None:
                return None
            return FoundMaster(
                Picture(metadata, level, image_from_bytes(pixels)), "master", original
            )

    def _is_seen(self, original: Original) -> bool:
        """Whether a rendition was made of it."""
        return self._disk_cache.get(original.group, _metadata_key(original)) is not None

    def _decoded(
        self,
        original: Original,
        plan: Plan,
        timings: Timings,
        *,
        is_alone: bool,
        lock: contextlib.ExitStack,
        mine: Lock | None,
        began: Generation | None,
    ) -> FoundMaster:
        """Decode, and have it kept where the lock is `mine`; whoever does so then releases it. Of
        what was decoded for one rendition that `is_alone` nothing is kept but that it was made.
        """
        with original.source.open(original) as (file, really):
            opened = open_original(file, self._limits)
            metadata = opened.metadata
            direct = metadata.direct_level(plan) if is_alone else None
            level = direct or metadata.choose_level(plan)
            memory_bytes = opened.memory_bytes(level.draft)
            with self._room_for(memory_bytes, timings), timings.timed("decode"):
                image = opened.decode(level.draft)
                metadata = opened.metadata  # now with what was found on the way
                del opened  # with the whole picture, where its decoder cannot reduce
        with timings.timed("reduce"):
            picture = Picture(metadata, level, at_level(image, metadata.stored, level))
        if mine is not None:
            levels = metadata.levels_to_keep(level) if direct is None else []
            job = _Pending(really, metadata, [image] if levels else [], levels, mine, began)
            if self._hand_over(job):
                lock.pop_all()
        return FoundMaster(picture, "original", really)

    def _lock(self, original: Original, timings: Timings) -> Lock | None:
        """Wait for whoever decodes this original; None where that takes too long, or nothing can
        be locked: then it is decoded once more, and not kept.
        """
        if not self._disk_cache.keeps:
            return None
        with contextlib.suppress(OSError):
            patience = timings.left_of(self._wait_seconds)
            return self._locks.acquire(f"master {_metadata_key(original)}", patience)
        return None

    @contextlib.contextmanager
    def _room_for(self, memory_bytes: int, timings: Timings) -> Iterator[None]:
        """Of originals that take much memory only one is decoded at a time, over all processes."""
        with contextlib.ExitStack() as stack:
            if memory_bytes > _MUCH_MEMORY_BYTES:
                patience = timings.left_of(self._wait_seconds)
                with timings.timed("wait"):
                    mine = stack.enter_context(self._locks.held_if_possible("memory", patience))
                if not mine:
                    raise Busy("another large original is being decoded")
            yield

    def _hand_over(self, job: _Pending) -> bool:
        """Have pixels kept in the background; return whether they will be."""
        if not self._idle.acquire(timeout=_QUEUE_SECONDS):
            return False  # a slow disk must not fill the memory with what waits for it
        try:
            with self._starting:
                if self._keeper is None:
                    keeper = threading.Thread(target=self._keep, name="masters", daemon=True)
                    keeper.start()
                    self._keeper = keeper
        except RuntimeError as error:  # no more threads
            self._idle.release()
            self._report(error)
            return False
        self._jobs.put(job)
        return True

    def _keep(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                self._keep_one(job)
            except Exception as error:  # noqa: BLE001 - the thread must go on
                with contextlib.suppress(Exception):
                    self._report(error)
            finally:
                job.lock.release()
                del job  # or its pixels would stay until the next one comes
                self._idle.release()
                self._jobs.task_done()

    def _keep_one(self, job: _Pending) -> None:
        group = job.original.group
        metadata = metadata_to_bytes(job.metadata)
        self._disk_cache.put(
            group, _metadata_key(job.original), len(metadata), [metadata], job.began
        )
        for level, image in at_levels(job.decoded, job.metadata.stored, job.levels):
            self._disk_cache.put(
                group, _level_key(job.original, level), *pixels_to_bytes(image), job.began
            )


def _metadata_key(original: Original) -> str:
    return f"{original.identity} {DECODED_BY}"


def _level_key(original: Original, level: Level) -> str:
    return f"{original.identity} {DECODED_BY} {level}"
