"""Uploads without the web: taken once, kept with their sizes, removed everywhere."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import images
import pytest
from upload_houses import MODERN, PLAIN, WEBP, House, house

from imgprocessor.config.settings import Settings
from imgprocessor.config.upload_settings import UploadsSettings
from imgprocessor.errors import (
    BadQuery,
    BrokenOriginal,
    DeadlyOriginal,
    ImageError,
    NoRoom,
    NoSuchUpload,
    NotAllGone,
    Overloaded,
    TooLarge,
    UnsupportedUpload,
)
from imgprocessor.parts import upload_store
from imgprocessor.request.sizes import read_sizes
from imgprocessor.service.delivery import Answer, Found
from imgprocessor.service.understanding import Incoming
from imgprocessor.storage.uploads.folder import UploadFolder
from imgprocessor.storage.uploads.store import Record


@pytest.fixture
def here(settings: Settings, tmp_path: Path) -> House:
    """Uploads as delivered, but for their folder."""
    uploads = UploadsSettings(enabled=True, folder=tmp_path / "uploads", min_free_bytes=0)
    return house(replace(settings, uploads=uploads))


def test_it_is_called_by_every_byte_that_was_sent(here: House, photograph: bytes) -> None:
    accepted = here.upload(photograph + b"rest")

    assert accepted.ident == hashlib.sha256(photograph + b"rest").hexdigest()[:32]
    assert accepted.is_new


def test_what_is_kept_has_nothing_that_follows(here: House, photograph: bytes) -> None:
    ident = here.upload(photograph + b"<script>").ident
    store = upload_store(here.settings)
    assert store is not None
    with store.open(ident) as file:
        kept = file.read()
    found = store.find(ident)

    assert found is not None
    assert b"script" not in kept
    assert found.record["sha256"] == hashlib.sha256(kept).hexdigest()
    assert found.record["sent_sha256"][:32] == ident
    assert (found.record["format"], found.record["width"], found.record["by"]) == (
        "jpeg",
        600,
        "somebody",
    )


def test_the_same_bytes_are_there_already(here: House, photograph: bytes) -> None:
    first = here.upload(photograph, "100x50")
    second = here.upload(photograph, "100x50,150x<60")

    assert (first.is_new, second.is_new) == (True, False)
    assert first.ident == second.ident
    assert [str(size) for size in second.sizes] == ["100x50", "150x<60"]


def test_eight_equal_ones_at_once_are_one(here: House, photograph: bytes) -> None:
    houses = [house(here.settings) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        all_of_them = list(pool.map(lambda one: one.upload(photograph, "100x50"), houses))

    assert sorted(one.is_new for one in all_of_them) == [False] * 7 + [True]
    assert {one.ident for one in all_of_them} == {all_of_them[0].ident}
    assert here.kept == ["100x50.best", "100x50.plain"]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", UnsupportedUpload),
        (b"<html>", UnsupportedUpload),
        (b"\xff\xd8\xff", BrokenOriginal),
        (b"\x89PNG\r\n\x1a\n", BrokenOriginal),
    ],
)
def test_what_is_no_picture_leaves_nothing(
    here: House, body: bytes, error: type[ImageError]
) -> None:
    with pytest.raises(error):
        here.upload(body)

    assert not [file for file in here.settings.uploads.folder.rglob("*/*") if file.is_file()]


def test_what_is_cut_off_is_refused(here: House, photograph: bytes) -> None:
    for length in (len(photograph) - 1, len(photograph) // 2, 300):
        with pytest.raises(BrokenOriginal):
            here.upload(photograph[:length])


def test_kept_sizes_are_there_at_once_for_both_kinds_of_clients(
    here: House, photograph: bytes
) -> None:
    ident = here.upload(photograph, "100x50,100x0").ident

    assert here.kept == ["100x0.best", "100x0.plain", "100x50.best", "100x50.plain"]
    for path, query, width, height in [
        (f"{ident}.jpg", "width=100&height=50", 100, 50),
        (f"100/50/{ident}.jpg", "", 100, 50),
        (f"100/{ident}.jpg", "", 100, 67),
    ]:
        best, plain = here.ask(path, query, MODERN), here.ask(path, query, PLAIN)
        assert {best.source, plain.source} == {"store"}
        assert (best.rendition.size.width, best.rendition.size.height) == (width, height)
        assert plain.rendition.format == "jpeg"
        assert best.rendition.format in {"avif", "webp"}


@pytest.mark.parametrize(
    ("accept", "hints"),
    [
        pytest.param(WEBP, {}, id="webp alone"),
        pytest.param(MODERN, {"sec-ch-dpr": "2"}, id="dense"),
        pytest.param(MODERN, {"ect": "2g"}, id="slow"),
    ],
)
def test_what_others_get_is_cached_and_not_kept(
    here: House, photograph: bytes, accept: str, hints: dict[str, str]
) -> None:
    ident = here.upload(photograph, "100x50").ident
    path = f"100/50/{ident}.jpg"
    first = here.ask(path, "", accept, **hints)
    again = here.ask(path, "", accept, **hints)

    assert (first.source, again.source) == ("master", "store")
    assert first.found.for_good is None
    assert here.kept == ["100x50.best", "100x50.plain"]


def test_kept_sizes_outlive_the_cache(here: House, photograph: bytes) -> None:
    ident = here.upload(photograph, "100x50").ident
    here.delivery.purge_all()

    assert here.ask(f"100/50/{ident}.jpg").source == "store"


def test_without_a_size_it_is_the_policys_picture(here: House, photograph: bytes) -> None:
    ident = here.upload(photograph).ident

    answer = here.ask(f"{ident}.jpg", "", MODERN)

    assert answer.found.planned.decision.screen is not None
    assert answer.rendition.format != "jpeg"  # .jpg does not choose the format


def test_a_file_of_that_name_comes_first(here: House, photograph: bytes) -> None:
    ident = here.upload(photograph, "100x50").ident
    file = here.settings.originals.folders[0] / f"{ident}.jpg"
    images.save(file, images.texture((300, 300)), "JPEG")

    assert here.ask(f"{ident}.jpg").rendition.original_size.width == 300
    assert here.ask(f"100/50/{ident}.jpg").found.for_good is None
    file.unlink()
    assert here.ask(f"{ident}.jpg").rendition.original_size.width == 600


def test_after_a_change_the_old_ones_are_sent_until_they_are_made_anew(
    here: House, photograph: bytes
) -> None:
    ident = here.upload(photograph, "100x50").ident
    path = f"100/50/{ident}.jpg"
    before = here.ask(path)
    pixels = replace(here.settings.pixels, background="#102030")
    changed = house(replace(here.settings, pixels=pixels))

    old = changed.ask(path)
    made = changed.uploads.remake(ident)
    new = changed.ask(path)

    assert old.rendition.body == before.rendition.body
    assert old.found.etag == before.found.etag != new.found.etag
    assert old.found.planned.imagekey == new.found.planned.imagekey
    assert (made, changed.uploads.remake(ident)) == (2, 0)


def test_a_kept_size_that_is_lost_is_made_again_and_kept(here: House, photograph: bytes) -> None:
    ident = here.upload(photograph, "100x50").ident
    (file,) = here.settings.uploads.folder.rglob("100x50.plain")
    file.unlink()

    assert here.ask(f"100/50/{ident}.jpg").source == "master"
    assert here.ask(f"100/50/{ident}.jpg").source == "store"
    assert file.exists()


def test_sizes_are_bounded_over_all_requests(here: House, photograph: bytes) -> None:
    ident = here.upload(photograph).ident
    most = here.settings.uploads.max_sizes
    here.uploads.add_sizes(ident, read_sizes(",".join(f"{n}x1" for n in range(1, most)), 99, 4096))

    with pytest.raises(BadQuery, match="no more than 20"):
        here.uploads.add_sizes(ident, read_sizes("500x1,501x1", 99, 4096))

    assert len(here.uploads.found(ident).sizes) == most - 1
    assert len(here.uploads.add_sizes(ident, read_sizes("1x1,500x1", 99, 4096)).sizes) == most


def test_many_sizes_are_made_behind_the_answer(here: House, photograph: bytes) -> None:
    handed_on: list[str] = []

    class Later:
        def submit(self, name: str) -> bool:
            handed_on.append(name)
            return True

    here.uploads.work_later(Later())
    ident = here.upload(photograph, "1x1,2x2,3x3,4x4,5x5").ident

    assert len(here.kept) == 8
    assert handed_on == [ident]
    here.uploads.make_missing(ident)
    assert len(here.kept) == 10


@pytest.mark.parametrize("kind", [DeadlyOriginal, NoSuchUpload, Overloaded])
def test_what_is_kept_is_told_though_no_size_can_be_made(
    here: House, photograph: bytes, kind: type[ImageError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Because a worker dies, or somebody removes it at that moment, or all workers are busy."""

    def fail(_: Found, **__: bool) -> Answer:
        raise kind

    with monkeypatch.context() as failing:
        failing.setattr(here.delivery, "answer", fail)
        assert here.upload(photograph, "100x50").is_new

    again = here.upload(photograph, "100x50")
    assert (again.is_new, len(again.sizes), len(here.kept)) == (False, 1, 2)


