"""A process whose disk fails for a while: what it keeps, finds and answers meanwhile, and after.

`LD_PRELOAD=/usr/lib/fiu/fiu_posix_preload.so python tests/failing_disk.py` reads runs, a line of
JSON each: `["store" or "web", FOLDER, COMPLAINTS, CHANCE, POINT...]`. It does each in a child of
its own, which has all modules already. It prints what came of it as a line of JSON, and writes what
was complained of to the file COMPLAINTS. Points are libfiu's names of calls
(`posix/io/rw/write`), which fail with EIO by that chance, or, where they end in `/reduce`, do less
than was asked for.
"""

import contextlib
import ctypes
import dataclasses
import errno
import functools
import hashlib
import json
import multiprocessing
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import images
from flask.testing import FlaskClient

from imgprocessor.app import make_web
from imgprocessor.config.settings import LogSettings, Settings
from imgprocessor.load import DEFAULT_CONF, Overrides, load_settings
from imgprocessor.reporting import complain
from imgprocessor.storage.disk_cache import DiskCache, Scratch

PRELOAD = Path("/usr/lib/fiu/fiu_posix_preload.so")
"""Of Debian's libfiu0: C's calls with the points at which they can be told to fail."""

KEYS = 12
ROUNDS = 20
WIDTHS = (90, 200, 333)
MOST_SECONDS = 120
"""Of one run."""


@dataclass(frozen=True)
class Kept:
    """What came of a store."""

    put: int
    """Of all attempts while calls failed."""
    got: int
    wrong: list[str]
    """Bodies that nobody put, and exceptions."""
    lost: int
    """Keys that were whole before, and are gone after: that is allowed."""
    healed: bool
    """Whether all is kept and found again, without any new process."""
    in_the_way: list[int]
    """How many files were on their way in afterwards, and how many once those were collected."""


@dataclass(frozen=True)
class Answered:
    """What came of an application."""

    before: dict[str, int]
    while_failing: dict[str, int]
    after: dict[str, int]
    """How often what was answered: the status, and whether the bytes of a 200 were right."""
    sources: list[str]
    """Where the last answers came from."""


@contextlib.contextmanager
def failing(points: list[str], chance: float) -> Iterator[None]:
    """Let calls fail inside."""
    fiu = ctypes.CDLL("libfiu.so.0")
    fiu.fiu_set_prng_seed(1)
    names = [point.encode() for point in points]
    for name in names:
        fiu.fiu_enable_random(name, 1, ctypes.c_void_p(errno.EIO), 0, ctypes.c_float(chance))
    try:
        yield
    finally:
        for name in names:
            fiu.fiu_disable(name)


@functools.cache
def body(key: int, version: int) -> bytes:
    """Return what is put: several parts, of several sizes."""
    return random.Random(f"{key} {version}").randbytes(3000 + 20_000 * (key % 3))


def put(disk_cache: DiskCache, key: int, version: int) -> bool:
    """Put it in small parts, each of which is written by itself."""
    content = body(key, version)
    parts = [content[start : start + 1000] for start in range(0, len(content), 1000)]
    return disk_cache.put("g", str(key), len(content), parts)


def keep(folder: Path, points: list[str], chance: float) -> Kept:
    """Put and get, over and over, while calls fail."""
    store = folder / "store"
    disk_cache = DiskCache(store, max_bytes=10**7, min_free_percent=0, complain=complain)
    versions: dict[int, set[int]] = {key: {0} for key in range(KEYS)}
    wrong: list[str] = []
    scratch = Scratch()

    def got(key: int) -> bool:
        found = disk_cache.get("g", str(key), scratch if key % 2 else None)
        whole = {body(key, version) for version in versions[key]}
        if found is not None and bytes(found) not in whole:
            wrong.append(f"{key} is {len(found)} bytes that nobody put")
        return found is not None

    before = all(put(disk_cache, key, 0) and got(key) for key in range(KEYS))
    assert before
    done: Counter[str] = Counter()
    with failing(points, chance):
        for version in range(1, ROUNDS + 1):
            for key in range(KEYS):
                versions[key].add(version)
                try:
                    done["got"] += got(key)
                    done["put"] += put(disk_cache, key, version)
                except Exception as error:  # noqa: BLE001 - there must be none
                    wrong.append(repr(error))
        disk_cache.settle()
    lost = KEYS - sum(got(key) for key in range(KEYS))
    incoming = store / "incoming"
    in_the_way = [len(list(incoming.iterdir()))]
    for file in incoming.iterdir():
        os.utime(file, (0, 0))
    # Totals that are torn are counted anew behind the first one that is put.
    put(disk_cache, 0, 0)
    disk_cache.settle()
    healed = all(put(disk_cache, key, 0) and got(key) for key in range(KEYS))
    disk_cache.collect()
    in_the_way.append(len(list(incoming.iterdir())))
    return Kept(done["put"], done["got"], wrong, lost, healed, in_the_way)


