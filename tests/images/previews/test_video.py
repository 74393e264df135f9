"""Videos: a frame that shows what is in one, upright, as wide as it is shown."""

import io
from collections.abc import Sequence

import drawn_documents
import pytest
from drawn_documents import BLUE, GREEN, RED, WHITE, drawn, kind_of, refused
from videos import TURNED_RIGHT, avi, ebml, four_colours, mov, plain, playlist

from imgprocessor.geometry import Page
from imgprocessor.images.previews import video
from imgprocessor.images.previews.kind import CUT_OFF, DAMAGED, EMPTY, Ends
from imgprocessor.images.previews.video import Video
from imgprocessor.jobs.previews.sandbox import Sandbox
from imgprocessor.jobs.previews.ways import Bubblewrap, Confinement, Landlock

WAYS: Sequence[Confinement] = tuple(way for way in (Bubblewrap.found(), Landlock()) if way)

COLOURS = [RED, GREEN, BLUE, WHITE]
FILM = [four_colours()] * 30


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_a_frame_in_each_sandbox(way: Confinement, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawn_documents, "sandbox", lambda: Sandbox(way, []))

    shown = drawn(mov(FILM))

    assert (shown.picture.size, shown.quarters(), shown.pages) == ((64, 48), COLOURS, None)


@pytest.mark.parametrize(
    ("film", "size", "quarters"),
    [
        (avi(FILM), (64, 48), COLOURS),
        (mov(FILM, brand=b"isom", is_index_first=True), (64, 48), COLOURS),
        (mov(FILM, brand=b""), (64, 48), COLOURS),
        (mov([four_colours()]), (64, 48), COLOURS),
        (mov(FILM, matrix=TURNED_RIGHT), (48, 64), [BLUE, RED, WHITE, GREEN]),
        (mov(FILM, pixel_ratio=(2, 1)), (128, 48), COLOURS),
        (mov(FILM, pixel_ratio=(2, 1), matrix=TURNED_RIGHT), (48, 128), [BLUE, RED, WHITE, GREEN]),
        (mov([four_colours(400, 100)]), (200, 50), COLOURS),
        (mov([four_colours(3, 3)]), (3, 3), None),
    ],
    ids=["avi", "mp4", "old", "one frame", "turned", "wide", "wide and turned", "large", "tiny"],
)
def test_frames_as_they_are_shown(
    film: bytes, size: tuple[int, int], quarters: list[str] | None
) -> None:
    shown = drawn(film)

    assert shown.picture.size == size
    assert quarters is None or shown.quarters() == quarters


def test_not_its_black_opening() -> None:
    assert drawn(mov([plain()] * 15 + FILM)).quarters() == COLOURS
    assert drawn(mov([plain()] * 25 + [four_colours()] * 5)).ink()
    assert drawn(mov([plain("white")] * 15 + FILM)).quarters() == COLOURS


def test_black_all_through() -> None:
    assert drawn(mov([plain()] * 15)).ink() == 64 * 48


def test_moments() -> None:
    film = mov([plain("#ff0000")] * 20 + [plain("#0000ff")] * 20)

    for page, colour in [
        (Page(0, "%"), RED),
        (Page(25, "%"), RED),
        (Page(75, "%"), BLUE),
        (Page(100, "%"), BLUE),
        (Page(0, "s"), RED),
        (Page(3, "s"), BLUE),
    ]:
        assert drawn(film, page).at(0.5, 0.5) == colour, page


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        (Page(2), "A video has one page; name a moment, such as 25% or 90s."),
        (Page(3, "s"), "The video has no moment 3s: it is 3 seconds long."),
        (Page(90, "s"), "The video has no moment 90s: it is 3 seconds long."),
    ],
)
def test_moments_that_are_not_there(page: Page, sentence: str) -> None:
    assert refused(mov(FILM), page) == sentence


def test_a_moment_beyond_a_second() -> None:
    film = mov([four_colours()] * 5)

    assert refused(film, Page(7, "s")) == "The video has no moment 7s: it is 1 second long."


