"""Purge: after it nobody sends the old picture, whatever was on its way."""

import contextlib
import json
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import caches
import images
import pytest
from caches import Asked, Behind
from conftest import find
from flask.testing import FlaskClient
from servers import Answer, ask, free_port
from werkzeug.serving import make_server

from imgprocessor.__main__ import main
from imgprocessor.app import edge_configuration, make_web
from imgprocessor.config.settings import PurgeSettings, Settings
from imgprocessor.config.settings_file import describe_settings
from imgprocessor.edge.writers import Backend, Site
from imgprocessor.errors import BadQuery, ConfigurationError
from imgprocessor.load import load_settings
from imgprocessor.originals.folder import Folder
from imgprocessor.originals.source import Original
from imgprocessor.parts import make_delivery
from imgprocessor.policy.imagekey import key_tag, name_in, original_tag
from imgprocessor.rendering.masters import Masters
from imgprocessor.rendering.renditions import Renditions
from imgprocessor.service.delivery import Delivery
from imgprocessor.service.understanding import Incoming, Understood
from imgprocessor.storage.generation import Generations
from imgprocessor.storage.proxy_files import remove_tagged

pytestmark = pytest.mark.caches

NASA = "/images/?name=nasa.jpeg&width=100&bandwidth=4g&dpr=1&format=jpeg"
TOKEN = "0123456789abcdef"  # noqa: S105 - a test's
BEARER = {"Authorization": f"Bearer {TOKEN}"}
WAIT_SECONDS = 20


@pytest.fixture
def open_settings(settings: Settings, tmp_path: Path) -> Settings:
    """Settings with a token."""
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    file.chmod(0o600)
    return replace(settings, purge=PurgeSettings(token_file=file))


@pytest.fixture
def open_client(open_settings: Settings) -> FlaskClient:
    return make_web(open_settings).test_client()


def with_purge(settings: Settings, **others: Any) -> Settings:
    return replace(settings, purge=replace(settings.purge, **others))


def test_nodes_that_are_named_need_a_token(settings: Settings) -> None:
    named = with_purge(settings, nodes=("10.0.0.2:80",))

    with pytest.raises(ConfigurationError, match=r"\[purge\] token_file must be set where nodes"):
        make_web(named)


def replace_original(originals: Path) -> None:
    images.save(originals / "new", images.four_colours((400, 300)), "JPEG")
    (originals / "new").replace(originals / "nasa.jpeg")


def is_new(body: bytes) -> bool:
    """The new one has another shape."""
    return images.decoded(body).size == (100, 75)


# Marks.


def test_a_mark_holds_until_the_next_purge(tmp_path: Path) -> None:
    generations, others = Generations(tmp_path / "cache"), Generations(tmp_path / "cache")
    marks = [generations.current()]
    for _ in range(50):
        assert marks[-1].is_current
        others.begin()
        assert not any(mark.is_current for mark in marks)
        marks.append(generations.current())
    assert len({mark.stamp for mark in marks}) == 51


def test_a_clock_that_goes_back_makes_no_mark_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generations = Generations(tmp_path)
    monkeypatch.setattr("time.time_ns", lambda: 1000)
    marks = []
    for _ in range(3):
        generations.begin()
        marks.append(generations.current())

    assert [mark.is_current for mark in marks] == [False, False, True]
    assert len({mark.stamp[1] for mark in marks}) == 3


def test_a_purge_waits_until_something_is_in_its_place(tmp_path: Path) -> None:
    generations = Generations(tmp_path)
    mark, began = generations.current(), threading.Event()

    def purge() -> None:
        began.set()
        generations.begin()

    thread = threading.Thread(target=purge)
    with mark.held() as is_current:
        thread.start()
        began.wait(WAIT_SECONDS)
        thread.join(0.05)
        assert is_current
        assert mark.is_current
    thread.join(WAIT_SECONDS)
    assert not mark.is_current


# The stores.


