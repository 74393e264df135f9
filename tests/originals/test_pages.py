"""Pages of documents: kept beside copies of originals, found by document, version and page."""

import pickle
import time
from dataclasses import replace
from pathlib import Path

import pytest

from imgprocessor.config.settings import Settings
from imgprocessor.errors import (
    ImageError,
    JobsUnavailable,
    NoPreview,
    NoSuchPage,
    OriginalsUnavailable,
    PageBeingMade,
    UndrawableDocument,
    UnsupportedOriginal,
)
from imgprocessor.geometry import Page
from imgprocessor.originals.folder import Folder
from imgprocessor.originals.pages import KnownPage, Pages, Previews
from imgprocessor.originals.source import NodeVersion, Original
from imgprocessor.parts import make_delivery
from imgprocessor.reporting import complain
from imgprocessor.request.parameters import ImageQuery
from imgprocessor.storage.generation import Generation, Generations
from imgprocessor.storage.locks import Locks
from imgprocessor.storage.plain_files import PlainFiles

QUERY = ImageQuery(name="a.pdf")
KNOWN = KnownPage(4, "pdf", 3)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    (tmp_path / "root").mkdir()
    (tmp_path / "root/a.pdf").write_bytes(b"%PDF-1.7\n")
    (tmp_path / "root/a.txt").write_bytes(b"some text")
    return Folder(tmp_path / "root", 1000)


@pytest.fixture
def document(folder: Folder) -> Original:
    return folder.find("a.pdf")


@pytest.fixture
def pages(tmp_path: Path) -> Pages:
    files = PlainFiles(
        tmp_path / "copies", max_bytes=100_000, min_free_percent=0, complain=complain
    )
    return Pages(files, Locks(tmp_path / "locks"), ["pdf"], Generations(tmp_path))


@pytest.fixture
def began(tmp_path: Path) -> Generation:
    return Generations(tmp_path).current()


def body(page: Original | None) -> bytes:
    assert page is not None
    with page.source.open(page) as (file, opened):
        assert opened == page
        return file.read()


def test_a_page_is_an_original_of_its_documents_group(pages: Pages, document: Original) -> None:
    assert pages.page_of(document, None) is None
    assert pages.known(document, None) is None

    assert pages.keep(document, None, b"body", KNOWN)
    page = pages.page_of(document, None)

    assert body(page) == b"body"
    assert page is not None
    assert (page.group, page.size_bytes) == (document.group, 4)
    assert page.identity != document.identity
    assert pages.known(document, None) == KNOWN
    assert body(pickle.loads(pickle.dumps(page))) == b"body"  # noqa: S301 - our own


def test_pages_versions_and_documents_are_told_apart(pages: Pages, document: Original) -> None:
    pages.keep(document, Page(2), b"two", KNOWN)
    pages.keep(document, Page(2, "%"), b"2%", KNOWN)

    assert body(pages.page_of(document, Page(2))) == b"two"
    assert body(pages.page_of(document, Page(2, "%"))) == b"2%"
    assert pages.page_of(document, None) is None
    assert pages.page_of(replace(document, version="other"), Page(2)) is None
    assert pages.page_of(replace(document, id="b.pdf"), Page(2)) is None


@pytest.mark.parametrize("kind", [NoSuchPage, UndrawableDocument, NoPreview])
def test_failures_are_remembered_by_page(
    pages: Pages, document: Original, kind: type[NoSuchPage | UndrawableDocument | NoPreview]
) -> None:
    pages.fail(document, Page(7), kind("A sentence.", "a detail"))

    with pytest.raises(kind, match="remembered") as failed:
        pages.page_of(document, Page(7))
    assert failed.value.public == "A sentence."
    assert pages.known(document, Page(7)) is None
    assert pages.page_of(document, None) is None
    assert pages.page_of(replace(document, version="mended"), Page(7)) is None


def test_some_failures_are_remembered_for_a_time(
    pages: Pages, document: Original, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages.fail(document, None, NoPreview("A sentence."), seconds=60)
    with pytest.raises(NoPreview):
        pages.page_of(document, None)

    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 61)

    assert pages.page_of(document, None) is None


def test_a_purge_of_the_document_reaches_all_pages(pages: Pages, document: Original) -> None:
    pages.keep(document, None, b"one", KNOWN)
    pages.keep(document, Page(2), b"two", KNOWN)
    pages.fail(document, Page(3), NoSuchPage("It has two."))
    pages.keep(replace(document, id="b.pdf"), None, b"other", KNOWN)

    assert pages.purge(document.group) == 5
    assert [pages.page_of(document, page) for page in (None, Page(2), Page(3))] == [None] * 3
    assert body(pages.page_of(replace(document, id="b.pdf"), None)) == b"other"
    assert pages.forget_all() == 2


def test_what_was_begun_before_a_purge_is_not_kept(pages: Pages, document: Original) -> None:
    began = pages.generation()
    pages.purge(replace(document, id="b.pdf").group)

    assert not pages.keep(document, None, b"body", KNOWN, generation=began)
    pages.fail(document, Page(2), NoSuchPage("It has one."), generation=began)
    assert pages.page_of(document, None) is None
    assert pages.page_of(document, Page(2)) is None


