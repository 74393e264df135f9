"""What can be shown of an original that ends too early: the pixels that its decoder came to.

No decoder of Pillow's says how far it came. So the file is decoded once more, over other pixels:
where both times the same came out, the decoder wrote it.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image, ImageFile

Grids = tuple[tuple[tuple[int, int], tuple[int, int]], ...]
"""How an interlaced picture gets finer, the finest first: a pixel, across and down; and, once that
one is there, of how many pixels one has come for certain, across and down.
"""


@dataclass(frozen=True)
class Shown:
    """What there is of a picture."""

    image: Image.Image
    """Of the whole size."""
    box: tuple[int, int, int, int]
    """Left, top, right and bottom of what was decoded; the rest is nothing."""
    is_whole: bool = False
    """Whether nothing is missing, whatever the decoder said."""


class Underlaid(ImageFile.ImageFile):
    """A decoder that can write over pixels of our choice."""

    under: int | None = None
    """What all channels are before anything is decoded; None leaves that to Pillow."""
    blank = 0
    """What they are then."""
    grids: Grids = ()
    """Where it is interlaced."""

    def load_prepare(self) -> None:
        """Lay pixels under, where it is asked for."""
        super().load_prepare()
        if self.under is not None:
            bands = len(self.getbands())
            value = self.under if bands == 1 else (self.under,) * bands
            self.im.paste(value, (0, 0, *self.size))


class Fault:
    """What became of a decoder."""

    error: OSError | None = None


@contextlib.contextmanager
def decoding() -> Iterator[Fault]:
    """Note what a decoder says of its file; raise what the disk says."""
    fault = Fault()
    try:
        yield fault
    except OSError as error:
        if error.errno is not None:  # the disk's, and not a decoder's
            raise
        fault.error = error


def shown(
    failed: Underlaid, file: BinaryIO, decoder: Callable[[BinaryIO], Underlaid]
) -> Shown | None:
    """Return what a decoder that failed came to; None where that is not a single row. No more than
    one picture is in memory at a time: the failed one loses its pixels.
    """
    if failed._im is None:  # noqa: SLF001 - there are no pixels yet
        return None
    failed.tile = []
    file.seek(0)
    again = decoder(file)
    again.under = 255 - failed.blank
    extents = again.tile[0].extents
    if extents is None:
        return None
    left, top, right, bottom = extents
    grids = [
        ((left + x, top + y), step)
        for (x, y), step in again.grids
        if left + x < right and top + y < bottom
    ]
    places = [place for place, _ in grids]
    first = list(_samples(failed, extents, places))
    failed._im = None  # noqa: SLF001 - Image.close() would close the file, too
    with decoding():
        again.load()
    again.tile = []
    same = [
        one == other for one, other in zip(first, _samples(again, extents, places), strict=True)
    ]
    rows = same[len(places) :]
    # Of an interlaced picture the last pass ends with the last row, where there are two.
    if all(rows) and not (grids and len(rows) == 1):
        return Shown(again, extents, is_whole=True)
    if not grids:
        height = _leading(rows)
        return Shown(again, (left, top, right, top + height)) if height else None
    step = next((step for (_, step), is_there in zip(grids, same, strict=False) if is_there), None)
    if step is None:  # not even the first pass is whole
        step = grids[-1][1]
        bottom = min(bottom, top + step[1] * _leading(rows[:: step[1]]))
        if step[0] > 1 or bottom == top:
            return None
    again.paste(_coarser(again.crop(extents), *step), (left, top))
    return Shown(again, (left, top, right, bottom))


def _leading(rows: list[bool]) -> int:
    """Return how many rows are there before the first that is not."""
    return rows.index(False) if False in rows else len(rows)


def _samples(
    image: Image.Image, box: tuple[int, int, int, int], places: list[tuple[int, int]]
) -> Iterator[bytes]:
    """Yield the pixels at some places, and the last one of each row."""
    _, top, right, bottom = box
    for x, y in places:
        yield image.crop((x, y, x + 1, y + 1)).tobytes()
    column = image.crop((right - 1, top, right, bottom)).tobytes()
    pixel_bytes = len(column) // (bottom - top)
    for place in range(0, len(column), pixel_bytes):
        yield column[place : place + pixel_bytes]


def _coarser(image: Image.Image, across: int, down: int) -> Image.Image:
    """Return a picture whose every so many pixels are all like the first of them."""
    width, height = image.size
    grid = image.transform(
        (-(-width // across), -(-height // down)),
        Image.Transform.AFFINE,
        # To the middle of the pixel that is wanted.
        (across, 0, (1 - across) / 2, 0, down, (1 - down) / 2),
        Image.Resampling.NEAREST,
    )
    matrix = (1 / across, 0, 0, 0, 1 / down, 0)
    return grid.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST)
