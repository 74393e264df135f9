"""`settings`: print every setting as it is in force."""

import click

from imgprocessor.cli.options import Files, with_files
from imgprocessor.config.settings_file import describe_settings


@click.command(help="Print every setting as it is in force.")
@with_files()
def settings(files: Files) -> None:
    """Print them as a settings file."""
    print(describe_settings(files.load()))
