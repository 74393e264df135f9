"""Raw photographs: as the camera showed them where the file has that, or developed by LibRaw."""

import io
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from imgprocessor.errors import UndrawableDocument
from imgprocessor.geometry import Page
from imgprocessor.images.previews.drawing import NoPage, drawn_by_python, library_lacks
from imgprocessor.images.previews.heif import (
    MAX_PHOTOGRAPH_PIXELS,
    save_photograph,
)
from imgprocessor.images.previews.kind import (
    CUT_OFF,
    DAMAGED,
    TOO_LARGE,
    UNDRAWABLE,
    Drawn,
    Ends,
    Run,
)

_MARKS = (
    b"FUJIFILMCCD-RAW",
    b"FOVb",  # Sigma's X3F
    b"\0MRM",  # Minolta's MRW
)
_ORDERS = {b"II": "<", b"MM": ">"}
_MAGICS = frozenset(
    {
        0x4F52,  # Olympus: ORF, "RO"
        0x5352,  # Olympus, "RS"
        0x0055,  # Panasonic: RW2
    }
)
_TIFF = 42
_CR2_AT, _CR2 = 8, b"CR"
_CR3 = b"crx "

_COMPRESSION, _PHOTOMETRIC, _MAKE, _SUB_IFDS, _CFA_PATTERN, _DNG_VERSION = (
    *(0x0103, 0x0106, 0x010F),
    *(0x014A, 0x828E, 0xC612),
)
_CFA, _LINEAR_RAW = 32803, 34892
_RAW_COMPRESSIONS = frozenset({34713, 32767, 32769, 32770, 65535})
"""Nikon's; Sony's; Epson's and Samsung's; Pentax's."""
_ENTRY_BYTES = 12
_MAX_DIRECTORIES, _MAX_ENTRIES = 12, 200
_SHORT, _LONG, _IFD = 3, 4, 13

_MEMORY_BYTES = 1_500_000_000
"""LibRaw holds four times what the sensor has, beside what it read."""


class Raw:
    """Raw photographs of cameras that LibRaw knows."""

    name = "raw"
    title = "raw photograph"
    suffixes: Sequence[str] = (
        *(".arw", ".cr2", ".cr3", ".dng", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".srw"),
        *(".mrw", ".x3f"),
    )

    def is_one(self, ends: Ends) -> bool:
        """Whether it is a camera's own format, or a TIFF that has a sensor's values in it."""
        head = ends.head
        if head.startswith(_MARKS) or (head[4:8] == b"ftyp" and head[8:12] == _CR3):
            return True
        order = _ORDERS.get(head[:2])
        if order is None or len(head) < 8:  # noqa: PLR2004 - a TIFF's header
            return False
        magic, first = struct.unpack_from(order + "HI", head, 2)
        if magic in _MAGICS or (magic == _TIFF and head[_CR2_AT:].startswith(_CR2)):
            return True
        return magic == _TIFF and any(map(_is_raw, _directories(head, order, first)))

    def lacks(self) -> str | None:
        """Say where LibRaw is missing."""
        return library_lacks(self.name, "raw")

    def draw(self, run: Run, page: Page, side_pixels: int) -> Drawn:
        """Draw the photograph."""
        return drawn_by_python(run, self.name, run.document, page, side_pixels, _MEMORY_BYTES)


_Directory = dict[int, tuple[int, ...]]
"""Whole numbers by tag; of other values none, but that they are there."""


def _is_raw(directory: _Directory) -> bool:
    if _DNG_VERSION in directory or _CFA_PATTERN in directory:
        return True
    photometric = directory.get(_PHOTOMETRIC, ())
    compression = directory.get(_COMPRESSION, ())
    return bool(
        {_CFA, _LINEAR_RAW}.intersection(photometric)
        or _RAW_COMPRESSIONS.intersection(compression)
        # Cameras' TIFFs that keep what a sensor saw behind a small picture.
        or (_MAKE in directory and _SUB_IFDS in directory and 6 in compression)  # noqa: PLR2004
    )


