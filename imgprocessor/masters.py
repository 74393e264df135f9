"""Reduced copies of an original, from which renditions are made without decoding it again.

A master is the original at one level, its pixels as they were decoded, bit by bit: so a rendition
has the same bytes whether its master was kept or has just been decoded. Masters are kept in the
background, and an original is decoded by one process at a time.
"""

import base64
import contextlib
import json
import queue
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from PIL import Image

from imgprocessor.decode import DECODED_BY, Facts, Picture, at_level, open_original, reduced
from imgprocessor.errors import Busy
from imgprocessor.gate import Gate, Pass
from imgprocessor.geometry import Size
from imgprocessor.levels import Level
from imgprocessor.originals import Original, Originals
from imgprocessor.plan import Plan
from imgprocessor.purges import Mark
from imgprocessor.settings import OriginalsSettings
from imgprocessor.store import Scratch, Store
from imgprocessor.timing import Timings

Source = Literal["original", "master"]

_SHAPE = struct.Struct("<4sII4x")
"""Layout, width, height; the pixels follow, row by row, without gaps."""

_LAYOUTS = {"RGB": "RGBX"}
"""Pillow has four bytes for each pixel in memory. Kept like that, a third of the space is lost, and
a master need not be unpacked: 0.7 ms a megapixel, a fifth of a small rendition's time.
"""

_AS_THEY_LIE = {"L", "RGBX", "RGBA", "CMYK"}
"""Layouts in which Pillow can use memory that is not its own."""

_MUCH_MEMORY_BYTES = 64_000_000
"""What a progressive JPEG of 21 megapixels takes, or of 10 whose colours are not reduced, and a
picture of 16 whose decoder cannot reduce.
"""

_ROWS = 64
"""Written at once: half a megabyte stays in the processor's cache, and takes no further memory."""

_QUEUE_SECONDS = 0.05
"""A visitor waits no longer for the master of the original before theirs to be written."""


@dataclass(frozen=True)
class Found:
    """A picture that renditions can be made from."""

    picture: Picture
    source: Source
    original: Original
    """As it was when its pixels were read."""


@dataclass(frozen=True)
class _Job:
    """Pixels to be kept."""

    original: Original
    facts: Facts
    decoded: list[Image.Image]
    """One picture; a list, so that it can be taken out and freed before its levels are written."""
    levels: list[Level]
    """Those to keep, the largest first."""
    lock: Pass
    began: Mark | None


