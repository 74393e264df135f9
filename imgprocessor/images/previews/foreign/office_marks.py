"""What kind of office document a file is: by its ends, and, where it may be read whole, exactly."""

import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from imgprocessor.errors import UndrawableDocument
from imgprocessor.images.previews.foreign.compound_file import (
    COMPOUND_CUT_OFF,
    COMPOUND_MARK,
    names_at_root,
    names_in,
)
from imgprocessor.images.previews.kind import CUT_OFF, DAMAGED, LOCKED, TOO_LARGE, Ends

_ODF = b"application/vnd.oasis.opendocument."
_ODF_KINDS = {
    b"text": ("writer8", "OpenDocument Text Flat XML"),
    b"spreadsheet": ("calc8", "OpenDocument Spreadsheet Flat XML"),
    b"presentation": ("impress8", "OpenDocument Presentation Flat XML"),
    b"graphics": ("draw8", "OpenDocument Drawing Flat XML"),
}
"""How LibreOffice calls what reads them: in a ZIP, and as one XML file."""
_ODF_KIND = re.compile(
    re.escape(_ODF) + rb"(text|spreadsheet|presentation|graphics)(-template)?(?![a-z-])"
)

_OOXML_KINDS = {
    "word": "MS Word 2007 XML",
    "xl": "Calc MS Excel 2007 XML",
    "ppt": "Impress MS PowerPoint 2007 XML",
}
"""By the folder that all is in."""
_OOXML_BINARY = ("xl/workbook.bin", "Calc MS Excel 2007 Binary")
_OOXML_PARTS = ("[Content_Types].xml", "_rels/.rels")

_COMPOUND_KINDS: Mapping[str, str] = {
    "PowerPoint Document": "MS PowerPoint 97",
    "WordDocument": "MS Word 97",
    "Workbook": "MS Excel 97",
    "Book": "MS Excel 95",
}
_COMPOUND_LOCKED = "EncryptedPackage"
_COMPOUND_CLASSES = (
    *(
        bytes.fromhex(f"{start} 0000 0000 c000 0000 0000 0046")
        for start in ("06090200", "00090200", "20080200", "10080200")
    ),
    bytes.fromhex("108d8164 9b4f cf11 86ea00aa00b929e8"),
)
"""What the directory's root says that it is: Word, Excel and PowerPoint, of two ages."""
_CLASS_AT, _CLASS_BYTES = 80, 16
_FIRST_STREAM_AT = 512
_COMPOUND_BEGINNINGS = (b"\xec\xa5", b"\x09\x08\x10\x00\x00\x06")
"""What Word and Excel write first, by which a file is told that is cut off before its directory."""

_RTF = (b"{\\rtf", "Rich Text Format")

_FLAT_WITHIN_BYTES = 4096
_FLAT = re.compile(rb"<(?:\w+:)?document\s[^>]*\bmimetype\s*=\s*[\"']([^\"']+)")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_LOCAL, _CENTRAL, _END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_LOCAL_HEADER_BYTES, _ENTRY_HEADER_BYTES = 30, 46

MAX_INFLATED_BYTES = 400_000_000
"""By which a ZIP's entries together may be larger than in the ZIP."""
MAX_ENTRIES = 20_000
_MAX_MANIFEST_BYTES = 4_000_000


def is_office(ends: Ends) -> bool:
    """Whether a document is one of an office program, by cheap marks."""
    head = ends.head
    if head.startswith(_LOCAL):
        return _odf_kind(head) is not None or _is_ooxml(ends)
    if head.startswith(COMPOUND_MARK):
        names = names_in(ends.directory)
        if not names:
            return head[_FIRST_STREAM_AT:].startswith(_COMPOUND_BEGINNINGS)
        of_class = ends.directory[_CLASS_AT : _CLASS_AT + _CLASS_BYTES] in _COMPOUND_CLASSES
        return of_class or not names.isdisjoint({*_COMPOUND_KINDS, _COMPOUND_LOCKED})
    return head.startswith(_RTF[0]) or _flat_kind(head) is not None


def filter_of(document: Path) -> str:
    """Return by which of LibreOffice's filters a document is to be read. It is read inside of the
    sandbox alone, from the beginning to the end.

    Raises:
        UndrawableDocument: it is damaged, locked, or too large once it is inflated.
    """
    with document.open("rb") as file:
        head = file.read(_FLAT_WITHIN_BYTES)
        file.seek(0)
        if head.startswith(_LOCAL):
            return _filter_of_zip(file, head)
        if head.startswith(COMPOUND_MARK):
            return _filter_of_compound(file)
    flat = _flat_kind(head)
    return _RTF[1] if flat is None else _ODF_KINDS[flat][1]


def is_cut_off_text(document: Path) -> bool:
    """Whether RTF or XML, which are text, has no end. Others are found to be cut off before."""
    with document.open("rb") as file:
        ends = Ends.of(file)
    last = ends.tail.rstrip(b"\0\r\n\t ")[-1:]
    if ends.head.startswith(_RTF[0]):
        return last != b"}"
    return _flat_kind(ends.head) is not None and last != b">"


