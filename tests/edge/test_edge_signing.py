"""Signed links through real Varnish, nginx and Apache: what is kept is for who has the link."""

import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import caches
import images
import pytest
import servers
from caches import answer, connection, in_front
from conftest import ROOT
from generated import made_up
from servers import Answer, Server, await_true, serving
from spellings import POLICIES, proven, right_spelling, target_of

from imgprocessor.config.settings import PolicySettings, Settings, SigningSettings
from imgprocessor.edge.writers import CACHES, Cache
from imgprocessor.load import load_settings
from imgprocessor.policy.parse import parse_policy
from imgprocessor.request.signing import sign

KEY, OLD = "0123456789abcdef" * 2, "fedcba9876543210" * 2
REQUESTS = 1500


def delivered() -> Settings:
    return load_settings(ROOT / "conf" / "imgprocessor.ini")


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings under which links are signed, with a ladder. Nobody reads the keys."""
    file = tmp_path_factory.mktemp("policy") / "policy.ini"
    file.write_text(POLICIES["a ladder"])
    return replace(
        delivered(), policy=PolicySettings(file), signing=SigningSettings(Path("/nowhere"))
    )


@pytest.mark.caches
@pytest.mark.parametrize("named_by", ["query", "path"])
@pytest.mark.parametrize("cache", CACHES)
def test_links_are_as_good_in_the_one_spelling(
    cache: Cache, named_by: str, signed: Settings, tmp_path: Path
) -> None:
    policy = parse_policy(POLICIES["a ladder"], "")
    chance, spelled = random.Random(6), 0
    with caches.asking(cache, signed, tmp_path) as ask:
        for asked, headers in made_up(policy, 4096, REQUESTS, seed=6):
            target = target_of(proven(asked, chance), chance, named_by)
            if target is None:
                continue
            found, _, _ = ask(target, list(headers.items()))
            if found != target:
                right_spelling(target, headers, found, policy, signed.pixels, signed=True)
                spelled += 1
    assert spelled > REQUESTS / 3


@pytest.mark.caches
@pytest.mark.parametrize("usual", ["name=nasa.jpeg", "name=nasa.jpeg&width=640"])
def test_varnish_knows_usual_links_as_all_others(
    signed: Settings, tmp_path: Path, usual: str
) -> None:
    """By its short way and by the long one the same is kept."""
    chrome = [("Accept", "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8")]
    kept = answer(200, [("cache-control", "public, max-age=60, s-maxage=60")], b"x")
    link = f"/images/?{usual}&signature={'A' * 43}"
    with caches.behind() as there:
        there.respond = lambda _: kept
        with (
            in_front("varnish", signed, there.port, tmp_path) as port,
            connection(port) as client,
        ):
            outcomes = [
                client.ask(url, chrome)[1]["x-cache"]
                for url in (
                    link,
                    f"{link}&utm_source=x",
                    f"{link}&screen=9999&dpr=1",
                    link.replace("AA", "BB"),
                    f"{link}&expires=1900000000",
                )
            ]
    assert outcomes == ["MISS", "HIT", "HIT", "MISS", "MISS"]


@pytest.mark.caches
@pytest.mark.parametrize("cache", ["varnish", "nginx"])
@pytest.mark.parametrize("failure", [500, 503])
def test_nothing_is_sent_of_a_link_that_may_have_expired(
    cache: Cache, failure: int, signed: Settings, tmp_path: Path
) -> None:
    """Not even while the application fails."""
    link = f"/images/?name=a.jpg&signature={'A' * 43}&expires=1900000000"
    ending = answer(200, [("cache-control", "public, max-age=1, s-maxage=1, must-revalidate")])

    with caches.behind() as there:
        there.respond = lambda _: ending
        with in_front(cache, signed, there.port, tmp_path) as port, connection(port) as client:
            assert client.ask(link)[0] == 200
            assert client.ask(link)[1]["x-cache"] == "HIT"
            there.respond = lambda _: answer(failure, [("cache-control", "no-store")])
            await_true(lambda: client.ask(link)[0] != 200, 8)
            assert client.ask(link)[0] == failure


# The real application behind real caches.


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text(f"{KEY}\n{OLD}\n")
    file.chmod(0o600)
    servers.open_up(file.parent)
    if os.geteuid() == 0:
        shutil.chown(file, "www-data")
    return file


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("originals")
    servers.open_up(folder)
    for name in ("nasa.jpeg", "other.jpeg"):
        images.save(folder / name, images.texture((900, 600)), "JPEG", quality=92)
    return folder


def _application(
    tmp_path_factory: pytest.TempPathFactory, originals: Path, keys_file: Path, *options: str
) -> Iterator[Server]:
    settings = f"[signing]\nkeys_file = {keys_file}\n"
    folder = tmp_path_factory.mktemp("server")
    with serving(folder, originals, *options, settings=settings) as server:
        yield server


@pytest.fixture(scope="module")
def by_url(
    tmp_path_factory: pytest.TempPathFactory, originals: Path, keys_file: Path
) -> Iterator[Server]:
    """Apache with its cache as it is delivered."""
    yield from _application(tmp_path_factory, originals, keys_file)


@pytest.fixture(scope="module")
def by_spelling(
    tmp_path_factory: pytest.TempPathFactory, originals: Path, keys_file: Path
) -> Iterator[Server]:
    """Apache whose cache keeps by the one spelling."""
    yield from _application(tmp_path_factory, originals, keys_file, "--spelling")


Ask = Callable[[str], Answer]


@pytest.fixture(params=["apache", "apache by the one spelling", "varnish", "nginx"])
def ask(
    request: pytest.FixtureRequest, by_url: Server, by_spelling: Server, tmp_path: Path
) -> Iterator[Ask]:
    if request.param.startswith("apache"):
        server = by_url if request.param == "apache" else by_spelling
        yield server.ask
        return
    settings = replace(delivered(), signing=SigningSettings(Path("/nowhere")))
    with in_front(request.param, settings, by_spelling.port, tmp_path) as port:
        yield lambda path: servers.ask(port, path)


def hits(answered: Answer) -> bool:
    return answered.headers.get("x-cache", "").startswith(("HIT", "REVALIDATE"))


def copy(ask: Ask, path: str) -> Answer:
    """Ask until it comes from the cache; Apache puts its copy away after it has answered."""
    deadline = time.monotonic() + 5
    while not hits(answer := ask(path)):
        assert time.monotonic() < deadline
    return answer


def kept(ask: Ask, path: str) -> Answer:
    """Return the first answer, once it is kept."""
    first = ask(path)
    assert first.status == 200, first.headers
    copy(ask, path)
    return first


def url(rest: str, key: str = KEY, expires: int | None = None, named_by: str = "query") -> str:
    return sign(unsigned(rest, named_by), key, expires)


def unsigned(rest: str, named_by: str) -> str:
    if named_by == "query":
        return f"/images/?{rest}"
    return f"/image/{rest.removeprefix('name=').replace('&', '?', 1)}"


@pytest.mark.apache
@pytest.mark.parametrize("named_by", ["query", "path"])
def test_what_is_kept_is_for_who_has_the_link(ask: Ask, named_by: str) -> None:
    rest = "name=nasa.jpeg&width=311&bandwidth=4g&dpr=1&format=jpeg"
    right = url(rest, named_by=named_by)
    first = kept(ask, right)
    assert copy(ask, right).body == first.body
    other = url(rest.replace("nasa", "other"), named_by=named_by)
    kept(ask, other)
    wrong = right[:-1] + ("A" if right[-1] != "A" else "B")
    otherwise = {"query": "path", "path": "query"}[named_by]
    for path in (
        unsigned(rest, named_by),
        wrong,
        f"{unsigned(rest, named_by)}&{other.rpartition('&')[2]}",
        # A link is for the picture's name in the place where it stands.
        f"{unsigned(rest, otherwise)}&{right.rpartition('&')[2]}",
        right.replace("311", "312"),
        url(rest, "x" * 32, named_by=named_by),
        f"{right}&{right.rpartition('&')[2]}",
        f"{right}&expires={int(time.time()) + 99}",
    ):
        for _ in range(3):
            answered = ask(path)
            assert (answered.status, hits(answered)) == (403, False), path
            assert answered.headers["image-error"] == "bad-signature"
    assert hits(ask(right))
    # Of a key that is going, the same picture.
    assert kept(ask, url(rest, OLD, named_by=named_by)).body == first.body


@pytest.mark.apache
@pytest.mark.parametrize("ask", ["apache by the one spelling", "varnish", "nginx"], indirect=True)
def test_of_many_who_ask_at_once_none_gets_what_an_expired_link_led_to(ask: Ask) -> None:
    expires = int(time.time()) + 5
    link = url("name=nasa.jpeg&width=320&bandwidth=4g&dpr=1&format=jpeg", KEY, expires)
    kept(ask, link)
    await_true(lambda: time.time() > expires + 0.5, 12)
    with ThreadPoolExecutor(4) as pool:
        assert {answered.status for answered in pool.map(ask, [link] * 8)} == {403}


@pytest.mark.apache
def test_a_missing_picture_is_told_to_who_has_the_link(ask: Ask) -> None:
    rest = "name=none.jpeg&width=64&bandwidth=4g&dpr=1&format=jpeg"
    for _ in range(3):
        assert ask(url(rest)).status == 404
        assert ask(f"/images/?{rest}").status == 403


@pytest.mark.apache
def test_no_cache_outlives_the_link(ask: Ask) -> None:
    expires = int(time.time()) + 4
    link = url("name=nasa.jpeg&width=313&bandwidth=4g&dpr=1&format=jpeg", KEY, expires)
    kept(ask, link)
    statuses = []
    while (began := time.time()) < expires + 1:
        answered = ask(link)
        statuses.append(answered.status)
        if time.time() < expires:
            assert answered.status == 200
        if began >= expires:
            assert answered.status == 403
        time.sleep(0.1)
    assert {*statuses} == {200, 403}
