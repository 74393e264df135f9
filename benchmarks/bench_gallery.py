"""A gallery: seconds until the photographs of a page are shown on a phone, over slow networks.

Each system stands behind an nginx that keeps answers, and serves the page, too. A visit is one of a
browser that was never there. Cold is the first visit of all, warm a later one.
"""

import contextlib
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import edge_visitors
from load import LoadError, ask_each
from peers import ROOT, Imgprocessor
from picture_measures import BROWSERS, WARM_UP, WARM_UP_WIDTHS
from PIL import Image
from quality_scale import resized
from results import OURS, STATIC_WEBP, Comparison, Measure, Outcome
from runner import Running, running
from scores import PHONE_PIXELS, Sample, formats_of
from systems import Command, Place, System, nginx, nginx_version

from imgprocessor.config.settings import FreshnessSettings
from imgprocessor.policy.link import PICTURES_A_PAGE
from imgprocessor.policy.seen import TYPICAL_DEVICES

sys.path.append(str(ROOT / "tasks"))

import processes
from devtools import BrowserError, Device, Network, opened

NETWORKS = {"slow 3G": Network(400, 0.4), "3G": Network(300, 1.6), "4G": Network(170, 9)}
"""3G is WebPageTest's (connectivity.ini); the round trips of the others are assumed."""
VISITS = ("cold", "warm")
WARM_AFTER_SECONDS = 1.0
"""Between a cold visit and a warm one. Under a minute: ipx' answers are fresh for no longer."""
BEST_AFTER_SECONDS = FreshnessSettings().quick_max_age_seconds + 5.0
"""The same for ours: quick pictures are kept for so long; the best have been made by then."""
VISIT_SECONDS = 180
"""A visit that takes longer has failed."""
PEERS_QUALITY = 67
"""At which pictures score, as seen, a point or so less than the best peer's at its own quality."""
DRAWN = ("Infinite-Sea", "Painting-Colors", "analogpattern")
"""Wallpapers that are no photographs."""

_PHONE = TYPICAL_DEVICES[0]
PHONE = Device(_PHONE.css_pixels, float(_PHONE.density), touch=True, phone=True)
LADDER = tuple(round(PHONE.css_pixels * density) for density in (1, 1.5, 2, PHONE.dpr, 3))
"""Widths that peers' pages offer. One is the phone's own: nobody loses by being stretched."""

WEBP = {"quality": 80, "method": 4}
_OK, _SIXTH = 200, 6
_KILO = 1000

MEASURES = tuple(
    measure
    for network in NETWORKS
    for visit in VISITS
    for measure in (
        Measure(f"{network}_{visit}_first", f"{network}, {visit}: first shown", "s", False, 2),
        Measure(f"{network}_{visit}_sixth", f"{network}, {visit}: six shown", "s", False, 2),
        Measure(f"{network}_{visit}_all", f"{network}, {visit}: all shown", "s", False, 2),
        Measure(f"{network}_{visit}_kilobytes", f"{network}, {visit}: pictures", "kB", False, 0),
        Measure(
            f"{network}_{visit}_seen", f"{network}, {visit}: SSIMULACRA2 as seen", "points", True
        ),
    )
)