class Masters:
    """Pictures at the levels that plans want, kept or decoded."""

    def __init__(
        self,
        store: Store,
        gate: Gate,
        limits: OriginalsSettings,
        *,
        wait_seconds: float,
        report: Callable[[BaseException], None],
    ) -> None:
        """Use a store for pixels; `report` is told what should not happen in the background."""
        self._store = store
        self._gate = gate
        self._limits = limits
        self._wait_seconds = wait_seconds
        self._working = threading.Lock()
        self._report = report
        self._scratch = Scratch()
        self._jobs: queue.Queue[_Job] = queue.Queue()
        self._idle = threading.Semaphore()
        self._starting = threading.Lock()
        self._keeper: threading.Thread | None = None

    @contextlib.contextmanager
    def found(
        self,
        original: Original,
        originals: Originals,
        plan: Plan,
        timings: Timings,
        began: Mark | None = None,
    ) -> Iterator[Found]:
        """Yield the picture that a plan's rendition is made from; it is only good inside, and this
        process works on no other meanwhile. It is kept unless a purge came since it `began`.

        Raises:
            ImageError: as `Originals.open`, `open_original` and `Opened.decode` do.
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
                    found = self._decoded(
                        original, originals, plan, timings, lock=lock, mine=mine, began=began
                    )
                lock.close()  # others need not wait until this one is encoded, too
            yield found

    def purge(self, group: str) -> int:
        """Remove all that was made from an original; return how many files."""
        return self._store.purge(group)

    def purge_all(self) -> int:
        """Remove everything; return how many files."""
        return self._store.purge_all()

    def finish(self) -> None:
        """Wait until all that was decoded is kept: for tests, and before a process ends."""
        self._jobs.join()

    def _kept(self, original: Original, plan: Plan, timings: Timings) -> Found | None:
        with timings.timed("master"):
            content = self._store.get(original.group, _facts_key(original))
            if content is None:
                return None
            facts = _facts(content)
            level = facts.choose_level(plan)
            pixels = self._store.get(original.group, _level_key(original, level), self._scratch)
            if pixels is None:
                return None
            return Found(Picture(facts, level, _image(pixels)), "master", original)

    def _decoded(
        self,
        original: Original,
        originals: Originals,
        plan: Plan,
        timings: Timings,
        *,
        lock: contextlib.ExitStack,
        mine: Pass | None,
        began: Mark | None,
    ) -> Found:
        """Decode, and have it kept where the lock is `mine`; whoever does so then releases it."""
        with originals.open(original) as (file, really):
            opened = open_original(file, self._limits)
            facts, level = opened.facts, opened.facts.choose_level(plan)
            memory_bytes = opened.memory_bytes(level.draft)
            with self._room_for(memory_bytes, timings), timings.timed("decode"):
                image = opened.decode(level.draft)
                del opened  # with the whole picture, where its decoder cannot reduce
        with timings.timed("reduce"):
            picture = Picture(facts, level, at_level(image, facts.stored, level))
        levels = facts.levels_to_keep(level)
        if mine is not None and levels:
            job = _Job(really, facts, [image], levels, mine, began)
            if self._hand_over(job):
                lock.pop_all()
        return Found(picture, "original", really)

    def _lock(self, original: Original, timings: Timings) -> Pass | None:
        """Wait for whoever decodes this original; None where that takes too long, or nothing can
        be locked: then it is decoded once more, and not kept.
        """
        if not self._store.keeps:
            return None
        with contextlib.suppress(OSError):
            patience = timings.left_of(self._wait_seconds)
            return self._gate.enter(f"master {_facts_key(original)}", patience)
        return None

    @contextlib.contextmanager
    def _room_for(self, memory_bytes: int, timings: Timings) -> Iterator[None]:
        """Of originals that take much memory only one is decoded at a time, over all processes."""
        with contextlib.ExitStack() as stack:
            if memory_bytes > _MUCH_MEMORY_BYTES:
                with contextlib.suppress(OSError), timings.timed("wait"):
                    patience = timings.left_of(self._wait_seconds)
                    if not stack.enter_context(self._gate.held("memory", patience)):
                        raise Busy("another large original is being decoded")
            yield

    def _hand_over(self, job: _Job) -> bool:
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

    def _keep_one(self, job: _Job) -> None:
        group = job.original.group
        facts = _facts_bytes(job.facts)
        self._store.put(group, _facts_key(job.original), len(facts), [facts], job.began)
        for level, image in _at_levels(job):
            self._store.put(group, _level_key(job.original, level), *_pixels(image), job.began)


def _at_levels(job: _Job) -> list[tuple[Level, Image.Image]]:
    """Take what was decoded out of a job; return it at each level to keep."""
    halved = decoded = job.decoded.pop()
    found, reduce = [], 1
    for level in job.levels:
        if level.base is None:
            halved, reduce = reduced(halved, level.reduce // reduce), level.reduce
            found.append((level, halved))
        else:
            found.append((level, at_level(decoded, job.facts.stored, level)))
    return found


def _facts_key(original: Original) -> str:
    return f"{original.identity} {DECODED_BY}"


def _level_key(original: Original, level: Level) -> str:
    return f"{original.identity} {DECODED_BY} {level}"


def _facts_bytes(facts: Facts) -> bytes:
    return json.dumps(
        {
            "stored": [facts.stored.width, facts.stored.height],
            "orientation": facts.orientation,
            "profile": base64.b64encode(facts.profile).decode(),
            "copyright": facts.copyright,
        }
    ).encode()


def _facts(content: memoryview) -> Facts:
    known = json.loads(bytes(content))
    return Facts(
        stored=Size(*known["stored"]),
        orientation=known["orientation"],
        profile=base64.b64decode(known["profile"]),
        copyright=tuple((tag, text) for tag, text in known["copyright"]),
    )


def _pixels(image: Image.Image) -> tuple[int, Iterator[bytes]]:
    """Return how many bytes a picture is kept as, and the bytes, a few rows at a time."""
    layout = _LAYOUTS.get(image.mode, image.mode)
    width, height = image.size

    def parts() -> Iterator[bytes]:
        yield _SHAPE.pack(layout.encode(), width, height)
        for top in range(0, height, _ROWS):
            rows = image.crop((0, top, width, min(top + _ROWS, height)))
            yield rows.tobytes("raw", layout)

    return _SHAPE.size + width * height * len(layout), parts()


def _image(content: memoryview) -> Image.Image:
    """Return an image that lies where its pixels were read to, where Pillow's layout allows it."""
    layout, width, height = _SHAPE.unpack_from(content)
    mode = layout.rstrip(b"\0").decode()
    # Any buffer will do; only Pillow's types do not say so.
    pixels: Any = content[_SHAPE.size :]
    if mode in _AS_THEY_LIE:
        return Image.frombuffer(mode, (width, height), pixels, "raw", mode, 0, 1)
    return Image.frombytes(mode, (width, height), pixels)
