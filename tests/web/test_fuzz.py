"""Under fire: requests, policies and settings that nobody should write, through the whole."""

import contextlib
import io
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import images
import pytest
import strategies
from conftest import EXAMPLES, ROOT
from flask import Flask
from hypothesis import HealthCheck, event, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image
from werkzeug.test import EnvironBuilder

from imgprocessor.__main__ import main
from imgprocessor.app import make_web
from imgprocessor.config.settings import LogSettings
from imgprocessor.config.settings_file import describe_settings, parse_settings
from imgprocessor.errors import ConfigurationError
from imgprocessor.load import DEFAULT_CONF, Overrides, load_settings
from imgprocessor.policy.parse import parse_policy

TOKEN = "a-token-of-sixteen"  # noqa: S105 - guards nothing
"""Of purges."""

ONLY_RENDERING_TELLS = {"content-length", "content-type", "content-dpr", "x-content-type-options"}
"""Headers that a HEAD may leave out, as `docs/requests.md` says."""

ITS_OWN = {"server-timing"}
"""Headers that say something of one answer, not of the picture."""


@dataclass(frozen=True)
class Answer:
    """What the application gave to its server (PEP 3333)."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def __getitem__(self, name: str) -> str | None:
        return self.by_name().get(name)

    def by_name(self) -> dict[str, str]:
        """Return the headers, names in lower case."""
        return {name.lower(): value for name, value in self.headers}


Ask = Callable[..., Answer]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small originals, good, odd and broken, so that most of the time goes to requests."""
    folder = tmp_path_factory.mktemp("under-fire")
    originals = folder / "originals"
    images.save(originals / "nasa.jpeg", images.texture((60, 40)), "JPEG")
    images.save(originals / "a" / "b.png", images.four_colours((48, 64)).convert("RGBA"), "PNG")
    images.save(originals / "x y.jpg", Image.new("L", (1, 1)), "JPEG")
    images.save(originals / "é.jpg", images.texture((30, 90)), "WEBP")
    (originals / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0broken")
    (originals / "text.jpg").write_bytes(b"no picture")
    (folder / "token").write_text(TOKEN)
    (folder / "token").chmod(0o600)
    return folder


@pytest.fixture(scope="module")
def web(folder: Path) -> Flask:
    delivered = load_settings(DEFAULT_CONF, Overrides(originals=folder / "originals"))
    return make_web(
        replace(
            delivered,
            log=LogSettings(folder / "requests.log"),
            disk_cache=replace(delivered.disk_cache, folder=folder / "cache"),
            purge=replace(delivered.purge, token_file=folder / "token"),
        )
    )


@pytest.fixture(scope="module")
def ask(web: Flask) -> Ask:
    """Call the application as a server does, with nothing between that would mend or refuse."""

    def ask(
        query_string: str = "",
        headers: dict[str, str] | None = None,
        method: str = "GET",
        path: str = "/images/",
        body: bytes = b"",
    ) -> Answer:
        environ = EnvironBuilder(input_stream=io.BytesIO(body)).get_environ()
        environ |= {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query_string}
        environ |= {_wsgi(name): value for name, value in (headers or {}).items()}
        begun: list[tuple[str, list[tuple[str, str]]]] = []

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            assert exc_info is None
            begun.append((status, headers))
            return io.BytesIO().write

        parts: Iterable[bytes] = web(environ, start)
        content = b"".join(parts)
        ((status, sent),) = begun
        return Answer(int(status.split()[0]), sent, content)

    return ask


def _wsgi(name: str) -> str:
    spelled = name.upper().replace("-", "_")
    return spelled if spelled in {"CONTENT_LENGTH", "CONTENT_TYPE"} else f"HTTP_{spelled}"


# What is sent. WSGI passes bytes as Latin-1; servers let no line ends into headers.

octets = st.text(st.characters(max_codepoint=0xFF), max_size=40)
header_octets = st.text(st.characters(max_codepoint=0xFF, exclude_characters="\r\n\0"), max_size=40)
SMALL = st.sampled_from(["", "0", "1", "17", "64", "200", "4097", "-1", "1e3", "٣"])
PARAMETERS = strategies.PARAMETERS | {
    "name": strategies.NAMES | st.sampled_from(["broken.jpg", "text.jpg", "..", "a", "none", ""]),
    "width": SMALL,
    "height": SMALL,
    "fsize": st.sampled_from(["0", "1", "yes"]),
    "screensize": strategies.NUMBERS,
}


@st.composite
def spelled(draw: st.DrawFn, text: str) -> str:
    """Escape some of a text's characters, as nobody has to."""
    escape = draw(st.sets(st.integers(0, max(0, len(text) - 1)), max_size=3))
    return "".join(
        "".join(f"%{octet:02x}" for octet in one.encode()) if place in escape else one
        for place, one in enumerate(text)
    )


@st.composite
def queries(draw: st.DrawFn) -> str:
    """A query string that is nearly right: parameters doubled, escaped, cut and mixed up."""
    names = draw(st.lists(st.sampled_from(sorted(PARAMETERS)), max_size=6))
    parts = [draw(st.just("name=nasa.jpeg") | octets)]
    for name in names:
        value = draw(PARAMETERS[name] | octets)
        parts.append(
            f"{draw(st.just(name) | spelled(name))}={draw(st.just(value) | spelled(value))}"
        )
    joined = draw(st.sampled_from("&&&&;?")).join(draw(st.permutations(parts)))
    latin = joined.encode().decode("latin-1")
    return latin[: draw(st.just(len(latin)) | st.integers(0, len(latin)))]


HEADERS = {
    **{name: known | header_octets for name, known in strategies.HEADERS.items()},
    "accept": strategies.HEADERS["accept"]
    | st.sampled_from(["application/json", "application/problem+json;q=1", "text/html", "*"])
    | header_octets,
    "range": st.sampled_from(["bytes=0-1", "bytes=-1", "bytes=9-1", "x"]) | header_octets,
    "host": st.sampled_from(["evil.example", "[::1", "a:b", "x" * 300, "é", "a b", ""])
    | header_octets,
    "authorization": st.sampled_from(["Bearer", "Basic YTpi", "Digest x", "Bearer é"])
    | header_octets,
    "content-length": st.sampled_from(["0", "-1", "abc", "9" * 30, "1", "٣", ""]),
    "content-type": st.sampled_from(
        ["application/x-www-form-urlencoded", "multipart/form-data", "application/json; charset=x"]
    )
    | header_octets,
    "imagekey": st.sampled_from(["nasa.jpeg_-_-_-_-_3g_phone_jpeg_-_96c3660c", "_" * 9])
    | header_octets,
    "if-none-match": st.sampled_from(["*", '"x"', 'W/"x"', '"', "x"]) | header_octets,
    "if-modified-since": st.sampled_from(
        ["Mon, 01 Jan 2001 00:00:00 GMT", "Mon, 01 Jan 99999 00:00:00 GMT", "0", "1 Jan"]
    )
    | header_octets,
    "if-range": header_octets,
    "cookie": header_octets,
    "x-forwarded-host": header_octets,
    "x-forwarded-for": header_octets,
    "transfer-encoding": st.sampled_from(["chunked", "identity"]),
    "expect": st.just("100-continue"),
}
headers = st.fixed_dictionaries({}, optional=HEADERS)
PATHS = ["/images/", "/images", "/images/-/purge", "/images/-/health", "/images/-/", "/", ""]
paths = st.sampled_from(PATHS) | octets.map(lambda text: f"/images/{text}") | octets
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get", "\xe9"]

bounded = hypothesis_settings(
    deadline=None,
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def check(answer: Answer, folder: Path) -> None:
    """Assert what is so of every answer."""
    event(f"status {answer.status}")
    assert answer.status < 500
    names = [name.lower() for name, _ in answer.headers]
    assert len(names) == len(set(names)), names
    for name, value in answer.headers:
        assert re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name)
        value.encode("latin-1")
        assert re.fullmatch(r"[^\x00-\x1f\x7f]*", value), (name, value)
        assert value == value.strip(), (name, value)
    key = answer["imagekey"]
    assert key is None or (key.isascii() and key.isprintable())
    said = f"{answer.headers}{answer.body.decode('latin-1')}"
    assert str(folder) not in said
    assert "Traceback" not in said
    check_body(answer)


def check_body(answer: Answer) -> None:
    """Assert that a body is what its headers say."""
    length, kind = answer["content-length"], answer["content-type"] or ""
    if answer.body:
        assert length == str(len(answer.body))
        if kind.startswith("image/"):
            assert images.decoded(answer.body).format == kind.removeprefix("image/").upper()
        elif "json" in kind:
            json.loads(answer.body)
        else:
            assert answer.body.decode().isprintable() or "text/" in kind
    if answer.status == 304:
        assert answer.body == b""
    if answer.status >= 400 and "image-error" in answer.by_name():
        assert answer["image-error-detail"]


@bounded
@given(queries(), headers)
def test_no_query_and_no_headers_break_an_answer(
    ask: Ask, folder: Path, query_string: str, headers: dict[str, str]
) -> None:
    """And a HEAD, which is asked for second, says the same."""
    got = ask(query_string, headers)
    head = ask(query_string, headers, "HEAD")

    check(got, folder)
    check(head, folder)
    assert got.status in {200, 304, 400, 404, 422}
    assert head.body == b""
    if got.status == 422:
        return  # no HEAD reads pixels, so none can know
    assert head.status == got.status
    here, there = head.by_name(), got.by_name()
    assert (there.get("image-decision") or "").startswith(here.get("image-decision") or "")
    for name in (here.keys() | there.keys()) - ITS_OWN - {"image-decision"}:
        if name in here or name not in ONLY_RENDERING_TELLS:
            assert here.get(name) == there.get(name), name
    if got.status == 304:
        assert "if-none-match" in headers or "if-modified-since" in headers


@bounded
@given(st.sampled_from(METHODS) | octets, paths, octets, headers, st.binary(max_size=60))
def test_no_method_path_or_body_breaks_an_answer(
    ask: Ask,
    folder: Path,
    method: str,
    path: str,
    query_string: str,
    headers: dict[str, str],
    body: bytes,
) -> None:
    answer = ask(query_string, headers, method, path, body)

    check(answer, folder)
    if answer.status == 405:
        assert answer["allow"] in {"GET, HEAD", "POST"}
    if method.upper() not in {"GET", "HEAD"}:
        assert answer.status in {308, 400, 401, 404, 405}


@bounded
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["name", "imagekey", "all", "local", "NAME"]) | octets,
            st.sampled_from(["nasa.jpeg", "1", "..", "none", "a_b_-_-_-_-_-_-_-_-"]) | octets,
        ),
        max_size=4,
    ),
    st.booleans(),
    headers,
)
def test_no_purge_breaks_an_answer(
    ask: Ask,
    folder: Path,
    parameters: list[tuple[str, str]],
    as_form: bool,  # noqa: FBT001 - drawn
    headers: dict[str, str],
) -> None:
    text = "&".join(f"{name}={value}" for name, value in parameters)
    headers = headers | {"authorization": f"Bearer {TOKEN}"}
    if as_form:
        headers |= {
            "content-type": "application/x-www-form-urlencoded",
            "content-length": str(len(text)),
        }
    answer = ask(
        "" if as_form else text,
        headers,
        "POST",
        "/images/-/purge",
        text.encode("latin-1") if as_form else b"",
    )

    check(answer, folder)
    assert answer.status in {200, 400}