_LINKS = ", ".join(
    f"{name}: {one.rtt_ms} ms, {one.downlink_mbps:g} Mbit/s" for name, one in NETWORKS.items()
)
METHOD = f"""\
A page of {PICTURES_A_PAGE} photographs, one below the other and each as wide as the page, in
Chromium as a phone ({PHONE.css_pixels} CSS pixels, density {PHONE.dpr}). Every visit is one of a
new profile; the pictures of each network are originals of their own. The network is Chromium's
emulation ({_LINKS}), which delays answers, shares throughput, and knows
no slow start of TCP. The headers that tell of it are those of a browser that has measured it.

Each round begins with another system; each system begins it with an empty state and a few requests
that do not count, behind an empty cache: an nginx with `proxy_cache`, which follows what answers
say of freshness and `Vary`, and keeps what says nothing for ten minutes. Page and pictures come
from it, by HTTP/1.1 over six connections. Cold is the first visit, in which each picture is made.
Warm is another, {WARM_AFTER_SECONDS:g} s later; with imgprocessor {BEST_AFTER_SECONDS:g}, when the
pictures that were made quickly are no longer kept. A picture is shown once it is decoded, counted
from the start of the visit. Chromium, the cache and the system share the processors.

Peers' pages have a `srcset` of {", ".join(map(str, LADDER))} pixels, `sizes="100vw"`, and say no
quality: each peer's own counts. imgprocessor's has a plain URL for each picture, and asks for
hints; the delivered policy decides. With q{PEERS_QUALITY}, its cells all say that, and are as wide
as the phone: the same for all networks. Static WebP was made beforehand,
at quality {WEBP["quality"]}, and is no peer.

Scores are means over the first round's pictures, on the phone's {PHONE_PIXELS} pixels: what was
sent is stretched bilinearly, as browsers do it, against the original.
"""

GALLERY = Comparison(
    title="A gallery compared",
    command="./run bench --gallery",
    suffix="-gallery",
    measures=MEASURES,
    plotted=tuple(one.key for one in MEASURES if one.key.endswith(("_all", "_seen"))),
    method=METHOD,
)

_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>A gallery</title>
<style>body {{ margin: 0 }} img {{ display: block; width: 100%; height: auto }}</style>
{images}
<script>
const shown = Promise.all([...document.images].map(async (image) => {{
  await image.decode();
  return performance.now();
}}));
</script>
"""
_ANSWERS = """\
Promise.all([...document.images].map(async (image) => {
  const [entry] = performance.getEntriesByName(image.currentSrc);
  return [image.currentSrc, entry.responseStatus];
}))"""
_HINTS = "Sec-CH-DPR, Sec-CH-Viewport-Width"
"""What the page asks for; what the browser would say of the network is not the emulated one."""
_UPSTREAM = """\
proxy_cache_path {state}/kept levels=1:2 keys_zone=pictures:10m;
upstream system {{ server 127.0.0.1:{port}; keepalive 16; }}
"""
_LOCATIONS = """\
location / {{
    proxy_pass http://system;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $http_host;
    proxy_buffers 16 64k;
    proxy_read_timeout {seconds}s;
    proxy_cache pictures;
    proxy_cache_lock on;
    proxy_cache_valid 200 10m;
}}
location /pages/ {{
    alias {pages}/;
    add_header Accept-CH "{hints}";
}}
"""


_CELL = re.compile(r"^(\S+ *= *)\d+px q\d+.*$", re.MULTILINE)


class Delivered(Imgprocessor):
    """The server of this project with the policy that is delivered with it."""

    document = "./run serve; docs/pages.md: client hints"

    def policy(self) -> str:
        """Return the delivered policy."""
        return (ROOT / "conf" / "policy.ini").read_text()


class AtPeersQuality(Delivered):
    """The same, with one quality for all networks."""

    def policy(self) -> str:
        """Return the delivered policy, with all cells alike that count for who names no size."""
        return _CELL.sub(rf"\g<1>{PHONE_PIXELS}px q{PEERS_QUALITY}", super().policy())


class StaticWebp(System):
    """Files that were made beforehand."""

    name = STATIC_WEBP
    document = "Pillow's WebP"

    def installed(self) -> bool:
        """Whether it can be started: ./run has seen to it."""
        return True

    def install(self) -> None:
        """Do nothing."""

    def version(self) -> str:
        """Return nginx' version."""
        return nginx_version()

    def commands(self, place: Place) -> list[Command]:
        """Serve the files."""
        return [nginx(place, f"location / {{ root {place.static}; }}\n")]

    def path(self, name: str, width: int, quality: int) -> str:
        """Return a file's path: each has but one quality, and a few widths."""
        nearest = min(LADDER, key=lambda known: abs(known - width))
        return self.negotiated(name, nearest, quality)

    def negotiated(self, name: str, width: int, quality: int | None) -> str:  # noqa: ARG002
        """Return a file's path."""
        return f"/{name}-{width}.webp"


