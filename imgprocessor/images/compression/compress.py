"""Pixels to bytes: the best answer that keeps what the plan promises.

Among what the budget allows, higher quality is better, and a larger picture is better still; of
equals the lightest is sent. Where a score is wanted, any quality that reaches it is as good. A
picture with alpha is only compared with others that have it.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

from PIL import Image

from imgprocessor.formats import Format
from imgprocessor.geometry import Size
from imgprocessor.images.compression.calibration import CALIBRATION
from imgprocessor.images.compression.quality_search import (
    BYTES_BY_PIXELS,
    Candidate,
    Trial,
    Typical,
    climb,
    qualities,
    sizes,
)
from imgprocessor.images.compression.score import Reference, refer_to, score
from imgprocessor.images.compression.ways import Way, may_win, slower_ways, ways_of
from imgprocessor.images.formats.encoder import Encoder
from imgprocessor.policy.plan import Plan

EXACT_QUALITY = 100
"""Of what has lost nothing: every pixel as it was, or the original itself."""

_SLOW_TRIALS = 3
"""Of a way that takes long. They decide seven steps: those about what a quick way came to."""
_SLOW_STEP = 2
"""Of quality, from one of those steps to the next."""
_SLOW_BELOW = 4
"""Of quality, that such a way may reach a target by less than the quick one."""
_SLOW_SHARE = 0.8
"""Of a quick way's bytes, which a slow one makes at one step, more or less."""

_MAX_EXIF_SHARE = 0.1
"""So much of a budget may go into what is kept of EXIF data; beyond it the picture comes first."""


@dataclass(frozen=True)
class Compressed:
    """A body, and how it came about."""

    body: bytes
    format: Format
    quality: int
    """On the common scale; `EXACT_QUALITY` where nothing is lost."""
    size: Size
    score: float | None
    """Where the cell asks for one, and the picture is not made smaller."""
    limited: str
    """What the budget took: `quality`, `size`, or nothing."""
    trials: int
    """How often the picture was encoded."""
    is_original: bool = False
    """Whether it is the original itself, without its metadata."""
    is_quick: bool = False
    """Whether there is a way that was left out because it takes long, and may give a better one."""


def compress(
    image: Image.Image, plan: Plan, exif: bytes, *, is_untouched: bool = False
) -> Compressed:
    """Encode a picture (grey, RGB or RGBA) as the plan promises; `is_untouched` where its pixels
    are those of an original that was never lossy.

    At most `MAX_TRIALS` encodings for each way; where no quality fits as many again for the
    size, and for the quality at that size. Unless the plan's effort is `quick`, or none, ways that
    take long are tried about what came of that, three times each: what is returned is no worse.
    """
    budget = plan.budget_bytes
    if budget is not None and len(exif) > budget * _MAX_EXIF_SHARE:
        exif = b""
    ways = list(ways_of(image, plan, is_untouched=is_untouched))
    return _Search(image, plan, exif).best(ways)


@dataclass(frozen=True)
class _Answer:
    """What came of a way."""

    way: Way
    step: Candidate


