"""Third-party pictures through the whole service; for the malformed ones see test_hostile.py.
They are not part of the project: without them (see CORPUS in conftest.py) these tests are skipped.
"""

import functools
from pathlib import Path

import images
import pytest
from conftest import CORPUS, find, needs_corpus

from imgprocessor.load import DEFAULT_CONF, Overrides, load_settings
from imgprocessor.parts import make_delivery
from imgprocessor.request.names import MAX_NAME_BYTES
from imgprocessor.service.delivery import Delivery

pytestmark = needs_corpus


def _delivery(folder: Path) -> Delivery:
    return make_delivery(load_settings(DEFAULT_CONF, Overrides(originals=folder)))


def _names(folder: Path) -> list[str]:
    """Return the pictures that can be named in a URL at all."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and len(str(path.relative_to(folder)).encode()) <= MAX_NAME_BYTES
    )


def _render(delivery: Delivery, name: str, rest: str) -> bytes:
    return delivery.render(find(delivery, f"name={name}&{rest}")).rendition.body


@functools.cache
def _hash(original: Path) -> int:
    return images.difference_hash(images.decoded(original.read_bytes()).convert("RGB"))


def test_photographs_of_every_orientation_are_upright() -> None:
    """The same scene stored in eight ways comes out nearly the same."""
    folder = CORPUS / "orientation"
    delivery = _delivery(folder)
    names = _names(folder)
    for shape in ("Landscape", "Portrait"):
        turned = [name for name in names if shape in name and name[-5] in "12345678"]
        assert len(turned) == 8
        upright = [images.decoded(_render(delivery, name, "width=300&dpr=1")) for name in turned]
        for picture in upright[1:]:
            assert picture.size == upright[0].size
            assert images.mean_difference(picture, upright[0]) < 8


@pytest.mark.slow
@pytest.mark.parametrize("screen", ["phone", "desktop"])
@pytest.mark.parametrize("bandwidth", ["2g", "4g"])
def test_photographs_look_like_their_originals(screen: str, bandwidth: str) -> None:
    folder = CORPUS / "photos"
    delivery = _delivery(folder)
    names = [name for name in _names(folder) if name.endswith((".jpg", ".png"))][:12]
    assert names
    for name in names:
        rendition = images.decoded(
            _render(delivery, name, f"screen={screen}&bandwidth={bandwidth}")
        )
        hashes = images.difference_hash(rendition) ^ _hash(folder / name)
        assert hashes.bit_count() <= 5, name
