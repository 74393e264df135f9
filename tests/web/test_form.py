"""Forms with a file: every byte of it in any cut, and bodies that nobody should send."""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from imgprocessor.errors import (
    BadQuery,
    ImageError,
    LengthRequired,
    NoRoom,
    TooLarge,
    UnsupportedUpload,
)
from imgprocessor.web.uploads.form import Form, read_form

BOUNDARY = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
READ = 65_536
MAX = 600_000
NO_FILE = 'name="comment"'
IMAGE = 'name="image"; filename="tom.jpg"'
SIZES = 'name="sizes"'


class _Line:
    """`wsgi.input` that gives no more at once than arrived, and then ends, or breaks."""

    def __init__(self, body: bytes, cuts: Sequence[int] = (), *, breaks: bool = False) -> None:
        self._body = io.BytesIO(body)
        self._ends = sorted({cut for cut in cuts if 0 < cut < len(body)})
        self._breaks = breaks
        self.taken = 0

    def read(self, count: int) -> bytes:
        while self._ends and self._ends[0] <= self.taken:
            self._ends.pop(0)
        part = self._body.read(min([count, *(end - self.taken for end in self._ends[:1])]))
        self.taken += len(part)
        if not part and count and self._breaks:
            raise OSError("Apache/mod_wsgi request data read error")
        return part


