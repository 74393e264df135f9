"""The upload page: what its template makes of every answer, and the page in real Chromium."""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import images
import pytest
from conftest import ROOT
from devtools import Device, Page, opened
from form_pages import HOSTILE, PHONE, SHOWN, STATES, Elements
from jinja2 import Environment, PackageLoader, StrictUndefined
from servers import Server, await_true, open_up, serving

from imgprocessor.config.upload_tokens import UPLOAD_RIGHTS, UploadToken, describe_token, token_hash

IDENT = "0123456789abcdef" * 2
TOKEN = "never-in-an-address"  # noqa: S105 - a test's
FORM = ["image", "sizes"]
"""What a form sends."""


@dataclass(frozen=True)
class Accepted:
    """An upload as the template takes it."""

    sizes: list[str] = field(default_factory=list)
    ident: str = IDENT
    document: str | None = None


def _text(
    *,
    needs_token: bool = False,
    accepted: Accepted | None = None,
    problem: str | None = None,
    status: str = "OK",
    documents: dict[str, str] | None = None,
) -> str:
    templates = Environment(
        loader=PackageLoader("imgprocessor.web"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    return templates.get_template("upload.html").render(
        needs_token=needs_token, max_bytes=1_500_000, accepted=accepted, problem=problem,
        status=status, documents=documents or {}, turns=bool(documents),
        suffixes=[".pdf"] if documents else [],
    )  # fmt: skip


PAGES = {
    "empty": _text(),
    "token": _text(needs_token=True),
    "accepted": _text(accepted=Accepted()),
    "sizes": _text(accepted=Accepted(["100x50", "200x100", "120x<60", "80x0"])),
    "document": _text(accepted=Accepted(document="pdf"), documents={"pdf": "PDF"}),
    "problem": _text(problem=HOSTILE, status="Bad Request"),
}


@pytest.mark.parametrize("state", PAGES)
def test_nothing_that_the_policy_of_pages_would_refuse(state: str) -> None:
    page = Elements(PAGES[state])

    assert page.all("script", "src") == ["/upload.js"]
    assert page.all("link", "href") == ["/favicon.svg", "/page.css", "/upload.css"]
    assert not [tag for tag, _ in page.found if tag in {"style", "iframe", "base"}]
    assert len(page.all("script", "type")) == len([tag for tag, _ in page.found if tag == "script"])
    attributes = {name for _, attributes in page.found for name in attributes}
    assert not [name for name in attributes if name == "style" or name.startswith("on")]


@pytest.mark.parametrize("state", PAGES)
def test_ids_are_unique_and_what_refers_to_them_is_right(state: str) -> None:
    text = PAGES[state]
    ids = re.findall(r' id="(.+?)"', text)
    referred = re.findall(r' (?:for|aria-labelledby|aria-describedby)="(.+?)"', text)

    assert len(ids) == len(set(ids))
    assert referred
    assert set(referred) <= set(ids)


@pytest.mark.parametrize("state", PAGES)
def test_a_form_without_scripts_sends_one_file_and_its_sizes(state: str) -> None:
    page = Elements(PAGES[state])
    (form,) = [attributes for tag, attributes in page.found if tag == "form"]

    assert (form["action"], form["method"], form["enctype"]) == (
        "/upload", "post", "multipart/form-data",
    )  # fmt: skip
    assert sorted(page.all("input", "name")) == FORM
    assert not page.all("input", "multiple")
    # With this, phones would not let a picture be chosen that is there.
    (camera,) = [attributes for _, attributes in page.found if "capture" in attributes]
    assert camera["id"] == "camera"
    assert "up to 1.4 MiB" in " ".join(page.text("span"))


def test_every_id_and_template_that_the_script_needs_is_there() -> None:
    script = (ROOT / "static/upload.js").read_text() + (ROOT / "static/form.js").read_text()
    needed = set(re.findall(r'(?:getElementById|made)\("(.+?)"\)', script))

    assert needed
    assert needed <= set(re.findall(r' id="(.+?)"', PAGES["token"]))


def test_all_that_the_page_needs_is_there() -> None:
    page = Elements(PAGES["empty"])

    scripts = [(ROOT / "static" / name).read_text() for name in ("upload.js", "form.js", "tus.js")]
    imported = re.findall(r'^(?:import|\}) .*from "(.+?)";', "".join(scripts), re.MULTILINE)
    assert set(imported) == {"/ask.js", "/form.js", "/tus.js"}
    for name in [*page.all("script", "src"), *page.all("link", "href"), *imported]:
        assert (ROOT / "static" / name.removeprefix("/")).is_file()


def test_a_token_is_asked_for_only_where_there_are_some_and_is_no_part_of_the_form() -> None:
    assert "Token" not in PAGES["empty"]
    assert "data-needs-token" not in PAGES["empty"]
    page = Elements(PAGES["token"])
    (token,) = [attributes for _, attributes in page.found if attributes.get("id") == "token"]
    assert token["type"] == "password"
    assert "name" not in token
    assert "value" not in token


def test_a_problem_is_text() -> None:
    page = Elements(PAGES["problem"])

    assert page.text("title") == ["Not uploaded: Bad Request"]
    assert page.text("p")[1] == HOSTILE.strip()
    assert page.all("p", "role") == ["alert"]
    assert not page.all("img", "src")


def test_what_was_accepted_is_shown_at_its_sizes() -> None:
    page = Elements(PAGES["sizes"])
    picture = f"/image/{IDENT}.jpg"
    sized = [f"{picture}?size={size}" for size in ("100x50", "200x100", "120x%3C60", "80x0")]

    assert page.all("a", "href") == [*sized, picture]
    # In full it is heavy: a link is enough.
    assert page.all("img", "src") == sized
    # The first two have one shape; the others show other parts of the picture.
    assert page.text("textarea") == [
        f"{sized[0]}&dpr=1 100w, {sized[1]}&dpr=1 200w",
        f"{sized[2]}&dpr=1 120w",
        f"{sized[3]}&dpr=1 80w",
    ]


def test_what_was_accepted_without_sizes_has_its_address() -> None:
    page = Elements(PAGES["accepted"])

    assert page.all("a", "href") == page.all("img", "src") == [f"/image/{IDENT}.jpg"]
    assert page.text("textarea") == []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    originals, folder = tmp_path_factory.mktemp("originals"), tmp_path_factory.mktemp("server")
    open_up(originals)
    with serving(folder, originals) as server:
        yield server


@pytest.fixture(scope="module")
def closed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Takes pictures with a token only."""
    originals, folder = tmp_path_factory.mktemp("originals"), tmp_path_factory.mktemp("closed")
    open_up(originals)
    token = UploadToken("shop", token_hash(TOKEN), frozenset(UPLOAD_RIGHTS))
    tokens = folder / "tokens"
    tokens.write_text(describe_token(token))
    tokens.chmod(0o600)
    if os.geteuid() == 0:  # then the daemons have a user of their own
        shutil.chown(tokens, "www-data")
    settings = f"[uploads]\nfolder = uploads\ntokens_file = {tokens}\n"
    with serving(folder, originals, settings=settings) as server:
        yield server


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three of more than one piece each, and what is none."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(3):
        images.save(folder / f"{number} & <b>.png", images.noise((700, 500 + number)), "PNG")
    (folder / "false.jpg").write_bytes(b"no picture" * 1000)
    return sorted(folder.iterdir())


LINKS = "[...document.querySelectorAll('.sizes a')].map(link => link.getAttribute('href'))"


def _ident(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:32]


def _await(page: Page, expression: str, value: object) -> None:
    await_true(lambda: page.run(expression) == value)


def _entered(token: str) -> str:
    """Return what enters a token, as its user does."""
    return (
        "(field => { field.value = '" + token + "'; field.dispatchEvent(new Event('change')); })"
        "(document.getElementById('token'))"
    )


@pytest.mark.chromium
def test_several_files_become_pictures_at_their_sizes(
    server: Server, pictures: list[Path], tmp_path: Path
) -> None:
    with opened(PHONE, tmp_path, f"http://localhost:{server.port}/upload") as page:
        page.run("document.getElementById('sizes').value = '100x50, 150x<60'")
        page.choose("#image", *pictures)
        _await(page, STATES, "done,done,done,failed")
        _await(page, SHOWN, 6)

        links = page.run(LINKS)
        for file in pictures[:3]:
            address = f"http://localhost:{server.port}/image/{_ident(file)}.jpg"
            assert {address, f"{address}?size=100x50", f"{address}?size=150x%3C60"} <= set(links)
        assert page.run("document.querySelectorAll('h3 b').length") == 0
        assert page.run("localStorage.length") == 0
        # No wider than the phone.
        assert page.run("document.documentElement.scrollWidth") == 360


@pytest.mark.chromium
def test_an_upload_goes_on_after_a_reload(server: Server, tmp_path: Path) -> None:
    picture = images.save(tmp_path / "again.png", images.noise((900, 900)), "PNG")
    url = f"http://localhost:{server.port}/upload"
    with opened(Device(1440), tmp_path / "profile", url) as page:
        # So that the first piece alone arrives.
        page.run(
            "const send = XMLHttpRequest.prototype.send; let pieces = 0;"
            "XMLHttpRequest.prototype.send = function (body) {"
            "  if (body && ++pieces > 1) return; send.call(this, body); }; 0"
        )
        page.choose("#image", picture)
        _await(page, "document.querySelector('progress')?.value > 0", True)
        await_true(lambda: page.run("pieces") == 2)
        page.browser.call("Page.navigate", page.session, url=f"{url}?again")
        _await(page, "document.querySelector('#earlier bdi')?.textContent", picture.name)

        page.run(
            "window.methods = []; const open = XMLHttpRequest.prototype.open;"
            "XMLHttpRequest.prototype.open = function (method, url) {"
            "  methods.push(method); open.call(this, method, url); }; 0"
        )
        page.choose("#image", picture)
        _await(page, SHOWN, 1)
        assert page.run("methods[0]") == "HEAD"
        assert "POST" not in page.run("methods")
        assert page.run("document.querySelector('#earlier').hidden")


@pytest.mark.chromium
def test_a_token_is_nowhere_but_in_the_tab_and_in_authorization(
    closed_server: Server, tmp_path: Path
) -> None:
    picture = images.save(tmp_path / "closed.png", images.noise((300, 300)), "PNG")
    url = f"http://localhost:{closed_server.port}/upload"
    with opened(Device(1440), tmp_path / "profile", url) as page:
        page.choose("#image", picture)
        _await(page, STATES, "failed")
        page.run(_entered("another"))
        _await(page, "document.querySelector('.state').textContent.includes('this token')", True)
        page.run(_entered(TOKEN))
        _await(page, SHOWN, 1)

        assert page.run("JSON.stringify(sessionStorage)") == f'{{"upload-token":"{TOKEN}"}}'
        elsewhere = (
            "JSON.stringify(localStorage) + document.cookie + location.href"
            " + document.documentElement.outerHTML"
            " + performance.getEntriesByType('resource').map(entry => entry.name)"
        )
        assert TOKEN not in page.run(elsewhere)
    assert TOKEN not in (closed_server.logs / "requests.log").read_text()


@pytest.mark.chromium
def test_the_page_without_scripts(server: Server, pictures: list[Path], tmp_path: Path) -> None:
    picture = images.save(tmp_path / "plain.png", images.noise((400, 300)), "PNG")
    url = f"http://localhost:{server.port}/upload"
    with opened(PHONE, tmp_path / "profile", url, scripts=False) as page:
        seen = "[...document.querySelectorAll('{}')].some(part => part.checkVisibility())"
        assert page.run(seen.replace("{}", "form > button.unscripted"))
        assert not page.run(seen.replace("{}", ".scripted"))

        page.choose("#image", pictures[-1])
        page.run("document.querySelector('form button').click()")
        _await(page, "document.querySelectorAll('[role=alert]').length", 1)

        page.run("document.getElementById('sizes').value = '60x0'")
        page.choose("#image", picture)
        page.run("document.querySelector('form button').click()")
        _await(page, SHOWN, 1)
        address = f"/image/{_ident(picture)}.jpg"
        assert page.run(LINKS) == [f"{address}?size=60x0", address]
        assert page.run("document.documentElement.scrollWidth") == 360
