"""A page of a document made: copied, told by its bytes, drawn in the sandbox, decoded, and kept."""

import contextlib
import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, NamedTuple

from imgprocessor.errors import (
    BrokenOriginal,
    Busy,
    DeadlyOriginal,
    NoPreview,
    NoSuchPage,
    OversizedOriginal,
    UndrawableDocument,
    UnsupportedOriginal,
)
from imgprocessor.geometry import FIRST_PAGE, Page
from imgprocessor.images.previews.kind import (
    CUT_OFF,
    EMPTY,
    LOCKED,
    TOO_LARGE,
    TOO_SLOW,
    UNDRAWABLE,
    DocumentKind,
    Drawn,
    Ends,
)
from imgprocessor.images.previews.registry import document_kind
from imgprocessor.jobs.previews.ability import Abilities
from imgprocessor.jobs.previews.results import open_result
from imgprocessor.jobs.previews.sandbox import Sandbox
from imgprocessor.originals.pages import KnownPage, PageFailure, Pages
from imgprocessor.originals.source import Original
from imgprocessor.rendering.check import Check
from imgprocessor.rendering.job import Renderer
from imgprocessor.reporting import complain
from imgprocessor.service.readiness import OK
from imgprocessor.storage.locks import Locks

NO_WORKER_SECONDS = 60.0
"""That no worker can draw such documents is remembered for so long."""

_MAX_PAGE_BYTES = 100_000_000
_LEAST_FREE_BYTES = 50_000_000
"""With less on the disk, whatever fails may fail for that."""

_AT_THE_MOMENT = "No worker can draw documents at the moment."


_OF_ALL_PAGES = {LOCKED, EMPTY, CUT_OFF, TOO_SLOW}
"""What is wrong with one page, by these words, is with all."""


class PageElsewhere(Busy):
    """Another worker makes the page."""


class ByJob(NamedTuple):
    """What a job has to make a page by."""

    folder: Path
    """An empty one of its own."""
    renderer: Renderer
    """What decodes what was drawn."""
    is_wanted: Callable[[], bool]
    """Whether the job still counts."""
    is_private: bool
    """Whether the document was handed in for this job: nothing of it is shared."""


