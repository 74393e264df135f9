"""Colour: pixels are brought to sRGB, by the original's profile where it has one."""

import io
from functools import lru_cache

from PIL import Image, ImageCms

from imgprocessor.images.operations.work import Work

_MANAGED_MODE = "RGB"
"""What a transform to sRGB gives."""


def to_srgb(work: Work) -> Image.Image:
    """Bring colours to sRGB; grey stays grey. After resizing, because few pixels are cheaper."""
    image, profile = work.image, work.metadata.profile
    managed = _managed(image, profile) if profile else None
    if managed is not None:
        return managed
    return image.convert("RGB") if image.mode == "CMYK" else image


def is_converted(mode: str, profile: bytes) -> bool:
    """Whether pixels of such a mode, as they were decoded, are brought to sRGB by other values."""
    if mode == "CMYK":
        return True
    opaque = mode.removesuffix("A").replace("RGBX", "RGB")
    return bool(profile) and _transform_for(opaque, profile) is not None


def _managed(image: Image.Image, profile: bytes) -> Image.Image | None:
    """Return the image in sRGB by way of its profile; None if there is nothing to gain by it."""
    alpha = image.getchannel("A") if image.mode in {"RGBA", "LA"} else None
    opaque = image.convert(image.mode.removesuffix("A")) if alpha else image
    transform = _transform_for(opaque.mode, profile)
    if transform is None:
        return None
    managed = transform.apply(opaque)
    if opaque.mode == "L":
        managed = managed.convert("L")
    if alpha:
        managed.putalpha(alpha)
    return managed


def _transform_for(mode: str, profile: bytes) -> ImageCms.ImageCmsTransform | None:
    """Return the transform to sRGB; None where there is nothing to gain by it."""
    try:
        transform = _transform_to_srgb(profile, mode)
    except (ImageCms.PyCMSError, ValueError, OSError):
        return None  # a broken profile, or one for other channels, is no reason to refuse
    # Applied to another mode than it was built for, a transform writes out of bounds
    # (CVE-2026-59205).
    if transform is not None and (transform.input_mode, transform.output_mode) != (
        mode,
        _MANAGED_MODE,
    ):
        return None
    return transform


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
