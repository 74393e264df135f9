"""`uploads export` and `import`: uploads as a tar, read elsewhere as if a stranger had made it.

For each upload a tar has `IDENT/record.json` and then `IDENT/original`. Kept sizes are not in it:
they are made of the file. What somebody may have done to a tar, and what comes of it:

- Names that lead elsewhere, links, devices, sparse files: no name is ever used as a path, and
  nothing is unpacked. All but those two kinds of regular files is told, and passed over.
- Extended headers, which Python's library reads into memory whole, headers that make no sense, and
  an end that is none: reading ends there. Compression, and so bombs, are not read at all.
- Files and records of any size: one that is larger than an upload may be is not read. Bounds of
  `[uploads]` hold as for all others, and only one upload is in memory.
- Bytes that are no picture, or more than one: each file is inspected, cleaned and decoded anew,
  as all that is uploaded, with what its record says of metadata. The record says of the file what
  was found here. That is done in this process: a file that kills its decoder ends the import, and
  nothing of it is kept.
- Records with anything but what records have are refused. Who uploaded it, when, and its sizes are
  believed.
- An ident that belongs to other bytes. It is a digest of the bytes as sent, which are kept nowhere,
  so nobody can tell: who makes the tar can put another picture in the place of one that was not
  uploaded here yet. What is here already stays as it is. Import from those alone whom you would let
  choose the pictures.
"""

import contextlib
import io
import json
import re
import sys
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import click

from imgprocessor.cli.options import FILE, Files, ManyValues, with_files
from imgprocessor.cli.uploads.place import (
    complain_of,
    count_of,
    place_of,
    tracked,
    uploads_in,
    with_idents,
    with_json,
)
from imgprocessor.cli.uploads.records import read_record, read_upload, require_file_of
from imgprocessor.config.settings import Settings
from imgprocessor.errors import ConfigurationError, ImageError, NoRoom
from imgprocessor.request.names import MAX_QUOTED, spell
from imgprocessor.request.sizes import read_sizes
from imgprocessor.service.uploads import Uploads
from imgprocessor.storage.uploads.store import Record, UploadStore

_RECORD, _FILE = "record.json", "original"
_NAME = re.compile(rf"([0-9a-f]{{32}})/({re.escape(_RECORD)}|{_FILE})")
_MAX_RECORD_BYTES = 65_536
_NS = 1_000_000_000
_STREAM = Path("-")
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE)
_PLAIN = (*_REGULAR, tarfile.DIRTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE,
          tarfile.BLKTYPE, tarfile.FIFOTYPE)  # fmt: skip
"""Types of members that have no further headers."""


@click.command("export", cls=ManyValues, help="Write uploads, all or some, into a new tar.")
@with_files()
@click.argument("file", type=FILE)
@with_idents()
def export_uploads(files: Files, *, file: Path, idents: tuple[str, ...]) -> int:
    """Write them one by one; `-` is stdout. 1 where one is left out, because it is not whole."""
    _, store = place_of(files)
    total = len(idents) or count_of(store)
    chosen = tracked(idents or store.idents(), "exporting", total)
    if file == _STREAM:
        if sys.stdout.isatty():
            raise click.UsageError("a tar on a terminal is of no use: name a file")
        return _write(sys.stdout.buffer, store, chosen)
    try:
        file.touch(0o640, exist_ok=False)
        with file.open("wb") as made:
            try:
                return _write(made, store, chosen)
            except BaseException:
                file.unlink()  # half a tar is no backup
                raise
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror or error}") from error