@dataclass(frozen=True)
class PageMaker:
    """Makes pages, each once."""

    pages: Pages
    abilities: Abilities
    side_pixels: int
    document_seconds: float
    """For a page, from when its document was copied."""
    max_document_bytes: int
    again_seconds: float
    """A document that took too long is tried again after so many."""
    locks: Locks
    at_once: int
    """So many documents are drawn on this node, over all processes."""

    def make(self, document: Original, page: Page | None, job: ByJob) -> Original:
        """Return a page as an original, drawn and kept where it was not yet.

        Raises:
            UnsupportedOriginal: it is no document.
            NoSuchPage, UndrawableDocument, NoPreview: this is what is remembered of the page.
            PageElsewhere: another worker is making it.
            Busy: all places are taken.
            ImageError: as `Source.open` does; or there is no worker to decode it.
        """
        with self.pages.turn(document, page, 0) as mine:
            known = self.pages.page_of(document, page)
            if known is not None:
                return known
            if not mine:
                raise PageElsewhere
            began = self.pages.generation()
            shared = None
            if not job.is_private:
                shared = self.pages.look_elsewhere(document, page, began)
                known = self.pages.page_of(document, page)
            if known is not None:
                return known
            try:
                body, about = self._made(document, page, job)
            except (NoSuchPage, UndrawableDocument, NoPreview) as raised:
                error = self._whose_fault(raised, job.folder)
                complain(f"{document.id!a}, page {page or FIRST_PAGE}: {str(error)[:1000]!a}")
                seconds = self._remembered_seconds(error)
                # What another trial may not meet, another node may not.
                told = shared if seconds is None else None
                is_of_all = error.public in _OF_ALL_PAGES
                self.pages.fail(
                    document,
                    page,
                    error,
                    generation=began,
                    seconds=seconds,
                    shared=told,
                    is_of_all=is_of_all,
                )
                raise error from None
            kept = self.pages.keep(document, page, body, about, generation=began, shared=shared)
            if not kept and began.is_current:
                full = NoPreview("There is no room for pages of documents at the moment.")
                self.pages.fail(document, page, full, seconds=NO_WORKER_SECONDS)
                raise full
        known = self.pages.page_of(document, page)
        if known is None:  # purged meanwhile
            raise Busy
        return known

    def failed(self, document: Original, page: Page | None, error: Exception) -> NoPreview:
        """Return what a worker that cannot read or write says, and remember it: who wants the page
        need not ask for it all the time.
        """
        complain(f"{document.id!a} cannot be drawn: {error}")
        told = NoPreview(_AT_THE_MOMENT, str(error))
        self.pages.fail(document, page, told, seconds=NO_WORKER_SECONDS)
        return told

    def _remembered_seconds(self, error: PageFailure) -> float | None:
        if isinstance(error, NoPreview):
            return NO_WORKER_SECONDS
        # A crash may be for want of memory on this machine, as slowness is of time.
        return self.again_seconds if error.public in {TOO_SLOW, UNDRAWABLE} else None

    def _whose_fault(self, error: PageFailure, folder: Path) -> PageFailure:
        """Return what it is, where the machine is to blame, and not the document."""
        if isinstance(error, UndrawableDocument):
            with contextlib.suppress(OSError):
                if shutil.disk_usage(folder).free < _LEAST_FREE_BYTES:
                    return NoPreview(_AT_THE_MOMENT, f"the disk is full; {error}")
        return error

    def _made(self, document: Original, page: Page | None, job: ByJob) -> tuple[bytes, KnownPage]:
        with document.source.open(document) as (file, really):
            if really.identity != document.identity:
                raise Busy  # the next trial is for what is there then
            kind, sandbox = self._kind(file)
            copy = job.folder / f"document{kind.suffixes[0]}"
            _copy(file, copy, self.max_document_bytes)
        made = job.folder / "made"
        made.mkdir()
        with self._place():
            run = sandbox.running(copy, made, self.document_seconds, job.is_wanted)
            try:
                drawn = kind.draw(run, page or FIRST_PAGE, self.side_pixels)
            except NoPreview:
                self.abilities.sandbox_failed()
                raise
        body = self._decoded(made, drawn, document, job.renderer)
        return body, KnownPage(len(body), kind.name, drawn.pages)

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        """Have one of the places that there are for documents: each may take much memory."""
        names = [f"drawing {number}" for number in range(self.at_once)]
        taken = self.locks.acquire_any(names)
        if taken is None:
            raise Busy("as many documents are drawn as may be")
        try:
            yield
        finally:
            taken.release()

    def _kind(self, file: BinaryIO) -> tuple[DocumentKind, Sandbox]:
        """Return which kind a document is of, and the sandbox to draw it in.

        Raises:
            UnsupportedOriginal: of none.
            NoPreview: of one that is not drawn here.
        """
        kind = document_kind(Ends.of(file))
        if kind is None:
            raise UnsupportedOriginal
        state = self.abilities.ability.kinds.get(kind.name, "not among [previews] kinds")
        sandbox = self.abilities.sandbox
        if sandbox is None or state != OK:
            wrong = f"This server cannot show such documents at the moment: {kind.title}."
            raise NoPreview(wrong, state if state != OK else "the sandbox failed a moment ago")
        return kind, sandbox

    def _decoded(self, made: Path, drawn: Drawn, document: Original, renderer: Renderer) -> bytes:
        """Return a page's bytes, decoded whole and written anew: before that, nothing says that it
        is a picture.
        """
        with open_result(made, drawn.file, _MAX_PAGE_BYTES) as result:
            body = result.read()
        file = made.with_name("page")
        file.write_bytes(body)
        digest = hashlib.sha256(body).hexdigest()[:32]
        known_as = replace(document, id=f"page:{digest}", version=digest, size_bytes=len(body))
        try:
            renderer.check(Check(known_as, file, "none"))
        except OversizedOriginal as error:
            # Where memory was short, it may not be the next time.
            public = TOO_LARGE if error.is_lasting else UNDRAWABLE
            raise UndrawableDocument(public, f"what was drawn: {error}") from error
        except (BrokenOriginal, DeadlyOriginal, UnsupportedOriginal) as error:
            raise UndrawableDocument(UNDRAWABLE, f"what was drawn: {error}") from error
        return file.read_bytes()


def _copy(file: BinaryIO, copy: Path, max_bytes: int) -> None:
    file.seek(0)
    left = max_bytes
    with copy.open("xb") as written:
        while chunk := file.read(min(1 << 20, left + 1)):
            left -= len(chunk)
            if left < 0:
                raise UndrawableDocument(TOO_LARGE, f"more than {max_bytes} bytes")
            written.write(chunk)
