"""`uploads verify`: whether all that is kept is whole, and what to do where it is not."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import click

from imgprocessor.cli.options import Files, ManyValues, with_files
from imgprocessor.cli.uploads.place import count_of, place_of, tracked, with_idents, with_json
from imgprocessor.cli.uploads.records import read_upload
from imgprocessor.config.settings import Settings
from imgprocessor.service.kept_sizes import is_kept_name
from imgprocessor.storage.uploads.folder import UploadFolder
from imgprocessor.storage.uploads.store import UploadStore

_LOST = "restore it from a backup, or remove it: imgprocessor uploads remove"


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be."""

    what: str
    wrong: str
    advice: str
    is_wrong: bool = True
    """Whether somebody has to do something about it."""


@click.command(cls=ManyValues, help="Look whether uploads are whole; say what to do if not.")
@with_files()
@with_idents()
@with_json
def verify(files: Files, *, idents: tuple[str, ...], in_json: bool) -> int:
    """Read every file of the uploads that are named, or of all. 1 where something is wrong."""
    settings, store = place_of(files)
    status = 0
    total = len(idents) or count_of(store)
    for ident in tracked(idents or store.idents(), "verifying", total):
        for finding in list(_whole(settings, store, ident, is_named=bool(idents))):
            status |= _tell(finding, in_json=in_json)
    if not idents:
        for finding in _around(store):
            status |= _tell(finding, in_json=in_json)
        if not status and not in_json:
            print(_all_well(store))
    return status


def _all_well(store: UploadStore) -> str:
    if isinstance(store, UploadFolder):
        return f"all well: {store.count()} uploads, {store.kept_bytes()} bytes"
    return "all well"


def _tell(finding: Finding, *, in_json: bool) -> int:
    if in_json:
        print(json.dumps(asdict(finding)))
    else:
        print(f"{finding.what}: {finding.wrong}; {finding.advice}")
    return int(finding.is_wrong)


def _whole(
    settings: Settings, store: UploadStore, ident: str, *, is_named: bool
) -> Iterator[Finding]:
    store.forget(ident)  # a local copy says nothing of what is kept
    found = [*_of_file(store, ident), *_of_sizes(store, ident)]
    if _is_there(settings, store, ident):
        yield from found
    elif is_named:
        yield Finding(ident, "there is no such upload", "nothing is to be done")
    # Otherwise it was removed meanwhile.


def _is_there(settings: Settings, store: UploadStore, ident: str) -> bool:
    path = store.relative(ident)
    if path is not None:
        return (settings.uploads.folder / path).parent.is_dir()
    try:
        return store.find(ident) is not None
    except OSError:
        return True  # and damaged


def _of_file(store: UploadStore, ident: str) -> Iterator[Finding]:
    try:
        read_upload(store, ident)
    except (OSError, ValueError) as error:
        yield Finding(ident, str(error), f"{_LOST} {ident}")


def _of_sizes(store: UploadStore, ident: str) -> Iterator[Finding]:
    for name in store.names(ident):
        what = f"{ident}/{name}"
        if not is_kept_name(name):
            yield Finding(what, "is nothing that is kept of an upload", "take it away")
        else:
            yield from _of_size(store, ident, name)


def _of_size(store: UploadStore, ident: str, name: str) -> Iterator[Finding]:
    wrong = ""
    try:
        if store.kept(ident, name) is None:
            wrong = "is damaged"
    except OSError as error:
        wrong = str(error)
    if wrong:
        advice = f"have it made anew: imgprocessor uploads sizes {ident}"
        yield Finding(f"{ident}/{name}", wrong, advice)


def _around(store: UploadStore) -> Iterator[Finding]:
    """Yield what is wrong beside uploads."""
    for path in store.strangers():
        yield Finding(path, "is no upload", "take it away")
    for ident in store.taken_out():
        yield Finding(
            ident, "is being removed", "a server that runs goes on with it", is_wrong=False
        )
    if isinstance(store, UploadFolder):
        yield from _of_totals(store)


def _of_totals(store: UploadFolder) -> Iterator[Finding]:
    before = store.count(), store.kept_bytes()
    store.count_anew()
    after = store.count(), store.kept_bytes()
    if before != after:
        counted = "{} uploads, {} bytes".format(*before)
        found = "counted anew: {} uploads, {} bytes".format(*after)
        yield Finding("totals", f"{counted} were counted", found, is_wrong=False)
