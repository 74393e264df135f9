"""Disk caches in folders of their own, and writers that are killed."""

import contextlib
import multiprocessing
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

from servers import await_true

from imgprocessor.storage.disk_cache import DiskCache


class Told(list[str]):
    """What a store complained of."""

    def __call__(self, text: str) -> None:
        """Remember it."""
        self.append(text)


def make(folder: Path, complain: Callable[[str], None], max_bytes: int = 10_000_000) -> DiskCache:
    return DiskCache(folder, max_bytes=max_bytes, min_free_percent=0, complain=complain)


def put(disk_cache: DiskCache, group: str, key: str, body: bytes) -> bool:
    half = len(body) // 2
    return disk_cache.put(group, key, len(body), [body[:half], body[half:]])


def got(disk_cache: DiskCache, group: str, key: str) -> bytes | None:
    body = disk_cache.get(group, key)
    return None if body is None else bytes(body)


def entry_files(folder: Path) -> list[Path]:
    return [path for path in (folder / "entries").rglob("*") if path.is_file()]


def bytes_on_disk(folder: Path) -> int:
    """Return what `du` would say of entries and of what is on its way in."""
    total = 0
    for name in ("entries", "incoming"):
        for parent, _, names in os.walk(folder / name):  # does not mind what vanishes meanwhile
            for name_there in names:
                with contextlib.suppress(FileNotFoundError):
                    total += Path(parent, name_there).stat().st_blocks * 512
    return total


def _write_for_ever(folder: Path) -> None:
    disk_cache = make(folder, lambda _: None)
    content = random.Random(1).randbytes(100_000)
    for number in range(10**9):
        put(disk_cache, "g", str(number % 20), content)


def kill_writers(folder: Path, least_caught: int) -> int:
    """Kill writers while they write, ten a round, until so many had an entry on its way in (how
    many of ten do is up to the disk and to chance); what is torn, or left for good, fails. Return
    how many entries were found meanwhile.
    """
    told = Told()
    disk_cache = make(folder, told)
    fork = multiprocessing.get_context("fork")  # a hundred fresh interpreters would take 20 s
    whole = caught = 0
    while caught < least_caught:
        writers = [fork.Process(target=_write_for_ever, args=(folder,)) for _ in range(10)]
        for writer in writers:
            writer.start()
        await_true(lambda: disk_cache.get("g", "0") is not None)
        for writer in writers:
            time.sleep(random.Random(whole).random() / 50)
            writer.kill()
            whole += sum(disk_cache.get("g", str(key)) is not None for key in range(20))
        for writer in writers:
            writer.join()
        disk_cache.purge("g")
        # What they left on its way in goes when it is old, and then nothing is counted any more.
        left = list((folder / "incoming").iterdir())
        for file in left:
            os.utime(file, (0, 0))
        disk_cache.collect()
        caught += len(left)
        assert list((folder / "incoming").iterdir()) == []
        with disk_cache._totals.locked() as (total, _):  # noqa: SLF001 - what counts against the cap
            assert total == 0
    assert told == []
    assert disk_cache.damages.read() == 0
    return whole
