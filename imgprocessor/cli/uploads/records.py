"""Uploads read strictly: a record with all that one has, and the very file that it is of."""

import hashlib
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, get_args

from imgprocessor.config.jobs_settings import DOCUMENT_KINDS
from imgprocessor.config.upload_settings import KeptMetadata
from imgprocessor.errors import BadQuery
from imgprocessor.images.inspection import ORIGINAL_FORMATS
from imgprocessor.request.sizes import read_size
from imgprocessor.storage.uploads.store import Record, UploadStore

_PICTURES = {known.format for known in ORIGINAL_FORMATS.values()}


def read_record(record: Any, ident: str) -> Record:
    """Return an upload's record, with nothing in it but what records have.

    Raises:
        ValueError: it is none, or another upload's.
    """
    names = record.keys() if isinstance(record, dict) else set()
    if names != _FIELDS.keys():
        odd = sorted(ascii(name)[:40] for name in names ^ _FIELDS.keys())
        raise ValueError(f"its record lacks, or has besides: {odd[:5]!r}")
    for name, is_right in _FIELDS.items():
        if not is_right(record[name]):
            raise ValueError(f"its record says {name} {ascii(record[name])[:60]}")
    sides = [record[name] is not None for name in ("width", "height")]
    if sides != [record["format"] in _PICTURES] * 2:
        raise ValueError(f"its record says {record['format']}, and width and height of another")
    if record["ident"] != ident or not record["sent_sha256"].startswith(ident):
        raise ValueError("its record is another upload's")
    known: Record = record
    return known


def read_upload(store: UploadStore, ident: str) -> tuple[Record, bytes]:
    """Return an upload's record and its file, whole.

    Raises:
        ValueError: there is none, or its file or record is not as it was kept.
        OSError: it cannot be read.
    """
    found = store.find(ident)
    if found is None:
        raise ValueError("its file or its record is not there")
    record = read_record(found.record, ident)
    with store.open(ident) as file:
        body = file.read()
    require_file_of(record, body)
    return record, body


def require_file_of(record: Record, body: bytes) -> None:
    """Check that a file is the one of a record.

    Raises:
        ValueError: it is not.
    """
    if hashlib.sha256(body).hexdigest() != record["sha256"] or len(body) != record["bytes"]:
        raise ValueError("its file is not the one that its record is of")


def _whole(least: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= sys.maxsize


def _text(pattern: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _side(value: Any) -> bool:
    """Whether it is so many pixels; documents have none."""
    return value is None or _whole(1)(value)


def _is_sizes(value: Any) -> bool:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        return False
    try:
        return [str(read_size(text, sys.maxsize)) for text in value] == [*dict.fromkeys(value)]
    except BadQuery:
        return False


_FIELDS: Mapping[str, Callable[[Any], bool]] = {
    "ident": _text("[0-9a-f]{32}"),
    "format": lambda value: isinstance(value, str) and value in {*_PICTURES, *DOCUMENT_KINDS},
    "width": _side,
    "height": _side,
    "is_animated": lambda value: isinstance(value, bool),
    "bytes": _whole(1),
    "sha256": _text("[0-9a-f]{64}"),
    "sent_bytes": _whole(1),
    "sent_sha256": _text("[0-9a-f]{64}"),
    "metadata": lambda value: isinstance(value, str) and value in get_args(KeptMetadata),
    "uploaded_ns": _whole(0),
    "by": _text("[a-z0-9-]{1,40}"),
    "sizes": _is_sizes,
}
