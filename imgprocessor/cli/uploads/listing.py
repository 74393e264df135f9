"""`uploads list` and `show`: what is kept, line by line, or all that is known of one upload."""

import json
import time

import click

from imgprocessor.cli.options import Files, with_files
from imgprocessor.cli.uploads.place import IDENT, complain_of, place_of, uploads_in, with_json
from imgprocessor.cli.uploads.records import read_record
from imgprocessor.errors import NoSuchUpload
from imgprocessor.storage.uploads.store import Record

_NS = 1_000_000_000


@click.command("list", help="Print what is kept: one line an upload, in the order of idents.")
@with_files()
@with_json
def list_uploads(files: Files, *, in_json: bool) -> int:
    """Print them as they are found, so that a million take no memory."""
    _, store = place_of(files)
    status = 0
    for ident in store.idents():
        try:
            found = store.find(ident)
            record = None if found is None else read_record(found.record, ident)
        except (OSError, ValueError) as error:
            complain_of(ident, f"{error}; `uploads verify` says what to do")
            status = 1
            continue
        if record is not None:  # or it was removed meanwhile
            print(json.dumps(record) if in_json else _line(record))
    return status


@click.command("show", help="Print all that is known of an upload, and what is kept of it.")
@with_files()
@click.argument("ident", type=IDENT)
@with_json
def show_upload(files: Files, *, ident: str, in_json: bool) -> None:
    """Print record, paths and kept sizes: what is kept of each, and whether it is of today's policy
    and encoders.
    """
    settings, store = place_of(files)
    found = store.find(ident)
    if found is None:
        raise NoSuchUpload(f"no upload {ident}")
    path = store.where(ident)
    kept = [
        {
            "size": str(wanted.size),
            "for": wanted.role,
            "imagekey": wanted.kept and wanted.kept.imagekey,
            "format": wanted.kept and wanted.kept.rendition.format,
            "bytes": wanted.kept and len(wanted.kept.rendition.body),
            "is_current": wanted.is_current,
        }
        for wanted in uploads_in(settings).wanted(ident)
    ]
    if in_json:
        print(json.dumps({**found.record, "file": path, "kept": kept}))
        return
    print(f"file: {path}")
    for name, value in found.record.items():
        print(f"{name}: {_uploaded(value) if name == 'uploaded_ns' else value}")
    for row in kept:
        made = "not made yet"
        if row["imagekey"] is not None:
            until = "" if row["is_current"] else ", of another policy or encoder"
            made = f"{row['format']}, {row['bytes']} bytes, {row['imagekey']}{until}"
        print(f"{row['size']} for {row['for']}: {made}")


def _line(record: Record) -> str:
    size = f"{record['width']}x{record['height']}" if record["width"] is not None else "-"
    sizes = f"{len(record['sizes'])} sizes"
    words = (record["ident"], _uploaded(record["uploaded_ns"]), f"{record['format']:<4}")
    return "  ".join(
        [*words, f"{size:>11}", f"{record['bytes']:>10} B", f"{sizes:>8}", record["by"]]
    )


def _uploaded(moment_ns: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment_ns // _NS))
