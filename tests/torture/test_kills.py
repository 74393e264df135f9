"""Daemons and workers are killed while visitors go on asking."""

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import caches
import pytest
from load import repeating
from measures import Measured
from servers import Server, serving
from visitors import Visitors

from imgprocessor.app import edge_configuration
from imgprocessor.edge.writers import Backend, Site
from imgprocessor.load import load_settings

pytestmark = pytest.mark.apache

SECONDS = 60
EVERY_SECONDS = 2
VISITORS, REST_SECONDS = 6, 0.1


@contextmanager
def killer(server: Server, kind: str) -> Iterator[list[float]]:
    """Kill one of a kind every two seconds; yield how long each was missed."""
    missed: list[float] = []
    chance = random.Random(1)

    def processes() -> list[int]:
        return server.daemons() if kind == "daemon" else server.workers()

    count = len(processes())

    def kill() -> None:
        victim = chance.choice(processes())
        os.kill(victim, signal.SIGKILL)
        began = time.monotonic()
        while len(set(processes()) - {victim}) < count:
            time.sleep(0.01)
        missed.append(time.monotonic() - began)

    with repeating(kill, EVERY_SECONDS):
        yield missed


def test_daemons_killed_behind_varnish(tmp_path: Path, pictures: Path, measured: Measured) -> None:
    """E1: nobody notices."""
    with serving(tmp_path / "server", pictures) as server:
        settings = load_settings(server.logs.parent / "imgprocessor.ini")
        site = Site(backends=[Backend("127.0.0.1", server.port)])
        with caches.varnish(tmp_path, edge_configuration("varnish", settings, site)) as port:
            with Visitors(port, VISITORS, REST_SECONDS) as visitors:
                with killer(server, "daemon") as missed:
                    time.sleep(SECONDS)
        claimed = (server.logs / "requests.log").read_text().count('"claimed"')
    measured(
        "E1, behind Varnish",
        f"{len(missed)} daemons killed in {SECONDS} s, {sum(visitors.statuses.values())} requests:"
        f" {dict(visitors.statuses)}; respawned within {max(missed):.1f} s",
    )
    assert visitors.statuses.keys() == {200}
    assert claimed == 0


def test_daemons_killed_without_a_front(tmp_path: Path, pictures: Path, measured: Measured) -> None:
    """E1: at most those lose their answer whom the daemon was answering."""
    with serving(tmp_path / "server", pictures) as server:
        with Visitors(server.port, VISITORS, REST_SECONDS) as visitors:
            with killer(server, "daemon") as missed:
                time.sleep(SECONDS / 2)
    failed = sum(number for status, number in visitors.statuses.items() if status != 200)
    measured(
        "E1, no front",
        f"{len(missed)} daemons killed in {SECONDS // 2} s,"
        f" {sum(visitors.statuses.values())} requests: {dict(visitors.statuses)}",
    )
    assert failed <= len(missed)


def test_workers_killed(tmp_path: Path, pictures: Path, measured: Measured) -> None:
    """E1 for workers: nobody notices, without any front."""
    with serving(tmp_path / "server", pictures) as server:
        with Visitors(server.port, VISITORS, REST_SECONDS) as visitors:
            with killer(server, "worker") as missed:
                time.sleep(SECONDS / 2)
    measured(
        "E1, workers",
        f"{len(missed)} workers killed in {SECONDS // 2} s,"
        f" {sum(visitors.statuses.values())} requests: {dict(visitors.statuses)};"
        f" replaced within {max(missed):.2f} s",
    )
    assert visitors.statuses.keys() == {200}
