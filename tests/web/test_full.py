"""Originals as they are (`/full/`): sent by Apache, and by the application alone, all the same."""

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import hostile
import images
import pytest
import servers
from flask.testing import FlaskClient
from servers import Answer, serving

from imgprocessor.app import make_web
from imgprocessor.config.settings import HttpSettings, LogSettings, Settings, SigningSettings
from imgprocessor.config.types import SwitchOrAuto
from imgprocessor.load import DEFAULT_CONF, Overrides, load_settings
from imgprocessor.request.signing import sign

KEY = "k" * 32
HTML = b"<!doctype html><script>alert(1)</script>"
SECURE = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; sandbox",
    "cross-origin-resource-policy": "cross-origin",
    "referrer-policy": "no-referrer",
}
OPEN = {"access-control-allow-origin": "*", "timing-allow-origin": "*"}
SLOW = 20_000_000
"""More bytes than Apache takes off a daemon (FlushMaxThreshold) and than the kernel keeps."""

# Names, and the format that the file really has.
NAMES = {
    "nasa.jpeg": "jpeg",
    "a b/c d.png": "png",
    "a+b&c;d=e.webp": "webp",
    "what?.gif": "gif",
    "100%.jpg": "png",
    "%41#[~]'\"$1*.jpg": "jpeg",
    "写真/été.jpg": "jpeg",
    "page.html": "png",
    "x.shtml": "webp",
    "x.php": "jpeg",
    "x.cgi.pl.var.en.utf8": "gif",
    "none": "jpeg",
    ".dot.jpg": "jpeg",
    "100/50/sized.jpg": "jpeg",
    "--.jpg": "png",
    "/".join(["写" * 84, "真" * 84, "é" * 127, "長" * 84]): "jpeg",
}


class Site(NamedTuple):
    """One way of sending originals."""

    ask: Callable[..., Answer]
    """By a path, headers and a method."""
    originals: Path
    lines: Callable[[], list[dict[str, object]]]
    """The application's log."""


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("full")
    servers.open_up(folder)
    for number, (name, known) in enumerate(NAMES.items()):
        picture = images.texture((60 + number, 40))
        picture = picture.convert("P") if known == "gif" else picture
        images.save(folder / name, picture, known.upper())
    (folder / "page.jpg").write_bytes(HTML)
    (folder / "script.gif").write_bytes(b"GIF89a/*" + HTML)
    (folder / "empty.jpg").touch()
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0broken")
    (folder / "both.jpg").write_bytes((folder / "nasa.jpeg").read_bytes() + HTML)
    (folder / "folder.jpg").mkdir()
    (folder / "inside.jpg").symlink_to("a b/c d.png")
    (folder / "outside.jpg").symlink_to(Path(images.__file__))
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "zero.jpg").symlink_to("/dev/zero")
    os.mkfifo(folder / "fifo.jpg")
    (folder / "slow.jpg").write_bytes((folder / "nasa.jpeg").read_bytes() + bytes(SLOW))
    return folder


