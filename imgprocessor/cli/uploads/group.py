"""`uploads`: the commands that are about uploads."""

import click

from imgprocessor.cli.uploads.archive import export_uploads, import_uploads
from imgprocessor.cli.uploads.changing import make_sizes, remove
from imgprocessor.cli.uploads.listing import list_uploads, show_upload
from imgprocessor.cli.uploads.moving import move_uploads
from imgprocessor.cli.uploads.token import token
from imgprocessor.cli.uploads.verify import verify

uploads = click.Group(
    "uploads",
    [
        token,
        list_uploads,
        show_upload,
        remove,
        make_sizes,
        verify,
        export_uploads,
        import_uploads,
        move_uploads,
    ],
    help="Make tokens for those who may upload; look after what was uploaded.",
)
