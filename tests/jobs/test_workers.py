"""Real workers, processes of their own, with a real Redis: nothing is lost, and nothing is told."""

import hashlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import images
import pytest
import redis
import redises
from flowers import PASSWORD, Pages, flower
from job_workers import MAY, SECRET_NAME, TOKEN, TRACE, Workers, working
from servers import await_true

from imgprocessor.config.upload_tokens import token_hash
from imgprocessor.jobs.records import QUEUES

pytestmark = pytest.mark.slow

SLOW = {"width": "4000", "format": "avif", "max_bytes": "1000000", "dpr": "1"}
"""A rendition that takes longer than two renewals of a lease, ..."""
CHECK_SECONDS = 3
"""... and processor time that its check and a worker's start do not take together."""


@pytest.fixture
def workers() -> Iterator[Workers]:
    """One worker runs."""
    with working() as there:
        yield there


def pictures(count: int) -> list[bytes]:
    """Return pictures that take a moment each, none like another."""
    body = images.encoded(images.texture((1600, 1200)), "PNG")
    return [body + bytes([number]) for number in range(count)]


def test_nothing_is_lost_while_workers_are_killed(workers: Workers) -> None:
    workers.start()
    jobs = [workers.begin(body) for body in pictures(30)]
    await_true(lambda: any(workers.told(job)["status"] == "SUCCESS" for job in jobs), 60)
    for _ in range(2):
        oldest = workers.running.pop(0)
        workers.send(oldest, signal.SIGKILL)
        oldest.wait()
        workers.start()

    told = workers.await_over(jobs)

    assert {one["status"] for one in told} == {"SUCCESS"}
    bodies = {workers.client.get(one["result_url"]).data for one in told}
    assert len(bodies) == 1  # the same picture
    assert images.decoded(bodies.pop()).size == (100, 75)


def test_a_worker_that_sleeps_loses_its_job_and_harms_nothing(workers: Workers) -> None:
    (sleeper,) = workers.running
    jobs = [workers.begin(body) for body in pictures(6)]
    await_true(lambda: any(workers.told(job)["status"] == "SUCCESS" for job in jobs), 60)
    workers.send(sleeper, signal.SIGSTOP)
    workers.start()
    try:
        told = workers.await_over(jobs)
    finally:
        workers.send(sleeper, signal.SIGCONT)

    assert {one["status"] for one in told} == {"SUCCESS"}
    assert [workers.told(job) for job in jobs] == told


def test_what_redis_said_it_keeps_it_keeps(workers: Workers) -> None:
    """It is killed and started anew; meanwhile all says so, and goes on by itself."""
    (worker,) = workers.running
    workers.send(worker, signal.SIGSTOP)
    jobs = [workers.begin(body) for body in pictures(3)]
    client = redis.Redis.from_url(workers.url)
    pid = client.info("server")["process_id"]
    subprocess.run(["/bin/kill", "-9", str(pid)], check=True)
    answer = workers.client.get(f"/convert/{jobs[0]}")
    assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
    (workers.folder / "redis.sock").unlink()
    workers.send(worker, signal.SIGCONT)

    with redises.redis_server(workers.folder):
        told = workers.await_over(jobs)
        assert {one["status"] for one in told} == {"SUCCESS"}


def test_what_is_cancelled_is_not_rendered_to_its_end(workers: Workers) -> None:
    """Its renderer is ended, which nobody complains of, nor blames the picture for."""
    body = images.encoded(images.noise((4000, 3000)), "PNG", compress_level=1)
    job = workers.begin(body, **SLOW)
    # It was checked, and is being encoded.
    await_true(lambda: any(processor_seconds(pid) > CHECK_SECONDS for pid in workers.renderers()))
    before = workers.renderers()
    assert workers.client.delete(f"/convert/{job}", headers=MAY).status_code == 204
    await_true(lambda: before - workers.renderers(), 10)

    assert len(before - workers.renderers()) == 1
    (told,) = workers.await_over([workers.begin(body)])
    assert told["status"] == "SUCCESS"
    (told,) = workers.await_over([job])
    assert told["submission_result"] == "The job was cancelled."
    assert workers.client.get(f"/convert/{job}/thumbnail").status_code == 410
    assert not (workers.folder / "uploads" / "jobs" / job).exists()
    assert "a worker ended" not in (workers.folder / "worker.log").read_text()