NASA = "name=nasa.jpeg&width=30"
OLD, FUTURE = "Mon, 01 Jan 2001 00:00:00 GMT", "Thu, 31 Dec 2099 00:00:00 GMT"


@pytest.mark.parametrize(
    ("tags", "date", "status"),
    [
        ("{etag}", None, 304),
        ("W/{etag}", None, 304),
        ('"x", {etag}', None, 304),
        ('W/"x" ,{etag} , "y"', None, 304),
        ("*", None, 304),
        ('"x"', None, 200),
        ('"{etag}', None, 200),
        ("x", None, 200),
        ("", None, 200),
        (None, "{modified}", 304),
        (None, FUTURE, 304),
        (None, OLD, 200),
        (None, "nonsense", 200),
        (None, "", 200),
        ('"x"', "{modified}", 200),
        ("{etag}", OLD, 304),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_304_is_sent_only_where_it_is_right(
    ask: Ask, tags: str | None, date: str | None, status: int, method: str
) -> None:
    """RFC 9110, 13.1.2, 13.1.3 and 13.2.2."""
    known = ask(NASA)
    words = {"etag": (known["etag"] or "").removeprefix("W/"), "modified": known["last-modified"]}
    given = {"if-none-match": tags, "if-modified-since": date}
    headers = {name: text.format(**words) for name, text in given.items() if text is not None}
    answer = ask(NASA, headers, method)

    assert answer.status == status
    assert answer["etag"] == known["etag"]


@bounded
@given(header_octets | octets.map(lambda text: f'"{text}"'))
def test_no_other_tag_is_taken_for_the_right_one(ask: Ask, tags: str) -> None:
    known = ask(NASA)["etag"]
    assert known is not None
    if "*" not in tags and known not in tags:
        assert ask(NASA, {"if-none-match": tags}).status == 200


# What operators write.

TEXTS = {
    "policy": (ROOT / "conf/policy.ini").read_text(),
    "classic": (ROOT / "conf/classic.ini").read_text(),
    "settings": describe_settings(load_settings(DEFAULT_CONF)),
}
WORDS = st.sampled_from(
    ["[", "]", "=", ":", ";", "#", "\n", "\n ", "\r", "\x85", "\u2028", "\x1b[2J",
     "\ufeff", "%(x)s", "q0", "q101", "q-1", "s5", "0px", "9" * 400, "101%", "kB", "1e9kB", "dpr4",
     "full", "otherwise", "rtt>=", "rtt>=1 rtt>=1", "downlink<=x", "default", "DEFAULT", "none",
     "٣", "½", "²px", "", " "]
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, text: str) -> str:
    """A file that is delivered, with some lines or words lost, doubled, moved or replaced."""
    lines = text.splitlines(keepends=True)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(lines) - 1))
        line = lines[place]
        kind = draw(st.sampled_from(["lose", "double", "move", "insert", "replace"]))
        if kind == "lose":
            lines[place] = ""
        elif kind == "double":
            lines.insert(draw(st.integers(0, len(lines))), line)
        elif kind == "move":
            lines.insert(draw(st.integers(0, len(lines) - 1)), lines.pop(place))
        else:
            begin = draw(st.integers(0, len(line)))
            end = begin if kind == "insert" else draw(st.integers(begin, len(line)))
            lines[place] = line[:begin] + draw(WORDS | st.text(max_size=8)) + line[end:]
    return "".join(lines)


