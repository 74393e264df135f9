"""`serve`: the application by Waitress, for machines without Apache."""

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
from imgprocessor.program import delivered


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


def _listening(server: Any) -> tuple[str, int]:
    """Return where Waitress listens; a name such as localhost may stand for several addresses."""
    several = getattr(server, "effective_listen", None)
    return several[0] if several else (server.effective_host, server.effective_port)
