"""What any store must promise: whole entries or none, under a size, shared by processes."""

import multiprocessing
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from disk_caches import Told, bytes_on_disk, entry_files, got, kill_writers, make, put
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mounts import mounted, needs_mounts

from imgprocessor.storage.disk_cache import DiskCache
from imgprocessor.storage.generation import Generations


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def disk_cache(tmp_path: Path, told: Told) -> DiskCache:
    return make(tmp_path / "store", told)


def test_what_was_put_is_got(disk_cache: DiskCache) -> None:
    assert put(disk_cache, "g", "k", b"body")

    assert got(disk_cache, "g", "k") == b"body"
    assert disk_cache.get("g", "other") is None
    assert disk_cache.get("other", "k") is None


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    group=st.text(st.characters(exclude_categories=["Cs"])),
    key=st.text(st.characters(exclude_categories=["Cs"])),
    body=st.binary(),
)
def test_any_group_key_and_body(disk_cache: DiskCache, group: str, key: str, body: bytes) -> None:
    assert put(disk_cache, group, key, body)
    assert got(disk_cache, group, key) == body


def test_what_is_replaced_counts_no_more(tmp_path: Path, told: Told) -> None:
    disk_cache = make(tmp_path / "store", told, max_bytes=100 * 4096)
    for _ in range(300):
        assert put(disk_cache, "g", "k", bytes(4000))

    assert len(entry_files(tmp_path / "store")) == 1


def test_a_damaged_total_is_not_taken_for_nothing(tmp_path: Path, told: Told) -> None:
    folder = tmp_path / "store"
    disk_cache = make(folder, told, max_bytes=100 * 4096)
    for number in range(90):
        put(disk_cache, "g", str(number), b"")
    (folder / "totals").unlink()

    assert not put(disk_cache, "g", "more", b"")
    disk_cache.settle()
    assert put(disk_cache, "g", "more", b"")


def test_the_last_one_counts(disk_cache: DiskCache) -> None:
    put(disk_cache, "g", "k", b"first")
    put(disk_cache, "g", "k", b"second")

    assert got(disk_cache, "g", "k") == b"second"


def test_two_stores_of_one_folder_are_one(
    disk_cache: DiskCache, tmp_path: Path, told: Told
) -> None:
    put(disk_cache, "g", "k", b"body")

    assert got(make(tmp_path / "store", told), "g", "k") == b"body"


def test_nothing_is_kept_where_nothing_may_be(tmp_path: Path, told: Told) -> None:
    disk_cache = make(tmp_path / "store", told, max_bytes=0)

    assert not put(disk_cache, "g", "k", b"")
    assert disk_cache.get("g", "k") is None
    assert not (tmp_path / "store").exists()


def test_entries_are_spread_over_folders(disk_cache: DiskCache, tmp_path: Path) -> None:
    for number in range(300):
        put(disk_cache, f"g{number}", "k", b"")

    folders = list((tmp_path / "store/entries").iterdir())
    assert len(folders) > 100
    assert max(len(list(folder.iterdir())) for folder in folders) < 12


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flip(content: bytes) -> bytes:
    return content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]


@pytest.mark.parametrize(
    "damage",
    [_cut, _flip, lambda _: b"", lambda content: content + b"x", lambda _: bytes(5000)],
    ids=["cut", "flipped", "empty", "longer", "zeros"],
)
def test_a_damaged_entry_is_a_miss_and_heals(
    disk_cache: DiskCache, tmp_path: Path, told: Told, damage: Callable[[bytes], bytes]
) -> None:
    put(disk_cache, "g", "k", b"body" * 1000)
    (file,) = entry_files(tmp_path / "store")
    file.write_bytes(damage(file.read_bytes()))

    assert disk_cache.get("g", "k") is None
    assert "damaged" in told[0]
    assert not file.exists()
    assert put(disk_cache, "g", "k", b"new")
    assert got(disk_cache, "g", "k") == b"new"


