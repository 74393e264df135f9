"""Effort: what is made quickly says so, and what takes longer is never worse, and bounded."""

from dataclasses import replace
from typing import Any, Literal

import drawn
import images
import pytest
from full_plan import FULL
from PIL import Image

from imgprocessor.formats import Format
from imgprocessor.geometry import Size
from imgprocessor.images.compression.compress import Compressed, compress
from imgprocessor.images.compression.ways import Way, slower_ways
from imgprocessor.images.formats.avif import AVIF_SLOW
from imgprocessor.images.formats.encoder import Encoder
from imgprocessor.images.formats.png import PNG_SLOW
from imgprocessor.policy.plan import Plan
from imgprocessor.policy.table import Cell, Effort

SIZE = (320, 214)
SLOW_TRIALS = 3
SLOWER_WAYS = "imgprocessor.images.compression.compress.slower_ways"
LARGE = (1000, 700)
"""More than PNG is packed well of while somebody waits."""


def _plan(effort: Effort | Literal["at once"], formats: tuple[Format, ...], **cell: Any) -> Plan:
    quality = cell.pop("quality", 78)
    known = Cell(quality, width_percent=100, **cell)
    return replace(FULL, formats=formats, cell=known, effort=effort)


def _photograph(size: tuple[int, int] = SIZE) -> Image.Image:
    return drawn.photograph("photograph", size)


