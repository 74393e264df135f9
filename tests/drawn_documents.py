"""Documents drawn as a worker draws them: in this machine's sandbox, into folders of their own."""

import functools
import io
import os
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

from imgprocessor.errors import NoSuchPage, UndrawableDocument
from imgprocessor.geometry import Page
from imgprocessor.images.previews.kind import DocumentKind, Drawn, Ends
from imgprocessor.images.previews.registry import document_kind
from imgprocessor.jobs.previews.results import open_result
from imgprocessor.jobs.previews.sandbox import Sandbox, find_sandbox

SECONDS = 20.0
PREFIX = f"drawn-{os.getpid()}-"
"""Of folders that documents are drawn in: those of other processes are none of ours."""
MAX_RESULT_BYTES = 100_000_000

RED, GREEN, BLUE, WHITE, CLEAR = "red", "green", "blue", "white", "clear"

_MANY, _FEW = 190, 70


class Shown(NamedTuple):
    """A page as it was drawn."""

    picture: Image.Image
    pages: int | None
    file_bytes: int

    def at(self, x: float, y: float) -> str:
        """Say what colour is at a place, in shares of the sides."""
        width, height = self.picture.size
        place = (min(width - 1, int(x * width)), min(height - 1, int(y * height)))
        pixel = self.picture.convert("RGBA").getpixel(place)
        assert isinstance(pixel, tuple)
        if pixel[3] < _FEW:
            return CLEAR
        seen = "".join(
            "+" if value > _MANY else "-" if value < _FEW else "?" for value in pixel[:3]
        )
        named = {"+--": RED, "-+-": GREEN, "--+": BLUE, "+++": WHITE}
        return named.get(seen, f"{pixel}")

    def quarters(self) -> list[str]:
        """Return the colours amid each quarter, row by row."""
        return [self.at(x, y) for y in (0.25, 0.75) for x in (0.25, 0.75)]

    def ink(self) -> int:
        """Count the pixels that are neither white nor clear."""
        flat = Image.new("RGBA", self.picture.size, "white")
        flat.alpha_composite(self.picture.convert("RGBA"))
        return sum(flat.convert("L").histogram()[:200])

    def covered(self) -> tuple[float, float, float, float]:
        """Return the box that all that ink is in, in shares of the sides."""
        flat = Image.new("RGBA", self.picture.size, "white")
        flat.alpha_composite(self.picture.convert("RGBA"))
        found = flat.convert("L").point(lambda value: 255 * (value < 200)).getbbox()
        assert found is not None
        width, height = self.picture.size
        return (found[0] / width, found[1] / height, found[2] / width, found[3] / height)


@functools.cache
def sandbox() -> Sandbox:
    with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
        return find_sandbox([], Path(folder))


def kind_of(data: bytes) -> DocumentKind | None:
    return document_kind(Ends.of(io.BytesIO(data)))


def drawn(data: bytes, page: Page | int = 1, side_pixels: int = 200) -> Shown:
    """Draw a page of a document, whatever kind it is of.

    Raises:
        NoSuchPage: as kinds do.
        UndrawableDocument: as kinds do; or what was drawn is no picture.
    """
    kind = kind_of(data)
    assert kind is not None
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name:
        place = Path(name)
        folder = place / "work"
        folder.mkdir()
        document = place / f"document{kind.suffixes[0]}"
        document.write_bytes(data)
        document.chmod(0o444)
        run = sandbox().running(document, folder, SECONDS)
        asked = page if isinstance(page, Page) else Page(page)
        return _opened(kind.draw(run, asked, side_pixels), run.folder)


def _opened(result: Drawn, folder: Path) -> Shown:
    with open_result(folder, result.file, MAX_RESULT_BYTES) as file:
        data = file.read()
    picture = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
    picture.load()
    return Shown(picture, result.pages, len(data))


def refused(data: bytes, page: Page | int = 1) -> str:
    """Return the public sentence with which a document is refused."""
    with pytest.raises((UndrawableDocument, NoSuchPage)) as caught:
        drawn(data, page)
    return caught.value.public


def outcome(data: bytes) -> tuple[str, float]:
    """Return what came of a document, whatever it is, in one word or sentence; and the seconds."""
    begin = time.monotonic()
    try:
        said = "no document" if kind_of(data) is None else f"drawn, {_pixels(drawn(data))}"
    except (UndrawableDocument, NoSuchPage) as error:
        said = error.public
    return said, time.monotonic() - begin


def _pixels(shown: Shown) -> str:
    return "some ink" if shown.ink() else "blank"
