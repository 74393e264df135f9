"""Configurations for caches: what real Varnish, nginx and Apache make of requests."""

import contextlib
import itertools
import os
import random
import re
from dataclasses import replace
from pathlib import Path

import caches
import pytest
import servers
from caches import Asked
from conftest import ROOT
from generated import ACCEPTS, QS, URL_HOSTS, made_up
from spellings import POLICIES, right_spelling, target_of

from imgprocessor.__main__ import main
from imgprocessor.app import edge_configuration
from imgprocessor.config.settings import PolicySettings, Settings
from imgprocessor.edge.rules import follow
from imgprocessor.edge.spelling import SPELLING, spelling_steps
from imgprocessor.edge.writers import CACHES, Backend, Cache, Site
from imgprocessor.formats import FORMATS
from imgprocessor.load import load_settings
from imgprocessor.policy.parse import parse_policy
from imgprocessor.policy.table import Policy
from imgprocessor.request.hints import HINT_HEADERS, read_hints

pytestmark = pytest.mark.caches

REQUESTS = int(os.environ.get("IMGPROCESSOR_EDGE_REQUESTS", "1500"))
"""For each cache, of the delivered policy; of the others a fifth."""


@pytest.fixture(scope="module")
def delivered() -> Settings:
    """With originals from elsewhere, so that caches know both."""
    settings = load_settings(ROOT / "conf" / "imgprocessor.ini")
    return replace(settings, remote=replace(settings.remote, hosts=URL_HOSTS))


@pytest.mark.parametrize("named_by", ["query", "path"])
@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("cache", CACHES)
def test_the_one_spelling_means_the_same(
    cache: Cache, name: str, named_by: str, delivered: Settings, tmp_path: Path
) -> None:
    """The short ways of Varnish included, which are worked out from the policy, too."""
    file = tmp_path / "policy.ini"
    file.write_text(POLICIES[name])
    settings = replace(delivered, policy=PolicySettings(file))
    policy, pixels = parse_policy(POLICIES[name], name), settings.pixels
    count = REQUESTS if name == "shipped" else REQUESTS // 5
    keys, chance = set(), random.Random(3)
    with caches.asking(cache, settings, tmp_path) as ask:
        for query_string, headers in made_up(policy, 4096, count, elsewhere=0.1):
            target = target_of(query_string, chance, named_by)
            if target is None:
                continue
            spelled, told_vary, asked = ask(target, list(headers.items()))
            if is_passed_on(target, headers, spelled, policy):
                continue
            if asked is not None:
                assert asked.joined().get("image-asked", "") == target.partition("?")[2]
            wanted = right_spelling(target, headers, spelled, policy, pixels, URL_HOSTS)
            if wanted is not None:
                assert told_vary == wanted[1], (target, headers)
                keys.add(wanted[0])
            if chance.random() < 0.1:  # a cache before another
                assert ask(spelled, [])[:2] == (spelled, "")
    assert len(keys) > count / 50
    if named_by == "query":
        assert len([key for (key,) in keys if str(key).startswith("http")]) > count / 100


def is_passed_on(target: str, headers: dict[str, str], spelled: str, policy: Policy) -> bool:
    """Whether a cache passes a request on as it is: then the steps give it no spelling."""
    if spelled.removesuffix("?") != target.removesuffix("?"):
        return False
    return not follow(spelling_steps(policy), target, headers)[SPELLING]


