"""Count what a cache keeps and what reaches the application: by the one spelling, and without.

    python benchmarks/edge_hits.py [--requests 200000] [--seed 1] [--unsized]

makes up a day's requests (`edge_visitors`; with `--unsized` to pages that leave widths to the
table) and sends the same ones through a real Varnish three times: with the configuration that `edge
varnish` writes; with `raw.vcl`, which keeps one object for each spelling of URL and hints; and with
no configuration, so that Varnish does what the application's `Vary` says. Behind stands a server
that answers as the application does, but with the imagekey for a picture; nothing gets old. Every
answer's imagekey is compared with the one that the application works out for that request: a single
wrong one voids the count. Prints a Markdown table.
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import socket
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from edge_varnish import varnish
from edge_visitors import ORIGINALS, Ask, Visitors
from rich.console import Console
from rich.progress import Progress, track

from imgprocessor.app import edge_configuration
from imgprocessor.config.settings import Settings
from imgprocessor.edge.writers import Backend, Site
from imgprocessor.load import load_settings
from imgprocessor.parts import make_delivery
from imgprocessor.request.hints import HINT_HEADERS
from imgprocessor.service.understanding import Incoming, Planned

ROOT = Path(__file__).resolve().parent.parent
CONNECTIONS = 8
DEPTH = 8
"""Requests under way on one connection: a Python client would wait most of its time otherwise."""
MEGABYTES = 2000
KEPT = "Cache-Control: public, max-age=86400, s-maxage=86400"
COUNTS = "/counts"
USER_AGENT = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 Chrome/126.0.0.0 Mobile"
PLAIN = 'vcl 4.1;\nbackend default {{ .host = "127.0.0.1"; .port = "{port}"; }}\n'

Understand = Callable[[str, tuple[str | None, ...]], Planned]
"""From a query string and hints, in the order of `HEADERS`, to the application's answer."""


@dataclass(frozen=True)
class Result:
    """What came of a day."""

    objects: int
    reached: int
    """Requests that the application was asked."""
    keys: int
    """Different imagekeys among those."""
    wrong: int
    seconds: float


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Count a cache's objects and misses.")
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--unsized", action="store_true", help="no page names a size: the table says how wide"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imgprocessor-edge-") as folder:
        settings = delivered_settings(Path(folder))
        understand = understanding(settings)
        made_up = Visitors(options.seed, sized=not options.unsized).requests(options.requests)
        asks = list(track(made_up, "Making up visitors", total=options.requests))
        # The server behind is forked later, and knows all of this already.
        wanted = [
            understand(ask.query, hints_of(dict(ask.headers))).imagekey
            for ask in track(asks, "Working out keys")
        ]
        with _behind(understand) as port:
            site = Site(backends=[Backend("127.0.0.1", port)])
            raw = (ROOT / "benchmarks" / "raw.vcl").read_text().replace("@PORT@", str(port))
            texts = {
                "by the one spelling": edge_configuration("varnish", settings, site),
                "URL and raw hints": raw,
                "URL and Vary": PLAIN.format(port=port),
            }
            results = {name: _day(name, text, port, asks, wanted) for name, text in texts.items()}
    return _show(results, len(asks), len(set(wanted)))


def delivered_settings(folder: Path) -> Settings:
    """Return the delivered settings, but for where originals are, and what is kept."""
    settings = load_settings(ROOT / "conf" / "imgprocessor.ini")
    return replace(
        settings,
        originals=replace(settings.originals, roots=(folder,)),
        disk_cache=replace(settings.disk_cache, folder=folder),
    )


def understanding(settings: Settings) -> Understand:
    """Return what understands a request as the application does."""
    delivery = make_delivery(settings)

    @cache
    def understand(query: str, hints: tuple[str | None, ...]) -> Planned:
        pairs = zip(HINT_HEADERS, hints, strict=True)
        headers = {name: hint for name, hint in pairs if hint}
        return delivery.understand(Incoming(query, headers)).last.require()

    return understand


def hints_of(headers: dict[str, str]) -> tuple[str | None, ...]:
    """Return the hints among headers, in their order."""
    known = {name.lower(): value for name, value in headers.items()}
    return tuple(known.get(name) for name in HINT_HEADERS)


def _day(name: str, vcl: str, behind: int, asks: Sequence[Ask], wanted: Sequence[str]) -> Result:
    """Send a day's requests through Varnish."""
    _counts(behind)
    with varnish(vcl, MEGABYTES) as cache:
        began = time.perf_counter()
        wrong = asyncio.run(_send(name, cache.port, asks, wanted))
        seconds = time.perf_counter() - began
        nuked = cache.counter("MAIN.n_lru_nuked")
        if nuked:
            raise RuntimeError(f"{name}: {nuked} objects did not fit")
        reached, keys = _counts(behind)
        return Result(cache.counter("MAIN.n_object"), reached, keys, wrong, seconds)


