"""A network as slow as a test wants it, which only root can make, with an Apache in it."""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import images
import pytest
import servers
from servers import Server, serving

# As `network` does, in one that goes with the command.
_TRIAL = ["unshare", "-mn", "sysctl", "-qw", "net.ipv4.tcp_no_metrics_save=1"]

needs_slow_network = pytest.mark.skipif(
    os.geteuid() != 0
    or not shutil.which("tc")
    or subprocess.run(_TRIAL, check=False, capture_output=True).returncode != 0,
    reason="only root can make a slow network, where it has CAP_NET_ADMIN",
)

PATH = "/images/?name=noise.jpg&width=1040&bandwidth=4g"
"""A picture of more than 200 kB."""

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
def apache_in_network(tmp_path: Path, network: str) -> Iterator[Server]:
    """Return an Apache in this network, with one original."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    servers.open_up(pictures)
    images.save(pictures / "noise.jpg", images.noise((2400, 1600)), "JPEG", quality=92)
    prefix = ("ip", "netns", "exec", network)
    with serving(tmp_path / "server", pictures, prefix=prefix) as server:
        yield server


@pytest.fixture
def clients(network: str) -> Iterator[ThreadPoolExecutor]:
    """Return four threads whose connections are in this network."""
    with ThreadPoolExecutor(4, initializer=_enter, initargs=(network,)) as clients:
        yield clients


def slow_down(network: str, rate: str) -> None:
    """Have a network carry so much, as tc spells it."""
    _run("tc", "-n", network, "qdisc", "add", "dev", "lo", "root",
         "tbf", "rate", rate, "burst", "3000", "latency", "2s")  # fmt: skip


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _enter(network: str) -> None:
    """Have this thread's connections in another network."""
    with Path("/run/netns", network).open() as namespace:
        assert ctypes.CDLL(None).setns(namespace.fileno(), _CLONE_NEWNET) == 0
