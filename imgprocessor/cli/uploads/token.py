"""`uploads token`: make a token that may upload."""

import secrets
import sys

import click

from imgprocessor.cli.options import ManyValues, Reader
from imgprocessor.config.types import positive
from imgprocessor.config.upload_tokens import (
    UPLOAD_RIGHTS,
    UploadRight,
    UploadToken,
    describe_token,
    read_token_name,
    token_hash,
)

_RANDOM_BYTES = 32


@click.command(
    cls=ManyValues,
    help="Make a token: its section is for [uploads] tokens_file, itself for the client.",
)
@click.argument("name", type=Reader(read_token_name))
@click.option(
    "--may",
    type=click.Choice(UPLOAD_RIGHTS),
    multiple=True,
    default=("upload", "sizes"),
    show_default=True,
    help="What it may do.",
)
@click.option(
    "--max-bytes-an-hour",
    type=Reader(positive),
    default=UploadToken.max_bytes_an_hour,
    show_default=True,
    metavar="N",
)
@click.option(
    "--max-requests-an-hour",
    type=Reader(positive),
    default=UploadToken.max_requests_an_hour,
    show_default=True,
    metavar="N",
)
def token(
    name: str, may: tuple[UploadRight, ...], max_bytes_an_hour: int, max_requests_an_hour: int
) -> None:
    """Print the section, so that it can be appended to the file; and to the terminal the token,
    which is kept nowhere.
    """
    made = secrets.token_urlsafe(_RANDOM_BYTES)
    known = UploadToken(
        name, token_hash(made), frozenset(may), max_bytes_an_hour, max_requests_an_hour
    )
    print(describe_token(known))
    print("The token is shown this once. Clients send it so:", file=sys.stderr)
    print(f"Authorization: Bearer {made}", file=sys.stderr)