@pytest.fixture(scope="module", params=["alone", pytest.param("apache", marks=pytest.mark.apache)])
def site(
    request: pytest.FixtureRequest, originals: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("server")
    if request.param == "apache":
        with serving(folder, originals) as server:
            yield Site(server.ask, originals, lambda: _lines(server.logs / "requests.log"))
            errors = (server.logs / "error.log").read_text()
        assert ":error]" not in errors.replace("AH10244: invalid URI path", "")
        return
    client = make_web(_settings(folder, originals)).test_client()

    def ask(path: str, headers: dict[str, str] | None = None, method: str = "GET") -> Answer:
        with client.open(path, headers=headers, method=method) as answer:
            names = {name.lower(): value for name, value in answer.headers.items()}
            return Answer(answer.status_code, names, answer.get_data())

    yield Site(ask, originals, lambda: _lines(folder / "requests.log"))


def _settings(folder: Path, originals: Path) -> Settings:
    delivered = load_settings(DEFAULT_CONF, Overrides(originals=originals))
    return replace(
        delivered,
        log=LogSettings(folder / "requests.log"),
        disk_cache=replace(delivered.disk_cache, folder=folder / "cache"),
    )


def _lines(file: Path) -> list[dict[str, object]]:
    return [line for line in map(json.loads, file.read_text().splitlines()) if "status" in line]


def _url(name: str) -> str:
    return f"/full/{quote(name, safe='/')}"


@pytest.mark.parametrize(("name", "known"), NAMES.items())
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_original_comes_as_it_is(site: Site, name: str, known: str, method: str) -> None:
    answer = site.ask(_url(name), method=method)

    body = (site.originals / name).read_bytes()
    assert (answer.status, answer.body) == (200, body if method == "GET" else b"")
    assert answer.headers["content-type"] == f"image/{known}"
    assert answer.headers["content-length"] == str(len(body))
    assert answer.headers["cache-control"] == "private, max-age=86400"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["last-modified"].endswith("GMT")
    assert answer.headers.items() >= (SECURE | OPEN).items()
    absent = {"vary", "location", "content-disposition", "imagekey", "content-encoding"}
    assert not absent & set(answer.headers)


@pytest.mark.parametrize(
    "path",
    [
        "/full/a%20b%2Fc%20d.png", "/full/%6Easa.jpeg/", "/full//nasa.jpeg", "/full/nasa.jpeg%00",
        "/full/", "/full", "/full/-", "/full/-/nasa.jpeg", "/full/none.jpg", "/full/page.jpg",
        "/full/script.gif", "/full/empty.jpg", "/full/broken.jpg", "/full/folder.jpg",
        "/full/outside.jpg", "/full/loop.jpg", "/full/zero.jpg", "/full/fifo.jpg", "/full/a+b",
        "/full/100/nasa.jpeg", "/full/100/50/nasa.jpeg", "/full/..%2fnasa.jpeg",
        "/full/%5cnasa.jpeg",
    ],
)  # fmt: skip
def test_all_else_is_not_found(site: Site, path: str) -> None:
    answer = site.ask(path)

    assert answer.status in {400, 404}
    assert HTML not in answer.body
    assert answer.headers.items() >= SECURE.items()
    if "image-error" not in answer.headers:  # Apache refuses what cannot be anything
        assert {"%2f", "%00"} & {path[place : place + 3].lower() for place in range(len(path))}
        return
    assert images.decoded(answer.body).size[0] > 0
    assert answer.headers.items() >= OPEN.items()


@pytest.mark.parametrize("path", ["/full/page.jpg", "/full/none.jpg"])
def test_what_is_not_found_is_told_to_programs(site: Site, path: str) -> None:
    answer = site.ask(path, {"Accept": "application/json"})

    assert (answer.status, json.loads(answer.body)["code"]) == (404, "not-found")


@pytest.mark.parametrize("query", ["name=nasa.jpeg", "url=http://x/a.jpg", "ct=x", "download=a/b"])
def test_what_makes_no_sense_is_refused(site: Site, query: str) -> None:
    assert site.ask(f"/full/nasa.jpeg?{query}").status == 400


def test_other_letters_forms_are_found(site: Site) -> None:
    decomposed = "e\u0301te\u0301.jpg"

    assert site.ask(_url(f"写真/{decomposed}")).status == 200


def test_a_link_inside_leads_to_what_it_is(site: Site) -> None:
    answer = site.ask("/full/inside.jpg?download=yes")

    assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
    assert answer.headers["content-disposition"] == "attachment; filename=inside.png"


def test_a_picture_that_ends_as_a_page_runs_nothing(site: Site) -> None:
    answer = site.ask("/full/both.jpg")

    assert (answer.status, answer.headers["content-type"]) == (200, "image/jpeg")
    assert answer.headers.items() >= SECURE.items()


@pytest.mark.parametrize(
    ("name", "query", "disposition"),
    [
        ("nasa.jpeg", "download=yes", "attachment; filename=nasa.jpeg"),
        ("nasa.jpeg", "download=no", None),
        (
            "100%.jpg",
            "download=yes",
            "attachment; filename=100_.png; filename*=UTF-8''100%25.png",
        ),
        (
            "nasa.jpeg",
            "download=a%20%22b%26.png",
            "attachment; filename=\"a _b&.jpg\"; filename*=UTF-8''a%20%22b%26.jpg",
        ),
        (
            "写真/été.jpg",
            "ct=5&download=yes",
            "attachment; filename=ete.jpg; filename*=UTF-8''%C3%A9t%C3%A9.jpg",
        ),
    ],
)  # fmt: skip
def test_it_can_be_saved(site: Site, name: str, query: str, disposition: str | None) -> None:
    answer = site.ask(f"{_url(name)}?{query}", {"Range": "bytes=1-2"})

    assert answer.status == 206
    assert answer.headers.get("content-disposition") == disposition


@pytest.mark.parametrize(("query", "seconds"), [("ct=5", 5), ("ct=0", 0), ("ct=999999", 86400)])
def test_pages_say_how_long_browsers_keep_it(site: Site, query: str, seconds: int) -> None:
    kept = site.ask(f"/full/nasa.jpeg?{query}").headers["cache-control"]

    assert kept == f"private, max-age={seconds}"


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ("bytes=10-19", 206, slice(10, 20)),
        ("bytes=10-", 206, slice(10, None)),
        ("bytes=-10", 206, slice(-10, None)),
        ("bytes=0-99999999", 206, slice(None)),
        ("bytes=99999999-", 416, None),
        ("lines=1-2", 200, slice(None)),
        (f"bytes={'9' * 5000}-", 200, slice(None)),
        ("bytes=x", 200, slice(None)),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_part_of_it_comes(
    site: Site, asked: str, status: int, part: slice | None, method: str
) -> None:
    answer = site.ask("/full/nasa.jpeg?download=yes", {"Range": asked}, method)

    whole = (site.originals / "nasa.jpeg").read_bytes()
    assert answer.status == status
    assert answer.headers.items() >= (SECURE | OPEN).items()
    if part is None:
        assert answer.headers.get("cache-control", "no-store") == "no-store"
        assert "content-disposition" not in answer.headers
        return
    if method == "GET":
        assert answer.body == whole[part]
    assert answer.headers["content-length"] == str(len(whole[part]))
    if status == 206:
        start, end, _ = part.indices(len(whole))
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(whole)}"


