"""The gallery through real Apache, and in real, headless Chromium."""

import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import caches
import images
import pytest
from devtools import Device, Page, opened
from servers import Server, ask, await_true, open_up, serving

from imgprocessor.config.settings import Settings
from imgprocessor.edge.writers import Cache

pytestmark = pytest.mark.apache

HTML = {"Accept": "text/html,*/*;q=0.8"}
EVIL = "<img src=x onerror=document.title='evil'>.jpg"
NAMES = ("1.jpg", "2 & 3.png", EVIL)
ENTER, ESCAPE, RIGHT = 13, 27, 39


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    pictures = tmp_path_factory.mktemp("pictures")
    open_up(pictures)
    for name in NAMES:
        kind = "PNG" if name.endswith(".png") else "JPEG"
        images.save(pictures / name, images.texture((900, 600)), kind)
    (pictures / "a folder" / "many").mkdir(parents=True)
    for number in range(30):
        file = pictures / "a folder" / "many" / f"{number}.jpg"
        images.save(file, images.texture((160, 120)), "JPEG")
    with serving(tmp_path_factory.mktemp("server"), pictures) as server:
        yield server


def test_pages_and_what_they_need_are_served(server: Server) -> None:
    page = server.ask("/browse/", HTML)
    answers = [
        server.ask(url) for url in re.findall(r'(?:href|src)="(/\w[^"?]*)"', page.body.decode())
    ]

    assert f"http://localhost:{server.port}/browse/" in "\n".join(server.printed)
    assert [page.status, *(answer.status for answer in answers)] == [200] * (len(answers) + 1)
    assert page.headers["content-security-policy"].startswith("default-src 'none'; script-src")
    assert page.headers["cache-control"] == "private, no-cache"
    assert page.headers["accept-ch"]
    assert (
        server.ask("/photoswipe.esm.min.js").headers["content-type"].startswith("text/javascript")
    )
    assert server.ask("/browse").status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/browse//evil.example", "/browse//evil.example/", "/browse/%5Cevil.example",
        "/browse/%2F%2Fevil.example", "//evil.example/browse/", "/browse/..%2f", "/browse/%00",
        "/browse/%2e%2e/browse/none", "/browse/none", "/browse/1.jpg", "/browse/.hidden",
        "/browse/%ff", "/browse/../../etc",
    ],
)  # fmt: skip
def test_what_is_no_folder_leads_nowhere(server: Server, path: str) -> None:
    answer = server.ask(path, {"Host": "evil.example"})

    assert answer.status in {400, 404}
    assert "location" not in answer.headers


def test_new_files_are_seen_and_what_may_not_be_read_is_not_there(server: Server) -> None:
    folder = server.originals / "comes"
    folder.mkdir()
    assert b"comes" in server.ask("/browse/", HTML).body
    images.save(folder / "new.jpg", images.texture((90, 60)), "JPEG")
    assert b"new.jpg" in server.ask("/browse/comes/", HTML).body
    folder.chmod(0o700)
    answer = server.ask("/browse/comes/", HTML)

    assert (answer.status, answer.headers["image-error"]) == (404, "folder-not-found")
    (folder / "new.jpg").unlink()
    folder.rmdir()
    assert b"comes" not in server.ask("/browse/", HTML).body


def test_placeholders_are_made_behind_pages(server: Server) -> None:
    def known() -> int:
        return server.ask("/browse/a%20folder/many/", HTML).body.count(b"data:image/webp;base64,")

    await_true(lambda: known() == 30)


@pytest.mark.caches
@pytest.mark.parametrize("cache", ["varnish", "nginx"])
def test_caches_in_front_pass_pages_as_they_are(
    server: Server, settings: Settings, cache: Cache, tmp_path: Path
) -> None:
    folder = server.originals / f"{cache} ?&%+;=a"
    folder.mkdir()
    path = f"/browse/{quote(folder.name)}/"
    with caches.in_front(cache, settings, server.port, tmp_path) as port:
        for name in ("one", "two"):
            assert name.encode() not in ask(port, path, HTML).body
            images.save(folder / f"{name}.jpg", images.texture((90, 60)), "JPEG")
            answer = ask(port, path, HTML)
            assert name.encode() in answer.body
            assert answer.headers["cache-control"] == "private, no-cache"
        (thumbnail,) = re.findall(rb'src="(/images/[^"]*one.jpg&amp;width=320[^"]*)"', answer.body)
        assert ask(port, thumbnail.decode().replace("&amp;", "&")).status == 200
        evil = ask(port, "/browse//evil.example")
        assert (evil.status, "location" in evil.headers) == (404, False)
    shutil.rmtree(folder)


# --- In Chromium ---------------------------------------------------------------------------------

