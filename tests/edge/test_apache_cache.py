"""Apache's own cache: a repeat never wakes Python, and nobody gets somebody else's picture."""

import itertools
import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import images
import pytest
import servers
from prometheus_samples import parsed, total
from servers import Answer, Server, serving

from imgprocessor.web.metrics import METRICS_PATH

pytestmark = pytest.mark.apache

SHARED_SECONDS = 2
HERD = 500
NASA = "/images/?name=nasa.jpeg"


@pytest.fixture(scope="module")
def apache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server whose answers Apache keeps for two seconds."""
    folder, originals = tmp_path_factory.mktemp("server"), tmp_path_factory.mktemp("originals")
    servers.open_up(originals)
    images.save(originals / "nasa.jpeg", images.texture((3000, 2000)), "JPEG", quality=92)
    images.save(originals / "noise.png", images.noise((2400, 1800)), "PNG")
    settings = f"[freshness]\nshared_max_age_seconds = {SHARED_SECONDS}\n"
    with serving(folder, originals, settings=settings) as server:
        yield server


def logged(server: Server, part: str) -> list[dict[str, Any]]:
    """Return what the application wrote of requests whose line has this part."""
    lines = (server.logs / "requests.log").read_text().splitlines()
    return [json.loads(line) for line in lines if part in line]


def cache(answer: Answer) -> str:
    return answer.headers["x-cache"].split()[0]


def kept(server: Server, path: str) -> Answer:
    """Ask until Apache has put its copy away, which it does after it has answered."""
    first = server.ask(path)
    assert cache(first) == "MISS"
    deadline = time.monotonic() + 5
    while "age" not in server.ask(path).headers:
        assert time.monotonic() < deadline
    return first


def test_a_repeat_never_wakes_python(apache: Server) -> None:
    path = f"{NASA}&width=111&bandwidth=3g&dpr=1"
    first = kept(apache, path)
    woken = len(logged(apache, "_111x_"))
    for _ in range(5):
        repeat = apache.ask(path)
        assert cache(repeat) == "HIT"
        assert repeat.body == first.body
        for name in ("imagekey", "etag", "content-type", "image-decision", "cache-control"):
            assert repeat.headers[name] == first.headers[name]

    assert len(logged(apache, "_111x_")) == woken


def test_times_of_one_request_are_not_told_to_another(apache: Server) -> None:
    path = f"{NASA}&width=112"

    assert "server-timing" in kept(apache, path).headers
    assert "server-timing" not in apache.ask(path).headers


def test_a_head_is_answered_from_what_a_get_left(apache: Server) -> None:
    path = f"{NASA}&width=113"
    got, head = kept(apache, path), apache.ask(path, method="HEAD")

    assert (cache(head), head.body) == ("HIT", b"")
    assert head.headers["etag"] == got.headers["etag"]


def test_a_picture_is_never_sent_in_parts(apache: Server) -> None:
    """They might be of two ways to it, whose bytes differ."""
    path = f"{NASA}&width=131"
    whole = kept(apache, path)
    for further in ({}, {"If-Range": whole.headers["last-modified"]}):
        answer = apache.ask(path, {"Range": "bytes=10-20", **further})
        assert (answer.status, answer.body) == (200, whole.body)


def test_a_copy_that_is_still_good_is_a_304_without_python(apache: Server) -> None:
    path = f"{NASA}&width=114"
    etag = kept(apache, path).headers["etag"]
    woken = len(logged(apache, "_114x_"))
    answer = apache.ask(path, {"If-None-Match": etag})

    assert (answer.status, answer.body) == (304, b"")
    assert len(logged(apache, "_114x_")) == woken


def test_no_host_header_makes_a_copy_of_its_own(apache: Server) -> None:
    path = f"{NASA}&width=115"
    kept(apache, path)

    assert cache(apache.ask(path, {"Host": "other.example"})) == "HIT"


VALUES = {
    "ECT": (None, "slow-2g", "2g", "3g", "4g", "nonsense"),
    "RTT": (None, "0", "300", "1500"),
    "Downlink": (None, "0.05", "10"),
    "Save-Data": (None, "on"),
    "HTTP-NW-TYPE": (None, "2G", "3g"),
    "HTTP-SCREENSIZE": (None, "320", "1080"),
    "Sec-CH-Viewport-Width": (None, "360", "800"),
    "Viewport-Width": (None, "360"),
    "Sec-CH-DPR": (None, "2", "3"),
    "DPR": (None, "1.5"),
    "Accept": (None, "image/avif,image/webp,*/*", "image/webp,*/*", "image/png", "*/*"),
    "User-Agent": (None, "a", "b"),
}
URLS = (NASA, f"{NASA}&width=60", f"{NASA}&screen=phone", f"{NASA}&bandwidth=2g", f"{NASA}&dpr=2")


def test_nobody_ever_gets_somebody_elses_picture(apache: Server) -> None:
    """Random headers and URLs, each asked for twice, against what Python alone says."""
    draw = random.Random(4)
    combinations = [
        (
            draw.choice(URLS),
            {name: value for name in VALUES if (value := draw.choice(VALUES[name])) is not None},
        )
        for _ in range(60)
    ]
    fresh = itertools.count()
    asked = combinations * 2
    draw.shuffle(asked)
    hits = 0
    for path, headers in asked:
        answer = apache.ask(path, headers)
        # A parameter that nobody knows makes another key for Apache, and the same imagekey.
        alone = apache.ask(f"{path}&fresh={next(fresh)}", headers, "HEAD")
        assert "age" not in alone.headers
        assert answer.headers["imagekey"] == alone.headers["imagekey"], (path, headers)
        # One of them may be the quick picture, and the other the best.
        etags = {known.headers["etag"].replace("-quick", "") for known in (answer, alone)}
        assert len(etags) == 1
        hits += "age" in answer.headers

    assert hits > len(combinations) / 2


def test_what_is_old_is_asked_after_and_not_rendered(apache: Server) -> None:
    path = f"{NASA}&width=116"
    first = kept(apache, path)
    time.sleep(SHARED_SECONDS + 1)
    second = apache.ask(path)

    assert cache(second) == "REVALIDATE"
    assert second.body == first.body
    *_, last = logged(apache, "_116x_")
    assert last["status"] == 304


def test_a_replaced_original_is_seen_when_the_copy_is_old(apache: Server) -> None:
    path = "/images/?name=replaced.png&width=20"
    images.save(apache.originals / "replaced.png", images.four_colours((40, 30)), "PNG")
    old = kept(apache, path)
    images.save(apache.originals / "replaced.png", images.texture((40, 30)), "PNG")
    time.sleep(SHARED_SECONDS + 1)
    new = apache.ask(path)

    assert (old.status, new.status) == (200, 200)
    assert old.headers["etag"] != new.headers["etag"]
    assert old.body != new.body


def test_an_old_picture_is_better_than_an_error(apache: Server) -> None:
    path = f"{NASA}&width=117"
    good = kept(apache, path)
    time.sleep(SHARED_SECONDS + 1)
    away = apache.originals.with_name("away")
    apache.originals.rename(away)
    try:
        stale = apache.ask(path)
        other = apache.ask(f"{NASA}&width=118")
    finally:
        away.rename(apache.originals)

    assert (stale.status, stale.body) == (200, good.body)
    assert (other.status, other.headers["cache-control"]) == (503, "no-store")
    assert apache.ask(f"{NASA}&width=118").status == 200


def test_json_for_one_is_no_json_for_another(apache: Server) -> None:
    path = "/images/?name=none.jpeg&width=40"
    as_json = apache.ask(path, {"Accept": "application/json"})
    picture = apache.ask(path, {"Accept": "image/webp"})

    assert as_json.headers["content-type"] == "application/problem+json"
    assert picture.headers["content-type"] == "image/jpeg"


def _ask_at_once(server: Server, paths: list[str]) -> list[Answer]:
    with ThreadPoolExecutor(len(paths)) as pool:
        return list(pool.map(server.ask, paths))


@pytest.mark.parametrize("past_apaches_cache", [False, True])
def test_of_a_herd_one_renders(apache: Server, *, past_apaches_cache: bool) -> None:
    """Over all processes, with and without Apache's help."""
    width = 701 + past_apaches_cache
    path = f"{NASA}&width={width}&bandwidth=4g&dpr=1&format=jpeg"
    paths = [f"{path}&x={number}" if past_apaches_cache else path for number in range(HERD)]
    answers = _ask_at_once(apache, paths)

    assert [answer.status for answer in answers] == [200] * HERD
    assert len({answer.body for answer in answers}) == 1
    sources = [line["source"] for line in logged(apache, f"_{width}x_")]
    assert len([source for source in sources if source != "store"]) == 1


