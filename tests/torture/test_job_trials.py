"""Jobs while all goes wrong that they depend on: Redis, workers, clocks, and who hands them in."""

import contextlib
import os
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import images
import job_nodes
import pytest
import redises
import servers
from job_nodes import Node, pictures, send
from load import repeating
from measures import Measured
from redis import Redis
from redises import RedisServer
from servers import Answer, await_true, has_open
from visitors import Visitors, percentile

pytestmark = pytest.mark.apache

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
"""Of Debian's package `faketime`; its program would stand between a signal and the worker."""
CONNECTIONS = 50
AT_ONCE = 1000
AGAIN_SECONDS = 15.0
"""So soon after Redis is there again all is done that was asked for before."""


@dataclass
class Place:
    """A node with a Redis of its own, and a way to have more of them."""

    node: Node
    server: RedisServer
    more: Callable[..., contextlib.AbstractContextManager[Node]]
    """Run another node, on that Redis unless another is named."""

    def client(self) -> Redis:
        """Ask Redis itself."""
        return Redis.from_url(self.server.url, decode_responses=True)

    def folders(self) -> set[str]:
        """Return the jobs that have files."""
        folder = self.node.job_files
        return {path.name for path in folder.iterdir()} if folder.exists() else set()


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one picture."""
    folder = tmp_path_factory.mktemp("originals")
    servers.open_up(folder)
    images.save(folder / "nasa.jpeg", images.texture((1534, 1022)), "JPEG", quality=92)
    return folder


@pytest.fixture
def place(tmp_path: Path, originals: Path) -> Iterator[Place]:
    """One worker runs."""
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    servers.open_up(uploads)
    uploads.chmod(0o777)
    with contextlib.ExitStack() as stack:
        # Paths of sockets must be short.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp")))
        folder.chmod(0o755)
        server = stack.enter_context(redises.running_redis(folder))

        def more(
            name: str, url: str = server.url, jobs: str = ""
        ) -> contextlib.AbstractContextManager[Node]:
            return job_nodes.node(tmp_path / name, originals, url, jobs=jobs, uploads=uploads)

        node = stack.enter_context(more("node"))
        node.start_worker()
        (warm_up,) = pictures(1)
        node.await_over([node.begin(warm_up + b"warm")])
        yield Place(node, server, more)


def asked(count: int, ask: Callable[[int], Answer]) -> list[Answer]:
    """Ask so often, over 50 connections."""
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return list(pool.map(ask, range(count)))


def require_all_done(node: Node, jobs: list[str], seconds: float = 60) -> float:
    """Wait until all have succeeded; return how long that took."""
    began = time.monotonic()
    told = node.await_over(jobs, seconds)
    assert {one["status"] for one in told} == {"SUCCESS"}
    return time.monotonic() - began


def test_a_thousand_at_once(place: Place, measured: Measured) -> None:
    """E6: all are answered, all that were taken end, visitors notice little."""
    (body,) = pictures(1, (600, 400))
    node, began = place.node, time.monotonic()
    with Visitors(node.server.port, 2, 0.1) as visitors:
        answers = asked(AT_ONCE, lambda number: node.hand_in(body + number.to_bytes(2, "big")))
        taken = [answer for answer in answers if answer.status == 202]
        jobs = [answer.headers["location"].rpartition("/")[2] for answer in taken]
        require_all_done(node, jobs, 300)
        seconds = time.monotonic() - began
    taken_bytes = servers.memory_bytes(node.server.daemons())
    measured(
        "E6",
        f"{AT_ONCE} jobs over {CONNECTIONS} connections: {Counter(one.status for one in answers)},"
        f" done after {seconds:.0f} s; pictures meanwhile: {dict(visitors.statuses)}, 95 % within"
        f" {percentile(visitors.seconds, 95):.2f} s; daemons {taken_bytes // 10**6} MB",
    )
    assert {answer.status for answer in answers} <= {202, 503}
    assert all("retry-after" in answer.headers for answer in answers if answer.status == 503)
    assert visitors.statuses.keys() == {200}
    assert taken_bytes < 500_000_000
    assert place.client().get("imgprocessor:bytes") == "0"


def test_redis_that_does_not_answer(place: Place, measured: Measured) -> None:
    """E7: it says so, keeps nothing, and goes on by itself; pictures are served as ever."""
    node, bodies = place.node, pictures(20)
    jobs = [node.begin(body) for body in bodies[:10]]
    before, began = place.folders(), time.monotonic()
    with place.server.stopped(), Visitors(node.server.port, 2, 0.1) as visitors:
        answers = asked(10, lambda number: node.hand_in(bodies[10 + number]))
        answers.append(node.ask(f"/convert/{jobs[0]}"))
        time.sleep(max(0.0, began + 10 - time.monotonic()))
        left = place.folders() - before
    seconds = require_all_done(node, jobs)
    measured(
        "E7",
        f"Redis stopped for 10 s: {Counter(one.status for one in answers)}; all done"
        f" {seconds:.1f} s after it went on; pictures meanwhile {dict(visitors.statuses)},"
        f" the slowest {max(visitors.seconds):.2f} s",
    )
    assert {(one.status, "retry-after" in one.headers) for one in answers} == {(503, True)}
    assert left == set()
    assert seconds <= AGAIN_SECONDS
    assert visitors.statuses.keys() == {200}


def test_redis_that_is_gone_again_and_again(place: Place) -> None:
    """At any step of a job; what was told of a job stays so."""
    node, bodies = place.node, pictures(40)
    jobs = [node.begin(body) for body in bodies[:30]]
    kept = place.folders()
    for number in range(3):
        time.sleep(0.3 + 0.3 * number)
        place.server.end()
        answers = [
            node.hand_in(bodies[-1 - number]),
            node.ask(f"/convert/{jobs[0]}"),
            node.ask(f"/convert/{jobs[0]}?wait=5"),
            node.ask(f"/convert/{jobs[0]}/thumbnail"),
            node.ask(f"/convert/{jobs[0]}", "DELETE"),
        ]
        place.server.start()
        assert {(one.status, "retry-after" in one.headers) for one in answers} == {(503, True)}

    assert require_all_done(node, jobs) <= AGAIN_SECONDS
    assert place.folders() == kept


def test_redis_without_memory(place: Place) -> None:
    """What was taken is done once there is some, by workers that nobody starts again."""
    node, client, bodies = place.node, place.client(), pictures(12)
    send(node.running[0], signal.SIGSTOP)
    jobs = [node.begin(body) for body in bodies[:5]]
    before = place.folders()
    client.config_set("maxmemory", "1mb")
    send(node.running[0], signal.SIGCONT)
    answers = asked(5, lambda number: node.hand_in(bodies[5 + number]))
    cancelled = node.ask(f"/convert/{jobs[0]}", "DELETE")
    left = place.folders() - before
    time.sleep(5)  # workers meet it, too
    assert node.ask(f"/convert/{jobs[1]}").status == 200
    client.config_set("maxmemory", "0")

    assert {(one.status, "retry-after" in one.headers) for one in answers} == {(503, True)}
    assert left == set()
    assert cancelled.status in {204, 410}
    require_all_done(node, [*jobs[1:], node.begin(bodies[-1])], AGAIN_SECONDS + 10)
    assert node.running[0].poll() is None


def test_what_is_cancelled_stays_so_through_restarts(place: Place) -> None:
    """And the same bytes, handed in anew, are another job."""
    node, bodies = place.node, pictures(8)
    (sleeper,) = node.running
    send(sleeper, signal.SIGSTOP)
    cancelled = [node.begin(body) for body in bodies]
    assert {node.ask(f"/convert/{job}", "DELETE").status for job in cancelled} == {204}
    anew = [node.begin(body) for body in bodies]
    send(sleeper, signal.SIGKILL)
    place.server.end()
    place.server.start()
    node.start_worker()

    require_all_done(node, anew)
    assert {node.told(job)["submission_result"] for job in cancelled} == {"The job was cancelled."}
    assert {node.ask(f"/convert/{job}/thumbnail").status for job in cancelled} == {410}
    assert not place.folders() & {*cancelled}


def test_a_worker_that_sleeps_longer_than_its_lease(place: Place) -> None:
    """When it wakes up, what it did counts for nothing."""
    node, client = place.node, place.client()
    (sleeper,) = node.running
    jobs = [node.begin(body) for body in pictures(6)]
    await_true(lambda: any(node.told(job)["status"] == "STARTED" for job in jobs))
    send(sleeper, signal.SIGSTOP)
    node.start_worker()
    require_all_done(node, jobs)

    def known() -> list[object]:
        records = [client.hgetall(f"imgprocessor:job:{job}") for job in jobs]
        return [*records, *(node.ask(f"/convert/{job}/thumbnail").body for job in jobs)]

    before = known()
    send(sleeper, signal.SIGCONT)
    time.sleep(5)  # it renews its leases every two seconds

    assert known() == before
    assert client.zcard("imgprocessor:held") == 0


def test_a_picture_that_kills_renderers(place: Place) -> None:
    """Two deaths; and none for the same bytes, as long as they are in quarantine."""
    node, killed = place.node, list[int]()
    deadly = images.encoded(images.noise((3000, 2000)), "PNG", compress_level=1)

    def kill() -> None:
        files = [path / "file" for path in node.job_files.iterdir()]
        for pid, command in servers.all_processes().items():
            is_new = servers.WORKER in command and pid not in killed
            if is_new and any(has_open(pid, file) for file in files):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    with repeating(kill, 0.001):
        jobs = [node.begin(deadly)]
        told = node.await_over(jobs)
    deaths = len(killed)
    jobs.append(node.begin(deadly))
    told += node.await_over(jobs[1:])

    assert deaths == len(killed) == 2
    assert {one["status"] for one in told} == {"FAILURE"}
    assert {one["submission_result"] for one in told} == {
        "The original cannot be rendered: it has stopped this server's renderers."
    }
    assert node.ask(f"/convert/{jobs[0]}/thumbnail").status == 422
    require_all_done(node, [node.begin(pictures(1)[0] + b"another")])


def test_nodes_share_what_has_one_name_in_one_redis(place: Place) -> None:
    """One does what another took; another instance, or the same one elsewhere, knows nothing."""
    node, bodies = place.node, pictures(6)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp")))
        folder.chmod(0o755)
        elsewhere = stack.enter_context(redises.running_redis(folder))
        second = stack.enter_context(place.more("second"))
        other = stack.enter_context(place.more("other", jobs="instance = other\n"))
        same = stack.enter_context(place.more("same", elsewhere.url))
        jobs = [second.begin(body) for body in bodies[:3]]  # which has no worker
        require_all_done(second, jobs)
        for job in jobs:
            path = f"/convert/{job}/thumbnail"
            assert node.ask(path).body == second.ask(path).body
        foreign = [one.begin(body) for one, body in zip((other, same), bodies[3:], strict=False)]
        for job in foreign:
            assert node.ask(f"/convert/{job}").status == 404
            assert node.ask(f"/convert/{job}", "DELETE").status == 404
        time.sleep(8)  # longer than any worker takes to look for what was lost
        assert other.told(foreign[0])["status"] == same.told(foreign[1])["status"] == "PENDING"
        other.start_worker()
        same.start_worker()
        require_all_done(other, foreign[:1])
        require_all_done(same, foreign[1:])


@pytest.mark.skipif(not FAKETIME.exists(), reason="no faketime")
@pytest.mark.parametrize("shift", ["+1h", "-1h"])
def test_a_worker_whose_clock_is_wrong(place: Place, shift: str) -> None:
    """It does jobs as others do: all times are those of Redis."""
    node = place.node
    replaced = node.running.pop()
    replaced.terminate()
    assert replaced.wait(30) == 0
    preload = (f"LD_PRELOAD={FAKETIME}", f"FAKETIME={shift}", "FAKETIME_DONT_FAKE_MONOTONIC=1")
    node.start_worker("/usr/bin/env", *preload)
    jobs = [node.begin(body) for body in pictures(10)]

    require_all_done(node, jobs)
    life = node.ask(f"/convert/{jobs[0]}/thumbnail").headers["cache-control"]
    assert life.startswith("private, max-age=8")


def test_two_hundred_waiters_of_whom_half_hang_up(place: Place) -> None:
    """Each of the others is answered, and pictures are served meanwhile."""
    node = place.node
    send(node.running[0], signal.SIGSTOP)
    job = node.begin(pictures(1)[0])
    answers: list[Answer] = []

    def wait(number: int) -> None:
        if number % 2:
            client = servers.slow_reader(node.server.port, f"/convert/{job}?wait=20")
            time.sleep(0.2)
            client.close()
        else:
            answers.append(node.ask(f"/convert/{job}?wait=5"))

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(200)]
    with Visitors(node.server.port, 2, 0.1) as visitors:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    send(node.running[0], signal.SIGCONT)

    assert len(answers) == 100
    assert {answer.status for answer in answers} == {200}
    assert visitors.statuses.keys() == {200}
    assert max(visitors.seconds) < 1
    require_all_done(node, [job])
