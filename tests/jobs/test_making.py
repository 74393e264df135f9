"""How pages are made: what counts of what was drawn, and what is remembered of what was not."""

import errno
import io
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, NoReturn

import images
import pytest
from PIL import Image
from sketches import GOOD, PAGES, RESULT, SKETCH, Hand, Sketch, abilities_of, leaves, raises

from imgprocessor.config.settings import Settings
from imgprocessor.errors import (
    Busy,
    JobOver,
    NoPreview,
    NoSuchPage,
    OversizedOriginal,
    UndrawableDocument,
    UnsupportedOriginal,
)
from imgprocessor.geometry import Page
from imgprocessor.images.previews.kind import (
    CUT_OFF,
    DAMAGED,
    EMPTY,
    LOCKED,
    TOO_LARGE,
    TOO_SLOW,
    UNDRAWABLE,
)
from imgprocessor.jobs.previews.making import ByJob, PageElsewhere, PageMaker
from imgprocessor.jobs.previews.steps import ConfinedRun
from imgprocessor.originals.folder import Folder
from imgprocessor.originals.pages import KnownPage, PageFailure, Pages
from imgprocessor.originals.source import Original
from imgprocessor.parts import direct_renderer
from imgprocessor.rendering.check import Check
from imgprocessor.rendering.job import Job, Renderer
from imgprocessor.reporting import complain
from imgprocessor.storage.generation import Generations
from imgprocessor.storage.locks import Locks
from imgprocessor.storage.plain_files import PlainFiles
from imgprocessor.storage.shared.entries import Shared, SharedEntries

AGAIN_SECONDS = 300.0
FOR_GOOD_SECONDS = 20 * 365 * 86_400.0
MAX_SIDE_PIXELS = 200


