"""A day's visitors, made up: what their browsers ask for, and with which headers.

Shares are assumed where no source is named; what is made of them comes back the same for a seed.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate

Headers = tuple[tuple[str, str], ...]

ORIGINALS = 1000
ZIPF = 1.0
"""Web requests' popularity falls with about this power of the rank (Breslau et al., 1999)."""

PICTURES_A_VISIT = (4, 24)
"""Assumed."""
HINTED_SHARE = 0.7
"""Of Chromium's visits: to pages that ask for hints; assumed."""
SCRIPTED_SHARE = 0.5
"""Of visits without hints: to pages with adaptive.js, which fills in the URL; assumed."""
OLD_HINTS_SHARE = 0.15
"""Of hinted visits: Chromium before 97, with `DPR` and `Viewport-Width`; assumed."""
SAVE_DATA_SHARE = 0.04
"""Of Chromium's visits; assumed."""
NETWORK_CHANGES = 0.03
"""A picture, so often, after which the visitor is on another network; assumed."""
MEASURED_ANEW = 0.25
"""A picture, so often, after which the browser's estimate has moved; assumed."""
TRACKED_SHARE = 0.04
"""Requests with utm_* or fbclid; assumed."""
BUSTED_SHARE = 0.02
"""Requests with cb= and a number of their own; assumed."""
SHUFFLED_SHARE = 0.05
"""Requests whose parameters stand in another order; assumed."""
OLD_SPELLING_SHARE = 0.03
"""Requests with screensize= and fsize=; assumed."""

CHROMIUM = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
FIREFOX = "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5"
FIREFOX_OLD = "image/avif,image/webp,*/*"
SAFARI = "image/webp,image/avif,image/jxl,image/heic,image/heic-sequence,video/*;q=0.8,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5"  # noqa: E501
SAFARI_OLD = "image/webp,image/png,image/svg+xml,image/*;q=0.8,video/*;q=0.8,*/*;q=0.5"
"""What browsers say when they load pictures (developer.mozilla.org, Content negotiation: default
Accept values)."""


@dataclass(frozen=True)
class Browser:
    """A kind of browser on a kind of device."""

    share: float
    """StatCounter's order of magnitude, 2024."""
    accept: str
    screens: tuple[tuple[int, str], ...]
    """CSS pixels across, and device pixels per CSS pixel."""
    hints: bool = False
    resized: float = 0.0
    """How many have a window of their own width; assumed."""


ANDROID = ((360, "3"), (360, "2"), (384, "2.8125"), (393, "2.75"), (412, "2.625"), (412, "3.5"))
IPHONE = ((375, "2"), (375, "3"), (390, "3"), (393, "3"), (414, "2"), (428, "3"), (430, "3"))
ANDROID_TABLET = ((800, "1.5"), (753, "2"), (1280, "1.5"))
IPAD = ((768, "2"), (810, "2"), (820, "2"), (834, "2"), (1024, "2"), (1180, "2"))
WINDOWS = ((1905, "1"), (1521, "1.25"), (1265, "1.5"), (1351, "1"), (1425, "1"), (2545, "1"))
MAC = ((1440, "2"), (1512, "2"), (1728, "2"), (1280, "2"), (1470, "2"), (1920, "1"))

BROWSERS = (
    Browser(0.38, CHROMIUM, ANDROID, hints=True),
    Browser(0.03, CHROMIUM, ANDROID_TABLET, hints=True),
    Browser(0.25, CHROMIUM, WINDOWS, hints=True, resized=0.3),
    Browser(0.05, CHROMIUM, MAC, hints=True, resized=0.3),
    Browser(0.15, SAFARI, IPHONE),
    Browser(0.04, SAFARI_OLD, IPHONE),
    Browser(0.02, SAFARI, IPAD),
    Browser(0.03, SAFARI, MAC, resized=0.3),
    Browser(0.03, FIREFOX, WINDOWS, resized=0.3),
    Browser(0.01, FIREFOX_OLD, WINDOWS, resized=0.3),
    Browser(0.01, FIREFOX, ANDROID),
)

LAYOUTS: tuple[tuple[float, tuple[tuple[str, ...], ...]], ...] = (
    (0.4, ((),)),
    (0.25, (("width=340",), ("width=720",))),
    (0.2, (("width=160", "height=160", "fit=cover"),)),
    (0.1, (("width=640",), ("width=320", "height=240", "fit=force"))),
    (0.05, (("width=200", "quality=60"),)),
)
"""Pages: how common, and what their authors say beside the name; assumed."""

NETWORKS = (
    (0.78, 75, 5.0),
    (0.1, 230, 1.2),
    (0.08, 450, 0.5),
    (0.03, 1600, 0.12),
    (0.01, 2500, 0.04),
)
"""How common, typical round trip in ms, typical Mbit/s; assumed."""
_SPREAD = 0.4

