"""The steps from the poorest answer to the best, and the bounded search among them.

An answer must not weigh more than its budget, and need not score more than its target. Both grow
from step to step, so that the right step can be found by trying a few. The search knows nothing of
pixels: what a step weighs and scores is told by whoever tries it.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from imgprocessor.geometry import Box, Size, inside

MAX_TRIALS = 7
"""So many are enough for 127 steps: after each, at most half of what is left is undecided."""

_SHRINK = 0.9
"""Sides of one size against the next larger one: 19 % fewer pixels, about 16 % fewer bytes."""

_SMALLEST_SIDE_PIXELS = 4
"""Below it, files are all header."""

BYTES_BY_PIXELS = 0.85
"""A picture with twice the pixels weighs 2 to the power of this as much, more or less."""


@dataclass(frozen=True)
class Candidate:
    """One way to encode a picture; `quality` is on the common scale."""

    quality: int
    size: Size


@dataclass(frozen=True)
class Typical:
    """What pictures weigh and score on average. It makes the first guesses good; what is found
    does not depend on it.
    """

    log_bytes: Callable[[Candidate], float]
    """Natural logarithm of the bytes, against any one step: only differences count."""
    score: Callable[[Candidate], float]


@dataclass(frozen=True)
class Trial:
    """What came of a step."""

    weight_bytes: int
    score: float = -math.inf
    """Where it was asked for."""


def qualities(size: Size, floor: int, ceiling: int) -> list[Candidate]:
    """Return the steps of one size, the poorest first."""
    return [Candidate(quality, size) for quality in range(min(floor, ceiling), ceiling + 1)]


def sizes(size: Size, quality: int) -> list[Candidate]:
    """Return the steps below a size, the smallest first, each of the same shape."""
    steps: list[Candidate] = []
    factor = 1.0
    longest = max(size.width, size.height)
    while longest * factor > _SMALLEST_SIDE_PIXELS:
        factor *= _SHRINK
        side = max(1, int(longest * factor))
        steps.append(Candidate(quality, inside(size, Box(side, side))))
    return steps[::-1] or [Candidate(quality, Size(1, 1))]


def climb(
    steps: Sequence[Candidate],
    attempt: Callable[[Candidate], Trial],
    typical: Typical,
    *,
    budget_bytes: float = math.inf,
    target_score: float = math.inf,
    known: Sequence[tuple[Candidate, Trial]] = (),
    max_trials: int = MAX_TRIALS,
) -> Candidate | None:
    """Return the lowest step that reaches the target within the budget, or else the highest that
    keeps the budget; None if not even the first does. At most `max_trials` steps are tried, which
    decide 2 to the power of that, less one. What is known of other steps of the same picture makes
    the first guess better.

    What is returned was tried; and unless it reaches the target or is the last, the step above it
    was tried as well, and found too heavy.
    """
    wanted = _Wanted(typical, math.log(budget_bytes), target_score)
    good: int | None = None
    low, high = -1, len(steps)  # all up to `low` is too poor, all from `high` on is no better
    tried = list(known)
    for left in range(max_trials - 1, -1, -1):
        if high - low == 1:
            break
        # Whatever comes of it, the trials that are left must be able to decide the rest.
        reach = 2**left
        # The second guess a step low: what fits tells more than what is over once again.
        guess = wanted.guess(steps, tried) - (len(tried) == 1 and not known)
        guess = min(max(guess, high - reach, low + 1), low + reach, high - 1)
        trial = attempt(steps[guess])
        tried.append((steps[guess], trial))
        if trial.weight_bytes > budget_bytes:
            high = guess
        elif trial.score >= target_score:
            good = high = guess
        else:
            low = guess
    # Encoders are not quite monotonic: a lower step may have been found too heavy since.
    if good is not None:
        return steps[good]
    return steps[low] if low >= 0 else None


@dataclass(frozen=True)
class _Wanted:
    typical: Typical
    log_bytes: float
    score: float

    def guess(self, steps: Sequence[Candidate], tried: list[tuple[Candidate, Trial]]) -> int:
        """Return the place of the step that is likely to be the right one."""
        guess = len(steps) - 1
        if math.isfinite(self.score):
            known = [(self.typical.score(step), trial.score) for step, trial in tried]
            known = [point for point in known if math.isfinite(point[1])]
            guess = bisect_left(steps, _crossing(known, self.score), key=self.typical.score)
        # What was never weighed is hoped to fit: most pictures do.
        if math.isfinite(self.log_bytes) and tried:
            known = [
                (self.typical.log_bytes(step), math.log(trial.weight_bytes))
                for step, trial in tried
            ]
            wanted = _crossing(known, self.log_bytes)
            guess = min(guess, bisect_right(steps, wanted, key=self.typical.log_bytes) - 1)
        return guess


def _crossing(known: list[tuple[float, float]], wanted: float) -> float:
    """Return where a line through the known points nearest to what is wanted reaches it; with
    one point a line that rises as is typical, with none the typical value itself.
    """
    if not known:
        return wanted
    nearest = sorted(known, key=lambda point: abs(point[1] - wanted))
    (x, y), slope = nearest[0], 1.0
    for other_x, other_y in nearest[1:]:
        # Not by its sign alone: what hardly rises may come to nothing.
        if other_x != x and (rises := (other_y - y) / (other_x - x)) > 0:
            slope = rises
            break
    return x + (wanted - y) / slope
