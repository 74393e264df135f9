"""What a place in a bucket is good for, found out by trying: with an object that is gone again."""

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from imgprocessor.storage.shared.bucket import Bucket
from imgprocessor.storage.shared.failures import Conflict, Denied

_ASKS_FOR_NONE = "asks for what is not there"

_TRIED_BYTES = 4096
_MAX_SKEW_SECONDS = 60.0
"""S3 refuses requests at 900; long before that, something is wrong."""


class Tried(NamedTuple):
    """Something that was tried."""

    what: str
    seconds: float
    wrong: str = ""
    """Nothing where all is well."""
    lacking: str = ""
    """What will not work, and need not."""


def tried(bucket: Bucket, *, writes: bool) -> Iterator[Tried]:
    """Try what a place is needed for, one thing after the other; what fails ends it.

    Args:
        bucket: the place.
        writes: whether objects are put there, or read alone.
    """
    key = f"probe/{secrets.token_hex(16)}"
    if not writes:
        yield from _read_alone(bucket, key)
        return
    body = secrets.token_bytes(_TRIED_BYTES)
    steps: list[tuple[str, Callable[[], str]]] = [
        ("puts an object", lambda: _put(bucket, key, body)),
        ("gets it back", lambda: _got(bucket, key, body)),
        ("puts it on conditions", lambda: _conditional(bucket, key, body)),
        ("lists it", lambda: _listed(bucket, key)),
        ("removes it", lambda: _removed(bucket, key)),
        (_ASKS_FOR_NONE, lambda: _missing(bucket, key)),
    ]
    try:
        for what, step in steps:
            done = _timed(what, step)
            yield done
            if done.wrong:
                return
    finally:
        with contextlib.suppress(OSError):
            bucket.remove(key)


def _read_alone(bucket: Bucket, key: str) -> Iterator[Tried]:
    listed = _timed("lists", lambda: _any(bucket), "may not list: /browse/ will not work")
    yield listed
    if not listed.wrong:
        unknown = (
            "refused, which is usual without leave to list; ask for a picture to see all is well"
        )
        yield _timed(
            _ASKS_FOR_NONE, lambda: _missing(bucket, key), unknown if listed.lacking else ""
        )


def _timed(what: str, step: Callable[[], str], denied: str = "") -> Tried:
    """Try something; with `denied` it is not wrong that it may not be done."""
    began = time.perf_counter()
    wrong = lacking = ""
    try:
        wrong = step()
    except OSError as error:
        if denied and isinstance(error, Denied):
            lacking = denied
        else:
            wrong = str(error)
    return Tried(what, time.perf_counter() - began, wrong, lacking)


def _put(bucket: Bucket, key: str, body: bytes) -> str:
    bucket.put_new(key, body)
    return ""


def _got(bucket: Bucket, key: str, body: bytes) -> str:
    got = bucket.get(key, max_bytes=_TRIED_BYTES)
    if got is None or got.body != body:
        return "other bytes come back than were put there"
    skew = got.version.modified_seconds - time.time()
    if abs(skew) > _MAX_SKEW_SECONDS:
        which = "behind" if skew > 0 else "ahead of"
        return f"this machine's clock is {abs(skew):.0f} s {which} the bucket's: set one of them"
    return ""


def _conditional(bucket: Bucket, key: str, body: bytes) -> str:
    wrong = "it does not look at conditions: two nodes could overwrite each other's uploads"
    etag = bucket.put(key, body)
    with contextlib.suppress(Conflict):
        bucket.put_new(key, body)
        return wrong
    bucket.put(key, body + b"1", instead_of=etag)
    with contextlib.suppress(Conflict):
        bucket.put(key, body, instead_of=etag)
        return wrong
    return ""


def _any(bucket: Bucket) -> str:
    next(bucket.listed(), None)
    return ""


def _listed(bucket: Bucket, key: str) -> str:
    _, objects = bucket.folder("probe")
    there = any(found.key == key for found in objects)
    return "" if there else "what was just put there is not listed"


def _removed(bucket: Bucket, key: str) -> str:
    bucket.remove(key)
    with contextlib.suppress(FileNotFoundError):
        bucket.get(key, max_bytes=2 * _TRIED_BYTES)
        return "what was removed is there still"
    return ""


def _missing(bucket: Bucket, key: str) -> str:
    with contextlib.suppress(FileNotFoundError):
        bucket.get(key, max_bytes=1)
        return "something is there that nobody put there"
    return ""