def test_what_is_removed_the_moment_it_is_kept_was_taken(
    here: House, photograph: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = UploadFolder.add

    def add_and_remove(store: UploadFolder, ident: str, file: Path, record: Record) -> bool:
        is_new = add(store, ident, file, record)
        here.uploads.remove(ident)
        return is_new

    monkeypatch.setattr(UploadFolder, "add", add_and_remove)

    assert here.upload(photograph, "100x50").is_new


def test_sizes_of_nothing_are_not_added(here: House) -> None:
    with pytest.raises(NoSuchUpload):
        here.uploads.add_sizes("0" * 32, read_sizes("1x1", 9, 99))


def test_what_is_removed_is_gone_everywhere(here: House, photograph: bytes) -> None:
    ident = here.upload(photograph, "100x50").ident
    here.ask(f"{ident}.jpg", "", MODERN)
    here.ask(f"{ident}.jpg", "width=90&fit=inside")

    here.uploads.remove(ident)

    for path in (f"{ident}.jpg", f"100/50/{ident}.jpg"):
        with pytest.raises(NoSuchUpload):
            here.ask(path)
    with pytest.raises(NoSuchUpload):
        here.uploads.remove(ident)
    left = [*here.settings.uploads.folder.rglob("*"), *here.settings.disk_cache.folder.rglob("*")]
    assert not [file for file in left if file.is_file() and file.stat().st_size > 1000]
    assert here.upload(photograph).is_new


def test_what_cannot_be_forgotten_everywhere_is_no_success(
    here: House, photograph: bytes, tmp_path: Path
) -> None:
    purge = replace(here.settings.purge, varnish=("127.0.0.1:9",))
    without_cache = house(replace(here.settings, purge=purge))
    ident = without_cache.upload(photograph).ident

    for _ in range(2):
        with pytest.raises(NotAllGone):
            without_cache.uploads.remove(ident)
        with pytest.raises(NoSuchUpload):
            without_cache.ask(f"{ident}.jpg")
    without_cache.uploads.sweep()
    assert list(tmp_path.rglob("original"))
    here.uploads.sweep()  # as if the cache were there again

    assert not list(tmp_path.rglob("original"))
    with pytest.raises(NoSuchUpload):
        here.uploads.remove(ident)


def test_no_running_render_brings_it_back(here: House, photograph: bytes) -> None:
    ident = here.upload(photograph).ident
    here.uploads.add_sizes(ident, ())
    asked = here.delivery.understand(Incoming("width=80&fit=inside", {}, f"{ident}.jpg"))
    of_size = here.delivery.understand(Incoming("size=100x50", {}, f"{ident}.jpg"))
    found, found_size = here.delivery.find(asked), here.delivery.find(of_size)
    render, begun, may_end = here.delivery.render, threading.Semaphore(0), threading.Event()

    def slow(*arguments: object, **options: bool) -> Answer:
        answer = render(*arguments, **options)  # type: ignore[arg-type]
        begun.release()
        assert may_end.wait(20)
        return answer

    here.delivery.render = slow  # type: ignore[assignment, method-assign]
    threads = [
        threading.Thread(target=here.delivery.answer, args=(one,)) for one in (found, found_size)
    ]
    for thread in threads:
        thread.start()
    assert all(begun.acquire(timeout=20) for _ in threads)
    here.uploads.remove(ident)
    may_end.set()
    for thread in threads:
        thread.join()

    entries = [*here.settings.disk_cache.folder.glob("renditions/entries/*/*/*")]
    assert not entries
    assert not list(here.settings.uploads.folder.rglob("kept/*/*"))


def test_bounds_are_told_before_a_body_is_read(here: House, photograph: bytes) -> None:
    with pytest.raises(TooLarge, match="52428800"):
        here.uploads.require_room(52_428_801)
    few = replace(here.settings, uploads=replace(here.settings.uploads, max_uploads=1))
    one = house(few)
    one.upload(photograph)
    with pytest.raises(NoRoom):
        one.uploads.require_room(1)
    with pytest.raises(NoRoom):
        one.upload(photograph + b"x")


@pytest.fixture
def strict(here: House, tmp_path: Path) -> House:
    """Uploads under a policy that allows two widths."""
    file = tmp_path / "policy.ini"
    text = here.settings.policy.file.read_text()
    file.write_text(f"{text}\n[allowed]\nsizes = 320 640\n")
    return house(replace(here.settings, policy=replace(here.settings.policy, file=file)))


def test_a_kept_size_may_be_asked_for_whatever_is_allowed(strict: House, photograph: bytes) -> None:
    ident = strict.upload(photograph, "100x50").ident

    assert strict.ask(f"100/50/{ident}.jpg").rendition.size.width == 100
    assert strict.ask(f"{ident}.jpg", "size=100x50&dpr=2").rendition.size.width == 200
    for path, query in [
        (f"100/51/{ident}.jpg", ""),
        (f"{ident}.jpg", "size=100x50&gravity=north"),
        (f"100/50/{'0' * 32}.jpg", ""),
    ]:
        with pytest.raises((BadQuery, NoSuchUpload)):
            strict.ask(path, query)
    assert strict.ask(f"{ident}.jpg", "width=320&fit=inside").rendition.size.width == 320