def test_a_copy_that_is_still_good_is_a_304(site: Site) -> None:
    known = site.ask("/full/nasa.jpeg").headers
    etag, modified = known["etag"], known["last-modified"]
    whole = (site.originals / "nasa.jpeg").read_bytes()
    assert etag.startswith('"')

    for headers in (
        {"If-None-Match": etag},
        {"If-None-Match": f'"x", W/{etag}'},
        {"If-Modified-Since": modified},
        {"If-None-Match": etag, "Range": "bytes=1-2"},
    ):
        answer = site.ask("/full/nasa.jpeg", headers)
        assert (answer.status, answer.body) == (304, b""), headers
        assert answer.headers["etag"] == etag
        assert answer.headers["cache-control"] == "private, max-age=86400"
    for headers, status in (
        ({"If-None-Match": '"x"', "If-Modified-Since": modified}, 200),
        ({"If-Modified-Since": "Mon, 01 Jan 9999999999999999999 00:00:00 GMT"}, 200),
        ({"If-Modified-Since": "nonsense"}, 200),
        ({"If-Match": '"x"'}, 412),
        ({"If-Range": '"x"', "Range": "bytes=1-2"}, 200),
        ({"If-Range": "Mon, 01 Jan 9999999999999999999 00:00:00 GMT", "Range": "bytes=1-2"}, 200),
        ({"If-Range": etag, "Range": "bytes=1-2"}, 206),
    ):
        answer = site.ask("/full/nasa.jpeg", headers)
        size = {200: len(whole), 206: 2, 412: 0}[status]
        assert (answer.status, len(answer.body)) == (status, size), headers


