"""`uploads remove` and `sizes`: uploads removed everywhere; sizes added, made, and made anew."""

import json

import click

from imgprocessor.cli.options import Files, ManyValues, with_files
from imgprocessor.cli.uploads.place import (
    complain_of,
    count_of,
    place_of,
    tracked,
    uploads_in,
    with_idents,
    with_json,
)
from imgprocessor.config.settings import Settings
from imgprocessor.errors import ImageError
from imgprocessor.request.sizes import KeptSize, read_sizes
from imgprocessor.service.uploads import Uploads


@click.command(cls=ManyValues, help="Remove uploads, with all that was made of them, everywhere.")
@with_files()
@with_idents(required=True)
@with_json
def remove(files: Files, *, idents: tuple[str, ...], in_json: bool) -> int:
    """Remove them as a DELETE does: caches are purged, too. 1 where something is left."""
    settings, _ = place_of(files)
    uploads = uploads_in(settings)
    status = 0
    for ident in tracked(idents, "removing", len(idents)):
        wrong = None
        try:
            uploads.remove(ident)
        except ImageError as error:
            wrong = str(error)
            complain_of(ident, wrong)
            status = 1
        if in_json:
            print(json.dumps({"ident": ident, "is_removed": wrong is None, "wrong": wrong}))
    return status


@click.command(
    "sizes", cls=ManyValues, help="Add sizes to uploads; make what is to be kept and is not."
)
@with_files()
@with_idents()
@click.option("--add", metavar="SIZES", default="", help="Such as '100x50,150x<60'.")
@click.option("--all", "everything", is_flag=True, help="Of all uploads.")
@click.option("--remake", is_flag=True, help="Anew, too, what another policy or encoder made.")
@with_json
def make_sizes(
    files: Files,
    *,
    idents: tuple[str, ...],
    add: str,
    everything: bool,
    remake: bool,
    in_json: bool,
) -> int:
    """Make sizes in this process, one after the other. 1 where one could not be made or kept."""
    if everything == bool(idents):
        raise click.UsageError("name uploads, or give --all")
    settings, store = place_of(files)
    added = _read(add, settings)
    uploads = uploads_in(settings)
    total = count_of(store) if everything else len(idents)
    status = 0
    for ident in tracked(store.idents() if everything else idents, "making sizes", total):
        wrong, known = None, {}
        try:
            if added:
                uploads.add_sizes(ident, added)
            uploads.remake(ident, only_missing=not remake)
            known = _counted(uploads, ident)
            if known["missing"]:
                wrong = f"{known['missing']} renditions are made and cannot be kept: is there room?"
        except ImageError as error:
            wrong = str(error)
        if wrong is not None:
            complain_of(ident, wrong)
            status = 1
        if in_json:
            print(json.dumps({"ident": ident, **known, "wrong": wrong}))
        elif known and not everything:
            print(f"{ident}: {', '.join(f'{count} {what}' for what, count in known.items())}")
    return status


def _counted(uploads: Uploads, ident: str) -> dict[str, int]:
    """Return how many renditions are kept as they would be made now, were made otherwise, or are
    missing.
    """
    wanted = list(uploads.wanted(ident))
    current = sum(one.is_current for one in wanted)
    missing = sum(one.kept is None for one in wanted)
    return {"current": current, "older": len(wanted) - current - missing, "missing": missing}


def _read(add: str, settings: Settings) -> tuple[KeptSize, ...]:
    try:
        return read_sizes(add, settings.uploads.max_sizes, settings.pixels.max_output_side_pixels)
    except ImageError as error:
        raise click.UsageError(f"--add: {error.public}") from error
