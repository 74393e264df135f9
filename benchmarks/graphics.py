"""Measure what is sent for graphics, against peers: bytes, at no lower score.

    python benchmarks/graphics.py --set FOLDER [--only tuning ...] [--sizes own,640,300] [--jobs 2]

FOLDER is what `graphics_set.py` makes: SET/KIND/NAME. For every picture, at its own size and at
each width that is smaller, it takes what Chromium gets of this server (in this process, by a policy
cell without a budget), and what peers would send (see `graphics_answers.py`). The score is
SSIMULACRA2, against the original reduced by Lanczos. The best peer is the lightest WebP. Printed
are per set and kind:

bytes       geometric mean of our bytes over the best peer's WebP; and over sharp's AVIF
lower       the share where our score is lower than the peer's by more than half a point; by how
            many points on average there, and at most
lost        the share where we weigh more and score lower; the same against sharp's AVIF
> file      the share where we weigh more than the original's file
ms          the processor's milliseconds, median; and over a photograph's of the same size
formats     what was sent

`--csv FILE` has each picture's figures; `--sheets DIR` makes pages that show original, ours and the
peer's side by side; `--candidates` adds how often what is sent is within a tenth of the lightest
that could have been, of those that score no lower. It takes some seconds a picture and processor,
the first time.
"""

import argparse
import csv
import math
import os
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest import mock

from graphics_answers import Peers, Sent, Server, at_width, score, shown
from graphics_set import SET_FOLDER
from PIL import Image, ImageDraw, ImageOps
from rich.console import Console
from rich.progress import track
from rich.table import Table

from imgprocessor.errors import ImageError
from imgprocessor.formats import Format
from imgprocessor.images.compression import compress, ways
from imgprocessor.images.compression.kind import PictureKind
from imgprocessor.images.decode import Picture
from imgprocessor.images.formats.encoders import ENCODERS, VERSIONS
from imgprocessor.images.pipeline import render
from imgprocessor.policy.plan import Plan
from imgprocessor.timing import Timings

OURS, AVIF = "ours", "sharp avif"
WEBP_PEERS = ("thumbor", "sharp webp")
LOWER_POINTS = 0.5
"""Scores that are nearer to each other are the same."""
WITHIN = 1.1
MOST_PIXELS = 2_000_000
CANDIDATES: tuple[Format, ...] = ("avif", "webp", "jpeg", "png")
CELL = (300, 200)
ON_A_SHEET, ACROSS, CAPTION = 12, 2, 34
PAPER = "#c8c8c8"


@dataclass(frozen=True)
class Task:
    """What is to be measured, but for the pictures."""

    folder: Path
    cache: Path
    cell: str
    offer: str
    state: Path
    """For this run alone."""
    sizes: tuple[int | None, ...]
    candidates: bool
    sheets: bool


@dataclass(frozen=True)
class Row:
    """One picture at one size."""

    name: str
    width: int | None
    """None: its own."""
    file_bytes: int
    weights: dict[str, int]
    """Bytes, by who sends them."""
    scores: dict[str, float]
    format: str
    peer: str
    """Whose WebP is the lightest."""
    ms: float
    photograph_ms: float
    candidates: dict[str, int]
    shown: tuple[Image.Image, Image.Image, Image.Image] | None
    """The original, ours and the peer's, for a sheet."""

    @property
    def set_and_kind(self) -> tuple[str, str]:
        """Where the picture lies."""
        first, kind, _ = self.name.split("/")
        return first, kind

    @property
    def lower_points(self) -> float:
        """So many points ours is below the peer's; negative where it is above."""
        return self.scores[self.peer] - self.scores[OURS]

    def lost_to(self, peer: str) -> bool:
        """Whether ours weighs more than a peer's and looks worse."""
        is_lower = self.scores[peer] - self.scores[OURS] > LOWER_POINTS
        return is_lower and self.weights[OURS] > self.weights[peer]