@click.command("import", help="Keep the uploads in a tar that export wrote; trust nothing in it.")
@with_files()
@click.argument("file", type=FILE)
@with_json
def import_uploads(files: Files, *, file: Path, in_json: bool) -> int:
    """Read a tar, `-` is stdin; what is kept already stays. 1 where something was not kept."""
    settings, _ = place_of(files)
    uploads = uploads_in(settings)
    counts = {"new": 0, "known": 0, "refused": 0}
    try:
        with (
            contextlib.nullcontext(sys.stdin.buffer) if file == _STREAM else file.open("rb") as tar
        ):
            for one in tracked(_read(tar, uploads, settings), "importing", None):
                counts[one.outcome] += 1
                if one.wrong:
                    complain_of(one.what, one.wrong)
                if in_json:
                    print(json.dumps(vars(one)))
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror or error}") from error
    if not in_json:
        print(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
        if counts["new"]:
            print("their sizes are made when asked for, or by: imgprocessor uploads sizes --all")
    return 1 if counts["refused"] else 0


@dataclass(frozen=True)
class Imported:
    """What came of a member of a tar."""

    what: str
    outcome: str
    wrong: str | None = None


class _Unreadable(Exception):
    """From here on nothing of a tar can be read."""


class _Tar(tarfile.TarFile):
    """A tar that remembers no members, of which there may be millions."""

    members: list[tarfile.TarInfo]


class _Header(tarfile.TarInfo):
    """A header that is alone, as `export` writes them. The library would take one that makes no
    sense for the end of the tar.
    """

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise _Unreadable(f"the tar is damaged or cut off: {error}") from error

    # The library's hook for what a subclass makes of a header, before anything behind it is read.
    # Not `frombuf`, which Python no longer calls since Debian's 3.11.2-6+deb12u9.
    def _proc_member(self, tar: tarfile.TarFile) -> Self:
        if self.size < 0 or self.type not in _PLAIN:
            raise _Unreadable("the tar has what export does not write; repack it: --format=ustar")
        member: Self = super()._proc_member(tar)  # type: ignore[misc]
        return member


def _write(file: BinaryIO, store: UploadStore, idents: Iterable[str]) -> int:
    status = 0
    with _Tar.open(fileobj=file, mode="w|", format=tarfile.USTAR_FORMAT) as tar:
        for ident in idents:
            try:
                record, body = read_upload(store, ident)
            except (OSError, ValueError) as error:
                complain_of(ident, f"is left out: {error}")
                status = 1
                continue
            for name, content in ((_RECORD, json.dumps(record).encode()), (_FILE, body)):
                header = tarfile.TarInfo(f"{ident}/{name}")
                header.size, header.mtime = len(content), record["uploaded_ns"] // _NS
                tar.addfile(header, io.BytesIO(content))
            tar.members.clear()
    return status


def _read(file: BinaryIO, uploads: Uploads, settings: Settings) -> Iterator[Imported]:
    """Keep what is in a tar; yield what came of each upload, and of what is none."""
    record: Record | None = None
    try:
        with _Tar.open(
            fileobj=file, mode="r|", tarinfo=_Header, encoding="utf-8", errors="replace"
        ) as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()
                name = spell(member.name)[:MAX_QUOTED]
                try:
                    part = _part(member)
                    if part == _RECORD:
                        if record is not None:
                            yield _without_file(record)
                        record = None
                        record = _record(tar, member, settings)
                    elif part == _FILE:
                        mine, record = record, None
                        yield _kept(tar, member, mine, uploads)
                except NoRoom:
                    raise
                except (ValueError, ImageError) as error:
                    yield Imported(name, "refused", str(error))
    except (_Unreadable, tarfile.TarError, NoRoom) as error:
        yield Imported("the rest", "refused", str(error))
    if record is not None:
        yield _without_file(record)


def _part(member: tarfile.TarInfo) -> str | None:
    """Return which part of an upload a member is; None for a folder."""
    if member.isdir():
        return None
    named = _NAME.fullmatch(member.name)
    if named is None or member.type not in _REGULAR:
        raise ValueError("is no part of an upload")
    return named[2]


def _record(tar: tarfile.TarFile, member: tarfile.TarInfo, settings: Settings) -> Record:
    if member.size > _MAX_RECORD_BYTES:
        raise ValueError("is too large for a record")
    ident = member.name.partition("/")[0]
    try:
        record = read_record(json.loads(_content(tar, member)), ident)
    except RecursionError as error:
        raise ValueError("is no record") from error
    max_side = settings.pixels.max_output_side_pixels
    read_sizes(",".join(record["sizes"]), settings.uploads.max_sizes, max_side)
    return record


def _kept(
    tar: tarfile.TarFile, member: tarfile.TarInfo, record: Record | None, uploads: Uploads
) -> Imported:
    ident = member.name.partition("/")[0]
    if record is None or record["ident"] != ident:
        raise ValueError("does not follow its record, or that was refused")
    uploads.require_room(member.size)
    body = _content(tar, member)
    require_file_of(record, body)
    file = uploads.new_file()
    try:
        file.write_bytes(body)
        return Imported(ident, "new" if uploads.restore(file, record) else "known")
    finally:
        file.unlink(missing_ok=True)


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file: Any = tar.extractfile(member)
    with file:
        content: bytes = file.read()
    return content


def _without_file(record: Record) -> Imported:
    return Imported(record["ident"], "refused", "its file does not follow its record")
