"""The original itself: originals so small that hardly any encoder's header is lighter."""

import io
from dataclasses import replace

import images
import pytest
from full_plan import FULL
from PIL import Image

from imgprocessor.config.settings import OriginalsSettings
from imgprocessor.formats import ENCODED, Format
from imgprocessor.images.compression.compress import Compressed, compress
from imgprocessor.images.compression.unchanged import OriginalFile, Unchanged
from imgprocessor.images.decode import Picture, at_level, open_original
from imgprocessor.images.pipeline import Rendition, render
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
        is_named = formats == ("avif",) and image_format in {"PNG", "GIF"}
        is_plain = done.format in {"png", "jpeg"}
        assert len(done.body) <= max(len(file), 1000) or is_plain or is_named


@pytest.mark.parametrize("quality", [3, 6, 75])
@pytest.mark.parametrize("known", ["jxl", "avif", "webp", "png"])
def test_what_cannot_be_as_light_as_its_original_keeps_its_size(
    known: Format, quality: int
) -> None:
    file = images.encoded(images.texture((300, 200)), "JPEG", quality=quality, optimize=True)

    done = _rendered(file, replace(FULL, formats=(known,)))

    assert (done.format, done.limited == "size") == (known, False)
    assert images.decoded(done.body).size == (300, 200)


def test_a_png_is_made_once_as_there_is_no_quality_that_could_go() -> None:
    image = images.texture((120, 80))
    file = images.encoded(image, "JPEG")
    plan = replace(FULL, formats=("png",))
    metadata = open_original(io.BytesIO(file), OriginalsSettings()).metadata
    made = []

    def make(wanted: Plan) -> Compressed:
        made.append(wanted)
        return compress(image, wanted, b"")

    original = OriginalFile(len(file), lambda: file)
    done = Unchanged(metadata, plan, original).best(image, make, is_converted=False)

    assert (done.format, len(made)) == ("png", 1)