def test_workers_that_share_pages_draw_each_once(
    settings: Settings, document: Original, tmp_path: Path
) -> None:
    """Each has a disk cache of its own, as in containers."""
    shown = replace(
        settings,
        uploads=replace(settings.uploads, enabled=True),
        jobs=replace(settings.jobs, enabled=True, redis="redis://127.0.0.1:1/0"),
        previews=replace(settings.previews, enabled=True),
        remote=replace(settings.remote, folder=tmp_path / "copies"),
    )
    one, two = (
        make_delivery(
            replace(shown, disk_cache=replace(shown.disk_cache, folder=tmp_path / name)), keeps=True
        ).previews.pages
        for name in ("one", "two")
    )
    assert one is not None
    assert two is not None

    with one.turn(document, None, 0) as first, two.turn(document, None, 0) as second:
        assert (first, second) == (True, False)


def test_a_damaged_page_is_drawn_anew(pages: Pages, document: Original, tmp_path: Path) -> None:
    pages.keep(document, None, b"body", KNOWN)
    page = pages.page_of(document, None)
    for file in (tmp_path / "copies").rglob("*"):
        if file.is_file() and file.read_bytes().endswith(b"body"):
            file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(OriginalsUnavailable):
        body(page)

    assert pages.page_of(document, None) is None


def test_a_page_is_asked_for_once(
    pages: Pages, document: Original, monkeypatch: pytest.MonkeyPatch, began: Generation
) -> None:
    previews, asked = Previews(pages), list[ImageQuery]()
    previews.ask = asked.append
    second = replace(QUERY, page=Page(2))
    for query in (QUERY, QUERY, second, QUERY):
        with pytest.raises(PageBeingMade):
            previews.require(document, query, began)
    assert asked == [QUERY, second]

    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 11)
    with pytest.raises(PageBeingMade):
        previews.require(document, QUERY, began)
    assert asked == [QUERY, second, QUERY]

    pages.keep(document, None, b"body", KNOWN)
    assert body(previews.require(document, QUERY, began)) == b"body"


def test_a_page_too_far_is_not_asked_for(
    pages: Pages, document: Original, began: Generation
) -> None:
    previews, asked = Previews(pages), list[ImageQuery]()
    previews.ask = asked.append
    pages.keep(document, None, b"body", KNOWN)
    with pytest.raises(NoSuchPage) as missing:
        previews.require(document, replace(QUERY, page=Page(4)), began)
    assert missing.value.public == "The document has no page 4: it has 3."
    assert not asked
    for page in (Page(3), Page(4, "s")):
        with pytest.raises(PageBeingMade):
            previews.require(document, replace(QUERY, page=page), began)


def _other(document: Original, number: int) -> Original:
    """Return the document, or another one that looks the same."""
    return replace(document, on_node=NodeVersion(number, number)) if number else document


def test_not_all_pages_are_asked_for_at_once(
    pages: Pages, document: Original, began: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    previews, asked = Previews(pages), list[ImageQuery]()
    previews.ask = asked.append

    def ask(count: int, of: int) -> None:
        for number in range(count):
            query = replace(QUERY, page=Page(2 + number))
            for each in range(of):
                with pytest.raises(PageBeingMade):
                    previews.require(_other(document, each), query, began)

    ask(5, 1)
    assert [query.page for query in asked] == [Page(2), Page(3), Page(4)]  # of one document
    asked.clear()

    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 11)
    ask(1, 70)
    assert len(asked) == 50  # of all
    monkeypatch.setattr(time, "monotonic", lambda: now + 22)
    ask(1, 70)
    assert len(asked) == 100


def test_who_cannot_be_asked_is_asked_again(
    pages: Pages, document: Original, began: Generation
) -> None:
    previews, asked = Previews(pages), list[ImageQuery]()

    def refuse(query: ImageQuery) -> None:
        asked.append(query)
        raise JobsUnavailable

    previews.ask = refuse
    for _ in range(2):
        with pytest.raises(JobsUnavailable):
            previews.require(document, QUERY, began)
    assert asked == [QUERY, QUERY]


@pytest.mark.parametrize(("page", "error"), [(None, UnsupportedOriginal), (Page(2), NoSuchPage)])
@pytest.mark.parametrize("are_shown", [True, False])
def test_what_is_no_document_has_no_pages(
    pages: Pages,
    folder: Folder,
    page: Page | None,
    error: type[ImageError],
    began: Generation,
    *,
    are_shown: bool,
) -> None:
    previews = Previews(pages if are_shown else None)
    with pytest.raises(error):
        previews.require(folder.find("a.txt"), ImageQuery(name="a.txt", page=page), began)


def test_a_kind_that_is_not_shown_is_told_so(
    folder: Folder, pages: Pages, tmp_path: Path, began: Generation
) -> None:
    (tmp_path / "root/a.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")

    with pytest.raises(NoPreview, match="svg"):
        Previews(pages).require(folder.find("a.svg"), ImageQuery(name="a.svg"), began)
