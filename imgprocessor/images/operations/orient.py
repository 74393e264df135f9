"""Orient: the picture is turned upright, as its EXIF data says."""

from PIL import Image

from imgprocessor.images.formats.exif import ORIENTATIONS
from imgprocessor.images.operations.work import Work


def orient(work: Work) -> Image.Image:
    """Turn upright. After resizing, because turning few pixels is cheaper than many."""
    turn = ORIENTATIONS[work.metadata.orientation].upright
    return work.image if turn is None else work.image.transpose(turn)
