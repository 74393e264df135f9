"""The encoders that this installation has, and the libraries that a rendition's bytes depend on."""

import PIL
from PIL import features

from imgprocessor.formats import Format
from imgprocessor.images.formats.avif import AVIF_ENCODER
from imgprocessor.images.formats.encoder import Encoder
from imgprocessor.images.formats.jpeg import JPEG_ENCODER
from imgprocessor.images.formats.jxl import JXL_ENCODER
from imgprocessor.images.formats.png import PNG_ENCODER
from imgprocessor.images.formats.webp import WEBP_ENCODER

_KNOWN = (PNG_ENCODER, JPEG_ENCODER, WEBP_ENCODER, AVIF_ENCODER, JXL_ENCODER)

ENCODERS: dict[Format, Encoder] = {known.format: known for known in _KNOWN if known.version}
"""The encoders that this installation has, by format."""

PILLOW = f"{'Pillow-SIMD' if '.post' in PIL.__version__ else 'Pillow'} {PIL.__version__}"
"""Which of the two Pillows is loaded. Both install as PIL, and the later lies over the earlier."""

VERSIONS = ", ".join(
    (
        PILLOW,
        f"littlecms {features.version('littlecms2')}",
        *(encoder.version for encoder in ENCODERS.values()),
    )
)
"""The libraries that a rendition's bytes depend on."""
