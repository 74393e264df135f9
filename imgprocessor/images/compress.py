"""Pixels to bytes: the best answer that keeps what the plan promises.

Among what the budget allows, higher quality is better, and a larger picture is better still; of
equals the lightest is sent. Where a score is wanted, any quality that reaches it is as good. A
picture with alpha is only compared with others that have it.
"""

import io
import math
from dataclasses import dataclass, field
from functools import cached_property

from PIL import Image

from imgprocessor.formats import Format
from imgprocessor.geometry import Size
from imgprocessor.images.calibration import CALIBRATION
from imgprocessor.images.formats.encoder import Encoder
from imgprocessor.images.formats.encoders import ENCODERS
from imgprocessor.images.quality_search import (
    BYTES_BY_PIXELS,
    Candidate,
    Trial,
    Typical,
    climb,
    qualities,
    sizes,
)
from imgprocessor.images.score import Reference, refer_to, score
from imgprocessor.policy.plan import Plan

_LOSSLESS_QUALITY = 100

_MAX_EXIF_SHARE = 0.1
"""So much of a budget may go into what is kept of EXIF data; beyond it the picture comes first."""


@dataclass(frozen=True)
class Compressed:
    """A body, and how it came about."""

    body: bytes
    format: Format
    quality: int
    """On the common scale; 100 for a lossless format."""
    size: Size
    score: float | None
    """Where the cell asks for one, and the picture is not made smaller."""
    limited: str
    """What the budget took: `quality`, `size`, or nothing."""
    trials: int
    """How often the picture was encoded."""


def compress(image: Image.Image, plan: Plan, exif: bytes) -> Compressed:
    """Encode a picture (grey, RGB or RGBA) as the plan promises.

    At most `MAX_TRIALS` encodings for each format; where no quality fits as many again for the
    size, and for the quality at that size.
    """
    budget = plan.budget_bytes
    if budget is not None and len(exif) > budget * _MAX_EXIF_SHARE:
        exif = b""
    return _Search(image, plan, exif).best()


