"""Visitors on a slow network: the short case of `torture/test_slow_readers.py`."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import servers
from servers import Server
from slow_network import PATH, needs_slow_network, slow_down

pytestmark = [pytest.mark.apache, needs_slow_network]

RATE = "800kbit"
LEAST_SECONDS = 2
"""Two pictures of 200 kB at this rate take four."""


def test_pictures_come_whole(
    apache_in_network: Server, network: str, clients: ThreadPoolExecutor
) -> None:
    apache = apache_in_network
    kept = clients.submit(apache.ask, PATH).result()
    assert len(kept.body) > 200_000
    servers.await_true(
        lambda: "HIT" in clients.submit(apache.ask, PATH).result().headers.get("x-cache", "")
    )
    slow_down(network, RATE)
    begin = time.monotonic()
    # Two at a time: one is answered by Apache, and one by a daemon.
    for answer in clients.map(apache.ask, (PATH, f"{PATH}&x=new")):
        assert answer.body == kept.body
    assert time.monotonic() - begin > LEAST_SECONDS
