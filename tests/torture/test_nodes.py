"""Three nodes over one bucket and one memory, while each of these is killed: nobody notices.

A thousand requests a second of made-up visitors through one Varnish; what each death costs in time
is printed (`-s` shows it).
"""

import hashlib
import itertools
import os
import random
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import caches
import images
import pytest
import servers
from caches import connection
from edge_visitors import Ask, Visitors
from memcacheds import MemcachedServer
from PIL import Image
from processes import DAEMON_USER
from visitors import percentile
from weeds import BUCKET, S3Server, access_file, needs_weed

from imgprocessor.app import edge_configuration
from imgprocessor.edge.writers import Backend, Site
from imgprocessor.load import load_settings

pytestmark = [pytest.mark.apache, needs_weed]

PER_SECOND = 1000
CLIENTS = 8
ASKS = 4000
"""Different ones, in the order of visits, again and again."""
PICTURES = 40
CHECKED_SHARE = 0.02
"""So many answers are decoded: each original has a colour of its own."""


@dataclass
class Phase:
    """What visitors were answered in a time."""

    statuses: Counter[int | str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        times = [1000 * percentile(self.seconds, share) for share in (50, 95, 99, 100)]
        shown = " / ".join(f"{ms:.1f}" for ms in times)
        return f"{len(self.seconds)} answers {dict(self.statuses)}, ms p50/95/99/worst {shown}"


@dataclass
class Site3:
    """Nodes, what they share, and Varnish before them."""

    folder: Path
    bucket: S3Server
    memory: MemcachedServer
    ports: dict[str, int]
    port: int = 0
    nodes: dict[str, ExitStack] = field(default_factory=dict)
    running: dict[str, servers.Server] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Start a node, with what it had."""
        self.nodes[name] = ExitStack()
        settings = (
            f"[buckets]\nfile = {self.folder}/buckets.ini\n"
            f"[store]\nbucket = s3://{BUCKET}/nodes\nshared = {self.memory.url}\n"
            f"key_file = {self.folder}/store.key\n[rendering]\nworkers = 1\n"
        )
        self.running[name] = self.nodes[name].enter_context(
            servers.serving(
                self.folder / name,
                self.folder / "originals",
                port=self.ports[name],
                settings=settings,
            )
        )

    def kill(self, name: str) -> None:
        """End a node at once, as if its machine lost power; its disk is lost with it."""
        for pid in self.running[name].processes():
            os.kill(pid, signal.SIGKILL)
        self.nodes[name].close()


def colour(number: int) -> tuple[int, int, int]:
    """Return the colour of an original: far from all others'."""
    return (number % 4 * 80, number // 4 % 4 * 80, number // 16 * 80)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site3]:
    """Everything, running."""
    servers.open_up(tmp_path)
    (tmp_path / "originals/photographs").mkdir(parents=True)
    for number in range(PICTURES):
        picture = Image.new("RGB", (1600, 1200), colour(number))
        images.save(tmp_path / f"originals/photographs/{number:04}.jpg", picture, "JPEG")
    with ExitStack() as stack:
        folder = tmp_path / "s3"
        folder.mkdir()
        bucket, memory = S3Server(folder), MemcachedServer()
        for part in (bucket, memory):
            part.start()
            stack.callback(part.end, signal.SIGTERM)
        access_file(tmp_path, bucket.access())
        (tmp_path / "store.key").touch(mode=0o600)
        (tmp_path / "store.key").write_text("0123456789abcdef" * 2)
        for name in ("buckets.ini", "store.key"):
            shutil.chown(tmp_path / name, group=DAEMON_USER)
            (tmp_path / name).chmod(0o640)
        ports = {name: servers.free_port() for name in ("one", "two", "three")}
        there = Site3(tmp_path, bucket, memory, ports)
        for name in ports:
            there.start(name)
            stack.callback(lambda name: there.nodes[name].close(), name)
        settings = load_settings(servers.configuration(tmp_path / "conf"))
        backends = [Backend("127.0.0.1", port) for port in ports.values()]
        vcl = edge_configuration("varnish", settings, Site(backends=backends))
        there.port = stack.enter_context(caches.varnish(tmp_path, vcl))
        yield there


class Crowd:
    """Visitors who come at a rate, whatever they are answered."""

    def __init__(self, port: int) -> None:
        self._port = port
        names = {f"photographs/{number:04}": number for number in range(10_000)}
        self._asks = [_few(ask, names) for ask in Visitors(1).requests(ASKS)]
        self._numbers = itertools.count()
        self._over = threading.Event()
        self.phase = Phase()
        self._threads = [threading.Thread(target=self._visit, args=(n,)) for n in range(CLIENTS)]
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def during(self, seconds: float) -> Phase:
        """Return what comes within so many seconds."""
        self.phase = Phase()
        self._over.wait(seconds)
        return self.phase

    def _visit(self, seed: int) -> None:
        chance = random.Random(seed)
        with connection(self._port) as client:
            while not self._over.is_set():
                number = next(self._numbers)
                late = self._began + number / PER_SECOND - time.monotonic()
                if late > 0:
                    time.sleep(late)
                elif late < -1:  # no wave of what was not asked for while all waited
                    self._began -= late
                ask = self._asks[number % ASKS]
                phase, began = self.phase, time.perf_counter()
                status, _, body = client.ask(f"/images/?{ask.query}", ask.headers)
                phase.seconds.append(time.perf_counter() - began)
                phase.statuses[status] += 1
                if status == 200 and chance.random() < CHECKED_SHARE:
                    wrong = _wrong(ask, body)
                    if wrong:
                        phase.wrong.append(wrong)


def _few(ask: Ask, names: dict[str, int]) -> Ask:
    """Return a request of one of few originals."""
    name = ask.query.partition("photographs/")[2][:4]
    return Ask(
        ask.query.replace(name, f"{names[f'photographs/{name}'] % PICTURES:04}"), ask.headers
    )


def _wrong(ask: Ask, body: bytes) -> str:
    number = int(ask.query.partition("photographs/")[2][:4])
    picture = images.decoded(body).convert("RGB")
    shown = picture.getpixel((picture.width // 2, picture.height // 2))
    assert isinstance(shown, tuple)
    if max(abs(a - b) for a, b in zip(shown, colour(number), strict=True)) > 24:
        return f"{ask.query}: {shown} for {colour(number)}, {hashlib.sha256(body).hexdigest()}"
    return ""


def _told(phases: Sequence[tuple[str, Phase]]) -> None:
    for name, phase in phases:
        print(f"{name:36} {phase}")


def test_each_part_may_die_and_nobody_notices(site: Site3) -> None:
    phases: list[tuple[str, Phase]] = []
    with Crowd(site.port) as crowd:
        crowd.during(30)  # what all ask for is made
        phases.append(("all are there", crowd.during(15)))

        site.kill("one")
        phases.append(("a node was killed", crowd.during(10)))
        site.start("one")
        phases.append(("it is back, its disk empty", crowd.during(10)))

        site.bucket.end()
        phases.append(("the bucket was killed", crowd.during(10)))
        site.bucket.start()
        phases.append(("it is back", crowd.during(10)))

        site.memory.end()
        phases.append(("the memory was killed", crowd.during(10)))
        site.memory.start()
        phases.append(("it is back, empty", crowd.during(10)))
    _told(phases)

    assert [phase.wrong for _, phase in phases] == [[]] * len(phases)
    assert {status for _, phase in phases for status in phase.statuses} == {200}