@dataclass(frozen=True)
class Way:
    """A way to have a page's pictures."""

    name: str
    system: System
    attributes: Callable[[str], str]
    """Of the element that shows an original, by its name."""
    settles_seconds: float = WARM_AFTER_SECONDS
    """After a cold visit, until everybody is sent the same."""


def ways(systems: Sequence[System], cache: Path) -> list[Way]:
    """Return ways by systems that choose formats, ours in two; and static files."""
    found = []
    for system in systems:
        if system.name == OURS:
            same = f"{OURS}, q{PEERS_QUALITY}"
            for name, ours in ((OURS, Delivered(cache)), (same, AtPeersQuality(cache))):
                found.append(Way(name, ours, _plain, BEST_AFTER_SECONDS))
        elif system.negotiates:
            found.append(_by_srcset(system))
    return [*found, _by_srcset(StaticWebp(cache))]


def _plain(name: str) -> str:
    return f'src="/images/?name={name}"'


def _by_srcset(system: System) -> Way:
    def attributes(name: str) -> str:
        urls = {width: escape(system.negotiated(name, width, None)) for width in LADDER}
        offered = ", ".join(f"{url} {width}w" for width, url in urls.items())
        return f'src="{urls[LADDER[0]]}" srcset="{offered}" sizes="100vw"'

    return Way(system.name, system, attributes)


