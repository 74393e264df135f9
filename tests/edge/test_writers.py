"""Configurations for caches: what real Varnish, nginx and Apache make of requests."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import caches
import pytest
from application_keys import POLICIES, answered
from caches import Behind, Headers
from conftest import ROOT
from generated import ACCEPTS, ODD_NAME, URL_HOSTS, made_up

from imgprocessor.__main__ import main
from imgprocessor.app import edge_configuration
from imgprocessor.config.settings import PolicySettings, RemoteSettings, Settings
from imgprocessor.edge.writers import CACHES, Backend, Cache, Site
from imgprocessor.images.pipeline import SHAPED_BY
from imgprocessor.load import load_settings
from imgprocessor.policy.parse import parse_policy
from imgprocessor.policy.table import Policy
from imgprocessor.request.hints import HINT_HEADERS

pytestmark = pytest.mark.caches

Ask = Callable[[str, Headers], tuple[str, str, str, dict[str, str]]]
"""From a query string and headers to the key, the Vary, and the query string and headers that an
application behind would see."""

REQUESTS = 5000


@pytest.fixture(scope="module")
def delivered() -> Settings:
    """With originals from elsewhere, so that caches know both."""
    settings = load_settings(ROOT / "conf" / "imgprocessor.ini")
    return replace(settings, remote=replace(settings.remote, hosts=URL_HOSTS))


def written(cache: Cache, settings: Settings, **site: object) -> str:
    return edge_configuration(cache, settings, Site(**site))  # type: ignore[arg-type]


def _through(port: int, there: Behind) -> Iterator[Ask]:
    with caches.connection(port) as connection:

        def ask(query_string: str, headers: Headers) -> tuple[str, str, str, dict[str, str]]:
            before = len(there.asked)
            status, found, _ = connection.ask(f"/images/?{query_string}", headers)
            assert status == 200, (status, query_string, headers)
            (asked,) = there.asked[before:]
            seen = asked.joined()
            query_seen = asked.target.partition("?")[2]
            return seen.get("imagekey", ""), found.get("vary", ""), query_seen, seen

        yield ask


@pytest.fixture(scope="module")
def through_varnish(delivered: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    folder = tmp_path_factory.mktemp("varnish")
    with caches.behind() as there:
        vcl = written("varnish", delivered, backends=[Backend("127.0.0.1", there.port)])
        with caches.varnish(folder, vcl) as port:
            yield from _through(port, there)


@pytest.fixture(scope="module")
def through_nginx(delivered: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    folder = tmp_path_factory.mktemp("nginx")
    with caches.behind() as there:

        def write(port: int, cache: Path) -> str:
            backends = [Backend("127.0.0.1", there.port)]
            return written(
                "nginx", delivered, backends=backends, listen=f"127.0.0.1:{port}", folder=str(cache)
            )

        with caches.nginx(folder, write) as port:
            yield from _through(port, there)


@pytest.fixture(scope="module")
def through_apache(delivered: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Apache alone: it says in headers what the application would be handed."""
    folder = tmp_path_factory.mktemp("apache")
    told = 'Header always set key "expr=%{QUERY_STRING}"\nHeader always set Vary "%{img_vary}e"\n'
    included = written("apache", delivered) + told
    with caches.apache(folder, included) as port, caches.connection(port) as connection:

        def ask(query_string: str, headers: Headers) -> tuple[str, str, str, dict[str, str]]:
            status, found, _ = connection.ask(f"/images/?{query_string}", headers)
            assert status == 404, (status, query_string)  # of static files, there are none
            seen = {name: value.strip() for name, value in headers}
            key = found.get("key", "").replace(query_string, "")
            # Apache leaves the blanks out of Vary.
            told_vary = found.get("vary", "").replace("(null)", "").replace(",", ", ")
            return key, told_vary, query_string, seen

        yield ask


@pytest.mark.parametrize("cache", ["varnish", "nginx", "apache"])
def test_the_key_is_the_applications(
    cache: str, request: pytest.FixtureRequest, delivered: Settings, policy: Policy
) -> None:
    ask: Ask = request.getfixturevalue(f"through_{cache}")
    max_side = delivered.pixels.max_output_side_pixels
    keys = set()
    for query_string, headers in made_up(policy, max_side, REQUESTS, elsewhere=0.1):
        key, told_vary, query_seen, seen = ask(query_string, list(headers.items()))
        wanted = answered(query_seen, seen, policy, delivered.pixels, SHAPED_BY, URL_HOSTS)
        if key and wanted is not None:
            assert (key, told_vary) == wanted, (query_string, headers)
            keys.add(key)
        elif wanted is not None:
            # Where a cache forms no key, nothing is kept: only of names that browsers escape.
            assert re.search(ODD_NAME, query_string), (wanted, query_string, headers)
        elif key:
            assert "%" in query_string, (query_string, headers)
    assert len(keys) > REQUESTS / 10
    assert len([key for key in keys if key.startswith("http")]) > REQUESTS / 100


