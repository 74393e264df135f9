"""The original itself: originals so small that hardly any encoder's header is lighter."""

import io
from dataclasses import replace

import images
import pytest
from full_plan import FULL
from PIL import Image

from imgprocessor.config.settings import OriginalsSettings
from imgprocessor.formats import ENCODED, Format
from imgprocessor.images.decode import Picture, at_level, open_original
from imgprocessor.images.pipeline import Rendition, render
from imgprocessor.images.unchanged import OriginalFile
from imgprocessor.policy.plan import Plan
from imgprocessor.timing import Timings


def _rendered(file: bytes, plan: Plan) -> Rendition:
    opened = open_original(io.BytesIO(file), OriginalsSettings())
    level = opened.metadata.choose_level(plan)
    image = at_level(opened.decode(level.draft), opened.metadata.stored, level)
    picture = Picture(opened.metadata, level, image)
    return render(picture, plan, Timings(), OriginalFile(len(file), lambda: file))


@pytest.mark.parametrize("image_format", ["PNG", "GIF", "JPEG", "WEBP"])
@pytest.mark.parametrize("size", [(1, 1), (5, 3), (16, 16), (40, 25)])
@pytest.mark.parametrize("formats", [*((known,) for known in ENCODED), ENCODED], ids="+".join)
def test_the_smallest_originals_are_sent_in_every_format(
    image_format: str, size: tuple[int, int], formats: tuple[Format, ...]
) -> None:
    for source in (Image.new("RGB", size, images.RED), images.noise(size)):
        file = images.encoded(source, image_format)

        done = _rendered(file, replace(FULL, formats=formats))

        assert images.decoded(done.body).size == (done.size.width, done.size.height) == size
        # Only so small a file is ever lighter than what is made of it in a format as rich.
        assert len(done.body) <= max(len(file), 1000) or done.format in {"png", "jpeg"}


def test_a_jpeg_that_is_wanted_as_a_png_keeps_its_size() -> None:
    """There is no quality of a PNG that could go, however much lighter the original is."""
    file = images.encoded(images.texture((120, 80)), "JPEG")

    done = _rendered(file, replace(FULL, formats=("png",)))

    assert (done.format, done.limited) == ("png", "")
    assert images.decoded(done.body).size == (120, 80)
