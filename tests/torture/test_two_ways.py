"""A first rendition looks like later ones, over all photographs and at many sizes."""

import pytest
import two_ways
from conftest import CORPUS, WALLPAPERS

PHOTOGRAPHS = sorted(WALLPAPERS.glob("*.jpg")) + sorted((CORPUS / "photos").rglob("*.jpg"))


@pytest.mark.parametrize("width", [270, 340, 480, 640, 810, 1082, 1333])
def test_a_first_rendition_looks_like_later_ones(width: int) -> None:
    two_ways.check(PHOTOGRAPHS, width)
