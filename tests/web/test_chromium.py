"""The demonstration page in real, headless Chromium: hints arrive, and pictures differ by them."""

import contextlib
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import images
import pytest
from devtools import CHROMIUM, QUIET, Device, load
from servers import Server, open_up, serving

from imgprocessor.request.hints import ACCEPT_CH

pytestmark = pytest.mark.chromium

NAMES = ("one.jpg", "two.png")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    pictures = tmp_path_factory.mktemp("pictures")
    open_up(pictures)
    images.save(pictures / "one.jpg", images.texture((3000, 2000)), "JPEG", quality=90)
    images.save(pictures / "two.png", images.four_colours((2000, 1500)), "PNG")
    with serving(tmp_path_factory.mktemp("server"), pictures) as server:
        yield server


class _Elements(HTMLParser):
    """Collects the attributes of every element."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))


def _browse(
    server: Server, profile: Path, path: str, *flags: str, host: str = "localhost"
) -> list[dict[str, str]]:
    """Open a page in a fresh profile; return the attributes of its figures once all are there.

    Once more where they are not: the browser's virtual clock does not wait for all that a busy
    machine is slow at.
    """
    for attempt in ("first", "second"):
        body, figures, said = _opened(server, profile / attempt, path, flags, host)
        if body.get("data-ready") == "true":
            return figures
    pytest.fail(f"{path} is not ready: {body}\n{said}")


def _opened(
    server: Server, profile: Path, path: str, flags: tuple[str, ...], host: str
) -> tuple[dict[str, str], list[dict[str, str]], str]:
    """Return the attributes of the page's body and of its figures, and what the browser said."""
    done = subprocess.run(
        [
            CHROMIUM, *QUIET,
            f"--user-data-dir={profile}", "--virtual-time-budget=20000", "--dump-dom", *flags,
            f"http://{host}:{server.port}{path}",
        ],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    elements = _Elements()
    elements.feed(done.stdout)
    (body,) = [attributes for tag, attributes in elements.found if tag == "body"]
    figures = [attributes for tag, attributes in elements.found if tag == "figure"]
    return body, figures, done.stderr


def _logged(server: Server) -> list[dict[str, Any]]:
    """Return what was decided for pictures, without what the start itself asked for."""
    lines = (server.logs / "requests.log").read_text().splitlines()
    return [
        line
        for line in map(json.loads, lines)
        if line.get("bandwidth_from", "default") != "default"
    ]


PAGE = "/?" + "&".join(f"name={name}" for name in NAMES)


def test_networks_and_windows_get_different_pictures(server: Server, tmp_path: Path) -> None:
    seen = {}
    for network in ("2G", "4G"):
        for width in (390, 1400):
            figures = _browse(
                server, tmp_path / f"{network}-{width}", PAGE,
                f"--force-effective-connection-type={network}", f"--window-size={width},900",
            )  # fmt: skip
            assert [figure["data-name"] for figure in figures] == list(NAMES)
            assert {figure["data-status"] for figure in figures} == {"200"}
            seen[network, width] = figures[0]

    # What Chromium takes for a typical 4g has 1.6 Mbit/s.
    classes = {"2G": "2g", "4G": "slow-4g"}
    assert {key: figure["data-bandwidth"] for key, figure in seen.items()} == {
        key: classes[key[0]] for key in seen
    }
    bytes_sent = {key: int(figure["data-bytes"]) for key, figure in seen.items()}
    assert bytes_sent["2G", 1400] < bytes_sent["4G", 1400] / 3
    assert {figure["data-format"] for figure in seen.values()} == {"avif"}
    assert {figure.get("data-again") for figure in seen.values()} == {None}
    assert seen["2G", 1400]["data-size"] == "640x427"
    assert seen["4G", 1400]["data-size"] == "1920x1280"
    # Headless Chromium's narrowest window is 500 wide on some versions: a tablet to us.
    assert seen["4G", 390]["data-screen"] in {"phone", "tablet"}
    assert seen["4G", 1400]["data-screen"] == "desktop"


def test_hints_arrive_with_the_first_pictures_of_a_fresh_profile(
    server: Server, tmp_path: Path
) -> None:
    before = len(_logged(server))
    _browse(server, tmp_path, PAGE, "--force-effective-connection-type=3G")

    decided = _logged(server)[before:]
    assert decided
    for line in decided:
        assert (line["bandwidth"], line["bandwidth_from"]) == ("slow-3g", "Downlink")
        assert line["screen_from"] == "Sec-CH-Viewport-Width"


def test_a_fresh_profile_that_measured_nothing_is_not_taken_for_slow(
    server: Server, tmp_path: Path
) -> None:
    figures = _browse(server, tmp_path, PAGE)

    assert {figure["data-bandwidth"] for figure in figures} == {"4g"}


def test_the_page_passes_choices_on(server: Server, tmp_path: Path) -> None:
    (figure,) = _browse(server, tmp_path, "/?name=one.jpg&bandwidth=2g&screen=phone")

    assert (figure["data-bandwidth"], figure["data-screen"]) == ("2g", "phone")
    assert figure["data-size"] == "640x427"


def test_the_page_shows_a_placeholder_and_why(server: Server, tmp_path: Path) -> None:
    (figure,) = _browse(server, tmp_path, "/?name=none.jpeg")

    assert figure["data-status"] == "404"
    assert re.match(r"404image\.png_", figure["data-imagekey"])


def test_a_browser_that_sends_no_hints_is_served_by_the_script(
    server: Server, tmp_path: Path
) -> None:
    """As Safari and Firefox: Chromium itself sends none to a host without HTTPS."""
    before = len((server.logs / "requests.log").read_text().splitlines())
    _browse(
        server, tmp_path, PAGE, "--window-size=1400,900", "--force-device-scale-factor=2",
        "--host-resolver-rules=MAP insecure.test 127.0.0.1", host="insecure.test",
    )  # fmt: skip

    lines = (server.logs / "requests.log").read_text().splitlines()[before:]
    pictures = [line for line in map(json.loads, lines) if line["imagekey"]]
    assert {line["screen_from"] for line in pictures} == {"query"}
    assert {line["dpr"] for line in pictures} == {"2"}


@contextlib.contextmanager
def _site(server: Server, page: str, headers: dict[str, str]) -> Iterator[tuple[str, list[str]]]:
    """Serve one page, and from the same origin what the server serves; yield the page's URL, and
    what was asked for and decided, as the pictures are asked for.
    """
    decided: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/":
                self._answer({"Content-Type": "text/html", **headers}, page.encode())
                return
            answer = server.ask(self.path, dict(self.headers))
            if self.path.startswith("/images/"):
                decided.append(f"{self.path} {answer.headers['image-decision']}")
            self._answer({"Content-Type": answer.headers["content-type"]}, answer.body)

        def _answer(self, headers: dict[str, str], body: bytes) -> None:
            self.send_response(200)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as site:
        serving = threading.Thread(target=site.serve_forever)
        serving.start()
        try:
            yield f"http://localhost:{site.server_port}/", decided
        finally:
            site.shutdown()
            serving.join()


DEVICES = {
    "phone": (Device(412, 2.625, touch=True, phone=True), "phone"),
    "tablet": (Device(820, 2, touch=True), "tablet"),
    "window": (Device(980), "tablet"),
}
VIEWPORT = '<meta name="viewport" content="width=device-width, initial-scale=1">'
SCRIPT = '<script src="/adaptive.js" defer></script>'
HINTING = {"Accept-CH": ACCEPT_CH}
PAGES = {
    "plain, hinted": (VIEWPORT, "src", HINTING),
    "scripted": (VIEWPORT + SCRIPT, "data-src", {}),
    "scripted, no viewport": (SCRIPT, "data-src", {}),
    "scripted, hinted": (
        VIEWPORT + SCRIPT.replace(" defer", " data-accept-ch defer"),
        "data-src",
        HINTING,
    ),
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("page", PAGES)
def test_each_device_gets_its_row_with_the_first_pictures(
    server: Server, tmp_path: Path, page: str, device: str
) -> None:
    head, attribute, headers = PAGES[page]
    shown_on, screen = DEVICES[device]
    urls = [f"/images/?name={name}" for name in NAMES]
    markup = "".join(f'<p><img {attribute}="{url}" alt=""></p>' for url in urls)
    with _site(server, f"<!doctype html>{head}<title>-</title>{markup}", headers) as site:
        url, decided = site
        load(shown_on, tmp_path, url, "--force-effective-connection-type=3G")

    # Each once, by an address that says more only where no hints do.
    extended = [] if headers else ["screen=", "dpr=", "bandwidth=slow-3g"]
    assert len(decided) == len(urls), decided
    for wanted, found in zip(urls, sorted(decided), strict=True):
        asked, decision = found.split(" ", 1)
        assert [part for part in extended if part not in asked] == [], found
        assert asked.startswith(wanted) if extended else asked == wanted
        assert decision.startswith(f"bandwidth=slow-3g; screen={screen}; "), found
