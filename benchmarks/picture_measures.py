"""What `./run bench` measures of pictures, and how."""

from collections.abc import Iterator

from edge_visitors import FIREFOX, SAFARI
from results import Comparison, Measure
from scores import PHONE_PIXELS

WARM_UP, WARM_UP_WIDTHS = "warm.jpg", range(200, 208)
WIDTHS = (320, 480, 640, 960, 1280)
NEW_WIDTHS = tuple(width - 16 for width in WIDTHS)
JPEG_WIDTH, JPEG_QUALITY = 640, 60
BROWSERS_WIDTH, BROWSERS_QUALITY = 1080, 75
BROWSERS = {
    # What Chromium 156 sends, as seen. It also takes JPEG XL, which nobody here offers.
    "Chromium": "image/jxl,image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
    "Firefox": FIREFOX,
    "Safari": SAFARI,
}
"""The `Accept` of today's browsers, when they load pictures."""
SCORED_OF_A_MATRIX = 12


def _cold(key: str, title: str) -> Iterator[Measure]:
    yield Measure(key, f"{title}: pictures", "per second", True)
    yield Measure(f"{key}_p50", f"{title}: latency, median", "ms", False, 0)
    yield Measure(f"{key}_p95", f"{title}: latency, 95th percentile", "ms", False, 0)
    yield Measure(f"{key}_cpu", f"{title}: processor time of a picture", "ms", False, 0)
    yield Measure(f"{key}_cpu_behind", f"{title}: and of what comes behind", "ms", False, 0)
    yield Measure(f"{key}_pss", f"{title}: most memory, PSS", "MB", False, 0)
    yield from _sent(key, title)
    yield Measure(f"{key}_seen", f"{title}: SSIMULACRA2 as seen on a phone", "points", True)


def _sent(key: str, title: str) -> Iterator[Measure]:
    yield Measure(f"{key}_kilobytes", f"{title}: sent, mean", "kB", False)
    yield Measure(f"{key}_score", f"{title}: SSIMULACRA2 at the size sent", "points", True)


MEASURES = (
    *_cold("cold", f"cold JPEG, {JPEG_WIDTH} px q{JPEG_QUALITY}"),
    *(
        measure
        for browser in BROWSERS
        for measure in _cold(
            browser, f"cold as {browser} asks, {BROWSERS_WIDTH} px q{BROWSERS_QUALITY}"
        )
    ),
    Measure("matrix", "matrix, JPEG: 5 widths x 4 qualities", "per second", True),
    *_sent("matrix", "matrix, JPEG"),
    Measure("pss", "matrix, JPEG: most memory, PSS", "MB", False, 0),
    Measure("rss", "matrix, JPEG: most memory, RSS", "MB", False, 0),
    Measure("browsers_matrix", "matrix as Chromium asks: the same", "per second", True),
    *_sent("browsers_matrix", "matrix as Chromium asks"),
    Measure("new", "new JPEGs of originals seen before", "per second", True),
    Measure("repeats", "repeats of JPEGs asked for before", "per second", True, 0),
)

METHOD = f"""\
Every URL is asked for exactly once, over 4 kept connections, in the same shuffled order for all,
and each answer is checked: status 200, a whole picture, as wide as asked for. One wrong answer
makes the figure void. Each round begins with another system; each system begins it with an empty
state, and a few requests that do not count.

Cold are originals that were never asked for, one rendition each. JPEG means that the client takes
nothing else (`Accept: image/jpeg`). As a browser asks is with the `Accept` that it sends for
pictures; the system chooses the format as its own documents have it do so, at the same number for
quality, which each format takes for something else: so the score stands beside. What cannot choose
is left out. A matrix is all renditions of originals that were not asked for before.

Processor time is of all processes of a system, over the pictures: until the last answer; and with
what is done behind answers, which is over before the next part begins.

Repeats are wrk's, over all JPEGs answered before (2 threads, 16 connections). Peers render each of
these again: they keep nothing, and leave that to a cache in front. Static files are the same bytes,
served by the same Apache, right after.

Memory is of all processes of a system. RSS is sampled every 50 ms, and PSS where RSS is higher than
ever before in the part.

Scores are means over answers of the first round: of all photographs, cold; of {SCORED_OF_A_MATRIX}
renditions of a matrix. At the size sent: against the original, resized to the answer's size with
Lanczos. As seen on a phone: both on {PHONE_PIXELS} pixels, the answer stretched bilinearly, as
browsers do it. New renditions are coded as those of the matrix are. imgprocessor's qualities mean
what libjpeg-turbo's do, but its tables are its own.

Load and servers share the processors.
"""

PICTURES = Comparison(
    title="Image servers compared",
    command="./run bench",
    suffix="",
    measures=MEASURES,
    plotted=(
        *("cold", "cold_p50", "cold_cpu", "cold_pss", "Chromium", "Chromium_p50"),
        *("Chromium_cpu", "Chromium_kilobytes", "Chromium_score", "Chromium_seen"),
        *("matrix", "browsers_matrix", "new", "repeats"),
    ),
    method=METHOD,
)