def processor_seconds(pid: int) -> float:
    try:
        used = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):  # one that has just ended
        return 0.0
    return (int(used[11]) + int(used[12])) / os.sysconf("SC_CLK_TCK")


def test_each_queue_says_again_and_again_that_it_takes_jobs(workers: Workers) -> None:
    beats = workers.folder / "heartbeat"
    for _ in range(2):
        await_true(lambda: {file.name for file in beats.glob("*")} == set(QUEUES), 30)
        for file in beats.glob("*"):
            file.unlink()


def test_what_waits_is_counted(workers: Workers) -> None:
    (worker,) = workers.running
    workers.send(worker, signal.SIGSTOP)
    jobs = [workers.begin(body) for body in pictures(3)]
    text = workers.client.get("/images/-/metrics").text
    workers.send(worker, signal.SIGCONT)
    workers.await_over(jobs)

    assert 'imgprocessor_jobs_waiting{queue="bulk"} 0.0' in text
    told = re.search(r'imgprocessor_jobs_waiting\{queue="quick"\} ([0-9.]+)', text)
    assert told is not None
    assert float(told[1]) >= 1
    after = workers.client.get("/images/-/metrics").text
    assert "imgprocessor_jobs_held 0.0" in after
    assert "imgprocessor_jobs_waiting_bytes 0.0" in after


def test_the_worker_says_what_became_of_a_job_and_for_which_request(workers: Workers) -> None:
    jobs = [workers.begin(body) for body in (pictures(1)[0], b"text")]
    workers.await_over(jobs)
    log = workers.folder / "worker.log"

    await_true(lambda: log.read_text().count('"outcome"') == len(jobs))
    lines = [json.loads(line) for line in log.read_text().splitlines() if '"outcome"' in line]
    told = {line["job"]: (line["trace_id"], line["outcome"], line["error"]) for line in lines}
    assert told == {
        jobs[0]: (TRACE, "SUCCESS", None),
        jobs[1]: (TRACE, "FAILURE", "unsupported-original"),
    }


def test_nothing_secret_is_told(workers: Workers) -> None:
    body = pictures(1)[0]
    with flower(workers.folder / "imgprocessor.ini", workers.folder) as pages:
        # Before it heard of the worker, it would not hear of the task.
        await_true(lambda: b"imgprocessor-quick-" in pages.ask("/flower/workers?json=1").body)
        job = workers.begin(body)
        (told,) = workers.await_over([job])
        assert told["status"] == "SUCCESS"
        await_true(lambda: b"SUCCESS" in pages.ask("/flower/api/tasks").body)
        shown = _all_pages(pages)
    client = redis.Redis.from_url(workers.url)
    client.bgrewriteaof()
    kept = b"".join(path.read_bytes() for path in workers.folder.rglob("*.aof"))
    logs = b"".join(
        (workers.folder / name).read_bytes()
        for name in ("worker.log", "requests.log", "flower.log")
    )
    metrics = workers.client.get("/images/-/metrics").data

    for secret in (TOKEN, token_hash(TOKEN), SECRET_NAME, PASSWORD):
        for searched in (kept, logs, shown, metrics):
            assert secret.encode() not in searched
        assert secret not in json.dumps(told)
    assert hashlib.sha256(body).hexdigest().encode() in kept  # so it is what was searched
    assert shown.count(job.encode()) >= 3
    assert b"imgprocessor_jobs_over_total" in metrics


def _all_pages(pages: Pages) -> bytes:
    """Return all that Flower tells of its one task, and of the worker that did it."""
    ((task, told),) = json.loads(pages.ask("/flower/api/tasks").body).items()
    worker = told["worker"]
    await_true(lambda: worker in json.loads(pages.ask("/flower/api/workers?refresh=1").body))
    column = "draw=1&start=0&length=10&order[0][column]=0&columns[0][data]=name"
    paths = ("", "workers?json=1", "tasks", f"tasks/datatable?{column}", "broker", "metrics",
             f"task/{task}", f"worker/{worker}", "api/tasks", "api/workers", "api/task/types",
             f"api/task/info/{task}", "api/queues/length")  # fmt: skip
    answers = [pages.ask(f"/flower/{path}") for path in paths]
    assert {answer.status for answer in answers} == {200}
    return b"\n".join(answer.body for answer in answers)