def _drawing(size: tuple[int, int] = LARGE) -> Image.Image:
    return images.four_colours((8, 8)).resize(size, Image.Resampling.NEAREST)


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The settings and widths of what was encoded by what takes long."""
    trials: list[tuple[int, int]] = []

    def told(encoder: Encoder) -> Encoder:
        def write(image: Image.Image, setting: int, exif: bytes) -> bytes:
            trials.append((setting, image.width))
            return encoder.write(image, setting, exif)

        return replace(encoder, write=write)

    known = {id(encoder): told(encoder) for encoder in (AVIF_SLOW, PNG_SLOW)}

    def noted(*arguments: Any) -> list[Way]:
        return [replace(way, encoder=known[id(way.encoder)]) for way in slower_ways(*arguments)]

    monkeypatch.setattr(SLOWER_WAYS, noted)
    return trials


AVIF: tuple[Format, ...] = ("avif", "webp", "png", "jpeg")
MARKED = [
    (_photograph(), AVIF, "quick", True),
    (_photograph(), AVIF, "behind", False),
    (_photograph(), AVIF, "best", False),
    (_photograph().convert("L"), AVIF, "quick", True),
    (_photograph(), ("webp", "png", "jpeg"), "quick", False),
    (_photograph(), ("jpeg",), "quick", False),
    (_photograph(), AVIF, "at once", True),
    (_photograph(), ("jpeg",), "at once", False),
    (_photograph(), ("webp", "png", "jpeg"), "at once", False),
    (_drawing(), AVIF, "at once", False),
    # A graphic, which is lossless anyway.
    (_drawing(), AVIF, "quick", False),
    (_drawing(), ("png", "jpeg"), "quick", True),
    (_drawing(), ("png", "jpeg"), "best", False),
    (_drawing((300, 200)), ("png", "jpeg"), "quick", False),
]


@pytest.mark.parametrize(("image", "formats", "effort", "is_quick"), MARKED)
def test_what_is_made_quickly_says_whether_more_time_helps(
    image: Image.Image, formats: tuple[Format, ...], effort: Effort, *, is_quick: bool
) -> None:
    assert compress(image, _plan(effort, formats), b"").is_quick == is_quick


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ({}, ("jpeg", 1)),
        ({"budget_bytes": 100_000}, ("jpeg", 1)),
        ({"budget_bytes": 9_000}, ("avif", None)),  # JPEG would look worse
    ],
)
def test_at_once_a_photograph_is_encoded_once(
    cell: dict[str, Any], expected: tuple[Format, int | None]
) -> None:
    done = compress(_photograph(), _plan("at once", AVIF, **cell), b"")
    best = compress(_photograph(), _plan("behind", AVIF, **cell), b"")

    assert (done.format, done.trials if expected[1] else None) == expected
    assert done.quality == 78 or cell == {"budget_bytes": 9_000}
    assert best.quality >= done.quality
    assert (best.format, len(best.body) < len(done.body) or best.quality > done.quality) == (
        "avif",
        True,
    )


def test_at_once_a_graphic_is_what_it_is_anyway() -> None:
    image = max(drawn.of_kind("chart").values(), key=lambda known: known.width)

    at_once, quick = (
        compress(image, _plan("at once", AVIF), b""),
        compress(image, _plan("quick", AVIF), b""),
    )

    assert at_once.body == quick.body


CELLS: list[dict[str, Any]] = [
    {},
    {"budget_bytes": 100_000},
    {"budget_bytes": 9_000},
    {"budget_bytes": 5_000},
    {"budget_bytes": 2_000},  # which takes from the size
    {"target_score": 60},
    {"target_score": 60, "budget_bytes": 8_000},
    {"quality": 30},  # under the least of a search
]


@pytest.mark.parametrize("cell", CELLS, ids=str)
@pytest.mark.parametrize("kind", ["photograph", "grey"])
def test_what_takes_longer_is_never_worse(
    slowly: list[tuple[int, int]], cell: dict[str, Any], kind: str
) -> None:
    image = drawn.photograph(kind, SIZE)
    quick = compress(image, _plan("quick", AVIF, **cell), b"")
    best = compress(image, _plan("behind", AVIF, **cell), b"")

    assert _rank(best, cell) >= _rank(quick, cell)
    assert len(best.body) <= cell.get("budget_bytes", len(quick.body))
    assert images.decoded(best.body).size == (best.size.width, best.size.height)
    assert 1 <= len(slowly) <= SLOW_TRIALS
    assert best.trials == quick.trials + len(slowly)
    assert best == compress(image, _plan("best", AVIF, **cell), b"")


def test_without_a_search_one_trial_is_enough(slowly: list[tuple[int, int]]) -> None:
    best = compress(_photograph(), _plan("best", ("avif",)), b"")

    assert (len(slowly), best.trials, best.quality, best.format) == (1, 2, 78, "avif")


def test_a_budget_buys_more_quality(slowly: list[tuple[int, int]]) -> None:
    """By more than what one step is: a fifth fewer bytes are more of them."""
    cell = {"budget_bytes": 9_000}
    quick = compress(_photograph(), _plan("quick", AVIF, **cell), b"")
    best = compress(_photograph(), _plan("best", AVIF, **cell), b"")

    assert quick.limited == best.limited == "quality"
    assert best.quality > quick.quality + 2
    assert len(slowly) == SLOW_TRIALS


@pytest.mark.parametrize("cell", CELLS[:6], ids=str)
def test_what_is_no_lighter_is_not_sent(
    monkeypatch: pytest.MonkeyPatch, cell: dict[str, Any]
) -> None:
    def heavy(image: Image.Image, setting: int, exif: bytes) -> bytes:
        return AVIF_SLOW.write(image, setting, exif) + bytes(200_000)

    def heavier(_: object, best: Way) -> list[Way]:
        return [Way(replace(AVIF_SLOW, write=heavy), best.image, is_slow=True)]

    quick = compress(_photograph(), _plan("quick", AVIF, **cell), b"")
    monkeypatch.setattr(SLOWER_WAYS, heavier)
    best = compress(_photograph(), _plan("best", AVIF, **cell), b"")

    assert best.body == quick.body
    assert quick.is_quick
    assert not best.is_quick


def test_a_large_png_is_packed_better_and_shows_the_same() -> None:
    image = drawn.of_kind("chart")
    largest = max(image.values(), key=lambda known: known.width * known.height).resize(LARGE)
    quick = compress(largest, _plan("quick", ("png",)), b"")
    best = compress(largest, _plan("best", ("png",)), b"")

    assert len(best.body) < len(quick.body)
    assert drawn.looks(images.decoded(best.body)) == drawn.looks(images.decoded(quick.body))


def _rank(done: Compressed, cell: dict[str, Any]) -> tuple[float, ...]:
    reached = float(done.quality)
    if "target_score" in cell and done.size == Size(*SIZE):
        assert done.score is not None
        reached = min(done.score, cell["target_score"])
    return done.size.width, done.size.height, reached, -len(done.body)
