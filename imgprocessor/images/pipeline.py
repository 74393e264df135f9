"""Pixels: a literal list of steps from an original's master, and from there to bytes."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from PIL import Image, ImageCms

from imgprocessor.errors import BrokenOriginal
from imgprocessor.formats import Format
from imgprocessor.geometry import Layout, Size
from imgprocessor.images.compress import compress, keeps_alpha
from imgprocessor.images.decode import Picture
from imgprocessor.images.formats.encoders import ENCODERS, VERSIONS
from imgprocessor.policy.plan import Plan
from imgprocessor.program import code_digest
from imgprocessor.timing import Timings

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

_Part = tuple[float, float, float, float]
"""Left, top, right, bottom."""

_OPAQUE = 255

_MANAGED_MODE = "RGB"
"""What a transform to sRGB gives."""

_EIGHT_BITS = {"L", "LA", "RGB", "RGBX", "RGBA", "CMYK"}
"""Modes that pictures come in. Others are an error of ours, and not every step would notice."""

SHAPED_BY = f"{VERSIONS}, code {code_digest('geometry.py', 'policy/plan.py', 'images')}"
"""What a rendition's bytes depend on besides its plan: libraries, calibration, and our own code.
All of it is in the imagekey's digest, so that no cache keeps what would be made otherwise today.
"""


@dataclass(frozen=True)
class Rendition:
    """A finished picture, and how it came about."""

    body: bytes
    format: Format
    size: Size
    original_size: Size
    """As displayed, after orientation."""
    quality: int
    """On the common scale; 100 where the format is lossless."""
    score: float | None
    """On the scale of SSIMULACRA2, where the cell asks for one."""
    limited: str
    """What the budget took: `quality`, `size`, or nothing."""
    density: str | None
    """Device pixels per CSS pixel reached; None without a box."""
    trials: int
    """How often it was encoded."""

    @property
    def mime(self) -> str:
        """The media type."""
        return ENCODERS[self.format].mime


@dataclass
class _Work:
    """A picture on its way through the steps."""

    image: Image.Image
    picture: Picture
    plan: Plan
    layout: Layout
    """In the pixels of the picture's image."""


def render(picture: Picture, plan: Plan, timings: Timings) -> Rendition:
    """Make the rendition that `plan` describes from an original at the plan's level."""
    metadata = picture.metadata
    layout = metadata.lay_out(plan)
    across, down = picture.level.scale(metadata.stored)
    left, top, right, bottom = layout.part
    part = (left * across, top * down, right * across, bottom * down)
    work = _Work(picture.image, picture, plan, Layout(part, layout.size))
    for name, step in STEPS:
        with timings.timed(name):
            step(work)
    with timings.timed("encode"):
        done = compress(work.image, plan, _exif(picture, plan))
    return Rendition(
        body=done.body,
        format=done.format,
        size=done.size,
        original_size=metadata.displayed,
        quality=done.quality,
        score=done.score,
        limited=done.limited,
        density=_written(plan.reached_density(metadata.displayed, done.size)),
        trials=done.trials,
    )


def _written(density: Decimal | None) -> str | None:
    return None if density is None else f"{density.normalize():f}"


def _resize(work: _Work) -> None:
    """Cut out the part and scale it, in one go."""
    image, layout = work.image, work.layout
    size = (layout.size.width, layout.size.height)
    box = _inside(layout.part, image)
    if size != image.size or box != (0, 0, *image.size):
        image = image.resize(size, Image.Resampling.LANCZOS, box)
    # A master that was kept has a fourth byte that means nothing.
    work.image = image.convert("RGB") if image.mode == "RGBX" else image


