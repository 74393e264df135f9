"""Orient: the picture is turned upright, as its EXIF data says."""

from PIL import Image

from imgprocessor.images.operations.work import Work

# EXIF orientation: what brings the stored pixels upright (CIPA DC-008, table 6).
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def orient(work: Work) -> Image.Image:
    """Turn upright. After resizing, because turning few pixels is cheaper than many."""
    turn = _UPRIGHT.get(work.metadata.orientation)
    return work.image if turn is None else work.image.transpose(turn)