class SharedInMemory(SharedEntries):
    """What nodes share, and no purge reaches."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], bytes] = {}

    def look(self, group: str, key: str) -> Shared:
        """Look for an entry."""
        body = self.kept.get((group, key))
        return Shared(None, {"memory": "mark"}) if body is None else Shared(body)

    def keep(self, group: str, key: str, body: bytes, marks: object) -> None:
        """Keep an entry, at once."""
        assert marks
        self.kept[group, key] = body


class Node:
    """A node whose worker draws by hand."""

    def __init__(self, folder: Path, settings: Settings, shared: SharedEntries | None) -> None:
        self.folder, self.hand, self.jobs = folder, Hand(), 0
        limits = replace(settings.originals, max_decoded_bytes=6 * MAX_SIDE_PIXELS**2)
        self.renderer: Renderer = direct_renderer(replace(settings, originals=limits))
        self.locks = Locks(folder / "locks")
        self.maker = PageMaker(
            self._pages(10_000_000, shared),
            abilities_of(self.hand),
            side_pixels=100,
            document_seconds=5,
            max_document_bytes=1000,
            again_seconds=AGAIN_SECONDS,
            locks=self.locks,
            at_once=1,
        )

    def _pages(self, max_bytes: int, shared: SharedEntries | None) -> Pages:
        copies = self.folder / "copies"
        files = PlainFiles(copies, max_bytes=max_bytes, min_free_percent=0, complain=complain)
        generations = Generations(self.folder)
        return Pages(files, self.locks, ["sketch"], generations, shared, side_pixels=100)

    def with_room_for(self, max_bytes: int) -> None:
        """Keep no more than so many bytes of pages."""
        self.maker = replace(self.maker, pages=self._pages(max_bytes, None))

    def make(
        self, document: Original, page: Page | None = None, *, is_private: bool = False
    ) -> Original:
        """Make a page by a job of its own."""
        self.jobs += 1
        folder = self.folder / f"job-{self.jobs}"
        folder.mkdir(parents=True)
        by_job = ByJob(folder, self.renderer, lambda: True, is_private)
        return self.maker.make(document, page, by_job)

    @property
    def draws(self) -> int:
        """How often anything was drawn."""
        return len(self.hand.draws)

    def kept(self) -> bool:
        """Whether there are entries of pages, or of what came of them."""
        return any(path.is_file() for path in (self.folder / "copies/entries").rglob("*"))


@pytest.fixture(autouse=True)
def sketch(monkeypatch: pytest.MonkeyPatch) -> Sketch:
    """The only kind of document."""
    kind = Sketch()
    monkeypatch.setattr("imgprocessor.images.previews.registry.KINDS", [kind])
    monkeypatch.setattr("imgprocessor.jobs.previews.ability.KINDS", [kind])
    return kind


@pytest.fixture
def shared() -> SharedInMemory:
    return SharedInMemory()


@pytest.fixture
def node(tmp_path: Path, settings: Settings, shared: SharedInMemory) -> Node:
    return Node(tmp_path / "node", settings, shared)


@pytest.fixture
def other(tmp_path: Path, settings: Settings, shared: SharedInMemory) -> Node:
    return Node(tmp_path / "other", settings, shared)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    (tmp_path / "root/a.sketch").write_bytes(SKETCH)
    return tmp_path / "root/a.sketch"


@pytest.fixture
def document(file: Path) -> Original:
    return Folder(file.parent, 1000).find(file.name)


Later = Callable[[float], None]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    """Have it be so many seconds later than it was at first."""
    now = time.time()

    def be(seconds: float) -> None:
        monkeypatch.setattr(time, "time", lambda: now + seconds)

    return be


def body(page: Original) -> bytes:
    with page.source.open(page) as (opened, _):
        return opened.read()


def test_a_page_is_drawn_once_and_kept_with_how_many_there_are(
    node: Node, document: Original
) -> None:
    page = node.make(document)

    assert body(page) == GOOD
    assert Image.open(io.BytesIO(body(page))).size == (40, 30)
    assert node.maker.pages.known(document, None) == KnownPage(len(GOOD), "sketch", PAGES)
    assert node.make(document) == page
    assert node.hand.draws == [("1", SKETCH)]
    node.make(document, Page(2))
    assert node.hand.draws == [("1", SKETCH), ("2", SKETCH)]


def test_what_else_was_in_the_file_is_not_kept(node: Node, document: Original) -> None:
    node.hand.does = leaves(GOOD + b"<script>")

    assert body(node.make(document)) == GOOD


def _nothing(_: ConfinedRun) -> None:
    pass


def _a_link(run: ConfinedRun) -> None:
    picture = run.folder / "picture"
    picture.write_bytes(GOOD)
    (run.folder / RESULT).symlink_to(picture)


def _a_link_to_the_document(run: ConfinedRun) -> None:
    (run.folder / RESULT).symlink_to(run.document)


def _a_folder(run: ConfinedRun) -> None:
    (run.folder / RESULT).mkdir()


TOO_MANY_PIXELS = images.encoded(Image.new("RGB", (MAX_SIDE_PIXELS, MAX_SIDE_PIXELS + 1)), "PNG")


@pytest.mark.parametrize(
    ("does", "public"),
    [
        (leaves(GOOD[:-20]), UNDRAWABLE),
        (leaves(GOOD[:40]), UNDRAWABLE),
        (leaves(b"<!doctype html><title>Not found</title>"), UNDRAWABLE),
        (leaves(b""), EMPTY),
        (_nothing, EMPTY),
        (_a_link, EMPTY),
        (_a_link_to_the_document, EMPTY),
        (_a_folder, EMPTY),
        (leaves(TOO_MANY_PIXELS), TOO_LARGE),
    ],
    ids=["cut off", "a head", "HTML", "empty", "nothing", "link", "document", "folder", "pixels"],
)
def test_what_is_no_picture_is_refused_and_not_kept(
    node: Node,
    document: Original,
    shared: SharedInMemory,
    does: Callable[[ConfinedRun], object],
    public: str,
) -> None:
    node.hand.does = does

    with pytest.raises(UndrawableDocument) as refused:
        node.make(document)

    assert refused.value.public == public
    assert node.maker.pages.known(document, None) is None
    pages = [path for path in (node.folder / "copies").rglob("*") if path.is_file()]
    assert all(b'"failed"' in path.read_bytes() for path in pages if "entries" in path.parts)
    assert all(b'"failed"' in content for content in shared.kept.values())
    assert all(content.endswith(b"}\n") for content in shared.kept.values())


class ShortRenderer:
    """Has no memory left."""

    def require_place(self) -> None:
        """Say that there is a place."""

    def render(self, job: Job) -> NoReturn:
        """Make nothing."""
        del job
        raise OversizedOriginal.for_want_of_memory()

    def check(self, job: Check) -> NoReturn:
        """Decode nothing."""
        del job
        raise OversizedOriginal.for_want_of_memory()


def test_what_no_worker_can_decode_for_want_of_memory_is_tried_again(
    node: Node, document: Original, later: Later
) -> None:
    good, node.renderer = node.renderer, ShortRenderer()
    with pytest.raises(UndrawableDocument) as refused:
        node.make(document)
    assert refused.value.public == UNDRAWABLE
    node.renderer = good
    later(AGAIN_SECONDS + 1)

    assert body(node.make(document)) == GOOD


class Remembered(NamedTuple):
    """What is remembered of a failure."""

    error: PageFailure
    seconds: float | None
    is_of_all: bool


REMEMBERED = [
    Remembered(NoPreview("Nothing is drawn."), 60, is_of_all=False),
    Remembered(UndrawableDocument(TOO_SLOW), AGAIN_SECONDS, is_of_all=True),
    Remembered(UndrawableDocument(UNDRAWABLE), AGAIN_SECONDS, is_of_all=False),
    Remembered(UndrawableDocument(LOCKED), None, is_of_all=True),
    Remembered(UndrawableDocument(EMPTY), None, is_of_all=True),
    Remembered(UndrawableDocument(CUT_OFF), None, is_of_all=True),
    Remembered(UndrawableDocument(DAMAGED), None, is_of_all=False),
    Remembered(UndrawableDocument(TOO_LARGE), None, is_of_all=False),
    Remembered(NoSuchPage("The document has no page 1."), None, is_of_all=False),
]


@pytest.fixture(params=REMEMBERED, ids=lambda one: one.error.public)
def failure(request: pytest.FixtureRequest, node: Node) -> Remembered:
    """What comes of drawing."""
    one: Remembered = request.param
    node.hand.does = raises(type(one.error)(one.error.public, "a detail"))
    return one


def _require_remembered(node: Node, document: Original, failure: Remembered) -> None:
    draws = node.draws
    with pytest.raises(type(failure.error)) as refused:
        node.make(document)
    assert refused.value.public == failure.error.public
    assert node.draws == draws


def test_a_failure_is_remembered_as_long_as_it_may_last(
    node: Node, document: Original, failure: Remembered, later: Later
) -> None:
    with pytest.raises(type(failure.error), match="a detail"):
        node.make(document)
    node.hand.does = leaves(GOOD)
    node.maker.abilities.look()
    later(FOR_GOOD_SECONDS if failure.seconds is None else failure.seconds - 1)

    _require_remembered(node, document, failure)

    if failure.seconds is not None:
        later(failure.seconds + 1)
        assert body(node.make(document)) == GOOD


def test_some_failures_are_of_the_whole_document(
    node: Node, document: Original, failure: Remembered
) -> None:
    with pytest.raises(type(failure.error)):
        node.make(document, Page(2))
    node.hand.does = leaves(GOOD)
    node.maker.abilities.look()

    if failure.is_of_all:
        _require_remembered(node, document, failure)
    else:
        assert body(node.make(document)) == GOOD


def test_a_page_that_is_there_stays_where_another_one_fails(
    node: Node, document: Original, failure: Remembered
) -> None:
    does, node.hand.does = node.hand.does, leaves(GOOD)
    page = node.make(document)
    node.hand.does = does
    with pytest.raises(type(failure.error)):
        node.make(document, Page(2))

    assert body(node.make(document)) == body(page)


def test_lasting_failures_are_shared(
    node: Node, other: Node, document: Original, failure: Remembered
) -> None:
    with pytest.raises(type(failure.error)):
        node.make(document)

    if failure.seconds is None:
        _require_remembered(other, document, failure)
        if failure.is_of_all:
            with pytest.raises(type(failure.error)):
                other.make(document, Page(2))
            assert other.draws == 0
    else:
        assert body(other.make(document)) == GOOD


def test_pages_are_shared(node: Node, other: Node, document: Original) -> None:
    node.make(document)

    assert body(other.make(document)) == GOOD
    assert other.draws == 0
    assert other.maker.pages.known(document, None) == KnownPage(len(GOOD), "sketch", PAGES)


def test_nothing_of_a_private_document_is_shared(
    node: Node, document: Original, shared: SharedInMemory
) -> None:
    node.make(document, is_private=True)
    node.hand.does = raises(UndrawableDocument(DAMAGED))
    with pytest.raises(UndrawableDocument):
        node.make(document, Page(2), is_private=True)

    assert shared.kept == {}
    node.hand.does = leaves(GOOD)
    node.make(document, Page(3))
    assert len(shared.kept) == 1


def test_where_the_disk_is_full_no_document_is_to_blame(
    node: Node, document: Original, later: Later, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.hand.does = leaves(b"")
    usage = shutil.disk_usage(node.folder.parent)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: usage._replace(free=49_000_000))
        with pytest.raises(NoPreview, match="the disk is full") as refused:
            node.make(document)
    assert refused.value.public == "No worker can draw documents at the moment."
    node.hand.does = leaves(GOOD)
    later(59)
    with pytest.raises(NoPreview):
        node.make(document)
    assert node.maker.abilities.sandbox is not None
    later(61)

    assert body(node.make(document)) == GOOD


def test_where_there_is_no_room_for_pages_it_is_said_for_a_minute(
    node: Node, document: Original, later: Later
) -> None:
    node.with_room_for(80_000)
    node.hand.does = leaves(images.encoded(images.noise((90, 90)), "PNG"))
    for seconds, draws in ((0, 1), (59, 1), (61, 2)):
        later(seconds)
        with pytest.raises(NoPreview) as refused:
            node.make(document)
        assert refused.value.public == "There is no room for pages of documents at the moment."
        assert node.draws == draws


def test_a_worker_that_cannot_write_is_remembered_for_a_minute(
    node: Node, document: Original, later: Later
) -> None:
    told = node.maker.failed(document, None, OSError(errno.EIO, "Input/output error"))

    assert told.public == "No worker can draw documents at the moment."
    later(59)
    with pytest.raises(NoPreview):
        node.make(document)
    later(61)
    assert body(node.make(document)) == GOOD


def test_a_document_that_was_replaced_is_looked_for_again(
    node: Node, file: Path, document: Original
) -> None:
    fresh = file.with_name("fresh")
    fresh.write_bytes(SKETCH + b", another one")
    fresh.replace(file)

    with pytest.raises(Busy):
        node.make(document)

    assert node.draws == 0
    assert not node.kept()
    found = Folder(file.parent, 1000).find(file.name)
    node.make(found)
    assert node.hand.draws == [("1", SKETCH + b", another one")]


def test_a_page_that_another_worker_makes_is_left_to_it(node: Node, document: Original) -> None:
    with node.maker.pages.turn(document, None, 0) as mine:
        assert mine
        with pytest.raises(PageElsewhere):
            node.make(document)
        assert node.draws == 0
        node.make(document, Page(2))
    node.make(document)
    assert [page for page, _ in node.hand.draws] == ["2", "1"]


def test_a_page_that_is_there_when_the_turn_comes_is_not_drawn_again(
    node: Node, document: Original
) -> None:
    """Not even while somebody has its turn."""
    node.maker.pages.keep(document, None, GOOD, KnownPage(len(GOOD), "sketch", PAGES))

    with node.maker.pages.turn(document, None, 0):
        assert body(node.make(document)) == GOOD
    assert body(node.make(document)) == GOOD
    assert node.draws == 0


def test_where_all_places_are_taken_a_page_waits(node: Node, document: Original) -> None:
    with node.locks.held("drawing 0", 0):
        with pytest.raises(Busy, match="as many documents are drawn as may be"):
            node.make(document)
        assert node.draws == 0
        node.maker = replace(node.maker, at_once=2)
        node.make(document)


def test_a_place_is_free_again_whatever_came_of_it(node: Node, document: Original) -> None:
    node.hand.does = raises(UndrawableDocument(DAMAGED))
    with pytest.raises(UndrawableDocument):
        node.make(document)
    node.hand.does = leaves(GOOD)

    assert body(node.make(document, Page(2))) == GOOD


@pytest.mark.parametrize("comes_of_it", [leaves(GOOD), raises(UndrawableDocument(DAMAGED))])
def test_what_is_purged_while_it_is_drawn_is_not_kept(
    tmp_path: Path,
    settings: Settings,
    document: Original,
    comes_of_it: Callable[[ConfinedRun], object],
) -> None:
    node = Node(tmp_path / "alone", settings, None)

    def draw(run: ConfinedRun) -> None:
        node.maker.pages.purge(document.group)
        comes_of_it(run)

    node.hand.does = draw
    with pytest.raises((Busy, UndrawableDocument)):
        node.make(document)

    assert not node.kept()
    node.hand.does = leaves(GOOD)
    assert body(node.make(document)) == GOOD


def test_what_is_not_wanted_any_more_leaves_nothing(
    node: Node, document: Original, shared: SharedInMemory
) -> None:
    node.hand.does = raises(JobOver())
    with pytest.raises(JobOver):
        node.make(document)

    assert not node.kept()
    assert shared.kept == {}


def test_a_sandbox_that_failed_is_looked_for_anew(
    node: Node, document: Original, later: Later
) -> None:
    abilities, failed = node.maker.abilities, node.maker.abilities.sandbox
    node.hand.does = raises(NoPreview("Documents cannot be drawn at the moment.", "no namespaces"))
    with pytest.raises(NoPreview, match="no namespaces"):
        node.make(document)

    assert abilities.sandbox is None
    with pytest.raises(NoPreview, match="the sandbox failed a moment ago") as refused:
        node.make(document, Page(2))
    assert refused.value.public == ("This server cannot show such documents at the moment: Sketch.")
    assert node.draws == 1
    node.hand.does = leaves(GOOD)
    abilities.look()
    assert abilities.sandbox is not None
    assert abilities.sandbox is not failed
    later(61)
    assert body(node.make(document)) == GOOD


def test_a_kind_that_lacks_something_is_not_drawn_and_keeps_no_other(
    node: Node, document: Original, sketch: Sketch, later: Later
) -> None:
    sketch.lacking = "Pencil is not installed (Debian: pencil)"
    node.maker.abilities.look()
    with pytest.raises(NoPreview, match="Pencil is not installed") as refused:
        node.make(document)

    assert refused.value.public == "This server cannot show such documents at the moment: Sketch."
    assert node.draws == 0
    assert node.maker.abilities.sandbox is not None
    sketch.lacking = None
    node.maker.abilities.look()
    later(61)
    assert body(node.make(document)) == GOOD


def test_a_kind_that_is_not_wanted_is_not_drawn(node: Node, document: Original) -> None:
    node.maker.abilities._wanted = []  # noqa: SLF001 - settings
    node.maker.abilities.look()

    with pytest.raises(NoPreview, match="not among"):
        node.make(document)


def test_what_is_no_document_is_not_drawn(node: Node, file: Path) -> None:
    file.write_bytes(b"some text")

    with pytest.raises(UnsupportedOriginal):
        node.make(Folder(file.parent, 1000).find(file.name))

    assert node.draws == 0
    assert not node.kept()


def test_a_document_that_is_too_large_is_not_drawn(node: Node, file: Path) -> None:
    file.write_bytes(SKETCH.ljust(1000))
    node.make(Folder(file.parent, 2000).find(file.name))
    assert node.draws == 1
    file.write_bytes(SKETCH.ljust(1001))

    with pytest.raises(UndrawableDocument) as refused:
        node.make(Folder(file.parent, 2000).find(file.name))

    assert refused.value.public == TOO_LARGE
    assert node.draws == 1
