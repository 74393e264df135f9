"""What `./run bench` measured, as a table in Markdown and a plot in SVG."""

import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from systems import CORES, System

OURS, STATIC_NAME = "imgprocessor", "Apache, static files"

Outcome = dict[str, float]
"""What one system did in one round, by the keys of MEASURES; what is void is absent."""


@dataclass(frozen=True)
class Measure:
    """One row of the table."""

    key: str
    title: str
    unit: str
    more_is_better: bool
    decimals: int = 1


MEASURES = (
    Measure("cold", "cold: first rendition of an original", "per second", True),
    Measure("cold_p50", "cold: latency, median", "ms", False, 0),
    Measure("cold_p95", "cold: latency, 95th percentile", "ms", False, 0),
    Measure("matrix", "matrix: 5 widths x 4 qualities, nothing kept before", "per second", True),
    Measure("new", "new renditions of originals seen before", "per second", True),
    Measure("repeats", "repeats of renditions asked for before", "per second", True, 0),
    Measure("pss", "most memory during the matrix, PSS", "MB", False, 0),
    Measure("rss", "most memory during the matrix, RSS", "MB", False, 0),
    Measure("kilobytes", "what was sent: 640 px, q60, mean", "kB", False),
    Measure("score", "what was sent: SSIMULACRA2, mean", "points", True),
)

_METHOD = """\
Every URL is asked for exactly once, over 4 kept connections, in the same shuffled order for all,
and each answer is checked: status 200, a whole JPEG, as wide as asked for. One wrong answer makes
the figure void. Each round begins with another system; each system begins it with an empty state,
and a few requests that do not count.

Repeats are wrk's, over all URLs answered before (2 threads, 16 connections). Peers render each of
these again: they keep nothing, and leave that to a cache in front. Static files are the same bytes,
served by the same Apache, right after.

Memory is of all processes of a system. RSS is sampled every 50 ms, and PSS where RSS is higher than
ever before in the round.

Scores are against the original, resized to the answer's size with Lanczos, over the cold originals
of the first round. imgprocessor's qualities mean what libjpeg-turbo's do, but its tables are its
own.

Load and servers share the processors.
"""


def write_results(
    file: Path,
    *,
    systems: Sequence[System],
    rounds: Sequence[dict[str, Outcome]],
    notes: Sequence[str],
    asked: str,
) -> None:
    """Write the table, and beside it the plot."""
    file.parent.mkdir(parents=True, exist_ok=True)
    plot = file.with_suffix(".svg")
    names = [system.name for system in systems]
    shown = [*names, *([STATIC_NAME] if any(STATIC_NAME in one for one in rounds) else [])]
    lines = [
        f"# Image servers compared, {file.stem}",
        "",
        f"{CORES} cores ({_processor()}), {_system()}. Rounds: {len(rounds)}. {asked}",
        "`./run bench` makes this file.",
        "",
        "| system | version | set up after |",
        "|---|---|---|",
        *(f"| {one.name} | {one.version()} | {one.document} |" for one in systems),
        "",
        f"Medians over the rounds; the last column: median of each round's {OURS} / best peer.",
        "",
        *_table(rounds, shown),
        "",
        *_ratio_to_static(rounds),
        *(f"- {note}" for note in notes),
        *([""] if notes else []),
        f"![The same as bars]({plot.name})",
        "",
        "## How",
        "",
        _METHOD,
        "## Each round",
        "",
        *_each_round(rounds, shown),
        "",
    ]
    file.write_text("\n".join(lines), encoding="utf-8")
    plot.write_text(_plot(rounds, shown), encoding="utf-8")


def median(rounds: Sequence[dict[str, Outcome]], name: str, key: str) -> float | None:
    """Return a system's median over the rounds in which it has a figure."""
    values = _values(rounds, name, key)
    return statistics.median(values) if values else None


def _values(rounds: Sequence[dict[str, Outcome]], name: str, key: str) -> list[float]:
    return [one[name][key] for one in rounds if key in one.get(name, {})]


def ratio_to_best(rounds: Sequence[dict[str, Outcome]], measure: Measure) -> float | None:
    """Return the median of ours to the best peer's of the same round."""
    ratios = []
    for one in rounds:
        peers = [
            outcome[measure.key]
            for name, outcome in one.items()
            if name not in {OURS, STATIC_NAME} and measure.key in outcome
        ]
        ours = one.get(OURS, {}).get(measure.key)
        if peers and ours is not None:
            ratios.append(ours / (max(peers) if measure.more_is_better else min(peers)))
    return statistics.median(ratios) if ratios else None