@dataclass
class _Search:
    """The search for one answer. What was encoded is kept until it ends."""

    image: Image.Image
    plan: Plan
    exif: bytes
    bodies: dict[tuple[Way, Candidate], bytes] = field(default_factory=dict)
    scores: dict[tuple[Way, Candidate], float] = field(default_factory=dict)

    def best(self, ways: Sequence[Way]) -> Compressed:
        """Return the best answer over all ways."""
        found: _Answer | None = None
        for way in ways:
            if found is None:
                found = self._answer(way)
            elif self._is_enough(found):
                break
            elif may_win(way, found.way, self._weight(found)):
                found = self._better(found, way)
        if found is None:
            # Nothing lossy may be sent, and what is lossless is over the budget.
            found = self._smaller(ways[0], self._steps(ways[0], self._full))
        tried = dict.fromkeys((found.way, *(way for way, _ in self.bodies)))
        if self._is_enough(found):  # what was not tried may still win
            tried |= dict.fromkeys(ways)
        slower = list(slower_ways(tried, found.way))
        if self.plan.effort in {"behind", "best"}:
            for way in slower:
                found = self._or_slowly(found, way)
            slower = []
        return replace(self._compressed(found), is_quick=bool(slower))

    def _is_enough(self, found: _Answer) -> bool:
        """Whether there is no time for more: unless the budget takes from the picture."""
        best = Candidate(self.plan.max_quality, self._full)
        is_jpeg = found.way.encoder.format == "jpeg"
        return self.plan.effort == "at once" and is_jpeg and found.step == best

    def _or_slowly(self, found: _Answer, way: Way) -> _Answer:
        """Return what was found, or the answer of a way that takes long where that is better."""
        if way.encoder.is_lossless:
            answer = _Answer(way, found.step)
            return answer if self._weight(answer) < self._weight(found) else found
        score = self.scores.get((found.way, found.step), -math.inf)
        quick = Trial(round(_SLOW_SHARE * self._weight(found)), score)
        step = climb(
            self._steps_about(found.step),
            partial(self._attempt, way),
            typical_of(way.encoder),
            budget_bytes=self._budget,
            target_score=self._target,
            known=[(found.step, quick)],
            max_trials=_SLOW_TRIALS,
        )
        if step is None:
            return found
        answer = _Answer(way, step)
        return answer if self._rank(answer) > self._rank(found) else found

    def _steps_about(self, step: Candidate) -> list[Candidate]:
        """Return the steps that the trials of a way that takes long can decide: from what a quick
        one came to upwards, and somewhat below it where a target may be reached by less.
        """
        most = self.plan.max_quality
        least = min(self.plan.pixels.min_quality, most)
        steps, start = list[Candidate](), least
        if step.size == self._full:
            below = _SLOW_BELOW if math.isfinite(self._target) else 0
            start = max(least, step.quality - below)
        else:
            larger = (known for known in sizes(self._full, least) if known.size != step.size)
            steps = [step, *(known for known in larger if known.size.width >= step.size.width)]
        finer = [Candidate(known, self._full) for known in range(start, most, _SLOW_STEP)]
        return [*steps, *finer, Candidate(most, self._full)][: 2**_SLOW_TRIALS - 1]

    def _better(self, found: _Answer, way: Way) -> _Answer:
        """Return what was found, or another way's answer where that is better."""
        is_lossy = not way.encoder.is_lossless
        same_step = _Answer(way, found.step)
        # What is no lighter at the same step is not worth a search of its own.
        if is_lossy and self._weight(same_step) >= self._weight(found):
            return found
        # It may reach a higher step within the budget, or the target at another one.
        answer = self._answer(way)
        if answer is not None and self._rank(answer) > self._rank(found):
            return answer
        # Of one quality the lighter wins; of a target, quality alone says nothing.
        is_lighter = is_lossy and math.isinf(self._target)
        return same_step if is_lighter else found

    def _rank(self, answer: _Answer) -> tuple[float, ...]:
        """Return what makes one answer better than another, the most important first."""
        step, quality = answer.step, float(answer.step.quality)
        if math.isfinite(self._target) and step.size == self._full:
            quality = min(self._score(answer), self._target)
        return step.size.width, step.size.height, quality, -self._weight(answer)

    def _answer(self, way: Way) -> _Answer | None:
        """Return the best of a way; None where it is lossless, and over the budget."""
        if math.isinf(self._budget) and math.isinf(self._target):
            return _Answer(way, Candidate(self.plan.max_quality, self._full))
        steps = self._steps(way, self._full)
        found = climb(
            steps,
            partial(self._attempt, way),
            typical_of(way.encoder),
            budget_bytes=self._budget,
            target_score=self._target,
        )
        if found is not None:
            return _Answer(way, found)
        return None if way.encoder.is_lossless else self._smaller(way, steps)

    def _smaller(self, way: Way, steps: Sequence[Candidate]) -> _Answer:
        """Return the best of a way whose lowest step is over the budget at full size."""
        budget, typical = self._budget, typical_of(way.encoder)
        attempt = partial(self._attempt, way)
        floor = (steps[0], attempt(steps[0]))
        smaller = sizes(self._full, steps[0].quality)
        found = climb(smaller, attempt, typical, budget_bytes=budget, known=[floor])
        if found is None:
            raise AssertionError("four pixels are lighter than the smallest budget")
        # A step of size is a large one: some quality may fit into what is left.
        finer = self._steps(way, found.size)[1:]
        known = [(found, attempt(found))]
        higher = climb(finer, attempt, typical, budget_bytes=budget, known=known)
        return _Answer(way, higher or found)

    def _attempt(self, way: Way, step: Candidate) -> Trial:
        answer = _Answer(way, step)
        weight = self._weight(answer)
        is_allowed = weight <= self._budget
        is_scored = math.isfinite(self._target) and is_allowed and step.size == self._full
        return Trial(weight, self._score(answer) if is_scored else -math.inf)

    def _steps(self, way: Way, size: Size) -> list[Candidate]:
        """Return the qualities that make a difference: of those with one setting the highest."""
        highest = self.plan.max_quality
        if way.encoder.is_lossless:
            return [Candidate(highest, size)]
        by_setting = {
            CALIBRATION.setting(way.encoder.scale, step.quality, size): step
            for step in qualities(size, self.plan.pixels.min_quality, highest)
        }
        return list(by_setting.values())

    @property
    def _full(self) -> Size:
        return Size(*self.image.size)

    @property
    def _budget(self) -> float:
        return math.inf if self.plan.budget_bytes is None else self.plan.budget_bytes

    @property
    def _target(self) -> float:
        target = self.plan.cell.target_score
        return math.inf if target is None else target

    @cached_property
    def _reference(self) -> Reference:
        return refer_to(self.image)

    def _weight(self, answer: _Answer) -> int:
        return len(self._body(answer))

    def _body(self, answer: _Answer) -> bytes:
        way, step = answer.way, answer.step
        if way.encoder.is_lossless:
            step = replace(step, quality=EXACT_QUALITY)  # one body for all of them
        if (way, step) not in self.bodies:
            image, size = way.image, (step.size.width, step.size.height)
            if size != image.size:
                image = image.resize(size, Image.Resampling.LANCZOS)
            setting = 0
            if not way.encoder.is_lossless:
                setting = CALIBRATION.setting(way.encoder.scale, step.quality, step.size)
            self.bodies[way, step] = way.encoder.write(image, setting, self.exif)
        return self.bodies[way, step]

    def _score(self, answer: _Answer) -> float:
        place = (answer.way, answer.step)
        if place not in self.scores:
            body = io.BytesIO(self._body(answer))
            image = Image.open(body, formats=(answer.way.encoder.format.upper(),))
            self.scores[place] = score(self._reference, image)
        return self.scores[place]

    def _compressed(self, answer: _Answer) -> Compressed:
        way, step = answer.way, answer.step
        score = self.scores.get((way, step))
        limited = ""
        if step.size != self._full:
            limited = "size"
        elif self._stopped_by_the_budget(answer, score):
            limited = "quality"
        is_exact = way.encoder.is_lossless and way.image is self.image
        return Compressed(
            body=self._body(answer),
            format=way.encoder.format,
            quality=EXACT_QUALITY if is_exact else step.quality,
            size=step.size,
            score=score,
            limited=limited,
            trials=len(self.bodies),
        )

    def _stopped_by_the_budget(self, answer: _Answer, score: float | None) -> bool:
        """Whether this way would have gone on, had the budget allowed it."""
        if math.isinf(self._budget) or (score is not None and score >= self._target):
            return False
        if answer.way.is_slow:  # not all of its steps are tried
            return answer.step.quality < self.plan.max_quality
        return any(
            known is answer.way and other.quality > answer.step.quality and len(body) > self._budget
            for (known, other), body in self.bodies.items()
        )


def typical_of(encoder: Encoder) -> Typical:
    """Return what an encoder's pictures weigh and score on average."""
    log_bytes = CALIBRATION.log_bytes.get(encoder.scale)

    def weigh(step: Candidate) -> float:
        by_pixels = BYTES_BY_PIXELS * math.log(step.size.width * step.size.height)
        return by_pixels + (log_bytes[step.quality - 1] if log_bytes else 0.0)

    return Typical(weigh, lambda step: CALIBRATION.scores[step.quality - 1])
