"""Forms as they arrive: a file straight to the disk, every byte of it, and the sizes to be made."""

import hashlib
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

from multipart import (
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
    parse_options_header,
)

from imgprocessor.config.upload_settings import SMALL_BODY_BYTES
from imgprocessor.errors import BadQuery, LengthRequired, TooLarge, UnsupportedUpload
from imgprocessor.storage.uploads.durable import LOOK_EVERY_BYTES
from imgprocessor.web.incoming import Environ

_FILE_FIELDS = ("image", "file")
SIZES_FIELD = "sizes"

_READ_BYTES = 65_536
"""What a read of a body that breaks off loses does not matter here: it is refused anyway."""

_MAX_TEXT_BYTES = 16_384
_MAX_URLENCODED_BYTES = 65_536
"""`_MAX_TEXT_BYTES` percent-encoded, and some more."""
_MAX_FIELDS = 100
_MAX_HEADER_BYTES = 16_384
"""A line of a field's header: a file's name of 3,000 letters in any script fits."""

_BOUNDARY = re.compile(r"[!-~]([ -~]{0,198}[!-~])?")
"""RFC 2046 has 70 characters. None is a carriage return, which the parser relies on."""

_NO_FILE = f"the form must have a file as one of: {', '.join(_FILE_FIELDS)}"
_ONE_FILE = "the form must have one file; send one request for each picture"
_NO_TEXT = "{0} must be a file, not text: with curl, -F {0}=@picture.jpg"


@dataclass(frozen=True)
class ReceivedFile:
    """A file that arrived whole. Whoever takes it removes it."""

    path: Path
    sha256: str
    """64 hexadecimal digits, over the bytes as sent."""
    size_bytes: int


@dataclass(frozen=True)
class Form:
    """What counts of a form."""

    file: ReceivedFile | None
    texts: Mapping[str, str]
    """The fields with text that were asked for, as sent."""

    @property
    def sizes(self) -> str | None:
        """The sizes as sent; None where there is no such field."""
        return self.texts.get(SIZES_FIELD)


def read_form(
    environ: Environ,
    *,
    new_file: Callable[[], Path] | None = None,
    max_bytes: int = 0,
    require_room: Callable[[int], None] = lambda _: None,
    texts: Collection[str] = (SIZES_FIELD,),
    needs_file: bool = True,
) -> Form:
    """Read a form with one file of up to `max_bytes`, written where `new_file` says, which may be
    left out unless it `needs_file`; or, without `new_file`, a form that has no file. Of all other
    fields `texts` count; all names of files are ignored. While the file is written, `require_room`
    looks again and again whether that may go on.

    Raises:
        BadQuery: it is not well formed, ends early, or has other than one file.
        LengthRequired: nothing says how long it is.
        TooLarge: it is larger than may be, and was not read to its end.
        UnsupportedUpload: it is no form, or has text in place of the file.
        OSError: the file cannot be written.

    Nothing is left of the file then.
    """
    length = body_length(environ)
    kind, options = parse_options_header(str(environ.get("CONTENT_TYPE", "")))
    if kind == "multipart/form-data":
        form = _Multipart(new_file, max_bytes, require_room, texts, needs_file=needs_file)
        return _read_multipart(environ, length, options.get("boundary", ""), form)
    if kind == "application/x-www-form-urlencoded" and (new_file is None or not needs_file):
        return Form(None, _read_urlencoded(environ, length, texts))
    raise UnsupportedUpload("The body must be a form: Content-Type: multipart/form-data.")


def body_length(environ: Environ) -> int:
    """Return how many bytes the body will have, as its headers say.

    Raises:
        LengthRequired: they do not say.
        BadQuery: they say nonsense.
    """
    said = str(environ.get("CONTENT_LENGTH") or "")
    if not said or environ.get("HTTP_TRANSFER_ENCODING"):
        raise LengthRequired
    if not re.fullmatch("[0-9]{1,18}", said):
        raise BadQuery(["the header Content-Length must be a number of bytes"])
    return int(said)


def body_parts(environ: Environ, length: int, part_bytes: int) -> Iterator[bytes]:
    """Yield a body of so many bytes as it arrives, in reads of up to `part_bytes`.

    Raises:
        BadQuery: it ends early. Hardly anybody is there any more to be told.
    """
    read = environ["wsgi.input"].read  # type: ignore[attr-defined]
    left = length
    while left:
        try:
            part = read(min(left, part_bytes))
        except OSError:  # mod_wsgi: the connection broke
            part = b""
        if not part:
            raise BadQuery([f"the body ends {left} bytes before its Content-Length"])
        left -= len(part)
        yield part


