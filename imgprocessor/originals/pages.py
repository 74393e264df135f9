"""Pages of documents: drawn by workers, kept as copies are, and originals of all their sizes."""

import contextlib
import io
import json
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, BinaryIO, NoReturn

from imgprocessor.errors import (
    ImageError,
    NoPreview,
    NoSuchPage,
    NotFound,
    OriginalsUnavailable,
    PageBeingMade,
    UndrawableDocument,
    UnsupportedOriginal,
)
from imgprocessor.geometry import FIRST_PAGE, Page
from imgprocessor.images.inspection import SUFFIXES
from imgprocessor.images.previews.drawing import no_such_page
from imgprocessor.images.previews.kind import DocumentKind, Ends
from imgprocessor.images.previews.registry import DRAWING_VERSION, document_kind
from imgprocessor.originals.source import Original
from imgprocessor.originals.uploads import ident_of
from imgprocessor.request.parameters import ImageQuery
from imgprocessor.storage.generation import Generation, Generations
from imgprocessor.storage.locks import Locks
from imgprocessor.storage.plain_files import PlainFiles
from imgprocessor.storage.shared.entries import Shared, SharedEntries

_ASK_AGAIN_SECONDS = 10.0
"""A page is not asked for again for so long, by one process: it is on its way, or was lost."""
_MAX_ASKED, _MAX_OF_A_DOCUMENT = 50, 3
"""So many pages are asked for meanwhile, and of one document; others later. Whoever asks for all
pages of all documents must not keep workers busy for hours.
"""

_WHOLE = Page(0)
"""Stands for all pages of a document."""

_FAILURES: dict[str, type[NoSuchPage | UndrawableDocument | NoPreview]] = {
    kind.code: kind for kind in (NoSuchPage, UndrawableDocument, NoPreview)
}
"""What is remembered of pages that cannot be drawn."""

_NEITHER = (
    "The original is neither a JPEG, PNG, WebP or GIF picture, nor a document that is shown here."
)
ONE_PAGE = "A picture has one page."

PageFailure = NoSuchPage | UndrawableDocument | NoPreview


@dataclass(frozen=True)
class KnownPage:
    """What is known of a page that was drawn."""

    size_bytes: int
    kind: str
    """The document's, as `DocumentKind.name`."""
    pages: int | None
    """How many the document has, where that is known."""