def _show(results: dict[str, Result], requests: int, keys: int) -> int:
    ours = results["by the one spelling"]
    print(f"{requests} requests for {ORIGINALS} originals; {keys} different imagekeys\n")
    print(
        "| kept | objects | hits | reached the application | rendered again | wrong |"
        " objects / ours | reached / ours | requests a second |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for name, result in results.items():
        print(
            f"| {name} | {result.objects} | {1 - result.reached / requests:.1%} | {result.reached}"
            f" | {result.reached - result.keys} | {result.wrong}"
            f" | {result.objects / ours.objects:.1f} | {result.reached / ours.reached:.1f}"
            f" | {requests / result.seconds:.0f} |"
        )
    if any(result.wrong for result in results.values()):
        Console(stderr=True).print("Void: somebody got somebody else's picture.")
        return 1
    return 0


# --- The client ----------------------------------------------------------------------------------


async def _send(name: str, port: int, asks: Sequence[Ask], wanted: Sequence[str]) -> int:
    """Return how many answers were not the one wanted; connections take turns."""
    with Progress() as progress:
        task = progress.add_task(f"Asking, kept {name}", total=len(asks))
        both = zip(asks, wanted, strict=True)
        tasks = [
            _connection(port, both, lambda count: progress.advance(task, count))
            for _ in range(CONNECTIONS)
        ]
        return sum(await asyncio.gather(*tasks))


async def _connection(
    port: int, both: Iterator[tuple[Ask, str]], advance: Callable[[int], None]
) -> int:
    """Ask for what is next, several at a time, until there is nothing left."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    wrong = 0
    while batch := [pair for _, pair in zip(range(DEPTH), both, strict=False)]:
        writer.write(b"".join(_written(ask) for ask, _ in batch))
        for _, key in batch:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])
            body = await reader.readexactly(length)
            wrong += not head.startswith(b"http/1.1 200 ") or body.decode("latin-1") != key
        advance(len(batch))
    writer.close()
    return wrong


def _written(ask: Ask) -> bytes:
    lines = [f"GET /images/?{ask.query} HTTP/1.1", "Host: localhost", f"User-Agent: {USER_AGENT}"]
    lines += [f"{name}: {value}" for name, value in ask.headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


# --- What stands behind --------------------------------------------------------------------------


class _Application(asyncio.Protocol):
    """Answers as the application does, with the imagekey for a picture."""

    def __init__(self, understand: Understand, rendered: Counter[str]) -> None:
        self._understand, self._rendered = understand, rendered
        self._begun = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the types
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole."""
        *whole, self._begun = (self._begun + data).split(b"\r\n\r\n")
        for head in whole:
            self._transport.write(self._answer(head.decode("latin-1")))
            if b" /images/-/health " in head:
                self._transport.close()  # the prober waits for the end, and calls it sick otherwise

    def _answer(self, head: str) -> bytes:
        first, *lines = head.split("\r\n")
        path, _, query = first.split(" ")[1].partition("?")
        if path != "/images/":
            counts = [self._rendered.total(), len(self._rendered)]
            if path == COUNTS:
                self._rendered.clear()
            return _response(json.dumps(counts), "imagekey: told")
        headers = {name: value.strip() for name, _, value in (li.partition(":") for li in lines)}
        planned = self._understand(query, hints_of(headers))
        self._rendered[planned.imagekey] += 1
        vary = [f"Vary: {planned.vary}"] if planned.vary else []
        return _response(planned.imagekey, f"imagekey: {planned.imagekey}", KEPT, *vary)


def _response(body: str, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode("latin-1")


@contextlib.contextmanager
def _behind(understand: Understand) -> Iterator[int]:
    """Run the application's stand-in, in a process of its own; yield its port."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        context = multiprocessing.get_context("fork")
        process = context.Process(target=_serve, args=(listening, understand), daemon=True)
        process.start()
        try:
            yield listening.getsockname()[1]
        finally:
            process.terminate()
            process.join()


def _serve(listening: socket.socket, understand: Understand) -> None:
    async def serve() -> None:
        rendered: Counter[str] = Counter()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: _Application(understand, rendered), sock=listening
        )
        await server.serve_forever()

    asyncio.run(serve())


def _counts(port: int) -> tuple[int, int]:
    """Return requests and different imagekeys since the last time."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{COUNTS}") as answer:
        reached, keys = json.load(answer)
    return reached, keys


if __name__ == "__main__":
    sys.exit(main())