def _read_multipart(environ: Environ, length: int, boundary: str, form: "_Multipart") -> Form:
    if not _BOUNDARY.fullmatch(boundary):
        raise BadQuery(["the header Content-Type must have the form's boundary"])
    if length > form.max_bytes + SMALL_BODY_BYTES:
        raise TooLarge(form.max_bytes or SMALL_BODY_BYTES)
    # Not `strict`: that would refuse a form whose last two dashes end a read.
    parser = PushMultipartParser(
        boundary,
        length,
        max_header_size=_MAX_HEADER_BYTES,
        max_segment_count=_MAX_FIELDS,
        header_charset="latin-1",  # any bytes at all: only ASCII counts
    )
    try:
        for part in body_parts(environ, length, _READ_BYTES):
            for event in parser.parse(part):
                form.take(event)
        parser.close()
        return form.whole()
    except ParserLimitReached as error:
        form.drop()
        text = f"the form must have no more than {_MAX_FIELDS} fields, and those short headers"
        raise BadQuery([text]) from error
    except MultipartError as error:
        form.drop()
        raise BadQuery(["the body must be well-formed multipart/form-data, to its end"]) from error
    except BaseException:
        form.drop()
        raise


class _Multipart:
    """What is taken of a form's fields, one event of the parser after another."""

    def __init__(
        self,
        new_file: Callable[[], Path] | None,
        max_bytes: int,
        require_room: Callable[[int], None],
        texts: Collection[str],
        *,
        needs_file: bool,
    ) -> None:
        self._new_file = new_file
        self._needs_file = needs_file
        self._wanted = texts
        self._texts: dict[str, bytes] = {}
        self.max_bytes = max_bytes
        self._require_room = require_room
        self._path: Path | None = None
        self._descriptor: int | None = None
        self._digest = hashlib.sha256()
        self._size_bytes = 0
        self._name = ""
        self._has_no_filename = False

    def take(self, event: MultipartSegment | bytes | None) -> None:
        """Take the beginning of a field, some of its bytes, or, by None, its end."""
        if isinstance(event, MultipartSegment):
            self._begin(event)
        elif event is None:
            self._end()
        elif self._descriptor is not None:
            self._write(self._descriptor, event)
        elif self._name in self._texts:
            self._texts[self._name] += event
            if len(self._texts[self._name]) > _MAX_TEXT_BYTES:
                raise BadQuery([f"{self._name}: must have no more than {_MAX_TEXT_BYTES} bytes"])

    def whole(self) -> Form:
        """Return the form, after its last field."""
        texts = {name: _text(value) for name, value in self._texts.items()}
        if self._path is not None:
            file = ReceivedFile(self._path, self._digest.hexdigest(), self._size_bytes)
            return Form(file, texts)
        if self._new_file is not None and self._needs_file:
            raise BadQuery([_NO_FILE])
        return Form(None, texts)

    def drop(self) -> None:
        """Leave nothing of the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None

    def _begin(self, field: MultipartSegment) -> None:
        self._name, self._has_no_filename = field.name, not field.filename
        if self._name in self._wanted:
            if self._name in self._texts:
                raise BadQuery([f"{self._name}: given twice"])
            self._texts[self._name] = b""
        elif self._name in _FILE_FIELDS:
            if self._new_file is None:
                raise BadQuery(["the form must have no file: it adds sizes to a picture"])
            if not _is_file(field):
                raise UnsupportedUpload(_NO_TEXT.format(self._name))
            if self._path is not None:
                raise BadQuery([_ONE_FILE])
            path = self._new_file()
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            self._descriptor = os.open(path, flags, 0o640)
            self._path = path

    def _write(self, descriptor: int, part: bytes) -> None:
        self._size_bytes += len(part)
        if self._size_bytes > self.max_bytes:
            raise TooLarge(self.max_bytes)
        if self._size_bytes % LOOK_EVERY_BYTES < len(part):
            self._require_room(0)
        self._digest.update(part)
        left = memoryview(part)
        while left:
            left = left[os.write(descriptor, left) :]

    def _end(self) -> None:
        if self._descriptor is None:
            return
        os.close(self._descriptor)
        self._descriptor = None
        if not self._size_bytes and self._has_no_filename:
            self.drop()  # what a browser sends where no file was chosen


def _is_file(field: MultipartSegment) -> bool:
    """Whether a field is a file: it has a file's name, be it empty, or is said to be no text."""
    named = re.search(r";\s*filename\*?\s*=", field.header("Content-Disposition"), re.IGNORECASE)
    return bool(named) or not (field.content_type or "text/plain").startswith("text/")


def _read_urlencoded(environ: Environ, length: int, texts: Collection[str]) -> dict[str, str]:
    if length > _MAX_URLENCODED_BYTES:
        raise TooLarge(_MAX_URLENCODED_BYTES)
    body = _text(b"".join(body_parts(environ, length, _READ_BYTES)))
    try:
        pairs = parse_qsl(body, keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict")
    except UnicodeDecodeError as error:
        raise BadQuery([_NOT_UTF_8]) from error
    except ValueError as error:
        raise BadQuery([f"the form must have no more than {_MAX_FIELDS} fields"]) from error
    read: dict[str, str] = {}
    for name, value in pairs:
        if name in read:
            raise BadQuery([f"{name}: given twice"])
        if name in texts:
            read[name] = value
    return read


_NOT_UTF_8 = "the form's text must be UTF-8"


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise BadQuery([_NOT_UTF_8]) from error
