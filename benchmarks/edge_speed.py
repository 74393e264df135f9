"""Measure a hit through Varnish with the configuration that `edge varnish` writes.

    python benchmarks/edge_speed.py [--rounds 5] [--seconds 4]

starts Varnish twice, once with that configuration and once with none but a backend, which serves
a static object. Both have the same 55 kB body in memory and are asked by wrk with what Chrome sends
for a picture, in turn, each way that pages name pictures. Prints requests a second, their ratio,
and the processor time of a hit, medians of the rounds.
"""

import argparse
import contextlib
import re
import socketserver
import statistics
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from edge_varnish import Varnish, varnish
from rich.progress import track

from imgprocessor.app import edge_configuration
from imgprocessor.edge.writers import Backend, Site
from imgprocessor.load import load_settings

ROOT = Path(__file__).resolve().parent.parent
BODY = bytes(range(256)) * 215
HEAD = (
    b"HTTP/1.1 200 OK\r\nimagekey: told\r\nContent-Type: image/avif\r\nContent-Length: %d\r\n"
    b"Cache-Control: public, max-age=86400\r\n\r\n"
) % len(BODY)
WRK = "/usr/bin/wrk"
CONNECTIONS = 16
PLAIN = 'vcl 4.1;\nbackend default {{ .host = "127.0.0.1"; .port = "{port}"; }}\n'
STATIC = "/static/nasa.avif"

BROWSER = {
    "User-Agent": "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/126.0.0.0 Mobile Safari/537.36",
    "Accept": "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Accept-Language": "de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7",
    "Referer": "https://www.example.org/",
    "Sec-CH-UA": '"Not/A)Brand";v="8", "Chromium";v="126", "Google Chrome";v="126"',
    "Sec-CH-UA-Mobile": "?1",
    "Sec-CH-UA-Platform": '"Android"',
    "Sec-Fetch-Dest": "image",
    "Sec-Fetch-Mode": "no-cors",
    "Sec-Fetch-Site": "same-site",
}
HINTS = {
    "ECT": "4g",
    "RTT": "150",
    "Downlink": "1.45",
    "Sec-CH-DPR": "2.625",
    "Sec-CH-Viewport-Width": "412",
}
REQUESTS = {
    "the table's size, hints": ("/images/?name=nasa.jpeg", HINTS),
    "a width, hints": ("/images/?name=nasa.jpeg&width=340", HINTS),
    "the table's size, hints of a 3g network": (
        "/images/?name=nasa.jpeg",
        HINTS | {"ECT": "3g", "RTT": "450", "Downlink": "0.5"},
    ),
    "in the one spelling already": (
        "/images/?name=nasa.jpeg&width=340&bandwidth=4g&dpr=3&formats=avif+webp+gif",
        HINTS,
    ),
    "something unusual, hints": ("/images/?utm_source=x&width=340&name=nasa.jpeg", HINTS),
    "all in the URL, no hints": (
        "/images/?name=nasa.jpeg&screen=412&dpr=2.625&bandwidth=4g",
        {},
    ),
}


class Told(NamedTuple):
    """What came of asking."""

    rate: float
    """Requests a second."""
    hit_us: float
    """Processor time of a hit, in microseconds."""


def main() -> int:
    """Print one row for each way of asking."""
    parser = argparse.ArgumentParser(description="Measure hits through Varnish.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    options = parser.parse_args()
    told: dict[str, list[tuple[Told, Told]]] = {case: [] for case in REQUESTS}
    with _both() as (ours, plain):
        turns = [case for _ in range(options.rounds) for case in REQUESTS]
        for case in track(turns, "Asking"):
            path, hints = REQUESTS[case]
            headers = BROWSER | hints
            told[case].append(
                (
                    _told(ours, path, headers, options.seconds),
                    _told(plain, STATIC, headers, options.seconds),
                )
            )
    print(
        "| request | ours, a second | static object, a second | ours / static"
        " | ours, µs a hit | static, µs a hit |\n|---|--:|--:|--:|--:|--:|"
    )
    for case, pairs in told.items():
        own, static = (
            [statistics.median(each) for each in zip(*column, strict=True)]
            for column in zip(*pairs, strict=True)
        )
        ratio = statistics.median(one.rate / other.rate for one, other in pairs)
        print(
            f"| {case} | {own[0]:.0f} | {static[0]:.0f} | {ratio:.2f}"
            f" | {own[1]:.1f} | {static[1]:.1f} |"
        )
    return 0


class _Behind(socketserver.StreamRequestHandler):
    """What stands behind: answers everything with the body."""

    def handle(self) -> None:
        """Answer the requests of one connection; a probe waits for its end."""
        while line := self.rfile.readline():
            while self.rfile.readline().strip():
                pass
            self.wfile.write(HEAD + BODY)
            if b"/-/health" in line:
                return


@contextlib.contextmanager
def _both() -> Iterator[tuple[Varnish, Varnish]]:
    """Run both."""
    settings = load_settings(ROOT / "conf" / "imgprocessor.ini")
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(
            socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Behind, bind_and_activate=True)
        )
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)
        port = server.server_address[1]
        generated = edge_configuration(
            "varnish", settings, Site(backends=[Backend("127.0.0.1", port)])
        )
        ours = stack.enter_context(varnish(generated))
        plain = stack.enter_context(varnish(PLAIN.format(port=port)))
        yield ours, plain


def _told(cache: Varnish, path: str, headers: dict[str, str], seconds: int) -> Told:
    """Ask, and be answered by hits alone.

    Raises:
        RuntimeError: not every answer was the picture.
    """
    url = f"http://127.0.0.1:{cache.port}{path}"
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
        if answer.read() != BODY:
            raise RuntimeError(f"{url}: not the body")
    command = [WRK, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", *_named(headers)]
    command.append(url)
    before = cache.processor_seconds()
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    took = cache.processor_seconds() - before
    counts = r"^ +([0-9]+) requests in .*^Requests/sec: +([0-9.]+)$"
    found = re.search(counts, said, re.MULTILINE | re.DOTALL)
    if found is None or "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(said)
    return Told(float(found[2]), took / int(found[1]) * 1e6)


def _named(headers: dict[str, str]) -> Sequence[str]:
    return [word for name, value in headers.items() for word in ("-H", f"{name}: {value}")]


if __name__ == "__main__":
    sys.exit(main())
