"""A job: one rendition to be made from one original; and making it, in this process."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, Protocol

from imgprocessor.errors import OriginalsUnavailable
from imgprocessor.images.compression.unchanged import OriginalFile
from imgprocessor.images.pipeline import Rendition, render
from imgprocessor.originals.source import Original
from imgprocessor.policy.plan import Plan
from imgprocessor.rendering.check import Check, Checked
from imgprocessor.rendering.masters import Masters, MasterSource
from imgprocessor.reporting import trace_id
from imgprocessor.storage.generation import Generation
from imgprocessor.timing import Timings


@dataclass(frozen=True)
class Job:
    """What is to be made. Can be handed to another process."""

    original: Original
    plan: Plan
    timings: Timings
    """What the time went to so far."""
    generation: Generation
    """The one that the answer was begun in: nothing is kept of what was purged since."""
    has_sizes: bool = False
    """Whether the original is an upload that keeps sizes, of which this is one."""
    takes_place: bool = True
    """Whether it counts among the jobs that admission control lets in."""
    is_behind: bool = False
    """Whether nobody waits for it: it is done at a lower priority."""
    trace_id: str = field(default_factory=trace_id)
    """Of the request that it is for, as logs have it."""

    @property
    def makes_masters(self) -> bool:
        """Whether masters are made at once, because other renditions of the same original are
        wanted, or nobody waits; otherwise they are made if this is not the first.
        """
        return self.has_sizes or self.is_behind


class Call(NamedTuple):
    """What a worker is handed."""

    job: Job | Check
    may_be_called_off: bool
    """Whether the worker is to say which process it is."""


@dataclass(frozen=True)
class Rendered:
    """What became of a job."""

    rendition: Rendition
    original: Original
    """As it was when its pixels were read."""
    source: MasterSource
    timings: Timings


class Renderer(Protocol):
    """What makes renditions: this process, or workers."""

    def require_place(self) -> None:
        """Look whether a job would be taken now, where that costs nothing.

        Raises:
            Overloaded: it would not.
        """

    def render(self, job: Job) -> Rendered:
        """Make a rendition.

        Raises:
            ImageError: it cannot be made.
        """

    def check(self, job: Check) -> Checked:
        """Check a file on its way in.

        Raises:
            ImageError: it is not taken.
        """


class DirectRenderer:
    """Makes renditions in this process."""

    def __init__(self, masters: Masters, decoded: Callable[[], None] = lambda: None) -> None:
        """Use masters; call `decoded` once the original is decoded, before the rest is done."""
        self._masters = masters
        self._decoded = decoded

    def require_place(self) -> None:
        """Refuse nothing: each thread of this process waits for its turn."""

    def render(self, job: Job) -> Rendered:
        """Make a rendition.

        Raises:
            ImageError: as `Masters.found` does.
        """
        found = self._masters.found(
            job.original, job.plan, job.timings, job.generation, makes_masters=job.makes_masters
        )
        with found as master:
            self._decoded()
            file = OriginalFile(master.original.size_bytes, partial(_bytes_of, master.original))
            rendition = render(master.picture, job.plan, job.timings, file)
            return Rendered(rendition, master.original, master.source, job.timings)

    def check(self, job: Check) -> Checked:
        """Check a file on its way in.

        Raises:
            ImageError: as `Masters.checked` does.
        """
        return self._masters.checked(job)


def _bytes_of(original: Original) -> bytes:
    with original.source.open(original) as (file, really):
        if really != original:
            raise OriginalsUnavailable(f"{original.id} was replaced")
        return file.read()
