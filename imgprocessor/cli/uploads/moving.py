"""`uploads move`: from the folder to the bucket, or back, while both are in use."""

import click

from imgprocessor.cli.options import Files, ManyValues, with_files
from imgprocessor.cli.uploads.place import complain_of, place_of, tracked, with_idents
from imgprocessor.errors import ConfigurationError, NoRoom
from imgprocessor.storage.uploads.moving import TwoPlaces, move_upload


@click.command(
    "move", cls=ManyValues, help="Move uploads from the folder to the bucket, all or some."
)
@with_files()
@with_idents()
@click.option("--to-folder", is_flag=True, help="From the bucket to the folder.")
def move_uploads(files: Files, *, idents: tuple[str, ...], to_folder: bool) -> int:
    """Move them one by one; each is compared before it goes. 1 where one stays where it was."""
    _, store = place_of(files)
    if not isinstance(store, TwoPlaces):
        raise ConfigurationError(f"{files.conf}: [uploads] bucket must name the bucket")
    source, target = (store.folder, store.bucket)[:: -1 if to_folder else 1]
    # Listed at once: what is moved would be looked for in a listing that goes on.
    chosen = list(idents or source.idents())
    moved, status = 0, 0
    for ident in tracked(chosen, "moving", len(chosen)):
        try:
            if move_upload(ident, source, target):
                moved += 1
            elif idents:
                complain_of(ident, "there is no such upload")
                status = 1
        except (NoRoom, OSError) as error:
            complain_of(ident, f"stays where it is: {error}")
            status = 1
    print(f"{moved} moved")
    return status
