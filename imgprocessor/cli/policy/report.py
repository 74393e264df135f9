"""`policy report`: what each cell weighs, scores and takes over a folder, as one page."""

import base64
import multiprocessing
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

import click
from jinja2 import Environment, PackageLoader, StrictUndefined
from rich.console import Console
from rich.progress import track

from imgprocessor.cli.options import FILE, Files, with_files
from imgprocessor.config.settings import Settings
from imgprocessor.errors import ConfigurationError, ImageError
from imgprocessor.images.comparison import require_metric, ssimulacra2
from imgprocessor.images.formats.encoders import VERSIONS
from imgprocessor.images.inspection import SUFFIXES
from imgprocessor.images.pipeline import Rendition
from imgprocessor.load import Overrides, load_policy, load_settings
from imgprocessor.originals.configured import make_roots
from imgprocessor.originals.roots import as_one
from imgprocessor.parts import make_delivery
from imgprocessor.policy.link import PICTURES_A_PAGE, Link, link_of
from imgprocessor.policy.seen import Device, device_of
from imgprocessor.policy.table import Cell, Policy
from imgprocessor.request.names import is_name
from imgprocessor.service.delivery import Delivery
from imgprocessor.service.understanding import Incoming

CHROMIUM_ACCEPT = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"

_PERCENTILE = 95
_CHART_HEIGHT, _CHART_STEP = 150, 58
_KILO = 1000


