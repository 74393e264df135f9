"""A folder of originals as pages of a gallery: what is shown, in which order, and how it looks.

Nothing is opened for a page, and nothing made: of a picture is known what was made before. A page
goes on after a name, not at a number: what comes and goes elsewhere moves nothing.
"""

import re
import threading
import unicodedata
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import time_ns

from imgprocessor.errors import FolderNotFound, ImageError, NotFound
from imgprocessor.geometry import FIRST_PAGE, Page
from imgprocessor.images.inspection import SUFFIXES
from imgprocessor.images.pipeline import Rendition
from imgprocessor.originals.source import FolderSource, FolderState, Listed, Original
from imgprocessor.request.hints import Hints
from imgprocessor.request.names import is_name
from imgprocessor.request.parameters import ImageQuery
from imgprocessor.service.delivery import Delivery, Found
from imgprocessor.service.gallery.documents import Documents, ShownDocument, ShownPage, suffix_of
from imgprocessor.service.later import Later
from imgprocessor.storage.generation import Generation
from imgprocessor.timing import Timings

PAGE_NAMES = 60
"""On a page. Names that turn out not to be shown count, so that each page costs the same."""

_HIDDEN = {"@eaDir", "Thumbs.db"}
"""What Synology's and Windows' programs leave in folders; and all that begins with a dot."""

_SETTLED_NS = 2_000_000_000
"""A folder that changed within so long may change again without another time stamp: file systems
count in ticks, of up to two seconds. Until then it is listed for each page.
"""

_MAX_DEPTH = 32
"""Each folder on the way to one is looked at, which in a bucket is a request."""

_LISTS_AT_ONCE = 16

_MAX_KEPT_NAMES = 250_000
"""In all folders that are remembered: some 20 MB."""


@dataclass(frozen=True)
class ShownPicture:
    """A picture, or a document, on a page."""

    name: str
    """With its folders."""
    known: Rendition | None
    """It at 16 pixels, which tells the original's size; None as long as that was not made."""
    document: ShownDocument | None = None
    """None for pictures."""


@dataclass(frozen=True)
class GalleryPage:
    """A page of a folder."""

    folder: str
    """Its name; empty for the one that all others are in."""
    folders: tuple[str, ...]
    """Those in it, by their whole names."""
    pictures: tuple[ShownPicture, ...]
    before: str | None
    """After which name the page before goes on, empty for the first page; None on that one."""
    after: str | None
    """After which name the next page goes on; None on the last page."""


class TinyPictures:
    """Pictures at 16 pixels, as placeholders of themselves."""

    def __init__(self, source: FolderSource, delivery: Delivery) -> None:
        self._source = source
        self._delivery = delivery

    def kept(self, name: str) -> Rendition | None:
        """Return what was made before, of an original that need not be fetched.

        Raises:
            ImageError: as `FolderSource.at_hand` does.
        """
        original = self._source.at_hand(name)
        answer = None if original is None else self._delivery.kept(self._found(name, original))
        return None if answer is None else answer.rendition

    def make(self, name: str) -> None:
        """Make and keep one; where that cannot be, do nothing."""
        with suppress(ImageError):
            began = self._delivery.generation()
            self._delivery.answer(self._found(name, self._source.find(name), began))

    def generation(self) -> Generation:
        """Return this moment, as `Delivery.generation` does."""
        return self._delivery.generation()

    def _found(self, name: str, original: Original, began: Generation | None = None) -> Found:
        # Whatever the policy allows pages to ask for.
        planned = self._delivery.plan(ImageQuery(name=name, lqip=True), Hints())
        return Found(planned, original, Timings(), began or self._delivery.generation())


