"""`serve`, `worker` and `flower`: what runs until a signal ends it, beside Apache or without."""

import contextlib
import json
import signal
import socket
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click
from waitress.server import create_server

from imgprocessor.app import add_page, create_app
from imgprocessor.cli.options import FILE, Files, Reader, with_files
from imgprocessor.cli.uploads.place import require_owner
from imgprocessor.config.secrets import flower_password
from imgprocessor.config.settings import Settings
from imgprocessor.config.types import port_number
from imgprocessor.daemons import WAITRESS_THREADS
from imgprocessor.errors import ConfigurationError, JobsUnavailable
from imgprocessor.images.formats.encoders import VERSIONS
from imgprocessor.job_parts import (
    make_abilities,
    make_conversions_on_node,
    make_records,
    require_redis,
)
from imgprocessor.jobs.previews.ability import ANNOUNCED_SECONDS, Abilities
from imgprocessor.jobs.processes import run_beside
from imgprocessor.jobs.records import QUEUES, Queue
from imgprocessor.load import load_policy, load_settings
from imgprocessor.parts import processes
from imgprocessor.program import delivered, with_extra
from imgprocessor.rendering.process import give_memory_back
from imgprocessor.service.later import regularly
from imgprocessor.web.log import Entry, job_entry


@click.command(help="Serve by Waitress, for machines without Apache.")
@with_files()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=Reader(port_number), default=8000, show_default=True)
def serve(files: Files, host: str, port: int) -> None:
    """Serve until a signal ends it."""
    web = create_app(files.conf, files.overrides)
    add_page(web, delivered("static"))
    try:
        server = create_server(
            web,
            host=host,
            port=port,
            threads=WAITRESS_THREADS,
            ident="imgprocessor",
            # Nothing believes them, but who comes by way of a proxy may see and do less.
            clear_untrusted_proxy_headers=False,
        )
    except OSError as error:
        wrong = f"--host {host} --port {port}: {error.strerror}"
        raise ConfigurationError(wrong) from error
    # Waitress ends in order when its loop meets SystemExit.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"imgprocessor: with {VERSIONS}", file=sys.stderr)
    known_host, known_port = _listening(server)
    print(f"ready on http://{known_host}:{known_port}", flush=True)
    server.run()


@click.command(help="Do jobs, by Celery, until a signal ends it.")
@with_files()
@click.option(
    "--queue",
    "queues",
    type=click.Choice(QUEUES),
    multiple=True,
    help="Do only jobs of this queue; can be given again. Each has a process of its own.",
)
@click.option(
    "--heartbeat",
    type=FILE,
    metavar="DIR",
    help="Where a file for each queue is touched every two seconds while jobs are taken.",
)
def worker(files: Files, queues: tuple[Queue, ...], heartbeat: Path | None) -> int:
    """Use the workers that render on this node, or start them, where no daemon does."""
    settings = load_settings(files.conf, files.overrides)
    require_redis(settings.jobs)
    if not settings.uploads.enabled:
        raise ConfigurationError("[uploads] enabled must be yes: jobs' files lie where uploads do")
    load_policy(settings)  # what is wrong is said once
    make_records(settings.jobs)
    for folder in (settings.disk_cache.folder, settings.remote.folder, settings.uploads.folder):
        require_owner(folder)
    return run_beside(queues or QUEUES, partial(_do_jobs, settings, heartbeat))


def _do_jobs(settings: Settings, heartbeat: Path | None, queue: Queue) -> int:
    from imgprocessor.jobs.by_celery import CeleryJobs, beat, do_jobs  # noqa: PLC0415 - heavy

    if heartbeat is not None:
        beat(heartbeat / queue)
    give_memory_back()
    jobs = CeleryJobs(settings.jobs)
    abilities = make_abilities(settings) if settings.previews.enabled else None
    conversions = make_conversions_on_node(
        settings, jobs.dispatch, starts_workers=True, abilities=abilities, log=_log
    )
    if abilities is not None:
        with contextlib.suppress(JobsUnavailable):  # said again soon
            _announce(settings, abilities, is_first=True)
        regularly(ANNOUNCED_SECONDS / 3, partial(_announce, settings, abilities))
    return do_jobs(jobs, settings.jobs, conversions, queue, processes(settings))


def _announce(settings: Settings, abilities: Abilities, *, is_first: bool = False) -> None:
    known = abilities.ability
    text = abilities.look().to_text()
    if text != known.to_text() or is_first:
        print(f"documents: {text}", file=sys.__stdout__, flush=True)
    make_records(settings.jobs).announce(socket.gethostname(), text, ANNOUNCED_SECONDS)


@click.command(help="Show what workers do, by Flower's pages, until a signal ends it.")
@with_files()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=Reader(port_number), default=5555, show_default=True)
def flower(files: Files, host: str, port: int) -> None:
    """Show it, to whom has the password."""
    with with_extra("jobs", "[jobs] redis"):
        from imgprocessor.jobs.by_flower import show_jobs  # noqa: PLC0415

    jobs = load_settings(files.conf, files.overrides).jobs
    password = flower_password(jobs)
    if jobs.redis is None or password is None:
        raise ConfigurationError("[jobs] redis and flower_password_file must be set")
    try:
        show_jobs(jobs, password, host, port)
    except OSError as error:
        wrong = f"--host {host} --port {port}: {error.strerror}"
        raise ConfigurationError(wrong) from error


def _log(done: Entry) -> None:
    """Write a line to where this program's output goes: Celery has replaced `sys.stdout`."""
    print(json.dumps(job_entry(done)), file=sys.__stdout__, flush=True)


def _listening(server: Any) -> tuple[str, int]:
    """Return where Waitress listens; a name such as localhost may stand for several addresses."""
    several = getattr(server, "effective_listen", None)
    return several[0] if several else (server.effective_host, server.effective_port)
