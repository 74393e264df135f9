"""Jobs done by Celery's workers. A message has an id and nothing else; what counts is the record.

Celery's acknowledgements, revocations and time-outs are trusted with nothing: a message that is
lost is sent again, one that comes twice finds nothing to take.
"""

import os
import socket
from pathlib import Path

import redis
from celery import Celery
from celery.signals import heartbeat_sent
from kombu.exceptions import KombuError, OperationalError

from imgprocessor.config.jobs_settings import JobsSettings
from imgprocessor.jobs.conversions import STRAYS_SECONDS, Conversions
from imgprocessor.jobs.records import QUEUES, Queue
from imgprocessor.reporting import complain
from imgprocessor.service.later import regularly


def task_name(queue: Queue) -> str:
    """Return what the tasks of a queue are called, as Flower shows them."""
    return f"imgprocessor.{queue}"


_VISIBLE_AGAIN_SECONDS = 86_400
"""More than any task takes: Celery would hand out again what is still being done."""


_FIRST, _USUAL = 0, 3
"""Priorities: the lower comes first."""
_SEPARATOR = ":"

_PAUSE_SECONDS = 1.0
_SWEEP_SECONDS = 2.0
_SEND_AGAIN_SECONDS = 5.0


def make_celery(settings: JobsSettings) -> Celery:
    """Make Celery's application, whose names all begin with the instance's."""
    app = Celery("imgprocessor", broker=_broker(settings), set_as_current=False)
    app.conf.update(
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "global_keyprefix": f"{settings.instance}:celery:",
            "visibility_timeout": _VISIBLE_AGAIN_SECONDS,
            "socket_connect_timeout": 2,
            "socket_timeout": 5,
            "priority_steps": [_FIRST, _USUAL],
            "sep": _SEPARATOR,
        },
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_acks_late=False,
        task_create_missing_queues=True,
        task_default_queue=queue_name(settings, QUEUES[0]),
        worker_prefetch_multiplier=1,
        # Of tasks that are acknowledged late: here are none. Without it each loss is a warning.
        worker_cancel_long_running_tasks_on_connection_loss=True,
        worker_hijack_root_logger=False,
        worker_send_task_events=True,
    )
    return app


def queue_name(settings: JobsSettings, queue: Queue) -> str:
    """Return what a queue is called in Redis."""
    return f"{settings.instance}.{queue}"


class CeleryJobs:
    """Sends messages to workers."""

    def __init__(self, settings: JobsSettings) -> None:
        self._settings = settings
        self.app = make_celery(settings)

    def dispatch(self, queue: Queue, job: str, *, first: bool = False) -> None:
        """Have a job done, as `Dispatch` says. What cannot be sent now is sent again."""
        self._send(queue, job, _FIRST if first else _USUAL)

    def retry(self, queue: Queue, job: str) -> None:
        """Have a job done in a moment, for which there was no worker: it has waited already."""
        self._send(queue, job, _FIRST, countdown=_PAUSE_SECONDS)

    def is_empty(self, queue: Queue) -> bool:
        """Whether no message waits; not, where nobody knows."""
        name = queue_name(self._settings, queue)
        try:
            with self.app.connection_for_read() as connection:
                return not connection.default_channel.client.llen(f"{name}{_SEPARATOR}{_USUAL}")
        except (KombuError, OperationalError, OSError, redis.RedisError):
            return False

    def _send(self, queue: Queue, job: str, priority: int, countdown: float | None = None) -> None:
        try:
            self.app.send_task(
                task_name(queue),
                (job,),
                queue=queue_name(self._settings, queue),
                priority=priority,
                countdown=countdown,
                retry=False,
                ignore_result=True,
            )
        except (KombuError, OperationalError, OSError, redis.RedisError) as error:
            complain(f"a job waits until it is sent again: {type(error).__name__}")


def do_jobs(
    jobs: CeleryJobs, settings: JobsSettings, conversions: Conversions, queue: Queue, threads: int
) -> int:
    """Do jobs of a queue until a signal ends it; return the exit status. What was begun is
    finished.
    """
    app = jobs.app

    @app.task(name=task_name(queue), ignore_result=True)  # type: ignore[untyped-decorator]
    def do(job: str) -> None:
        again = conversions.do(job)
        if again is not None:
            jobs.retry(again, job)

    def send_again() -> None:
        conversions.send_again(queue, are_lost=jobs.is_empty(queue))

    regularly(_SWEEP_SECONDS, conversions.sweep)
    regularly(_SEND_AGAIN_SECONDS, send_again)
    if queue == QUEUES[-1]:
        regularly(STRAYS_SECONDS, conversions.remove_strays)
    worker = app.Worker(
        hostname=f"{settings.instance}-{queue}-{os.getpid()}@{socket.gethostname()}",
        queues=[queue_name(settings, queue)],
        # Threads: what takes time is done by the node's own workers, which are processes.
        pool="threads",
        concurrency=threads,
        loglevel="WARNING",
        without_gossip=True,
        without_mingle=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


def beat(file: Path) -> None:
    """Have a file touched every two seconds, once this process takes jobs, and as long as it does:
    not by a thread of its own, but by what waits for messages.
    """

    def touch(**_: object) -> None:
        try:
            file.parent.mkdir(exist_ok=True)
            file.touch()
        except OSError as error:
            complain(f"--heartbeat: {file}: {error.strerror}")

    heartbeat_sent.connect(touch, weak=False)


def _broker(settings: JobsSettings) -> str:
    url = settings.redis or ""
    return url.replace("unix://", "redis+socket://", 1)
