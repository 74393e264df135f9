"""The pipeline: a literal list of steps from an original's pixels to a rendition's bytes."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from PIL import Image

from imgprocessor.formats import Format
from imgprocessor.geometry import Layout, Size
from imgprocessor.images.compression.calibration import CALIBRATION
from imgprocessor.images.compression.compress import compress
from imgprocessor.images.compression.unchanged import OriginalFile, Unchanged, is_untouched
from imgprocessor.images.decode import DECODED_BY, Picture
from imgprocessor.images.formats.exif import write_exif
from imgprocessor.images.operations.colour import is_converted, to_srgb
from imgprocessor.images.operations.flatten import flatten
from imgprocessor.images.operations.flip import flip
from imgprocessor.images.operations.orient import orient
from imgprocessor.images.operations.resize import resize
from imgprocessor.images.operations.work import Work
from imgprocessor.policy.plan import Plan
from imgprocessor.timing import Timings

PIPELINE_VERSION = 5
"""Raised by hand whenever the same plan makes other bytes of the same master, or what is kept of a
rendition changes. Goldens in the tests fail until it is.
"""

SHAPED_BY = f"{DECODED_BY}, pipeline {PIPELINE_VERSION}, calibration {CALIBRATION.digest}"
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
    """On the common scale; 100 where nothing is lost."""
    score: float | None
    """On the scale of SSIMULACRA2, where the cell asks for one."""
    limited: str
    """What the budget took: `quality`, `size`, or nothing."""
    density: str | None
    """Device pixels per CSS pixel reached; None without a box."""
    trials: int
    """How often it was encoded."""
    is_original: bool = False
    """Whether it is the original itself, without its metadata."""
    is_damaged: bool = False
    """Whether the original ends too early."""
    is_quick: bool = False
    """Whether a better one can be made in more time."""

    @property
    def mime(self) -> str:
        """The media type."""
        return f"image/{self.format}"


STEPS: tuple[tuple[str, Callable[[Work], Image.Image]], ...] = (
    ("resize", resize),
    ("orient", orient),
    ("orient", flip),
    ("colour", to_srgb),
    ("colour", flatten),
)
"""What is done to every picture, in order, each under the part that its time is booked on. An
operation with nothing to do returns at once.
"""


def render(
    picture: Picture, plan: Plan, timings: Timings, file: OriginalFile | None = None
) -> Rendition:
    """Make the rendition that `plan` describes from an original at the plan's level; `file` is the
    original's, where that may be the answer.
    """
    metadata = picture.metadata
    layout = metadata.lay_out(plan)
    across, down = picture.level.scale(metadata.stored)
    left, top, right, bottom = layout.part
    part = (left * across, top * down, right * across, bottom * down)
    work = Work(picture.image, metadata, plan, Layout(part, layout.size))
    for name, step in STEPS:
        with timings.timed(name):
            work.image = step(work)
    with timings.timed("encode"):
        exif = write_exif(metadata.copyright) if plan.pixels.keep_copyright else b""
        make = partial(compress, work.image, exif=exif, is_untouched=is_untouched(metadata, plan))
        if file is None:
            done = make(plan)
        else:
            done = Unchanged(metadata, plan, file).best(
                work.image,
                make,
                is_converted=is_converted(picture.image.mode, metadata.profile),
            )
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
        is_original=done.is_original,
        is_damaged=metadata.is_damaged,
        is_quick=done.is_quick,
    )


def _written(density: Decimal | None) -> str | None:
    return None if density is None else f"{density.normalize():f}"
