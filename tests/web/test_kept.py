"""What is kept, through the whole application: damaged, flooded, out of time, and elsewhere."""

import hashlib
import json
import os
import pickle
import pwd
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import images
import pytest
import servers
from conftest import ROOT
from flask.testing import FlaskClient
from prometheus_samples import parsed, total

from imgprocessor import app
from imgprocessor.app import make_web
from imgprocessor.config.settings import Settings
from imgprocessor.parts import make_delivery
from imgprocessor.service.delivery import Delivery
from imgprocessor.storage.disk_cache import DiskCache
from imgprocessor.web.metrics import METRICS_PATH

NASA = "/images/?name=nasa.jpeg"
YEAR_SECONDS = 365 * 86_400
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


def _entries(settings: Settings, store: str) -> list[Path]:
    found = (settings.disk_cache.folder / store / "entries").rglob("*")
    return [path for path in found if path.is_file() or path.is_symlink()]


def _sources(settings: Settings) -> list[str]:
    lines = map(json.loads, settings.log.file.read_text().splitlines())
    return [line["source"] for line in lines if "source" in line]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Delivery]:
    """The services of the applications that are made."""
    made: list[Delivery] = []

    def remembered(settings: Settings, **options: Any) -> Delivery:
        made.append(make_delivery(settings, **options))
        return made[-1]

    monkeypatch.setattr(app, "make_delivery", remembered)
    return made


def _settle(delivery: Delivery) -> None:
    """Wait until masters are kept, which are written behind the answer."""
    delivery._masters.finish()  # noqa: SLF001 - a server has no use for it


def _flip_each_byte(file: Path) -> None:
    file.write_bytes(bytes(octet ^ 0x55 for octet in file.read_bytes()))


def _flip_one_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def _truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _extend(file: Path) -> None:
    file.write_bytes(file.read_bytes() + bytes(4096))


def _make_a_folder(file: Path) -> None:
    file.unlink()
    (file / "inside").mkdir(parents=True)


def _make_a_loop(file: Path) -> None:
    file.unlink()
    file.symlink_to(file.name)


def _exchange(file: Path) -> None:
    other = next(path for path in file.parents[2].rglob("*") if path.is_file() and path != file)
    file.write_bytes(other.read_bytes())


def _damages(web: FlaskClient, store: str) -> float:
    samples = parsed(web.get(METRICS_PATH).text)
    return total(samples, "imgprocessor_damaged_entries_total", store=store)


DAMAGES = [
    _flip_each_byte, _flip_one_bit, _truncate, _empty, _extend, _make_a_folder, _make_a_loop,
    _exchange,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__.strip("_"))
@pytest.mark.parametrize("store", ["renditions", "masters"])
def test_no_damaged_byte_is_ever_sent(
    settings: Settings, made: list[Delivery], store: str, damage: Callable[[Path], None]
) -> None:
    """What was damaged is made anew, to the same bytes, and kept again."""
    web = make_web(settings).test_client()
    urls = [f"{NASA}&width={width}" for width in (90, 200)]
    first = f"{NASA}&width=30"  # is made directly; all others by way of masters
    web.get(first)
    good = [web.get(url).data for url in urls]
    _settle(made[0])
    if store == "masters":
        for file in _entries(settings, "renditions"):
            file.unlink()
    for file in _entries(settings, store):
        damage(file)

    counts = [_damages(web, store)]
    for _ in range(2):
        web.get(first)
        answers = [web.get(url) for url in urls]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert [answer.data for answer in answers] == good
        counts.append(_damages(web, store))
    assert _sources(settings)[-2:] == ["store", "store"]
    # What stays in its place until something is put there is noticed by each look.
    before, noticed, healed = counts
    assert before == 0 < noticed == healed
    assert _damages(web, "masters" if store == "renditions" else "renditions") == 0


@needs_root
def test_what_belongs_to_somebody_else_is_made_anew(settings: Settings, tmp_path: Path) -> None:
    """Not to be read, and not to be written over: that costs speed, and no answer."""
    good = make_web(settings).test_client().get(f"{NASA}&width=90").data
    for folder in (tmp_path, settings.originals.folders[0]):
        servers.open_up(folder)
    for path in settings.disk_cache.folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o600)
    settings.log.file.chmod(0o666)
    script = (
        "import hashlib, sys, pickle\n"
        "from imgprocessor.app import make_web\n"
        "web = make_web(pickle.load(sys.stdin.buffer)).test_client()\n"
        f"answer = web.get('{NASA}&width=90')\n"
        "print(answer.status_code, hashlib.sha256(answer.data).hexdigest())\n"
    )
    nobody = pwd.getpwnam("nobody")
    done = subprocess.run(
        ["/usr/bin/setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}",
         "--clear-groups", sys.executable, "-c", script],
        input=pickle.dumps(settings), capture_output=True, check=True, cwd=ROOT,
    )  # fmt: skip

    assert done.stdout.decode() == f"200 {hashlib.sha256(good).hexdigest()}\n"
    assert b"cannot be read: Permission denied" in done.stderr


def _bytes_kept(settings: Settings) -> int:
    return sum(path.stat().st_blocks * 512 for path in settings.disk_cache.folder.rglob("*"))


