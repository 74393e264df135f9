"""Names in every script, through real Apache, its cache, and real Varnish and nginx before it."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote, unquote

import caches
import images
import pytest
import servers
from conftest import ROOT
from servers import Answer, Server, await_true, serving

from imgprocessor.edge.writers import Cache
from imgprocessor.load import load_settings
from imgprocessor.policy.imagekey import original_tag
from imgprocessor.storage.proxy_files import remove_tagged

pytestmark = [pytest.mark.apache, pytest.mark.caches]

NAMED_BY = ("query", "path")
WAYS = ("Apache", "Apache by the one spelling", "Varnish", "nginx")
BEFORE: tuple[Cache, ...] = ("varnish", "nginx")

LONGEST = "/".join(["你" * 85] * 3 + ["你" * 84, "你"])
"""1,024 bytes, which take 3,072 in a URL; no segment has more than 255."""
FULL = (
    "&crop=0%25,0%25,99%25,99%25&width=340&height=400&max_height=400&fit=cover&gravity=0.3,0.6"
    "&flip=hv&quality=60&max_bytes=24999&format=webp"
    f"&expires=1900000000&signature={'A' * 43}&utm_source={'x' * 100}"
)
SIZES = {
    LONGEST: (90, 60),
    "Длинное имя фотографии из отпуска.jpg": (91, 60),
    "صورة طويلة الاسم من العطلة.jpg": (92, 60),
    "長い名前の写真" * 12 + ".x": (93, 60),
    "\U0001f469\u200d\U0001f680 \U0001f3f4\U000e0067\U000e007f.jpg": (94, 60),
    "\u200f\u202eגפנ.gpj": (95, 60),
    "both/\xe9.jpg": (96, 60),
    "both/e\u0301.jpg": (97, 60),
    "e\u0301/\xfc.jpg": (98, 60),
    "\U0010ffff\ufeff\u0085\u2028": (99, 60),
    "a" * 255: (89, 60),
    "a?b%c+d;e&f g=h%3F.jpg": (88, 60),
    "a?b": (87, 60),
    "a": (86, 60),
}
"""Pictures by name."""

FOUND = {
    **{quote(name, safe=""): size for name, size in SIZES.items()},
    quote(LONGEST): SIZES[LONGEST],
    quote(LONGEST, safe="").lower(): SIZES[LONGEST],
    "%C3%A9/u%CC%88.jpg": (98, 60),
    "%C3%A9/%C3%BC.jpg": (98, 60),
    "e%CC%81/u%CC%88.jpg": (98, 60),
}
"""The size of the original by the name as it is spelled."""

IN_PATHS = {
    **{re.sub("%2F", "/", name, flags=re.IGNORECASE): size for name, size in FOUND.items()},
    "a%3Fb%25c+d;e&f%20g=h%253F.jpg": SIZES["a?b%c+d;e&f g=h%3F.jpg"],
    "a%3fb%25c%2bd%3be%26f%20g%3dh%253F.jpg": SIZES["a?b%c+d;e&f g=h%3F.jpg"],
}
"""The same by the name as it is spelled in a path."""

DIFFER_BY_FORM = [name for name, size in FOUND.items() if size == (98, 60)]

REFUSED = {
    **{quote(LONGEST, safe="") + more: 400 for more in ("a", "%E4%BD%A0", "a" * 300, "%2Fa" * 700)},
    quote("你" * 85) + "a": 400,
    "a" * 256: 400,
    "a/" * 512 + "a": 400,
    "%ED%A0%80": 400,
    "%ED%A0%BD%ED%B8%80.jpg": 400,
    "%C0%AF": 400,
    "%C0%AE%C0%AE/a": 400,
    "%E4%BD": 400,
    "%F4%90%80%80": 400,
    "a/" * 511 + "aa": 404,
    "\xe9".encode().decode("latin-1") * 127: 404,
    "%CC%81" * 120: 404,
    "both/%CC%81e.jpg": 404,
    "both": 404,
    "%E2%80%AE": 404,
    "%EF%BC%8E%EF%BC%8E/%EF%BC%8F": 404,
}
"""The status by the name as it is spelled."""


@dataclass(frozen=True)
class Way:
    """How a request may come to the application."""

    port: int
    forget: Callable[[str], object]
    """Has the cache on this way forget what has a tag."""


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Way]]:
    """All ways; no daemon dies meanwhile, and nothing is complained of."""
    pictures, settings = tmp_path_factory.mktemp("p"), load_settings(ROOT / "conf/imgprocessor.ini")
    servers.open_up(pictures)
    for name, size in SIZES.items():
        path = put(pictures, name)
        images.save(path.parent / "new", images.texture(size), "JPEG", quality=90)
        (path.parent / "new").rename(path)
    (pictures / os.fsdecode(b"\xff.jpg")).touch()
    for number in range(12):
        (pictures / f"{number:02}{'你' * 84}").touch()
    with ExitStack() as stack:
        apaches = [
            stack.enter_context(serving(tmp_path_factory.mktemp("server"), pictures, *options))
            for options in ((), ("--spelling",))
        ]
        found = [Way(one.port, partial(forget_files, cache_of(one))) for one in apaches]
        for cache in BEFORE:
            folder = tmp_path_factory.mktemp(cache)
            port = stack.enter_context(caches.in_front(cache, settings, apaches[0].port, folder))
            forget = {
                "varnish": partial(forget_by_varnish, port),
                "nginx": partial(forget_files, folder / caches.NGINX_CACHE),
            }
            found.append(Way(port, forget[cache]))
        # The page is shown with some of the originals, by their names.
        (page,) = [line for line in apaches[0].printed if "/?name=" in line][:1]
        assert apaches[0].ask(page.strip().partition(f":{apaches[0].port}")[2]).status == 200
        daemons = [server.daemons() for server in apaches]
        yield dict(zip(WAYS, found, strict=True))
        assert [server.daemons() for server in apaches] == daemons
        assert [line for server in apaches for line in complaints(server)] == []


def forget_files(folder: Path, tag: str) -> None:
    assert remove_tagged(folder, [tag])


def forget_by_varnish(port: int, tag: str) -> None:
    assert servers.ask(port, "/images/", {"xkey": tag}, "PURGE").status == 200


def cache_of(server: Server) -> Path:
    """Return where a server's Apache keeps answers."""
    (conf, *_) = re.findall(r"\S+/httpd[.]conf", " ".join(server.processes().values()))
    return Path(conf).parent / "cache"


