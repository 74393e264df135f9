"""The demonstration page in real, headless Chromium: hints arrive, and pictures differ by them."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import images
import pytest
from servers import Server, open_up, serving

pytestmark = pytest.mark.chromium

CHROMIUM = "/usr/bin/chromium"
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
            CHROMIUM, "--headless", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
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

    assert {key: figure["data-bandwidth"] for key, figure in seen.items()} == {
        key: key[0].lower() for key in seen
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
        assert (line["bandwidth"], line["bandwidth_from"]) == ("3g", "ECT")
        assert line["screen_from"] == "Sec-CH-Viewport-Width"


def test_a_fresh_profile_that_measured_nothing_is_not_taken_for_slow(
    server: Server, tmp_path: Path
) -> None:
    figures = _browse(server, tmp_path, PAGE)

    assert {figure["data-bandwidth"] for figure in figures} == {"4g"}


def test_the_page_passes_choices_on(server: Server, tmp_path: Path) -> None:
    (figure,) = _browse(server, tmp_path, "/?name=one.jpg&bandwidth=2g&screen=phone")

    assert (figure["data-bandwidth"], figure["data-screen"]) == ("2g", "phone")
    assert figure["data-size"] == "360x240"


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
    assert {json.loads(line)["screen_from"] for line in lines} == {"query"}
    assert {json.loads(line)["dpr"] for line in lines} == {"2"}
