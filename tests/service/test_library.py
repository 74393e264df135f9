"""Folders as pages: what is shown, in which order, and what is never made or opened for it."""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import images
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgprocessor.errors import FolderNotFound, OriginalsUnavailable
from imgprocessor.originals.folder import Folder
from imgprocessor.originals.source import FolderState, Listed
from imgprocessor.service.delivery import Delivery
from imgprocessor.service.gallery import library as module
from imgprocessor.service.gallery.library import PAGE_NAMES, Library, TinyPictures, natural_order

MAX_BYTES = 10**8


class _Tiny:
    """Knows nothing of any picture but that it is there."""

    def __init__(self, source: Folder) -> None:
        self._source = source

    def kept(self, name: str) -> None:
        self._source.find(name)


class _Later:
    """Notes what was asked for."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def submit(self, name: str) -> bool:
        self.names.append(name)
        return True


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


def _library(root: Path) -> Library:
    source = Folder(root, MAX_BYTES)
    return Library(source, _Tiny(source), None)  # type: ignore[arg-type]


def _make(root: Path, *names: str | bytes) -> None:
    for name in names:
        path = os.path.join(os.fsencode(root), os.fsencode(name))  # noqa: PTH118 - bytes
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
        if not path.endswith(b"/"):
            with open(path, "wb") as file:  # noqa: PTH123
                file.write(b"x")


def _names(root: Path, folder: str = "") -> tuple[list[str], list[str]]:
    page = _library(root).page(folder)
    return [*page.folders], [picture.name for picture in page.pictures]


def _all(library: Library, folder: str = "", turn: Callable[[], None] = lambda: None) -> list[str]:
    """Return what all pages show, one after the other."""
    shown: list[str] = []
    after: str | None = ""
    while after is not None:
        page = library.page(folder, after)
        shown += [f"{name}/" for name in page.folders] + [shown.name for shown in page.pictures]
        after = page.after
        turn()
    return shown


def test_folders_come_first_and_numbers_count(root: Path) -> None:
    _make(
        root,
        *("b 10/x.jpg", "b 9/x.jpg", "A/x.jpg", "IMG_10.jpg", "IMG_9.JPG", "img_009.png"),
        *("IMG_2.webp", "Ärger.jpg", "azur.gif", "Zebra.jpeg", "zebra 2.jpg", "notes.txt", "x"),
    )

    assert _names(root) == (
        ["A", "b 9", "b 10"],
        [
            *("Ärger.jpg", "azur.gif", "IMG_2.webp", "IMG_9.JPG", "img_009.png", "IMG_10.jpg"),
            *("Zebra.jpeg", "zebra 2.jpg"),
        ],
    )


@given(st.lists(st.text(min_size=1, max_size=8), max_size=8))
def test_no_two_names_are_alike_in_order(names: list[str]) -> None:
    spelled = {*(f"{name}/" for name in names), *(f"{name}.jpg" for name in names)}

    assert len({natural_order(name) for name in spelled}) == len(spelled)


HIDDEN: list[str | bytes] = [
    ".hidden.jpg", "._a.jpg", "@eaDir/a.jpg", "Thumbs.db", ".folder/a.jpg", "closed/.nomedia",
    "closed/a.jpg", "closed/inner/a.jpg", "control\n.jpg", "back\\slash.jpg",
    "back\\slash/a.jpg", b"not-\xff-utf8.jpg",
    b"folder-\xff/a.jpg", "notes.txt",
]  # fmt: skip


def test_what_is_not_to_be_shown_costs_its_own_place_only(root: Path) -> None:
    _make(root, "a.jpg", "folder/b.jpg", *HIDDEN)
    os.mkfifo(root / "fifo.jpg")
    (root / "folder.jpg").mkdir()

    assert _names(root) == (["folder", "folder.jpg"], ["a.jpg"])
    assert _names(root, "folder") == ([], ["folder/b.jpg"])


@pytest.mark.parametrize(
    "folder",
    [
        ".folder", "@eaDir", "closed", "closed/inner", "none", "a.jpg", "..", "folder/..",
        "folder/../folder", "/", "/etc", "//evil.example", "\\evil.example", "a\0", "folder/",
        "folder//", ".", "out", "out/inner", "loop", "folder/up", "self", "https://evil.example/",
        "\udcff", "x" * 300, "x/" * 500 + "x", "closed/.nomedia", "back\\slash",
    ],
)  # fmt: skip
def test_what_may_not_be_shown_is_not_there(root: Path, folder: str) -> None:
    _make(root, "a.jpg", "folder/b.jpg", *HIDDEN)
    (root.parent / "outside" / "inner").mkdir(parents=True)
    (root / "out").symlink_to("../outside")
    (root / "loop").symlink_to(".")
    (root / "folder/up").symlink_to("..")
    (root / "self").symlink_to("self")

    with pytest.raises(FolderNotFound) as caught:
        _library(root).page(folder)
    assert caught.value.public == "There is no such folder."


def test_a_closed_root_shows_nothing(root: Path) -> None:
    _make(root, "a.jpg", ".nomedia")

    with pytest.raises(FolderNotFound):
        _library(root).page("")


def test_links_inside_are_shown_and_every_way_ends(root: Path, tmp_path: Path) -> None:
    _make(root, "a/x.jpg", "b/y.jpg")
    _make(tmp_path, "secret.jpg", "secrets/s.jpg")
    (root / "a/over").symlink_to("../b")
    (root / "b/back").symlink_to("../a")
    (root / "a/link.jpg").symlink_to("../b/y.jpg")
    (root / "a/out.jpg").symlink_to(tmp_path / "secret.jpg")
    (root / "a/out").symlink_to(tmp_path / "secrets")
    (root / "a/dangling.jpg").symlink_to("none")
    (root / "a/self.jpg").symlink_to("self.jpg")
    (root / "a/up").symlink_to("..")

    assert _names(root, "a") == (["a/over"], ["a/link.jpg", "a/x.jpg"])
    # Which leads to the folder that it was come from.
    assert _names(root, "a/over") == ([], ["a/over/y.jpg"])
    with pytest.raises(FolderNotFound):
        _names(root, "a/over/back")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into all folders")
def test_a_folder_without_rights_is_not_there(root: Path) -> None:
    _make(root, "shut/a.jpg")
    (root / "shut").chmod(0)
    try:
        with pytest.raises(FolderNotFound):
            _names(root, "shut")
    finally:
        (root / "shut").chmod(0o755)


@pytest.mark.parametrize("count", [0, 1, PAGE_NAMES, PAGE_NAMES + 1, 3 * PAGE_NAMES + 5])
def test_pages_show_all_once(root: Path, count: int) -> None:
    names = [f"{number}.jpg" for number in range(count)]
    _make(root, *names, "b/", "a/")
    library = _library(root)

    assert _all(library) == ["a/", "b/", *names]
    assert library.page("").before is None


def test_pages_lead_back(root: Path) -> None:
    _make(root, *(f"{number}.jpg" for number in range(3 * PAGE_NAMES)))
    library = _library(root)
    first = library.page("")
    second = library.page("", first.after or "")
    third = library.page("", second.after or "")

    assert third.after is None
    assert third.before == first.after
    assert second.before == ""
    assert library.page("", third.before or "") == second


def test_nothing_is_shown_twice_or_skipped_when_files_come_and_go(root: Path) -> None:
    """Those that are there all the time."""
    stay = [f"{number:04}-stays.jpg" for number in range(300)]
    _make(root, *stay, *(f"{number:04}-goes.jpg" for number in range(200)))
    library, turned = _library(root), iter(range(100))

    def turn() -> None:
        page = next(turned)
        for path in root.glob(f"0{page}??-goes.jpg"):
            path.unlink()
        (root / f"0000-{page}-comes.jpg").write_bytes(b"x")
        for path in sorted(root.glob("*-goes.jpg"))[:40]:  # the very one that a page ended with
            path.unlink()

    shown = _all(library, turn=turn)
    assert [name for name in shown if name.endswith("-stays.jpg")] == stay
    assert len({*shown}) == len(shown)


@pytest.mark.parametrize("after", ["none.jpg", "\udcff", "\0", "zzz", "0" * 5000, "/", ".jpg"])
def test_any_name_will_do_to_go_on_after(root: Path, after: str) -> None:
    _make(root, "a.jpg", "m.jpg")

    shown = [picture.name for picture in _library(root).page("", after).pictures]
    assert shown in ([], ["m.jpg"], ["a.jpg", "m.jpg"])


def _settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all changes be long ago."""
    now = time.time_ns()
    monkeypatch.setattr(module, "time_ns", lambda: now + 10**10)