def _odf_kind(head: bytes) -> bytes | None:
    """Return what an OpenDocument's first entry says: it is stored as it is, and called so."""
    if len(head) < _LOCAL_HEADER_BYTES:
        return None
    name, extra = struct.unpack_from("<HH", head, 26)
    if head[_LOCAL_HEADER_BYTES : _LOCAL_HEADER_BYTES + name] != b"mimetype":
        return None
    kind = _ODF_KIND.match(head, _LOCAL_HEADER_BYTES + name + extra)
    return kind and kind[1]


def _flat_kind(head: bytes) -> bytes | None:
    start = head[:_FLAT_WITHIN_BYTES].removeprefix(_BYTE_ORDER_MARK).lstrip()
    if not start.startswith((b"<?xml", b"<office:document")):
        return None
    mark = _FLAT.search(start)
    kind = mark and _ODF_KIND.fullmatch(mark[1])
    return kind and kind[1]


def _is_ooxml(ends: Ends) -> bool:
    """Whether the list at the end has the right names; or where that is cut off, the beginning.
    What else looks like an entry may be one of a ZIP in the ZIP.
    """
    end = ends.tail.rfind(_END)
    if end < 0:
        return _ooxml_folder(_begun(ends.head)) is not None
    size = int.from_bytes(ends.tail[end + 12 : end + 16], "little")
    if size <= end:
        return _ooxml_folder(_listed(ends.tail, end - size, end)) is not None
    # The list is longer than what is known of it; the first entry is the one that tells.
    first = next(_begun(ends.head))
    return _ooxml_folder([first, *_listed(ends.tail, ends.tail.find(_CENTRAL), end)]) is not None


def _ooxml_folder(names: Iterable[str]) -> str | None:
    known = set(names)
    if known.isdisjoint(_OOXML_PARTS):
        return None
    folders = {name.partition("/")[0] for name in known if "/" in name}
    return next((folder for folder in _OOXML_KINDS if folder in folders), None)


def _listed(tail: bytes, at: int, end: int) -> Iterator[str]:
    """Return the names in a ZIP's list, which begins there."""
    while at >= 0 and tail.startswith(_CENTRAL, at) and at + _ENTRY_HEADER_BYTES <= end:
        lengths = struct.unpack_from("<HHH", tail, at + 28)
        begins = at + _ENTRY_HEADER_BYTES
        yield tail[begins : begins + lengths[0]].decode("utf-8", "replace")
        at = begins + sum(lengths)


def _begun(head: bytes) -> Iterator[str]:
    for found in re.finditer(re.escape(_LOCAL), head):
        length = int.from_bytes(head[found.start() + 26 : found.start() + 28], "little")
        begins = found.start() + _LOCAL_HEADER_BYTES
        yield head[begins : begins + length].decode("utf-8", "replace")


def _filter_of_zip(file: BinaryIO, head: bytes) -> str:
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            if len(entries) > MAX_ENTRIES or _inflated_by(entries) > MAX_INFLATED_BYTES:
                raise UndrawableDocument(TOO_LARGE)
            kind = _odf_kind(head)
            if kind is not None:
                if _is_locked(archive):
                    raise UndrawableDocument(LOCKED)
                return _ODF_KINDS[kind][0]
            names = archive.namelist()
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError) as error:
        raise UndrawableDocument(_cut_off_or_damaged(file), str(error)) from error
    folder = _ooxml_folder(names)
    if folder is None:
        raise UndrawableDocument(DAMAGED, "no document in the ZIP")
    binary, by = _OOXML_BINARY
    return by if binary in names else _OOXML_KINDS[folder]


def _inflated_by(entries: Iterable[zipfile.ZipInfo]) -> int:
    return sum(max(0, entry.file_size - entry.compress_size) for entry in entries)


def _is_locked(archive: zipfile.ZipFile) -> bool:
    """Whether an OpenDocument's list says that something in it is encrypted."""
    try:
        with archive.open("META-INF/manifest.xml") as manifest:
            return b"encryption-data" in manifest.read(_MAX_MANIFEST_BYTES)
    except KeyError:
        return False


def _cut_off_or_damaged(file: BinaryIO) -> str:
    file.seek(0)
    return DAMAGED if _END in Ends.of(file).tail else CUT_OFF


def _filter_of_compound(file: BinaryIO) -> str:
    try:
        names = names_at_root(file)
    except (ValueError, struct.error) as error:
        cut_off = str(error) == COMPOUND_CUT_OFF
        raise UndrawableDocument(CUT_OFF if cut_off else DAMAGED, str(error)) from error
    if _COMPOUND_LOCKED in names:
        raise UndrawableDocument(LOCKED)
    name = next((name for name in _COMPOUND_KINDS if name in names), None)
    if name is None:
        raise UndrawableDocument(DAMAGED, "no document in the compound file")
    return _COMPOUND_KINDS[name]
