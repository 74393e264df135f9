"""Quick answers in real caches: each sends the best in their place, soon and for good."""

from collections.abc import Iterator
from pathlib import Path

import caches
import images
import pytest
import servers
from servers import Answer, Server, ask, await_true, serving

from imgprocessor.load import load_settings

pytestmark = pytest.mark.apache

QUICK_SECONDS = 2
SETTINGS = (
    f"[freshness]\nquick_max_age_seconds = {QUICK_SECONDS}\nstale_while_revalidate_seconds = 0\n"
)
AVIF = {"Accept": "image/avif,image/webp,*/*"}


@pytest.fixture(scope="module")
def apache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    originals = tmp_path_factory.mktemp("originals")
    servers.open_up(originals)
    images.save(originals / "nasa.jpeg", images.texture((1500, 1000)), "JPEG", quality=92)
    with serving(tmp_path_factory.mktemp("server"), originals, settings=SETTINGS) as server:
        yield server


@pytest.fixture(params=["apache", "nginx", "varnish"])
def port(request: pytest.FixtureRequest, apache: Server, tmp_path: Path) -> Iterator[int]:
    """A cache's: Apache's own, or one in front of it."""
    if request.param == "apache":
        yield apache.port
        return
    settings = load_settings(servers.configuration(tmp_path / "conf", SETTINGS))
    with caches.in_front(request.param, settings, apache.port, tmp_path) as front:
        yield front


def _is_quick(answer: Answer) -> bool:
    return "effort=quick" in answer.headers["image-decision"]


def test_the_best_takes_the_quick_ones_place(
    port: int, apache: Server, request: pytest.FixtureRequest
) -> None:
    width = 300 + ["apache", "nginx", "varnish"].index(request.node.callspec.params["port"])
    path = f"/images/?name=nasa.jpeg&width={width}&bandwidth=4g&dpr=1"
    answers = [ask(port, path, AVIF)]

    def is_best() -> bool:
        answers.append(ask(port, path, AVIF))
        return not _is_quick(answers[-1])

    await_true(is_best)
    quick, best = answers[0], answers[-1]

    assert {answer.status for answer in answers} == {200}
    assert _is_quick(quick)
    assert f"s-maxage={QUICK_SECONDS}," in quick.headers["cache-control"]
    # Every answer is one of the two, whole, with the validator that belongs to it.
    known = {answer.headers["etag"]: answer.body for answer in (quick, best)}
    assert {(answer.headers["etag"], answer.body) for answer in answers} == {*known.items()}
    assert len(best.body) < len(quick.body)
    # It is kept as any other is, and asked of the application no more.
    await_true(lambda: "HIT" in ask(port, path, AVIF).headers["x-cache"])
    woken = (apache.logs / "requests.log").read_text().count(f"_{width}x_")
    for _ in range(3):
        repeat = ask(port, path, AVIF)
        assert (repeat.body, repeat.headers["etag"]) == (best.body, best.headers["etag"])
        assert "s-maxage=600," in repeat.headers["cache-control"]
    assert (apache.logs / "requests.log").read_text().count(f"_{width}x_") == woken
