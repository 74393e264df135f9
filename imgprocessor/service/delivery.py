"""The request's path, as one straight line: from a query string and headers to a picture.

Knows the parts, not the web: the web server and the command line both call it.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from imgprocessor.config.settings import PixelsSettings
from imgprocessor.errors import Busy, NotFound
from imgprocessor.images.pipeline import Rendition
from imgprocessor.originals.source import Original, Source, group_of
from imgprocessor.policy.imagekey import etag, name_in
from imgprocessor.policy.table import Policy
from imgprocessor.rendering.job import Job, Renderer
from imgprocessor.rendering.masters import Masters
from imgprocessor.rendering.renditions import Renditions
from imgprocessor.request.hints import Hints
from imgprocessor.service.understanding import Planned, Reading, Understanding, Understood
from imgprocessor.storage.generation import Generation, Generations
from imgprocessor.storage.locks import Locks
from imgprocessor.timing import Timings

AnswerSource = Literal["original", "master", "store"]


@dataclass(frozen=True)
class Found:
    """A planned answer whose original is there, not opened yet."""

    planned: Planned
    original: Original
    timings: Timings
    """What the time went to so far; whatever is done next is added."""
    began: Generation
    """When it was begun: what was purged since then may be what was found."""

    @property
    def etag(self) -> str:
        """The strong validator of the picture."""
        return etag(self.planned.imagekey, self.original.validator)


@dataclass(frozen=True)
class Answer:
    """A picture, and where it came from."""

    found: Found
    """With the original as it was when its pixels were read: it may have been replaced since."""
    rendition: Rendition
    source: AnswerSource
    is_cheaper: bool = False
    """Whether it is a picture for a worse bandwidth, for want of time to make the right one."""


class Delivery:
    """Answers requests for pictures."""

    def __init__(
        self,
        *,
        policy: Policy,
        sources: Mapping[str, Source],
        hosts: Sequence[str],
        pixels: PixelsSettings,
        masters: Masters,
        renderer: Renderer,
        renditions: Renditions,
        generations: Generations,
        locks: Locks,
        cheaper_when_overloaded: bool,
        single_flight_seconds: float,
    ) -> None:
        """Use sources by the schemes of the names that they know, "" for names without; originals
        are fetched from `hosts` alone.
        """
        self._policy = policy
        self._sources = sources
        self._masters = masters
        self._renderer = renderer
        self._renditions = renditions
        self._generations = generations
        self._locks = locks
        self._cheaper_when_overloaded = cheaper_when_overloaded
        self._single_flight_seconds = single_flight_seconds
        self._understanding = Understanding(policy, hosts, pixels)
        self.understand = self._understanding.understand
        self.plan = self._understanding.plan

    def find(self, request: Understood) -> Found:
        """Do all that needs no pixels: enough for a HEAD or a 304.

        Raises:
            ImageError: as `Reading.require` and `Source.find` do.
        """
        timings, began = Timings(), self.generation()
        with timings.timed("find"):
            planned, original = self._first_there(request.readings)
        return Found(planned, original, timings, began)

    def _first_there(self, readings: Sequence[Reading]) -> tuple[Planned, Original]:
        for reading in readings[:-1]:
            with contextlib.suppress(NotFound):
                return self._planned_and_found(reading)
        return self._planned_and_found(readings[-1])

    def _planned_and_found(self, reading: Reading) -> tuple[Planned, Original]:
        planned, name = reading.require(), reading.parsed.query.original
        return planned, self._source_of(name).find(name)

    def _source_of(self, name: str) -> Source:
        """Return where an original comes from: no file's name has a scheme, nor any `//`."""
        scheme, separator, _ = name.partition("://")
        source = self._sources.get(scheme if separator else "")
        if source is None:
            raise NotFound(f"{name!r}: there are no such originals here")
        return source

    def generation(self) -> Generation:
        """Return this moment, to know later whether something was purged since."""
        return self._generations.current()

    def kept(self, found: Found) -> Answer | None:
        """Return the answer if it was made before."""
        with found.timings.timed("store"):
            rendition = self._renditions.get(found.original, found.planned.imagekey)
        return None if rendition is None else Answer(found, rendition, "store")

    def answer(self, found: Found, *, takes_place: bool = True) -> Answer:
        """Return the answer that was made before; make and keep it otherwise, once for all equal
        requests of this moment (single flight). Without `takes_place` it is made beside all jobs
        that admission control lets in.

        Raises:
            Busy: another request is making it, and that takes too long.
            ImageError: as `Renderer.require_place` and `Renderer.render` do.
        """
        kept = self.kept(found)
        if kept is not None:
            return kept
        if takes_place:
            self._renderer.require_place()
        with self._alone(found):
            kept = self.kept(found)
            if kept is not None:
                return kept
            answer = self.render(found, takes_place=takes_place)
            with found.timings.timed("store"):
                key = found.planned.imagekey
                self._renditions.put(answer.found.original, key, answer.rendition, found.began)
        return answer

    def render(self, found: Found, *, takes_place: bool = True) -> Answer:
        """Make the picture, whether it was made before or not; `takes_place` as in `answer`.

        Raises:
            ImageError: as `Renderer.render` does.
        """
        job = Job(found.original, found.planned.plan, found.timings, found.began, takes_place)
        made = self._renderer.render(job)
        return Answer(replace(found, original=made.original), made.rendition, made.source)

    def cheaper(self, hints: Hints, found: Found) -> Answer | None:
        """Return what is kept for a worse bandwidth, the best there is: for a client who would get
        nothing, because there is too much to do. None where there is none, or the operator wants
        no such thing.
        """
        if not self._cheaper_when_overloaded:
            return None
        names = [known.name for known in self._policy.bandwidths]
        worse = names[: names.index(found.planned.decision.bandwidth)]
        for bandwidth in reversed(worse):
            planned = self.plan(replace(found.planned.query, bandwidth=bandwidth), hints)
            answer = self.kept(replace(found, planned=planned))
            if answer is not None:
                return replace(answer, is_cheaper=True)
        return None

    def purge(self, name: str) -> int:
        """Forget all that was made from an original; return how many files that were.

        The original may have gone already.

        Raises:
            NotFound: no original may be called so.
            OSError: something cannot be removed.
        """
        source = self._source_of(name)
        group = group_of(source.id_of(name))
        return self._forget(
            partial(source.forget, name),
            partial(self._masters.purge, group),
            partial(self._renditions.purge, group),
        )

    def purge_imagekey(self, key: str) -> int:
        """Forget one rendition; return how many files that were: one for each version of its
        original.

        Raises:
            BadQuery: no imagekey is like that.
            NotFound, OSError: as `purge` does.
        """
        name = name_in(key)
        group = group_of(self._source_of(name).id_of(name))
        return self._forget(partial(self._renditions.purge_imagekey, group, key))

    def purge_all(self) -> int:
        """Forget all that was ever made; return how many files that were.

        Raises:
            OSError: something cannot be removed; everything else is.
        """
        originals = [source.forget_all for source in {*self._sources.values()}]
        return self._forget(*originals, self._masters.purge_all, self._renditions.purge_all)

    def _forget(self, *removals: Callable[[], int]) -> int:
        """Remove in order of dependence: originals, then masters, then renditions.

        A request that begins during a removal may still find what is about to go, so each removal
        is followed by a new generation: what was made of old masters is not kept after that, and
        if it was kept before, it is removed with the renditions.
        """
        removed = 0
        failed: OSError | None = None
        for remove in removals:
            self._generations.begin()
            try:
                removed += remove()
            except OSError as error:
                failed = failed or error
        self._generations.begin()
        if failed is not None:
            raise failed
        return removed

    @contextlib.contextmanager
    def _alone(self, found: Found) -> Iterator[None]:
        name = f"rendition {found.original.identity} {found.planned.imagekey}"
        patience = found.timings.left_of(self._single_flight_seconds)
        with contextlib.ExitStack() as stack:
            with found.timings.timed("wait"):
                mine = stack.enter_context(self._locks.held_if_possible(name, patience))
            if not mine:
                raise Busy
            yield