def candidates(picture: Picture, plan: Plan) -> dict[str, Sent]:
    """Return the candidates for an answer, by name: each format, by all that is done for a graphic
    and by all that is done for a photograph, whatever the picture is taken for.
    """
    transparent = picture.image.has_transparency_data
    found = {}
    for is_graphic in (True, False):
        taken = mock.patch.object(ways, "kind_of", return_value=PictureKind(is_graphic, None))
        with taken, mock.patch.object(compress, "may_win", return_value=True):
            for known in CANDIDATES:
                if known in ENCODERS and (ENCODERS[known].keeps_alpha or not transparent):
                    made = render(picture, replace(plan, formats=(known,)), Timings())
                    name = f"{known}{' graphic' * is_graphic}"
                    found[name] = Sent(made.body, made.format)
    return found


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description="Measure what is sent for graphics.")
    parser.add_argument("--set", type=Path, default=SET_FOLDER, metavar="FOLDER")
    parser.add_argument("--only", nargs="+", metavar="SET[/KIND]", help="these sets or kinds alone")
    parser.add_argument("--limit", type=int, help="so many pictures, from all over")
    parser.add_argument("--sizes", default="own,640,300")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--cell", default="q80", help="of the policy")
    parser.add_argument("--offer", default="avif webp jpeg", help="formats of the policy")
    parser.add_argument("--cache", type=Path, default=SET_FOLDER.parent)
    parser.add_argument("--candidates", action="store_true")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--sheets", type=Path, metavar="DIR")
    options = parser.parse_args()
    folder: Path = options.set.resolve()
    paths = _chosen(folder, options.only, options.limit)
    sizes = tuple(None if size == "own" else int(size) for size in options.sizes.split(","))
    console = Console(stderr=True)
    asked = [(path, width) for path in paths for width in _widths(path, sizes)]
    made = Peers(options.cache).prepare(asked)
    for _ in track(made, "asking sharp", total=None, console=console):
        pass
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as state, ProcessPoolExecutor(options.jobs) as pool:
        task = Task(
            folder=folder,
            cache=options.cache,
            cell=options.cell,
            offer=options.offer,
            state=Path(state),
            sizes=sizes,
            candidates=options.candidates,
            sheets=options.sheets is not None,
        )
        found = pool.map(partial(_measure, task=task), paths)
        for one in track(found, "measuring", total=len(paths), console=console):
            if isinstance(one, str):
                console.print(f"left out: {one}")
            else:
                rows += one
    _print(rows)
    if options.csv:
        _write_csv(rows, options.csv)
    if options.sheets:
        _draw_sheets(rows, options.sheets)
    return 0