def test_one_rendition_is_forgotten_by_its_key(delivery: Delivery, originals: Path) -> None:
    requests = [Incoming(f"name=nasa.jpeg&width={width}", {}) for width in (100, 200)]
    for _ in range(2):
        keys = [
            delivery.answer(find(delivery, request)).found.planned.imagekey for request in requests
        ]
        (originals / "nasa.jpeg").touch()
    for request in requests:
        delivery.answer(find(delivery, request))

    assert delivery.purge_imagekey(keys[0]) == 3
    sources = [delivery.answer(find(delivery, request)).source for request in requests]
    assert sources[0] != "store"
    assert sources[1] == "store"


def test_all_is_forgotten(delivery: Delivery, originals: Path) -> None:
    images.save(originals / "other.jpeg", images.texture((300, 200)), "JPEG")
    requests = [Incoming(f"name={name}&width=100", {}) for name in ("nasa.jpeg", "other.jpeg")]
    for request in requests:
        delivery.answer(find(delivery, request))
    delivery._masters.finish()  # noqa: SLF001 - those on their way are not removed, but refused

    assert delivery.purge_all() == 4  # of each a rendition, and the note that it was made
    assert [delivery.answer(find(delivery, request)).source for request in requests] == [
        "original",
        "original",
    ]


COMPOSED, DECOMPOSED = "caf\xe9/\xfc.jpg", "cafe\u0301/u\u0308.jpg"
FORMS = (COMPOSED, DECOMPOSED, "caf\xe9/u\u0308.jpg")


@pytest.mark.parametrize("purged", FORMS)
@pytest.mark.parametrize("path", FORMS[:2])
@pytest.mark.parametrize("is_gone", [False, True])
def test_all_names_of_the_same_letters_are_forgotten_by_each(
    delivery: Delivery, originals: Path, path: str, purged: str, *, is_gone: bool
) -> None:
    file = originals / path
    file.parent.mkdir()
    (originals / "nasa.jpeg").rename(file)
    answers = [delivery.answer(find(delivery, f"name={quote(name)}&width=100")) for name in FORMS]
    delivery._masters.finish()  # noqa: SLF001 - those on their way are not removed, but refused
    tags = {answer.found.planned.tags.split()[0] for answer in answers}

    assert [answer.source for answer in answers] == ["original", "original", "master"]
    assert tags == {original_tag(purged)}
    if is_gone:
        file.unlink()
        file.parent.rmdir()
    key = answers[FORMS.index(purged)].found.planned.imagekey
    assert delivery.purge_imagekey(key) == 1
    assert delivery.purge(purged) > 2
    assert delivery.purge_all() == 0


@pytest.mark.parametrize("name", ["nasa.jpeg", "a b_c/é.png", "__a__.jpg", "+&?.gif"])
def test_the_name_is_found_in_an_imagekey(delivery: Delivery, originals: Path, name: str) -> None:
    (originals / name).parent.mkdir(exist_ok=True)
    (originals / "nasa.jpeg").rename(originals / name)
    found = find(delivery, f"name={quote(name)}&screen=phone")

    assert name_in(found.planned.imagekey) == name


@pytest.mark.parametrize(
    "key", ["", "nasa.jpeg", "a_-_-_-_-_4g_-_jpeg_-", "../a_1_2_3_4_5_6_7_8_9"]
)
def test_what_is_no_imagekey_is_refused(key: str) -> None:
    with pytest.raises(BadQuery):
        name_in(key)


# What is being made.


@dataclass
class Slow:
    """Originals whose opening takes as long as a test wants."""

    opened: threading.Event
    go_on: threading.Event


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    """The first original that is opened waits, its old content at hand; others do not."""
    slow = Slow(threading.Event(), threading.Event())
    really = Folder.open

    @contextlib.contextmanager
    def wait(self: Folder, original: Original) -> Iterator[tuple[BinaryIO, Original]]:
        with really(self, original) as opened:
            if not slow.opened.is_set():
                slow.opened.set()
                assert slow.go_on.wait(WAIT_SECONDS)
            yield opened

    monkeypatch.setattr(Folder, "open", wait)
    return slow


