"""Pixels: decode, a literal list of steps, and from there to bytes.

The only module that opens originals. What Pillow makes of a hostile file is turned into this
project's errors here, whatever exception it comes as.
"""

import contextlib
import hashlib
import io
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from PIL import ExifTags, Image, ImageCms, ImageFile

# Importing a plugin registers it, and Image.open() goes looking for no others.
from PIL import GifImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin  # noqa: F401 isort:skip

from imgprocessor.calibration import CALIBRATION
from imgprocessor.compression import compress, keeps_alpha
from imgprocessor.encoders import ENCODERS, VERSIONS
from imgprocessor.errors import BrokenOriginal, ImageError, OversizedOriginal, UnsupportedOriginal
from imgprocessor.geometry import Layout, Size
from imgprocessor.plan import Plan
from imgprocessor.query import Format
from imgprocessor.settings import OriginalsSettings

# The allow-list: what Pillow calls each format, and how its files begin. JPEG also stands for
# MPO, which is a JPEG with more pictures behind the first. Nothing else is ever handed to Pillow.
_SIGNATURES: tuple[tuple[str, Callable[[bytes], bool]], ...] = (
    ("JPEG", lambda head: head.startswith(b"\xff\xd8\xff")),
    ("PNG", lambda head: head.startswith(b"\x89PNG\r\n\x1a\n")),
    ("WEBP", lambda head: head[:4] + head[8:12] == b"RIFFWEBP"),
    ("GIF", lambda head: head[:6] in {b"GIF87a", b"GIF89a"}),
)
_LONGEST_SIGNATURE = 12

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
_FIRST_LYING = 5
"""From this orientation on, stored width is displayed height."""

_OPAQUE = 255

_KEPT_TAGS = (ExifTags.Base.Copyright, ExifTags.Base.Artist)

_MAX_KEPT_CHARACTERS = 1000
"""Of copyright and artist each: no notice is longer, and formats have room for 64 kB at most."""

_MAX_ICC_BYTES = 1 << 20
"""Real profiles are under 1 MB; a larger one is only there to cost time."""

_SHAPING = ("geometry", "plan", "ladder", "encoders", "score", "compression", "render")


def _shaped_by() -> str:
    source = b"".join(Path(__file__).with_name(f"{name}.py").read_bytes() for name in _SHAPING)
    code = hashlib.sha256(source).hexdigest()[:8]
    return f"{VERSIONS}, calibration {CALIBRATION.digest}, code {code}"


SHAPED_BY = _shaped_by()
"""What a rendition's bytes depend on besides its plan: libraries, calibration, and our own code.
All of it is in the imagekey's digest, so that no cache keeps what would be made otherwise today.
"""

# A picture between one and two times Pillow's own limit would be a warning only.
warnings.simplefilter("error", Image.DecompressionBombWarning)
ImageFile.LOAD_TRUNCATED_IMAGES = False


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
    trials: int
    """How often it was encoded."""
    milliseconds: dict[str, float]
    """What the time went to, by part."""

    @property
    def mime(self) -> str:
        """The media type."""
        return ENCODERS[self.format].mime


@dataclass
class _Work:
    """A picture on its way through the steps."""

    image: Image.Image
    plan: Plan
    layout: Layout
    """In the pixels of `image` as it is stored, before orientation."""
    orientation: int
    copyright: Image.Exif
    milliseconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def timed(self, part: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        spent = (time.perf_counter() - begin) * 1000
        self.milliseconds[part] = round(self.milliseconds.get(part, 0.0) + spent, 2)


def render(file: BinaryIO, plan: Plan, limits: OriginalsSettings) -> Rendition:
    """Make the rendition that `plan` describes from an original's file.

    Raises:
        UnsupportedOriginal: the file is in no format on the allow-list.
        OversizedOriginal: it has too many pixels, or too long a side.
        BrokenOriginal: it cannot be decoded.
    """
    work, original_size = _open(file, plan, limits)
    for part, step in STEPS:
        with work.timed(part):
            step(work)
    with work.timed("encode"):
        exif = work.copyright.tobytes() if work.copyright else b""
        done = compress(work.image, plan, exif)
    return Rendition(
        body=done.body,
        format=done.format,
        size=done.size,
        original_size=original_size,
        quality=done.quality,
        score=done.score,
        limited=done.limited,
        trials=done.trials,
        milliseconds=work.milliseconds,
    )


def _decode(work: _Work) -> None:
    """Decode, JPEG at the smallest scale that leaves the resize enough to work with."""
    image, size = work.image, work.layout.size
    left, top, right, bottom = work.layout.part
    margin = work.plan.pixels.draft_margin
    full = Size(*image.size)
    # What the whole original would measure if its part had the size wanted.
    scale = max(size.width / (right - left), size.height / (bottom - top)) * margin
    with _fault_of_the_original():
        image.draft(None, (max(1, int(full.width * scale)), max(1, int(full.height * scale))))
        image.load()
    across, down = image.width / full.width, image.height / full.height
    work.layout = Layout((left * across, top * down, right * across, bottom * down), size)


def _to_eight_bits(work: _Work) -> None:
    """Bring palettes, 16 bits and single bits to channels of 8 bits, which resizing needs."""
    image = work.image
    with _fault_of_the_original():
        if image.mode.startswith("I"):
            # 16 bits of grey to 8: Pillow's own conversion clips instead of scaling.
            work.image = image.point(lambda value: value * (1 / 257) + 0.5).convert("L")
        elif "transparency" in image.info:
            work.image = image.convert("RGBA")
        elif image.mode == "1":
            work.image = image.convert("L")
        elif image.mode not in {"L", "LA", "RGB", "RGBA", "CMYK"}:
            work.image = image.convert("RGBA" if image.has_transparency_data else "RGB")


def _resize(work: _Work) -> None:
    """Cut out the part and scale it, in one go."""
    image, layout = work.image, work.layout
    size = (layout.size.width, layout.size.height)
    # Rounding may put the part a hair outside, which would be an error.
    left, top = max(0.0, layout.part[0]), max(0.0, layout.part[1])
    right, bottom = (
        min(float(image.width), layout.part[2]),
        min(float(image.height), layout.part[3]),
    )
    box = (left, top, right, bottom)
    if size == image.size and box == (0, 0, *image.size):
        return
    work.image = image.resize(size, Image.Resampling.LANCZOS, box)


def _orient(work: _Work) -> None:
    """Turn upright. After resizing, because turning few pixels is cheaper than many."""
    if work.orientation in _UPRIGHT:
        work.image = work.image.transpose(_UPRIGHT[work.orientation])


def _to_srgb(work: _Work) -> None:
    """Bring colours to sRGB; grey stays grey. After resizing, for the same reason."""
    image = work.image
    profile = work.image.info.get("icc_profile")
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
    ("decode", _decode),
    ("colour", _to_eight_bits),
    ("resize", _resize),
    ("orient", _orient),
    ("colour", _to_srgb),
    ("colour", _flatten),
)
"""What is done to every picture, in order, each under the part that its time is booked on. A step
with nothing to do returns at once.
"""


