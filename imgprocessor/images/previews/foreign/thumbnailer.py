"""ffmpegthumbnailer's library, inside of the sandbox: frames of a video, and what the video is."""

import ctypes
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from imgprocessor.geometry import Size

THUMBNAILER_LIBRARY = "libffmpegthumbnailer.so.4"

_RGB = 2
_QUIET, _INFO = -8, 32
"""Levels of FFmpeg's log."""

_MAX_SAID_BYTES = 1_000_000
_DURATION = re.compile(r"^  Duration: (\d+):(\d\d):(\d\d\.\d+)", re.MULTILINE)
_STREAM = re.compile(r"^  Stream #0:.*: Video: .*?, (\d+)x(\d+)\b.*$", re.MULTILINE)
_PIXEL_RATIOS = (re.compile(r", SAR (\d+):(\d+)"), re.compile(r"\[SAR (\d+):(\d+)"))
"""As the container has it, and as the frames have it, which counts for less."""
_MAX_RATIO = 100
_COVER = "(attached pic)"


class _Thumbnailer(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_int),
        ("percent", ctypes.c_int),
        ("time", ctypes.c_char_p),
        ("film_strip", ctypes.c_int),
        ("workaround_bugs", ctypes.c_int),
        ("quality", ctypes.c_int),
        ("image_type", ctypes.c_int),
        ("context", ctypes.c_void_p),
        ("keeps_aspect", ctypes.c_int),
        ("prefers_cover", ctypes.c_int),
        ("own", ctypes.c_void_p),
    )


class _Image(ctypes.Structure):
    _fields_ = (
        ("pixels", ctypes.c_void_p),
        ("size", ctypes.c_int),
        ("width", ctypes.c_int),
        ("height", ctypes.c_int),
        ("source", ctypes.c_int),
        ("own", ctypes.c_void_p),
    )


@dataclass(frozen=True)
class Film:
    """What FFmpeg says of a video."""

    seconds: float | None
    """How long it is, where that is known."""
    shown: Size | None
    """How large a frame is before it is turned, with its pixels' shape, where that is known."""


class NoFilm(Exception):
    """FFmpeg finds nothing that it could show; or it is no such format, which `is_damaged` says."""

    def __init__(self, *, is_damaged: bool) -> None:
        self.is_damaged = is_damaged
        super().__init__()


class Thumbnailer:
    """Takes frames from one video."""

    def __init__(self, document: Path) -> None:
        self._document = os.fsencode(document)
        self._library = ctypes.CDLL(THUMBNAILER_LIBRARY)
        self._library.video_thumbnailer_create.restype = ctypes.POINTER(_Thumbnailer)
        self._library.video_thumbnailer_create_image_data.restype = ctypes.POINTER(_Image)

    def film(self, of_format: str, said: Path) -> Film:
        """Find out what the video is.

        Args:
            of_format: the format that it must be found to be, by FFmpeg's name.
            said: a file for what FFmpeg says.

        Raises:
            NoFilm: it is nothing that can be shown.
        """
        with _stderr_into(said):
            self._describe(of_format)
        with said.open("rb") as file:
            text = file.read(_MAX_SAID_BYTES).decode("utf-8", "replace")
        streams = sorted(_STREAM.finditer(text), key=lambda found: _COVER in found[0])
        if not streams:
            if ": Video: " in text:
                return Film(_seconds(text), None)
            raise NoFilm(is_damaged=False)
        width, height = (max(1, int(digits)) for digits in streams[0].groups())
        return Film(_seconds(text), Size(max(1, round(width * _ratio(streams[0][0]))), height))

    def _describe(self, of_format: str) -> None:
        """Have FFmpeg open the video, by this format or not at all, and print what it is."""
        library, context, options = self._library, ctypes.c_void_p(), ctypes.c_void_p()
        library.av_log_set_level(_QUIET)
        for name, value in {"format_whitelist": of_format, "protocol_whitelist": "file"}.items():
            library.av_dict_set(ctypes.byref(options), name.encode(), value.encode(), 0)
        opened = library.avformat_open_input(
            ctypes.byref(context), self._document, None, ctypes.byref(options)
        )
        if opened < 0 or library.avformat_find_stream_info(context, None) < 0:
            raise NoFilm(is_damaged=True)
        library.av_log_set_level(_INFO)
        library.av_dump_format(context, 0, b"", 0)
        library.av_log_set_level(_QUIET)
        library.avformat_close_input(ctypes.byref(context))

    def frame(self, moment: str, size: Size, *, is_shown_so: bool) -> Image.Image | None:
        """Return the frame at a moment, upright; None where there is none.

        Args:
            moment: `25%`, or `90s`.
            size: before it is turned.
            is_shown_so: whether the size has the frame's ratio; otherwise it is fitted in.
        """
        library = self._library
        thumbnailer, image = (
            library.video_thumbnailer_create(),
            library.video_thumbnailer_create_image_data(),
        )
        number = int(moment[:-1])
        thumbnailer[0].image_type = _RGB
        thumbnailer[0].keeps_aspect = int(not is_shown_so)
        if moment.endswith("%"):
            thumbnailer[0].percent = number
        else:
            clock = f"{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}"
            thumbnailer[0].time = clock.encode()
        library.video_thumbnailer_set_size(thumbnailer, size.width, size.height)
        library.av_log_set_level(_QUIET)
        failed = library.video_thumbnailer_generate_thumbnail_to_buffer(
            thumbnailer, self._document, image
        )
        got = image[0]
        if failed or not got.size or got.size != got.width * got.height * 3:
            return None
        pixels = ctypes.string_at(got.pixels, got.size)
        return Image.frombytes("RGB", (got.width, got.height), pixels)


def _ratio(stream: str) -> float:
    """Return how wide a pixel is, in its heights."""
    for pattern in _PIXEL_RATIOS:
        if found := pattern.search(stream):
            across, down = map(int, found.groups())
            ratio = across / max(1, down)
            return ratio if 1 / _MAX_RATIO <= ratio <= _MAX_RATIO else 1.0
    return 1.0


def _seconds(text: str) -> float | None:
    found = _DURATION.search(text)
    if not found:
        return None
    hours, minutes, seconds = found.groups()
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


@contextmanager
def _stderr_into(file: Path) -> Iterator[None]:
    """FFmpeg describes a video there and nowhere else: its structures differ from version to
    version.
    """
    kept = os.dup(2)
    with file.open("wb") as opened:
        os.dup2(opened.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
