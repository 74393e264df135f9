"""Compound files (OLE2), which Word, Excel and PowerPoint wrote until 2007: a folder in a file."""

import struct
from collections.abc import Iterator
from typing import BinaryIO

COMPOUND_MARK = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

COMPOUND_CUT_OFF = "a sector beyond the end"

_HEAD_BYTES = 512
_ENTRY_BYTES = 128
_NAME_BYTES, _ROOT_LEVEL_CHILD = 64, 76
_MAX_SECTORS = 4096
"""Of tables and of the directory: so many have 16,384 names, and are more than anybody needs."""
_END = 0xFFFFFFF0
"""Numbers from here on are no sectors."""


def directory_start(head: bytes) -> int | None:
    """Return where the directory begins in a compound file, by its header."""
    if not head.startswith(COMPOUND_MARK) or len(head) < _HEAD_BYTES:
        return None
    sector = int.from_bytes(head[48:52], "little")
    return (sector + 1) << _shift(head) if sector < _END else None


def names_in(entries: bytes) -> set[str]:
    """Return the names in entries of a directory, whatever they stand for."""
    whole = range(0, len(entries) - _ENTRY_BYTES + 1, _ENTRY_BYTES)
    return {_name(entries[at : at + _ENTRY_BYTES]) for at in whole} - {""}


def names_at_root(file: BinaryIO) -> set[str]:
    """Return the names of what a compound file has, without what is in folders in it.

    Raises:
        ValueError: the file is no compound file, or its tables are damaged or cut off.
    """
    head = file.read(_HEAD_BYTES)
    start = directory_start(head)
    if start is None:
        raise ValueError("no compound file")
    shift = _shift(head)
    entries = b"".join(_chain(file, (start >> shift) - 1, shift, _table(file, head, shift)))
    root = entries[:_ENTRY_BYTES]
    if len(root) < _ENTRY_BYTES:
        raise ValueError("a directory without a root")
    names, seen = set(), set()
    ahead = [struct.unpack_from("<I", root, _ROOT_LEVEL_CHILD)[0]]
    while ahead:
        at = ahead.pop()
        entry = entries[at * _ENTRY_BYTES : (at + 1) * _ENTRY_BYTES]
        if at in seen or len(entry) < _ENTRY_BYTES:
            continue
        seen.add(at)
        names.add(_name(entry))
        ahead += struct.unpack_from("<II", entry, _ROOT_LEVEL_CHILD - 8)
    return names


def _shift(head: bytes) -> int:
    """Of sectors there are two sizes, 512 and 4096 bytes."""
    return 12 if head[30:32] == b"\x0c\x00" else 9


def _name(entry: bytes) -> str:
    size = struct.unpack_from("<H", entry, _NAME_BYTES)[0]
    return entry[: max(0, min(size, _NAME_BYTES) - 2)].decode("utf-16-le", "replace")


def _table(file: BinaryIO, head: bytes, shift: int) -> list[int]:
    """Return which sectors have the table that says which sector follows which."""
    sectors = list(struct.unpack_from("<109I", head, 76))
    more = int.from_bytes(head[68:72], "little")
    while more < _END and len(sectors) < _MAX_SECTORS:
        *found, more = struct.unpack(f"<{1 << (shift - 2)}I", _sector(file, more, shift))
        sectors += found
    return [sector for sector in sectors if sector < _END]


def _chain(file: BinaryIO, sector: int, shift: int, table: list[int]) -> Iterator[bytes]:
    for _ in range(_MAX_SECTORS):
        if sector >= _END:
            return
        yield _sector(file, sector, shift)
        of_table, at = divmod(sector, 1 << (shift - 2))
        if of_table >= len(table):
            raise ValueError("a sector that the table does not have")
        sector = struct.unpack_from("<I", _sector(file, table[of_table], shift), 4 * at)[0]
    raise ValueError("a directory without an end")


def _sector(file: BinaryIO, number: int, shift: int) -> bytes:
    file.seek((number + 1) << shift)
    sector = file.read(1 << shift)
    if len(sector) < 1 << shift:
        raise ValueError(COMPOUND_CUT_OFF)
    return sector