@pytest.mark.parametrize("cache", CACHES)
def test_accept_is_read_as_by_the_application(
    cache: Cache, delivered: Settings, policy: Policy, tmp_path: Path
) -> None:
    """In both of Varnish's ways to the spelling. What refuses PNG or JPEG by name has none."""
    kinds = [*(f"image/{known}" for known in FORMATS), "Image/WEBP", "image/*", "*/*"]
    accepts = [f"{kind}{q}" for kind in kinds for q in QS] + [*ACCEPTS]
    accepts += [f"{one},{other}" for one, other in itertools.product(LISTED, repeat=2)]
    passed_on = 0
    with caches.asking(cache, delivered, tmp_path) as ask:
        for place, accept in enumerate(accepts):
            queries = ("name=a", "name=a&width=64", "x=1&name=a&dpr=2")
            more = ("&formats=webp", "&format=jpeg", "&formats=none")
            for query_string in (queries[place % 3], queries[0] + more[place // 3 % 3]):
                headers, target = {"accept": accept}, f"/images/?{query_string}"
                spelled, _, _ = ask(target, list(headers.items()))
                if is_passed_on(target, headers, spelled, policy):
                    assert {"png", "jpeg"} - read_hints(headers).formats
                    assert query_string in queries
                    passed_on += 1
                    continue
                right_spelling(target, headers, spelled, policy, delivered.pixels)
    assert passed_on > 2 * len([q for q, is_offered in QS.items() if not is_offered])


LISTED = (
    *("image/avif", "image/avif;q=0.4", "image/gif", "image/gif;q=0.1", "image/*;q=0.2", "*/*"),
    *("image/*", "*/*;q=0", "image/jpeg;q=0.9", "image/png;q=0.2", "image/jxl"),
)
"""Of which an `Accept` has two."""


@pytest.mark.parametrize("twice", ["first", "last"])
def test_a_header_sent_twice_counts_as_to_the_application(
    twice: str, delivered: Settings, policy: Policy, tmp_path: Path
) -> None:
    """Also where all else is what browsers usually send."""
    chrome = {"ect": "4g", "rtt": "100", "downlink": "1.45", "accept": ACCEPTS[0]}
    chrome |= {"sec-ch-dpr": "2.625", "sec-ch-viewport-width": "412"}
    others = {"accept": "image/avif;q=0", "rtt": "3000", "downlink": "0.01", "sec-ch-dpr": "1"}
    queries = ("name=a", "name=a&width=64", "name=a&screen=412&dpr=2&bandwidth=3g")
    long = ("", "1" * 499, "1" * 5000)
    with caches.asking("varnish", delivered, tmp_path) as ask:
        for query_string, name in itertools.product(queries, HINT_HEADERS):
            for value in (others.get(name, "2g"), chrome.get(name, "3g"), *long):
                more = [(name, value)]
                target = f"/images/?{query_string}"
                sent = [*more, *chrome.items()] if twice == "first" else [*chrome.items(), *more]
                spelled, _, _ = ask(target, sent)
                if spelled == target:
                    assert len(value) >= 490
                    continue
                joined = Asked("GET", "", sent).joined()
                right_spelling(target, joined, spelled, policy, delivered.pixels)


LONG_QUERIES = (
    ("name=", "%E4%BD%A0", "{rest}"),
    ("name=a{rest}", "&", ""),
    ("name=a{rest}", "&=", ""),
    ("name=a{rest}", "&x", ""),
    ("name=a&x=", "&Name=a", ""),
    ("name=a&width=", "0", "&height=3"),
    ("name=a&width=3&height=4&fit=cover&gravity=0.", "0", ""),
    ("name=a&width=3&height=4&fit=cover&gravity=", "0.5,", ""),
    ("name=a&signature=", "A", "&dpr=2"),
    ("name=a&formats=", "webp+", ""),
    ("name=a&width=3&dpr=1.", "5", ""),
    ("name=a&name=", "a", ""),
    ("url=https://", "a", "&name=a"),
    ("xname=", "a", "&name=a"),
    ("&" * 870 + "name=", "a", ""),
    ("x&" * 430 + "name=", "%41", ""),
    ("name=", "a", "&" * 870),
    ("name=", "a", "&widt" * 170),
    ("name=", "a", "&name=" * 140),
    ("name=", "a", "&width=" + "0" * 860),
    ("name=", "a", "&gravity=" + "0.5," * 210),
    ("name=a&crop=", "1,", "2"),
    ("name=a&crop=1%25,", "9", "%25"),
)
"""What stands before, what is repeated, what stands behind."""
REST = (
    "&crop=1%2C2%2C3%2C4&width=0340&height=0400&max_height=09&fit=cover&gravity=0.5,0&flip=hv&quality=060&max_bytes=24999"
    f"&expires=1900000000&signature={'A' * 43}&dpr=2.625"
)


def test_varnish_answers_whatever_is_long(delivered: Settings, tmp_path: Path) -> None:
    """At the lengths from which it reads less, or nothing; with all headers that it takes."""
    accept = ("Accept", f"{ACCEPTS[2]},x/y")
    hints = [("ECT", "3g"), ("Sec-CH-DPR", "2.625"), ("RTT", "100"), ("Downlink", "1.45")]
    cookies = [("Cookie", "a=b;" * 1900)] * 3
    with caches.asking("varnish", delivered, tmp_path) as ask:
        for length in (1999, 2000, 3599, 3600, 8000):
            for before, unit, behind in LONG_QUERIES:
                ends = before.format(rest=REST), behind.format(rest=REST)
                path = "/images/" if "e=" in before or "l=" in before else "/image/a/"
                room = length - len(f"{path}?") - sum(map(len, ends))
                target = f"{path}?{(unit * room)[:room].join(ends)}"
                for more in ([], [*cookies, ("X", "x" * 4000)] if length < 4000 else cookies):
                    ask(target, [accept, *hints, *more])


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


def test_a_node_that_is_taken_out_moves_its_own_originals_alone(
    delivered: Settings, tmp_path: Path
) -> None:
    names = [f"{number}.jpg" for number in range(40)]
    homes: list[dict[str, int]] = []
    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(caches.behind()) for _ in range(3)]
        for those in (nodes, [nodes[0], nodes[2]]):
            site = Site([Backend("127.0.0.1", node.port) for node in those])
            vcl = edge_configuration("varnish", delivered, site)
            folder = tmp_path / str(len(those))
            folder.mkdir()
            with caches.varnish(folder, vcl) as port:
                for name in names:
                    assert servers.ask(port, f"/images/?name={name}").status == 200
            homes.append({})
            for node in those:
                homes[-1] |= {re.split("[=&]", asked.target)[1]: node.port for asked in node.asked}
                node.asked.clear()
    before, after = homes

    assert before.keys() == after.keys() == set(names)
    moved = {name for name in names if before[name] != after[name]}
    assert moved == {name for name in names if before[name] == nodes[1].port}
    assert 0 < len(moved) < len(names)
    assert set(after.values()) == {nodes[0].port, nodes[2].port}
