"""Scores of what was sent: against what they are taken, and that nobody loses by rounding."""

from collections.abc import Callable
from pathlib import Path

import images
import pytest
from PIL import Image
from results import Outcome
from scores import Sample, add_scores, cut, formats_of, squeezed
from seen import as_seen

SIZE = (900, 713)
WIDTH = 300
"""Where the height is 237.7."""


@pytest.mark.parametrize("reduce", [squeezed, cut])
def test_a_height_is_rounded_in_either_way_without_a_loss(
    tmp_path: Path, reduce: Callable[[Image.Image, tuple[int, int]], Image.Image]
) -> None:
    original = images.texture(SIZE)
    photograph = tmp_path / "photograph.png"
    original.save(photograph)
    body = images.encoded(reduce(original, (WIDTH, 238)), "PNG")
    outcomes: dict[str, Outcome] = {"a": {}}

    add_scores([Sample("a", "cold", photograph, body)], outcomes, ["cold_score"], _nothing)

    assert outcomes["a"]["cold_score"] == pytest.approx(100, abs=0.01)


def test_scores_are_means_of_each_measure_that_is_asked_for(tmp_path: Path) -> None:
    photographs = [tmp_path / "one.png", tmp_path / "two.png"]
    for seed, photograph in enumerate(photographs, 1):
        images.texture((WIDTH, WIDTH), seed).save(photograph)
    bodies = {
        (path, quality): images.encoded(Image.open(path), "WEBP", quality=quality)
        for path in photographs
        for quality in (20, 90)
    }
    samples = [
        Sample(name, measure, path, bodies[path, quality])
        for name, quality in (("good", 90), ("poor", 20))
        for measure in ("cold", "matrix")
        for path in photographs
    ]
    outcomes: dict[str, Outcome] = {"good": {"cold": 1.0}, "poor": {}}
    steps: list[tuple[int, int]] = []

    add_scores(samples, outcomes, ["cold_score"], lambda *step: steps.append(step))

    expected = {
        name: sum(as_seen(Image.open(path), bodies[path, quality]) for path in photographs) / 2
        for name, quality in (("good", 90), ("poor", 20))
    }
    assert outcomes["good"] == {"cold": 1.0, "cold_score": pytest.approx(expected["good"])}
    assert outcomes["poor"] == {"cold_score": pytest.approx(expected["poor"])}
    assert expected["poor"] < expected["good"]
    assert steps == [(1, 2), (2, 2)]


def test_what_is_narrower_than_the_screen_is_seen_stretched() -> None:
    wanted = images.texture((400, 300))

    scores = [
        as_seen(wanted, images.encoded(squeezed(wanted, (width, width * 3 // 4)), "PNG"))
        for width in (400, 396, 280)
    ]

    assert scores[0] == pytest.approx(100, abs=0.01)
    assert scores == sorted(scores, reverse=True)
    assert scores[2] < scores[0] - 5


def test_formats_are_counted_for_each_system(tmp_path: Path) -> None:
    picture = images.texture((16, 16))
    samples = [
        Sample(name, measure, tmp_path, images.encoded(picture, image_format))
        for name, measure, image_format in (
            ("a", "cold", "WEBP"), ("a", "cold", "WEBP"), ("a", "cold", "JPEG"),
            ("a", "matrix", "PNG"), ("b", "cold", "AVIF"),
        )
    ]  # fmt: skip

    told = formats_of(samples, "cold", "a browser")

    assert told == ["Sent to a browser by a: 2 WEBP, 1 JPEG", "Sent to a browser by b: 1 AVIF"]


def _nothing(*_: int) -> None:
    """Take a step."""
