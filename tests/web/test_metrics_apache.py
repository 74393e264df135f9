"""Counts over all daemons of a real Apache: exact, whatever happens to one of them."""

import itertools
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import images
import pytest
import servers
from conftest import ROOT
from prometheus_samples import Samples, parsed, total
from servers import DAEMONS, Server, serving

pytestmark = pytest.mark.apache

NASA = "/images/?name=nasa.jpeg"
REQUESTS = "imgprocessor_requests_total"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    servers.open_up(folder)
    images.save(folder / "nasa.jpeg", images.texture((900, 600)), "JPEG", quality=92)
    return folder


@pytest.fixture
def apache(tmp_path: Path, pictures: Path) -> Iterator[Server]:
    with serving(tmp_path / "server", pictures) as server:
        yield server


def _asked(server: Server) -> Samples:
    answer = server.ask("/images/-/metrics")
    assert answer.status == 200
    return parsed(answer.body.decode())


def _ask_all(server: Server, first: int) -> None:
    """Ask for 20 new pictures, 20 that are kept, and 5 that are not there."""
    for width in range(first, first + 20):
        for past_the_cache in range(2):
            path = f"{NASA}&width={width}&dpr=1&bandwidth=3g&x={past_the_cache}"
            assert server.ask(path).status == 200
    for number in range(first, first + 5):
        assert server.ask(f"/images/?name={number}.jpeg").status == 404


def _require(samples: Samples, before: Samples, rounds: int) -> None:
    def more(name: str, **labels: str) -> float:
        return total(samples, name, **labels) - total(before, name, **labels)

    assert more(REQUESTS) == 45 * rounds
    assert more(REQUESTS, status="200", cell="sized 3g", format="jpeg") == 40 * rounds
    assert more(REQUESTS, status="404") == 5 * rounds
    assert more("imgprocessor_refusals_total", reason="not-found") == 5 * rounds
    assert more("imgprocessor_store_hits_total", store="renditions") == 20 * rounds
    assert more("imgprocessor_store_misses_total", store="renditions") == 20 * rounds
    assert more("imgprocessor_request_seconds_count") == 45 * rounds
    assert more("imgprocessor_queue_seconds_count") == 45 * rounds
    assert 0 < more("imgprocessor_queue_seconds_sum") < 45 * rounds


def _await_other_daemons(server: Server, gone: list[int]) -> list[int]:
    def replaced() -> bool:
        return len(now := server.daemons()) == DAEMONS and not set(now) & set(gone)

    servers.await_true(replaced)
    return server.daemons()


def _answering(server: Server) -> set[int]:
    """Return the daemons that answered something: who is asked first is up to the kernel."""
    lines = (server.logs / "requests.log").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    return {entry["pid"] for entry in entries if "status" in entry} & set(server.daemons())


def test_counts_are_exact_over_all_daemons_and_survive_them(apache: Server) -> None:
    begin = _asked(apache)
    _ask_all(apache, 100)
    _require(_asked(apache), begin, 1)

    daemons = apache.daemons()
    os.kill(daemons[0], signal.SIGKILL)
    daemons = _await_other_daemons(apache, daemons[:1])
    _ask_all(apache, 200)
    _require(_asked(apache), begin, 2)

    for pid in daemons:
        os.kill(pid, signal.SIGUSR1)
    _await_other_daemons(apache, daemons)
    _ask_all(apache, 300)
    _require(_asked(apache), begin, 3)
    # Neither the dead, nor who has not been asked anything yet.
    servers.await_true(
        lambda: total(_asked(apache), "imgprocessor_processes") == len(_answering(apache))
    )

    folders = list((apache.logs.parent / "cache" / "metrics").iterdir())
    assert len(folders) == 1
    assert len(list(folders[0].glob("histogram_*.db"))) <= 2 * DAEMONS


def test_what_renderers_find_damaged_is_counted(apache: Server) -> None:
    """They read masters; nobody asks them for counts."""
    entries = apache.logs.parent / "cache" / "masters" / "entries"
    widths = itertools.count(100)
    before = total(_asked(apache), "imgprocessor_damaged_entries_total")

    def is_counted() -> bool:
        # Masters may be written at this moment, over what is damaged here.
        for path in (path for path in entries.rglob("*") if path.is_file()):
            path.write_bytes(b"damaged")
        assert apache.ask(f"{NASA}&width={next(widths)}").status == 200
        return total(_asked(apache), "imgprocessor_damaged_entries_total", store="masters") > 0

    servers.await_true(is_counted)
    assert before == 0
    samples = _asked(apache)
    assert total(samples, "imgprocessor_damaged_entries_total", store="masters") == 1
    assert total(samples, "imgprocessor_damaged_entries_total", store="renditions") == 0


def test_counts_survive_a_restart(tmp_path: Path, pictures: Path) -> None:
    for number in range(1, 3):
        with serving(tmp_path / "server", pictures) as server:
            for _ in range(10):
                server.ask("/images/?name=none.jpeg&x=1", {"Cache-Control": "no-store"})
            assert total(_asked(server), "imgprocessor_refusals_total") == 10 * number


def test_strangers_are_shown_nothing(tmp_path: Path, pictures: Path) -> None:
    """A stranger is whoever has another address, or comes by way of a proxy."""
    include = tmp_path / "stranger.conf"
    text = (ROOT / "apache/imgprocessor.conf").read_text()
    assert '<Location "/images/-/metrics">\n        Require local\n' in text
    servers.open_up(tmp_path)
    include.write_text("RemoteIPHeader X-Stranger\nRemoteIPInternalProxy 127.0.0.1\n")
    module = "LoadModule remoteip_module /usr/lib/apache2/modules/mod_remoteip.so\n"
    include.write_text(module + include.read_text())
    with serving(tmp_path / "server", pictures, "--include", str(include)) as server:
        assert server.ask("/images/-/metrics").status == 200
        for path in ("/images/-/metrics", "/images/-/%6detrics", "/images/./-//metrics?x"):
            assert server.ask(path, {"X-Stranger": "192.0.2.7"}).status in {403, 404}, path
            assert server.ask(path, {"X-Forwarded-For": "127.0.0.1"}).status == 404, path
            assert server.ask(path, {"Via": "1.1 x"}).status == 404, path