def answer(folder: Path, points: list[str], chance: float) -> Answered:
    """Ask for kept and for new renditions, over and over, while calls fail."""
    originals = folder / "originals"
    originals.mkdir(parents=True)
    names = [f"{number}.jpeg" for number in range(3)]
    for number, name in enumerate(names):
        images.save(originals / name, images.texture((640 + number, 480)), "JPEG", quality=90)
    delivered = load_settings(DEFAULT_CONF, Overrides(originals=originals))
    settings = replace(
        delivered,
        log=LogSettings(folder / "requests.log"),
        disk_cache=replace(delivered.disk_cache, folder=folder / "cache"),
    )
    urls = [f"/images/?name={name}&width={width}" for name in names for width in WIDTHS]
    good = _right(settings, names, urls)
    web = make_web(settings).test_client()

    def asked(wanted: list[str]) -> dict[str, int]:
        outcomes: Counter[str] = Counter()
        for url in wanted:
            got = web.get(url)
            right = _digest(got.data) in good[url]
            outcomes[
                str(got.status_code) + (" wrong" * (got.status_code == 200 and not right))
            ] += 1
        return dict(outcomes)

    before = asked(urls[: len(urls) // 2])
    with failing(points, chance):
        meanwhile = [asked(urls) for _ in range(3)]
    after = asked(urls)
    for _ in range(2):  # what is kept may have to be counted anew behind the first one
        asked(urls)
    lines = settings.log.file.read_text().splitlines()[-len(urls) :]
    sources = [str(json.loads(line).get("source")) for line in lines]
    total = sum(map(Counter, meanwhile), Counter[str]())
    return Answered(before, dict(total), after, sources)


def _right(settings: Settings, names: list[str], urls: list[str]) -> dict[str, set[str]]:
    """Return what each URL is answered with where nothing fails: directly, and by way of a master,
    which are made with the second rendition of an original.
    """
    cache = settings.disk_cache
    direct = replace(cache, folder=cache.folder / "direct", max_masters_bytes=0)
    by_masters = replace(cache, folder=cache.folder / "by-masters")
    found: dict[str, set[str]] = {url: set() for url in urls}
    for known in (direct, by_masters):
        web: FlaskClient = make_web(replace(settings, disk_cache=known)).test_client()
        for name in names:
            web.get(f"/images/?name={name}&width=17")
        for url in urls:
            found[url].add(_digest(web.get(url).data))
    return found


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def run(what: str, folder: str, complaints: str, chance: float, *points: str) -> None:
    """Print what came of it."""
    signal.alarm(MOST_SECONDS)
    os.dup2(os.open(complaints, os.O_WRONLY | os.O_CREAT, 0o600), sys.stderr.fileno())
    do: Callable[[Path, list[str], float], Kept | Answered] = keep if what == "store" else answer
    print(json.dumps(dataclasses.asdict(do(Path(folder), list(points), chance))), flush=True)


def main() -> None:
    """Do each run of standard input; what fails has a line that is no JSON."""
    fork = multiprocessing.get_context("fork")
    for line in sys.stdin:
        child = fork.Process(target=run, args=json.loads(line))
        child.start()
        child.join()
        if child.exitcode:
            print(f"ended with {child.exitcode}", flush=True)


if __name__ == "__main__":
    main()