@dataclass
class Gallery:
    """One run over some ways, and what came of it."""

    ways: Sequence[Way]
    photographs: Sequence[Path]
    networks: Sequence[str]
    folder: Path
    rounds: list[dict[str, Outcome]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._shown = [path for path in self.photographs if not path.name.startswith(DRAWN)][
            :PICTURES_A_PAGE
        ]
        self._originals, self._static = self.folder / "originals", self.folder / "static"
        self._lay_out()

    @property
    def steps(self) -> int:
        """In each round."""
        return len(self.ways) * len(self.networks) * len(VISITS)

    @property
    def names(self) -> list[str]:
        """Of all that was measured."""
        return [way.name for way in self.ways]

    def asked(self, seconds: float) -> str:
        """Return what was asked for in so many seconds, in words."""
        visits = f"{', '.join(VISITS)}, each over {', '.join(self.networks)}"
        return f"In each round of each system: visits {visits}. Measured in {seconds:.0f} s."

    def formats(self) -> list[str]:
        """Return what was sent in the first round, in words."""
        network = self.networks[-1]
        return formats_of(self.samples, f"{network}_cold", f"a phone on {network}")

    @property
    def systems(self) -> list[System]:
        """Each once."""
        return list({way.system.name: way.system for way in self.ways}.values())

    def measure_round(self, step: Callable[[str], None]) -> None:
        """Visit each way's pages; each round begins with another one."""
        number = len(self.rounds)
        turn = number % len(self.ways)
        self.rounds.append({})
        for way in (*self.ways[turn:], *self.ways[:turn]):
            outcome: Outcome = {}
            self.rounds[-1][way.name] = outcome
            try:
                with (
                    running(way.system, self._originals, self._static, WARM_UP) as server,
                    self._cached(server, way) as port,
                ):
                    paths = [way.system.negotiated(WARM_UP, one, None) for one in WARM_UP_WIDTHS]
                    ask_each(server.place.port, paths, accept=BROWSERS["Chromium"])
                    self._visits(way, port, outcome, step)
            except (LoadError, processes.CannotServe) as error:
                self._note(way, "start", error)

    def _visits(self, way: Way, port: int, outcome: Outcome, step: Callable[[str], None]) -> None:
        for network in self.networks:
            for visit in VISITS:
                # At once: what is cached may be fresh for as little as a minute.
                if visit == "warm":
                    time.sleep(way.settles_seconds)
                step(f"round {len(self.rounds)}, {way.name}: {network}, {visit}")
                try:
                    self._visit(way, port, network, visit, outcome)
                except (BrowserError, LoadError) as error:
                    self._note(way, f"{network}, {visit}", error)

    def _visit(self, way: Way, port: int, network: str, visit: str, outcome: Outcome) -> None:
        link = NETWORKS[network]
        hints = dict(edge_visitors.Network(link.rtt_ms, link.downlink_mbps).hints())
        url = f"http://localhost:{port}/pages/{_page_name(network)}"
        with (
            # What Chromium leaves behind may write on for a moment: that goes with the folder.
            tempfile.TemporaryDirectory(dir=self.folder, ignore_cleanup_errors=True) as profile,
            opened(
                PHONE, Path(profile), url, network=link, headers=hints, seconds=VISIT_SECONDS
            ) as page,
        ):
            milliseconds = sorted(page.run("shown"))
            answers = page.run(_ANSWERS)
            failed = [f"{asked}: {status}" for asked, status in answers if status != _OK]
            if failed or len(answers) != len(self._shown):
                raise LoadError(f"{len(answers)} pictures; {', '.join(failed) or 'none failed'}")
            bodies = [page.body(asked) for asked, _ in answers]
        key = f"{network}_{visit}"
        outcome |= {
            f"{key}_first": milliseconds[0] / _KILO,
            f"{key}_sixth": milliseconds[_SIXTH - 1] / _KILO,
            f"{key}_all": milliseconds[-1] / _KILO,
            f"{key}_kilobytes": sum(map(len, bodies)) / _KILO,
        }
        if len(self.rounds) == 1:
            for photograph, body in zip(self._shown, bodies, strict=True):
                self.samples.append(Sample(way.name, key, photograph, body))

    @contextlib.contextmanager
    def _cached(self, server: Running, way: Way) -> Iterator[int]:
        """Run a cache in front, with the pages; yield its port."""
        with tempfile.TemporaryDirectory(prefix="imgprocessor-bench-") as name:
            state = Path(name)
            state.chmod(0o755)
            pages = state / "pages"
            pages.mkdir()
            for network in self.networks:
                (pages / _page_name(network)).write_text(self._page(way, network))
            port = processes.free_port()
            place = Place(state, self._originals, pages, port, ())
            upstream = _UPSTREAM.format(state=state, port=server.place.port)
            locations = _LOCATIONS.format(pages=pages, hints=_HINTS, seconds=VISIT_SECONDS)
            command = nginx(place, locations, upstream)
            with processes.running(command.words, port, state / "output.log"):
                yield port

    def _page(self, way: Way, network: str) -> str:
        images = []
        for index, photograph in enumerate(self._shown):
            with Image.open(photograph) as image:
                size = f'width="{image.width}" height="{image.height}"'
            name = _original_name(network, index)
            images.append(f'<img {way.attributes(name)} {size} alt="">')
        return _PAGE.format(images="\n".join(images))

    def _lay_out(self) -> None:
        """Put the photographs into a folder, a set for each network; and their files of WebP."""
        self._originals.mkdir()
        self._static.mkdir()
        for index, photograph in enumerate(self._shown):
            names = [_original_name(network, index) for network in self.networks]
            names += [WARM_UP] if index == 0 else []
            first = self._originals / names[0]
            first.write_bytes(photograph.read_bytes())
            for name in names[1:]:
                (self._originals / name).hardlink_to(first)
            for width in LADDER:
                made = self._static / f"{names[0]}-{width}.webp"
                resized(photograph, width).save(made, "WEBP", **WEBP)
                for name in names[1:]:
                    (self._static / f"{name}-{width}.webp").hardlink_to(made)

    def _note(self, way: Way, part: str, error: Exception) -> None:
        self.notes.append(f"{way.name}, round {len(self.rounds)}, {part}: void, because {error}")


def _page_name(network: str) -> str:
    return f"{network.replace(' ', '-')}.html"


def _original_name(network: str, index: int) -> str:
    return f"{network.replace(' ', '-')}-{index}.jpg"