def _inside(part: _Part, image: Image.Image) -> _Part:
    """Return the part, or as much of it as the image has: rounding may put it a hair outside.

    Nothing else is ever handed to Pillow, whose own sums overflow with large boxes
    (CVE-2026-59199), and which resizes 16 bits wrongly.

    Raises:
        BrokenOriginal: the image has nothing of it, or no channels of 8 bits.
    """
    left, top, right, bottom = part
    left, top = max(0.0, left), max(0.0, top)
    right, bottom = min(float(image.width), right), min(float(image.height), bottom)
    if not (left < right and top < bottom) or image.mode not in _EIGHT_BITS:
        raise BrokenOriginal(f"{part} of {image.width}x{image.height} {image.mode}")
    return left, top, right, bottom


def _orient(work: _Work) -> None:
    """Turn upright. After resizing, because turning few pixels is cheaper than many."""
    if work.picture.metadata.orientation in _UPRIGHT:
        work.image = work.image.transpose(_UPRIGHT[work.picture.metadata.orientation])


def _to_srgb(work: _Work) -> None:
    """Bring colours to sRGB; grey stays grey. After resizing, for the same reason."""
    image = work.image
    profile = work.picture.metadata.profile
    converted = _managed(image, profile) if profile else None
    if converted is not None:
        work.image = converted
    elif image.mode == "CMYK":
        work.image = image.convert("RGB")


def _flatten(work: _Work) -> None:
    """Put a transparent picture on the background, where no format can hold its alpha."""
    image = work.image
    if image.mode not in {"RGBA", "LA"}:
        return
    if image.getchannel("A").getextrema() == (_OPAQUE, _OPAQUE):
        work.image = image.convert(image.mode.removesuffix("A"))
        return
    if keeps_alpha(work.plan):
        work.image = image.convert("RGBA")
        return
    canvas = Image.new("RGBA", image.size, work.plan.pixels.background)
    canvas.alpha_composite(image.convert("RGBA"))
    work.image = canvas.convert("RGB")


STEPS: tuple[tuple[str, Callable[[_Work], None]], ...] = (
    ("resize", _resize),
    ("orient", _orient),
    ("colour", _to_srgb),
    ("colour", _flatten),
)
"""What is done to every picture, in order, each under the part that its time is booked on. A step
with nothing to do returns at once.
"""


def _exif(picture: Picture, plan: Plan) -> bytes:
    """Return what is kept of the EXIF data; empty where that is nothing."""
    if not plan.pixels.keep_copyright or not picture.metadata.copyright:
        return b""
    exif = Image.Exif()
    exif.update(dict(picture.metadata.copyright))
    return exif.tobytes()


def _managed(image: Image.Image, profile: bytes) -> Image.Image | None:
    """Return the image in sRGB by way of its profile; None if there is nothing to gain by it."""
    alpha = image.getchannel("A") if image.mode in {"RGBA", "LA"} else None
    opaque = image.convert(image.mode.removesuffix("A")) if alpha else image
    try:
        transform = _transform_to_srgb(profile, opaque.mode)
        # Applied to another mode than it was built for, a transform writes out of bounds
        # (CVE-2026-59205).
        if transform is None or (transform.input_mode, transform.output_mode) != (
            opaque.mode,
            _MANAGED_MODE,
        ):
            return None
        managed = transform.apply(opaque)
    except (ImageCms.PyCMSError, ValueError, OSError):
        return None  # a broken profile, or one for other channels, is no reason to refuse
    if opaque.mode == "L":
        managed = managed.convert("L")
    if alpha:
        managed.putalpha(alpha)
    return managed


@lru_cache(maxsize=8)
def _transform_to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Build a transform; None for a profile that is sRGB already.

    Kept, because sites use few profiles and building costs more than using.
    """
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    # What cameras and editors call it: "sRGB IEC61966-2.1", "sRGB built-in", "sRGB". For 1920x1280
    # pixels the transform would take 35 ms, to change nothing that can be seen.
    if mode == "RGB" and ImageCms.getProfileDescription(source).startswith("sRGB"):
        return None
    target = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    perceptual = ImageCms.Intent.PERCEPTUAL
    return ImageCms.ImageCmsTransform(source, target, mode, _MANAGED_MODE, perceptual)
