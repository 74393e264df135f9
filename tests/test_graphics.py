"""The instrument that graphics are measured with: what would make a poor answer look good."""

from pathlib import Path

import graphics_set
import pytest
from graphics_answers import score
from graphics_set import Source, take
from PIL import Image, ImageDraw, ImageFilter

SIDE = 256
ALIKE = 99.9


def _disc(paper: str | None) -> Image.Image:
    image = Image.new("RGBA", (SIDE, SIDE), paper or (0, 0, 0, 0))
    ImageDraw.Draw(image).ellipse((30, 30, 200, 150), "#d03020")
    return image


def test_what_has_another_size_is_seen_at_the_width_asked_for(tmp_path: Path) -> None:
    original = _disc("white").convert("RGB")
    blurred = original.filter(ImageFilter.GaussianBlur(6))

    assert score(original, original, 128, tmp_path) > ALIKE
    assert score(original, blurred, 128, tmp_path) < score(original, blurred, 20, tmp_path) - 10


@pytest.mark.parametrize("paper", ["white", "black"])
def test_alpha_that_is_lost_is_seen_on_the_other_page(paper: str, tmp_path: Path) -> None:
    assert score(_disc(None), _disc(None), None, tmp_path) > ALIKE
    assert score(_disc(None), _disc(paper), None, tmp_path) < 50


def test_a_score_is_kept_for_these_pixels_alone(tmp_path: Path) -> None:
    original = _disc("white").convert("RGB")

    scores = [score(original, original.rotate(angle), None, tmp_path) for angle in (0, 9, 9, 0)]

    assert scores[0] == scores[3] > scores[1] == scores[2]
    assert len(list(tmp_path.glob("graphics-scores/*"))) == 2


def test_pictures_are_taken_once_by_a_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    share = tmp_path / "packages" / "painted" / "usr" / "share"
    share.mkdir(parents=True)
    for number in range(30):
        side = 100 if number < 5 else 200
        Image.new("RGB", (side, 200), (number // 2, 0, 0)).save(share / f"{number}.png")
    monkeypatch.setattr(graphics_set, "SOURCES", (Source("painted", "*.png", "flat", 10),))

    for folder in ("first", "again"):
        take(tmp_path / "packages", tmp_path / folder)

    first, again = (
        sorted(path.relative_to(tmp_path / folder) for path in (tmp_path / folder).glob("*/*/*"))
        for folder in ("first", "again")
    )
    assert first == again
    assert {path.parts[:2] for path in first} == {("tuning", "flat"), ("untouched", "flat")}
    pictures = [Image.open(tmp_path / "first" / path) for path in first]
    assert len({picture.getpixel((0, 0)) for picture in pictures}) == len(pictures) == 10
    assert {picture.size for picture in pictures} == {(200, 200)}