@pytest.mark.slow
def test_names_of_nothing_do_not_grow_what_is_kept(
    settings: Settings, made: list[Delivery]
) -> None:
    """Three thousand, each with headers of its own."""
    web = make_web(settings).test_client()
    url = "/images/?width=40&name=none-"
    first = web.get(f"{url}0.jpg")
    _settle(made[0])
    before = _bytes_kept(settings)
    for number in range(1, 3_000):
        answer = web.get(f"{url}{number}.jpg", headers={"ECT": f"class-{number}"})
        assert answer.status_code == 404
        assert answer.data == first.data
    _settle(made[0])

    assert _bytes_kept(settings) == before


class Clock:
    """The time of day, which an operator or NTP may set; files keep the kernel's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.offset_seconds = 0
        real, real_ns = time.time, time.time_ns
        monkeypatch.setattr(time, "time", lambda: real() + self.offset_seconds)
        monkeypatch.setattr(time, "time_ns", lambda: real_ns() + self.offset_seconds * 10**9)


JUMPS = [0, YEAR_SECONDS, -YEAR_SECONDS, YEAR_SECONDS, 0]


def test_no_jump_of_the_clock_breaks_an_answer(
    settings: Settings, originals: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A year back and forth, with originals from the epoch and from a year to come."""
    for name, seconds in (("old.png", 0), ("new.png", time.time() + YEAR_SECONDS)):
        images.save(originals / name, images.four_colours((40, 30)), "PNG")
        os.utime(originals / name, (seconds, seconds))
    clock = Clock(monkeypatch)
    web = make_web(settings).test_client()
    known: dict[str, tuple[bytes, str]] = {}
    for width, clock.offset_seconds in enumerate(JUMPS, 20):
        for name in ("nasa.jpeg", "old.png", "new.png"):
            for url in (f"/images/?name={name}&width=10", f"/images/?name={name}&width={width}"):
                answer = web.get(url)
                body, etag = known.setdefault(url, (answer.data, answer.headers["ETag"]))
                assert (answer.status_code, answer.data) == (200, body)
                again = web.get(url, headers={"If-None-Match": etag})
                assert again.status_code == 304
                modified = answer.last_modified
                assert modified is not None
                assert modified.timestamp() <= max(time.time(), 0)


def test_nothing_kept_outlives_a_jump_of_the_clock(
    settings: Settings, made: list[Delivery], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither what was kept in another year, nor what a purge of another year forbids to keep."""
    clock = Clock(monkeypatch)
    web = make_web(settings).test_client()
    for width, clock.offset_seconds in enumerate(JUMPS, 20):
        for _ in range(2):
            assert web.get(f"{NASA}&width={width}").status_code == 200
        assert _sources(settings)[-1] == "store"
        _settle(made[0])
        kept = len(_entries(settings, "renditions")) + len(_entries(settings, "masters"))
        assert made[0].purge("nasa.jpeg") == kept
        assert _entries(settings, "renditions") == _entries(settings, "masters") == []

    # And what nobody purges makes room when room is wanted, whatever year it is from.
    disk_cache = DiskCache(
        settings.disk_cache.folder / "renditions",
        max_bytes=10**9,
        min_free_percent=0,
        complain=pytest.fail,
    )
    for year, file in enumerate(_kept_for_each(web, settings)):
        seconds = time.time() + (year - 2) * YEAR_SECONDS
        os.utime(file, (seconds, seconds))
    disk_cache.collect(room_bytes=10**9)
    assert _entries(settings, "renditions") == []


def _kept_for_each(web: FlaskClient, settings: Settings) -> Iterator[Path]:
    for width in range(60, 65):
        web.get(f"{NASA}&width={width}")
    yield from _entries(settings, "renditions")


SAME = [
    f"{NASA}&width=90&bandwidth=4g&dpr=2",
    f"{NASA}&screen=phone&bandwidth=2g",
    f"{NASA}&width=300&height=200&fit=cover&max_bytes=4000",
    f"{NASA}&format=png&width=64",
    "/images/?name=none&width=100",
]


@pytest.mark.slow
def test_every_process_makes_the_same_bytes_by_itself(settings: Settings, tmp_path: Path) -> None:
    """Nothing is shared but the originals: each process has a cache of its own, or none, and then
    the same names of all that it makes.
    """
    script = (
        "import hashlib, sys, pickle\n"
        "from imgprocessor.app import make_web\n"
        "urls, settings = pickle.load(sys.stdin.buffer)\n"
        "web = make_web(settings).test_client()\n"
        "for url in urls:\n"
        "    for accept in ('image/avif,image/webp,*/*', 'image/webp', '*/*'):\n"
        "        answer = web.get(url, headers={'Accept': accept})\n"
        "        digest = hashlib.sha256(answer.data).hexdigest()\n"
        "        print(digest, answer.headers.get('ETag'), answer.headers['imagekey'])\n"
    )
    # What is made behind an answer, and when, is not the same.
    settings = replace(settings, rendering=replace(settings.rendering, best_behind=False))
    printed, names = set(), set()
    for seed, cap in (("0", 10**9), ("1", 10**9), ("random", 0)):
        disk_cache = replace(
            settings.disk_cache,
            folder=tmp_path / f"cache-{seed}",
            max_renditions_bytes=cap,
            max_masters_bytes=cap,
        )
        done = subprocess.run(
            [sys.executable, "-c", script],
            input=pickle.dumps((SAME, replace(settings, disk_cache=disk_cache))),
            capture_output=True,
            check=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        lines = done.stdout.splitlines()
        assert len(lines) == 3 * len(SAME)
        names.add(tuple(line.partition(b" ")[2] for line in lines))
        if cap:
            printed.add(done.stdout)

    assert (len(printed), len(names)) == (1, 1)