def test_no_range_is_of_two_versions(site: Site) -> None:
    file = site.originals / "replaced.png"
    images.save(file, images.four_colours((40, 30)), "PNG", compress_level=0)
    os.utime(file, (1_000_000_000, 1_000_000_000))
    first = site.ask("/full/replaced.png").headers
    new = images.save(file.with_suffix(".new"), images.texture((40, 30)), "PNG", compress_level=0)
    assert new.stat().st_size == file.stat().st_size
    os.utime(new, (1_000_000_000, 1_000_000_000))
    new.rename(file)

    answer = site.ask("/full/replaced.png", {"Range": "bytes=9-", "If-Range": first["etag"]})

    assert (answer.status, answer.body) == (200, file.read_bytes())
    assert answer.headers["etag"] != first["etag"]
    file.write_bytes(HTML)
    assert site.ask("/full/replaced.png").status == 404


def test_the_log_knows_what_was_asked_for(site: Site) -> None:
    site.ask("/full/page.html")
    line = site.lines()[-1]

    size = (site.originals / "page.html").stat().st_size
    assert (line["format"], line["original_bytes"]) == ("png", size)
    assert (line["status"], line["imagekey"]) == (200, None)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_it_can_be_read_and_nothing_else(site: Site, method: str) -> None:
    answer = site.ask("/full/nasa.jpeg", method=method)

    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
    assert not OPEN.keys() & answer.headers.keys()


def test_a_file_that_is_too_large_or_no_picture_is_not_found(tmp_path: Path) -> None:
    folder = tmp_path / "originals"
    hostile.write(folder)
    client = make_web(_settings(tmp_path, folder)).test_client()
    kinds = {b"\xff\xd8": "jpeg", b"\x89P": "png", b"RI": "webp", b"GI": "gif"}

    statuses = set()
    for known in hostile.hostile_files():
        answer = client.get(_url(known.name))
        statuses.add(answer.status_code)
        if known.expected == hostile.UNSUPPORTED:
            assert answer.status_code == 404, known.name
        if answer.status_code == 200:
            assert answer.mimetype == f"image/{kinds[answer.data[:2]]}", known.name
        answer.close()
    assert statuses == {200, 404}


# --- Who may ------------------------------------------------------------------------------------


def _client(
    settings: Settings, tmp_path: Path, full: SwitchOrAuto = "auto", **more: object
) -> FlaskClient:
    keys = tmp_path / "keys"
    keys.write_text(KEY)
    keys.chmod(0o600)
    originals = replace(settings.originals, full=full)
    signed = SigningSettings(keys) if more.pop("signed", True) else SigningSettings()
    return make_web(
        replace(settings, originals=originals, signing=signed, **more)  # type: ignore[arg-type]
    ).test_client()


@pytest.mark.parametrize(
    ("full", "free", "signed"), [("auto", 200, 404), ("yes", 200, 200), ("no", 404, 404)]
)
def test_settings_say_whether_there_are_any(
    settings: Settings, tmp_path: Path, full: SwitchOrAuto, free: int, signed: int
) -> None:
    """Where links need not be signed, and where they must be."""
    link = sign("/full/nasa.jpeg", KEY)
    for must_be, status in ((False, free), (True, signed)):
        answer = _client(settings, tmp_path, full, signed=must_be).get(link, buffered=True)
        assert answer.status_code == status


