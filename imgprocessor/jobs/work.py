"""What a job does: by the workers that render on this node, in its turn."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from imgprocessor.config.upload_settings import KeptMetadata
from imgprocessor.errors import (
    NoPreview,
    NoRoom,
    NoSuchPage,
    PageBeingMade,
    UnsupportedOriginal,
    UploadsUnavailable,
)
from imgprocessor.images.pipeline import Rendition
from imgprocessor.jobs.files import JobFiles
from imgprocessor.jobs.previews.making import ByJob, PageElsewhere, PageMaker
from imgprocessor.jobs.records import QUEUES, JobRecord
from imgprocessor.originals.pages import ONE_PAGE
from imgprocessor.originals.source import Original
from imgprocessor.originals.uploads import ident_of
from imgprocessor.rendering.check import Check
from imgprocessor.rendering.job import Job, Renderer
from imgprocessor.request.hints import Hints
from imgprocessor.request.query import parse
from imgprocessor.service.delivery import Answer, Delivery, Found
from imgprocessor.service.turns import Turns
from imgprocessor.service.understanding import Planned
from imgprocessor.timing import Timings

_STALE_SECONDS = 60.0
"""A page that nobody had time for until then may be wanted by nobody any more."""


@dataclass(frozen=True)
class JobWork:
    """The way from what is wanted to a picture."""

    files: JobFiles
    delivery: Delivery
    renderer: Callable[[Callable[[], bool]], Renderer]
    """Makes what renders for a job, as long as somebody wants that."""
    make_sizes: Callable[[str], None]
    """Makes the sizes that an upload keeps."""
    copy: Callable[[str], object]
    """Copies an upload to the replica; what fails is copied by a sweep."""
    drop_masters: Callable[[str], object]
    """Removes masters of an original's group."""
    turns: Turns
    metadata: KeptMetadata
    max_side_pixels: int
    pages: PageMaker | None = None
    """Draws documents; None where none are shown."""

    def planned(self, query: str) -> Planned:
        """Return what a query asks for.

        Raises:
            BadQuery: that makes no sense.
        """
        asked = parse(query, self.max_side_pixels).require()
        return self.delivery.plan(asked, Hints())

    def done(self, record: JobRecord, is_wanted: Callable[[], bool]) -> Rendition | None:
        """Do a job; return the thumbnail, where there is to be one.

        Raises:
            JobOver: it is not wanted any more.
            ImageError: it cannot be done.
        """
        wanted = record.wanted
        planned, rank = self.planned(wanted.query), QUEUES.index(wanted.queue) + 1
        if wanted.kind == "page":
            if record.age_seconds > _STALE_SECONDS:
                return None  # who still wants it has asked again
            with contextlib.suppress(PageElsewhere):
                self._page(record, self.delivery.found(planned).original, planned, is_wanted)
            return None
        if wanted.kind == "sizes":
            self._have_page_of_upload(record, planned, is_wanted)
            self.make_sizes(ident_of(planned.query.name) or "")
            return None
        if wanted.kind == "copy":
            self.copy(ident_of(planned.query.name) or "")
            return None
        if wanted.has_file:
            return self._of_file(record, planned, rank, is_wanted)
        found = self.delivery.found(planned)
        answer = self.delivery.kept(found)
        if answer is None or answer.is_quick:
            # Whoever asks for the picture meanwhile waits for this, so it is not called off.
            try:
                answer = self._answer(found, rank)
            except PageBeingMade:
                self._page(record, found.original, planned, is_wanted)
                answer = self._answer(found, rank)
        return answer.rendition if wanted.keeps_thumbnail else None

    def _answer(self, found: Found, rank: int) -> Answer:
        with self.turns.taken(rank):
            return self.delivery.answer(found, at_best=True)

    def _have_page_of_upload(
        self, record: JobRecord, planned: Planned, is_wanted: Callable[[], bool]
    ) -> None:
        """Have the page there from which an upload's sizes are made, where it is a document."""
        if self.pages is not None:
            document = self.delivery.found(planned).original
            if self.pages.pages.kind(document) is not None:
                self._page(record, document, planned, is_wanted)

    def _page(
        self,
        record: JobRecord,
        document: Original,
        planned: Planned,
        is_wanted: Callable[[], bool],
    ) -> Original:
        """Return a page of a document as an original. Raises as `PageMaker.make` does."""
        if self.pages is None:
            raise NoPreview("Documents are drawn by workers alone.")
        page, renderer = planned.query.page, self.renderer(is_wanted)
        try:
            with self.files.scratch(record.job) as folder:
                by_job = ByJob(folder, renderer, is_wanted, is_private=record.wanted.has_file)
                return self.pages.make(document, page, by_job)
        except (OSError, NoRoom, UploadsUnavailable) as error:
            raise self.pages.failed(document, page, error) from error

    def _of_file(
        self, record: JobRecord, planned: Planned, rank: int, is_wanted: Callable[[], bool]
    ) -> Rendition:
        try:
            return self._of_picture_or_page(record, planned, rank, is_wanted)
        finally:
            self._forget_made(record.job)

    def _of_picture_or_page(
        self, record: JobRecord, planned: Planned, rank: int, is_wanted: Callable[[], bool]
    ) -> Rendition:
        renderer = self.renderer(is_wanted)
        try:
            with self.turns.taken(rank):
                original = self._picture(record, renderer)
                if planned.query.page is not None:
                    raise NoSuchPage(ONE_PAGE)
                return self._rendered(original, planned, renderer)
        except UnsupportedOriginal:
            if self.pages is None:
                raise
        document = self.files.original(record.job, record.wanted.sha256[:16])
        page = self._page(record, document, planned, is_wanted)
        with self.turns.taken(rank):
            return self._rendered(page, planned, renderer)

    def remove(self, job: str) -> None:
        """Remove all that there is of a job.

        Raises:
            OSError: something is left.
        """
        self.files.remove(job)
        self._forget_made(job)

    def _forget_made(self, job: str) -> None:
        """Remove what was made on the way from what was handed in for a job."""
        pages, group = self.delivery.previews.pages, self.files.group(job)
        self.drop_masters(group)
        if pages is not None:
            pages.drop(group)

    def _rendered(self, original: Original, planned: Planned, renderer: Renderer) -> Rendition:
        job = Job(original, planned.plan, Timings(), self.delivery.generation())
        return renderer.render(job).rendition

    def _picture(self, record: JobRecord, renderer: Renderer) -> Original:
        """Return the picture that was handed in, checked and written anew."""
        wanted, file = record.wanted, self.files.file(record.job)
        # As quarantine knows the bytes, whoever hands them in.
        known_as = Original(
            self.files.original(record.job, "").source,
            f"incoming:{wanted.sha256[:32]}",
            wanted.sha256[:32],
            wanted.size_bytes,
            0,
        )
        checked = renderer.check(Check(known_as, file, self.metadata))
        return self.files.original(record.job, checked.sha256[:16])
