"""The page of jobs: what its template makes of every answer, and the page in real Chromium."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import images
import pytest
from conftest import ROOT
from devtools import BrowserError, Device, Page, opened
from form_pages import HOSTILE, PHONE, SHOWN, STATES, Elements
from redises import redis_server
from servers import Server, await_true, open_up, serving

from imgprocessor.jobs.records import Failure, JobRecord, State, Wanted
from imgprocessor.web.jobs.pages import ConvertPages
from imgprocessor.web.uploads.pages import TakenDocuments

JOB = "AGsL4X-XbW-c1nRWLW6Gr3EzZ3FObkMm"


def _record(state: State, failure: str | None = None) -> JobRecord:
    made = {"format": "jpeg", "width": 100, "height": 67, "bytes": 1234}
    return JobRecord(
        JOB, Wanted("", "quick", ""), state, 0.0, 0.0, 0.0,
        failure=None if failure is None else Failure("a", failure),
        result=made if state == "SUCCESS" else {},
    )  # fmt: skip


PAGES = ConvertPages(1_500_000, 4096, needs_token=False)
TEXTS = {
    "empty": PAGES.page(),
    "token": ConvertPages(1_500_000, 4096, needs_token=True).page(),
    "documents": ConvertPages(
        1_500_000, 4096, needs_token=False, documents=TakenDocuments(["pdf"], has_pages=True)
    ).page(),
    "waits": PAGES.of_job(_record("PENDING"), 202),
    "done": PAGES.of_job(_record("SUCCESS"), 200),
    "failed": PAGES.of_job(_record("FAILURE", HOSTILE), 200),
    "problem": PAGES.page(400, problem=HOSTILE),
}


@pytest.mark.parametrize("state", TEXTS)
def test_nothing_that_the_policy_of_pages_would_refuse(state: str) -> None:
    text = TEXTS[state].get_data(as_text=True)
    page, ids = Elements(text), re.findall(r' id="(.+?)"', text)

    assert page.all("script", "src") == ["/convert.js"]
    assert page.all("link", "href") == ["/favicon.svg", "/page.css", "/upload.css"]
    assert not [tag for tag, _ in page.found if tag in {"style", "iframe", "base"}]
    attributes = {name for _, attributes in page.found for name in attributes}
    assert not [name for name in attributes if name == "style" or name.startswith("on")]
    assert "<script>alert" not in text
    assert len(ids) == len(set(ids))
    assert set(re.findall(r' (?:for|aria-labelledby|aria-describedby)="(.+?)"', text)) <= set(ids)


def test_a_form_without_scripts_sends_one_file_and_what_is_asked_of_it() -> None:
    page = Elements(TEXTS["token"].get_data(as_text=True))
    (form,) = [attributes for tag, attributes in page.found if tag == "form"]

    assert (form["action"], form["method"], form["enctype"]) == (
        "/convert", "post", "multipart/form-data",
    )  # fmt: skip
    named = [*page.all("input", "name"), *page.all("select", "name")]
    assert sorted(named) == ["file", "fit", "format", "height", "width"]


def test_documents_are_taken_where_they_are_shown() -> None:
    with_documents, without = (
        TEXTS[state].get_data(as_text=True) for state in ("documents", "empty")
    )

    assert 'image/gif,.pdf" aria' in with_documents
    assert "JPEG, PNG, WebP, GIF or PDF, up to" in with_documents
    assert Elements(with_documents).all("input", "name").count("page") == 1
    assert 'image/gif" aria' in without
    assert "JPEG, PNG, WebP or GIF, up to" in without


def test_it_looks_again_without_scripts_until_it_is_over() -> None:
    for state, text in TEXTS.items():
        shown = text.get_data(as_text=True)
        refreshes = f'<noscript><meta http-equiv="refresh" content="2; url=/convert/{JOB}">'
        assert (refreshes in shown) == (state == "waits"), state
        assert (f'<img src="/convert/{JOB}/thumbnail"' in shown) == (state == "done"), state


def test_all_that_the_script_needs_is_there() -> None:
    script = (ROOT / "static/convert.js").read_text()
    found = re.findall(
        r' id="(.+?)"', "".join(one.get_data(as_text=True) for one in TEXTS.values())
    )

    assert set(re.findall(r'(?:getElementById|made)\("(.+?)"\)', script)) <= set(found)
    (words,) = re.findall(r"const WORDS = \[(.+)\]", script)
    assert set(re.findall(r'"(\w+)"', words)) <= set(found)
    for name in re.findall(r'^(?:import|\}) .*from "(.+?)";', script, re.MULTILINE):
        assert (ROOT / "static" / name.removeprefix("/")).is_file()


# --- In Chromium ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three, and what is none."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(3):
        images.save(folder / f"{number} & <b>.png", images.noise((400, 300 + number)), "PNG")
    (folder / "false.jpg").write_bytes(b"no picture")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    originals, folder = tmp_path_factory.mktemp("originals"), tmp_path_factory.mktemp("server")
    open_up(originals)
    with serving(folder, originals) as server:
        yield server


@pytest.mark.chromium
def test_several_files_become_thumbnails(
    server: Server, pictures: list[Path], tmp_path: Path
) -> None:
    with opened(PHONE, tmp_path, f"http://localhost:{server.port}/convert") as page:
        page.run("document.getElementById('width').value = '60'")
        page.choose("#image", *pictures)
        await_true(lambda: page.run(STATES) == "done,done,done,failed")
        await_true(lambda: page.run(SHOWN) == 3)

        widths = "[...document.querySelectorAll('.sizes img')].map(img => img.naturalWidth)"
        assert [width for width in page.run(widths) if width] == [60, 60, 60]
        failed = "document.querySelector('.upload[data-state=failed] .state').textContent"
        assert page.run(failed).startswith("The original is not a JPEG")
        assert page.run("document.querySelectorAll('h3 b').length") == 0
        # No wider than the phone.
        assert page.run("document.documentElement.scrollWidth") == 360


@pytest.mark.chromium
def test_a_job_that_waits_is_cancelled_by_keyboard(
    pictures: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, of_redis = tmp_path_factory.mktemp("waits"), tmp_path_factory.mktemp("redis")
    open_up(of_redis)
    open_up(originals := tmp_path_factory.mktemp("originals"))
    with redis_server(of_redis, "--unixsocketperm", "777") as url:
        settings = f"[jobs]\nredis = {url}\n"
        with serving(folder / "server", originals, settings=settings) as server:
            address = f"http://localhost:{server.port}/convert"
            with opened(Device(1440), folder / "profile", address) as page:
                page.choose("#image", pictures[0])
                state = "document.querySelector('.state')?.textContent"
                await_true(lambda: page.run(state) == "Waits for a worker")
                page.run("document.querySelector('.end').focus()")
                page.press("Enter", 13)
                await_true(lambda: page.run(state) == "The job was cancelled.")

                assert page.run("document.querySelector('.end').textContent").startswith("Remove")
                page.press("Enter", 13)
                await_true(lambda: page.run("document.querySelectorAll('.upload').length") == 0)


def _width(page: Page) -> int | None:
    """Return the thumbnail's; None without one, or where the page is being loaded again."""
    with contextlib.suppress(BrowserError):
        width: int | None = page.run("document.querySelector('.sizes img')?.naturalWidth")
        return width
    return None


@pytest.mark.chromium
def test_the_page_works_without_scripts(
    server: Server, pictures: list[Path], tmp_path: Path
) -> None:
    url = f"http://localhost:{server.port}/convert"
    with opened(PHONE, tmp_path, url, scripts=False) as page:
        page.choose("#image", pictures[0])
        page.run("document.querySelector('main form > button').click()")
        await_true(lambda: _width(page) == 100)

        assert re.fullmatch("/convert/[A-Za-z0-9_-]{32}", page.run("location.pathname"))
