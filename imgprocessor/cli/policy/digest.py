"""`policy digest`: what changes with the policy, this program, or settings that shape answers."""

import click

from imgprocessor.cli.options import Files, with_files
from imgprocessor.load import answers_digest, load_policy


@click.command(help="Print what changes with the policy or this program.")
@with_files()
def digest(files: Files) -> None:
    """Print eight characters."""
    settings = files.load()
    print(answers_digest(settings, load_policy(settings)))