def _places_taken(server: Server) -> float:
    samples = parsed(server.ask(METRICS_PATH).body.decode())
    return total(samples, "imgprocessor_places", state="taken")


def test_a_killed_daemons_place_is_taken(apache: Server) -> None:
    """Two ask two daemons for one picture that takes seconds; the one that has it made is killed,
    and the other has it made, without waiting longer than for that.
    """
    path = "/images/?name=noise.png&width=2400&max_bytes=1000&bandwidth=4g&dpr=1"
    answers: list[Answer] = []
    clients = [
        threading.Thread(target=lambda x=x: answers.append(apache.ask(f"{path}&x={x}")))
        for x in range(12)
    ]
    daemons = apache.daemons()
    for client in clients:
        client.start()
    servers.await_true(lambda: _places_taken(apache))
    os.kill(daemons[0], signal.SIGKILL)
    for client in clients:
        client.join()

    by_status = {answer.status: answer for answer in answers}
    assert set(by_status) <= {200, 500, 502}
    assert images.decoded(by_status[200].body).format == "JPEG"
    answered = [line for line in logged(apache, "noise.png_2400x_") if line["status"] == 200]
    assert {line["source"] for line in answered} <= {"original", "master", "store"}


def test_a_restarted_server_still_has_its_renditions(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    originals = tmp_path_factory.mktemp("originals")
    servers.open_up(originals)
    images.save(originals / "nasa.jpeg", images.texture((900, 600)), "JPEG")
    bodies = []
    for _ in range(2):
        with serving(tmp_path, originals) as server:
            bodies.append(server.ask(f"{NASA}&width=300").body)

    assert bodies[0] == bodies[1]
    assert [line["source"] for line in logged(server, "_300x_")] == ["original", "store"]
