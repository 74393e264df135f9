"""Flip: the picture is mirrored, as the page's author asks."""

from PIL import Image

from imgprocessor.geometry import Flip
from imgprocessor.images.operations.work import Work

_EXCHANGES = {
    Flip.ACROSS: Image.Transpose.FLIP_LEFT_RIGHT,
    Flip.DOWN: Image.Transpose.FLIP_TOP_BOTTOM,
    Flip.BOTH: Image.Transpose.ROTATE_180,
}


def flip(work: Work) -> Image.Image:
    """Mirror. After orienting, because left and right are those of the picture as displayed."""
    asked = work.plan.flip
    return work.image if asked is None else work.image.transpose(_EXCHANGES[asked])
