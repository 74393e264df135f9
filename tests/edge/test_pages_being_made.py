"""Pages of documents in real caches: the placeholder gives way to the page by itself, in time."""

import time
from collections.abc import Iterator
from pathlib import Path

import caches
import documents
import images
import pytest
import servers
from servers import Server, ask, await_true, serving

from imgprocessor.load import load_settings

pytestmark = [pytest.mark.apache, pytest.mark.caches, pytest.mark.slow]

CACHES = ["apache", "nginx", "varnish"]
KEPT_SECONDS = 1
COLOURS = {"red": "1 0 0", "green": "0 1 0", "blue": "0 0 1"}


@pytest.fixture(scope="module")
def apache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a worker that draws documents, and one with a page for each cache."""
    originals = tmp_path_factory.mktemp("originals")
    servers.open_up(originals)
    pages = [documents.filled("0 0 200 100", colour) for colour in COLOURS.values()]
    (originals / "report.pdf").write_bytes(documents.pdf(pages))
    with serving(tmp_path_factory.mktemp("server"), originals, "--jobs") as server:
        yield server


@pytest.mark.parametrize("cache", CACHES)
def test_a_page_follows_its_placeholder_by_itself(
    cache: str, apache: Server, tmp_path: Path
) -> None:
    number = CACHES.index(cache) + 1
    path = f"/images/?name=report.pdf&page={number}&bandwidth=4g&dpr=1&format=png&width="
    if cache == "apache":
        _see(path, apache.port, apache.port, next(iter(COLOURS)))
        return
    settings = load_settings(servers.configuration(tmp_path / "conf", ""))
    with caches.in_front(cache, settings, apache.port, tmp_path) as port:  # type: ignore[arg-type]
        _see(path, port, apache.port, [*COLOURS][number - 1])


def _see(path: str, port: int, behind: int, colour: str) -> None:
    first = ask(port, f"{path}300")
    asked = time.monotonic()
    # Through the cache nobody asks again until the page is there.
    await_true(lambda: ask(behind, f"{path}301").status == 200, 40)
    # nginx counts whole seconds.
    time.sleep(max(0.0, asked + KEPT_SECONDS + 1.1 - time.monotonic()))
    page = ask(port, f"{path}300")

    assert (first.status, first.headers["image-error"]) == (404, "page-being-made")
    assert first.headers["cache-control"] == f"public, max-age={KEPT_SECONDS}"
    assert page.status == 200
    assert images.corner_colours(images.decoded(page.body)) == [colour] * 4
    await_true(lambda: "HIT" in ask(port, f"{path}300").headers["x-cache"])