def test_a_large_folder_is_listed_once_until_it_changes(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _make(root, "a.jpg", "b.jpg")
    listings = 0
    listed = Folder.listed

    def count(source: Folder, name: str) -> Listed:
        nonlocal listings
        listings += 1
        return listed(source, name)

    monkeypatch.setattr(Folder, "listed", count)
    library = _library(root)
    _settle(monkeypatch)
    library.page("")
    library.page("", "a.jpg")
    assert listings == 1
    times = root.stat()
    (root / "c.jpg").write_bytes(b"x")
    os.utime(root, ns=(times.st_atime_ns, times.st_mtime_ns))  # as copying programs do

    assert [picture.name for picture in library.page("").pictures] == ["a.jpg", "b.jpg", "c.jpg"]
    assert listings == 2


def test_a_folder_that_has_just_changed_is_not_taken_for_settled(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time stamp may be the same after another change."""
    _make(root, "a.jpg")
    library, folder = _library(root), Folder.folder
    state = Folder(root, MAX_BYTES).folder("")
    monkeypatch.setattr(
        Folder, "folder", lambda source, name: state if not name else folder(source, name)
    )
    monkeypatch.setattr(module, "time_ns", lambda: state.changed_ns + 10**9)

    assert len(library.page("").pictures) == 1
    (root / "b.jpg").write_bytes(b"x")
    assert len(library.page("").pictures) == 2


def test_what_is_remembered_of_folders_is_bounded(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in "abcd":
        _make(root, *(f"{folder}/{number}.jpg" for number in range(30)))
    monkeypatch.setattr(module, "_MAX_KEPT_NAMES", 70)
    asked: list[str] = []
    listed = Folder.listed

    def note(source: Folder, name: str) -> Listed:
        asked.append(name)
        return listed(source, name)

    monkeypatch.setattr(Folder, "listed", note)
    library = _library(root)
    _settle(monkeypatch)
    for folder in "abcddcba":
        library.page(folder)

    assert asked == [*"abcd", *"ba"]


def test_a_folder_that_vanishes_while_it_is_listed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _make(root, "gone/a.jpg")
    listed = Folder.listed

    def vanish(source: Folder, name: str) -> Listed:
        (root / "gone/a.jpg").unlink()
        (root / "gone").rmdir()
        return listed(source, name)

    monkeypatch.setattr(Folder, "listed", vanish)
    with pytest.raises(FolderNotFound):
        _library(root).page("gone")


def test_pictures_that_vanish_after_the_listing_cost_their_own_place(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _make(root, "a.jpg", "b.jpg", "folder/c.jpg")
    listed = Folder.listed

    def vanish(source: Folder, name: str) -> Listed:
        found = listed(source, name)
        (root / "a.jpg").unlink()
        (root / "folder/c.jpg").unlink()
        (root / "folder").rmdir()
        return found

    monkeypatch.setattr(Folder, "listed", vanish)
    assert _names(root) == ([], ["b.jpg"])


class _Failing:
    """A source whose disk fails."""

    def find(self, name: str) -> None:
        raise OriginalsUnavailable(name)

    def folder(self, name: str) -> FolderState:
        if name:
            raise OriginalsUnavailable(name)
        return FolderState("/root", (1, 1, 1), 1, is_closed=False)

    def listed(self, name: str) -> Listed:
        assert not name
        return Listed(["folder"], ["a.jpg"], [])


def test_a_disk_that_fails_over_a_picture_costs_its_own_place() -> None:
    source = _Failing()

    class Tiny:
        kept = staticmethod(source.find)

    library = Library(source, Tiny(), None)  # type: ignore[arg-type]
    assert [picture.name for picture in library.page("").pictures] == ["a.jpg"]
    with pytest.raises(OriginalsUnavailable):
        library.page("folder")


@pytest.fixture
def tiny(delivery: Delivery, originals: Path) -> TinyPictures:
    return TinyPictures(Folder(originals, MAX_BYTES), delivery)


def test_what_was_made_is_known_of_the_very_version(tiny: TinyPictures, originals: Path) -> None:
    images.save(originals / "portrait.jpg", images.texture((30, 90)), "JPEG")
    assert tiny.kept("portrait.jpg") is None
    tiny.make("portrait.jpg")
    made = tiny.kept("portrait.jpg")

    assert made is not None
    assert (made.format, str(made.original_size), made.size.height) == ("webp", "30x90", 16)
    assert len(made.body) < 200
    images.save(originals / "portrait.jpg", images.texture((31, 90)), "JPEG")
    assert tiny.kept("portrait.jpg") is None


@pytest.mark.parametrize("name", ["none.jpg", "broken.jpg"])
def test_what_cannot_be_made_is_nobodys_failure(
    tiny: TinyPictures, originals: Path, name: str
) -> None:
    (originals / "broken.jpg").write_bytes(b"\xff\xd8 broken")
    tiny.make(name)

    assert name == "none.jpg" or tiny.kept(name) is None


def test_a_page_makes_nothing_and_has_it_made_later(
    delivery: Delivery, originals: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, later = Folder(originals, MAX_BYTES), _Later()
    tiny = TinyPictures(source, delivery)
    library = Library(source, tiny, later)
    for number in range(5):
        (originals / f"{number}.jpg").write_bytes((originals / "nasa.jpeg").read_bytes())

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("opened")

    with monkeypatch.context() as patched:
        patched.setattr(Folder, "open", refuse)
        page = library.page("")
    assert {picture.known for picture in page.pictures} == {None}
    assert later.names == [picture.name for picture in page.pictures]
    for name in later.names:
        tiny.make(name)
    later.names.clear()
    page = library.page("")

    assert [str(picture.known and picture.known.original_size) for picture in page.pictures] == [
        "1534x1022"
    ] * 6
    assert later.names == []


def test_no_folder_is_looked_for_however_deep(root: Path) -> None:
    asked: list[str] = []

    class Noting(Folder):
        def folder(self, name: str) -> FolderState:
            asked.append(name)
            return super().folder(name)

    source = Noting(root, MAX_BYTES)
    with pytest.raises(FolderNotFound):
        Library(source, _Tiny(source), None).page("/".join("a" * 100))  # type: ignore[arg-type]
    assert asked == []


def test_a_folder_that_many_ask_for_is_listed_once(root: Path) -> None:
    _make(root, "cats/a.jpg")
    listed: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    class Slow(Folder):
        def folder(self, name: str) -> FolderState:
            return super().folder(name)._replace(changed_ns=0)  # long ago

        def listed(self, name: str) -> Listed:
            listed.append(name)
            begun.set()
            assert go_on.wait(10)
            return super().listed(name)

    source = Slow(root, MAX_BYTES)
    library = Library(source, _Tiny(source), None)  # type: ignore[arg-type]
    with ThreadPoolExecutor(4) as pool:
        pages = [pool.submit(library.page, "cats") for _ in range(4)]
        assert begun.wait(10)
        go_on.set()
        assert {page.result().pictures[0].name for page in pages} == {"cats/a.jpg"}
    assert listed == ["cats"]
