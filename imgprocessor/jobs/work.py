"""What a job does: by the workers that render on this node, in its turn."""

from collections.abc import Callable
from dataclasses import dataclass

from imgprocessor.config.upload_settings import KeptMetadata
from imgprocessor.images.pipeline import Rendition
from imgprocessor.jobs.files import JobFiles
from imgprocessor.jobs.records import QUEUES, JobRecord
from imgprocessor.originals.source import Original
from imgprocessor.originals.uploads import ident_of
from imgprocessor.rendering.check import Check
from imgprocessor.rendering.job import Job, Renderer
from imgprocessor.request.hints import Hints
from imgprocessor.request.query import parse
from imgprocessor.service.delivery import Delivery
from imgprocessor.service.turns import Turns
from imgprocessor.service.understanding import Planned
from imgprocessor.timing import Timings


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
    turns: Turns
    metadata: KeptMetadata
    max_side_pixels: int

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
        if wanted.kind == "sizes":
            self.make_sizes(ident_of(planned.query.name) or "")
            return None
        if wanted.kind == "copy":
            self.copy(ident_of(planned.query.name) or "")
            return None
        if wanted.has_file:
            with self.turns.taken(rank):
                return self._of_file(record, planned, self.renderer(is_wanted))
        found = self.delivery.found(planned)
        answer = self.delivery.kept(found)
        if answer is None or answer.is_quick:
            # Whoever asks for the picture meanwhile waits for this, so it is not called off.
            with self.turns.taken(rank):
                answer = self.delivery.answer(found, at_best=True)
        return answer.rendition if wanted.keeps_thumbnail else None

    def _of_file(self, record: JobRecord, planned: Planned, renderer: Renderer) -> Rendition:
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
        original = self.files.original(record.job, checked.sha256[:16])
        job = Job(original, planned.plan, Timings(), self.delivery.generation())
        return renderer.render(job).rendition
