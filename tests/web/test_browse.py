"""The gallery's pages: markup, links and headers, and clients who ask for what they should not."""

import hashlib
import json
import os
import re
import threading
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import images
import pytest
from conftest import ROOT
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from servers import await_true

from imgprocessor import app
from imgprocessor.app import make_web
from imgprocessor.config.jobs_settings import PreviewsSettings
from imgprocessor.config.settings import BrowseSettings, Settings, SigningSettings
from imgprocessor.geometry import Page
from imgprocessor.originals.folder import Folder
from imgprocessor.originals.pages import KnownPage
from imgprocessor.parts import make_delivery
from imgprocessor.policy.parse import parse_policy
from imgprocessor.request.hints import Hints
from imgprocessor.request.parameters import ImageQuery
from imgprocessor.service.gallery import library
from imgprocessor.web.browse import thumbnail_widths

HTML = {"Accept": "text/html,application/xhtml+xml,image/avif,*/*;q=0.8"}
NAMES = [
    "<img src=x onerror=alert(1)>.jpg", "it's \"quoted\".jpg", "%3Cscript%3E.jpg", "a&b;c=d.jpg",
    "#?+ .jpg", "{{ 7 * 7 }}.jpg", "写真.jpg", "--><!--.jpg", "<noscript>.jpg",
    "a,b 2x.jpg",
]  # fmt: skip