def _chosen(folder: Path, only: Sequence[str] | None, limit: int | None) -> list[Path]:
    paths = sorted(
        path
        for path in folder.glob("*/*/*")
        if not only or {path.parts[-3], "/".join(path.parts[-3:-1])} & set(only)
    )
    if not paths:
        raise SystemExit(f"{folder}: no such pictures; benchmarks/graphics_set.py makes them")
    count = min(limit or len(paths), len(paths))
    return [paths[index * len(paths) // count] for index in range(count)]


def _widths(path: Path, sizes: Iterable[int | None]) -> list[int | None]:
    """Return the sizes that a picture has."""
    with Image.open(path) as image:
        if image.width * image.height > MOST_PIXELS:
            sizes = [size for size in sizes if size is not None]
        return [size for size in sizes if size is None or size < image.width]


@cache
def _server(task: Task) -> Server:
    state = Path(tempfile.mkdtemp(dir=task.state))
    return Server(task.folder, state, cell=task.cell, offer=task.offer)


@cache
def _photograph_ms(task: Task, size: tuple[int, int], width: int | None) -> float:
    """Return what a photograph takes that was so large, as a JPEG."""
    known = sorted((task.folder / "photographs" / "png").iterdir())
    with tempfile.TemporaryDirectory() as place, Image.open(known[0]) as photograph:
        fitted = ImageOps.fit(photograph.convert("RGB"), size, Image.Resampling.LANCZOS)
        fitted.save(Path(place, "photograph.jpg"), quality=90)
        server = Server(Path(place), Path(place), cell=task.cell, offer=task.offer)
        return server.ask("photograph.jpg", width)[1]


def _measure(path: Path, task: Task) -> list[Row] | str:
    name = str(path.relative_to(task.folder))
    try:
        return [_row(path, name, width, task) for width in _widths(path, task.sizes)]
    except ImageError as error:
        return f"{name}: {error.code}: {error}"


def _row(path: Path, name: str, width: int | None, task: Task) -> Row:
    server = _server(task)
    rendition, ms = server.ask(name, width)
    sent = {OURS: Sent(rendition.body, rendition.format)}
    sent |= Peers(task.cache).answers(path, width)
    peer = min(WEBP_PEERS, key=lambda one: len(sent[one].body))
    original = shown(path)
    scored = {
        who: score(original, sent[who].shown(), width, task.cache) for who in (OURS, peer, AVIF)
    }
    weighed = {}
    if task.candidates:
        with server.decoded(name, width) as (picture, plan):
            found = candidates(picture, plan)
        least = scored[OURS] - LOWER_POINTS
        weighed = {OURS: len(rendition.body)} | {
            who: len(one.body)
            for who, one in found.items()
            # What is not lighter by a tenth needs no score.
            if WITHIN * len(one.body) >= len(rendition.body)
            or score(original, one.shown(), width, task.cache) >= least
        }
    pictures = None
    if task.sheets:
        theirs = sent[peer].shown()
        whole = at_width(original, theirs.size)
        ours = at_width(sent[OURS].shown(), theirs.size)
        pictures = (_middle(whole), _middle(ours), _middle(theirs))
    return Row(
        name=name,
        width=width,
        file_bytes=path.stat().st_size,
        weights={who: len(one.body) for who, one in sent.items()},
        scores=scored,
        format=rendition.format,
        peer=peer,
        ms=ms,
        photograph_ms=_photograph_ms(task, original.size, width),
        candidates=weighed,
        shown=pictures,
    )


def _print(rows: Sequence[Row]) -> None:
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        first, kind = row.set_and_kind
        size = "own" if row.width is None else f"{row.width} px"
        for group in ((first, kind), (first, f"all, {size}"), (first, "all")):
            groups.setdefault(group, []).append(row)
    heads = "set|kind|n|bytes|AVIF|lower|points|worst|lost|to AVIF|> file|ms|of photo|formats"
    table = Table(*heads.split("|"), box=None, title=VERSIONS)
    if any(row.candidates for row in rows):
        table.add_column("<10 %")
    for group, some in sorted(groups.items()):
        if group[1] == "all":
            table.add_section()
        table.add_row(*group, *_figures(some), style="bold" if group[1] == "all" else "")
    Console(width=None if sys.stdout.isatty() else 150).print(table)


def _figures(rows: Sequence[Row]) -> list[str]:
    lower = [row.lower_points for row in rows if row.lower_points > LOWER_POINTS]
    larger = [row.weights[OURS] > row.file_bytes for row in rows]
    formats = Counter(row.format for row in rows)
    figures = [
        f"{len(rows)}",
        f"{_mean_ratio((row.weights[OURS], row.weights[row.peer]) for row in rows):.3f}",
        f"{_mean_ratio((row.weights[OURS], row.weights[AVIF]) for row in rows):.3f}",
        f"{len(lower) / len(rows):.0%}",
        f"{statistics.mean(lower) if lower else 0:.1f}",
        f"{max(lower, default=0):.1f}",
        f"{statistics.mean(row.lost_to(row.peer) for row in rows):.0%}",
        f"{statistics.mean(row.lost_to(AVIF) for row in rows):.0%}",
        f"{statistics.mean(larger):.0%}",
        f"{statistics.median(row.ms for row in rows):.0f}",
        f"{_mean_ratio((row.ms, row.photograph_ms) for row in rows):.2f}",
        " ".join(f"{known}:{count}" for known, count in formats.most_common()),
    ]
    if any(row.candidates for row in rows):
        near = [row.weights[OURS] <= WITHIN * min(row.candidates.values()) for row in rows]
        figures.append(f"{statistics.mean(near):.0%}")
    return figures


def _mean_ratio(pairs: Iterable[tuple[float, float]]) -> float:
    return math.exp(statistics.mean(math.log(ours / theirs) for ours, theirs in pairs))


def _write_csv(rows: Sequence[Row], target: Path) -> None:
    records: list[dict[str, Any]] = []
    for row in rows:
        record: dict[str, Any] = {
            "name": row.name,
            "width": row.width or "own",
            "file bytes": row.file_bytes,
        }
        record |= {"format": row.format, "peer": row.peer}
        record |= {f"{who} bytes": count for who, count in row.weights.items()}
        record |= {f"{who} score": round(row.scores[who], 2) for who in (OURS, AVIF)}
        record |= {"peer score": round(row.scores[row.peer], 2)}
        record |= {"ms": round(row.ms, 1), "photograph ms": round(row.photograph_ms, 1)}
        record |= {f"candidate {name}": count for name, count in row.candidates.items()}
        records.append(record)
    columns = list(dict.fromkeys(column for record in records for column in record))
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(records)


def _middle(image: Image.Image) -> Image.Image:
    """Return the middle of a picture as it lies on a sheet."""
    left, top = (max(0, (has - room) // 2) for has, room in zip(image.size, CELL, strict=True))
    part = image.crop(
        (left, top, min(image.width, left + CELL[0]), min(image.height, top + CELL[1]))
    )
    paper = Image.new("RGBA", CELL, PAPER)
    place = ((CELL[0] - part.width) // 2, (CELL[1] - part.height) // 2)
    paper.alpha_composite(part.convert("RGBA"), place)
    return paper.convert("RGB")


def _draw_sheets(rows: Sequence[Row], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    sheets: dict[str, list[Row]] = {}
    for row in rows:
        sheets.setdefault(f"{row.set_and_kind[0]}-{row.width or 'own'}", []).append(row)
    for name, some in sheets.items():
        for number, begin in enumerate(range(0, len(some), ON_A_SHEET), 1):
            page = _sheet(some[begin : begin + ON_A_SHEET])
            page.save(folder / f"{name}-{number:02}.png")


def _sheet(rows: Sequence[Row]) -> Image.Image:
    width, height = 3 * (CELL[0] + 8) + 16, CELL[1] + CAPTION
    down = -(-len(rows) // ACROSS)
    page = Image.new("RGB", (ACROSS * width, down * height), "white")
    draw = ImageDraw.Draw(page)
    for index, row in enumerate(rows):
        left, top = index % ACROSS * width, index // ACROSS * height
        captions = (
            f"{row.name[-48:]}\n{row.file_bytes:,} bytes",
            f"{OURS}: {row.format}\n{_figure(row, OURS)}",
            f"{row.peer}\n{_figure(row, row.peer)}",
        )
        for column, (image, caption) in enumerate(zip(row.shown or (), captions, strict=True)):
            x = left + column * (CELL[0] + 8)
            page.paste(image, (x, top))
            draw.text((x + 2, top + CELL[1] + 2), caption, "black")
    return page


def _figure(row: Row, who: str) -> str:
    return f"{row.weights[who]:,} bytes, {row.scores[who]:.1f}"


if __name__ == "__main__":
    sys.exit(main())
