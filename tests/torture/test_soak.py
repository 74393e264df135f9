"""Half a million requests: nothing grows but what is kept."""

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import servers
from measures import Measured
from servers import Server, serving
from wrk import ACCEPT, QUERY, Wrk

pytestmark = pytest.mark.apache

REQUESTS = 500_000
"""At least. Five to seven minutes, where one kept rendition is sent 2,000 times a second."""
LEAST_ROUNDS, MOST_ROUNDS = 3, 8
NUMBERS = 18_000
"""So many new ones at most in a round: `overload.lua` has 144,000."""
HIT_SECONDS = 40
NEW_SECONDS = 10


def counted(processes: Sequence[int]) -> tuple[int, int, int]:
    """Return open files, threads and proportional memory in bytes of some processes."""
    files = threads = 0
    for pid in processes:
        files += len(list(Path(f"/proc/{pid}/fd").iterdir()))
        threads += len(list(Path(f"/proc/{pid}/task").iterdir()))
    return files, threads, servers.memory_bytes(processes)


def hits(server: Server, seconds: int) -> int:
    """Ask for one kept rendition, past Apache's own cache, as fast as answers come."""
    path = f"/images/?name=nasa.jpeg&width=300&{QUERY}&format=jpeg"
    told = subprocess.run(
        [
            "wrk", "-t1", "-c8", f"-d{seconds}s", "-H", "Cache-Control: no-store",
            f"http://127.0.0.1:{server.port}{path}",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout  # fmt: skip
    assert "Non-2xx" not in told
    (line,) = [line for line in told.splitlines() if "requests in" in line]
    return int(line.split()[0])


def test_nothing_grows(tmp_path: Path, pictures: Path, measured: Measured) -> None:
    """Q1, bounded: kept ones, new ones and refused ones in turn."""
    names = tmp_path / "names"
    names.write_text("\n".join(sorted(path.name for path in pictures.iterdir())))
    with serving(tmp_path / "server", pictures) as server:
        for name in names.read_text().split():
            server.ask(f"/images/?name={name}&width=899&{QUERY}", ACCEPT)
        wrk, before = Wrk(server, names, NUMBERS), (server.daemons(), server.workers())
        found: list[tuple[int, int, int]] = []
        asked = [0]
        while len(found) < LEAST_ROUNDS or (asked[-1] < REQUESTS and len(found) < MOST_ROUNDS):
            kept = hits(server, HIT_SECONDS)
            load = wrk.ask(NEW_SECONDS, 30)
            assert load.statuses.keys() <= {200, 503}
            asked.append(asked[-1] + kept + sum(load.statuses.values()))
            time.sleep(2)
            found.append(counted(server.daemons() + server.workers()))
        assert (server.daemons(), server.workers()) == before

    grown = (found[-1][2] - found[0][2]) / found[0][2]
    measured(
        "Q1",
        f"{asked[-1]} requests; files {[files for files, _, _ in found]}, threads"
        f" {[threads for _, threads, _ in found]}, MB {[known[2] // 10**6 for known in found]}",
    )
    assert asked[-1] >= REQUESTS
    assert max(files for files, _, _ in found) <= found[0][0] + 10
    assert max(threads for _, threads, _ in found) <= found[0][1] + 2
    # Since they were counted first.
    assert grown / ((asked[-1] - asked[1]) / 10_000) < 0.01
    assert grown < 0.1