def test_no_picture_s_link_opens_an_original(settings: Settings, tmp_path: Path) -> None:
    client = _client(settings, tmp_path, "yes")
    full, picture = sign("/full/nasa.jpeg", KEY), sign("/image/nasa.jpeg", KEY)

    def status(link: str) -> int:
        return client.get(link, buffered=True).status_code

    assert (status(full), status(picture)) == (200, 200)
    assert status("/full/nasa.jpeg") == status("/full/none.jpeg") == 403
    assert status(full.replace("/full/", "/image/")) == 403
    assert status(picture.replace("/image/", "/full/")) == 403
    assert status(sign("/images/?name=nasa.jpeg", KEY).replace("/images/?", "/full/?")) == 404
    assert status(full.replace("nasa", "%6Easa")) == 200
    assert status(f"{full}&download=yes") == 403
    assert status(sign("/full/nasa.jpeg?download=yes", KEY)) == 200


def test_no_copy_outlives_its_link(settings: Settings, tmp_path: Path) -> None:
    client = _client(settings, tmp_path, "yes")
    now = int(time.time())
    soon = client.get(sign("/full/nasa.jpeg", KEY, now + 100), buffered=True)
    late = client.get(sign("/full/nasa.jpeg", KEY, now - 1))

    assert soon.cache_control.max_age is not None
    assert 0 < soon.cache_control.max_age <= 100
    assert (late.status_code, late.headers["image-error"]) == (403, "bad-signature")


@pytest.mark.parametrize("origin", [None, "*", "https://www.example.org"])
@pytest.mark.parametrize(
    "path",
    [
        "/images/?name=nasa.jpeg&width=9", "/image/nasa.jpeg?width=9", "/full/nasa.jpeg",
        "/images/?name=none", "/image/none", "/full/none", "/images/?name=nasa.jpeg&width=x",
    ],
)  # fmt: skip
def test_pages_of_one_origin_may_read_pictures(
    settings: Settings, tmp_path: Path, origin: str | None, path: str
) -> None:
    """One value for all clients, or caches would keep one copy for each."""
    client = _client(settings, tmp_path, signed=False, http=HttpSettings(origin))
    for method in ("GET", "HEAD"):
        headers = {"Origin": "https://evil.example"}
        answer = client.open(path, method=method, headers=headers, buffered=True)

        for name in OPEN:
            assert answer.headers.get(name) == origin
        assert "origin" not in answer.headers.get("Vary", "").lower()
        assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    for other in ("POST", "OPTIONS", "DELETE"):
        refused = client.open(path, method=other)
        assert (refused.status_code, OPEN.keys() & {*map(str.lower, refused.headers.keys())}) == (
            405,
            set(),
        )


@pytest.mark.parametrize("path", ["/images/-/health", "/images/-/metrics", "/images/-/ready"])
def test_nobody_else_may_read_what_machines_ask_for(client: FlaskClient, path: str) -> None:
    assert "Access-Control-Allow-Origin" not in client.get(path).headers


# --- What only Apache can show ------------------------------------------------------------------

INNER = "-imgprocessor-inner/jpeg/nasa.jpeg"


