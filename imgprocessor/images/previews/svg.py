"""SVG: drawings, written anew by a strict reader, then drawn by resvg, which knows no scripts."""

import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import TypeVar

from imgprocessor.errors import UndrawableDocument
from imgprocessor.geometry import Page
from imgprocessor.images.previews.drawing import (
    NoPage,
    drawn_by_python,
    library_lacks,
    module_lacks,
)
from imgprocessor.images.previews.fonts import (
    FOLDERS,
    MONO,
    PACKAGES,
    SANS,
    SERIF,
    asked_for,
    families,
    font_files,
    stand_ins,
)
from imgprocessor.images.previews.kind import DAMAGED, TOO_LARGE, Drawn, Ends, Run
from imgprocessor.images.previews.svg_text import inflated_head, is_svg, rewritten

_STACK_BYTES = 256 << 20
"""resvg calls itself for each level of a thousand, and knows no end of its stack."""

_TOO_LARGE_SAYS = ("nodes limit", "pixmap", "elements limit")
"""In what resvg says of a document that is too large."""


_TRIAL_SIDES = (64, 128)
_AFFORDABLE_SECONDS = 4.0
"""Of the processor. What would take longer is drawn smaller."""

_Result = TypeVar("_Result")


class Svg:
    """SVG, compressed or not."""

    name = "svg"
    title = "SVG"
    suffixes: Sequence[str] = (".svg", ".svgz")

    def is_one(self, ends: Ends) -> bool:
        """Whether the root is an `svg`, in whatever encoding, after whatever may stand before."""
        return is_svg(inflated_head(ends.head))

    def lacks(self) -> str | None:
        """Say where resvg is missing, or any font: texts would be left out."""
        missing = library_lacks(self.name, "previews") or module_lacks("fontTools", "previews")
        if missing is None and not families():
            return f"no fonts are installed ({PACKAGES})"
        return missing

    def draw(self, run: Run, page: Page, side_pixels: int) -> Drawn:
        """Draw the only page."""
        return drawn_by_python(run, self.name, run.document, page, side_pixels)


def paint_svg(document: Path, number: int, side_pixels: int, picture: Path) -> int:
    """Draw it inside of the sandbox: see `drawing.Paint`. Transparent stays clear."""
    import resvg_py  # noqa: PLC0415 - inside of the sandbox alone

    if number != 1:
        raise NoPage(1)
    content = document.read_bytes()
    side = _with_a_deep_stack(partial(_affordable_side, content, side_pixels))
    text, has_text = rewritten(content, side)
    files: list[Path] = []
    if has_text:
        own = Path(mkdtemp(dir=picture.parent))
        stand_ins(asked_for(text), own)
        files = font_files([*FOLDERS, own])

    def draw() -> bytes:
        return bytes(
            resvg_py.svg_to_bytes(
                svg_string=text,
                skip_system_fonts=True,
                font_files=[str(file) for file in files],
                font_family=SERIF,
                serif_family=SERIF,
                sans_serif_family=SANS,
                cursive_family=SERIF,
                fantasy_family=SANS,
                monospace_family=MONO,
            )
        )

    try:
        picture.write_bytes(_with_a_deep_stack(draw))
    except ValueError as error:
        too_large = any(says in str(error).lower() for says in _TOO_LARGE_SAYS)
        raise UndrawableDocument(TOO_LARGE if too_large else DAMAGED) from error
    return 1


def _affordable_side(content: bytes, side_pixels: int) -> int:
    """Return the side, or a smaller one where filters and masks would take too long: what those
    take grows with the area, of which two small drawings tell. Letters take next to nothing.
    """
    import resvg_py  # noqa: PLC0415 - inside of the sandbox alone

    spent = []
    for side in _TRIAL_SIDES:
        text, _ = rewritten(content, side)
        began = time.thread_time()
        with suppress(ValueError):  # it fails again, and is told
            resvg_py.svg_to_bytes(svg_string=text, skip_system_fonts=True)
        spent.append(time.thread_time() - began)
    small, large = _TRIAL_SIDES
    seconds = (spent[1] - spent[0]) / (large**2 - small**2) * side_pixels**2
    if seconds <= _AFFORDABLE_SECONDS:
        return side_pixels
    return max(large, int(side_pixels * math.sqrt(_AFFORDABLE_SECONDS / seconds)))


def _with_a_deep_stack(draw: Callable[[], _Result]) -> _Result:
    drawn: list[_Result] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            drawn.append(draw())
        except BaseException as error:  # noqa: BLE001 - a panic of Rust's is no Exception
            failed.append(error)

    threading.stack_size(_STACK_BYTES)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if not drawn:
        (error,) = failed
        raise error if isinstance(error, Exception) else ValueError(str(error))
    return drawn[0]
