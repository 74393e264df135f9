"""Documents in a gallery: which are shown, what is known of them, how pages are turned."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import images
import pytest

from imgprocessor.errors import BadQuery, JobsUnavailable, NoSuchPage, UndrawableDocument
from imgprocessor.geometry import FIRST_PAGE, Page
from imgprocessor.images.previews.pdf import Pdf
from imgprocessor.originals.folder import Folder
from imgprocessor.originals.pages import KnownPage, Pages, Previews
from imgprocessor.originals.source import Original
from imgprocessor.reporting import complain
from imgprocessor.request.parameters import ImageQuery
from imgprocessor.service.delivery import Delivery
from imgprocessor.service.gallery import documents as module
from imgprocessor.service.gallery.documents import Documents, ShownDocument, ShownPage
from imgprocessor.service.gallery.library import Library, TinyPictures
from imgprocessor.storage.generation import Generations
from imgprocessor.storage.locks import Locks
from imgprocessor.storage.plain_files import PlainFiles

PNG = images.encoded(images.texture((20, 30)), "PNG")


class _Film(Pdf):
    """What is told like a PDF, and turned like a video."""

    name = "video"
    title = "video"
    suffixes = (".film",)


@dataclass
class _House:
    """A folder with documents, and what is drawn of them."""

    folder: Folder
    previews: Previews
    pages: Pages
    asked: list[ImageQuery]
    generations: Generations

    def documents(self, allowed: Collection[Page] | None = None) -> Documents:
        return Documents(self.folder, self.previews, ["pdf", "video"], allowed)

    def page(
        self, page: Page = FIRST_PAGE, allowed: Collection[Page] | None = None, name: str = "a.pdf"
    ) -> ShownPage:
        documents = self.documents(allowed)
        kind = documents.kind(name)
        assert kind is not None
        return documents.page(kind, name, page, self.generations.current())

    def draw(self, count: int | None, page: Page | None = None, name: str = "a.pdf") -> None:
        self.pages.keep(self.original(name), page, PNG, KnownPage(len(PNG), "pdf", count))

    def original(self, name: str = "a.pdf") -> Original:
        return self.folder.find(name)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _House:
    root = tmp_path / "root"
    root.mkdir()
    for name in ("a.pdf", "a.film", "a.doc"):
        (root / name).write_bytes(b"%PDF-1.7\n")
    images.save(root / "a.jpg", images.texture((30, 20)), "JPEG")
    monkeypatch.setattr(module, "KINDS", [Pdf(), _Film()])
    files = PlainFiles(tmp_path / "copies", max_bytes=10**6, min_free_percent=0, complain=complain)
    pages = Pages(files, Locks(tmp_path / "locks"), ["pdf", "video"], Generations(tmp_path))
    previews, asked = Previews(pages), list[ImageQuery]()
    previews.ask = asked.append
    return _House(Folder(root, 10**6), previews, pages, asked, Generations(tmp_path))


def _turns(page: ShownPage) -> tuple[str | None, str | None]:
    before, after = (None if to is None else str(to) for to in (page.before, page.after))
    return before, after


def test_a_page_that_is_not_there_is_asked_for_once(here: _House) -> None:
    first, second = here.page(), here.page()

    assert (first.is_being_made, first.wrong, first.document.pages) == (True, None, None)
    assert _turns(first) == (None, None)
    assert second == first
    assert here.asked == [ImageQuery(name="a.pdf")]


def test_a_page_that_is_there_is_turned(here: _House) -> None:
    here.draw(3)
    here.draw(3, Page(3))

    assert not here.page().is_being_made
    assert _turns(here.page()) == (None, "2")
    assert _turns(here.page(Page(3))) == ("2", None)
    # How many there are is known of any page.
    assert _turns(here.page(Page(2))) == ("1", "3")
    assert here.page(Page(2)).is_being_made


@pytest.mark.parametrize(("page", "turns"), [(9, ("3", None)), (10**6, ("3", None))])
def test_from_behind_the_end_one_comes_back(
    here: _House, page: int, turns: tuple[str | None, str | None]
) -> None:
    here.draw(3)
    here.pages.fail(here.original(), Page(page), NoSuchPage("It has three."))
    shown = here.page(Page(page))

    assert (shown.wrong, _turns(shown)) == ("It has three.", turns)


def test_what_is_wrong_is_told_in_words(here: _House) -> None:
    here.pages.fail(here.original(), None, UndrawableDocument("It is damaged."))
    assert here.page().wrong == "It is damaged."

    def refuse(_: ImageQuery) -> None:
        raise JobsUnavailable

    here.previews.ask = refuse
    assert here.page(Page(2)).wrong == JobsUnavailable.public


@pytest.mark.parametrize(
    ("allowed", "page", "turns"),
    [
        ([], 1, (None, None)),
        ([Page(3), Page(5), Page(90)], 1, (None, "3")),
        ([Page(3), Page(5), Page(90)], 5, ("3", None)),
        ([Page(25, "%"), Page(2)], 1, (None, "2")),
    ],
)  # fmt: skip
def test_no_page_is_turned_to_that_is_not_allowed(
    here: _House, allowed: list[Page], page: int, turns: tuple[str | None, str | None]
) -> None:
    here.draw(7)

    assert _turns(here.page(Page(page), allowed)) == turns
    with pytest.raises(BadQuery):
        here.page(Page(4), allowed)


@pytest.mark.parametrize(
    ("allowed", "page", "turns"),
    [
        (None, FIRST_PAGE, (None, "25%")), (None, Page(50, "%"), ("25%", "75%")),
        (None, Page(75, "%"), ("50%", None)), (None, Page(9, "s"), ("75%", None)),
        ([], FIRST_PAGE, (None, None)), ([Page(50, "%")], FIRST_PAGE, (None, "50%")),
    ],
)  # fmt: skip
def test_a_video_has_moments(
    here: _House,
    allowed: list[Page] | None,
    page: Page,
    turns: tuple[str | None, str | None],
) -> None:
    shown = here.page(page, allowed, "a.film")

    assert shown.is_moment
    assert _turns(shown) == turns


def test_names_say_what_is_shown(here: _House, delivery: Delivery) -> None:
    here.draw(12)
    tiny = TinyPictures(here.folder, delivery)
    with_documents = Library(here.folder, tiny, None, here.documents()).page("").pictures
    without = Library(here.folder, tiny, None).page("").pictures
    off = Documents(here.folder, Previews(None), ["pdf"], None)

    told = {picture.name: picture.document for picture in with_documents}
    assert list(told) == ["a.film", "a.jpg", "a.pdf"]
    assert [told["a.jpg"], told["a.pdf"]] == [None, ShownDocument("PDF", 12)]
    assert told["a.film"] == ShownDocument("video", None)
    assert [picture.name for picture in without] == ["a.jpg"]
    assert [
        picture.name for picture in Library(here.folder, tiny, None, off).page("").pictures
    ] == ["a.jpg"]


@pytest.mark.parametrize("name", ["a.jpg", "none.pdf", "a.doc", ".a.pdf", "none/a.pdf", "a\n.pdf"])
def test_what_is_no_document_has_no_page(here: _House, delivery: Delivery, name: str) -> None:
    library = Library(here.folder, TinyPictures(here.folder, delivery), None, here.documents())

    assert library.document(name) is None
    assert library.document("a.pdf") is not None


def test_a_tiny_picture_that_cannot_be_made_yet_has_its_page_asked_for(
    here: _House, delivery: Delivery, originals: Path
) -> None:
    (originals / "a.pdf").write_bytes(b"%PDF-1.7\n")
    delivery.previews = here.previews
    tiny = TinyPictures(Folder(originals, 10**6), delivery)
    tiny.make("a.pdf")
    assert tiny.kept("a.pdf") is None
    assert [query.name for query in here.asked] == ["a.pdf"]

    original = Folder(originals, 10**6).find("a.pdf")
    here.pages.keep(original, None, PNG, KnownPage(len(PNG), "pdf", 2))
    tiny.make("a.pdf")
    made = tiny.kept("a.pdf")

    assert made is not None
    assert str(made.original_size) == "20x30"