HUGE = (60_000, 60_000)


@pytest.mark.parametrize(
    ("film", "sentences"),
    [
        (mov(FILM)[:-400], {CUT_OFF, DAMAGED}),
        (mov(FILM)[:3000], {CUT_OFF}),
        (mov(FILM, is_index_first=True)[:720], {CUT_OFF}),
        (b"RIFF\xff\0\0\0AVI " + bytes(100), {CUT_OFF, DAMAGED}),
        (ebml(b"webm"), {DAMAGED, EMPTY}),
        (ebml(b"webm", b"<?xml version='1.0'?><MPD profiles='dash:profile:'/>"), {DAMAGED, EMPTY}),
        (b"OggS" + bytes(24) + b"\x80theora" + bytes(200), {DAMAGED, EMPTY}),
        (b"FLV\x01\x01\0\0\0\x09" + bytes(100), {DAMAGED, EMPTY}),
        (b"\0\0\x01\xba" + bytes(5000), {DAMAGED, EMPTY}),
        (mov(FILM, codec=b"none"), {DAMAGED, EMPTY}),
    ],
    ids=[
        *("no index", "half", "half behind", "avi", "webm", "dash", "ogg", "flv", "mpeg", "codec"),
    ],
)
def test_damaged_videos(film: bytes, sentences: set[str]) -> None:
    assert refused(film) in sentences


def test_half_a_video_shows_what_there_is() -> None:
    half = mov(FILM, is_index_first=True)

    assert drawn(half[: len(half) // 2]).quarters() == COLOURS
    assert drawn(avi(FILM)[:9000]).quarters() == COLOURS


def test_sizes_that_are_not_true() -> None:
    assert drawn(mov(FILM, size=HUGE)).quarters() == COLOURS
    assert drawn(avi(FILM, size=HUGE)).quarters() == COLOURS


MARKED = {
    "mov": mov(FILM),
    "mp4": mov(FILM, brand=b"mp42"),
    "old": mov(FILM, brand=b""),
    "avi": avi(FILM),
    "webm": ebml(b"webm"),
    "mkv": ebml(b"matroska"),
    "ogv": b"OggS" + bytes(24) + b"\x80theora",
    "flv": b"FLV\x01\x05" + bytes(9),
    "ts": (b"\x47" + bytes(187)) * 6,
    "m2ts": (bytes(4) + b"\x47" + bytes(187)) * 6,
    "mpg": b"\0\0\x01\xba" + bytes(9),
}
OTHERS = {
    "m4a": mov(FILM, brand=b"M4A "),
    "heif": mov(FILM, brand=b"heic"),
    "avif": mov(FILM, brand=b"avif"),
    "cr3": mov(FILM, brand=b"crx "),
    "flac": b"OggS" + bytes(24) + b"\x7fFLAC",
    "vorbis": b"OggS" + bytes(24) + b"\x01vorbis",
    "audio alone": b"FLV\x01\x04" + bytes(9),
    "other ebml": ebml(b"something"),
    "webp": b"RIFF\0\0\0\0WEBP",
    "wav": b"RIFF\0\0\0\0WAVE",
    "hls": playlist(),
    "concat": b"ffconcat version 1.0\nfile /etc/hostname\n",
    "dash": b"<?xml version='1.0'?><MPD/>",
    "text": b"GGGGG" * 300,
    "nothing": b"",
}


@pytest.mark.parametrize("document", MARKED)
def test_videos_are_told_by_their_bytes(document: str) -> None:
    kind = kind_of(MARKED[document])

    assert kind is not None
    assert kind.name == "video"


@pytest.mark.parametrize("document", OTHERS)
def test_others_are_no_videos(document: str) -> None:
    assert not Video().is_one(Ends.of(io.BytesIO(OTHERS[document])))


def test_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Video().lacks() is None

    monkeypatch.setattr(video, "THUMBNAILER_LIBRARY", "libnothing.so.4")
    assert Video().lacks() == "ffmpegthumbnailer is not installed (Debian: ffmpegthumbnailer)"
