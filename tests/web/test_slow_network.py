"""Visitors on a network as slow as 2g, and clients who only pretend to be."""

import contextlib
import ctypes
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import images
import pytest
import servers
from servers import Answer, Server, serving

pytestmark = [
    pytest.mark.apache,
    pytest.mark.skipif(
        os.geteuid() != 0 or not shutil.which("tc"), reason="only root can make a slow network"
    ),
]

RATE = "50kbit"
"""What browsers call slow-2g: https://wicg.github.io/netinfo/#effective-connection-types."""
PATH = "/images/?name=noise.jpg&width=1040&bandwidth=4g"
LARGE = "/images/?name=noise.jpg&width=2400&format=png"
"""Eleven megabytes: more than the kernel ever takes off Apache."""
TIMEOUT_SECONDS = 60
"""apache/imgprocessor.conf: Timeout, response-socket-timeout."""

_CLONE_NEWNET = 0x40000000


@pytest.fixture
def network() -> Iterator[str]:
    """Return the name of a network of its own, with nobody in it."""
    name = f"imgprocessor-{os.getpid()}"
    _run("ip", "netns", "add", name)
    try:
        _run("ip", "-n", name, "link", "set", "lo", "mtu", "1500", "up")
        # Each connection finds out by itself how slow it is.
        _run("ip", "netns", "exec", name, "sysctl", "-w", "net.ipv4.tcp_no_metrics_save=1")
        yield name
    finally:
        _run("ip", "netns", "delete", name)


@pytest.fixture
def apache(tmp_path: Path, network: str) -> Iterator[Server]:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    servers.open_up(pictures)
    images.save(pictures / "noise.jpg", images.noise((2400, 1600)), "JPEG", quality=92)
    prefix = ("ip", "netns", "exec", network)
    with serving(tmp_path / "server", pictures, prefix=prefix) as server:
        yield server


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _enter(network: str) -> None:
    """Have this thread's connections in another network."""
    with Path("/run/netns", network).open() as namespace:
        assert ctypes.CDLL(None).setns(namespace.fileno(), _CLONE_NEWNET) == 0


def test_pictures_come_whole_and_who_stops_reading_is_cut_off(apache: Server, network: str) -> None:
    with ThreadPoolExecutor(4, initializer=_enter, initargs=(network,)) as clients:

        def ask(path: str) -> Answer:
            return clients.submit(apache.ask, path).result()

        def unread() -> int:
            return clients.submit(servers.unread, apache.port).result()

        kept = ask(PATH)
        # More than the kernel takes off Apache at once, where the network is slow.
        assert len(kept.body) > 200_000
        servers.await_true(lambda: "HIT" in ask(PATH).headers.get("x-cache", ""))
        ask(LARGE)
        with contextlib.ExitStack() as stack:
            begin = time.monotonic()
            for number in range(10):
                # One that a daemon has kept, and Apache has not.
                path = f"{LARGE}&y={number}"
                client = clients.submit(servers.slow_reader, apache.port, path).result()
                assert stack.enter_context(client).recv(1) == b"H"
            assert unread() == 10
            _run("tc", "-n", network, "qdisc", "add", "dev", "lo", "root",
                 "tbf", "rate", RATE, "burst", "3000", "latency", "2s")  # fmt: skip
            # Two at a time: one is answered by Apache, and one by a daemon.
            for answer in clients.map(apache.ask, (PATH, f"{PATH}&x=new")):
                assert answer.body == kept.body
            assert time.monotonic() - begin > TIMEOUT_SECONDS
            servers.await_true(lambda: unread() == 0, 15)
