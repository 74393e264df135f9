"""The score inside requests: what it must say of pictures made in code."""

import io

import images
import pytest
from PIL import Image, ImageFilter

from imgprocessor.geometry import Size
from imgprocessor.images.compression.calibration import CALIBRATION
from imgprocessor.images.compression.score import features, refer_to, score
from imgprocessor.images.formats.encoders import ENCODERS
from imgprocessor.images.formats.png import PNG_GRAPHICS


def _at(image: Image.Image, quality: int) -> Image.Image:
    setting = CALIBRATION.setting("jpeg", quality, Size(*image.size))
    body = ENCODERS["jpeg"].write(image, setting, b"")
    return Image.open(io.BytesIO(body))


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
@pytest.mark.parametrize("size", [(200, 150), (37, 3), (1, 1)])
def test_a_picture_looks_most_like_itself(mode: str, size: tuple[int, int]) -> None:
    image = images.texture(size).convert(mode)

    itself = score(refer_to(image), image)

    assert 85 <= itself <= 100
    if size == (200, 150):
        blurred = image.filter(ImageFilter.GaussianBlur(2))
        assert score(refer_to(image), blurred) < itself - 20


def test_it_rises_with_quality() -> None:
    image = images.texture((320, 240))
    reference = refer_to(image)

    scores = [score(reference, _at(image, quality)) for quality in (20, 40, 60, 80, 95)]

    assert scores == sorted(scores)
    assert scores[-1] - scores[0] > 25


def test_every_feature_has_its_term() -> None:
    image = images.texture((64, 48))

    found = features(refer_to(image), _at(image, 50))

    assert len(found) == len(CALIBRATION.score.terms) == 14


def test_nothing_like_it_scores_nothing() -> None:
    black = Image.new("RGB", (64, 48))

    scored = score(refer_to(black), images.noise((64, 48)))

    assert scored < 0


def test_of_a_large_picture_tiles_are_compared_and_say_much_the_same() -> None:
    image = images.texture((1200, 800))
    piece = image.crop((0, 0, 400, 300))

    large = score(refer_to(image), _at(image, 60))

    assert abs(large - score(refer_to(piece), _at(piece, 60))) < 6


def test_what_is_behind_transparency_does_not_count() -> None:
    image = images.texture((64, 48)).convert("RGBA")
    image.putalpha(0)
    other = Image.new("RGBA", (64, 48), (255, 0, 0, 0))

    assert score(refer_to(image), other) == score(refer_to(image), image)


def test_what_is_transparent_by_its_palette_is_seen_as_transparent() -> None:
    image = Image.new("RGBA", (64, 64), (250, 10, 10, 0))
    image.paste((0, 0, 0, 255), (8, 8, 40, 40))
    body = PNG_GRAPHICS.write(image, 0, b"")
    back = Image.open(io.BytesIO(body))
    assert back.mode == "P"

    assert score(refer_to(image), back) == score(refer_to(image), image)