class _Page(HTMLParser):
    """What a browser without scripts makes of a page: elements, and the text in some."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag == "bdi":
            self.texts.append("")

    def handle_data(self, data: str) -> None:
        if self.texts and self.lasttag == "bdi" and data.strip():
            self.texts[-1] += data

    def all(self, tag: str, name: str) -> list[str]:
        return [attributes[name] for known, attributes in self.elements if name in attributes
                and known == tag]  # fmt: skip


@pytest.fixture
def browsing(settings: Settings) -> Settings:
    return replace(settings, browse=BrowseSettings(enabled=True))


@pytest.fixture
def gallery(browsing: Settings) -> FlaskClient:
    return make_web(browsing).test_client()


def _page(client: FlaskClient, url: str = "/browse/") -> _Page:
    answer = client.get(url, headers=HTML)
    assert answer.status_code == 200
    return _Page(answer.text)


def test_it_is_off_by_default(client: FlaskClient) -> None:
    assert client.get("/browse/", headers=HTML).status_code == 404


def test_a_page_has_its_headers(gallery: FlaskClient) -> None:
    answer = gallery.get("/browse/", headers=HTML)

    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert answer.headers["X-Robots-Tag"] == "noindex, nofollow"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    policy = answer.headers["Content-Security-Policy"]
    assert "script-src 'self'; style-src 'self'; img-src 'self' data:;" in policy
    assert "unsafe" not in policy
    page = _Page(answer.text)
    assert {"name": "robots", "content": "noindex, nofollow"} in [at for _, at in page.elements]
    # Nothing that the policy would refuse.
    assert not re.search(r" style=| on\w+=|<style|<script(?! type=\"module\" src)", answer.text)
    head = gallery.head("/browse/")
    assert (head.status_code, head.data) == (200, b"")


def test_all_that_a_page_needs_is_there(gallery: FlaskClient) -> None:
    page = _page(gallery)
    needed = [*page.all("script", "src"), *page.all("link", "href"), "/photoswipe.esm.min.js"]

    assert all((ROOT / "static" / name.removeprefix("/")).is_file() for name in needed)
    script = (ROOT / "static/browse.js").read_text()
    imported = re.findall(r'(?:from|import\() ?"(.+?)"', script)
    assert all((ROOT / "static" / name.removeprefix("/")).is_file() for name in imported)
    assert imported


def test_what_is_not_ours_is_what_its_authors_published() -> None:
    told = (ROOT / "static/photoswipe.txt").read_text()
    sums = dict(
        reversed(pair) for pair in re.findall(r"^([0-9a-f]{64})  (\S+)$", told, re.MULTILINE)
    )

    assert sums.keys() == {
        path.name for path in (ROOT / "static").glob("photoswipe*") if path.suffix != ".txt"
    }
    for name, known in sums.items():
        assert hashlib.sha256((ROOT / "static" / name).read_bytes()).hexdigest() == known
    assert "The MIT License" in told


def test_pictures_without_scripts(gallery: FlaskClient) -> None:
    """Each link and each address in a page is a picture."""
    page = _page(gallery)
    (srcset,) = page.all("img", "srcset")
    (link,) = [href for href in page.all("a", "href") if href.startswith("/images/")]

    for candidate in srcset.split(", "):
        url, width = candidate.split(" ")
        answer = gallery.get(url)
        assert answer.status_code == 200
        assert f"{images.decoded(answer.data).width}w" == width
    assert gallery.get(link).status_code == 200
    assert page.all("img", "loading") == ["lazy"]


def test_names_are_text_and_lead_to_their_files(gallery: FlaskClient, originals: Path) -> None:
    picture = images.texture((40, 30))
    for name in NAMES:
        images.save(originals / name.replace("/", "_"), picture, "JPEG")
        (originals / f"folder {name}").mkdir()
        images.save(originals / f"folder {name}" / "inner.jpg", picture, "JPEG")
    page = _page(gallery)

    assert sorted(page.texts[1:]) == sorted(
        [*(f"folder {name}" for name in NAMES), *(name[:-4] for name in NAMES), "nasa"]
    )
    assert {tag for tag, _ in page.elements} <= {
        "html", "head", "meta", "title", "link", "script", "body", "header", "h1", "main", "ul",
        "li", "a", "bdi", "span", "noscript", "img", "nav",
    }  # fmt: skip
    hrefs = page.all("a", "href")
    assert len(hrefs) == 2 * len(NAMES) + 1
    for href in (*hrefs, *page.all("img", "src")):
        assert gallery.get(href, headers=HTML).status_code == 200, href
    inner = next(href for href in hrefs if href.startswith("/browse/"))
    assert "inner" in _page(gallery, inner).texts


def test_a_folder_leads_to_those_above(gallery: FlaskClient, originals: Path) -> None:
    (originals / "a b" / "c").mkdir(parents=True)
    page = _page(gallery, "/browse/a%20b/c/")

    assert page.texts == ["Pictures", "a b", "c"]
    assert page.all("a", "href") == ["/browse/", "/browse/a%20b/"]
    assert "There is nothing to show here." in gallery.get("/browse/a%20b/c/", headers=HTML).text


def test_size_and_placeholder_are_known_at_the_next_load(gallery: FlaskClient) -> None:
    assert _page(gallery).all("img", "width") == []
    await_true(lambda: _page(gallery).all("img", "width"))
    page = _page(gallery)

    assert (page.all("img", "width"), page.all("img", "height")) == (["1534"], ["1022"])
    tiny, _ = page.all("img", "src")
    assert tiny.startswith("data:image/webp;base64,")
    assert len(tiny) < 300


def test_where_nothing_is_kept_nothing_is_made_behind_pages(
    browsing: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "InProcess", None)
    keeps_none = replace(browsing.disk_cache, max_renditions_bytes=0)

    _page(make_web(replace(browsing, disk_cache=keeps_none)).test_client())


def test_pages_go_on_after_a_name(gallery: FlaskClient, originals: Path) -> None:
    for number in range(150):
        os.link(originals / "nasa.jpeg", originals / f"IMG {number}.jpeg")
    (originals / "0 folder").mkdir()
    seen: list[str] = []
    url: str | None = "/browse/"
    while url:
        page = _page(gallery, url)
        seen += page.texts[1:]
        turns = {at["rel"]: at["href"] for tag, at in page.elements if tag == "a" and "rel" in at}
        assert ("prev" in turns) == (url != "/browse/")
        url = turns.get("next")

    assert seen == ["0 folder", *(f"IMG {number}" for number in range(150)), "nasa"]


def test_links_are_signed_where_they_must_be(browsing: Settings, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"{'k' * 43}\n{'l' * 43}\n")
    keys.chmod(0o600)
    gallery = make_web(replace(browsing, signing=SigningSettings(keys))).test_client()
    page = _page(gallery)
    (link,) = [href for href in page.all("a", "href") if href.startswith("/images/")]
    (srcset,) = page.all("img", "srcset")

    for url in [link, *(candidate.split(" ")[0] for candidate in srcset.split(", "))]:
        assert "&signature=" in url
        assert gallery.get(url).status_code == 200
        # The script adds what browsers show.
        assert gallery.get(f"{url}&formats=webp+gif&screen=412").status_code == 200
        assert gallery.get(re.sub("&signature=[^&]*", "", url)).status_code == 403


@pytest.fixture
def with_documents(browsing: Settings, originals: Path) -> Settings:
    """A gallery with a document of three pages, of which the first is drawn."""
    (originals / "a b.pdf").write_bytes(b"%PDF-1.7")
    settings = replace(
        browsing,
        uploads=replace(browsing.uploads, enabled=True),
        jobs=replace(browsing.jobs, enabled=True, redis="unix:///nowhere.sock"),
        previews=PreviewsSettings(enabled=True),
    )
    delivery = make_delivery(settings, keeps=True)
    query = ImageQuery(name="a b.pdf")
    document = delivery.found(delivery.plan(query, Hints())).original
    body = images.encoded(images.texture((20, 30)), "PNG")
    assert delivery.previews.pages is not None
    for page in (None, Page(2)):
        delivery.previews.pages.keep(document, page, body, KnownPage(len(body), "pdf", 3))
    return settings


def test_documents_are_as_if_they_were_not_there_unless_they_are_shown(
    gallery: FlaskClient, with_documents: Settings
) -> None:
    assert _page(gallery).texts == ["Pictures", "nasa"]
    assert gallery.get("/browse/a%20b.pdf", headers=HTML).status_code == 404
    assert "a b.pdf" in _page(make_web(with_documents).test_client()).texts


def test_pages_links_are_signed_where_they_must_be(
    with_documents: Settings, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"{'k' * 43}\n")
    keys.chmod(0o600)
    gallery = make_web(replace(with_documents, signing=SigningSettings(keys))).test_client()
    page = _page(gallery, "/browse/a%20b.pdf?page=2")
    (url,) = page.all("img", "src")

    assert [at["href"] for _, at in page.elements if "rel" in at and "page=" in at["href"]] == [
        "/browse/a%20b.pdf?page=1", "/browse/a%20b.pdf?page=3",
    ]  # fmt: skip
    assert "&page=2&signature=" in url
    assert gallery.get(url).status_code == 200
    assert gallery.get(f"{url}&formats=webp+gif&screen=412").status_code == 200
    assert gallery.get(url.replace("page=2", "page=1")).status_code == 403


def test_where_nobody_draws_a_page_says_so(with_documents: Settings) -> None:
    gallery = make_web(with_documents).test_client()
    answer = gallery.get("/browse/a%20b.pdf?page=3", headers=HTML)

    assert answer.status_code == 200
    assert '<p class="problem">No job can be taken at the moment.' in answer.text


def test_no_page_is_turned_to_that_the_policy_does_not_allow(
    with_documents: Settings, tmp_path: Path
) -> None:
    policy = tmp_path / "allowing.ini"
    policy.write_text((ROOT / "conf/policy.ini").read_text() + "[allowed]\nqualities = 50\n")
    settings = replace(with_documents, policy=replace(with_documents.policy, file=policy))
    page = _page(make_web(settings).test_client(), "/browse/a%20b.pdf")

    assert not [at for _, at in page.elements if at.get("rel") in {"prev", "next"}]


@pytest.mark.parametrize(
    ("ladder", "most", "widths"),
    [
        ("", 4096, [320, 480, 640, 960]),
        ("", 500, [320, 480]),
        ("", 100, [100]),
        ("[allowed]\nqualities = 50\n", 4096, [320, 480, 640, 960]),
        ("[allowed]\nsizes = 50 100 340 2000\n", 4096, [100, 340]),
        ("[allowed]\nsizes = 2000 3000\n", 4096, [2000]),
        (f"[allowed]\nsizes = {' '.join(str(100 + 20 * n) for n in range(40))}\n", 4096,
         [100, 260, 420, 580, 740]),
    ],
)  # fmt: skip
def test_thumbnails_are_on_the_ladder(ladder: str, most: int, widths: list[int]) -> None:
    policy = parse_policy((ROOT / "conf/policy.ini").read_text() + ladder, "policy.ini")

    assert thumbnail_widths(policy, most) == widths


BAD = [
    "/browse/..", "/browse/../browse/..", "/browse/%2e%2e/", "/browse/a%2f..", "/browse/%5c",
    "/browse/%00", "/browse//evil.example", "/browse//evil.example/", "/browse/%5Cevil.example",
    "/browse/%2F%2Fevil.example/", "/browse///", "/browse/none/", "/browse/nasa.jpeg",
    "/browse/nasa.jpeg/", "/browse/%ff/", "/browse/https://evil.example/", "/browse/.git/",
    "/browse/@eaDir/", "/browse/a%0ab/", "/browse/" + "x" * 300, "/browse/" + "x/" * 2000,
]  # fmt: skip


@pytest.mark.parametrize("path", BAD)
def test_what_is_no_folder_is_a_404_and_leads_nowhere(gallery: FlaskClient, path: str) -> None:
    answer = gallery.get("/", environ_overrides=_raw(path))

    assert answer.status_code == 404
    assert "Location" not in answer.headers
    assert answer.mimetype == "application/problem+json"
    assert json.loads(answer.text) == {
        "title": "There is no such folder.", "status": 404, "code": "folder-not-found",
    }  # fmt: skip
    assert answer.headers["image-error"] == "folder-not-found"
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["//browse/", "//browse//evil.example", "///evil.example/browse/"])
def test_slashes_before_lead_nowhere(gallery: FlaskClient, path: str) -> None:
    answer = gallery.get("/", environ_overrides=_raw(path))

    assert answer.status_code == 404
    assert "Location" not in answer.headers


def _raw(path: str) -> dict[str, str]:
    """Return a path as servers hand it over: decoded, byte by byte."""
    decoded = re.sub("%(..)", lambda found: chr(int(found[1], 16)), path)
    return {"PATH_INFO": decoded, "QUERY_STRING": ""}


def test_a_browser_is_told_on_a_page(gallery: FlaskClient) -> None:
    answer = gallery.get("/browse/%3Cb%3E/", headers=HTML)

    assert answer.status_code == 404
    assert answer.mimetype == "text/html"
    assert "There is no such folder." in answer.text
    assert "<b>" not in answer.text
    assert answer.headers["X-Robots-Tag"] == "noindex, nofollow"


def test_other_methods_are_refused(gallery: FlaskClient) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        answer = gallery.open("/browse/", method=method)
        assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")
        assert answer.mimetype == "application/problem+json"


def test_a_name_to_go_on_after_is_given_once(gallery: FlaskClient) -> None:
    assert gallery.get("/browse/?after=a&after=b").status_code == 400
    assert gallery.get("/browse/?after=a&other=b&after").status_code == 200
    assert gallery.get("/browse/?after=%FF%00%0a").status_code == 200


def test_a_mistake_of_ours_is_a_500_in_words(
    gallery: FlaskClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(library.Library, "page", fail)
    answer = gallery.get("/browse/")

    assert (answer.status_code, answer.mimetype) == (500, "application/problem+json")
    assert "ZeroDivisionError" in capsys.readouterr().err


@given(path=st.text(), query=st.text(alphabet=st.characters(max_codepoint=255)))
@hypothesis_settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_path_is_a_failure_of_the_server(gallery: FlaskClient, path: str, query: str) -> None:
    spelled = f"/browse/{path}".encode("utf-8", "surrogatepass").decode("latin-1")
    overrides = {"PATH_INFO": spelled, "QUERY_STRING": query}
    answer = gallery.get("/", environ_overrides=overrides)

    assert answer.status_code in {200, 400, 404}
    assert "Location" not in answer.headers


@pytest.mark.slow
def test_a_large_folder_is_there_at_once(
    gallery: FlaskClient, originals: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten thousand: what is looked at is a page's, however many there are."""
    for number in range(10_000):
        (originals / f"{number}.jpg").touch()
    looked_at: list[str] = []
    find = Folder.find

    def note(source: Folder, name: str) -> object:
        if threading.current_thread() is threading.main_thread():
            looked_at.append(name)
        return find(source, name)

    monkeypatch.setattr(Folder, "find", note)
    gallery.get("/browse/none/")  # what is loaded once
    began = time.thread_time()
    page = _page(gallery)

    assert time.thread_time() - began < 1  # 0.1 s on a machine with nothing else to do
    assert len(page.texts) == 61
    assert len(looked_at) <= 60
