"""`serve` and `worker`: what runs until a signal ends it, beside Apache or without."""

import signal
import sys
from typing import Any

import click
from waitress.server import create_server

from imgprocessor.app import add_page, create_app
from imgprocessor.cli.options import Files, Reader, with_files
from imgprocessor.config.types import port_number
from imgprocessor.errors import ConfigurationError
from imgprocessor.images.formats.encoders import VERSIONS
from imgprocessor.jobs.by_celery import CeleryJobs, do_jobs
from imgprocessor.load import load_settings
from imgprocessor.parts import make_conversions, make_delivery, make_pool, processes
from imgprocessor.program import delivered
from imgprocessor.rendering.process import give_memory_back, run_folder
from imgprocessor.rendering.supervisor import Supervisor
from imgprocessor.reporting import complain


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
def worker(files: Files) -> int:
    """Use the workers that render on this node, or start them, where no daemon does."""
    settings = load_settings(files.conf, files.overrides)
    if not settings.jobs.enabled or settings.jobs.redis is None:
        raise ConfigurationError("[jobs] enabled must be yes, and redis say where jobs are kept")
    give_memory_back()
    folder = run_folder(settings)
    pool = make_pool(settings, folder)
    delivery = make_delivery(settings, keeps=True, renderer=pool)
    jobs = CeleryJobs(settings.jobs)
    conversions = make_conversions(settings, delivery, pool, jobs.dispatch)
    Supervisor(folder, processes(settings), settings, complain).start()
    # One beside those that render, so that what is quick need not wait for a turn that others have.
    return do_jobs(jobs, settings.jobs, conversions, processes(settings) + 1)


def _listening(server: Any) -> tuple[str, int]:
    """Return where Waitress listens; a name such as localhost may stand for several addresses."""
    several = getattr(server, "effective_listen", None)
    return several[0] if several else (server.effective_host, server.effective_port)