@st.composite
def random_ini(draw: st.DrawFn) -> str:
    """INI text made of the right words in any order."""
    text = "".join(TEXTS.values())
    known = sorted(set(re.findall(r"[\w.%-]+|\[\w+\]|[<>=;]+", text)))
    words = st.sampled_from([*known, "=", "\n", "\n", "\n[", "]\n"]) | WORDS
    return " ".join(draw(st.lists(words, max_size=40)))


def is_one_clear_line(text: str, file: str) -> bool:
    """Whether a message is one line that names the file, and nothing that moves a cursor."""
    return file in text and len(text.splitlines()) == 1 and "\x1b" not in text


@bounded
@given(
    mutated(TEXTS["policy"]) | mutated(TEXTS["classic"]) | random_ini() | st.text(max_size=60),
)
def test_a_policy_is_read_or_refused_in_one_line(text: str) -> None:
    try:
        parse_policy(text, "conf/x.ini")
    except ConfigurationError as error:
        event("refused")
        assert is_one_clear_line(str(error), "conf/x.ini"), repr(str(error))


@bounded
@given(mutated(TEXTS["settings"]) | random_ini() | st.text(max_size=60))
def test_settings_are_read_or_refused_in_one_line(text: str) -> None:
    try:
        parse_settings(text, "conf/x.ini")
    except ConfigurationError as error:
        event("refused")
        assert is_one_clear_line(str(error), "conf/x.ini"), repr(str(error))


