"""Renditions compared as a page shows them, by SSIMULACRA2: for reports, never in a request."""

import io
from typing import BinaryIO

from PIL import Image

from imgprocessor.errors import ConfigurationError
from imgprocessor.geometry import Size
from imgprocessor.images.pipeline import Rendition

_SMALLEST_SCORED_PIXELS = 256


def require_metric() -> None:
    """Check that SSIMULACRA2 can be taken.

    Raises:
        ConfigurationError: the packages for it are missing.
    """
    try:
        import ssimulacra2  # noqa: F401, PLC0415 - heavy, and not needed for serving
    except ImportError as error:
        raise ConfigurationError(
            "the report needs the packages numpy, scipy and ssimulacra2: `./run report` installs"
            " them, and starts it"
        ) from error


def ssimulacra2(wanted: Rendition, sent: Rendition, background: str) -> float:
    """Return how much one rendition looks like another, shown at the first one's size.

    With the original at the size of a screen as the first, that is how the second one looks there.
    """
    from ssimulacra2.ssimulacra2 import compute_ssimulacra2  # noqa: PLC0415 - as above

    size = wanted.size
    return float(
        compute_ssimulacra2(_shown(wanted, size, background), _shown(sent, size, background))
    )


def _shown(rendition: Rendition, size: Size, background: str) -> BinaryIO:
    """Return a rendition as a page would show it: at a size or a multiple, on the background.

    Browsers stretch bilinearly.
    """
    image = Image.open(io.BytesIO(rendition.body)).convert("RGBA")
    # SSIMULACRA2 halves a picture five times, down to 8 pixels: what is smaller is enlarged first.
    factor = -(-_SMALLEST_SCORED_PIXELS // min(size.width, size.height))
    if rendition.size != size or factor > 1:
        shown = (size.width * factor, size.height * factor)
        image = image.resize(shown, Image.Resampling.BILINEAR)
    page = Image.new("RGBA", image.size, background)
    page.alpha_composite(image)
    file = io.BytesIO()
    page.convert("RGB").save(file, "PNG", compress_level=1)
    return file