PHONE = Device(360, 3, touch=True, phone=True)
THUMBNAILS = "[...document.querySelectorAll('.frame img:not(.tiny)')]"
SHOWN = f"{THUMBNAILS}.filter((img) => img.complete && img.naturalWidth > 100).length"
NAME = "document.querySelector('.pswp .name')?.textContent"


def _url(server: Server, path: str = "") -> str:
    return f"http://localhost:{server.port}/browse/{quote(path)}"


def _await(page: Page, expression: str, wanted: object) -> None:
    seen: list[object] = []

    def is_so() -> bool:
        seen[:] = [page.run(expression)]
        return seen == [wanted]

    try:
        await_true(is_so)
    except AssertionError:
        pytest.fail(f"{expression} is {seen[0]!r}, not {wanted!r}")


@pytest.mark.chromium
def test_the_full_screen_view_by_keyboard(server: Server, tmp_path: Path) -> None:
    with opened(Device(1440), tmp_path, _url(server)) as page:
        _await(page, SHOWN, len(NAMES))
        page.run("document.querySelector('.pictures a').focus()")
        page.press("Enter", ENTER)
        # From then on keys are its own.
        _await(page, "document.activeElement.classList.contains('pswp')", True)
        for name in NAMES:
            _await(page, NAME, name.rpartition(".")[0])
            page.press("ArrowRight", RIGHT)
        page.press("Escape", ESCAPE)
        _await(page, "document.querySelector('.pswp')", None)

        assert page.run("document.activeElement.href").endswith("name=1.jpg")
        assert page.run("document.title") == "Pictures"
        assert page.run("document.querySelectorAll('[onerror]').length") == 0


@pytest.mark.chromium
def test_the_full_screen_view_by_touch(server: Server, tmp_path: Path) -> None:
    # It takes fingers once it has opened: at once, for whom nothing moves.
    with opened(PHONE, tmp_path, _url(server), "--force-prefers-reduced-motion") as page:
        _await(page, SHOWN, len(NAMES))
        page.run("document.querySelector('.pictures a').click()")
        _await(page, NAME, "1")
        _await(page, "document.querySelector('.pswp').classList.contains('pswp--ui-visible')", True)
        page.swipe(320, 40, 450)
        _await(page, NAME, "2 & 3")


@pytest.mark.chromium
def test_the_page_without_scripts(server: Server, tmp_path: Path) -> None:
    with opened(PHONE, tmp_path, _url(server), scripts=False) as page:
        _await(page, SHOWN, len(NAMES))
        # No wider than the phone.
        assert page.run("document.documentElement.scrollWidth") == 360


@pytest.mark.chromium
def test_the_demonstration_page_leads_to_the_gallery(server: Server, tmp_path: Path) -> None:
    with opened(Device(1440), tmp_path, f"http://localhost:{server.port}/?name=1.jpg") as page:
        _await(page, "document.querySelector('#gallery').hidden", False)
        assert page.run("document.querySelector('#gallery a').href") == _url(server)


class _Busy:
    """Stands before the server, and says once of each picture that there is no time."""

    def __init__(self, server: Server) -> None:
        self.asked: Counter[str] = Counter()
        self.most_at_once = 0
        self._at_once = 0
        self._changing = threading.Lock()
        self._server = server

    def answer(self, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        if not path.startswith("/images/"):
            answer = self._server.ask(path, headers)
            return answer.status, answer.headers, answer.body
        with self._changing:
            self.asked[path] += 1
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            is_first = self.asked[path] == 1
        try:
            if is_first:
                time.sleep(0.05)  # so that they meet
                return 503, {"Retry-After": "1", "Cache-Control": "no-store"}, b""
            answer = self._server.ask(path, headers)
            return answer.status, answer.headers, answer.body
        finally:
            with self._changing:
                self._at_once -= 1


@pytest.fixture
def busy(server: Server) -> Iterator[tuple[_Busy, str]]:
    front = _Busy(server)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, headers, body = front.answer(self.path, dict(self.headers))
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in {"connection", "content-length", "date", "server"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as site:
        thread = threading.Thread(target=site.serve_forever)
        thread.start()
        try:
            yield front, f"http://localhost:{site.server_port}"
        finally:
            site.shutdown()
            thread.join()


@pytest.mark.chromium
@pytest.mark.slow
def test_a_server_that_has_no_time_leaves_no_picture_broken(
    busy: tuple[_Busy, str], tmp_path: Path
) -> None:
    front, base = busy
    with opened(Device(1440), tmp_path, f"{base}/browse/a%20folder/many/") as page:
        _await(page, SHOWN, 30)
        assert page.run("document.querySelectorAll('.wrong').length") == 0

    assert len(front.asked) == 30
    # Once in vain, once for the script; what is shown after that the browser has.
    assert {*front.asked.values()} == {2}
    assert 2 <= front.most_at_once <= 4
