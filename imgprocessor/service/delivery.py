"""The request's path, as one straight line: from a query string and headers to a picture.

Knows the parts, not the web: the web server and the command line both call it.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from imgprocessor.errors import (
    BadQuery,
    Busy,
    ImageError,
    NotFound,
    OriginalsUnavailable,
    OriginBusy,
    UnsupportedOriginal,
)
from imgprocessor.images.pipeline import Rendition
from imgprocessor.originals.pages import Previews
from imgprocessor.originals.source import Original
from imgprocessor.policy.imagekey import etag, name_in
from imgprocessor.policy.plan import Plan
from imgprocessor.policy.table import Policy
from imgprocessor.rendering.job import Job, Rendered, Renderer
from imgprocessor.rendering.masters import Masters
from imgprocessor.rendering.renditions import Renditions
from imgprocessor.request.hints import Hints
from imgprocessor.request.parameters import ImageQuery
from imgprocessor.service.kept_sizes import KeptRendition, KeptSizes
from imgprocessor.service.sources import Sources
from imgprocessor.service.understanding import Planned, Reading, Understanding, Understood
from imgprocessor.storage.generation import Generation, Generations
from imgprocessor.storage.locks import Locks
from imgprocessor.storage.shared.entries import Shared
from imgprocessor.timing import Timings

AnswerSource = Literal["original", "master", "store", "shared"]


@dataclass(frozen=True)
class Found:
    """A planned answer whose original is there, not opened yet."""

    planned: Planned
    original: Original
    timings: Timings
    """What the time went to so far; whatever is done next is added."""
    began: Generation
    """When it was begun: what was purged since then may be what was found."""
    kept_name: str | None = None
    """By which name the rendition is kept for good; None where it is not."""
    for_good: KeptRendition | None = None
    """What is kept by it."""
    shared: Shared | None = None
    """By what the rendition may be shared with other nodes; None where it may not be."""

    @property
    def etag(self) -> str:
        """The weak validator of the picture."""
        known = self.planned if self.for_good is None else self.for_good
        return etag(known.imagekey, self.original.validator)


@dataclass(frozen=True)
class Answer:
    """A picture, and where it came from."""

    found: Found
    """With the original as it was when its pixels were read: it may have been replaced since."""
    rendition: Rendition
    source: AnswerSource
    is_cheaper: bool = False
    """Whether it is a picture for a worse bandwidth, for want of time to make the right one."""

    @property
    def is_quick(self) -> bool:
        """Whether a better one is to take its place."""
        return self.found.planned.expects_better(self.rendition)

    @property
    def etag(self) -> str:
        """The validator of this very picture."""
        return f"{self.found.etag}-quick" if self.is_quick else self.found.etag


class Delivery:
    """Answers requests for pictures."""

    def __init__(
        self,
        *,
        policy: Policy,
        sources: Sources,
        understanding: Understanding,
        kept_sizes: KeptSizes | None,
        masters: Masters,
        renderer: Renderer,
        renditions: Renditions,
        generations: Generations,
        locks: Locks,
        cheaper_when_overloaded: bool,
        single_flight_seconds: float,
        previews: Previews,
    ) -> None:
        self._policy = policy
        self._sources = sources
        self._masters = masters
        self._renderer = renderer
        self._renditions = renditions
        self._generations = generations
        self._locks = locks
        self._cheaper_when_overloaded = cheaper_when_overloaded
        self._single_flight_seconds = single_flight_seconds
        self.previews = previews
        self._kept_sizes = kept_sizes
        self._owe: Callable[[Answer], object] | None = None
        self.understand, self.plan = understanding.understand, understanding.plan

    def work_later(self, owe: Callable[[Answer], object]) -> None:
        """Make answers quickly where the policy wants that; `owe` is told whenever one is sent."""
        self._owe = owe

    def find(self, request: Understood) -> Found:
        """Do all that needs no pixels: enough for a HEAD or a 304.

        Raises:
            ImageError: as `Reading.require` and `Source.find` do.
        """
        timings, began = Timings(), self.generation()
        with timings.timed("find"):
            planned, original = self._first_there(request.readings)
        return self._with_what_is_kept(Found(planned, original, timings, began))

    def found(self, planned: Planned) -> Found:
        """Do the same for an answer that is planned already.

        Raises:
            ImageError: as `Source.find` does.
        """
        began = self.generation()
        original = self._sources.find(planned.query.original)
        return self._with_what_is_kept(Found(planned, original, Timings(), began))

    def _with_what_is_kept(self, found: Found) -> Found:
        if self._kept_sizes is None or not found.original.sizes:
            return found
        name = self._kept_sizes.name(found.planned, found.original)
        if name is None:
            return found
        with found.timings.timed("store"):
            for_good = self._kept_sizes.get(name, found.planned)
        return replace(found, kept_name=name, for_good=for_good)

    def as_kept_size(self, request: Understood) -> Understood | None:
        """Return a request that asks for a kept size of an upload as nothing else, or None."""
        for reading in request.readings:
            with contextlib.suppress(ImageError):
                if self._asks_for_kept_size(reading) is not None:
                    return replace(request, readings=(reading,))
        return None

    def _first_there(self, readings: Sequence[Reading]) -> tuple[Planned, Original]:
        """Return what the first reading counts for whose original is there; behind one that is
        refused, or of which nobody knows now, only a kept size does.
        """
        wrong: ImageError = NotFound()
        for reading in readings:
            try:
                if isinstance(wrong, NotFound):
                    return self._planned_and_found(reading)
                kept = self._asks_for_kept_size(reading)
                if kept is not None:
                    return kept
            except NotFound as error:
                wrong = error if isinstance(wrong, NotFound) else wrong
            except (BadQuery, OriginalsUnavailable, OriginBusy) as error:
                wrong = error if isinstance(wrong, NotFound) else wrong
        raise wrong

    def _planned_and_found(self, reading: Reading) -> tuple[Planned, Original]:
        kept = self._asks_for_kept_size(reading)
        if kept is not None:
            return kept
        return reading.require(), self._sources.find(reading.parsed.query.original)

    def _asks_for_kept_size(self, reading: Reading) -> tuple[Planned, Original] | None:
        """Return what is planned, and found, where a kept size of an upload is asked for."""
        planned = reading.if_kept
        if planned is None or self._kept_sizes is None:
            return None
        original = self._sources.find(planned.query.name)
        is_kept = self._kept_sizes.asked(planned.query, original) is not None
        return (planned, original) if is_kept else None

    def generation(self) -> Generation:
        """Return this moment, to know later whether something was purged since."""
        return self._generations.current()

    def kept(self, found: Found) -> Answer | None:
        """Return the answer if it was made before."""
        known = found.for_good
        if known is None or found.planned.expects_better(known.rendition):
            with found.timings.timed("store"):
                kept = self._renditions.get(found.original, found.planned.imagekey)
            if kept is not None:
                return Answer(replace(found, for_good=None), kept, "store")
        return None if known is None else Answer(found, known.rendition, "store")

    def answer(self, found: Found, *, takes_place: bool = True, at_best: bool = False) -> Answer:
        """Return the answer that was made before; make and keep it otherwise, once for all equal
        requests of this moment (single flight). Without `takes_place` it is made beside all jobs
        that admission control lets in. With `at_best` it is none that was made quickly.

        Raises:
            Busy: another request is making it, and that takes too long.
            ImageError: as `Renderer.require_place` and `Renderer.render` do.
        """
        may_be_quick = not at_best and self._owe is not None
        answer = self._good_enough(found, may_be_quick=may_be_quick)
        if answer is None:
            # Where nodes share, another one may have it: nobody is refused before that is known.
            if takes_place and not self._renditions.are_shared:
                self._renderer.require_place()
            with self._alone(found):
                answer = self._good_enough(found, may_be_quick=may_be_quick)
                if answer is None:
                    found, answer = self.looked_for_elsewhere(found)
                if answer is None:
                    if takes_place and self._renditions.are_shared:
                        self._renderer.require_place()
                    plan = found.planned.hurried if may_be_quick else None
                    answer = self.render(found, plan, takes_place=takes_place)
                    with found.timings.timed("store"):
                        self.keep(answer)
        if answer.is_quick and self._owe is not None:
            self._owe(answer)
        return answer

    def _good_enough(self, found: Found, *, may_be_quick: bool) -> Answer | None:
        answer = self.kept(found)
        return None if answer is not None and answer.is_quick and not may_be_quick else answer

    def looked_for_elsewhere(self, found: Found) -> tuple[Found, Answer | None]:
        """Return what another node made, which is kept here then; or None, and `found` with what
        is needed to share what will be made.
        """
        if not self._renditions.are_shared:
            return found, None
        with found.timings.timed("shared"):
            key = found.planned.imagekey
            there, shared = self._renditions.elsewhere(found.original, key, found.began)
        if there is None:
            return replace(found, shared=shared), None
        answer = Answer(found, there, "shared")
        with found.timings.timed("store"):
            self.keep(answer)
        return found, answer

    def make_anew(self, planned: Planned) -> bool:
        """Make a rendition that is kept for good, where what is kept was made otherwise, or nothing
        is; return whether it was made.

        Raises:
            ImageError: as `Source.find` and `Renderer.render` do.
        """
        found = self.found(planned)
        if found.for_good is not None and found.for_good.is_made_for(planned):
            return False
        self.keep(self.render(found))
        return True

    def keep(self, answer: Answer) -> bool:
        """Keep what was made, for good or in the disk cache; return whether it is."""
        found = answer.found
        kept_sizes, name, is_kept = self._kept_sizes, found.kept_name, False
        if kept_sizes is not None and name is not None and found.began.is_current:
            # Where its upload has been removed meanwhile, there is nothing any more to keep it in.
            is_kept = kept_sizes.put(name, found.planned, answer.rendition)
        # What is to be replaced by a better one soon, or is half a picture, is shared by nobody.
        is_final = not answer.is_quick and not answer.rendition.is_damaged
        return is_kept or self._renditions.put(
            found.original,
            found.planned.imagekey,
            answer.rendition,
            found.began,
            found.shared if is_final else None,
        )

    def render(
        self,
        found: Found,
        plan: Plan | None = None,
        *,
        takes_place: bool = True,
        is_behind: bool = False,
    ) -> Answer:
        """Make the picture, whether it was made before or not; the best, but by another plan.

        Raises:
            ImageError: as `Renderer.render` does.
        """
        job = Job(
            found.original,
            plan or found.planned.plan,
            found.timings,
            found.began,
            has_sizes=found.kept_name is not None,
            takes_place=takes_place and not is_behind,  # nobody is refused for its sake
            is_behind=is_behind,
        )
        made = self._rendered(job, found.planned.query)
        return Answer(replace(found, original=made.original), made.rendition, made.source)

    def _rendered(self, job: Job, query: ImageQuery) -> Rendered:
        """Have a picture made; of a document, a page."""
        with contextlib.suppress(UnsupportedOriginal):
            if query.page is None:
                return self._renderer.render(job)
        page = self.previews.require(job.original, query, job.generation)
        made = self._renderer.render(replace(job, original=page))
        return replace(made, original=job.original)

    def cheaper(self, hints: Hints, found: Found) -> Answer | None:
        """Return the best that is kept for a worse bandwidth: for a client who would get nothing.
        None where there is none, or the operator wants no such thing.
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
        groups = self._sources.groups_of(name)
        return self._generations.remove(
            *self._sources.forgetting(name),
            *(partial(self._masters.purge, group) for group in groups),
            *(partial(self._renditions.purge, group) for group in groups),
        )

    @contextlib.contextmanager
    def purging_shared(self, names: Sequence[str] | None, failed: dict[str, str]) -> Iterator[None]:
        """Have no node find what others made of originals of these names, or of any, while all
        purge, nor what was begun before the end; `failed` is told where that failed, and why.
        """
        groups = None if names is None else self._sources.shared_groups_of(names)
        failed |= self._renditions.begin_purge(groups)
        try:
            yield
        finally:
            failed |= self._renditions.end_purge(groups)

    def purge_imagekey(self, key: str) -> int:
        """Forget one rendition, of all versions of its original; return how many files that were.

        Raises:
            BadQuery: no imagekey is like that.
            NotFound, OSError: as `purge` does.
        """
        groups = self._sources.groups_of(name_in(key))
        purge = self._renditions.purge_imagekey
        return self._generations.remove(*(partial(purge, group, key) for group in groups))

    def purge_all(self) -> int:
        """Forget all that was ever made; return how many files that were.

        Raises:
            OSError: something cannot be removed; everything else is.
        """
        originals = self._sources.forgetting_all()
        return self._generations.remove(
            *originals, self._masters.purge_all, self._renditions.purge_all
        )

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
