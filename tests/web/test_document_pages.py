"""Documents in the gallery and on the upload page: drawn by a real worker, seen in Chromium."""

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import documents
import images
import pytest
from conftest import ROOT
from devtools import Device, Page, opened
from flask.testing import FlaskClient
from form_pages import PHONE, Elements
from job_workers import MAY, TOKEN, Workers, working
from servers import await_true
from uploaders import form
from werkzeug.serving import make_server
from werkzeug.test import TestResponse

from imgprocessor.app import add_page
from imgprocessor.load import load_settings
from imgprocessor.parts import make_delivery
from imgprocessor.request.hints import Hints
from imgprocessor.request.parameters import ImageQuery

pytestmark = pytest.mark.slow

HTML = {"Accept": "text/html,*/*;q=0.8"}
SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="60" height="30">'
    b'<rect width="60" height="30" fill="#08f"/></svg>'
)
COLOURS = ("1 0 0", "0 1 0", "0 0 1")


def paper(*colours: str) -> bytes:
    """Return a PDF whose pages are of these colours, 200 x 300 points."""
    pages = [
        documents.filled("0 0 200 300", colour)
        + b"0 g "
        + documents.said(f"Page {number}", at="40 250")
        for number, colour in enumerate(colours, 1)
    ]
    return documents.pdf(pages, media_box=b"0 0 200 300")


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    """A worker that draws documents, and what it is to draw."""
    with working("[previews]\nenabled = yes\n[browse]\nenabled = yes\n") as there:
        originals = there.folder / "originals"
        (originals / "report.pdf").write_bytes(paper(*COLOURS))
        (originals / "drawing.svg").write_bytes(SVG)
        (originals / "locked.pdf").write_bytes(documents.encrypted_pdf(b"", user=b"secret"))
        images.save(originals / "picture.jpg", images.texture((300, 200)), "JPEG")
        (originals / "hidden").mkdir()
        (originals / "hidden" / ".nomedia").touch()
        (originals / "hidden" / "report.pdf").write_bytes(paper(*COLOURS))
        add_page(there.client.application, ROOT / "static")
        yield there


@pytest.fixture
def client(workers: Workers) -> FlaskClient:
    return workers.client