def test_what_was_begun_before_a_purge_is_neither_sent_nor_kept(
    open_settings: Settings, originals: Path, slow: Slow
) -> None:
    web = make_web(open_settings)
    with ThreadPoolExecutor(1) as pool:
        early = pool.submit(lambda: web.test_client().get(NASA))
        assert slow.opened.wait(WAIT_SECONDS)
        replace_original(originals)
        purged = web.test_client().post("/images/-/purge?name=nasa.jpeg", headers=BEARER)
        slow.go_on.set()
        answer = early.result(WAIT_SECONDS)

    assert purged.status_code == 200
    assert is_new(answer.data)
    assert answer.headers["Cache-Control"].startswith("public")
    assert is_new(web.test_client().get(NASA).data)


def test_nothing_is_kept_of_what_was_begun_before_a_purge(settings: Settings, slow: Slow) -> None:
    """The original stays: what is kept of it would be found."""
    delivery = make_delivery(settings, keeps=True)
    request = Incoming("name=nasa.jpeg&width=100", {})
    with ThreadPoolExecutor(1) as pool:
        early = pool.submit(lambda: delivery.answer(find(delivery, request)))
        assert slow.opened.wait(WAIT_SECONDS)
        # Another process.
        make_delivery(settings, keeps=True).purge("nasa.jpeg")
        slow.go_on.set()
        assert not early.result(WAIT_SECONDS).found.began.is_current
    delivery._masters.finish()  # noqa: SLF001 - so that they could be there

    kept = Path(settings.disk_cache.folder, "masters", "entries")
    assert [path for path in kept.rglob("*") if path.is_file()] == []
    assert delivery.answer(find(delivery, request)).source == "original"