def _notice(folder: Path, times: int) -> None:
    disk_cache = make(folder, lambda _: None)
    for _ in range(times):
        disk_cache.note_damage("damaged")


def test_damage_is_counted_over_all_processes(disk_cache: DiskCache, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    put(disk_cache, "g", "k", b"body")
    assert disk_cache.damages.read() == 0
    (file,) = entry_files(folder)
    file.write_bytes(b"")
    assert disk_cache.get("g", "k") is None
    assert disk_cache.get("g", "k") is None  # it has gone, and so is no damage any more
    assert disk_cache.damages.read() == 1
    fork = multiprocessing.get_context("fork")
    others = [fork.Process(target=_notice, args=(folder, 100)) for _ in range(4)]
    for other in others:
        other.start()
    for other in others:
        other.join()

    assert disk_cache.damages.read() == 401


@pytest.mark.parametrize("content", [b"", b"1", b"x" * 12, b"x" * 13])
def test_a_torn_count_of_damage_begins_anew(
    disk_cache: DiskCache, tmp_path: Path, told: Told, content: bytes
) -> None:
    put(disk_cache, "g", "k", b"body")
    (tmp_path / "store/damages").write_bytes(content)
    assert disk_cache.damages.read() == 0
    disk_cache.note_damage("damaged")

    assert disk_cache.damages.read() == (1 if len(content) <= 12 else 0)
    assert told == ["damaged"]


def test_every_single_flipped_bit_is_noticed(disk_cache: DiskCache, tmp_path: Path) -> None:
    put(disk_cache, "g", "k", b"body")
    (file,) = entry_files(tmp_path / "store")
    good = file.read_bytes()
    for position in range(len(good)):
        for bit in range(8):
            bad = bytearray(good)
            bad[position] ^= 1 << bit
            file.write_bytes(bad)
            assert disk_cache.get("g", "k") is None
            file.write_bytes(good)

    assert got(disk_cache, "g", "k") == b"body"


def test_another_entrys_file_is_a_miss(disk_cache: DiskCache, tmp_path: Path) -> None:
    put(disk_cache, "g", "k", b"body")
    (file,) = entry_files(tmp_path / "store")
    put(disk_cache, "g", "other", b"other")
    (other,) = set(entry_files(tmp_path / "store")) - {file}
    other.write_bytes(file.read_bytes())

    assert disk_cache.get("g", "other") is None


def test_a_folder_in_an_entrys_place_is_a_miss_and_heals(
    disk_cache: DiskCache, tmp_path: Path
) -> None:
    put(disk_cache, "g", "k", b"body")
    (file,) = entry_files(tmp_path / "store")
    file.unlink()
    (file / "inside").mkdir(parents=True)

    assert disk_cache.get("g", "k") is None
    assert put(disk_cache, "g", "k", b"new")
    assert got(disk_cache, "g", "k") == b"new"


def test_a_group_is_purged_and_no_other(disk_cache: DiskCache) -> None:
    for key in ("1", "2", "3"):
        put(disk_cache, "g", key, b"body")
    put(disk_cache, "other", "1", b"body")

    assert disk_cache.purge("g") == 3
    assert disk_cache.purge("g") == 0
    assert [disk_cache.get("g", key) for key in ("1", "2", "3")] == [None] * 3
    assert got(disk_cache, "other", "1") == b"body"


def test_what_was_purged_leaves_room(tmp_path: Path, told: Told) -> None:
    disk_cache = make(tmp_path / "store", told, max_bytes=100_000)
    for _ in range(20):
        for key in range(9):
            assert put(disk_cache, "g", str(key), bytes(4000))
        disk_cache.purge("g")


def test_all_is_purged_and_counted(tmp_path: Path, told: Told) -> None:
    disk_cache = make(tmp_path / "store", told, max_bytes=100_000)
    for group in range(20):
        for key in range(9):
            assert put(disk_cache, str(group), str(key), bytes(4000))
        assert disk_cache.purge_all() == 9
    assert entry_files(tmp_path / "store") == []


def test_keys_that_end_so_are_purged_and_no_others(disk_cache: DiskCache) -> None:
    for key in ("1 a", "2 a", "1 ba"):
        put(disk_cache, "g", key, b"body")
    put(disk_cache, "other", "1 a", b"body")

    assert disk_cache.purge_keys("g", " a") == 2
    assert got(disk_cache, "g", "1 ba") == b"body"
    assert got(disk_cache, "other", "1 a") == b"body"


def test_all_is_purged_while_others_write(tmp_path: Path, told: Told) -> None:
    folder = tmp_path / "store"
    disk_cache = make(folder, told, max_bytes=100 * 4096)

    def write(writer: int) -> None:
        for number in range(200):
            put(disk_cache, f"{writer}-{number % 7}", str(number), b"body")

    with ThreadPoolExecutor(5) as pool:
        writing = [pool.submit(write, writer) for writer in range(4)]
        while not all(done.done() for done in writing):
            disk_cache.purge_all()
    disk_cache.settle()
    disk_cache.purge_all()
    disk_cache.collect()

    assert entry_files(folder) == []
    assert told == []
    assert put(disk_cache, "g", "k", bytes(9 * 4096))


def test_what_cannot_be_removed_keeps_nothing_else(
    disk_cache: DiskCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        put(disk_cache, str(number), "k", b"body")
    stays = str(entry_files(tmp_path / "store")[2])
    unlink = os.unlink

    def refuse(path: str) -> None:
        if path == stays:
            raise PermissionError(1, "not permitted", path)
        unlink(path)

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(PermissionError):
        disk_cache.purge_all()
    assert [str(path) for path in entry_files(tmp_path / "store")] == [stays]


def test_nothing_is_kept_that_was_begun_before_a_purge(
    disk_cache: DiskCache, tmp_path: Path
) -> None:
    generations = Generations(tmp_path)
    before = generations.current()
    generations.begin()

    def late() -> Iterator[bytes]:
        generations.begin()
        yield b"body"

    def unasked() -> Iterator[bytes]:
        raise AssertionError
        yield b"body"

    assert not disk_cache.put("g", "1", 4, unasked(), before)
    assert not disk_cache.put("g", "2", 4, late(), generations.current())
    assert disk_cache.put("g", "3", 4, [b"body"], generations.current())
    assert len(entry_files(tmp_path / "store")) == 1
    assert list((tmp_path / "store/incoming").iterdir()) == []


def test_an_entry_over_a_tenth_of_the_cap_is_not_kept(tmp_path: Path, told: Told) -> None:
    disk_cache = make(tmp_path / "store", told, max_bytes=100_000)

    assert not put(disk_cache, "g", "k", bytes(10_001))
    assert put(disk_cache, "g", "k", bytes(8_000))


def test_the_least_recently_used_go_first(tmp_path: Path, told: Told) -> None:
    folder = tmp_path / "store"
    disk_cache = make(folder, told, max_bytes=100 * 4096)
    for number in range(94):
        assert put(disk_cache, "g", str(number), bytes(100))
    for number in range(94):  # files written in the same tick have the same time stamp
        os.utime(disk_cache.path("g", str(number)), (time.time() - 200 + number,) * 2)
    for number in range(10):  # the ten oldest are used
        assert disk_cache.get("g", str(number)) is not None
    for last in "ab":
        disk_cache.settle()
        put(disk_cache, "g", last, b"")
    disk_cache.settle()

    gone = [number for number in range(94) if disk_cache.get("g", str(number)) is None]
    # 96 are collected to 75; the last is seen twice where it moves in while all are counted.
    assert gone in ([*range(10, 31)], [*range(10, 32)])


def test_an_entry_from_the_future_is_the_first_to_go(tmp_path: Path, told: Told) -> None:
    """Otherwise one wrong clock would make immortal entries."""
    folder = tmp_path / "store"
    disk_cache = make(folder, told, max_bytes=100 * 4096)
    put(disk_cache, "g", "future", b"")
    (file,) = entry_files(folder)
    os.utime(file, (time.time() + 10**6,) * 2)
    for number in range(96):
        put(disk_cache, "g", str(number), b"")
    disk_cache.settle()

    assert not file.exists()


def test_a_use_brings_a_time_stamp_back_from_the_future(
    disk_cache: DiskCache, tmp_path: Path
) -> None:
    put(disk_cache, "g", "k", b"")
    (file,) = entry_files(tmp_path / "store")
    os.utime(file, (time.time() + 10**6,) * 2)
    disk_cache.get("g", "k")

    assert abs(file.stat().st_mtime - time.time()) < 10


def test_what_a_killed_writer_left_is_removed(disk_cache: DiskCache, tmp_path: Path) -> None:
    put(disk_cache, "g", "k", b"")
    old, new = (tmp_path / "store/incoming" / name for name in ("1-2-3", "4-5-6"))
    for file in (old, new):
        file.write_bytes(b"half")
    os.utime(old, (time.time() - 3600,) * 2)
    disk_cache.collect()

    assert (old.exists(), new.exists()) == (False, True)


def test_lost_totals_are_counted_anew(tmp_path: Path, told: Told) -> None:
    folder = tmp_path / "store"
    disk_cache = make(folder, told, max_bytes=100 * 4096)
    for number in range(50):
        put(disk_cache, "g", str(number), b"")
    for content in (b"", b"x" * 20, bytes(20)):
        (folder / "totals").write_bytes(content)
        disk_cache.collect()
        for number in range(50, 200):
            put(disk_cache, "g", str(number), b"")
            assert bytes_on_disk(folder) <= 100 * 4096
        disk_cache.settle()
        disk_cache.collect()
        assert put(disk_cache, "g", "z", b"")
        disk_cache.settle()


@pytest.mark.parametrize("content", [b"", bytes(20), b"x" * 20])
def test_totals_that_are_lost_while_they_are_counted_are_counted_again(
    tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    folder = tmp_path / "store"
    disk_cache = make(folder, told, max_bytes=100 * 4096)
    for number in range(90):
        put(disk_cache, "g", str(number), b"")
    scan = DiskCache._all  # noqa: SLF001 - between two steps of a collection

    def scan_and_lose(self: DiskCache) -> Iterator[object]:
        yield from scan(self)
        (folder / "totals").write_bytes(content)

    with monkeypatch.context() as patched:
        patched.setattr(DiskCache, "_all", scan_and_lose)
        disk_cache.collect()
    for number in range(90, 200):
        put(disk_cache, "g", str(number), b"")
        assert bytes_on_disk(folder) <= 100 * 4096
    disk_cache.settle()
    assert put(disk_cache, "g", "z", b"")


def test_only_one_collects(disk_cache: DiskCache) -> None:
    put(disk_cache, "g", "k", b"")
    with disk_cache._locks.held("collector", 0):  # noqa: SLF001 - another process
        begin = time.monotonic()
        disk_cache.collect()
        assert time.monotonic() - begin < 1


def _write_many(folder: Path, seed: int, entries: int, size: int, cap: int) -> None:
    disk_cache = make(folder, lambda _: None, cap)
    for number in range(entries):
        put(disk_cache, f"g{seed}-{number % 50}", str(number), bytes(size))
        time.sleep(0.002)  # to render takes longer; without, the reader is no match for four


@pytest.mark.slow
def test_four_writers_never_exceed_the_cap_and_what_is_hot_stays(tmp_path: Path) -> None:
    """Ten times the cap is written while readers use a tenth of it."""
    folder, cap, size = tmp_path / "store", 20_000_000, 40_000
    disk_cache = make(folder, lambda _: None, cap)
    hot = [str(number) for number in range(cap // 10 // size)]
    for key in hot:
        put(disk_cache, "hot", key, bytes(size))
    spawn = multiprocessing.get_context("spawn")
    writers = [
        spawn.Process(target=_write_many, args=(folder, seed, cap * 10 // 4 // size, size, cap))
        for seed in range(4)
    ]
    for writer in writers:
        writer.start()
    hits = misses = 0
    while any(writer.is_alive() for writer in writers):
        for key in hot:
            found = disk_cache.get("hot", key)
            hits, misses = hits + (found is not None), misses + (found is None)
            if found is None:
                put(disk_cache, "hot", key, bytes(size))
        assert bytes_on_disk(folder) <= cap * 1.05
        time.sleep(0.02)
    for writer in writers:
        writer.join()

    assert [writer.exitcode for writer in writers] == [0] * 4
    assert hits / (hits + misses) >= 0.95
    assert bytes_on_disk(folder) > cap / 2


@pytest.mark.slow
def test_a_killed_writer_never_leaves_half_an_entry(tmp_path: Path) -> None:
    """Some hundred; `torture/test_cap.py` kills more."""
    assert kill_writers(tmp_path / "store", least_caught=11) > 100


def test_threads_may_share_a_store(disk_cache: DiskCache) -> None:
    def work(seed: int) -> None:
        for number in range(50):
            assert put(disk_cache, "g", str(number % 7), bytes([seed]) * 5000)
            body = disk_cache.get("g", str(number % 7))
            assert body is not None
            assert len(set(bytes(body))) == 1

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_link_to_a_folder_in_an_entrys_place_is_replaced(
    disk_cache: DiskCache, tmp_path: Path
) -> None:
    put(disk_cache, "g", "k", b"body")
    (file,) = entry_files(tmp_path / "store")
    (tmp_path / "elsewhere" / "inside").mkdir(parents=True)
    file.unlink()
    file.symlink_to(tmp_path / "elsewhere")

    assert put(disk_cache, "g", "k", b"new")
    assert got(disk_cache, "g", "k") == b"new"
    assert (tmp_path / "elsewhere" / "inside").is_dir()


def test_a_file_larger_than_all_may_be_is_a_miss_and_heals(
    disk_cache: DiskCache, tmp_path: Path, told: Told
) -> None:
    put(disk_cache, "g", "k", b"body")
    (file,) = entry_files(tmp_path / "store")
    os.truncate(file, 1 << 42)

    assert disk_cache.get("g", "k") is None
    assert "damaged" in told[0]
    assert put(disk_cache, "g", "k", b"new")
    assert got(disk_cache, "g", "k") == b"new"


@needs_mounts
def test_a_full_disk_keeps_nothing_and_heals(tmp_path: Path, told: Told) -> None:
    with mounted(tmp_path / "disk", "size=400k"):
        disk_cache = make(tmp_path / "disk/store", told)
        ballast = tmp_path / "disk/ballast"
        assert put(disk_cache, "g", "k", b"body")
        ballast.write_bytes(bytes(360_000))

        assert not put(disk_cache, "g", "large", bytes(50_000))
        assert disk_cache.get("g", "large") is None
        assert list((tmp_path / "disk/store/incoming").iterdir()) == []
        ballast.unlink()
        assert put(disk_cache, "g", "large", bytes(50_000))


@needs_mounts
def test_a_share_of_the_disk_stays_free(tmp_path: Path, told: Told) -> None:
    disk = tmp_path / "disk"
    with mounted(disk, "size=1m"):
        disk_cache = DiskCache(
            disk / "store", max_bytes=10_000_000, min_free_percent=50, complain=told
        )
        for number in range(100):
            put(disk_cache, "g", str(number), bytes(10_000))
            free = os.statvfs(disk)
            assert free.f_bavail >= free.f_blocks // 2 - 2
        disk_cache.collect(room_bytes=1)

        assert len(entry_files(disk / "store")) > 20


@needs_mounts
def test_no_inodes_are_no_error(tmp_path: Path, told: Told) -> None:
    with mounted(tmp_path / "disk", "size=1m,nr_inodes=12"):
        disk_cache = make(tmp_path / "disk/store", told)
        kept = [put(disk_cache, "g", str(number), b"") for number in range(10)]

        assert kept[0]
        assert not kept[-1]
        assert "cannot be written: No space left" in told[0]


@needs_mounts
def test_a_disk_that_became_read_only_is_still_read(tmp_path: Path, told: Told) -> None:
    disk = tmp_path / "disk"
    with mounted(disk, "size=1m"):
        disk_cache = make(disk / "store", told)
        put(disk_cache, "g", "k", b"body")
        (file,) = entry_files(disk / "store")
        os.utime(file, (0, 0))
        subprocess.run(["/usr/bin/mount", "-o", "remount,ro", disk], check=True)

        assert got(disk_cache, "g", "k") == b"body"
        assert not put(disk_cache, "g", "other", b"body")
        assert "Read-only" in told[0]


@pytest.mark.parametrize("where", ["", "entries", "incoming"])
def test_a_file_where_a_folder_should_be_is_no_error(
    tmp_path: Path, told: Told, where: str
) -> None:
    path = tmp_path / "store" / where
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")

    disk_cache = make(tmp_path / "store", told)
    assert not put(disk_cache, "g", "k", b"body")
    assert disk_cache.get("g", "k") is None
    assert "cannot be written" in told[0]


def test_what_is_in_use_is_never_collected(tmp_path: Path, told: Told) -> None:
    """However long a collection takes: what was used since it began is not from the future."""
    folder = tmp_path / "store"
    disk_cache = make(folder, told, max_bytes=2000 * 4096)
    for number in range(1800):
        put(disk_cache, "g", str(number), b"")
    for file in entry_files(folder):
        os.utime(file, (time.time() - 3600,) * 2)
    stop = threading.Event()

    def use() -> None:
        while not stop.is_set():
            for number in range(100):
                disk_cache.get("g", str(number))

    used = threading.Thread(target=use)
    for number in range(100):
        disk_cache.get("g", str(number))
    used.start()
    disk_cache.collect(room_bytes=900 * 4096)
    stop.set()
    used.join()

    assert all(disk_cache.get("g", str(number)) is not None for number in range(100))
    assert len(entry_files(folder)) < 1000


def test_a_purge_never_subtracts_twice(tmp_path: Path, told: Told) -> None:
    folder = tmp_path / "store"
    disk_cache = make(folder, told, max_bytes=100 * 4096)
    for number in range(40):
        put(disk_cache, "g", str(number), b"")
    with ThreadPoolExecutor(8) as pool:
        removed = sum(pool.map(lambda _: disk_cache.purge("g"), range(8)))

    assert removed == 40
    for number in range(200):
        put(disk_cache, "g", str(number), b"")
        assert bytes_on_disk(folder) <= 100 * 4096


def test_an_exception_in_the_parts_leaves_nothing(
    disk_cache: DiskCache, tmp_path: Path, told: Told
) -> None:
    def parts() -> Iterator[bytes]:
        yield b"half"
        raise MemoryError

    with pytest.raises(MemoryError):
        disk_cache.put("g", "k", 8, parts())

    assert list((tmp_path / "store/incoming").iterdir()) == []
    assert disk_cache.get("g", "k") is None
    assert told == []


def test_without_threads_nothing_is_collected_and_nothing_fails(
    tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk_cache = make(tmp_path / "store", told, max_bytes=100 * 4096)

    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        for number in range(110):
            put(disk_cache, "g", str(number), b"")
    assert "can't start new thread" in told[0]
    assert not put(disk_cache, "g", "more", b"")
    disk_cache.settle()
    assert put(disk_cache, "g", "more", b"")


def test_names_that_are_no_utf8_are_fine(disk_cache: DiskCache) -> None:
    assert put(disk_cache, "caf\udce9", "k\udce9", b"body")
    assert got(disk_cache, "caf\udce9", "k\udce9") == b"body"
