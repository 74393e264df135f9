"""An entry's bytes: a name and a body, with a checksum over both."""

import itertools
import os
import struct
from collections.abc import Iterable, Sequence

import xxhash

_MAGIC = b"img1"
_CHECKSUM_BYTES = 16
_LENGTH = struct.Struct("<I")
# An entry: magic, checksum of all that follows, length of its name, its name, its body.
_CHECKED_FROM = len(_MAGIC) + _CHECKSUM_BYTES
_NAME_FROM = _CHECKED_FROM + _LENGTH.size

_MAX_NAME_BYTES = 65_536
"""More than any name has: a damaged length must not fill the memory."""


def entry_bytes(name: bytes, body_bytes: int) -> int:
    """Return how long the entry of a body is."""
    return _NAME_FROM + len(name) + body_bytes


def entry(name: bytes, parts: Sequence[bytes]) -> bytes:
    """Return the entry of a body that is there already."""
    checksum = xxhash.xxh3_128()
    named = _LENGTH.pack(len(name)) + name
    for part in (named, *parts):
        checksum.update(part)
    return b"".join((_MAGIC, checksum.digest(), named, *parts))


def write_entry(descriptor: int, name: bytes, parts: Iterable[bytes]) -> None:
    """Write an entry to an empty file: in one go, where all parts are there already.

    Raises:
        OSError: it cannot be written.
    """
    if isinstance(parts, Sequence):
        _write(descriptor, entry(name, parts))
        return
    checksum = xxhash.xxh3_128()
    named = _LENGTH.pack(len(name)) + name
    os.lseek(descriptor, _CHECKED_FROM, os.SEEK_SET)
    for part in itertools.chain((named,), parts):
        checksum.update(part)
        _write(descriptor, part)
    # What makes it an entry comes last.
    os.lseek(descriptor, 0, os.SEEK_SET)
    _write(descriptor, _MAGIC + checksum.digest())


def write_plain(descriptor: int, body: bytes) -> None:
    """Write a body alone to an empty file; its checksum is kept elsewhere.

    Raises:
        OSError: it cannot be written.
    """
    _write(descriptor, body)


def checksum_of(parts: Iterable[bytes]) -> str:
    """Return the checksum of a body that is kept plain, as 32 hexadecimal digits."""
    checksum = xxhash.xxh3_128()
    for part in parts:
        checksum.update(part)
    return checksum.hexdigest()


def _write(descriptor: int, part: bytes) -> None:
    left = memoryview(part)
    while left:
        left = left[os.write(descriptor, left) :]


def name_of(path: str) -> bytes | None:
    """Return the name in an entry's file; None where it has gone, or is no entry."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - many files
            head = file.read(_NAME_FROM)
            if len(head) < _NAME_FROM or not head.startswith(_MAGIC):
                return None
            (length,) = _LENGTH.unpack_from(head, _CHECKED_FROM)
            return file.read(min(length, _MAX_NAME_BYTES))
    except OSError:
        return None


def checked(view: memoryview, name: bytes) -> memoryview | None:
    """Return an entry's body; None where it is not whole, or another entry's."""
    body_from = _NAME_FROM + len(name)
    if (
        view[: len(_MAGIC)] != _MAGIC
        or view[_CHECKED_FROM:body_from] != _LENGTH.pack(len(name)) + name
        or view[len(_MAGIC) : _CHECKED_FROM] != xxhash.xxh3_128_digest(view[_CHECKED_FROM:])
    ):
        return None
    return view[body_from:]
