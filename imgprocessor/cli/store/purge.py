"""`purge`: forget what was made, here and in all caches."""

import sys

import click

from imgprocessor.cli.options import Files, ManyValues, with_files
from imgprocessor.parts import make_delivery, make_purger
from imgprocessor.service.purge import PurgeRequest


@click.command(cls=ManyValues, help="Forget what was made, here and in all caches.")
@with_files()
@click.argument("name", nargs=-1)
@click.option("--imagekey", multiple=True, help="One rendition's; may be given several times.")
@click.option("--all", "everything", is_flag=True, help="Everything.")
def purge(
    files: Files, name: tuple[str, ...], imagekey: tuple[str, ...], *, everything: bool
) -> int:
    """Purge, NAME by NAME: an original's, as in the URL, decoded."""
    settings = files.load()
    purger = make_purger(settings, make_delivery(settings, keeps=True))
    purged = purger.purge(PurgeRequest(name, imagekey, everything))
    for what, count in purged.removed.items():
        print(f"{what}: {count} files removed")
    for who, reason in purged.failed.items():
        print(f"imgprocessor: not forgotten: {who}: {reason}", file=sys.stderr)
    return 1 if purged.failed else 0