def _ratio_to_static(rounds: Sequence[dict[str, Outcome]]) -> list[str]:
    ratios = [
        one[OURS]["repeats"] / one[STATIC_NAME]["repeats"]
        for one in rounds
        if "repeats" in one.get(OURS, {}) and "repeats" in one.get(STATIC_NAME, {})
    ]
    if not ratios:
        return []
    ratio = statistics.median(ratios)
    return [f"Repeats, {OURS} to static files of the same Apache: {ratio:.3f}.", ""]


def _table(rounds: Sequence[dict[str, Outcome]], names: Sequence[str]) -> list[str]:
    lines = [
        f"| | unit | better | {' | '.join(names)} | ours / best peer |",
        f"|---|---|---|{'--:|' * (len(names) + 1)}",
    ]
    for measure in MEASURES:
        cells = []
        for name in names:
            value = median(rounds, name, measure.key)
            cells.append("" if value is None else f"{value:.{measure.decimals}f}")
        ratio = ratio_to_best(rounds, measure)
        cells.append("" if ratio is None else f"{ratio:.2f}")
        better = "more" if measure.more_is_better else "less"
        lines.append(f"| {measure.title} | {measure.unit} | {better} | {' | '.join(cells)} |")
    return lines


def _each_round(rounds: Sequence[dict[str, Outcome]], names: Sequence[str]) -> list[str]:
    lines = [f"| | {' | '.join(names)} |", f"|---|{'--:|' * len(names)}"]
    for measure in MEASURES:
        cells = [
            ", ".join(
                f"{value:.{measure.decimals}f}" for value in _values(rounds, name, measure.key)
            )
            for name in names
        ]
        lines.append(f"| {measure.title} | {' | '.join(cells)} |")
    return lines


def _processor() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    models = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    return models[0] if models else platform.machine()


def _system() -> str:
    release = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    return f"{release}, Linux {platform.release()}"


_PLOTTED = ("cold", "matrix", "new", "repeats", "pss", "kilobytes", "score", "cold_p95")
_COLUMNS = 2
_PANEL_WIDTH, _LABEL_WIDTH, _VALUE_WIDTH, _BAR_HEIGHT, _ROW = 480, 130, 60, 16, 22
_OURS_COLOUR, _PEER_COLOUR = "#b3541e", "#8a9aa8"


def _plot(rounds: Sequence[dict[str, Outcome]], names: Sequence[str]) -> str:
    """Return bars of the medians, a panel for each measure, with a dot for each round."""
    height = 60 + _ROW * len(names)
    measures = [measure for measure in MEASURES if measure.key in _PLOTTED]
    rows = -(-len(measures) // _COLUMNS)
    width = _COLUMNS * _PANEL_WIDTH + 20
    size = f'width="{width}" height="{rows * height + 20}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    for index, measure in enumerate(measures):
        row, column = divmod(index, _COLUMNS)
        place = f"translate({20 + column * _PANEL_WIDTH} {10 + row * height})"
        parts += [f'<g transform="{place}">', *_panel(rounds, names, measure), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _panel(
    rounds: Sequence[dict[str, Outcome]], names: Sequence[str], measure: Measure
) -> list[str]:
    better = "more is better" if measure.more_is_better else "less is better"
    room = _PANEL_WIDTH - _LABEL_WIDTH - _VALUE_WIDTH - 20
    measured = [name for name in names if _values(rounds, name, measure.key)]
    top = max((max(_values(rounds, name, measure.key)) for name in measured), default=0.0)
    scale = room / top if top > 0 else 0.0
    parts = [
        f'<text y="18" font-weight="bold">{escape(measure.title)}</text>',
        f'<text y="34" fill="#555555">{escape(measure.unit)}; {better}</text>',
    ]
    for index, name in enumerate(measured):
        y = 44 + index * _ROW
        values = _values(rounds, name, measure.key)
        middle = statistics.median(values)
        colour = _OURS_COLOUR if name == OURS else _PEER_COLOUR
        size = f'width="{max(0.0, middle * scale):.1f}" height="{_BAR_HEIGHT}"'
        end = _LABEL_WIDTH + max(*values, 0.0) * scale + 6
        shown = f"{middle:.{measure.decimals}f}"
        parts += [
            f'<text x="{_LABEL_WIDTH - 8}" y="{y + 12}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{_LABEL_WIDTH}" y="{y}" {size} fill="{colour}"/>',
            *(_dot(_LABEL_WIDTH + value * scale, y + _BAR_HEIGHT / 2) for value in values),
            f'<text x="{end:.1f}" y="{y + 12}">{shown}</text>',
        ]
    return parts


def _dot(x: float, y: float) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:g}" r="2" fill="#222222"/>'