class Library:
    """Folders of originals, to be looked at."""

    def __init__(
        self,
        source: FolderSource,
        tiny: TinyPictures,
        later: Later[str] | None,
        documents: Documents | None = None,
    ) -> None:
        """Use a source; what is not known of pictures is made by `later`, if at all. Documents are
        shown, too, where there is what knows of them.
        """
        self._source = source
        self._tiny = tiny
        self._later = later
        self._documents = documents
        self._suffixes = {*SUFFIXES, *(() if documents is None else documents.suffixes)}
        self._kept: OrderedDict[str, tuple[FolderState, Sequence[str]]] = OrderedDict()
        self._changing = threading.Lock()
        self._listing = [threading.Lock() for _ in range(_LISTS_AT_ONCE)]

    def page(self, folder: str, after: str = "") -> GalleryPage:
        """Return the page of a folder that goes on after a name: of a picture, or of a folder with
        a slash behind it, be it there or not. Links that lead back into a folder that they are in
        are not shown, so that every way ends.

        Raises:
            FolderNotFound: there is none, or none that may be shown.
            OriginalsUnavailable: it cannot be read at this moment.
        """
        try:
            way = self._way_to(folder)
            names = self._names(folder, way[-1])
        except NotFound as error:
            raise FolderNotFound(str(error)) from error
        first = bisect_right(names, natural_order(after), key=natural_order) if after else 0
        shown = names[first : first + PAGE_NAMES]
        base = f"{folder}/" if folder else ""
        seen = {state.id for state in way}
        inner = [base + name[:-1] for name in shown if name.endswith("/")]
        files = [base + name for name in shown if not name.endswith("/")]
        return GalleryPage(
            folder,
            tuple(name for name in inner if self._is_shown(name, seen)),
            tuple(filter(None, map(self._shown, files))),
            None if not first else names[first - PAGE_NAMES - 1] if first > PAGE_NAMES else "",
            names[first + PAGE_NAMES - 1] if len(names) > first + PAGE_NAMES else None,
        )

    def document(self, name: str, page: Page = FIRST_PAGE) -> ShownPage | None:
        """Return a page of a document; None where there is none that may be shown.

        Raises:
            OriginalsUnavailable: it cannot be read at this moment.
        """
        kind = None if self._documents is None else self._documents.kind(name)
        folder, _, file = name.rpartition("/")
        if self._documents is None or kind is None or not is_name(name) or _is_hidden(file):
            return None
        try:
            self._way_to(folder)
            return self._documents.page(kind, name, page, self._tiny.generation())
        except NotFound:
            return None

    def _way_to(self, folder: str) -> list[FolderState]:
        """Return all folders from the outermost to this one.

        Raises:
            NotFound: one of them is not to be shown.
        """
        segments = folder.split("/") if folder else []
        if segments and not is_name(folder):
            raise NotFound(f"{folder!r}: no folder may be called so")
        if len(segments) > _MAX_DEPTH:
            raise NotFound(f"{folder!r}: no folder is shown that is so deep in others")
        if any(map(_is_hidden, segments)):
            raise NotFound(f"{folder!r} is hidden by its name")
        names = ["/".join(segments[:count]) for count in range(len(segments) + 1)]
        way = [self._source.folder(name) for name in names]
        if any(state.is_closed for state in way):
            raise NotFound(f"{folder!r} is closed by a .nomedia")
        if len({state.id for state in way}) < len(way):
            raise NotFound(f"{folder!r} is a link back into itself")
        return way

    def _is_shown(self, name: str, seen: set[str]) -> bool:
        if is_name(name):
            with suppress(ImageError):
                state = self._source.folder(name)
                return not state.is_closed and state.id not in seen
        return False

    def _shown(self, name: str) -> ShownPicture | None:
        if not is_name(name):
            return None
        known: Rendition | None = None
        document: ShownDocument | None = None
        try:
            known = self._tiny.kept(name)
            document = None if self._documents is None else self._documents.told(name)
        except NotFound:
            return None
        except ImageError:  # it costs its own place alone
            return ShownPicture(name, None)
        if known is None and self._later is not None:
            self._later.submit(name)
        return ShownPicture(name, known, document)

    def _names(self, folder: str, state: FolderState) -> Sequence[str]:
        """Return what may be shown of a folder in its order: folders, with a slash, and files."""
        # Who asks meanwhile waits, and need not list it as well.
        with self._listing[hash(state.id) % _LISTS_AT_ONCE]:
            names = self._remembered(state)
            return self._listed_anew(folder, state) if names is None else names

    def _remembered(self, state: FolderState) -> Sequence[str] | None:
        with self._changing:
            kept = self._kept.get(state.id)
            if kept is None or kept[0].changed != state.changed:
                return None
            self._kept.move_to_end(state.id)
            return kept[1]

    def _listed_anew(self, folder: str, state: FolderState) -> Sequence[str]:
        is_settled = time_ns() - state.changed_ns > _SETTLED_NS
        names = _candidates(self._source.listed(folder), self._suffixes)
        names.sort(key=natural_order)
        with self._changing:
            self._kept.pop(state.id, None)
            if is_settled:
                self._kept[state.id] = (state, names)
            while sum(len(kept) for _, kept in self._kept.values()) > _MAX_KEPT_NAMES:
                self._kept.popitem(last=False)
        return names


def _candidates(listed: Listed, suffixes: Collection[str]) -> list[str]:
    """Return the names that may be shown. What a link leads to, its name says until it is shown."""
    folders = [*listed.folders, *(name for name in listed.links if suffix_of(name) not in suffixes)]
    files = [*listed.files, *listed.links]
    return [
        *(f"{name}/" for name in folders if not _is_hidden(name)),
        *(name for name in files if suffix_of(name) in suffixes and not _is_hidden(name)),
    ]


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in _HIDDEN


def natural_order(name: str) -> tuple[bool, str, str]:
    """Return what names are sorted by: folders first; numbers by what they count, letters without
    case and accents, the ending last; and nothing is alike that differs.
    """
    is_file = not name.endswith("/")
    stem = name.removesuffix("/")
    if is_file and "." in name:
        stem = name[: name.rfind(".")]
    if not stem.isascii():
        letters = unicodedata.normalize("NFKD", stem)
        stem = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return is_file, _NUMBER.sub(_by_length, stem.casefold()), name


_NUMBER = re.compile("[0-9]+")


def _by_length(number: re.Match[str]) -> str:
    digits = number[0].lstrip("0")
    return f"{len(digits):03}{digits}"
