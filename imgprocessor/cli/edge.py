"""`edge`: write the configuration of a cache in front."""

import ipaddress
import re
from pathlib import Path

import click

from imgprocessor.app import edge_configuration
from imgprocessor.cli.options import FILE, Files, ManyValues, Reader, with_files
from imgprocessor.config.types import read_address
from imgprocessor.edge.writers import CACHES, Backend, Cache, Site
from imgprocessor.errors import ConfigurationError


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise ValueError(f"{text!r} is no address or network: {error}") from error


def _word(text: str) -> str:
    """Read what stands in nginx's configuration as one word."""
    if not re.fullmatch(r"[A-Za-z0-9._:/\[\]*-]+", text):
        raise ValueError(f"{text!r} must be one word of letters, digits and ._:/[]*-")
    return text


@click.command(cls=ManyValues, help="Write the configuration of a cache in front.")
@with_files(originals=False)
@click.argument("cache", type=click.Choice(CACHES))
@click.option("-o", "--output", type=FILE, help="Where to; otherwise it is printed.")
@click.option(
    "--backend",
    "backends",
    multiple=True,
    type=Reader(lambda text: Backend(*read_address(text))),
    default=Site.backends,
    metavar="HOST:PORT",
    help="Where the application listens, for Varnish and nginx; may be given several times.",
)
@click.option(
    "--purger",
    "purgers",
    multiple=True,
    type=Reader(_network),
    default=Site.purgers,
    metavar="ADDRESS",
    help="Who may purge Varnish, beside this machine and the backends; as often as needed.",
)
@click.option("--listen", type=Reader(_word), default=Site.listen, help="Where nginx listens.")
@click.option(
    "--cache-folder", type=Reader(_word), default=Site.folder, help="Where nginx keeps pictures."
)
@click.option(
    "--cache-megabytes",
    type=click.IntRange(1, 999_999_999),
    default=Site.max_megabytes,
    help="How much nginx keeps.",
)
def edge(
    files: Files,
    *,
    cache: Cache,
    output: Path | None,
    backends: tuple[Backend, ...],
    purgers: tuple[str, ...],
    listen: str,
    cache_folder: str,
    cache_megabytes: int,
) -> None:
    """Write one for the settings and the policy as they are."""
    site = Site(backends, purgers, listen, cache_folder, cache_megabytes)
    text = edge_configuration(cache, files.load(), site)
    if output is None:
        print(text, end="")
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{output}: {error.strerror}") from error