def _open(file: BinaryIO, plan: Plan, limits: OriginalsSettings) -> tuple[_Work, Size]:
    """Read the header alone; decide from it whether the rest may be read at all.

    Returns the work to do, and the original's size as displayed.
    """
    head = file.read(_LONGEST_SIGNATURE)
    file.seek(0)
    kind = next((kind for kind, matches in _SIGNATURES if matches(head)), None)
    if kind is None:
        raise UnsupportedOriginal(f"begins with {head!r}")
    with _fault_of_the_original():
        image = Image.open(file, formats=(kind,))
    stored = Size(*image.size)
    _check_size(stored, limits)
    exif = _read_exif(image)
    orientation = _orientation(exif)
    displayed = stored.turned() if orientation >= _FIRST_LYING else stored
    layout = plan.lay_out(displayed)
    work = _Work(
        image=image,
        plan=plan,
        layout=layout.turned() if orientation >= _FIRST_LYING else layout,
        orientation=orientation,
        copyright=_copyright(exif) if plan.pixels.keep_copyright else Image.Exif(),
    )
    return work, displayed


def _check_size(size: Size, limits: OriginalsSettings) -> None:
    if max(size.width, size.height) > limits.max_side_pixels:
        wrong = f"{size} has a side over max_side_pixels = {limits.max_side_pixels}"
        raise OversizedOriginal(wrong)
    if size.width * size.height > limits.max_pixels:
        raise OversizedOriginal(f"{size} has more than max_pixels = {limits.max_pixels}")


def _read_exif(image: Image.Image) -> Image.Exif:
    """Read the EXIF data; broken EXIF data is no reason to refuse a good picture."""
    try:
        return image.getexif()
    except Exception:  # noqa: BLE001 - Pillow raises almost anything on broken EXIF data
        return Image.Exif()


def _orientation(exif: Image.Exif) -> int:
    """Return the EXIF orientation, 1 where it is absent or nonsense."""
    value = exif.get(ExifTags.Base.Orientation)
    return value if isinstance(value, int) and value in _UPRIGHT else 1


def _copyright(exif: Image.Exif) -> Image.Exif:
    kept = Image.Exif()
    for tag in _KEPT_TAGS:
        value = exif.get(tag)
        if isinstance(value, str) and value:
            kept[tag] = value[:_MAX_KEPT_CHARACTERS]
    return kept


def _managed(image: Image.Image, profile: bytes) -> Image.Image | None:
    """Return the image in sRGB by way of its profile; None if there is nothing to gain by it."""
    alpha = image.getchannel("A") if image.mode in {"RGBA", "LA"} else None
    opaque = image.convert(image.mode.removesuffix("A")) if alpha else image
    try:
        transform = _transform_to_srgb(profile, opaque.mode)
        # Applied to another mode than it was built for, a transform writes out of bounds
        # (CVE-2026-59205).
        if transform is None or transform.input_mode != opaque.mode:
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
    """Build a transform; None for a profile that is sRGB already, or larger than any real one.

    Kept, because sites use few profiles and building costs more than using.
    """
    if len(profile) > _MAX_ICC_BYTES:
        return None
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    # What cameras and editors call it: "sRGB IEC61966-2.1", "sRGB built-in", "sRGB". For 1920x1280
    # pixels the transform would take 35 ms, to change nothing that can be seen.
    if mode == "RGB" and ImageCms.getProfileDescription(source).startswith("sRGB"):
        return None
    target = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    return ImageCms.ImageCmsTransform(source, target, mode, "RGB", ImageCms.Intent.PERCEPTUAL)


@contextlib.contextmanager
def _fault_of_the_original() -> Iterator[None]:
    """Turn whatever a decoder raises into an error of ours: nothing but the file is to blame."""
    try:
        yield
    except (ImageError, KeyboardInterrupt):
        raise
    except Image.DecompressionBombError as error:
        raise OversizedOriginal(str(error)) from error
    except Image.DecompressionBombWarning as error:
        raise OversizedOriginal(str(error)) from error
    except MemoryError as error:
        raise OversizedOriginal("not enough memory to decode it") from error
    except Exception as error:
        raise BrokenOriginal(f"{type(error).__name__}: {error}") from error
