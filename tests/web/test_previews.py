"""Pages of documents over HTTP, drawn by a real worker in a real sandbox."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import documents
import images
import office_files
import pytest
import redis
from conftest import ROOT
from flask.testing import FlaskClient
from job_workers import MAY, Workers, working
from PIL import Image
from servers import await_true
from uploaders import form
from werkzeug.test import TestResponse

pytestmark = pytest.mark.slow

RED, GREEN = "1 0 0", "0 1 0"


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    """A worker that draws documents."""
    with working("[previews]\nenabled = yes\ndocument_seconds = 20\n") as there:
        yield there


@pytest.fixture
def client(workers: Workers) -> FlaskClient:
    return workers.client


@pytest.fixture
def originals(workers: Workers) -> Path:
    return workers.folder / "originals"


def paper(*colours: str) -> bytes:
    """Return a PDF whose pages are of these colours, 200 x 100 points."""
    return documents.pdf([documents.filled("0 0 200 100", colour) for colour in colours])


def drawn(client: FlaskClient, url: str) -> TestResponse:
    """Ask until a page is not being made any more, as a page's script would."""
    deadline = time.monotonic() + 40
    while True:
        answer = client.get(url)
        if answer.headers.get("image-error") != "page-being-made":
            return answer
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _json(answer: TestResponse) -> dict[str, Any]:
    assert isinstance(answer.json, dict)
    return answer.json


def test_a_page_is_made_once_for_all_sizes(client: FlaskClient, originals: Path) -> None:
    (originals / "report.pdf").write_bytes(paper(RED, GREEN))
    url = "/images/?name=report.pdf&page=2&dpr=1&format=png"

    first = client.get(f"{url}&width=100")
    page = drawn(client, f"{url}&width=100")
    larger = client.get(f"{url}&width=300")

    assert (first.status_code, first.headers["image-error"]) == (404, "page-being-made")
    assert first.headers["Retry-After"] == "2"
    assert first.headers["Cache-Control"] == "public, max-age=1"
    assert images.decoded(first.data).size == (100, 75)  # the placeholder, at the size asked for
    assert (page.status_code, larger.status_code) == (200, 200)
    assert images.decoded(page.data).size == (100, 50)
    assert images.decoded(larger.data).size == (300, 150)
    assert images.corner_colours(images.decoded(page.data)) == ["green"] * 4
    assert "_p2_" in page.headers["imagekey"]
    assert "stale-while-revalidate" in page.headers["Cache-Control"]
    assert client.head(f"{url}&width=300").headers["ETag"] == larger.headers["ETag"]


def _page_jobs(workers: Workers) -> list[str]:
    """Return what is known of jobs that make pages."""
    server = redis.Redis.from_url(workers.url, decode_responses=True)
    known = [str(server.hget(key, "wanted")) for key in server.keys("imgprocessor:job:*")]
    return [wanted for wanted in known if '"kind": "page"' in wanted]


def test_a_failure_is_told_and_not_tried_again(
    client: FlaskClient, originals: Path, workers: Workers
) -> None:
    (originals / "locked.pdf").write_bytes(documents.encrypted_pdf(b"", user=b"secret"))
    (originals / "two.pdf").write_bytes(paper(RED, GREEN))
    locked = drawn(client, "/images/?name=locked.pdf&width=100")
    missing = drawn(client, "/images/?name=two.pdf&page=3&width=100")
    again = client.get("/images/?name=locked.pdf&width=300")

    told = "The document needs a password."
    assert (locked.status_code, locked.headers["image-error"]) == (422, "undrawable-document")
    assert locked.headers["image-error-detail"] == told
    assert (missing.status_code, missing.headers["image-error"]) == (404, "no-such-page")
    assert missing.headers["image-error-detail"] == "The document has no page 3: it has 2."
    assert again.headers["image-error-detail"] == told
    assert images.decoded(locked.data).size == (100, 75)
    await_true(lambda: not _page_jobs(workers))  # nobody fetches anything of them


def test_a_replaced_document_is_drawn_anew(client: FlaskClient, originals: Path) -> None:
    file, url = originals / "changing.pdf", "/images/?name=changing.pdf&width=100&dpr=1&format=png"
    file.write_bytes(paper(RED))
    first = drawn(client, url)
    file.write_bytes(paper(GREEN, RED))
    second = drawn(client, url)

    assert images.corner_colours(images.decoded(first.data)) == ["red"] * 4
    assert images.corner_colours(images.decoded(second.data)) == ["green"] * 4
    assert first.headers["ETag"] != second.headers["ETag"]
    not_modified = client.get(url, headers={"If-None-Match": second.headers["ETag"]})
    assert not_modified.status_code == 304


def test_a_purge_forgets_pages(client: FlaskClient, originals: Path, workers: Workers) -> None:
    (originals / "purged.pdf").write_bytes(paper(RED))
    url = "/images/?name=purged.pdf&width=100"
    assert drawn(client, url).status_code == 200
    command = [sys.executable, "-m", "imgprocessor", "purge", "purged.pdf"]
    conf = str(workers.folder / "imgprocessor.ini")
    subprocess.run([*command, "--conf", conf], cwd=ROOT, check=True, capture_output=True)

    assert client.get(url).headers["image-error"] == "page-being-made"
    assert drawn(client, url).status_code == 200


