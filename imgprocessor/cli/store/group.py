"""`store`: the commands that are about what nodes share."""

import click

from imgprocessor.cli.store.check import check_store

store = click.Group("store", [check_store], help="Look after what nodes share.")
