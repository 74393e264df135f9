"""A first rendition looks like later ones."""

import pytest
import two_ways
from conftest import WALLPAPERS


@pytest.mark.slow
def test_a_first_rendition_looks_like_later_ones() -> None:
    """Of a few photographs; `./run torture` takes all, at more sizes."""
    photographs = sorted(WALLPAPERS.glob("*.jpg"))
    assert len(photographs) >= 18, "./run test installs lomiri-wallpapers-16.04 and -20.04"
    two_ways.check(photographs[::4], 400)