def test_a_header_sent_twice_is_a_list(
    through_varnish: Ask, delivered: Settings, policy: Policy
) -> None:
    """Also where all else is what browsers usually send."""
    chrome = {"ect": "4g", "rtt": "100", "downlink": "1.45", "accept": ACCEPTS[0]}
    chrome |= {"sec-ch-dpr": "2.625", "sec-ch-viewport-width": "412"}
    others = {"accept": "image/avif;q=0", "rtt": "3000", "downlink": "0.01", "sec-ch-dpr": "1"}
    for query_string in ("name=a", "name=a&width=64", "name=a&screen=412&dpr=2&bandwidth=3g"):
        for name in HINT_HEADERS:
            for value in (
                others.get(name, "2g"),
                chrome.get(name, "3g"),
                "",
                "1" * 499,
                "1" * 5000,
            ):
                for twice in ([(name, value), *chrome.items()], [*chrome.items(), (name, value)]):
                    key, told_vary, query_seen, seen = through_varnish(query_string, twice)
                    if key or len(value) < 490:
                        wanted = answered(query_seen, seen, policy, delivered.pixels, SHAPED_BY)
                        assert (key, told_vary) == wanted, (query_string, twice)


SMALL = """\
[bandwidths]
save-data = save-data
3g = rtt>=270 downlink<=0.7
4g = otherwise
default = 4g
[screens]
phone = 480
desktop = otherwise
default = desktop
[formats]
offer = webp jpeg
[sized]
save-data = q50 dpr1
3g = q60 50kB dpr1.5
4g = q78 dpr2
[phone]
save-data = 480px q50
3g = 540px q60 35kB
4g = 1080px q75
[desktop]
save-data = 1000px q50
3g = 1000px q60
4g = 100% q78
"""


@pytest.mark.parametrize("cache", CACHES)
def test_what_is_written(cache: Cache, delivered: Settings, tmp_path: Path) -> None:
    """Read the difference before it is renewed: operators will, too."""
    policy = tmp_path / "policy.ini"
    policy.write_text(SMALL)
    settings = replace(delivered, policy=PolicySettings(policy), remote=RemoteSettings())
    nodes = [Backend("10.0.0.1", 80), Backend("10.0.0.2", 8080)]
    text = re.sub("[0-9a-f]{8}", "(digest)", written(cache, settings, backends=nodes))

    golden = ROOT / "tests" / "golden" / f"{cache}.edge"
    if os.environ.get("IMGPROCESSOR_RENEW_GOLDEN"):
        golden.write_text(text)
    assert golden.exists(), "IMGPROCESSOR_RENEW_GOLDEN=1 writes it"
    assert text == golden.read_text()


def test_a_node_is_named_by_host_and_port() -> None:
    assert main(["edge", "varnish", "--backend", "images.example.org:80", "-o", "/dev/null"]) == 0
    for wrong in ("example.org", "a b:80", ":80", "h:99999", 'h";:80', "a..b:80", "h:0"):
        assert main(["edge", "varnish", "--backend", wrong]) == 2


def test_nothing_else_gets_into_a_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["edge", "varnish", "--purger", "10.0.0.0/8", "--purger", "::1"]) == 0
    assert '    "127.0.0.1";\n    "::1";\n    "10.0.0.0"/8;\n}' in capsys.readouterr().out
    for option, wrong in (
        ("--purger", '1.2.3.4";'),
        ("--listen", "80; evil"),
        ("--cache-folder", "/a b"),
        ("--cache-megabytes", "-5"),
    ):
        assert main(["edge", "nginx", option, wrong]) == 2


@pytest.mark.parametrize("name", list(POLICIES)[1:])
def test_varnish_forms_the_keys_of_other_policies(
    name: str, delivered: Settings, tmp_path: Path
) -> None:
    """Its short way for usual requests is worked out from the policy, too."""
    file = tmp_path / "policy.ini"
    file.write_text(POLICIES[name])
    settings = replace(delivered, policy=PolicySettings(file), remote=RemoteSettings())
    policy = parse_policy(POLICIES[name], name)
    with caches.behind() as there:
        vcl = written("varnish", settings, backends=[Backend("127.0.0.1", there.port)])
        with caches.varnish(tmp_path, vcl) as port, caches.connection(port) as connection:
            formed = 0
            for query_string, headers in made_up(policy, 4096, 1500, seed=3):
                there.asked.clear()
                connection.ask(f"/images/?{query_string}", list(headers.items()))
                (asked,) = there.asked
                key = asked.joined().get("imagekey")
                wanted = answered(query_string, headers, policy, settings.pixels, SHAPED_BY)
                if key and wanted is not None:
                    assert key == wanted[0], (query_string, headers)
                    formed += 1
    assert formed > 300