@pytest.fixture(scope="module")
def site(workers: Workers) -> Iterator[str]:
    """The same for browsers."""
    server = make_server("127.0.0.1", 0, workers.client.application, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://localhost:{server.port}"
    server.shutdown()
    thread.join()


def _browse(client: FlaskClient, path: str = "") -> Elements:
    answer = client.get(f"/browse/{path}", headers=HTML)
    assert answer.status_code == 200
    return Elements(answer.text)


def _texts(page: Elements, tag: str, of_class: str) -> list[str]:
    """Return the texts of elements of a class, as far as they begin with one."""
    return [
        text
        for index, (known, attributes) in enumerate(page.found)
        if known == tag and attributes.get("class") == of_class
        for text in page.text_of(index)
    ]


def _turns(page: Elements) -> dict[str, str]:
    return {at["rel"]: at["href"] for tag, at in page.found if tag == "a" and "rel" in at}


def _await_drawn(client: FlaskClient, name: str) -> None:
    """Wait until a document's first page is known to be there, or why it is not."""
    await_true(lambda: "It is being made." not in client.get(f"/browse/{name}", headers=HTML).text)


# --- The gallery ---------------------------------------------------------------------------------


def test_documents_are_tiles_that_say_their_kind(client: FlaskClient) -> None:
    _await_drawn(client, "report.pdf")
    page = _browse(client)

    assert _texts(page, "span", "badge") == ["SVG", "PDF", "PDF, 3 pages"]
    assert [at["href"] for tag, at in page.found if at.get("class") == "document"] == [
        "/browse/drawing.svg", "/browse/locked.pdf", "/browse/report.pdf",
    ]  # fmt: skip
    assert "/images/?name=picture.jpg" in page.all("a", "href")
    sources = page.all("img", "src")
    assert "/images/?name=report.pdf&width=320&dpr=1" in sources


def test_the_tiny_picture_is_made_behind_the_page(client: FlaskClient) -> None:
    _await_drawn(client, "report.pdf")

    def tiles() -> list[tuple[str, str]]:
        page = _browse(client)
        written = [at for tag, at in page.found if tag == "img" and "report.pdf" in at["src"]]
        return [(at.get("width", ""), at.get("height", "")) for at in written]

    await_true(lambda: tiles() == [("1600", "2400")])


def test_pages_are_turned_by_links(client: FlaskClient) -> None:
    _await_drawn(client, "report.pdf")
    first = _browse(client, "report.pdf")
    second = _browse(client, _turns(first)["next"].removeprefix("/browse/"))
    last = _browse(client, _turns(second)["next"].removeprefix("/browse/"))

    assert _turns(first) == {"next": "/browse/report.pdf?page=2"}
    assert first.all("img", "src") == ["/images/?name=report.pdf"]
    assert _texts(second, "span", "count") == ["2 / 3"]
    assert second.all("img", "src") == ["/images/?name=report.pdf&page=2"]
    assert second.all("a", "href")[0] == "/browse/"
    assert _turns(last) == {"prev": "/browse/report.pdf?page=2"}


def test_a_page_says_what_is_wrong(client: FlaskClient) -> None:
    _await_drawn(client, "locked.pdf")
    page = _browse(client, "locked.pdf")
    _browse(client, "report.pdf?page=7")
    _await_drawn(client, "report.pdf?page=7")
    beyond = _browse(client, "report.pdf?page=7")

    assert _texts(page, "p", "problem") == ["The document needs a password."]
    assert not page.all("img", "src")
    assert _texts(beyond, "p", "problem") == ["The document has no page 7: it has 3."]
    assert _turns(beyond) == {"prev": "/browse/report.pdf?page=3"}


def test_what_is_being_made_says_so(client: FlaskClient, workers: Workers) -> None:
    (workers.folder / "originals" / "fresh").mkdir()
    (workers.folder / "originals" / "fresh" / "new.pdf").write_bytes(paper(*COLOURS[:2]))
    page = _browse(client, "fresh/new.pdf")

    assert "It is being made." in page.text("p")
    assert page.all("a", "href")[:3] == [
        "/browse/",
        "/browse/fresh/",
        "/browse/fresh/new.pdf?page=1",
    ]
    assert _turns(page) == {}
    _await_drawn(client, "fresh/new.pdf")
    assert _turns(_browse(client, "fresh/new.pdf")) == {"next": "/browse/fresh/new.pdf?page=2"}


@pytest.mark.parametrize(
    "path", ["hidden/report.pdf", "none.pdf", "picture.jpg", ".pdf", "../report.pdf", "report.pdf/"]
)
def test_what_is_no_document_to_be_shown_is_a_404(client: FlaskClient, path: str) -> None:
    assert client.get(f"/browse/{path}", headers=HTML).status_code == 404


@pytest.mark.parametrize("query", ["page=0", "page=x", "page=1&page=2", "page=%FF", "page=-1"])
def test_a_page_that_makes_no_sense_is_a_400(client: FlaskClient, query: str) -> None:
    assert client.get(f"/browse/report.pdf?{query}", headers=HTML).status_code == 400


# --- Uploads -------------------------------------------------------------------------------------


def _handed_in(client: FlaskClient, body: bytes, sizes: Sequence[str] = ()) -> TestResponse:
    content, headers = form(body, sizes)
    return client.post("/upload", data=content, headers={**headers, **MAY})


def _content(answer: TestResponse) -> dict[str, Any]:
    assert isinstance(answer.json, dict), answer.text
    return dict(answer.json["content"])


def _drawn(client: FlaskClient, url: str) -> TestResponse:
    await_true(lambda: client.get(url).headers.get("image-error") != "page-being-made", 40)
    return client.get(url)


def _command(workers: Workers, *words: str) -> str:
    conf = ("--conf", str(workers.folder / "imgprocessor.ini"))
    command = [sys.executable, "-m", "imgprocessor", "uploads", *words, *conf]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    return done.stdout


def test_documents_are_kept_as_they_are_and_shown(client: FlaskClient, workers: Workers) -> None:
    body = paper(*COLOURS)
    answer = _handed_in(client, body, ["100x0"])
    ident = hashlib.sha256(body).hexdigest()[:32]
    told = {"ident": ident, "sizes": [["100", "0"]], "format": "pdf"}

    assert (answer.status_code, _content(answer)) == (201, told)
    again = _handed_in(client, body)
    assert (again.status_code, _content(again)) == (200, told)
    record = json.loads(_command(workers, "show", ident, "--json"))
    assert Path(record["file"]).read_bytes() == body
    assert (record["format"], record["width"], record["metadata"]) == ("pdf", None, "all")

    name = f"/image/{ident}.jpg?dpr=1&format=png"
    second = _drawn(client, f"{name}&page=2&width=50")
    size = _drawn(client, f"/image/{ident}.jpg?size=100x0")
    assert images.decoded(second.data).convert("RGB").getpixel((25, 60)) == (0, 255, 0)
    assert images.decoded(size.data).size == (100, 150)
    size_of_second = client.get(f"/image/{ident}.jpg?size=100x0&page=2&format=png")
    colour = images.decoded(size_of_second.data).convert("RGB").getpixel((50, 120))
    assert colour == (0, 255, 0)
    assert client.get(f"/image/{ident}.jpg?page=4").status_code == 404


def test_sizes_are_kept_for_good_behind_the_answer(client: FlaskClient, workers: Workers) -> None:
    ident = _content(_handed_in(client, paper("0 1 1"), ["30x0"]))["ident"]

    def kept() -> list[str]:
        record = json.loads(_command(workers, "show", ident, "--json"))
        return [row["format"] for row in record["kept"]]

    await_true(lambda: None not in kept(), 40)


@pytest.mark.parametrize("body", [SVG, paper("1 1 0"), b"\n<!-- x -->" + SVG], ids=str)
def test_a_document_is_never_sent_as_it_is(client: FlaskClient, body: bytes) -> None:
    ident = _content(_handed_in(client, body))["ident"]
    shown = _drawn(client, f"/image/{ident}.jpg")

    assert client.get(f"/full/{ident}.jpg").status_code == 404
    assert shown.status_code == 200
    assert shown.mimetype in {"image/jpeg", "image/png"}
    for query in ("format=auto", "page=1", "size=1x1"):
        answer = client.get(f"/image/{ident}.jpg?{query}", headers={"Accept": "image/svg+xml,*/*"})
        assert answer.mimetype in {"image/jpeg", "image/png", "image/webp"}
        assert b"<svg" not in answer.data
        assert b"%PDF" not in answer.data


@pytest.mark.parametrize(
    "body", [b"text", b"<html><svg></svg></html>", b"PK\3\4", b"\xff\xd8\xff %PDF-"]
)
def test_what_is_neither_is_refused_in_words(client: FlaskClient, body: bytes) -> None:
    answer = _handed_in(client, body)

    assert answer.status_code in {415, 422}
    if answer.status_code == 415:
        assert answer.headers["image-error-detail"].startswith(
            "The file must be a JPEG, PNG, WebP or GIF picture, or a document (PDF, SVG"
        )


def test_removed_documents_leave_no_page(client: FlaskClient, workers: Workers) -> None:
    ident = _content(_handed_in(client, paper("1 0 1")))["ident"]
    assert _drawn(client, f"/image/{ident}.jpg?width=20").status_code == 200
    delivery = make_delivery(load_settings(workers.folder / "imgprocessor.ini"), keeps=True)
    query = ImageQuery(name=f"{ident}.jpg")
    original, pages = (
        delivery.found(delivery.plan(query, Hints())).original,
        delivery.previews.pages,
    )
    assert pages is not None
    assert pages.known(original, None) is not None
    _command(workers, "remove", ident)

    assert client.get(f"/image/{ident}.jpg?width=20").headers["image-error"] == "no-such-upload"
    assert pages.known(original, None) is None


def test_commands_know_documents(client: FlaskClient, workers: Workers, tmp_path: Path) -> None:
    ident = _content(_handed_in(client, paper("0 0 0", "1 1 1")))["ident"]
    tar = tmp_path / "some.tar"
    _command(workers, "export", str(tar), ident)
    file = Path(json.loads(_command(workers, "show", ident, "--json"))["file"])
    body = file.read_bytes()

    assert _command(workers, "verify", ident) == ""
    assert "  pdf " in _command(workers, "list")
    _command(workers, "remove", ident)
    assert _command(workers, "import", str(tar)).startswith("1 new, 0 known, 0 refused")
    assert file.read_bytes() == body
    file.write_bytes(body[:-1])
    conf = str(workers.folder / "imgprocessor.ini")
    command = [sys.executable, "-m", "imgprocessor", "uploads", "verify", ident, "--conf", conf]
    damaged = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert damaged.returncode == 1
    assert "its file is not the one that its record is of" in damaged.stdout
    file.write_bytes(body)


# --- In Chromium ---------------------------------------------------------------------------------

PAGE_DOWN, ESCAPE = 34, 27
COUNT = "document.querySelector('.pswp .count')?.textContent"
"""In the full-screen view: which page is shown."""
SHOWN = "document.querySelector('.pswp .pswp__item[aria-hidden=false] img.pswp__img')"
"""What is shown there."""


def _await(page: Page, expression: str, wanted: object, seconds: float = 40) -> None:
    seen: list[object] = []

    def is_so() -> bool:
        seen[:] = [page.run(expression)]
        return seen == [wanted]

    try:
        await_true(is_so, seconds)
    except AssertionError:
        pytest.fail(f"{expression} is {seen[0]!r}, not {wanted!r}")


def _is_coloured(selector: str, colour: str) -> str:
    """Return an expression: whether the middle of a picture has a colour."""
    return (
        f"(() => {{ const img = {selector}; if (!img?.naturalWidth) return false;"
        "const canvas = document.createElement('canvas'); canvas.width = canvas.height = 1;"
        "const context = canvas.getContext('2d');"
        "context.drawImage(img, img.naturalWidth / 2, img.naturalHeight / 2, 1, 1, 0, 0, 1, 1);"
        f"return context.getImageData(0, 0, 1, 1).data.slice(0, 3).join() === '{colour}'; }})()"
    )


@pytest.mark.chromium
def test_pages_are_turned_by_keyboard(site: str, workers: Workers, tmp_path: Path) -> None:
    folder = workers.folder / "originals" / "keys"
    folder.mkdir()
    (folder / "a.pdf").write_bytes(paper(*COLOURS) + b"% keys")
    (folder / "b.jpg").write_bytes(images.encoded(images.texture((60, 40)), "JPEG"))
    with opened(Device(1440), tmp_path, f"{site}/browse/keys/", seconds=120) as page:
        # At first it is being made.
        _await(page, "document.querySelectorAll('.document .frame img:not(.tiny)').length", 1)
        page.run("document.querySelector('.document').focus()")
        page.press("Enter", 13)
        _await(page, COUNT, "1 / 3")
        # From then on keys are its own.
        _await(page, "document.activeElement.classList.contains('pswp')", True)
        for count, colour in (("2 / 3", "0,255,0"), ("3 / 3", "0,0,255")):
            page.press("PageDown", PAGE_DOWN)
            _await(page, COUNT, count)
            _await(page, _is_coloured(SHOWN, colour), True)
        buttons = "[...document.querySelectorAll('.turner button')]"
        assert page.run(f"{buttons}.map((one) => one.ariaDisabled).join()") == "false,true"
        page.run(f"{buttons}[0].click()")
        _await(page, COUNT, "2 / 3")
        page.press("ArrowRight", 39)
        _await(page, "document.querySelector('.pswp .turner').hidden", True)
        page.press("Escape", ESCAPE)
        _await(page, "document.querySelector('.pswp')", None)
        assert page.run("document.title") == "keys"


@pytest.mark.chromium
def test_a_document_that_cannot_be_shown_says_why(site: str, tmp_path: Path) -> None:
    with opened(PHONE, tmp_path, f"{site}/browse/", "--force-prefers-reduced-motion") as page:
        told = "The document needs a password."
        _await(page, "document.querySelector('.wrong')?.textContent", told)
        page.run("document.querySelector('a[href$=\"locked.pdf\"]').click()")
        _await(page, "document.querySelector('.pswp__error-msg')?.textContent", told)
        assert page.run("document.documentElement.scrollWidth") == 360


@pytest.mark.chromium
def test_pages_are_turned_without_scripts(site: str, client: FlaskClient, tmp_path: Path) -> None:
    _await_drawn(client, "report.pdf")
    assert _drawn(client, "/images/?name=report.pdf&page=2").status_code == 200
    with opened(PHONE, tmp_path, f"{site}/browse/report.pdf", scripts=False) as page:
        page.run("document.querySelector('[rel=next]').click()")
        _await(page, "document.querySelector('.count')?.textContent", "2 / 3")
        _await(page, _is_coloured("document.querySelector('img.sheet')", "0,255,0"), True)
        assert page.run("document.documentElement.scrollWidth") == 360


@pytest.mark.chromium
def test_a_documents_own_page_is_there_once_it_is_made(
    site: str, workers: Workers, tmp_path: Path
) -> None:
    (workers.folder / "originals" / "own.pdf").write_bytes(paper(*COLOURS[:2]) + b"% own")
    with opened(Device(1440), tmp_path, f"{site}/browse/own.pdf") as page:
        _await(page, "document.querySelector('.count')?.textContent", "1 / 2")


@pytest.mark.chromium
def test_the_upload_page_turns_pages(site: str, tmp_path: Path) -> None:
    file, locked = tmp_path / "my <b>.pdf", tmp_path / "locked.pdf"
    file.write_bytes(paper("1 1 0", "0 1 1") + b"% uploaded")
    locked.write_bytes(documents.encrypted_pdf(b"", user=b"secret"))
    with opened(PHONE, tmp_path / "profile", f"{site}/upload", seconds=120) as page:
        page.run(f"document.getElementById('token').value = '{TOKEN}'")
        page.choose("#image", file, locked)
        shown = "document.querySelector('.sizes img')"
        _await(page, _is_coloured(shown, "255,255,0"), True)
        states = "[...document.querySelectorAll('.state')].map((one) => one.textContent.trim())"
        told = "Uploaded: PDF. The document needs a password."
        _await(page, f"{states}.sort().join('|')", f"Uploaded: PDF.|{told}")
        count = "document.querySelector('.turner .count').textContent"
        page.run("document.querySelector('.turner [data-way=\"1\"]').click()")
        _await(page, count, "Page 2")
        _await(page, _is_coloured(shown, "0,255,255"), True)
        assert page.run("document.querySelector('.sizes a').href").endswith(".jpg?page=2")
        page.run("document.querySelector('.turner [data-way=\"1\"]').click()")
        _await(page, count, "The document has no page 3: it has 2.")
        _await(page, _is_coloured(shown, "0,255,255"), True)
        assert page.run("document.querySelectorAll('h3 b').length") == 0
        assert page.run("document.documentElement.scrollWidth") == 360