def _field(disposition: str, body: bytes = b"", *more: str) -> bytes:
    lines = [f"--{BOUNDARY}", f"Content-Disposition: form-data; {disposition}", *more, "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + body + b"\r\n"


def _body(*fields: bytes) -> bytes:
    return b"".join(fields) + f"--{BOUNDARY}--\r\n".encode()


def _read(folder: Path, body: bytes, line: _Line | None = None, **environ: str | None) -> Form:
    told: dict[str, object] = {
        "CONTENT_TYPE": f"multipart/form-data; boundary={BOUNDARY}",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": line or _Line(body),
        **environ,
    }
    return read_form(told, new_file=lambda: folder / "arriving", max_bytes=MAX)


def _refused(
    folder: Path, body: bytes, line: _Line | None = None, **environ: str | None
) -> ImageError:
    """Read a form that is refused; nothing is left of it."""
    with pytest.raises(ImageError) as refused:
        _read(folder, body, line, **environ)
    assert [*folder.iterdir()] == []
    return refused.value


def _near(bounds: st.SearchStrategy[int]) -> st.SearchStrategy[int]:
    """Lengths of bodies around the ends of reads, and any others."""
    return st.one_of(bounds, st.builds(lambda n, by: n * READ + by, st.integers(1, 3), ARE_NEAR))


ARE_NEAR = st.integers(-len(BOUNDARY) - 12, len(BOUNDARY) + 12)
TAILS = st.sampled_from(
    [b"", b"\r", b"\r\n", b"\r\n-", b"\r\n--", f"\r\n--{BOUNDARY[:-1]}".encode()]
)


@hypothesis_settings(max_examples=300)
@given(
    length=_near(st.integers(600, 3 * READ)),
    tail=TAILS,
    cuts=st.lists(st.integers(0, 4 * READ)),
    seed=st.integers(0, 255),
)
@example(length=READ + 3, tail=b"", cuts=[], seed=0)
@example(length=2 * READ + 1, tail=b"\r\n--", cuts=[1, 2, 3], seed=1)
def test_the_file_is_what_was_sent(
    tmp_path_factory: pytest.TempPathFactory, length: int, tail: bytes, cuts: list[int], seed: int
) -> None:
    """Whatever the body's length, and wherever it is cut into reads."""
    around = len(_body(_field(SIZES, b"100x50"), _field(IMAGE)))
    noise = hashlib.shake_128(bytes([seed])).digest(max(0, length - around - len(tail)))
    file = noise + tail
    body = _body(_field(SIZES, b"100x50"), _field(IMAGE, file))
    # Cuts within the closing boundary, too.
    cuts += [len(body) - cut for cut in cuts if cut < 60]

    form = _read(tmp_path_factory.mktemp("form"), body, _Line(body, cuts))

    assert form.file is not None
    assert form.file.path.read_bytes() == file
    assert (form.file.sha256, form.file.size_bytes) == (
        hashlib.sha256(file).hexdigest(), len(file),
    )  # fmt: skip
    assert form.sizes == "100x50"


@pytest.mark.parametrize("length", range(READ - 50, READ + 50))
def test_the_file_is_what_was_sent_at_the_end_of_a_read(tmp_path: Path, length: int) -> None:
    file = b"\xff" * (length - len(_body(_field(IMAGE))))
    form = _read(tmp_path, _body(_field(IMAGE, file)))

    assert form.file is not None
    assert form.file.path.read_bytes() == file


HOSTILE = ["%0D%0ASet-Cookie: a=b", "a\0b.jpg", "x" * 3000, "写" * 3000, "../../etc/passwd",
           "\u202egpj.exe", "C:\\\\tom.jpg", "\\", "a;b=c; name=file", "%", "\udcff\udcfe.jpg",
           "-" * 100]  # fmt: skip


@pytest.mark.parametrize("file", [
    *(_field(f'name="image"; filename="{name}"', b"bytes") for name in HOSTILE),
    _field('name="image"; filename=""', b"bytes"),
    _field("name=image; filename=tom.jpg", b"bytes"),
    _field('filename="tom.jpg"; name="file"', b"bytes"),
    _field('name="image"; filename*=UTF-8\'\'t%C3%B6m.jpg', b"bytes"),
    _field('name="image"', b"bytes", "Content-Type: image/jpeg"),
    _field('name="file"', b"bytes", "content-type: application/octet-stream"),
    _field(IMAGE, b"bytes", "Content-Type: text/html; charset=nonsense", "X-Other: 1"),
    _field(IMAGE, b"bytes", "Content-Length: 5"),
    # What a browser sends for a second field in which no file was chosen.
    _field('name="file"; filename=""', b"") + _field(IMAGE, b"bytes"),
    _field(IMAGE, b"bytes") + _field('name="ident"', b"a") + _field('name="callback"', b"b"),
    _field('name="thumbnail"; filename="a.jpg"', b"other") + _field(IMAGE, b"bytes"),
    _field("", b"no name") + _field(IMAGE, b"bytes"),
    b"A preamble.\r\n" + _field(IMAGE, b"bytes"),
    b"".join([_field(NO_FILE, b"x")] * 99) + _field(IMAGE, b"bytes"),
])  # fmt: skip
def test_names_of_files_and_other_fields_are_ignored(tmp_path: Path, file: bytes) -> None:
    form = _read(tmp_path, _body(file))

    assert form.file is not None
    assert form.file.path.read_bytes() == b"bytes"
    assert form.sizes is None
    assert [path.name for path in tmp_path.iterdir()] == ["arriving"]


def test_what_follows_a_form_is_ignored(tmp_path: Path) -> None:
    body = _body(_field(IMAGE, b"bytes")) + b"An epilogue." * 10_000

    assert _read(tmp_path, body).file is not None


WHOLE = _field(IMAGE, b"bytes")


@pytest.mark.parametrize(("body", "kind", "said"), [
    (_body(), BadQuery, "must have a file as one of: image, file"),
    (_body(_field(SIZES, b"1x1")), BadQuery, "must have a file"),
    (_body(_field('name="image"; filename=""')), BadQuery, "must have a file"),
    (_body(WHOLE, WHOLE), BadQuery, "one request for each picture"),
    (_body(WHOLE, _field('name="file"; filename="b"', b"b")), BadQuery, "each picture"),
    (_body(_field('name="image"', b"http://host/a.jpg")), UnsupportedUpload, "not text"),
    (_body(_field('name="file"', b"text")), UnsupportedUpload, "file must be a file, not text"),
    (_body(_field('name="file"', b"text", "Content-Type: text/plain")), UnsupportedUpload, "-F"),
    (_body(WHOLE, _field('name="image"', b"text")), UnsupportedUpload, "not text"),
    (_body(WHOLE, _field(SIZES, b"1x1"), _field(SIZES, b"1x1")), BadQuery, "sizes: given twice"),
    (_body(WHOLE, _field(SIZES, b"1" * 16_385)), BadQuery, "sizes: must have no more than 16384"),
    (_body(WHOLE, _field(SIZES, b"\xff")), BadQuery, "must be UTF-8"),
    (_body(WHOLE, *[_field(NO_FILE)] * 5000), BadQuery, "no more than 100 fields"),
    (_body(_field(IMAGE, b"x" * (MAX + 1))), TooLarge, f"no more than {MAX} bytes"),
    (_body(_field(IMAGE, b"bytes", "Content-Length: 4")), BadQuery, "well-formed"),
    (_body(_field(IMAGE, b"bytes", "Content-Length: 6")), BadQuery, "well-formed"),
    (_body(_field(IMAGE, b"bytes", "Content-Length: -1")), BadQuery, "well-formed"),
    (_body(_field(f'name="image"; filename="{"x" * 20_000}"')), BadQuery, "short headers"),
    (_body(_field(IMAGE, b"", *[f"X-{number}: 1" for number in range(9)])), BadQuery, "short"),
    (_body(_field('name="image"; filename="a\r\nb.jpg"', b"x")), BadQuery, "well-formed"),
    (_body(WHOLE).replace(b"form-data;", b"attachment;"), BadQuery, "well-formed"),
    (_body(WHOLE).replace(b"\r\n", b"\n"), BadQuery, "well-formed"),
    (_body(WHOLE)[:-5], BadQuery, "well-formed"),
    (b"nonsense", BadQuery, "well-formed"),
    (b"", BadQuery, "well-formed"),
])  # fmt: skip
def test_forms_that_nobody_should_send(
    tmp_path: Path, body: bytes, kind: type[ImageError], said: str
) -> None:
    error = _refused(tmp_path, body)

    assert type(error) is kind
    assert said in error.public


@pytest.mark.parametrize(("environ", "kind"), [
    ({"CONTENT_LENGTH": ""}, LengthRequired),
    ({"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": ""}, LengthRequired),
    ({"CONTENT_LENGTH": "-1"}, BadQuery),
    ({"CONTENT_LENGTH": "٣"}, BadQuery),
    ({"CONTENT_LENGTH": "1" * 19}, BadQuery),
    ({"CONTENT_LENGTH": "1" * 18}, TooLarge),
    ({"CONTENT_TYPE": ""}, UnsupportedUpload),
    ({"CONTENT_TYPE": "image/jpeg"}, UnsupportedUpload),
    ({"CONTENT_TYPE": "application/json"}, UnsupportedUpload),
    ({"CONTENT_TYPE": "application/x-www-form-urlencoded"}, UnsupportedUpload),
    ({"CONTENT_TYPE": "multipart/mixed; boundary=a"}, UnsupportedUpload),
    ({"CONTENT_TYPE": "multipart/form-data"}, BadQuery),
    ({"CONTENT_TYPE": "multipart/form-data; boundary="}, BadQuery),
    ({"CONTENT_TYPE": 'multipart/form-data; boundary=""'}, BadQuery),
    ({"CONTENT_TYPE": 'multipart/form-data; boundary="a\r"'}, BadQuery),
    ({"CONTENT_TYPE": f"multipart/form-data; boundary={'a' * 201}"}, BadQuery),
    ({"CONTENT_TYPE": "multipart/form-data; boundary=other"}, BadQuery),
])  # fmt: skip
def test_headers_that_nobody_should_send(
    tmp_path: Path, environ: dict[str, str], kind: type[ImageError]
) -> None:
    assert type(_refused(tmp_path, _body(WHOLE), None, **environ)) is kind


def test_what_is_too_large_is_not_read_to_its_end(tmp_path: Path) -> None:
    at_once = _Line(b"")
    body = _body(_field(IMAGE, b"x" * (MAX + 60_000)))
    midway = _Line(body)

    assert isinstance(_refused(tmp_path, b"", at_once, CONTENT_LENGTH="2000000"), TooLarge)
    assert isinstance(_refused(tmp_path, body, midway), TooLarge)
    assert at_once.taken == 0
    assert midway.taken < len(body)


@hypothesis_settings(max_examples=100)
@given(at=st.integers(0, 100_000), breaks=st.booleans())
def test_of_a_body_that_ends_early_nothing_is_left(
    tmp_path_factory: pytest.TempPathFactory, *, at: int, breaks: bool
) -> None:
    body = _body(_field(IMAGE, b"x" * 100_000))
    line = _Line(body[:at], breaks=breaks)

    error = _refused(tmp_path_factory.mktemp("form"), body, line)

    assert isinstance(error, BadQuery)


def test_of_a_file_that_cannot_be_written_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        _read(tmp_path / "missing", _body(WHOLE))


PIECES = st.sampled_from([
    f"--{BOUNDARY}".encode(), b"Content-Disposition: form-data; ", b'name="image"',
    b"; filename=x", b"\r\n", b"--", b"\r", b"a", b"\xff", b" ", b":", b'"', b"\n",
])  # fmt: skip


@given(body=st.binary(max_size=300) | st.lists(PIECES).map(b"".join))
def test_any_body_is_a_form_or_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, body: bytes
) -> None:
    try:
        assert _read(tmp_path_factory.mktemp("form"), body).file is not None
    except ImageError as error:
        assert error.status in {400, 413, 415}


