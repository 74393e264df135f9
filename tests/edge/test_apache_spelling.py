"""Apache's cache with the one spelling that `edge apache` has it form, before the application."""

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import images
import pytest
import servers
from caches import connection
from generated import made_up
from servers import Answer, Server, serving
from spellings import target_of

from imgprocessor.app import make_web
from imgprocessor.config.settings import Settings
from imgprocessor.policy.imagekey import EVERY_TAG, key_tag, original_tag
from imgprocessor.policy.table import Policy
from imgprocessor.storage.proxy_files import remove_tagged

pytestmark = pytest.mark.apache

NASA = "/images/?name=nasa.jpeg"
CHROME = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"


@pytest.fixture(scope="module")
def apache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder, originals = tmp_path_factory.mktemp("server"), tmp_path_factory.mktemp("originals")
    servers.open_up(originals)
    for name in ("nasa.jpeg", "other.jpeg"):
        images.save(originals / name, images.texture((900, 600)), "JPEG", quality=92)
    with serving(folder, originals, "--spelling") as server:
        yield server


def kept(server: Server, path: str, headers: dict[str, str] | None = None) -> Answer:
    """Ask until Apache has put its copy away, which it does after it has answered."""
    first = server.ask(path, headers)
    deadline = time.monotonic() + 5
    while not hits(server.ask(path, headers)):
        assert time.monotonic() < deadline
    return first


def hits(answer: Answer) -> bool:
    return answer.headers.get("x-cache", "").startswith("HIT")


def logged(server: Server) -> list[dict[str, Any]]:
    lines = (server.logs / "requests.log").read_text().splitlines()
    return [line for line in map(json.loads, lines) if "status" in line]


def test_what_means_the_same_is_one_copy(apache: Server) -> None:
    first = kept(apache, f"{NASA}&width=301", {"ECT": "3g", "Accept": CHROME})

    for path, headers in (
        (f"{NASA}&width=0301&utm_source=x", {"RTT": "300", "Accept": CHROME}),
        ("/images/?bandwidth=3G&width=301&name=nasa.jpeg", {"Accept": "image/webp,image/avif,*/*"}),
        (
            f"{NASA}&height=&width=301",
            {"RTT": "1399", "Downlink": "1.05", "Save-Data": "off", "Accept": CHROME},
        ),
    ):
        other = apache.ask(path, headers)
        assert hits(other)
        assert other.body == first.body
        assert other.headers["imagekey"] == first.headers["imagekey"]


def test_what_means_something_else_is_another_copy(apache: Server) -> None:
    first = kept(apache, f"{NASA}&width=302", {"ECT": "3g"})

    other = apache.ask(f"{NASA}&width=302", {"ECT": "2g"})
    assert not hits(other)
    assert other.headers["imagekey"] != first.headers["imagekey"]


def test_browsers_are_told_the_vary_of_their_own_url(apache: Server) -> None:
    by_hints = kept(apache, f"{NASA}&width=303&format=jpeg", {"ECT": "3g"})
    by_url = apache.ask(f"{NASA}&width=303&format=jpeg&bandwidth=3g&dpr=1", {})

    assert hits(by_url)
    assert "vary" not in by_url.headers
    assert "ECT" in by_hints.headers["vary"]
    assert "ECT" in apache.ask(f"{NASA}&width=303&format=jpeg", {"ECT": "3g"}).headers["vary"]


def test_what_makes_no_sense_is_never_kept(apache: Server) -> None:
    for _ in range(2):
        answer = apache.ask(f"{NASA}&width=wide")
        assert (answer.status, hits(answer)) == (400, False)


@pytest.mark.parametrize("named_by", ["query", "path"])
def test_the_same_is_answered_whatever_is_asked(
    apache: Server, settings: Settings, policy: Policy, named_by: str
) -> None:
    """By way of the one spelling, and of the application alone."""
    images.save(
        settings.originals.folders[0] / "nasa.jpeg", images.texture((900, 600)), "JPEG", quality=92
    )
    alone, statuses, chance = make_web(settings).test_client(), set(), random.Random(7)
    with connection(apache.port) as client:
        for query_string, headers in made_up(policy, 4096, 150, seed=7):
            small = query_string.replace("name=a/b/c.png", "name=nasa.jpeg")
            url = target_of(small, chance, named_by)
            if url is None:
                continue
            status, found, _ = client.ask(url, list(headers.items()))
            statuses.add(status)
            if status == 200:
                wanted = alone.head(url, headers=headers, environ_overrides={"REQUEST_URI": url})
                assert found["imagekey"] == wanted.headers["imagekey"], (url, headers)
                told = ", ".join(part.strip() for part in found.get("vary", "").split(",") if part)
                assert told == wanted.headers.get("Vary", ""), (url, headers)

    assert statuses >= {200, 400, 404}
    assert statuses <= {200, 400, 404, 503}


def test_the_log_says_why(apache: Server) -> None:
    apache.ask(f"{NASA}&width=306", {"ECT": "3g", "Sec-CH-DPR": "2"})
    line = next(line for line in logged(apache) if "_306x_" in (line["imagekey"] or ""))

    assert (line["bandwidth"], line["bandwidth_from"]) == ("3g", "ECT")
    assert (line["dpr"], line["dpr_from"]) == ("2", "Sec-CH-DPR")


def _cache_folder(server: Server) -> Path:
    command = next(text for text in server.processes().values() if "httpd.conf" in text)
    (conf,) = [Path(word) for word in command.split() if word.endswith("httpd.conf")]
    return conf.parent / "cache"


def test_files_are_found_by_their_tags(apache: Server) -> None:
    folder = _cache_folder(apache)
    mine = [kept(apache, f"{NASA}&width={width}") for width in (304, 305)]
    kept(apache, "/images/?name=other.jpeg&width=304")

    assert remove_tagged(folder, [key_tag(mine[0].headers["imagekey"])]) == 1
    assert not hits(apache.ask(f"{NASA}&width=304"))
    assert hits(apache.ask(f"{NASA}&width=305"))
    assert remove_tagged(folder, [original_tag("nasa.jpeg")]) >= 1
    assert not hits(apache.ask(f"{NASA}&width=305"))
    assert hits(apache.ask("/images/?name=other.jpeg&width=304"))
    assert remove_tagged(folder, [EVERY_TAG]) >= 1
    assert not hits(apache.ask("/images/?name=other.jpeg&width=304"))
