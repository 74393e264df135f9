"""`policy digest`: what changes with the policy, settings, and versions that shape answers."""

import click

from imgprocessor.cli.options import Files, with_files
from imgprocessor.load import answers_digest, load_policy


@click.command(help="Print what changes with all that shapes answers.")
@with_files()
def digest(files: Files) -> None:
    """Print eight characters."""
    settings = files.load()
    print(answers_digest(settings, load_policy(settings)))
