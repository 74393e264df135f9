"""The original itself, where it is the lightest right answer; and what it says of its quality.

A rendition at the original's own size is never heavier than the original, where that weighs 1000
bytes or more and there is quality enough that can go; where the original can be shown in its place,
no smaller one is either. Quality is never spent where the original has none.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from PIL import Image

from imgprocessor.errors import ImageError
from imgprocessor.formats import FORMATS, Format
from imgprocessor.geometry import Fit, Layout, Size
from imgprocessor.images.clean.extras import Extras
from imgprocessor.images.clean.rewrite import clean
from imgprocessor.images.compression.calibration import CALIBRATION
from imgprocessor.images.compression.compress import EXACT_QUALITY, Compressed, typical_of
from imgprocessor.images.compression.quality_search import Candidate, Trial, climb, qualities
from imgprocessor.images.compression.score import tiled
from imgprocessor.images.decode import Metadata
from imgprocessor.images.formats.encoders import ENCODERS
from imgprocessor.images.formats.exif import UPRIGHT, Exif
from imgprocessor.images.inspection import ORIGINAL_FORMATS
from imgprocessor.policy.plan import Plan
from imgprocessor.request.parameters import LEAST_BUDGET_BYTES

_MAX_SHOWN_PIXELS = 4_000_000
"""An original with more is not sent in place of a smaller rendition, however light it is: a browser
takes 16 MB to show it.
"""

_MOST_TIMES_A_RENDITION = 4
"""A file that is larger is not read for the sake of a smaller rendition: it would have to be mostly
metadata to weigh less.
"""

_MORE_THAN_SAVED = 30
"""What was lossy loses again: at the quality that a JPEG of 30 was saved with, AVIF and WebP of it
score 44 against it, as visible blur; at so much more 68, with 0.73 of its bytes (12 photographs).
"""


@dataclass(frozen=True)
class OriginalFile:
    """An original's bytes, read where they are wanted."""

    size_bytes: int
    read: Callable[[], bytes]
    """Raises `ImageError` where they cannot be read any more, or are others by now."""


@dataclass(frozen=True)
class Unchanged:
    """An original, and what is asked for of it."""

    metadata: Metadata
    plan: Plan
    file: OriginalFile

    def best(
        self, image: Image.Image, make: Callable[[Plan], Compressed], *, is_converted: bool
    ) -> Compressed:
        """Return the original where it is a right answer and no heavier than what is made of it.
        Where it is none, and all of it is wanted, what is made is no heavier either.

        Args:
            image: the rendition's pixels.
            make: compresses them by a plan.
            is_converted: whether the original's colours had to be converted.
        """
        plan = self._capped(image)
        made = make(plan)
        may_be_sent = self._may_be_sent(is_converted=is_converted)
        is_read = self.file.size_bytes <= _MOST_TIMES_A_RENDITION * len(made.body)
        if not (self._is_own_size or (may_be_sent and is_read)):
            return made
        body = self._cleaned()
        if body is None or len(body) > len(made.body):
            return made
        if may_be_sent and len(body) <= (plan.budget_bytes or math.inf):
            return Compressed(
                body=body,
                format=self._format,
                quality=EXACT_QUALITY,
                size=self.metadata.displayed,
                score=None,
                limited="",
                trials=made.trials,
                is_original=True,
                is_quick=made.is_quick,
            )
        if not self._is_own_size or not self._limits(made.format):
            return made
        if ENCODERS[made.format].is_lossless or len(body) < LEAST_BUDGET_BYTES:
            return made  # there is no quality that could go, or a header weighs as much
        pixels = replace(plan.pixels, min_quality=1)  # its quality goes, and not its size
        lighter = make(replace(plan, bytes_limit=len(body), pixels=pixels))
        return lighter if lighter.size == made.size else made

    def _capped(self, image: Image.Image) -> Plan:
        """Return the plan with a quality that the original is worth, where all of it is wanted."""
        quality = self._saved_quality(image) if self._is_own_size else None
        if quality is None or quality >= self.plan.max_quality:
            return self.plan
        return replace(self.plan, quality_limit=quality)

    def _limits(self, made_as: Format) -> bool:
        """Whether a rendition in that format can always be as light: not one in a plainer format,
        nor one with loss of what was drawn.
        """
        is_lossy = not ORIGINAL_FORMATS[self.metadata.kind].is_lossless
        is_plainer = FORMATS.index(made_as) > FORMATS.index(self._format)
        return not is_plainer and (is_lossy or self._format in self.plan.formats)

    def _may_be_sent(self, *, is_converted: bool) -> bool:
        """Whether a page may show the original where it asked for a rendition."""
        size, plan, metadata = self.metadata.displayed, self.plan, self.metadata
        is_upright = metadata.orientation == UPRIGHT and plan.flip is None
        if self._format not in plan.formats or metadata.is_damaged or not is_upright:
            return False
        if is_converted:
            return False
        layout = plan.lay_out(size)
        is_all = layout.part == (0.0, 0.0, size.width, size.height)
        is_inside = is_all and plan.fit in {None, Fit.INSIDE} and not plan.lqip
        is_small = size.width * size.height <= _MAX_SHOWN_PIXELS
        fits = max(size.width, size.height) <= plan.pixels.max_output_side_pixels
        return self._is_own_size or (is_inside and is_small and fits)

    def _cleaned(self) -> bytes | None:
        """Return the original without metadata; None where that is no still picture."""
        kept = Exif(copyright=self.metadata.copyright if self.plan.pixels.keep_copyright else ())
        try:
            cleaned = clean(
                self.file.read(), self.metadata.kind, Extras.of(kept), keep_profile=False
            )
        except (ImageError, OSError):  # the file's, or the disk's
            return None  # what was made of it is good
        return None if cleaned.is_animated else cleaned.body

    def _saved_quality(self, image: Image.Image) -> int | None:
        """Return the quality beyond which nothing is gained, by what the original was saved with,
        on the common scale; None where that is not known, or need not be.
        """
        if self.metadata.kind != "WEBP" or "webp" in self.plan.formats:
            saved = self.metadata.saved_quality
            return None if saved is None else saved + _MORE_THAN_SAVED
        # A WebP does not say. Where WebP may be sent, its bytes are a limit already; for other
        # formats, that quality counts at which as many bytes are made of it again, as WebP.
        # Of a large one, of tiles of it: seven trials of 16 megapixels would take 20 seconds.
        webp, size, most = ENCODERS["webp"], Size(*image.size), self.plan.max_quality
        part = tiled(image)
        share = part.width * part.height / (image.width * image.height)

        def attempt(step: Candidate) -> Trial:
            setting = CALIBRATION.setting("webp", step.quality, size)
            return Trial(len(webp.write(part, setting, b"")))

        steps, typical = qualities(size, 1, most), typical_of(webp)
        found = climb(steps, attempt, typical, budget_bytes=max(1.0, share * self.file.size_bytes))
        return 1 if found is None else found.quality

    @property
    def _is_own_size(self) -> bool:
        return is_own_size(self.metadata, self.plan)

    @property
    def _format(self) -> Format:
        return ORIGINAL_FORMATS[self.metadata.kind].format


def is_untouched(metadata: Metadata, plan: Plan) -> bool:
    """Whether the rendition has the pixels of an original that was never lossy."""
    return ORIGINAL_FORMATS[metadata.kind].is_lossless and is_own_size(metadata, plan)


def is_own_size(metadata: Metadata, plan: Plan) -> bool:
    """Whether all of the original is wanted, pixel for pixel."""
    size = metadata.displayed
    return plan.lay_out(size) == Layout((0.0, 0.0, size.width, size.height), size)
