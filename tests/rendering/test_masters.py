"""Masters: made when a second rendition is wanted, the same bytes whether one was kept or not, made
once, and never an old one.
"""

import io
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from multiprocessing.pool import Pool
from pathlib import Path

import images
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from imgprocessor.config.settings import OriginalsSettings, PixelsSettings
from imgprocessor.errors import BrokenOriginal, Busy
from imgprocessor.geometry import Box, Fit
from imgprocessor.images.decode import Metadata
from imgprocessor.images.formats.encoder import saved
from imgprocessor.images.formats.encoders import ENCODERS
from imgprocessor.images.pipeline import render
from imgprocessor.originals.folder import Folder
from imgprocessor.originals.source import Original
from imgprocessor.policy.plan import Plan
from imgprocessor.policy.table import Cell
from imgprocessor.rendering.masters import Masters
from imgprocessor.storage.disk_cache import DiskCache
from imgprocessor.storage.locks import Locks
from imgprocessor.timing import Timings

PLAN = Plan(
    box=Box(300, None),
    fit=Fit.INSIDE,
    density=Decimal(1),
    bandwidth="4g",
    screen=None,
    formats=("png",),
    quality_limit=None,
    bytes_limit=None,
    cell=Cell(75),
    pixels=PixelsSettings(),
    encoders="",
)
LIMITS = OriginalsSettings()
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def sideways(image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return images.encoded(image, "JPEG", exif=exif.tobytes())


ODD: dict[str, Callable[[], bytes]] = {
    "large": lambda: images.encoded(images.texture((2700, 1800)), "JPEG", quality=90),
    "progressive": lambda: images.encoded(images.texture((2600, 1700)), "JPEG", progressive=True),
    "grey": lambda: images.encoded(images.texture((1500, 1000)).convert("L"), "JPEG"),
    "cmyk": lambda: images.encoded(images.texture((1500, 1000)).convert("CMYK"), "JPEG"),
    "profile": lambda: images.encoded(images.texture((900, 700)), "JPEG", icc_profile=SRGB),
    "sideways": lambda: sideways(images.texture((2600, 1301))),
    "png": lambda: images.encoded(images.texture((2600, 1701)), "PNG"),
    "alpha": lambda: images.encoded(images.texture((700, 501)).convert("RGBA"), "PNG"),
    "grey alpha": lambda: images.encoded(images.texture((700, 501)).convert("LA"), "PNG"),
    "sixteen bits": lambda: images.encoded(Image.new("I;16", (700, 500), 40_000), "PNG"),
    "one bit": lambda: images.encoded(images.texture((700, 500)).convert("1"), "PNG"),
    "palette": lambda: images.encoded(images.texture((700, 500)).convert("P"), "GIF"),
    "webp": lambda: images.encoded(images.texture((1300, 900)), "WEBP"),
    "tiny": lambda: images.encoded(images.texture((5, 3)), "PNG"),
}


@pytest.fixture(autouse=True)
def _hardly_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write PNG quickly: it has every pixel all the same, and masters do not pack it."""
    quick = replace(
        ENCODERS["png"],
        write=lambda image, _, exif: saved(image, "PNG", exif=exif, compress_level=1),
    )
    monkeypatch.setitem(ENCODERS, "png", quick)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "originals"
    folder.mkdir()
    return folder


def make(
    cache: Path, *, max_bytes: int = 200_000_000, report: Callable[[BaseException], None] = print
) -> Masters:
    disk_cache = DiskCache(
        cache / "masters", max_bytes=max_bytes, min_free_percent=0, complain=pytest.fail
    )
    return Masters(
        disk_cache,
        Locks(cache / "locks"),
        LIMITS,
        wait_seconds=30,
        report=report,
    )


@dataclass(frozen=True)
class Made:
    """A rendition, and what it was made from."""

    source: str
    original: Original
    metadata: Metadata
    body: bytes


QUICK = {"alpha", "grey"}


def make_one(masters: Masters, root: Path, plan: Plan = PLAN) -> Made:
    originals = Folder(root, LIMITS.max_bytes)
    with masters.found(originals.find("a"), plan, Timings()) as found:
        body = render(found.picture, plan, Timings()).body
        return Made(found.source, found.original, found.picture.metadata, body)


def see(masters: Masters, root: Path) -> None:
    """Make a first rendition: masters are made with the next one."""
    make_one(masters, root, replace(PLAN, box=Box(17, None)))
    masters.finish()


def kept_files(cache: Path) -> list[Path]:
    return [file for file in (cache / "masters/entries").rglob("*") if file.is_file()]


@pytest.mark.parametrize(
    "odd",
    [odd if odd in QUICK else pytest.param(odd, marks=pytest.mark.slow) for odd in ODD],
)
def test_the_bytes_are_the_same_from_a_master(odd: str, root: Path, tmp_path: Path) -> None:
    (root / "a").write_bytes(ODD[odd]())
    for number, width in enumerate((1, 40, 200, 333, 700, 1100)):
        plan = replace(PLAN, box=Box(width, None))
        masters = make(tmp_path / str(number))
        see(masters, root)
        first = make_one(masters, root, plan)
        masters.finish()
        second = make_one(masters, root, plan)

        assert second.source == "master"
        assert first.body == second.body


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    size=st.tuples(st.integers(1, 3000), st.integers(1, 300)),
    box=st.builds(Box, st.integers(1, 900), st.integers(1, 300)),
    fit=st.sampled_from(Fit),
    progressive=st.booleans(),
)
def test_any_shape_has_the_same_bytes_from_a_master(
    root: Path, tmp_path: Path, size: tuple[int, int], box: Box, fit: Fit, *, progressive: bool
) -> None:
    file = images.encoded(images.texture(size), "JPEG", progressive=progressive)
    (root / "a").write_bytes(file)
    plan = replace(PLAN, box=box, fit=fit)
    masters = make(tmp_path / "cache")
    see(masters, root)
    first = make_one(masters, root, plan)
    masters.finish()
    second = make_one(masters, root, plan)

    assert second.source == "master"
    assert first.body == second.body


@pytest.mark.parametrize("odd", ["large", "progressive"])
def test_of_a_first_rendition_nothing_is_kept_but_a_note(
    odd: str, root: Path, tmp_path: Path
) -> None:
    (root / "a").write_bytes(ODD[odd]())
    masters = make(tmp_path)
    sources, kept = [], []
    for width in (300, 200, 100):
        sources.append(make_one(masters, root, replace(PLAN, box=Box(width, None))).source)
        masters.finish()
        kept.append(len(kept_files(tmp_path)))

    assert sources == ["original", "original", "master"]
    assert kept == [1, kept[2], kept[2]]
    assert kept[2] > 4


def test_where_all_must_be_decoded_masters_are_made_at_once(root: Path, tmp_path: Path) -> None:
    """To keep them is cheap beside that."""
    (root / "a").write_bytes(ODD["png"]())
    masters = make(tmp_path)
    make_one(masters, root)
    masters.finish()

    assert make_one(masters, root, replace(PLAN, box=Box(200, None))).source == "master"


def test_what_is_not_kept_is_decoded_directly_each_time(root: Path, tmp_path: Path) -> None:
    (root / "a").write_bytes(ODD["large"]())
    nothing, masters = make(tmp_path / "nothing", max_bytes=0), make(tmp_path / "cache")
    bodies = {make_one(nothing, root).body for _ in range(3)}

    assert bodies == {make_one(masters, root).body}


@pytest.mark.slow
def test_one_decoding_serves_all_smaller_renditions(root: Path, tmp_path: Path) -> None:
    (root / "a").write_bytes(ODD["large"]())
    masters = make(tmp_path)
    see(masters, root)
    sources = []
    for width in (640, 30, 320, 1000, 1080):
        sources.append(make_one(masters, root, replace(PLAN, box=Box(width, None))).source)
        masters.finish()

    assert sources == ["original", "master", "master", "master", "master"]


def test_a_replaced_original_never_shows_an_old_master(root: Path, tmp_path: Path) -> None:
    """Not even where the new one has the old one's size and modification time."""
    masters = make(tmp_path)
    red, blue = (images.encoded(Image.new("RGB", (400, 300), c), "PNG") for c in ("red", "blue"))
    longest = max(len(red), len(blue))  # what follows a PNG's end is ignored
    red, blue = red.ljust(longest, b"-"), blue.ljust(longest, b"-")
    (root / "a").write_bytes(red)
    os.utime(root / "a", (1, 1))
    make_one(masters, root)
    masters.finish()
    (root / "new").write_bytes(blue)
    os.utime(root / "new", (1, 1))
    (root / "new").replace(root / "a")

    found = make_one(masters, root)

    assert found.source == "original"
    assert images.decoded(found.body).convert("RGB").getpixel((0, 0)) == (0, 0, 255)


def test_a_damaged_master_is_made_anew(root: Path, tmp_path: Path) -> None:
    (root / "a").write_bytes(ODD["large"]())
    disk_cache = DiskCache(
        tmp_path / "masters", max_bytes=10**9, min_free_percent=0, complain=lambda _: None
    )
    masters = Masters(
        disk_cache,
        Locks(tmp_path / "locks"),
        LIMITS,
        wait_seconds=1,
        report=print,
    )
    see(masters, root)
    good = make_one(masters, root).body
    masters.finish()
    for file in kept_files(tmp_path):
        file.write_bytes(file.read_bytes()[:-1] + b"x")

    see(masters, root)
    assert make_one(masters, root).body == good
    masters.finish()
    assert make_one(masters, root).source == "master"


def test_purged_masters_are_made_anew(root: Path, tmp_path: Path) -> None:
    (root / "a").write_bytes(ODD["large"]())
    masters = make(tmp_path)
    see(masters, root)
    original = make_one(masters, root).original
    masters.finish()

    assert masters.purge(original.id) > 3
    assert make_one(masters, root).source == "original"


def test_a_broken_original_leaves_nothing_and_blocks_nobody(root: Path, tmp_path: Path) -> None:
    (root / "a").write_bytes(ODD["webp"]()[:20_000])
    masters = make(tmp_path)
    begin = time.monotonic()
    for _ in range(2):
        with pytest.raises(BrokenOriginal):
            make_one(masters, root)
    assert time.monotonic() - begin < 10  # nobody waited for a lock that was not released
    (root / "a").write_bytes(ODD["large"]())

    assert make_one(masters, root).source == "original"


def test_that_an_original_is_damaged_is_kept_with_it(root: Path, tmp_path: Path) -> None:
    (root / "a").write_bytes(ODD["large"]()[:200_000])
    masters = make(tmp_path)
    see(masters, root)
    decoded = make_one(masters, root)
    masters.finish()
    kept = make_one(masters, root)

    assert (decoded.source, kept.source) == ("original", "master")
    assert decoded.metadata.is_damaged
    assert kept.metadata == decoded.metadata
    assert kept.body == decoded.body
    (root / "a").write_bytes(ODD["large"]())
    assert not make_one(masters, root).metadata.is_damaged


def _found_source(root: Path, cache: Path) -> str:
    masters = make(cache)
    source = make_one(masters, root).source
    masters.finish()
    return source


@pytest.mark.slow
def test_several_processes_decode_an_original_once(root: Path, tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        for number in range(3):
            (root / "a").write_bytes(images.encoded(images.texture((3000, 2000), number), "JPEG"))
            see(make(tmp_path / "cache"), root)
            sources = _at_once(pool, root, tmp_path / "cache")
            assert sorted(sources) == ["master"] * 3 + ["original"]


def _at_once(pool: Pool, root: Path, cache: Path) -> list[str]:
    return pool.starmap(_found_source, [(root, cache)] * 4, chunksize=1)


def test_who_waited_in_vain_decodes_all_the_same(root: Path, tmp_path: Path) -> None:
    (root / "a").write_bytes(ODD["large"]())
    disk_cache = DiskCache(
        tmp_path / "m", max_bytes=10**9, min_free_percent=0, complain=pytest.fail
    )
    locks = Locks(tmp_path / "locks")
    masters = Masters(disk_cache, locks, LIMITS, wait_seconds=30, report=print)
    hasty = Masters(disk_cache, locks, LIMITS, wait_seconds=0, report=print)
    opened, go_on = threading.Event(), threading.Event()

    class Slow(Folder):
        def open(self, original):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
            opened.set()
            go_on.wait(10)
            return super().open(original)

    slow = Slow(root, LIMITS.max_bytes)

    def decode_slowly() -> None:
        with masters.found(slow.find("a"), PLAN, Timings()):
            pass

    first = threading.Thread(target=decode_slowly)
    first.start()
    opened.wait(10)

    assert make_one(hasty, root).source == "original"
    go_on.set()
    first.join()


def test_a_fault_in_the_background_is_reported_and_frees_the_lock(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "a").write_bytes(ODD["large"]())
    reported: list[BaseException] = []
    masters = make(tmp_path, report=reported.append)

    def fail(*_: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(DiskCache, "put", fail)
    make_one(masters, root)
    masters.finish()
    monkeypatch.undo()

    assert [str(error) for error in reported] == ["no"]
    see(masters, root)
    assert make_one(masters, root).source == "original"
    masters.finish()
    assert make_one(masters, root).source == "master"


def test_two_threads_never_mix_their_pictures(root: Path, tmp_path: Path) -> None:
    """Both read masters into the same memory, one after the other."""
    colours = {"red": (255, 0, 0), "blue": (0, 0, 255)}
    masters, originals = make(tmp_path), Folder(root, LIMITS.max_bytes)
    for colour in colours:
        images.save(root / colour, Image.new("RGB", (1300, 900), colour), "PNG")
        with masters.found(originals.find(colour), PLAN, Timings()):
            pass
        masters.finish()
    wrong: list[str] = []

    def render_many(colour: str) -> None:
        for _ in range(25):
            with masters.found(originals.find(colour), PLAN, Timings()) as found:
                body = render(found.picture, PLAN, Timings()).body
            if images.decoded(body).convert("RGB").getpixel((9, 9)) != colours[colour]:
                wrong.append(colour)

    threads = [threading.Thread(target=render_many, args=(colour,)) for colour in colours]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


def test_others_need_not_wait_until_a_rendition_is_encoded(root: Path, tmp_path: Path) -> None:
    """Nothing of this one is kept, so waiting would be for nothing."""
    (root / "a").write_bytes(images.encoded(images.texture((4000, 3000)), "JPEG"))
    plan = replace(PLAN, box=Box(2600, None))
    one, other, originals = make(tmp_path), make(tmp_path), Folder(root, LIMITS.max_bytes)
    timings = Timings()

    with (
        one.found(originals.find("a"), plan, Timings()),
        other.found(originals.find("a"), plan, timings),
    ):
        assert timings["wait"] < 10_000


def test_a_rendition_larger_than_any_level_that_is_kept_writes_no_pixels(
    root: Path, tmp_path: Path
) -> None:
    images.save(root / "a", Image.new("RGB", (4000, 2500), "red"), "JPEG")
    masters = make(tmp_path)
    see(masters, root)
    assert make_one(masters, root, replace(PLAN, box=Box(3000, None))).source == "original"
    masters.finish()

    assert len(kept_files(tmp_path)) == 1  # the note that it was seen


def test_what_was_replaced_after_it_was_found_is_kept_as_what_it_is(
    root: Path, tmp_path: Path
) -> None:
    images.save(root / "a", Image.new("RGB", (400, 300), "red"), "PNG")
    masters, originals = make(tmp_path), Folder(root, LIMITS.max_bytes)
    found_before = originals.find("a")
    images.save(root / "new", Image.new("RGB", (400, 300), "blue"), "PNG")
    (root / "new").replace(root / "a")
    with masters.found(found_before, PLAN, Timings()) as found:
        assert found.original == originals.find("a")
    masters.finish()

    made = make_one(masters, root)
    assert made.source == "master"
    assert images.decoded(made.body).convert("RGB").getpixel((0, 0)) == (0, 0, 255)


def test_facts_survive_being_kept(root: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x8298], exif[0x013B] = 6, "© me", "I"
    file = io.BytesIO()
    images.texture((300, 200)).save(file, "JPEG", exif=exif.tobytes(), icc_profile=SRGB)
    (root / "a").write_bytes(file.getvalue())
    masters = make(tmp_path)
    see(masters, root)
    first = make_one(masters, root)
    masters.finish()
    second = make_one(masters, root)

    assert second.source == "master"
    assert first.metadata == second.metadata
    assert first.metadata.profile == SRGB
    assert first.metadata.orientation == 6
    assert len(first.metadata.copyright) == 2


def test_without_threads_nothing_is_kept_and_nothing_fails(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "a").write_bytes(ODD["large"]())
    reported: list[BaseException] = []
    masters = make(tmp_path, report=reported.append)

    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        assert make_one(masters, root).source == "original"
    assert len(reported) == 1
    see(masters, root)
    assert make_one(masters, root).source == "original"
    masters.finish()
    assert make_one(masters, root).source == "master"


def test_of_originals_that_take_much_memory_one_is_decoded_at_a_time(
    root: Path, tmp_path: Path
) -> None:
    file = images.encoded(
        Image.new("RGB", (4200, 2600)), "JPEG", progressive=True, subsampling="4:4:4"
    )
    (root / "a").write_bytes(file)
    disk_cache = DiskCache(tmp_path / "m", max_bytes=0, min_free_percent=0, complain=pytest.fail)
    locks = Locks(tmp_path / "locks")
    masters = Masters(disk_cache, locks, LIMITS, wait_seconds=0.2, report=print)
    originals, timings = Folder(root, LIMITS.max_bytes), Timings()

    # Two at once might be more than the machine has, and the kernel would choose whom to end.
    with (
        locks.held("memory", 0),
        pytest.raises(Busy),
        masters.found(originals.find("a"), PLAN, timings),
    ):
        pass
    assert timings["wait"] >= 200
    timings = Timings()
    with masters.found(originals.find("a"), PLAN, timings):
        assert timings["wait"] < 100