@dataclass
class _Search:
    """The search for one answer. What was encoded is kept until it ends."""

    image: Image.Image
    plan: Plan
    exif: bytes
    bodies: dict[tuple[Format, Candidate], bytes] = field(default_factory=dict)
    scores: dict[tuple[Format, Candidate], float] = field(default_factory=dict)

    def best(self) -> Compressed:
        """Return the best answer over all formats."""
        preferred, *plainer = self._encoders()
        encoder, step = preferred, self._climb(preferred)
        for other in plainer:
            # At one quality the lighter wins; and what is lighter may reach further up, or reach
            # a score at another quality.
            if self._weight(other, step) < self._weight(encoder, step):
                higher = self._climb(other)
                if self._rank(other, higher) > self._rank(encoder, step):
                    encoder, step = other, higher
                elif self.plan.cell.target_score is None:
                    encoder = other
        return self._compressed(encoder, step)

    def _encoders(self) -> list[Encoder]:
        encoders = [ENCODERS[known] for known in self.plan.formats if known in ENCODERS]
        if self.image.mode == "RGBA":
            encoders = [encoder for encoder in encoders if encoder.keeps_alpha]
        encoders = [encoder for encoder in encoders if not encoder.is_lossless] or encoders
        if self.image.width * self.image.height > self.plan.pixels.max_modern_pixels:
            return encoders[-1:]
        return encoders

    def _rank(self, encoder: Encoder, step: Candidate) -> tuple[float, ...]:
        """Return what makes one answer better than another, the most important first."""
        target = self.plan.cell.target_score
        quality = float(step.quality)
        if target is not None and step.size == self._full:
            quality = min(self._score(encoder, step), target)
        return step.size.width, step.size.height, quality, -self._weight(encoder, step)

    def _climb(self, encoder: Encoder) -> Candidate:
        plan = self.plan
        budget = math.inf if plan.budget_bytes is None else plan.budget_bytes
        target = math.inf if plan.cell.target_score is None else plan.cell.target_score
        full = self._full
        if plan.budget_bytes is None and plan.cell.target_score is None:
            return Candidate(_LOSSLESS_QUALITY if encoder.is_lossless else plan.max_quality, full)
        steps = self._steps(encoder, full)

        def attempt(step: Candidate) -> Trial:
            weight = self._weight(encoder, step)
            wanted = math.isfinite(target) and weight <= budget and step.size == full
            return Trial(weight, self._score(encoder, step) if wanted else -math.inf)

        typical = _typical(encoder)
        found = climb(steps, attempt, typical, budget_bytes=budget, target_score=target)
        if found is not None:
            return found
        floor = (steps[0], Trial(self._weight(encoder, steps[0])))
        smaller = sizes(full, steps[0].quality)
        found = climb(smaller, attempt, typical, budget_bytes=budget, known=[floor])
        if found is None:
            raise AssertionError("four pixels are lighter than the smallest budget")
        # A step of size is a large one: some quality may fit into what is left.
        finer = self._steps(encoder, found.size)[1:]
        known = [(found, Trial(self._weight(encoder, found)))]
        return climb(finer, attempt, typical, budget_bytes=budget, known=known) or found

    def _steps(self, encoder: Encoder, size: Size) -> list[Candidate]:
        """Return the qualities that make a difference: of those with one setting the highest."""
        if encoder.is_lossless:
            return [Candidate(_LOSSLESS_QUALITY, size)]
        by_setting = {
            CALIBRATION.setting(encoder.format, step.quality, size): step
            for step in qualities(size, self.plan.pixels.min_quality, self.plan.max_quality)
        }
        return list(by_setting.values())

    @property
    def _full(self) -> Size:
        return Size(*self.image.size)

    @cached_property
    def _reference(self) -> Reference:
        return refer_to(self.image)

    def _weight(self, encoder: Encoder, step: Candidate) -> int:
        return len(self._body(encoder, step))

    def _body(self, encoder: Encoder, step: Candidate) -> bytes:
        if encoder.is_lossless:
            step = Candidate(_LOSSLESS_QUALITY, step.size)
        place = (encoder.format, step)
        if place not in self.bodies:
            image, size = self.image, (step.size.width, step.size.height)
            if size != image.size:
                image = image.resize(size, Image.Resampling.LANCZOS)
            setting = 0
            if not encoder.is_lossless:
                setting = CALIBRATION.setting(encoder.format, step.quality, step.size)
            self.bodies[place] = encoder.write(image, setting, self.exif)
        return self.bodies[place]

    def _score(self, encoder: Encoder, step: Candidate) -> float:
        place = (encoder.format, step)
        if place not in self.scores:
            body = io.BytesIO(self._body(encoder, step))
            image = Image.open(body, formats=(encoder.format.upper(),))
            self.scores[place] = score(self._reference, image)
        return self.scores[place]

    def _compressed(self, encoder: Encoder, step: Candidate) -> Compressed:
        score = self.scores.get((encoder.format, step))
        limited = ""
        if step.size != self._full:
            limited = "size"
        elif self._stopped_by_the_budget(encoder, step, score):
            limited = "quality"
        return Compressed(
            body=self._body(encoder, step),
            format=encoder.format,
            quality=_LOSSLESS_QUALITY if encoder.is_lossless else step.quality,
            size=step.size,
            score=score,
            limited=limited,
            trials=len(self.bodies),
        )

    def _stopped_by_the_budget(
        self, encoder: Encoder, step: Candidate, score: float | None
    ) -> bool:
        """Whether this format would have gone on, had the budget allowed it."""
        budget, target = self.plan.budget_bytes, self.plan.cell.target_score
        if budget is None or (target is not None and score is not None and score >= target):
            return False
        return any(
            known == encoder.format and other.quality > step.quality and len(body) > budget
            for (known, other), body in self.bodies.items()
        )


def _typical(encoder: Encoder) -> Typical:
    log_bytes = CALIBRATION.log_bytes.get(encoder.format)

    def weigh(step: Candidate) -> float:
        by_pixels = BYTES_BY_PIXELS * math.log(step.size.width * step.size.height)
        return by_pixels + (log_bytes[step.quality - 1] if log_bytes else 0.0)

    return Typical(weigh, lambda step: CALIBRATION.scores[step.quality - 1])
