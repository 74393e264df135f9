"""Reloads, graceful and not, and stops, while visitors go on asking."""

import signal
import subprocess
import time
from pathlib import Path

import caches
import pytest
import servers
from conftest import ROOT
from measures import Measured
from servers import serving
from visitors import Visitors, percentile, pid_file, reload

from imgprocessor.app import edge_configuration
from imgprocessor.edge.writers import Backend, Site
from imgprocessor.load import load_settings

pytestmark = pytest.mark.apache

ROUNDS = 20
LEAST_REQUESTS = 10_000


def test_reloads(tmp_path: Path, pictures: Path, measured: Measured) -> None:
    """F1: twenty rounds at four fifths of what these visitors could get."""
    with serving(tmp_path / "server", pictures) as server:
        with Visitors(server.port, 4, 0.0) as full:
            time.sleep(10)
        capacity = len(full.seconds) / 10
        rest = 4 / (0.8 * capacity) - sum(full.seconds) / len(full.seconds)
        with Visitors(server.port, 4, max(0.0, rest)) as before:
            time.sleep(10)
        with Visitors(server.port, 4, max(0.0, rest)) as visitors:
            rounds = 0
            while rounds < ROUNDS or sum(visitors.statuses.values()) < LEAST_REQUESTS:
                done = reload(server)
                assert done.returncode == 0, done
                rounds += 1
    usual, during = percentile(before.seconds, 99), percentile(visitors.seconds, 99)
    measured(
        "F1",
        f"{rounds} rounds, {sum(visitors.statuses.values())} requests: {dict(visitors.statuses)};"
        f" p99 {during * 1000:.0f} ms, before {usual * 1000:.0f} ms",
    )
    assert visitors.statuses.keys() == {200}


def test_apachectl_graceful_behind_varnish(
    tmp_path: Path, pictures: Path, measured: Measured
) -> None:
    """F2: the wrong way to reload loses nothing either where a cache asks once more."""
    with serving(tmp_path / "server", pictures) as server:
        settings = load_settings(server.logs.parent / "imgprocessor.ini")
        site = Site(backends=[Backend("127.0.0.1", server.port)])
        with caches.varnish(tmp_path, edge_configuration("varnish", settings, site)) as port:
            with Visitors(port, 4, 0.05) as visitors:
                for _ in range(5):
                    conf = pid_file(server).with_name("httpd.conf")
                    subprocess.run(
                        ["/usr/sbin/apache2", "-f", conf, "-k", "graceful"], check=True, cwd=ROOT
                    )
                    time.sleep(3)
    measured(
        "F2", f"5 times, {sum(visitors.statuses.values())} requests: {dict(visitors.statuses)}"
    )
    assert visitors.statuses.keys() == {200}


def test_a_stop_answers_what_was_begun(tmp_path: Path, pictures: Path, measured: Measured) -> None:
    """F3: Ctrl-C; then a clean start."""
    slow = "/images/?name=nasa.jpeg&width=1200&max_bytes=9000&format=avif&dpr=1&bandwidth=4g"
    folder = tmp_path / "server"
    with serving(folder, pictures) as server:
        server.ask(slow.replace("1200", "300"))
        visitors = Visitors(server.port, 2, 0.0, lambda number: f"{slow}&quality={70 - number}")
        with visitors:
            servers.await_true(lambda: len(visitors.seconds) >= 1)
            began = time.monotonic()
            server.process.send_signal(signal.SIGINT)
            server.process.wait(30)
            took = time.monotonic() - began
    began = time.monotonic()
    with serving(folder, pictures) as server:
        start = time.monotonic() - began
        assert server.ask(f"{slow}&x=1").status == 200
    left = [path for path in (folder / "cache").rglob("*") if ".tmp" in path.name]
    statuses = {k: v for k, v in visitors.statuses.items() if k != "ConnectionRefusedError"}
    measured(
        "F3", f"stopped in {took:.1f} s, started in {start:.1f} s; answered {statuses}; left {left}"
    )
    assert left == []
