"""Videos: a frame that shows what is in one, or the frame at a moment, by ffmpegthumbnailer."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image, ImageStat

from imgprocessor.errors import NoSuchPage, UndrawableDocument
from imgprocessor.geometry import FIRST_PAGE, Page, Size
from imgprocessor.images.previews.drawing import NoPage, drawn_by_python, setting_up
from imgprocessor.images.previews.foreign.thumbnailer import (
    THUMBNAILER_LIBRARY,
    Film,
    NoFilm,
    Thumbnailer,
)
from imgprocessor.images.previews.foreign.video_marks import is_cut_off, is_video, video_format
from imgprocessor.images.previews.kind import CUT_OFF, DAMAGED, EMPTY, Drawn, Ends, Run

_MEMORY_BYTES = 2_000_000_000

_MOMENT = "MOMENT"
_MOMENTS = ("10%", "30%", "60%", "0%")
"""Those that are tried where none is asked for, until one shows something."""
_DULL = 12.0
"""The standard deviation of brightness, of 255, below which a frame is black, or of one colour."""
_LOOKED_AT = (64, 64)


class Video:
    """Videos, in the containers that browsers, cameras and editors write."""

    name = "video"
    title = "video"
    suffixes: Sequence[str] = (
        *(".mp4", ".m4v", ".mov", ".3gp", ".webm", ".mkv", ".avi", ".ogv", ".ts", ".m2ts"),
        *(".mpg", ".mpeg", ".flv", ".wmv"),
    )

    def is_one(self, ends: Ends) -> bool:
        """Whether it is one, and not audio alone, where that is easily told."""
        return is_video(ends)

    def lacks(self) -> str | None:
        """Say where ffmpegthumbnailer is missing."""
        # It is not loaded here: FFmpeg has no business outside of the sandbox.
        if any(any(folder.glob(THUMBNAILER_LIBRARY)) for folder in _library_folders()):
            return None
        return "ffmpegthumbnailer is not installed (Debian: ffmpegthumbnailer)"

    def draw(self, run: Run, page: Page, side_pixels: int) -> Drawn:
        """Draw the frame at a moment, no larger than it is."""
        if not page.unit and page != FIRST_PAGE:
            raise NoSuchPage("A video has one page; name a moment, such as 25% or 90s.")
        return drawn_by_python(
            run,
            self.name,
            run.document,
            FIRST_PAGE,
            side_pixels,
            memory_bytes=_MEMORY_BYTES,
            environment={_MOMENT: str(page)} if page.unit else {},
            missing=lambda _, seconds: _no_such_moment(page, seconds),
        )


def _library_folders() -> Iterator[Path]:
    for pattern in ("lib", "lib64", "lib/*-linux-gnu*", "local/lib"):
        yield from Path("/usr").glob(pattern)


def _no_such_moment(page: Page, seconds: int) -> NoSuchPage:
    length = "1 second" if seconds == 1 else f"{seconds} seconds"
    return NoSuchPage(f"The video has no moment {page}: it is {length} long.")


def paint_video(document: Path, _: int, side_pixels: int, picture: Path) -> None:
    """Draw a frame inside of the sandbox: see `drawing.Paint`."""
    with document.open("rb") as file:
        ends = Ends.of(file)
        cut_off = is_cut_off(file, document.stat().st_size)
    with setting_up(picture.parent):
        thumbnailer = Thumbnailer(document)
    try:
        film = thumbnailer.film(video_format(ends.head) or "", picture.with_suffix(".txt"))
    except NoFilm as none:
        failed = CUT_OFF if cut_off else DAMAGED
        raise UndrawableDocument(failed if none.is_damaged else EMPTY) from none
    frame = _frame(thumbnailer, film, os.environ.get(_MOMENT), side_pixels)
    if frame is None:
        raise UndrawableDocument(CUT_OFF if cut_off else DAMAGED)
    frame.save(picture, "PNG", compress_level=1)


def _frame(
    thumbnailer: Thumbnailer, film: Film, moment: str | None, side_pixels: int
) -> Image.Image | None:
    size = Size(side_pixels, side_pixels)
    if film.shown:
        size = _fitted(film.shown, side_pixels)
    if moment is not None:
        seconds = film.seconds
        if moment.endswith("s") and seconds is not None and int(moment[:-1]) >= max(seconds, 1):
            raise NoPage(max(1, int(seconds)))
        return thumbnailer.frame(moment, size, is_shown_so=film.shown is not None)
    best, most = None, -1.0
    for tried in _MOMENTS:
        frame = thumbnailer.frame(tried, size, is_shown_so=film.shown is not None)
        shows = -1.0 if frame is None else _contrast(frame)
        if shows > most:
            best, most = frame, shows
        if most >= _DULL:
            break
    return best


def _fitted(shown: Size, side_pixels: int) -> Size:
    """Return the size of a frame that is no larger than it is, and no longer than that."""
    longer = max(shown.width, shown.height)
    side = min(longer, side_pixels)
    return Size(*(max(1, round(length * side / longer)) for length in (shown.width, shown.height)))


def _contrast(frame: Image.Image) -> float:
    return float(ImageStat.Stat(frame.convert("L").resize(_LOOKED_AT)).stddev[0])
