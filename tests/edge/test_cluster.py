"""Three real Apache nodes behind one Varnish: each picture from one node, and none is missed."""

import itertools
import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import caches
import images
import pytest
import servers
from caches import connection
from servers import Server, await_true

from imgprocessor.app import edge_configuration
from imgprocessor.edge.writers import Backend, Site
from imgprocessor.load import load_settings

pytestmark = pytest.mark.apache

NAMES = [f"{number}.jpg" for number in range(12)]


@dataclass
class Cluster:
    """Varnish, and the nodes behind it by name."""

    port: int
    originals: Path
    folder: Path
    ports: dict[str, int]
    nodes: dict[str, ExitStack] = field(default_factory=dict)
    servers: dict[str, Server] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Start a node on its port."""
        self.nodes[name] = ExitStack()
        self.servers[name] = self.nodes[name].enter_context(
            servers.serving(self.folder / name, self.originals, port=self.ports[name])
        )

    def kill(self, name: str) -> None:
        """End a node at once, as if its machine lost power."""
        for pid in self.servers[name].processes():
            os.kill(pid, signal.SIGKILL)
        self.nodes[name].close()

    def stop(self) -> None:
        """Stop all nodes."""
        for node in self.nodes.values():
            node.close()

    def homes(self, width: int) -> dict[str, list[str]]:
        """Return for each original the nodes that rendered it so wide, once for each time."""
        found: dict[str, list[str]] = {}
        for node in self.ports:
            for line in (self.folder / node / "logs" / "requests.log").read_text().splitlines():
                entry = json.loads(line)
                name, _, rest = (entry.get("imagekey") or "").partition("_")
                if rest.startswith(f"{width}x_") and entry.get("source", "store") != "store":
                    found.setdefault(name, []).append(node)
        return found


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One for all tests of this module; each asks for widths of its own, but for 120."""
    folder = tmp_path_factory.mktemp("cluster")
    servers.open_up(folder)
    originals = folder / "originals"
    originals.mkdir()
    picture = images.encoded(images.texture((300, 200)), "JPEG")
    for name in NAMES:
        (originals / name).write_bytes(picture)
    ports = {name: servers.free_port() for name in ("one", "two", "three")}
    settings = load_settings(servers.configuration(folder / "conf"))
    backends = [Backend("127.0.0.1", port) for port in ports.values()]
    vcl = edge_configuration("varnish", settings, Site(backends=backends))
    with ExitStack() as stack:
        found = Cluster(0, originals, folder, ports)
        for name in ports:
            found.start(name)
        stack.callback(found.stop)
        found.port = stack.enter_context(caches.varnish(folder, vcl))
        yield found


def ask_all(port: int, width: int) -> Counter[int]:
    """Ask for every picture; return how often each status came."""
    with connection(port) as client:
        return Counter(client.ask(f"/images/?name={name}&width={width}")[0] for name in NAMES)


def test_each_picture_is_rendered_once_in_the_whole_cluster(cluster: Cluster) -> None:
    for width in (120, 121, 120, 121):
        assert ask_all(cluster.port, width) == {200: len(NAMES)}

    homes = cluster.homes(120)
    assert homes.keys() == set(NAMES)
    assert {len(nodes) for nodes in homes.values()} == {1}
    assert {nodes[0] for nodes in homes.values()} == cluster.ports.keys()
    assert cluster.homes(121) == homes  # the original is decoded on one node only


def test_a_node_may_die_under_load_and_gets_its_pictures_back(cluster: Cluster) -> None:
    ask_all(cluster.port, 120)
    homes = cluster.homes(120)
    victim = homes[NAMES[0]][0]
    statuses: Counter[int] = Counter()
    over = threading.Event()

    def visit() -> None:
        for width in itertools.count(200):
            statuses.update(ask_all(cluster.port, width))
            if over.is_set():
                return

    visitor = threading.Thread(target=visit)
    visitor.start()
    try:
        await_true(lambda: statuses.total() > len(NAMES), 60)
        cluster.kill(victim)
        killed_after = statuses.total()
        await_true(lambda: statuses.total() > killed_after + 4 * len(NAMES), 60)
        cluster.start(victim)
        width = 1000

        def is_back() -> bool:
            nonlocal width
            width += 1
            ask_all(cluster.port, width)
            return cluster.homes(width) == homes

        await_true(is_back, 60)
    finally:
        over.set()
        visitor.join()
    assert statuses.keys() == {200}
