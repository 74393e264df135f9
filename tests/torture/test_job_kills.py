"""Workers are killed while they do jobs, and Redis is restarted: each job ends once, and soon."""

import contextlib
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import images
import job_nodes
import pytest
import redis
import redises
import servers
from job_nodes import OVER, Node, pictures, send
from load import repeating
from measures import Measured
from redises import RedisServer
from servers import await_true

pytestmark = pytest.mark.apache

JOBS, WORKERS = 100, 4
EVERY_SECONDS = 2.0
LOST_SECONDS = 10.0
"""So long after its worker died, and the time that it takes, a job is done."""
WATCH_SECONDS = 0.02


@dataclass
class Course:
    """What was seen of jobs, by Redis."""

    holders: dict[str, list[str]] = field(default_factory=dict)
    """Of each job, one after the other."""
    begun: dict[str, float] = field(default_factory=dict)
    """When each holder was first seen."""
    ended: dict[str, float] = field(default_factory=dict)
    """When each job was over."""
    kills: list[tuple[float, dict[str, str]]] = field(default_factory=list)
    """When, and who held which job at that moment."""
    records: dict[str, dict[str, str]] = field(default_factory=dict)
    """Each as it was when it was over."""
    restarts: int = 0

    def has_ended(self, count: int) -> bool:
        """Whether so many jobs are over."""
        return len(self.ended) >= count

    def own_seconds(self) -> list[float]:
        """Return how long each job took its last holder."""
        return [
            self.ended[job] - self.begun[holders[-1]]
            for job, holders in self.holders.items()
            if job in self.ended and holders
        ]

    def late_seconds(self) -> list[float]:
        """Return how long after the last death of a worker that held it each lost job was over."""
        lost: dict[str, float] = {}
        for when, held in self.kills:
            for job, holder in held.items():
                if self.holders[job][-1] != holder:
                    lost[job] = when
        return [self.ended[job] - when for job, when in lost.items()]


@contextlib.contextmanager
def watching(url: str, course: Course) -> Iterator[threading.Lock]:
    """Look at all jobs again and again; whoever has the lock knows that nobody looks."""
    client = redis.Redis.from_url(url, decode_responses=True)
    looking = threading.Lock()

    def look() -> None:
        with looking, contextlib.suppress(redis.RedisError):
            names: list[Any] = client.keys("imgprocessor:job:*")
            pipeline = client.pipeline()
            for name in names:
                pipeline.hgetall(name)
            now = time.monotonic()
            for name, known in zip(names, pipeline.execute(), strict=True):
                job = name.rpartition(":")[2]
                holders = course.holders.setdefault(job, [])
                holder = known.get("holder")
                if holder is not None and holder not in course.begun:
                    holders.append(holder)
                    course.begun[holder] = now
                if known["state"] in OVER and job not in course.ended:
                    course.ended[job] = now
                    course.records[job] = known

    with repeating(look, WATCH_SECONDS):
        yield looking


def kill_oldest(node: Node, course: Course, looking: threading.Lock) -> None:
    """Kill the oldest worker with all that it started, and start another one."""
    worker = node.running.pop(0)
    with looking:
        held = {
            job: holders[-1]
            for job, holders in course.holders.items()
            if holders and job not in course.ended
        }
        send(worker, signal.SIGKILL)
        course.kills.append((time.monotonic(), held))
    worker.wait()
    node.start_worker()


def restart(server: RedisServer, course: Course) -> None:
    """Kill Redis, and start it again."""
    server.end()
    server.start()
    course.restarts += 1


def test_a_hundred_jobs_while_workers_are_killed(tmp_path: Path, measured: Measured) -> None:
    """E5: nothing is lost, nothing is done twice that anybody could see, nothing waits for long."""
    originals, course = tmp_path / "originals", Course()
    originals.mkdir()
    servers.open_up(originals)
    images.save(originals / "nasa.jpeg", images.texture((600, 400)), "JPEG")
    with contextlib.ExitStack() as stack:
        # Paths of sockets must be short.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp")))
        folder.chmod(0o755)
        server = stack.enter_context(redises.running_redis(folder))
        node = stack.enter_context(job_nodes.node(tmp_path / "node", originals, server.url))
        for _ in range(WORKERS):
            node.start_worker()
        jobs = [node.begin(body) for body in pictures(JOBS)]
        began = time.monotonic()
        with watching(server.url, course) as looking:
            restarts = [JOBS // 3, 2 * JOBS // 3]
            while len(course.ended) < JOBS:
                more = len(course.ended) + 1
                time.sleep(EVERY_SECONDS)
                kill_oldest(node, course, looking)
                # On a machine that is busy a worker may not even begin before its turn to die.
                await_true(partial(course.has_ended, more), 60)
                if restarts and len(course.ended) > restarts[0]:
                    restarts.pop(0)
                    restart(server, course)
        seconds = time.monotonic() - began
        told = node.await_over(jobs)
        assert [one for one in told if one["status"] != "SUCCESS"] == []
        bodies = {one["submission_task_id"]: node.ask(one["result_url"]).body for one in told}
        time.sleep(LOST_SECONDS)  # as long as anything of a dead worker may come back
        require_same(node, server, course, bodies)
    late, own = course.late_seconds(), course.own_seconds()
    measured(
        "E5",
        f"{JOBS} jobs in {seconds:.0f} s, {len(course.kills)} workers killed, which held"
        f" {len(late)} of them, Redis restarted {course.restarts} times: done at most"
        f" {max(late):.1f} s after the death; a job takes {statistics.median(own):.1f} s, at most"
        f" {max(own):.1f} s",
    )
    assert len(set(bodies.values())) == 1  # the same picture
    assert course.restarts == 2
    assert max(late) <= LOST_SECONDS + max(own)


def require_same(node: Node, server: RedisServer, course: Course, bodies: dict[str, bytes]) -> None:
    """Check that no job changed after it was over, and that nothing is left of how it was done."""
    client = redis.Redis.from_url(server.url, decode_responses=True)
    for job, body in bodies.items():
        assert client.hgetall(f"imgprocessor:job:{job}") == course.records[job]
        assert node.ask(f"/convert/{job}/thumbnail").body == body
    left = [path for path in node.job_files.glob("*/*") if path.name != "thumbnail"]
    assert len(left) <= len(course.kills)  # what the dead were about to remove
    assert client.zcard("imgprocessor:held") == client.zcard("imgprocessor:waiting:quick") == 0
    assert client.get("imgprocessor:bytes") == "0"