def _without_file(body: bytes, kind: str) -> Form:
    environ = {"CONTENT_TYPE": kind, "CONTENT_LENGTH": str(len(body)), "wsgi.input": _Line(body)}
    return read_form(environ)


@pytest.mark.parametrize(("body", "sizes"), [
    (b"sizes=100x50,150x%3C60&ident=a", "100x50,150x<60"),
    (b"sizes=", ""),
    (b"", None),
    (b"a=b&sizes=1x1+&=&&", "1x1 "),
])  # fmt: skip
def test_a_form_without_a_file(body: bytes, sizes: str | None) -> None:
    assert _without_file(body, "application/x-www-form-urlencoded") == Form(
        None, {} if sizes is None else {"sizes": sizes}
    )


def test_a_form_without_a_file_in_many_parts() -> None:
    kind = f"multipart/form-data; boundary={BOUNDARY}"

    assert _without_file(_body(_field(SIZES, b"1x1")), kind) == Form(None, {"sizes": "1x1"})
    with pytest.raises(BadQuery, match="must have no file"):
        _without_file(_body(WHOLE), kind)
    with pytest.raises(TooLarge, match="65536"):
        _without_file(_body(_field(NO_FILE, b"x" * 65_536)), kind)


@pytest.mark.parametrize(("body", "kind"), [
    (b"sizes=1x1&sizes=1x1", BadQuery),
    (b"a=b&" * 5000, BadQuery),
    (b"sizes=%ff", BadQuery),
    (b"sizes=\xff", BadQuery),
    (b"sizes=" + b"1" * 70_000, TooLarge),
])  # fmt: skip
def test_forms_without_a_file_that_nobody_should_send(body: bytes, kind: type[ImageError]) -> None:
    with pytest.raises(kind):
        _without_file(body, "application/x-www-form-urlencoded")


def test_room_is_looked_for_while_a_file_is_written(tmp_path: Path) -> None:
    """Others write at the same time, who all looked when they began."""
    looked: list[int] = []

    def require_room(size_bytes: int) -> None:
        looked.append(size_bytes)
        if len(looked) > 2:
            raise NoRoom

    body = _body(_field(IMAGE, b"x" * 5_000_000))
    told = {
        "CONTENT_TYPE": f"multipart/form-data; boundary={BOUNDARY}",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": _Line(body),
    }
    with pytest.raises(NoRoom):
        read_form(
            told,
            new_file=lambda: tmp_path / "arriving",
            max_bytes=9_000_000,
            require_room=require_room,
        )

    assert told["wsgi.input"].taken < 4_000_000  # type: ignore[attr-defined]
    assert [*tmp_path.iterdir()] == []