def test_its_name_says_nothing(client: FlaskClient, originals: Path) -> None:
    (originals / "report.jpg").write_bytes(paper(RED))
    (originals / "photo.pdf").write_bytes(images.encoded(images.texture((60, 40)), "JPEG"))
    (originals / "text.pdf").write_bytes(b"only text")

    assert drawn(client, "/images/?name=report.jpg&width=100").status_code == 200
    assert client.get("/images/?name=photo.pdf&width=30").status_code == 200
    of_picture = client.get("/images/?name=photo.pdf&width=30&page=2")
    assert of_picture.headers["image-error-detail"] == "A picture has one page."
    assert client.get("/images/?name=text.pdf").headers["image-error"] == "unsupported-original"
    assert client.head("/images/?name=photo.pdf&page=2").status_code == 404


def test_documents_are_converted(workers: Workers) -> None:
    done, other, locked, picture = workers.await_over([
        workers.begin(paper(RED, GREEN), page="2", width="50", format="png"),
        workers.begin(paper(RED, GREEN), page="2", width="60", format="png"),
        workers.begin(documents.encrypted_pdf(b"", user=b"secret")),
        workers.begin(images.encoded(images.texture((60, 40)), "PNG"), page="2"),
    ])  # fmt: skip
    page = images.decoded(workers.client.get(done["result_url"]).data)

    assert (page.size, images.corner_colours(page)) == ((50, 25), ["green"] * 4)
    assert other["submission_result"]["width"] == 60
    assert locked["submission_result"] == "The document needs a password."
    assert picture["submission_result"] == "A picture has one page."


def test_a_document_that_is_there_is_converted(
    client: FlaskClient, originals: Path, workers: Workers
) -> None:
    (originals / "named.pdf").write_bytes(paper(GREEN))
    form = {"name": "named.pdf", "width": "50", "format": "png"}
    job = _json(client.post("/convert", data=form, headers=MAY))["submission_task_id"]
    (told,) = workers.await_over([job])

    assert told["status"] == "SUCCESS"
    assert images.decoded(client.get(told["result_url"]).data).size == (50, 25)


def test_readiness_says_what_is_drawn(client: FlaskClient) -> None:
    checks = _json(client.get("/images/-/ready"))["checks"]

    assert checks["previews"] == "ok"


def test_nothing_is_left_of_what_was_drawn(
    client: FlaskClient, originals: Path, workers: Workers
) -> None:
    for number in range(5):
        (originals / f"left{number}.pdf").write_bytes(paper(RED) + bytes([number]))
        assert drawn(client, f"/images/?name=left{number}.pdf&width=50").status_code == 200

    def left() -> set[str]:
        kept = {path.name for path in (workers.folder / "uploads" / "jobs").rglob("*")}
        thumbnails = {path.parent.name for path in workers.folder.rglob("thumbnail")}
        return kept - {"thumbnail"} - thumbnails

    await_true(lambda: not left())


def test_a_file_beside_the_originals_is_in_no_page(client: FlaskClient, originals: Path) -> None:
    """Named as a path, as a URL, and as what stands beside; by drawings and by office documents."""
    canary = originals / "canary.png"
    images.save(canary, Image.new("RGB", (100, 100), "red"), "PNG")
    names = [str(canary), canary.as_uri(), "canary.png", "../originals/canary.png"]
    link = 'xlink:type="simple" xlink:show="embed" xlink:actuate="onLoad"'
    for number, name in enumerate(names):
        (originals / f"names{number}.svg").write_text(
            '<svg xmlns="http://www.w3.org/2000/svg" width="100" height="100">'
            f'<rect width="100" height="100" fill="#00f"/><image href="{name}" width="90"/></svg>'
        )
    frames = "".join(
        '<draw:frame svg:x="1cm" svg:y="1cm" svg:width="9cm" svg:height="9cm">'
        f'<draw:image xlink:href="{name}" {link}/></draw:frame>'
        for name in names
    )
    body = f"<office:text><text:p>x</text:p>{frames}</office:text>"
    (originals / "names.odt").write_bytes(office_files.odf("text", body))

    for document in ["names.odt", *(f"names{number}.svg" for number in range(len(names)))]:
        page = drawn(client, f"/images/?name={document}&width=300&dpr=1&format=png")
        assert page.status_code == 200, page.headers
        pixels = images.decoded(page.data).convert("RGB").tobytes()
        triples = zip(pixels[::3], pixels[1::3], pixels[2::3], strict=True)
        assert not any(r > 150 and g < 100 and b < 100 for r, g, b in triples), document


def test_a_head_says_what_a_get_does(client: FlaskClient, originals: Path) -> None:
    (originals / "headed.pdf").write_bytes(paper(RED))
    document = paper(GREEN) + b"% uploaded"
    content, headers = form(document)
    taken = _json(client.post("/upload", data=content, headers={**headers, **MAY}))

    for name in ("headed.pdf", f"{taken['content']['ident']}.jpg"):
        url = f"/images/?name={name}&page=9"
        assert client.head(url).status_code == 404  # being made, or not there
        assert drawn(client, url).headers["image-error"] == "no-such-page"
        assert client.head(url).headers["image-error"] == "no-such-page"
