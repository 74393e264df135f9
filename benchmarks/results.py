"""What `./run bench` measured, as a table in Markdown and a plot in SVG."""

import datetime as dt
import platform
import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from systems import CORES, System

OURS, STATIC_NAME, STATIC_WEBP = "imgprocessor", "Apache, static files", "static WebP"

Outcome = dict[str, float]
"""What one system did in one round, by the keys of measures; what is void is absent."""


@dataclass(frozen=True)
class Measure:
    """One row of the table."""

    key: str
    title: str
    unit: str
    more_is_better: bool
    decimals: int = 1


@dataclass(frozen=True)
class Comparison:
    """What is compared: the rows of the table, and the words around it."""

    title: str
    command: str
    """Which makes the file."""
    suffix: str
    """Of the file's name, after the day."""
    measures: Sequence[Measure]
    plotted: Collection[str]
    """Keys of measures."""
    method: str
    """In Markdown."""


def write_results(
    folder: Path,
    comparison: Comparison,
    *,
    systems: Sequence[System],
    names: Sequence[str],
    rounds: Sequence[dict[str, Outcome]],
    notes: Sequence[str],
    asked: str,
) -> None:
    """Write the table of today, with a column for each name, and beside it the plot.

    Names that begin with ours are ours; all others are peers, but for static files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    day = f"{dt.datetime.now().astimezone():%Y-%m-%d}"
    file = folder / f"{day}{comparison.suffix}.md"
    plot = file.with_suffix(".svg")
    measures = [
        one for one in comparison.measures if any(_values(rounds, name, one.key) for name in names)
    ]
    lines = [
        f"# {comparison.title}, {day}",
        "",
        f"{CORES} cores ({_processor()}), {_system()}. Rounds: {len(rounds)}. {asked}",
        f"`{comparison.command}` makes this file.",
        "",
        "| system | version | set up after |",
        "|---|---|---|",
        *(f"| {one.name} | {one.version()} | {one.document} |" for one in systems),
        "",
        "Medians over the rounds; last: median of each round's ratio to the best peer.",
        "",
        *_table(measures, rounds, names),
        "",
        *_ratio_to_static(rounds),
        *(f"- {note}" for note in notes),
        *([""] if notes else []),
        f"![The same as bars]({plot.name})",
        "",
        "## How",
        "",
        comparison.method,
        "## Each round",
        "",
        *_each_round(measures, rounds, names),
        "",
    ]
    file.write_text("\n".join(lines), encoding="utf-8")
    plotted = [one for one in measures if one.key in comparison.plotted]
    plot.write_text(_plot(plotted, rounds, names), encoding="utf-8")


def median(rounds: Sequence[dict[str, Outcome]], name: str, key: str) -> float | None:
    """Return a system's median over the rounds in which it has a figure."""
    values = _values(rounds, name, key)
    return statistics.median(values) if values else None


def _values(rounds: Sequence[dict[str, Outcome]], name: str, key: str) -> list[float]:
    return [one[name][key] for one in rounds if key in one.get(name, {})]


def ratio_to_best(
    rounds: Sequence[dict[str, Outcome]], measure: Measure, name: str = OURS
) -> float | None:
    """Return the median of what is ours to the best peer's of the same round."""
    ratios = []
    for one in rounds:
        peers = [
            outcome[measure.key]
            for peer, outcome in one.items()
            if not peer.startswith((OURS, STATIC_NAME, STATIC_WEBP)) and measure.key in outcome
        ]
        ours = one.get(name, {}).get(measure.key)
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


def _table(
    measures: Sequence[Measure], rounds: Sequence[dict[str, Outcome]], names: Sequence[str]
) -> list[str]:
    ours = [name for name in names if name.startswith(OURS)]
    ratios = [f"{name} / best peer" for name in ours]
    lines = [
        f"| | unit | better | {' | '.join((*names, *ratios))} |",
        f"|---|---|---|{'--:|' * (len(names) + len(ratios))}",
    ]
    for measure in measures:
        cells = []
        for name in names:
            value = median(rounds, name, measure.key)
            cells.append("" if value is None else f"{value:.{measure.decimals}f}")
        for name in ours:
            ratio = ratio_to_best(rounds, measure, name)
            cells.append("" if ratio is None else f"{ratio:.2f}")
        better = "more" if measure.more_is_better else "less"
        lines.append(f"| {measure.title} | {measure.unit} | {better} | {' | '.join(cells)} |")
    return lines


def _each_round(
    measures: Sequence[Measure], rounds: Sequence[dict[str, Outcome]], names: Sequence[str]
) -> list[str]:
    lines = [f"| | {' | '.join(names)} |", f"|---|{'--:|' * len(names)}"]
    for measure in measures:
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


_COLUMNS = 2
_PANEL_WIDTH, _LABEL_WIDTH, _VALUE_WIDTH, _BAR_HEIGHT, _ROW = 480, 130, 60, 16, 22
_OURS_COLOUR, _PEER_COLOUR = "#b3541e", "#8a9aa8"


def _plot(
    measures: Sequence[Measure], rounds: Sequence[dict[str, Outcome]], names: Sequence[str]
) -> str:
    """Return bars of the medians, a panel for each measure, with a dot for each round."""
    height = 60 + _ROW * len(names)
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