@click.command(
    help="Weigh, score and time every cell over a folder of originals; without DIR over those that"
    " the settings name."
)
@with_files(originals=False)
@click.argument("folder", type=FILE, metavar="DIR", required=False)
@click.option("-o", "--output", type=FILE, default="report.html", show_default=True)
@click.option("--accept", default=CHROMIUM_ACCEPT, help="The Accept header to send.")
@click.option("--pictures", default=3, help="So many originals are shown side by side.")
@click.option("--text", is_flag=True, help="Print the main table as Markdown.")
def report(
    files: Files, folder: Path | None, output: Path, accept: str, pictures: int, *, text: bool
) -> None:
    """Measure, and write the page."""
    require_metric()
    if not output.resolve().parent.is_dir():
        raise ConfigurationError(f"{output}: there is no such folder to write to")
    settings = load_settings(files.conf, Overrides(folder, files.overrides.policy))
    policy = load_policy(settings)
    names = originals_in(settings)
    samples = []
    console = Console(stderr=True)
    measured = measure(settings, policy, names, accept)
    for name, found in track(measured, "rendering and scoring", total=len(names), console=console):
        if isinstance(found, str):
            console.print(f"{name} is left out: {found}")
        else:
            samples += found
    summaries = summarise(samples, policy)
    if not summaries:
        raise ConfigurationError("none of the pictures can be rendered")
    known = sorted({sample.original for sample in samples})
    shown = known[:: max(1, len(known) // max(1, pictures))][:pictures]
    output.write_text(as_html(summaries, shown, accept), encoding="utf-8")
    if text:
        print(as_text(summaries))
    console.print(f"written: {output}")


@dataclass(frozen=True)
class Sample:
    """One rendition."""

    original: str
    screen: str
    bandwidth: str
    rendition: Rendition
    score: float
    """SSIMULACRA2 as sent: against the original resized to what the cell asks for."""
    seen: float
    """SSIMULACRA2 as seen: stretched over a typical screen of the row, against the original resized
    to that screen's pixels.
    """


@dataclass(frozen=True)
class Summary:
    """A cell, over all originals."""

    screen: str
    bandwidth: str
    cell: Cell
    device: Device
    link: Link
    samples: Sequence[Sample]

    @property
    def kilobytes(self) -> list[float]:
        """What the renditions weigh, the lightest first."""
        return sorted(len(sample.rendition.body) / _KILO for sample in self.samples)

    @property
    def scores(self) -> list[float]:
        """What they score as sent, the poorest first."""
        return sorted(sample.score for sample in self.samples)

    @property
    def seen(self) -> list[float]:
        """What they score as seen, the poorest first."""
        return sorted(sample.seen for sample in self.samples)

    @property
    def limited_percent(self) -> int:
        """How many had to give up quality or size for the budget."""
        limited = sum(bool(sample.rendition.limited) for sample in self.samples)
        return round(100 * limited / len(self.samples))

    @property
    def mean_kilobytes(self) -> float:
        """What the renditions weigh on average."""
        return statistics.fmean(self.kilobytes)

    @property
    def percentile_kilobytes(self) -> float:
        """The kilobytes that 95 percent keep under."""
        known = self.kilobytes
        return known[round((len(known) - 1) * _PERCENTILE / 100)]

    @property
    def page_seconds(self) -> float:
        """The modelled seconds for a page of pictures as heavy as these."""
        return self.link.page_seconds(self.mean_kilobytes * _KILO)


def originals_in(settings: Settings) -> list[str]:
    """Return the names of the pictures that are in the roots, and in no folder there.

    Raises:
        ConfigurationError: there are none, or they cannot be listed.
    """
    where = " ".join(map(str, settings.originals.roots))
    try:
        listed = as_one(make_roots(settings, keeps=False)).listed("")
    except ImageError as error:
        raise ConfigurationError(f"{where}: {error}") from error
    names = sorted(
        name
        for name in (*listed.files, *listed.links)
        if Path(name).suffix.lower() in SUFFIXES and is_name(name)
    )
    if not names:
        raise ConfigurationError(f"{where}: there are no pictures in it")
    return names


def measure(
    settings: Settings, policy: Policy, names: Sequence[str], accept: str
) -> Iterator[tuple[str, list[Sample] | str]]:
    """Render and score every cell for every original, several at a time.

    Yields an original's name with its samples, or with why it has none.
    """
    # Not forked: oxipng's threads are not there in a child, which would wait for them for ever.
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        work = partial(_measure, settings=settings, policy=policy, accept=accept)
        yield from zip(names, pool.map(work, names), strict=True)


def summarise(samples: Iterable[Sample], policy: Policy) -> list[Summary]:
    """Return one summary for each cell of the screens' rows, in the table's order."""
    cells: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        cells.setdefault((sample.screen, sample.bandwidth), []).append(sample)
    return [
        Summary(
            screen=screen.name,
            bandwidth=bandwidth.name,
            cell=policy.cells[screen.name, bandwidth.name],
            device=device_of(screen, policy),
            link=link_of(bandwidth, policy),
            samples=cells[screen.name, bandwidth.name],
        )
        for screen in policy.screens
        for bandwidth in policy.bandwidths
        if (screen.name, bandwidth.name) in cells
    ]


def as_html(summaries: Sequence[Summary], shown: Sequence[str], accept: str) -> str:
    """Return the page; `shown` are the originals whose renditions are put side by side."""
    environment = Environment(
        loader=PackageLoader("imgprocessor.cli.policy", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    screens: dict[str, list[Summary]] = {}
    for summary in summaries:
        screens.setdefault(summary.screen, []).append(summary)
    return environment.get_template("report.html.jinja").render(
        accept=accept,
        charts={screen: _charts(cells) for screen, cells in screens.items()},
        data_url=_data_url,
        encoders=VERSIONS,
        mean=statistics.fmean,
        originals=len({sample.original for one in summaries for sample in one.samples}),
        percentile=_PERCENTILE,
        pictures=PICTURES_A_PAGE,
        screens=screens,
        shown=shown,
        summaries=summaries,
    )


def as_text(summaries: Sequence[Summary]) -> str:
    """Return the main table in Markdown, as `docs/measurements.md` has it."""
    lines = [
        "| screen | bandwidth | cell | kB mean | p95 | sent | seen | worst | page, s | limited |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for one in summaries:
        weight = f"{one.mean_kilobytes:.1f} | {one.percentile_kilobytes:.1f}"
        scores = f"{statistics.fmean(one.scores):.0f} | {statistics.fmean(one.seen):.0f}"
        numbers = f"{weight} | {scores} | {one.seen[0]:.0f} | {one.page_seconds:.1f}"
        named = f"{one.screen} | {one.bandwidth} | `{one.cell}`"
        lines.append(f"| {named} | {numbers} | {one.limited_percent} % |")
    return "\n".join(lines)


def _measure(name: str, settings: Settings, policy: Policy, accept: str) -> list[Sample] | str:
    delivery = make_delivery(settings, policy=policy)
    samples = []
    try:
        for screen in policy.screens:
            asked = {"name": name, "screen": screen.name}
            pixels = device_of(screen, policy).pixels
            on_screen = _lossless(delivery, asked, pixels)
            for bandwidth in policy.bandwidths:
                asked["bandwidth"] = bandwidth.name
                found = delivery.find(
                    delivery.understand(Incoming(urlencode(asked), {"accept": accept}))
                )
                rendition = delivery.render(found).rendition
                background = settings.pixels.background
                fills = policy.cells[screen.name, bandwidth.name].width_pixels == pixels
                wanted = on_screen if fills else _lossless(delivery, asked)
                score = ssimulacra2(wanted, rendition, background)
                seen = score if fills else ssimulacra2(on_screen, rendition, background)
                samples.append(Sample(name, screen.name, bandwidth.name, rendition, score, seen))
    except ImageError as error:
        return f"{error.code}: {error}"
    return samples


def _lossless(
    delivery: Delivery, asked: dict[str, str], width_pixels: int | None = None
) -> Rendition:
    """Return what a cell asks for before it is encoded, at another width where one is given."""
    query_string = urlencode({**asked, "format": "png"})
    found = delivery.find(delivery.understand(Incoming(query_string, {})))
    plan = found.planned.plan
    cell = replace(plan.cell, budget_bytes=None, target_score=None)
    if width_pixels is not None:
        cell = replace(cell, width_pixels=width_pixels, width_percent=None)
    planned = replace(found.planned, plan=replace(plan, cell=cell))
    return delivery.render(replace(found, planned=planned)).rendition


def _data_url(rendition: Rendition) -> str:
    return f"data:{rendition.mime};base64,{base64.b64encode(rendition.body).decode()}"


@dataclass(frozen=True)
class Chart:
    """Dots in columns, one for each bandwidth; places are in the picture's own units."""

    title: str
    columns: Sequence[tuple[str, float, Sequence[float], float]]
    """Name, x, the dots' y, the median's y."""
    marks: Sequence[tuple[str, float]]
    width: int
    height: int = _CHART_HEIGHT


def _charts(cells: Sequence[Summary]) -> list[Chart]:
    return [
        _chart("kilobytes", cells, lambda one: one.kilobytes, lowest=0),
        _chart("SSIMULACRA2 as sent", cells, lambda one: one.scores, lowest=None),
        _chart("SSIMULACRA2 as seen", cells, lambda one: one.seen, lowest=None),
    ]


def _chart(
    title: str,
    cells: Sequence[Summary],
    values: Callable[[Summary], list[float]],
    lowest: float | None,
) -> Chart:
    known = [values(one) for one in cells]
    bottom = min(min(one) for one in known) if lowest is None else lowest
    top = max(max(one) for one in known)
    room = (top - bottom) or 1.0

    def place(value: float) -> float:
        return round(_CHART_HEIGHT * (1 - (value - bottom) / room), 1)

    columns = []
    for index, (one, dots) in enumerate(zip(cells, known, strict=True)):
        middle = place(statistics.median(dots))
        columns.append(
            (one.bandwidth, (index + 0.5) * _CHART_STEP, [place(dot) for dot in dots], middle)
        )
    values_marked = [bottom + room * share for share in (0, 0.5, 1)]
    marks = [(f"{value:.3g}", place(value)) for value in values_marked]
    return Chart(title, columns, marks, width=len(cells) * _CHART_STEP)