@pytest.fixture(scope="module")
def apache(originals: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    """One with settings that differ, and a section of its operator's that opens everything."""
    folder = tmp_path_factory.mktemp("other")
    servers.open_up(folder)
    open_section = folder / "open.conf"
    open_section.write_text(
        '<Location "/">\nRequire all granted\n</Location>\n'
        "SetEnvIfExpr \"%{req_novary:X-Let-In} == 'yes'\" REDIRECT_IMG_INNER=1\n"
    )
    settings = (
        "[originals]\nfull = yes\n[http]\nallow_origin = https://www.example.org\n"
        "[freshness]\nmax_age_seconds = 1234\n"
    )
    with serving(folder, originals, "--include", str(open_section), settings=settings) as server:
        yield server


@pytest.mark.apache
@pytest.mark.parametrize(
    "path",
    [
        f"/{INNER}", f"//{INNER}", f"/.//{INNER}", f"/{INNER.replace('-', '%2d')}",
        f"/x/../{INNER}", f"/full/../{INNER}", f"/full/%2e%2e/{INNER}", f"/images/..//{INNER}",
        f"/{INNER}?Cache-Control=x", f"/{INNER.replace('/', '%2f')}",
        f"/full/..%2f{INNER}", f"/full/{INNER}", f"http://localhost/{INNER}", f"http://x//{INNER}",
        f"/{INNER.replace('/', '//')}", f"/{INNER.replace('/', '/./')}",
        "/-imgprocessor-inner", "/-imgprocessor-inner/", "/-imgprocessor-inner/jpeg/",
        "/-imgprocessor-inner/html/nasa.jpeg", "/%252dimgprocessor-inner/jpeg/nasa.jpeg",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "headers", [{}, {"IMG-INNER": "1", "REDIRECT-IMG-INNER": "1", "REDIRECT_IMG_INNER": "1"}]
)
def test_nothing_is_behind_the_inner_alias_from_outside(
    apache: servers.Server, path: str, headers: dict[str, str]
) -> None:
    """Nor where another section opens everything."""
    for method in ("GET", "HEAD", "POST"):
        answer = apache.ask(path, headers, method)

        assert answer.status in {400, 403, 404, 405}
        assert not answer.headers["content-type"].startswith("image/jpeg") or (
            answer.headers["image-error"] in {"not-found", "method-not-allowed"}
        )


@pytest.mark.apache
def test_apache_says_what_the_settings_say(apache: servers.Server) -> None:
    for headers, status in (({}, 200), ({"Range": "bytes=1-2"}, 206)):
        answer = apache.ask("/full/nasa.jpeg", headers)

        assert answer.status == status
        assert answer.headers["cache-control"] == "private, max-age=1234"
        assert answer.headers.items() >= dict.fromkeys(OPEN, "https://www.example.org").items()


@pytest.mark.apache
def test_apaches_log_has_the_url_that_came(apache: servers.Server) -> None:
    for method in ("GET", "HEAD"):
        apache.ask("/full/nasa.jpeg?download=logged.jpg&x", method=method)

    def found() -> list[dict[str, object]]:
        lines = (apache.logs / "access.log").read_text().splitlines()
        return [line for line in map(json.loads, lines) if "logged" in line["query"]]

    servers.await_true(lambda: len(found()) == 2)
    size = (apache.originals / "nasa.jpeg").stat().st_size
    for line, method, count in zip(found(), ("GET", "HEAD"), (size, 0), strict=True):
        assert (line["path"], line["query"]) == ("/full/nasa.jpeg", "download=logged.jpg&x")
        assert (line["method"], line["status"], line["bytes"]) == (method, 200, count)


@pytest.mark.apache
@pytest.mark.parametrize(
    ("name", "status"), [("nasa.jpeg", 200), ("outside.jpg", 403), ("inside.jpg", 403)]
)
def test_apache_follows_no_link(apache: servers.Server, name: str, status: int) -> None:
    """The application names what a link leads to; one that is there after that is not followed."""
    assert apache.ask(f"/-imgprocessor-inner/jpeg/{name}", {"X-Let-In": "yes"}).status == status


@pytest.mark.apache
def test_slow_readers_keep_no_daemon_busy(apache: servers.Server) -> None:
    """More of them than daemons have threads, each of an original larger than any buffer."""
    with contextlib.ExitStack() as stack:
        for _ in range(60):
            slow: socket.socket = servers.slow_reader(apache.port, "/full/slow.jpg")
            stack.enter_context(slow).settimeout(20)
            assert slow.recv(12) == b"HTTP/1.1 200"

        begin = time.monotonic()
        assert apache.ask("/images/?name=nasa.jpeg&width=20").status == 200
        assert time.monotonic() - begin < 10
        assert servers.unread(apache.port) == 60