_BOUNDS = (("slow-2g", 2000, 0.05), ("2g", 1400, 0.07), ("3g", 270, 0.7))
"""What browsers call networks (Network Information API, table of effective connection types)."""
_RTT_STEP, _MOST_RTT = 25, 3000
_DOWNLINK_STEP, _MOST_DOWNLINK = Decimal("0.05"), Decimal(10)
"""How Chromium rounds what it tells, and where it ends."""


@dataclass(frozen=True)
class Ask:
    """A request for a picture."""

    query: str
    headers: Headers


@dataclass(frozen=True)
class Network:
    """A network as a browser has measured it: milliseconds, and megabits a second."""

    rtt: float
    downlink: float

    @property
    def ect(self) -> str:
        """Its effective connection type."""
        for name, rtt, downlink in _BOUNDS:
            if self.rtt >= rtt or self.downlink <= downlink:
                return name
        return "4g"

    def hints(self) -> Headers:
        """Return what Chromium says of it, rounded as Chromium rounds it."""
        rtt = min(round(self.rtt / _RTT_STEP) * _RTT_STEP, _MOST_RTT)
        steps = max(1, round(Decimal(self.downlink) / _DOWNLINK_STEP))
        downlink = min(steps * _DOWNLINK_STEP, _MOST_DOWNLINK).normalize()
        return (("ECT", self.ect), ("RTT", str(rtt)), ("Downlink", f"{downlink:f}"))


class Visitors:
    """Makes up requests, always the same ones for a seed."""

    def __init__(self, seed: int, *, sized: bool = True) -> None:
        """Begin anew. Without `sized` no page names a size: the table says how wide."""
        self._layouts = LAYOUTS if sized else LAYOUTS[:1]
        self._chance = random.Random(seed)  # noqa: S311 - comes back the same
        self._names = [f"photographs/{number:04}.jpg" for number in range(ORIGINALS)]
        self._popularity = list(accumulate(1 / rank**ZIPF for rank in range(1, ORIGINALS + 1)))

    def requests(self, count: int) -> Iterator[Ask]:
        """Yield so many requests, visit after visit."""
        left = count
        while left > 0:
            for ask in self._visit():
                if left == 0:
                    return
                left -= 1
                yield ask

    def _visit(self) -> Iterator[Ask]:
        chance = self._chance
        (browser,) = chance.choices(BROWSERS, [known.share for known in BROWSERS])
        width, dpr = chance.choice(browser.screens)
        if chance.random() < browser.resized:
            width = chance.randint(600, width)
        hinted = browser.hints and chance.random() < HINTED_SHARE
        scripted = not hinted and chance.random() < SCRIPTED_SHARE
        old_hints = hinted and chance.random() < OLD_HINTS_SHARE
        saves = browser.hints and chance.random() < SAVE_DATA_SHARE
        (layout,) = chance.choices(self._layouts, [known[0] for known in self._layouts])
        network = self._network()
        for _ in range(chance.randint(*PICTURES_A_VISIT)):
            network = self._next(network)
            headers: list[tuple[str, str]] = [("Accept", browser.accept)]
            (name,) = chance.choices(self._names, cum_weights=self._popularity)
            parts = [f"name={name}", *chance.choice(layout[1])]
            if saves:
                headers.append(("Save-Data", "on"))
            if hinted:
                prefix = "" if old_hints else "Sec-CH-"
                headers += [(f"{prefix}DPR", dpr), (f"{prefix}Viewport-Width", str(width))]
                headers += network.hints()
            if scripted:
                parts += [f"screen={width}", f"dpr={dpr}"]
                if browser.hints:
                    parts.append(f"bandwidth={'save-data' if saves else network.ect}")
            yield Ask("&".join(self._odd(parts)), tuple(headers))

    def _odd(self, parts: list[str]) -> list[str]:
        """Spell some URLs as links on other pages do."""
        chance = self._chance
        if chance.random() < OLD_SPELLING_SHARE:
            parts = [
                part.replace("screen=", "screensize=").replace("fit=force", "fsize=1")
                for part in parts
            ]
        if chance.random() < TRACKED_SHARE:
            source = chance.choice(("newsletter", "facebook", "twitter", "google"))
            click = f"fbclid=IwAR{chance.getrandbits(64):016x}"
            parts = [*parts, chance.choice((f"utm_source={source}&utm_medium=social", click))]
        if chance.random() < BUSTED_SHARE:
            parts = [*parts, f"cb={chance.getrandbits(40)}"]
        if chance.random() < SHUFFLED_SHARE:
            chance.shuffle(parts)
        return parts

    def _network(self) -> Network:
        ((_, rtt, downlink),) = self._chance.choices(NETWORKS, [known[0] for known in NETWORKS])
        return self._moved(Network(rtt, downlink))

    def _next(self, network: Network) -> Network:
        if self._chance.random() < NETWORK_CHANGES:
            return self._network()
        if self._chance.random() < MEASURED_ANEW:
            return self._moved(network)
        return network

    def _moved(self, network: Network) -> Network:
        gauss = self._chance.gauss
        return Network(
            network.rtt * math.exp(gauss(0, _SPREAD)),
            network.downlink * math.exp(gauss(0, _SPREAD)),
        )