def put(folder: Path, name: str) -> Path:
    """Return where a picture is called so; folders are made on the way."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def complaints(server: Server) -> list[str]:
    """Return what Apache complains of, but for one line: its cache writes that where another
    request replaces what it was about to send, and asks the application then.
    """
    errors = (server.logs / "error.log").read_text()
    told = re.findall(r"^.*\[\w*:(?:error|warn|crit|alert|emerg)\].*$", errors, re.MULTILINE)
    return [line for line in told if "AH00708" not in line]


def url_of(name: str, rest: str, named_by: str) -> str:
    """Return where a picture is asked for by its name in the query, or in the path."""
    if named_by == "query":
        return f"/images/?name={name}{rest}"
    path = re.sub("%2F", "/", name, flags=re.IGNORECASE)
    return f"/image/{path}{rest.replace('&', '?', 1)}"


def ask(port: int, url: str) -> Answer:
    """Ask, and look whether all headers fit everywhere."""
    answer = servers.ask(port, url, {"Accept": "image/webp", "ECT": "4g"})
    lines = [f"{header}: {value}\r\n" for header, value in answer.headers.items()]
    assert max(map(len, lines)) < 4000
    assert sum(map(len, lines)) < 8000
    return answer


def hits(port: int, url: str) -> bool:
    return ask(port, url).headers.get("x-cache", "").startswith("HIT")


@pytest.mark.parametrize("named_by", NAMED_BY)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rest", ["", FULL], ids=["", "with further parameters"])
def test_names_of_every_script_are_served_and_kept(
    ways: dict[str, Way], way: str, rest: str, named_by: str
) -> None:
    for name, (width, height) in (FOUND if named_by == "query" else IN_PATHS).items():
        url = url_of(name, rest, named_by)
        answer = ask(ways[way].port, url)

        assert answer.status == 200, (name, answer.headers.get("image-error-detail"))
        assert f"; original={width}x{height};" in answer.headers["image-decision"], name
        await_true(partial(hits, ways[way].port, url))


def test_each_way_says_the_same(ways: dict[str, Way]) -> None:
    keys: dict[str, set[str]] = {}
    ports = [way.port for way in ways.values()]
    for name in FOUND:
        urls = [url_of(name, FULL, named_by) for named_by in NAMED_BY]
        answers = [ask(port, url) for port in ports for url in urls]
        keys[name] = {answer.headers["imagekey"] for answer in answers}
        assert len({answer.body for answer in answers}) == 1
        assert len({answer.headers.get("vary", "").replace(" ", "") for answer in answers}) == 1

    assert {len(found) for found in keys.values()} == {1}
    assert len({key for found in keys.values() for key in found}) == len(FOUND) - 2


@pytest.mark.parametrize("named_by", NAMED_BY)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rest", ["", FULL], ids=["", "with further parameters"])
def test_what_is_no_name_is_refused_by_the_application(
    ways: dict[str, Way], way: str, rest: str, named_by: str
) -> None:
    for name, status in REFUSED.items():
        answer = ask(ways[way].port, url_of(name, rest, named_by))

        assert answer.status == status, name
        assert answer.headers["image-error"] == {400: "bad-query", 404: "not-found"}[status]
        assert answer.headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize("named_by", NAMED_BY)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("names", [[quote(LONGEST)], DIFFER_BY_FORM], ids=["long", "forms"])
def test_all_that_is_kept_of_a_name_is_forgotten(
    ways: dict[str, Way], way: str, names: list[str], named_by: str
) -> None:
    """Tags are found behind what is long; and names that differ by form alone have one."""
    urls = [url_of(name, FULL, named_by) for name in names]
    for url in urls:
        await_true(partial(hits, ways[way].port, url))
    ways[way].forget(original_tag(unquote(names[-1])))

    assert not any(hits(ways[way].port, url) for url in urls)


@pytest.mark.parametrize("way", WAYS)
def test_what_may_be_a_size_is_forgotten_by_each_name(ways: dict[str, Way], way: str) -> None:
    """A folder of that name may come to be there, and go."""
    url, port = "/image/100/50/a", ways[way].port
    for name in ("100/50/a", "50/a", "a"):
        await_true(partial(hits, port, url))
        answer = ask(port, url)
        assert "original=86x60" in answer.headers["image-decision"]
        assert "_100x50_cover_" in answer.headers["imagekey"]
        assert {"Sec-CH-DPR", "Sec-CH-Viewport-Width"} <= {
            *re.findall("[^, ]+", answer.headers["vary"])
        }
        ways[way].forget(original_tag(name))
        assert not hits(port, url)


STRANGE = {
    "/image/a%2Fb": 404,
    "//image/a": 200,
    "/image//a": 400,
    "/image/b/../a": 400,
    "/image/./a": 400,
    "/image/%61": 200,
    "/image/%2e/a": 400,
    "/imag%65/a": 404,
    "/image/a?name=a": 400,
    "/image/a?url=https://a.example/b": 400,
    "/image/a%0a": 400,
    "/image/a%7Cb": 404,
    "/image/a|b": 404,
    "/image/a?download=x?quality=3": 200,
    "/image/a%3Fdownload=x?quality=3": 404,
    "/image/-/health": 404,
    "/images/-/other": 404,
    "/images/%2D/other": 404,
    "/image/a?crop&fit=inside": 400,
    "/image/a?size=9x9&width=9": 400,
    "/image/100/a?fit=inside": 400,
    "/image/0/a": 404,
    "/image/": 404,
    "/images/a/": 400,
}
"""The status of what servers on the way may take for something else."""


@pytest.mark.parametrize("way", WAYS)
def test_what_is_strange_is_answered_as_it_came(ways: dict[str, Way], way: str) -> None:
    """And changes nothing for what is not."""
    port = ways[way].port
    usual = {"/image/a": 200, "/image/a?quality=3": 200, "/images/?name=a": 200}
    for _ in range(3):
        for url, status in {**STRANGE, **usual}.items():
            assert (url, ask(port, url).status) == (url, status)