class Pages:
    """Pages of documents: a `Source` that opens them, and finds none by a name. Of what is kept the
    group is the document's, so that a purge of it reaches all its pages.
    """

    def __init__(
        self,
        files: PlainFiles,
        locks: Locks,
        kinds: Collection[str],
        generations: Generations,
        shared: SharedEntries | None = None,
        *,
        side_pixels: int = 0,
    ) -> None:
        """Keep pages among the copies of originals, and share them, where nodes share anything;
        documents are of these kinds. The generations are of all that use these files, which may be
        more than share renditions. Pages are drawn `side_pixels` long; others are not these.
        """
        self.drawn_as = f"{DRAWING_VERSION}.{side_pixels}"
        self._files = files
        self._generations = generations
        self._locks = locks
        self._kinds = kinds
        self._shared = shared

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what no other process can use, nor needs to open a page."""
        return vars(self) | {"_shared": None}

    def page_of(self, document: Original, page: Page | None) -> Original | None:
        """Return a page as an original; None where it was not drawn yet.

        Raises:
            NoSuchPage, UndrawableDocument, NoPreview: it was tried, and this is what came of it.
        """
        # One that was drawn is shown, though another one took too long.
        known = self._known(document, page) or self._known(document, _WHOLE)
        if known is None:
            return None
        if "failed" in known:
            failure = _FAILURES.get(known["failed"], UndrawableDocument)
            raise failure(known["public"], f"{document.id!a} (remembered)")
        self._require_shown(known["kind"])
        return replace(_as_original(self, document, page), size_bytes=known["size_bytes"])

    def look_elsewhere(
        self, document: Original, page: Page | None, began: Generation
    ) -> Shared | None:
        """Look for what other nodes know of a page that is not known here, and keep it here; return
        by what it may be shared with them, once it is made. None where it may not be.
        """
        if self._shared is None:
            return None
        shared = self._shared.look(
            document.shared_group, _shared_key(_as_original(self, document, page))
        )
        if shared.body is not None:
            line, _, body = shared.body.partition(b"\n")
            known = json.loads(line)
            kept_as = _WHOLE if known.pop("is_of_all", False) else page
            self._put(document, kept_as, known, body, began)
        # As with renditions: what was purged since then was perhaps found before that.
        return shared if began.is_current else None

    def known(self, document: Original, page: Page | None) -> KnownPage | None:
        """Return what is known of a page; None where it was not drawn."""
        known = self._known(document, page)
        if known is None or "failed" in known:
            return None
        return KnownPage(known["size_bytes"], known["kind"], known["pages"])

    def kind(self, document: Original) -> DocumentKind | None:
        """Return which kind a document is of; None where it is none that is known.

        Raises:
            NoPreview: documents of its kind are not shown here.
            ImageError: as `Source.open` does.
        """
        with document.source.open(document) as (file, _):
            kind = document_kind(Ends.of(file))
        if kind is not None:
            self._require_shown(kind.name)
        return kind

    def _require_shown(self, kind: str) -> None:
        if kind not in self._kinds:
            raise NoPreview(f"This server shows no documents of this kind: {kind}.")

    def keep(
        self,
        document: Original,
        page: Page | None,
        body: bytes,
        known: KnownPage,
        *,
        generation: Generation | None = None,
        shared: Shared | None = None,
    ) -> bool:
        """Keep a page, unless a purge came after the generation; return whether it is kept. Share
        it, where `shared` says by what.
        """
        self._share(document, page, vars(known), body, shared)
        return self._put(document, page, vars(known), body, generation)

    def fail(
        self,
        document: Original,
        page: Page | None,
        error: PageFailure,
        *,
        generation: Generation | None = None,
        seconds: float | None = None,
        shared: Shared | None = None,
        is_of_all: bool = False,
    ) -> None:
        """Remember why a page cannot be drawn, or with `is_of_all` none of the document: for so
        long, or as long as pages are kept.
        """
        until = None if seconds is None else time.time() + seconds
        failed = {"failed": error.code, "public": error.public, "until": until}
        # By the page that was asked for: other nodes look for that.
        self._share(document, page, failed | {"is_of_all": is_of_all}, b"", shared)
        self._put(document, _WHOLE if is_of_all else page, failed, b"", generation)

    def turn(
        self, document: Original, page: Page | None, wait_seconds: float
    ) -> contextlib.AbstractContextManager[bool]:
        """Be the only one that draws a page, over all processes; get whether that is so."""
        identity = _as_original(self, document, page).identity
        return self._locks.held_if_possible(f"page {identity}", wait_seconds)

    def generation(self) -> Generation:
        """Return this moment, to know later whether pages were purged since."""
        return self._generations.current()

    def purge(self, group: str) -> int:
        """Remove all pages of a document, and those that are drawn at this moment; return how many
        files.

        Raises:
            OSError: one of them cannot be removed.
        """
        self._generations.begin()
        return self.drop(group)

    def drop(self, group: str) -> int:
        """Remove all pages of a document that nobody draws. Raises as `purge` does."""
        return self._files.purge(_group(group))

    @contextlib.contextmanager
    def open(self, original: Original) -> Iterator[tuple[BinaryIO, Original]]:
        """Open a page, as `Source.open` says.

        Raises:
            OriginalsUnavailable: it has gone; the next request has it drawn anew.
        """
        body = self._files.get(_group(original.group), _body_key(original))
        if body is None:
            with contextlib.suppress(OSError):
                self.drop(original.group)
            raise OriginalsUnavailable(f"{original.id!a}: its page has gone")
        yield io.BytesIO(body), original

    def find(self, name: str) -> NoReturn:
        """Find nothing.

        Raises:
            NotFound: always.
        """
        raise NotFound(f"{name!r} is no name of a page")

    def id_of(self, name: str) -> NoReturn:
        """Return nothing. Raises as `find` does."""
        self.find(name)

    def shared_id(self, original_id: str) -> str:
        """Return the id itself: what nodes share is called by its document."""
        return original_id

    def forget(self, name: str) -> NoReturn:
        """Remove nothing. Raises as `find` does."""
        self.find(name)

    def forget_all(self) -> int:
        """Remove all pages, and all else that is kept beside them."""
        self._generations.begin()
        return self._files.purge_all()

    def _known(self, document: Original, page: Page | None) -> dict[str, Any] | None:
        original = _as_original(self, document, page)
        content = self._files.get(_group(document.group), _known_key(original))
        if content is None:
            return None
        known: dict[str, Any] = json.loads(bytes(content))
        until = known.pop("until", None)
        return None if until is not None and until < time.time() else known

    def _put(
        self,
        document: Original,
        page: Page | None,
        known: dict[str, Any],
        body: bytes,
        generation: Generation | None,
    ) -> bool:
        original, group = _as_original(self, document, page), _group(document.group)
        # What is known last: whoever finds it finds the page as well.
        entries = [(_body_key(original), body)] if body else []
        entries.append((_known_key(original), json.dumps(known).encode()))
        return all(
            self._files.put(group, key, len(content), [content], generation)
            for key, content in entries
        )

    def _share(
        self,
        document: Original,
        page: Page | None,
        known: dict[str, Any],
        body: bytes,
        shared: Shared | None,
    ) -> None:
        if shared is not None and self._shared is not None:
            content = json.dumps(known).encode() + b"\n" + body
            key = _shared_key(_as_original(self, document, page))
            self._shared.keep(document.shared_group, key, content, shared.marks)


class Previews:
    """Pages for visitors: what is not drawn yet is asked for, and is there in some seconds."""

    def __init__(self, pages: Pages | None) -> None:
        """Use pages; where there are none, no document is shown."""
        self.pages = pages
        self.ask: Callable[[ImageQuery], object] | None = None
        """Has a page drawn; None in what draws pages itself."""
        self._asked: dict[tuple[str, Page | None], float] = {}
        self._asking = threading.Lock()

    def require(self, document: Original, query: ImageQuery, began: Generation) -> Original:
        """Return the page that is asked for as an original, for an answer that `began` before.

        Raises:
            UnsupportedOriginal: it is no document, or none is shown here.
            NoSuchPage: it may be a picture, which has one page.
            PageBeingMade: it will be there soon.
            JobsUnavailable: nobody can be asked for it at this moment.
            ImageError: as `Pages.page_of` and `Pages.kind` do.
        """
        wrong: ImageError = UnsupportedOriginal()
        if query.page is not None:
            wrong = NoSuchPage(ONE_PAGE)
        if self.pages is None:
            raise wrong
        if query.page is None:
            wrong.public = _NEITHER
        page = self.pages.page_of(document, query.page)
        if page is not None:
            return page
        self._require_count(document, query.page)
        wanted = (document.identity, query.page)
        if wanted not in self._asked and self.pages.kind(document) is None:
            raise wrong
        if self.pages.look_elsewhere(document, query.page, began) is not None:
            page = self.pages.page_of(document, query.page)
            if page is not None:
                return page
        if self.ask is not None and self._is_due(wanted):
            try:
                self.ask(query)
            except ImageError:
                with self._asking:
                    self._asked.pop(wanted, None)
                raise
        which = f"{document.id!a}, page {query.page or FIRST_PAGE}"
        raise PageBeingMade(f"{which}, is not drawn yet: workers do that when it is asked for")

    def _require_count(self, document: Original, page: Page | None) -> None:
        """Refuse a page that is not there, where the first one has told how many are."""
        if self.pages is not None and page is not None and not page.unit:
            first = self.pages.known(document, None)
            if first is not None and first.pages is not None and page.number > first.pages:
                raise no_such_page(page.number, first.pages)

    def look(self, original: Original, query: ImageQuery, began: Generation) -> None:
        """Fail as `require` does, but for pictures. Of what is called as pictures are nothing is
        opened, unless it is an upload, which all are called so.
        """
        suffix = PurePosixPath(query.original).suffix.lower()
        if query.page is None and suffix in SUFFIXES and ident_of(query.name) is None:
            return
        with contextlib.suppress(UnsupportedOriginal):
            self.require(original, query, began)

    def _is_due(self, wanted: tuple[str, Page | None]) -> bool:
        now = time.monotonic()
        with self._asking:
            for known, until in [*self._asked.items()]:
                if until <= now:
                    del self._asked[known]
            of_it = sum(identity == wanted[0] for identity, _ in self._asked)
            if wanted in self._asked or of_it >= _MAX_OF_A_DOCUMENT:
                return False
            if len(self._asked) >= _MAX_ASKED:
                return False
            self._asked[wanted] = now + _ASK_AGAIN_SECONDS
        return True


def _as_original(source: Pages, document: Original, page: Page | None) -> Original:
    version = f"{document.version}-p{page or FIRST_PAGE}-{source.drawn_as}"
    return replace(document, source=source, version=version, sizes=())


def _group(document_group: str) -> str:
    return f"pages of {document_group}"


def _body_key(page: Original) -> str:
    return f"page {page.identity}"


def _known_key(page: Original) -> str:
    return f"known {page.identity}"


def _shared_key(page: Original) -> str:
    return f"page {page.version}"
