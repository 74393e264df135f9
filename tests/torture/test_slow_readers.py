"""Visitors on a network as slow as 2g, and clients who only pretend to be."""

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import servers
from servers import Answer, Server
from slow_network import PATH, needs_slow_network, slow_down

pytestmark = [pytest.mark.apache, needs_slow_network]

RATE = "50kbit"
"""What browsers call slow-2g: https://wicg.github.io/netinfo/#effective-connection-types."""
LARGE = "/images/?name=noise.jpg&width=2400&format=png"
"""Eleven megabytes: more than the kernel ever takes off Apache."""
TIMEOUT_SECONDS = 60
"""apache/imgprocessor.conf: Timeout, response-socket-timeout."""


def test_pictures_come_whole_and_who_stops_reading_is_cut_off(
    apache_in_network: Server, network: str, clients: ThreadPoolExecutor
) -> None:
    apache = apache_in_network

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
        slow_down(network, RATE)
        # Two at a time: one is answered by Apache, and one by a daemon.
        for answer in clients.map(apache.ask, (PATH, f"{PATH}&x=new")):
            assert answer.body == kept.body
        assert time.monotonic() - begin > TIMEOUT_SECONDS
        servers.await_true(lambda: unread() == 0, 15)
