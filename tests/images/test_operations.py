"""Operations on pixels: each leaves a picture alone that it has nothing to do with."""

from collections.abc import Callable

import images
import pytest
from full_plan import FULL
from PIL import Image

from imgprocessor.geometry import Layout, Size
from imgprocessor.images.decode import Metadata
from imgprocessor.images.operations.work import Work
from imgprocessor.images.pipeline import STEPS


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("step", [pytest.param(step, id=step.__name__) for _, step in STEPS])
def test_an_operation_with_nothing_to_do_gives_back_the_same_image(
    step: Callable[[Work], Image.Image], mode: str
) -> None:
    image = images.four_colours((40, 30), mode)
    metadata = Metadata(Size(40, 30), orientation=1, profile=b"", copyright=(), kind="PNG")
    work = Work(image, metadata, FULL, Layout((0.0, 0.0, 40.0, 30.0), Size(40, 30)))

    assert step(work) is image