def _directories(head: bytes, order: str, first: int) -> Iterator[_Directory]:
    """Walk the directories of a TIFF, as far as they are in its beginning."""
    todo, seen = [first], set[int]()
    while todo and len(seen) < _MAX_DIRECTORIES:
        at = todo.pop(0)
        if at in seen or at + 2 > len(head):
            continue
        seen.add(at)
        (count,) = struct.unpack_from(order + "H", head, at)
        directory: _Directory = {}
        end = at + 2 + _ENTRY_BYTES * min(count, _MAX_ENTRIES)
        for entry in range(at + 2, min(end, len(head) - _ENTRY_BYTES + 1), _ENTRY_BYTES):
            tag, values = _entry(head, order, entry)
            directory[tag] = values
        todo += directory.get(_SUB_IFDS, ())
        if end + 4 <= len(head):
            todo += struct.unpack_from(order + "I", head, end)
        yield directory


def _entry(head: bytes, order: str, at: int) -> tuple[int, tuple[int, ...]]:
    tag, kind, count, place = struct.unpack_from(order + "HHII", head, at)
    letter = {_SHORT: "H", _LONG: "I", _IFD: "I"}.get(kind)
    if letter is None or not 0 < count <= _MAX_DIRECTORIES:
        return tag, ()
    layout = f"{order}{count}{letter}"
    size = struct.calcsize(layout)
    place = place if size > 4 else at + 8  # noqa: PLR2004 - a value that short is in its entry
    if place + size > len(head):
        return tag, ()
    return tag, struct.unpack_from(layout, head, place)


def paint_raw(document: Path, number: int, side_pixels: int, picture: Path) -> int:
    """Draw a photograph inside of the sandbox: see `drawing.Paint`."""
    import rawpy  # noqa: PLC0415 - inside of the sandbox alone

    if number != 1:
        raise NoPage(1)
    try:
        with rawpy.imread(str(document)) as raw:
            painted = _cameras_own(raw, side_pixels) or _developed(raw)
    except (rawpy.LibRawUnsufficientMemoryError, rawpy.LibRawTooBigError) as error:
        raise UndrawableDocument(TOO_LARGE) from error
    except rawpy.LibRawIOError as error:
        raise UndrawableDocument(CUT_OFF) from error
    except rawpy.LibRawFileUnsupportedError as error:
        raise UndrawableDocument(UNDRAWABLE) from error
    except rawpy.LibRawError as error:
        raise UndrawableDocument(DAMAGED) from error
    save_photograph(painted, painted.info.get("icc_profile"), side_pixels, picture)
    return 1


def _cameras_own(raw: Any, side_pixels: int) -> Image.Image | None:
    """Return the picture that the camera made, upright, where that is not too small. It looks as
    the photographer saw it; what is developed here looks a little different.
    """
    import rawpy  # noqa: PLC0415 - inside of the sandbox alone

    try:
        thumb = raw.extract_thumb()
    except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError):
        return None
    if thumb.format != rawpy.ThumbFormat.JPEG:
        return None
    try:
        own = Image.open(io.BytesIO(thumb.data), formats=("JPEG",))
        if not side_pixels <= 2 * max(own.size) or own.width * own.height > MAX_PHOTOGRAPH_PIXELS:
            return None
        own.draft(None, (side_pixels, side_pixels))
        own.load()
    except (OSError, SyntaxError, ValueError):
        return None
    return _upright(own, raw.sizes)


def _upright(own: Image.Image, sizes: Any) -> Image.Image:
    """Turn the camera's picture as its own EXIF data says, or else as the sensor's is turned."""
    orientation = own.getexif().get(0x0112)
    if orientation is not None:
        return ImageOps.exif_transpose(own)
    turned = {
        3: Image.Transpose.ROTATE_180,
        5: Image.Transpose.ROTATE_90,
        6: Image.Transpose.ROTATE_270,
    }
    method = turned.get(sizes.flip)
    return own.transpose(method) if method is not None else own


def _developed(raw: Any) -> Image.Image:
    """Develop it as the camera would have: its white balance, sRGB, half of the sensor's sides."""
    width, height = raw.sizes.width, raw.sizes.height
    if width * height > MAX_PHOTOGRAPH_PIXELS:
        raise UndrawableDocument(TOO_LARGE)
    return Image.fromarray(raw.postprocess(half_size=True, use_camera_wb=True, output_bps=8))
