"""What commands about uploads share: the place of uploads, idents, progress, complaints."""

import os
import pwd
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import click
from rich.console import Console
from rich.progress import Progress

from imgprocessor.cli.options import Command, Files, Reader
from imgprocessor.config.settings import Settings
from imgprocessor.errors import ConfigurationError
from imgprocessor.load import load_policy
from imgprocessor.originals.uploads import ident_of, upload_name
from imgprocessor.parts import direct_renderer, first_upload_store, make_delivery, make_uploads
from imgprocessor.service.uploads import Uploads
from imgprocessor.storage.uploads.folder import UploadFolder
from imgprocessor.storage.uploads.store import UploadStore

_Thing = TypeVar("_Thing")


def _ident(text: str) -> str:
    ident = ident_of(text) or ident_of(upload_name(text))
    if ident is None:
        raise ValueError(f"{text!r} is no ident: 32 of 0-9 and a-f, with or without .jpg")
    return ident


IDENT = Reader(_ident)
"""Reads an ident, or an upload's name in URLs."""


def with_idents(*, required: bool = False) -> Command:
    """Let a command be told idents; it gets them as a tuple, which may be empty."""
    return click.argument("idents", nargs=-1, type=IDENT, required=required, metavar="[IDENT]...")


with_json = click.option("--json", "in_json", is_flag=True, help="One JSON object a line.")


def place_of(files: Files) -> tuple[Settings, UploadStore]:
    """Return the settings, and where uploads are kept, whatever replica there is.

    Raises:
        ConfigurationError: there are no uploads, or the daemons could not change what this user
            would write there.
    """
    settings = files.load()
    store = first_upload_store(settings)
    if store is None:
        raise ConfigurationError(
            f"{files.conf}: there are no uploads: [uploads] enabled must be yes"
        )
    require_owner(settings.uploads.folder)
    return settings, store


def count_of(store: UploadStore) -> int | None:
    """Return how many uploads there are; None where nobody counts them."""
    return store.count() if isinstance(store, UploadFolder) else None


def uploads_in(settings: Settings) -> Uploads:
    """Return the part that changes uploads; renditions are made in this process.

    Raises:
        ConfigurationError: as `make_uploads` does.
    """
    policy = load_policy(settings)
    renderer = direct_renderer(settings)
    delivery = make_delivery(settings, policy=policy, keeps=True, renderer=renderer)
    uploads = make_uploads(settings, delivery, renderer, policy)
    if uploads is None:
        raise ConfigurationError("[uploads] enabled must be yes")
    return uploads


def tracked(things: Iterable[_Thing], what: str, total: int | None) -> Iterator[_Thing]:
    """Yield things, with a progress bar on stderr where that is a terminal."""
    console = Console(stderr=True)
    # Rich prints to its own console what it takes from stdout, which may go elsewhere.
    progress = Progress(
        console=console,
        transient=True,
        disable=not console.is_terminal,
        redirect_stdout=sys.stdout.isatty(),
    )
    with progress:
        yield from progress.track(things, total=total, description=what)


def complain_of(what: str, wrong: object) -> None:
    """Tell what is wrong with one of many."""
    print(f"imgprocessor: {what}: {wrong}", file=sys.stderr)


def require_owner(folder: Path) -> None:
    """Check that what this user writes to a folder the daemons can change.

    Raises:
        ConfigurationError: they could not.
    """
    if os.geteuid() or not folder.is_dir():
        return
    owner = folder.stat().st_uid
    if owner:
        try:
            name = pwd.getpwuid(owner).pw_name
        except KeyError:
            name = f"'#{owner}'"
        raise ConfigurationError(
            f"{folder}: run this as its owner (sudo -u {name} ...); what root writes there, the"
            " daemons could not change"
        )
