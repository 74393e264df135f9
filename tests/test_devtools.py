"""Chromium as the benchmarks drive it: over an emulated network, with headers that say so."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import images
import pytest
from devtools import BrowserError, Device, Network, opened

pytestmark = pytest.mark.chromium

PICTURE = images.encoded(images.texture((30, 20)), "WEBP")
PAGE = b'<!doctype html><title>-</title><img src="/picture" alt="">'


class _Handler(BaseHTTPRequestHandler):
    said: tuple[tuple[str, str | None], ...] = ()

    def do_GET(self) -> None:
        type(self).said += ((self.path, self.headers["Downlink"]),)
        is_page = self.path == "/"
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if is_page else "image/webp")
        self.end_headers()
        self.wfile.write(PAGE if is_page else PICTURE)

    def log_message(self, *_: object) -> None:
        pass


def test_a_page_comes_over_a_network_that_headers_tell_of(tmp_path: Path) -> None:
    network, headers = Network(400, 4), {"Downlink": "4"}
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        url = f"http://localhost:{server.server_address[1]}/"
        try:
            with opened(
                Device(400), tmp_path / "profile", url, network=network, headers=headers
            ) as page:
                connection = page.run("[navigator.connection.rtt, navigator.connection.downlink]")
                body = page.body(f"{url}picture")
                with pytest.raises(BrowserError, match="not defined"):
                    page.run("nothing.at.all")
                with pytest.raises(BrowserError, match="getResourceContent"):
                    page.body(f"{url}other")
        finally:
            server.shutdown()

    # Blurred and rounded, as pages are told.
    assert connection == pytest.approx([network.rtt_ms, network.downlink_mbps], rel=0.2)
    assert body == PICTURE
    assert {("/", "4"), ("/picture", "4")} <= set(_Handler.said)
