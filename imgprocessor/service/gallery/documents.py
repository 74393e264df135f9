"""Documents in a gallery: told by their names, with what is known of their pages, to be turned."""

from collections.abc import Collection
from dataclasses import dataclass

from imgprocessor.errors import BadQuery, ImageError, PageBeingMade, UnsupportedOriginal
from imgprocessor.geometry import FIRST_PAGE, Page
from imgprocessor.images.previews.kind import DocumentKind
from imgprocessor.images.previews.registry import KINDS
from imgprocessor.originals.pages import Previews
from imgprocessor.originals.source import FolderSource
from imgprocessor.request.parameters import ImageQuery
from imgprocessor.storage.generation import Generation

_VIDEO = "video"
_MOMENTS = (FIRST_PAGE, Page(25, "%"), Page(50, "%"), Page(75, "%"))
"""Of a video, in place of pages."""


@dataclass(frozen=True)
class ShownDocument:
    """What is told of a document beside its pages."""

    kind: str
    """What people call such a one."""
    pages: int | None
    """How many it has; None as long as that is not known, or where there are none to count."""


@dataclass(frozen=True)
class ShownPage:
    """A page of a document."""

    name: str
    """The document's, with its folders."""
    document: ShownDocument
    page: Page
    before: Page | None
    """What one comes to by turning back; None where that leads nowhere."""
    after: Page | None
    wrong: str | None
    """Why it cannot be shown."""
    is_moment: bool
    """Whether pages are moments of a video."""
    is_being_made: bool
    """Whether it, and with it what is known of the document, is not there yet."""


class Documents:
    """Documents, told by their names as pictures are, and what is known of their pages."""

    def __init__(
        self,
        source: FolderSource,
        previews: Previews,
        kinds: Collection[str],
        allowed: Collection[Page] | None,
    ) -> None:
        """Show documents of these kinds, where any are; beside the first page those that are
        allowed, or all.
        """
        self._source = source
        self._previews = previews
        self._allowed = allowed
        shown = [kind for kind in KINDS if previews.pages is not None and kind.name in kinds]
        self._kinds = {suffix: kind for kind in shown for suffix in kind.suffixes}

    @property
    def suffixes(self) -> Collection[str]:
        """How their names end."""
        return self._kinds

    def kind(self, name: str) -> DocumentKind | None:
        """Return which kind a name says that it is of; None where it is a picture's."""
        return self._kinds.get(suffix_of(name))

    def told(self, name: str) -> ShownDocument | None:
        """Return what is known of a document that need not be fetched; None of pictures.

        Raises:
            ImageError: as `FolderSource.at_hand` does.
        """
        kind, pages = self.kind(name), self._previews.pages
        if kind is None or pages is None:
            return None
        original = self._source.at_hand(name)
        known = None if original is None else pages.known(original, None)
        return ShownDocument(kind.title, None if known is None else known.pages)

    def page(self, kind: DocumentKind, name: str, page: Page, began: Generation) -> ShownPage:
        """Return a page of a document, and have it made where it is not there.

        Raises:
            BadQuery: the policy does not allow this page.
            NotFound: there is no such document.
            ImageError: as `FolderSource.find` does.
        """
        if not self._is_allowed(page):
            raise BadQuery([f"page: {page} is none of those that may be asked for here"])
        original = self._source.find(name)
        asked, pages = None if page == FIRST_PAGE else page, self._previews.pages
        wrong, is_being_made = None, False
        try:
            self._previews.require(original, ImageQuery(name=name, page=asked), began)
        except PageBeingMade:
            is_being_made = True
        except UnsupportedOriginal:
            pass  # a picture, or nothing that can be shown: it will say so itself
        except ImageError as error:
            wrong = error.public
        known = None
        if pages is not None:
            known = pages.known(original, asked) or pages.known(original, None)
        count = None if known is None else known.pages
        before, after = self._around(kind, page, count or 1)
        document = ShownDocument(kind.title, count)
        return ShownPage(
            name,
            document,
            page,
            before,
            after,
            wrong,
            is_moment=kind.name == _VIDEO,
            is_being_made=is_being_made,
        )

    def _around(
        self, kind: DocumentKind, page: Page, count: int
    ) -> tuple[Page | None, Page | None]:
        """Return what comes before a page and after it."""
        if kind.name == _VIDEO:
            moments = [moment for moment in _MOMENTS if self._is_allowed(moment)]
            here = moments.index(page) if page in moments else len(moments)
            return moments[here - 1] if here else None, next(iter(moments[here + 1 :]), None)
        here = 1 if page.unit else min(page.number, count + 1)
        numbers: Collection[int] = (here - 1, here + 1)
        if self._allowed is not None:
            numbers = sorted({1, *(one.number for one in self._allowed if not one.unit)})
        before = [number for number in numbers if 0 < number < here]
        after = [number for number in numbers if here < number <= count]
        return Page(before[-1]) if before else None, Page(after[0]) if after else None

    def _is_allowed(self, page: Page) -> bool:
        return self._allowed is None or page == FIRST_PAGE or page in self._allowed


def suffix_of(name: str) -> str:
    """Return how a file's name ends, in lower case."""
    return name[name.rfind(".") :].lower()