def test_what_was_made_of_masters_about_to_go_is_not_kept(
    delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, other = (f"name=nasa.jpeg&width={width}" for width in (50, 100, 200))
    for request in (first, second):
        delivery.answer(find(delivery, request))
        delivery._masters.finish()  # noqa: SLF001 - so that they are there
    purge, sources = Masters.purge, []

    def made_before(self: Masters, group: str) -> int:
        sources.append(delivery.answer(find(delivery, other)).source)
        return purge(self, group)

    monkeypatch.setattr(Masters, "purge", made_before)
    delivery.purge("nasa.jpeg")

    assert sources == ["master"]
    assert delivery.answer(find(delivery, other)).source == "original"


def test_what_was_found_before_its_removal_is_not_sent_after_it(
    delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Incoming("name=nasa.jpeg&width=100", {})
    key = delivery.answer(find(delivery, request)).found.planned.imagekey
    purge, found = Renditions.purge_imagekey, []

    def found_before(self: Renditions, group: str, key: str) -> int:
        found.append(delivery.answer(find(delivery, request)))
        return purge(self, group, key)

    monkeypatch.setattr(Renditions, "purge_imagekey", found_before)
    delivery.purge_imagekey(key)

    assert [answer.source for answer in found] == ["store"]
    assert not found[0].found.began.is_current


def test_where_purges_come_all_the_time_nobody_keeps_the_answer(
    client: FlaskClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    generations = Generations(settings.disk_cache.folder)
    answer = Delivery.answer
    times = []

    def purged(self: Delivery, found: Any) -> Any:
        generations.begin()
        times.append(1)
        return answer(self, found)

    monkeypatch.setattr(Delivery, "answer", purged)
    got = client.get(NASA)

    assert (got.status_code, got.headers["Cache-Control"], len(times)) == (200, "no-store", 3)


def test_a_304_that_was_begun_before_a_purge_is_asked_anew(
    client: FlaskClient, originals: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    etag = client.get(NASA).headers["ETag"]
    really = Delivery.find

    def replaced(self: Delivery, request: Understood) -> Any:
        found = really(self, request)
        monkeypatch.undo()
        replace_original(originals)
        Generations(settings.disk_cache.folder).begin()
        return found

    monkeypatch.setattr(Delivery, "find", replaced)
    answer = client.get(NASA, headers={"If-None-Match": etag})

    assert answer.status_code == 200
    assert is_new(answer.data)


# By HTTP.


def test_by_http_nobody_purges_until_there_is_a_token(client: FlaskClient) -> None:
    answer = client.post("/images/-/purge?all=1", headers=BEARER)

    assert (answer.status_code, answer.headers["image-error"]) == (404, "not-found")


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}0", "Bearer é"],
)
def test_without_the_token_nothing_is_purged(
    open_client: FlaskClient, authorization: str | None
) -> None:
    open_client.get(NASA)
    headers = {} if authorization is None else {"Authorization": authorization}

    answer = open_client.post("/images/-/purge?all=1", headers=headers)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="purge"'
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Server-Timing" in open_client.get(NASA).headers
    assert "decode" not in open_client.get(NASA).headers["Server-Timing"]


@pytest.mark.parametrize(
    ("query_string", "wrong"),
    [
        ("", "nothing is named"),
        ("all=yes", "all: must be 1"),
        ("all=1&all=1", "all: must be 1"),
        ("name=", "name=: must be a path"),
        ("name=../etc/passwd", "without empty parts, . or .."),
        ("name=a%00b", "no control characters"),
        ("imagekey=nasa.jpeg", "imagekey: must be 10 fields"),
        ("imagekey=%C3%A9_1_2_3_4_5_6_7_8_9", "imagekey: must be printable ASCII"),
        (f"imagekey=sha256:{'0' * 64}_1_2_3_4_5_6_7_8_9", "purge the name, which forgets it, too"),
        (
            "name=" + "a" * 256,
            "must be at most 1024 bytes of UTF-8, decoded, and 255 between slashes",
        ),
        ("names=a", "'names': no such parameter; there are name, imagekey, all, local"),
    ],
)
def test_nonsense_is_a_400_that_says_why(
    open_client: FlaskClient, query_string: str, wrong: str
) -> None:
    answer = open_client.post(f"/images/-/purge?{query_string}", headers=BEARER)

    assert answer.status_code == 400
    assert answer.json is not None
    assert wrong in answer.json["error"]
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_query_that_is_no_utf8_is_a_400(open_client: FlaskClient) -> None:
    answer = open_client.post(
        "/images/-/purge", headers=BEARER, environ_overrides={"QUERY_STRING": "name=\x80"}
    )

    assert (answer.status_code, answer.get_json()) == (
        400,
        {"error": "the query must be UTF-8, percent-encoded"},
    )


def test_a_body_that_is_too_long_or_broken_is_a_400(open_client: FlaskClient) -> None:
    for body, kind in ((b"x" * 70_000, "application/x-www-form-urlencoded"), (b"x", "multipart/x")):
        answer = open_client.post("/images/-/purge", data=body, content_type=kind, headers=BEARER)
        assert answer.status_code == 400


def test_a_get_is_told_to_post(open_client: FlaskClient) -> None:
    answer = open_client.get("/images/-/purge?all=1", headers=BEARER)

    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize("as_form", [True, False])
def test_by_http_originals_keys_and_all_are_purged(
    open_client: FlaskClient, open_settings: Settings, *, as_form: bool
) -> None:
    def purge(**given: str | list[str]) -> dict[str, int]:
        means = {"data": given} if as_form else {"query_string": given}
        answer = open_client.post("/images/-/purge", headers=BEARER, **means)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
        assert answer.json is not None
        assert answer.json["failed"] == {}
        removed: dict[str, int] = answer.json["removed"]
        return removed

    key = open_client.get(NASA).headers["imagekey"]
    assert purge(imagekey=key) == {key: 1}
    open_client.get(NASA)
    removed = purge(name=["nasa.jpeg", "none.jpg"])
    assert removed["nasa.jpeg"] > 0
    assert removed["none.jpg"] == 0
    open_client.get(NASA)
    assert purge(all="1")["all"] > 0
    assert "decode" in open_client.get(NASA).headers["Server-Timing"]
    assert TOKEN not in open_settings.log.file.read_text()


def test_the_token_is_never_told(open_settings: Settings) -> None:
    assert TOKEN not in describe_settings(open_settings)


@pytest.mark.parametrize(
    ("content", "mode", "wrong"),
    [
        ("short", 0o600, "must hold one word of 16 to 200"),
        ("two words that are long", 0o600, "must hold one word of 16 to 200"),
        (TOKEN, 0o644, "is open to everybody: chmod o= "),
    ],
)
def test_a_token_that_anybody_may_read_or_guess_stops_the_start(
    open_settings: Settings, content: str, mode: int, wrong: str
) -> None:
    file = Path(str(open_settings.purge.token_file))
    file.write_text(content)
    file.chmod(mode)

    with pytest.raises(ConfigurationError, match=wrong):
        make_web(open_settings)


# Apache's cache.


def apache_answer(folder: Path, name: str, tags: str) -> Path:
    file = folder / "A" / f"{name}.header"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"\x06\x00binary" + f"http://x/?{name}\r\nxkey: {tags}\r\n\r\n".encode())
    file.with_suffix(".data").write_bytes(b"picture")
    return file


def test_apache_forgets_answers_by_their_tags(tmp_path: Path) -> None:
    mine = apache_answer(tmp_path, "mine", "o-12 k-34 imgprocessor")
    other = apache_answer(tmp_path, "other", "o-123 k-345 imgprocessor")
    unfinished = tmp_path / "aptmpX1y2Z3"
    unfinished.write_bytes(b"half")

    assert remove_tagged(tmp_path, ["o-12", "o-99"]) == 1
    assert not mine.exists()
    assert not mine.with_suffix(".data").exists()
    assert not unfinished.exists()
    assert other.exists()
    assert remove_tagged(tmp_path, ["imgprocessor"]) == 1
    with pytest.raises(FileNotFoundError):
        remove_tagged(tmp_path / "none", ["o-12"])


def test_only_files_that_a_cache_made_are_read(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("xkey: o-12")
    folder = tmp_path / "cache"
    folder.mkdir()
    os.mkfifo(folder / ("0" * 32))
    (folder / ("1" * 32)).symlink_to(elsewhere)

    assert remove_tagged(folder, ["o-12"]) == 0
    assert elsewhere.exists()


@pytest.fixture
def behind_apache(open_settings: Settings, tmp_path: Path) -> Iterator[tuple[int, int]]:
    """Apache's cache and the application behind it."""
    folder = tmp_path / "apache"
    cache = folder / "cache"
    cache.mkdir(parents=True)
    if os.geteuid() == 0:
        shutil.chown(cache, "www-data")
    settings = with_purge(open_settings, proxy_cache_folders=(str(cache),))
    with served(settings) as behind:
        included = (
            f"CacheEnable disk /images/\nCacheRoot {cache}\nCacheHeader on\n"
            f"ProxyPass /images/ http://127.0.0.1:{behind}/images/\n"
        )
        modules = ("cache_disk", "proxy", "proxy_http")
        with caches.apache(folder, included, modules) as front:
            yield front, behind


def kept_by(front: int, path: str) -> Answer:
    """Ask until Apache has it: a moment after it has sent it."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not (answer := ask(front, path)).headers["x-cache"].startswith("HIT"):
        assert time.monotonic() < deadline
    return answer


def test_real_apache_forgets_what_was_purged(
    behind_apache: tuple[int, int], originals: Path
) -> None:
    front, behind = behind_apache
    other = NASA.replace("100", "50")
    old = kept_by(front, NASA)
    kept_by(front, other)
    replace_original(originals)
    kept = ask(front, NASA)
    purged = purge_by_http(behind)
    new = [ask(front, NASA), ask(front, other)]

    assert kept.headers["x-cache"].startswith("HIT")
    assert kept.body == old.body
    assert purged.status == 200, purged.body
    assert is_new(new[0].body)
    assert all(answer.headers["x-cache"].startswith("MISS") for answer in new)


def purged_while_made(
    front: int, behind: int, originals: Path, slow: Slow
) -> tuple[Answer, Answer]:
    """Replace and purge the original of an answer under way; return that answer, and the other."""
    with ThreadPoolExecutor(1) as pool:
        early = pool.submit(ask, front, NASA)
        assert slow.opened.wait(WAIT_SECONDS)
        replace_original(originals)
        purged = purge_by_http(behind)
        slow.go_on.set()
        return early.result(WAIT_SECONDS), purged


def test_real_apache_keeps_nothing_that_was_being_made(
    behind_apache: tuple[int, int], originals: Path, slow: Slow
) -> None:
    front, behind = behind_apache
    answer, purged = purged_while_made(front, behind, originals, slow)

    assert purged.status == 200, purged.body
    assert is_new(answer.body)
    assert is_new(ask(front, NASA).body)


# Other nodes and caches in front.


@pytest.fixture
def told() -> Iterator[Behind]:
    with caches.behind() as there:
        yield there


def _purge(client: FlaskClient, query_string: str) -> tuple[int, dict[str, Any]]:
    answer = client.post(f"/images/-/purge?{query_string}", headers=BEARER)
    return answer.status_code, json.loads(answer.data)


def test_nodes_are_asked_before_caches_and_after_the_stores(
    open_settings: Settings, told: Behind
) -> None:
    here = f"127.0.0.1:{told.port}"
    settings = with_purge(open_settings, nodes=(here,), varnish=(here,))
    generations = Generations(settings.disk_cache.folder)
    before = generations.current()
    held = []

    def respond(_: Asked) -> bytes:
        held.append(before.is_current)
        return caches.answer(200, [])

    told.respond = respond
    client = make_web(settings).test_client()

    assert _purge(client, "name=nasa.jpeg")[0] == 200
    node, cache = told.asked
    assert (node.method, node.target) == ("POST", "/images/-/purge")
    assert ("authorization", f"Bearer {TOKEN}") in node.headers
    assert (cache.method, cache.target) == ("PURGE", "/images/")
    assert ("xkey", original_tag("nasa.jpeg")) in cache.headers
    assert held == [False, False]
    assert _purge(client, "name=nasa.jpeg&local=1")[0] == 200
    assert len(told.asked) == 2


def test_a_name_stands_for_all_nodes_that_have_it(
    open_settings: Settings, told: Behind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has addresses of both kinds; at the third nobody is."""
    named = f"images:{told.port}"
    really = socket.getaddrinfo

    def resolved(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        all_of_it = ("::1", "127.0.0.2", "127.0.0.1", "127.0.0.3")
        hosts = all_of_it if host == "images" else (host,)
        return [row for one in hosts for row in really(one, port, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    client = make_web(with_purge(open_settings, nodes=(named,))).test_client()
    with caches.behind("127.0.0.2", told.port) as other:
        status, came = _purge(client, "name=nasa.jpeg")

        for (asked,) in (told.asked, other.asked):
            assert (asked.method, asked.target) == ("POST", "/images/-/purge")
            assert ("host", named) in asked.headers
    assert status == 502
    assert list(came["failed"]) == [f"{named} (127.0.0.3)"]


def test_a_name_that_nobody_has_is_a_502(open_settings: Settings) -> None:
    nobody = "nobody.invalid:80"
    client = make_web(with_purge(open_settings, nodes=(nobody,))).test_client()

    status, came = _purge(client, "name=nasa.jpeg")

    assert (status, list(came["failed"])) == (502, [nobody])
    assert came["removed"] == {"nasa.jpeg": 0}


def test_many_tags_are_told_in_several_requests(open_settings: Settings, told: Behind) -> None:
    settings = with_purge(open_settings, varnish=(f"127.0.0.1:{told.port}",))
    names = [f"{number}.jpg" for number in range(250)]
    _purge(make_web(settings).test_client(), "&".join(f"name={name}" for name in names))

    words = [word for asked in told.asked for word in asked.joined()["xkey"].split()]
    assert words == [original_tag(name) for name in names]
    assert len(told.asked) == 3


def test_a_cache_that_does_not_forget_is_a_502_and_the_others_do(
    open_settings: Settings, told: Behind
) -> None:
    here, dead = f"127.0.0.1:{told.port}", "127.0.0.1:1"
    settings = with_purge(open_settings, nodes=(dead,), varnish=(dead, here))
    client = make_web(settings).test_client()
    client.get(NASA)

    status, came = _purge(client, "name=nasa.jpeg")

    assert status == 502
    assert came["removed"]["nasa.jpeg"] > 0
    assert list(came["failed"]) == [dead]
    assert "refused" in came["failed"][dead]
    assert len(told.asked) == 1
    told.respond = lambda _: caches.answer(403, [], b"purging is not for you")
    assert "403" in _purge(client, "all=1")[1]["failed"][here]


def test_the_command_does_the_same(
    open_settings: Settings, told: Behind, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = with_purge(open_settings, varnish=(f"127.0.0.1:{told.port}",))
    conf = tmp_path / "imgprocessor.ini"
    conf.write_text(describe_settings(settings))
    assert load_settings(conf) == settings
    key = make_web(settings).test_client().get(NASA).headers["imagekey"]

    def run(*arguments: str) -> int:
        return main(["purge", *arguments, "--conf", str(conf)])

    assert run("--imagekey", key) == 0
    assert capsys.readouterr().out == f"{key}: 1 files removed\n"
    assert run("--all") == 0
    assert capsys.readouterr().out.startswith("all: ")
    assert [asked.joined()["xkey"] for asked in told.asked] == [key_tag(key), "imgprocessor"]
    assert run() == 1
    told.respond = lambda _: caches.answer(503, [])
    assert run("nasa.jpeg") == 1
    assert re.search(r"not forgotten: 127.0.0.1:\d+: 503", capsys.readouterr().err)


# Real Varnish before a real application.


@contextlib.contextmanager
def served(settings: Settings) -> Iterator[int]:
    server = make_server("127.0.0.1", 0, make_web(settings), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


Fronted = Callable[..., contextlib.AbstractContextManager[tuple[int, int]]]


@pytest.fixture
def fronted(open_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Fronted:
    """Start Varnish, its configuration perhaps changed, and the application, which knows it."""

    @contextlib.contextmanager
    def run(changed: Callable[[str], str] = str) -> Iterator[tuple[int, int]]:
        folder = tmp_path_factory.mktemp("varnish")
        port = free_port()
        settings = with_purge(open_settings, varnish=(f"127.0.0.1:{port}",))
        with served(settings) as behind:
            site = Site(backends=[Backend("127.0.0.1", behind)])
            vcl = changed(edge_configuration("varnish", settings, site))
            with caches.varnish(folder, vcl, port) as front:
                yield front, behind

    return run


def purge_by_http(port: int) -> Answer:
    return ask(port, "/images/-/purge?name=nasa.jpeg", BEARER, "POST")


def test_varnish_forgets_what_was_purged(fronted: Fronted, originals: Path) -> None:
    with fronted() as (front, behind):
        old = ask(front, NASA)
        replace_original(originals)
        kept = ask(front, NASA)
        purged = purge_by_http(behind)
        new = ask(front, NASA)

    assert (kept.headers["x-cache"], kept.body) == ("HIT", old.body)
    assert purged.status == 200, purged.body
    assert not is_new(old.body)
    assert is_new(new.body)


def test_varnish_keeps_nothing_that_was_being_made(
    fronted: Fronted, originals: Path, slow: Slow
) -> None:
    with fronted() as (front, behind):
        answer, purged = purged_while_made(front, behind, originals, slow)
        kept = ask(front, NASA)

    assert purged.status == 200, purged.body
    assert is_new(answer.body)
    assert kept.headers["x-cache"] == "HIT"
    assert is_new(kept.body)


def test_varnish_asks_anew_for_what_had_left_the_application(
    settings: Settings, told: Behind, tmp_path: Path
) -> None:
    """Between the application's last look and Varnish."""
    vcl = edge_configuration("varnish", settings, Site(backends=[Backend("127.0.0.1", told.port)]))
    with caches.varnish(tmp_path, vcl) as front:

        def respond(_: Asked) -> bytes:
            body = b"new" if len(told.asked) > 1 else b"old"
            if body == b"old":
                assert ask(front, "/images/", {"xkey": "imgprocessor"}, "PURGE").status == 200
            return caches.answer(200, [("cache-control", "s-maxage=600")], body)

        told.respond = respond
        came, kept = ask(front, NASA), ask(front, NASA)

    assert (came.body, kept.body, len(told.asked)) == (b"new", b"new", 2)


def test_who_may_not_purge_varnish_is_refused(fronted: Fronted) -> None:
    with fronted(caches.for_strangers) as (front, behind):
        old = ask(front, NASA)
        direct = ask(front, "/images/", {"xkey": "imgprocessor"}, "PURGE")
        purged = purge_by_http(behind)
        kept = ask(front, NASA)

    assert direct.status == 403
    assert purged.status == 502
    assert b"403" in purged.body
    assert (kept.headers["x-cache"], kept.body) == ("HIT", old.body)
