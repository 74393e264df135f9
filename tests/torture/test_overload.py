"""Ten times as many requests as can be rendered: who gets an answer gets it soon."""

import itertools
import threading
import time
from pathlib import Path

import images
import pytest
import servers
from measures import Measured
from servers import serving
from visitors import Visitors, percentile
from wrk import ACCEPT, QUERY, Wrk

pytestmark = pytest.mark.apache

CAPACITY_SECONDS = 15
OVERLOAD_SECONDS = 60
FEW, CONNECTIONS = 12, 120


class Probe(threading.Thread):
    """Asks for one kind of picture every now and then; remembers status and seconds."""

    def __init__(self, port: int, path: str) -> None:
        super().__init__()
        self._port, self._path = port, path
        self._over = threading.Event()
        self.seconds: dict[int, list[float]] = {}

    def run(self) -> None:
        """Ask until told to stop."""
        for number in itertools.count():
            began = time.perf_counter()
            status = servers.ask(self._port, self._path.format(number), ACCEPT).status
            self.seconds.setdefault(status, []).append(time.perf_counter() - began)
            if self._over.wait(0.05):
                return

    def stop(self) -> None:
        """Stop, and wait for that."""
        self._over.set()
        self.join()


@pytest.mark.parametrize(
    ("settings", "own_cores", "least_goodput", "slowest_ms"),
    [
        ("[rendering]\nbest_behind = no", (), 0.4, 100),
        ("", (), 0.25, 150),
        ("[rendering]\nworkers = 1", ("0", "1"), 0.15, 100),
    ],
    ids=["the best at once", "quickly", "quickly, clients apart"],
)
def test_ten_times_the_capacity(
    settings: str,
    own_cores: tuple[str, ...],
    least_goodput: float,
    slowest_ms: float,
    tmp_path: Path,
    pictures: Path,
    measured: Measured,
) -> None:
    """G1: what can be rendered is rendered, the rest is refused at once. With `own_cores` clients
    have a processor of their own, and the server has one.
    """
    load_by, server_by = (("taskset", "-c", core) for core in own_cores) if own_cores else ((), ())
    names = tmp_path / "names"
    names.write_text("\n".join(sorted(path.name for path in pictures.iterdir())))
    kept = f"/images/?name=nasa.jpeg&width=300&{QUERY}&x={{}}"
    with serving(tmp_path / "server", pictures, prefix=server_by, settings=settings) as server:
        for name in names.read_text().split():
            for width in (300, 600, 899):
                server.ask(f"/images/?name={name}&width={width}&{QUERY}", ACCEPT)
        wrk = Wrk(server, names, prefix=load_by)
        few = FEW if not own_cores else FEW // 2  # they find a place each
        wrk.ask(5, few)
        before = Probe(server.port, kept.replace("x=", "y="))
        before.start()
        capacity = wrk.ask(CAPACITY_SECONDS, few)
        before.stop()
        hits = Probe(server.port, kept)
        others = Probe(server.port, f"/images/?name=nasa.jpeg&width=1{{:03}}&{QUERY}")
        hits.start()
        others.start()
        load = wrk.ask(OVERLOAD_SECONDS, CONNECTIONS, 10 * capacity.renders)
        hits.stop()
        others.stop()
        memory = servers.memory_bytes(server.daemons() + server.workers())
        time.sleep(5)
        again = wrk.ask(5, few)

    goodput = load.renders / capacity.renders
    refused = percentile(others.seconds[503], 99) * 1000
    usual, under = (percentile(probe.seconds[200], 99) * 1000 for probe in (before, hits))
    measured(
        "G1",
        f"{settings or 'quickly'}, {'clients apart' if own_cores else 'all together'}: capacity"
        f" {capacity.renders:.0f}/s; asked"
        f" {sum(load.statuses.values()) / load.seconds:.0f}/s for {load.seconds:.0f} s: goodput"
        f" {goodput:.2f} of capacity, statuses {dict(load.statuses)};"
        f" refusals p99 {refused:.0f} ms; kept ones p99 {under:.0f} ms"
        f" (at capacity {usual:.0f}); memory {memory / 1e6:.0f} MB; five seconds later"
        f" {again.renders / capacity.renders:.2f} of capacity",
    )
    assert load.statuses.keys() <= {200, 503}
    assert hits.seconds.keys() == {200}
    # 0.9 is wanted; docs/reliability.md says why that is not reached.
    assert goodput >= least_goodput
    assert refused <= slowest_ms
    assert under <= max(2 * usual, slowest_ms)
    assert again.renders >= 0.9 * capacity.renders


def test_large_pictures_do_not_hold_small_ones_up(
    tmp_path: Path, pictures: Path, measured: Measured
) -> None:
    """G2: five large ones among a hundred."""
    for number in range(40):
        large = images.texture((5000, 3300 + number))
        images.save(pictures / f"large{number}.jpg", large, "JPEG", quality=80)

    def small(number: int) -> str:
        return f"/images/?name=nasa.jpeg&width={301 + number}&{QUERY}"

    with serving(tmp_path / "server", pictures) as server:
        server.ask(f"/images/?name=nasa.jpeg&width=300&{QUERY}")
        with Visitors(server.port, 2, 0.05, small) as alone:
            time.sleep(10)
        larges = itertools.count()

        def path(number: int) -> str:
            if number % 20:
                return small(1000 + number)
            return f"/images/?name=large{next(larges) % 40}.jpg&width=1200&{QUERY}&x={number}"

        with Visitors(server.port, 2, 0.05, path) as mixed:
            time.sleep(20)

    # The slowest twentieth are the large ones themselves.
    usual, among = percentile(alone.seconds, 99), percentile(mixed.seconds, 99 * 0.95)
    measured(
        "G2",
        f"small ones p99 {usual * 1000:.0f} ms alone, {among * 1000:.0f} ms among large ones"
        f" ({len(mixed.seconds)} requests)",
    )
    assert mixed.statuses.keys() == {200}
    assert among <= 5 * max(usual, 0.02)
