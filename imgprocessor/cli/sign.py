"""`sign`: sign a link, where links must be signed."""

import re
import time
from pathlib import Path

import click

from imgprocessor.cli.options import FILE, Files, Reader, with_files
from imgprocessor.config.secrets import signing_keys
from imgprocessor.config.settings import SigningSettings
from imgprocessor.errors import ConfigurationError
from imgprocessor.request.signing import EXPIRES_PATTERN, sign


def _moment(text: str) -> int:
    if not re.fullmatch(EXPIRES_PATTERN, text):
        raise ValueError("must be whole seconds, at least 1")
    return int(text)


@click.command("sign", help="Sign a link, where links must be signed.")
@with_files(originals=False)
@click.argument("url")
@click.option("--expires", type=Reader(_moment), metavar="UNIX", help="Seconds since 1970.")
@click.option(
    "--expires-in",
    type=click.IntRange(1, 9_999_999_999),  # so that the moment can be spelled
    metavar="SECONDS",
    help="From now on.",
)
@click.option("--keys-file", type=FILE, help="Instead of the settings' [signing] keys_file.")
def sign_link(
    files: Files, url: str, expires: int | None, expires_in: int | None, keys_file: Path | None
) -> None:
    """Print the signed URL; the query string alone may be given."""
    if expires is not None and expires_in is not None:
        raise click.UsageError("--expires-in: not allowed with --expires")
    keys = signing_keys(SigningSettings(keys_file) if keys_file else files.load().signing)
    if not keys:
        wrong = "[signing] keys_file is not set, and so nothing is signed; or give --keys-file"
        raise ConfigurationError(f"{files.conf}: {wrong}")
    print(sign(url, keys[0], int(time.time()) + expires_in if expires_in else expires))
