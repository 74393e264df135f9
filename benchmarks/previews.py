"""What pages of documents cost: each file given is drawn in the sandbox, again and again.

    .venv/bin/python benchmarks/previews.py [--rounds N] [--keep FOLDER] [FILE...]

Without files it makes some, one of each kind. Prints for each its kind, the median of milliseconds
of wall clock, the peak of memory of its programs in MB, and what the page weighs, by the sandbox
that this machine has; where `PATH` has no `bwrap`, by the other one. `--keep` leaves the pages in a
folder, to be looked at.
"""

import argparse
import multiprocessing
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))

import documents
import office_files
import photographs
import videos

from imgprocessor.config.jobs_settings import PreviewsSettings
from imgprocessor.errors import ImageError
from imgprocessor.geometry import FIRST_PAGE
from imgprocessor.images.previews.kind import Ends
from imgprocessor.images.previews.registry import document_kind
from imgprocessor.jobs.previews.results import open_result, remove_tree
from imgprocessor.jobs.previews.sandbox import Sandbox, find_sandbox

_SETTINGS = PreviewsSettings()


def made(folder: Path) -> Iterator[Path]:
    """Make a document of each kind."""
    text = [documents.said(f"Line {line}", 12, f"20 {780 - 18 * line}") for line in range(40)]
    picture = Image.effect_noise((1200, 900), 60).convert("RGB")
    bodies = {
        "paper.pdf": documents.pdf([b"".join(text)] * 20, media_box=b"0 0 595 842"),
        "drawing.svg": (
            b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 100"><circle cx="50" cy="50"'
            b' r="40" fill="teal"/><text x="90" y="60" font-family="Arial">Some text</text></svg>'
        ),
        "small.heic": photographs.heif(),
        "raw.dng": photographs.dng(1200, 900),
        "letter.docx": office_files.docx([f"Page {page}" for page in range(20)]),
        "sheet.xlsx": office_files.xlsx(office_files.xlsx_rows(1000)),
        "slides.pptx": office_files.pptx([f"Slide {slide}" for slide in range(20)]),
        "film.mov": videos.mov([picture] * 50),
    }
    for name, body in bodies.items():
        (folder / name).write_bytes(body)
        yield folder / name


def drawn(sandbox: Sandbox, file: Path, keep: Path | None) -> tuple[str, float, int]:
    """Draw a file's first page; return its kind, the milliseconds and the bytes."""
    with file.open("rb") as opened:
        kind = document_kind(Ends.of(opened))
    if kind is None:
        return "no document", 0.0, 0
    place = Path(tempfile.mkdtemp(prefix="previews-"))
    try:
        began = time.perf_counter()
        document, made = place / f"document{kind.suffixes[0]}", place / "made"
        shutil.copy(file, document)
        made.mkdir()
        run = sandbox.running(document, made, _SETTINGS.document_seconds)
        try:
            page = kind.draw(run, FIRST_PAGE, _SETTINGS.side_pixels)
            with open_result(made, page.file, 10**9) as result:
                body = result.read()
        except ImageError as error:
            return f"{kind.name}: {error.public}", 1000 * (time.perf_counter() - began), 0
        spent = 1000 * (time.perf_counter() - began)
        if keep is not None:
            keep.mkdir(exist_ok=True)
            ending = ".png" if body.startswith(b"\x89PNG") else ".jpg"
            (keep / f"{file.name}{ending}").write_bytes(body)
        return kind.name, spent, len(body)
    finally:
        remove_tree(place)


def measured(sandbox: Sandbox, file: Path, rounds: int, keep: Path | None) -> str:
    """Draw a file again and again, in a process that has done nothing else; return a line."""
    results = [drawn(sandbox, file, keep) for _ in range(rounds)]
    kind, _, size = results[-1]
    median = statistics.median(spent for _, spent, _ in results)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return f"{file.name:40} {kind:20} {median:8.0f} ms {peak:6.0f} MB {size:12,} bytes"


def main() -> None:
    """Measure all files."""
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--keep", type=Path)
    options.add_argument("files", nargs="*", type=Path)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sandbox = find_sandbox([], Path(folder))
        sys.stdout.write(f"by {sandbox.way.name}\n")
        for file in given.files or [*made(Path(folder))]:
            with multiprocessing.get_context("fork").Pool(1) as fresh:
                wanted = (sandbox, file, given.rounds, given.keep)
                sys.stdout.write(fresh.apply(measured, wanted) + "\n")


if __name__ == "__main__":
    main()