@hypothesis_settings(bounded, max_examples=EXAMPLES // 3)
@given(
    st.sampled_from(["policy.ini", "imgprocessor.ini"]),
    mutated(TEXTS["policy"]) | mutated(TEXTS["settings"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"]),
)
@example("imgprocessor.ini", "[originals]\nroots = \0\n", "utf-8")
@example("imgprocessor.ini", "[policy]\nfile = \0\n", "utf-8")
@example("imgprocessor.ini", "[policy]\nfile = .\n", "utf-8")
@example("imgprocessor.ini", f"[policy]\nfile = {'x' * 5000}\n", "utf-8")
@example("imgprocessor.ini", "[placeholder]\nfile = \0\n", "utf-8")
@example("imgprocessor.ini", "[purge]\ntoken_file = \0\n", "utf-8")
def test_policy_check_answers_or_says_one_line(
    folder: Path, file: str, text: str, encoding: str
) -> None:
    conf = folder / "conf"
    conf.mkdir(exist_ok=True)
    (conf / "policy.ini").write_text(TEXTS["policy"])
    (conf / "imgprocessor.ini").write_text("[originals]\nroots = ../originals\n")
    (conf / file).write_bytes(text.encode(encoding, "replace"))
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        status = main(["policy", "check", "--conf", str(conf / "imgprocessor.ini")])

    assert status in {0, 1}
    if status == 1:
        assert is_one_clear_line(said.getvalue(), "imgprocessor: "), repr(said.getvalue())
