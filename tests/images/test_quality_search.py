"""The bounded search: exact whatever the weights, and quick where they are typical."""

import math
import random
import statistics
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgprocessor.geometry import Size
from imgprocessor.images.compression.quality_search import (
    MAX_TRIALS,
    Candidate,
    Trial,
    Typical,
    climb,
    qualities,
    sizes,
)

SIZE = Size(640, 427)

TYPICAL = Typical(lambda step: 0.016 * step.quality, lambda step: 20 + 0.7 * step.quality)

rising = st.lists(st.integers(300, 10**7), min_size=1, max_size=127).map(sorted)


def _climb(
    weights: list[int], budget: float, scores: list[float] | None = None, target: float = math.inf
) -> tuple[int | None, list[int]]:
    """Search among steps of these weights; return what was found, and what was tried."""
    steps = [Candidate(quality % 100 + 1, Size(quality + 1, 1)) for quality in range(len(weights))]
    tried = []

    def attempt(step: Candidate) -> Trial:
        place = steps.index(step)
        tried.append(place)
        return Trial(weights[place], scores[place] if scores else -math.inf)

    found = climb(steps, attempt, TYPICAL, budget_bytes=budget, target_score=target)
    return None if found is None else steps.index(found), tried


@given(rising, st.integers(200, 2 * 10**7))
def test_the_highest_step_that_keeps_the_budget_is_found(weights: list[int], budget: int) -> None:
    fitting = [place for place, weight in enumerate(weights) if weight <= budget]

    found, tried = _climb(weights, budget)

    assert found == (fitting[-1] if fitting else None)
    assert len(tried) <= MAX_TRIALS


@given(
    st.lists(st.integers(300, 10**7), min_size=1, max_size=127),
    st.integers(200, 2 * 10**7),
    st.floats(0, 100) | st.just(math.inf),
    st.data(),
)
def test_even_where_weights_go_up_and_down_one_more_step_would_be_over(
    weights: list[int], budget: int, target: float, data: st.DataObject
) -> None:
    """Encoders are not quite monotonic: then some good step is found, and never one over."""
    count = len(weights)
    scores = data.draw(st.lists(st.floats(0, 100), min_size=count, max_size=count))

    found, tried = _climb(weights, budget, scores, target)

    assert len(tried) <= MAX_TRIALS
    good = [place for place in tried if weights[place] <= budget and scores[place] >= target]
    if good:
        assert found in good
    elif found is None:
        assert weights[0] > budget
    else:
        assert weights[found] <= budget
        assert found in tried
        assert found == len(weights) - 1 or weights[found + 1] > budget


@given(rising, st.integers(200, 2 * 10**7), st.floats(0, 100), st.data())
def test_the_lowest_step_that_reaches_the_target_is_found_and_the_budget_wins(
    weights: list[int], budget: int, target: float, data: st.DataObject
) -> None:
    count = len(weights)
    scores = sorted(data.draw(st.lists(st.floats(0, 100), min_size=count, max_size=count)))
    fitting = [place for place, weight in enumerate(weights) if weight <= budget]
    good = [place for place in fitting if scores[place] >= target]

    found, tried = _climb(weights, budget, scores, target)

    assert found == (good[0] if good else fitting[-1] if fitting else None)
    assert len(tried) <= MAX_TRIALS


@pytest.mark.parametrize("count", [10, 20, 49])
@pytest.mark.parametrize("target", [0.5, 1.0])
def test_scores_that_hardly_differ_make_no_slope(count: int, target: float) -> None:
    """Nothing is divided by a difference that came to nothing."""
    scores = [0.0] * (count - 4) + [5e-324, 1.0, 1.0, 1.0]
    found, _ = _climb([300 + place for place in range(count)], 10**6, scores, target)

    assert found == count - 3


def test_without_a_budget_the_best_is_tried_at_once() -> None:
    assert (49, [49]) == _climb(list(range(300, 350)), math.inf)


@pytest.mark.parametrize(("floor", "ceiling"), [(30, 78), (30, 100), (1, 100), (50, 40)])
def test_the_steps_of_one_size_go_up_to_the_ceiling(floor: int, ceiling: int) -> None:
    steps = qualities(SIZE, floor, ceiling)

    assert [step.quality for step in steps] == list(range(min(floor, ceiling), ceiling + 1))
    assert len(steps) < 2**MAX_TRIALS


@given(st.integers(1, 16_383), st.integers(1, 16_383))
def test_smaller_sizes_keep_the_shape_and_end_where_anything_fits(width: int, height: int) -> None:
    steps = sizes(Size(width, height), 30)
    largest = steps[-1].size

    assert len(steps) < 2**MAX_TRIALS
    assert max(steps[0].size.width, steps[0].size.height) <= 4
    assert max(largest.width, largest.height) < max(width, height) or max(width, height) == 1
    for smaller, larger in pairwise(steps):
        assert smaller.size.width <= larger.size.width
        assert smaller.size.height <= larger.size.height
    assert abs(largest.width * height - width * largest.height) <= max(width, height)
    if min(width, height) >= 4:
        shape = (largest.width / largest.height) / (width / height)
        assert 0.85 < shape < 1.2


def test_where_weights_are_typical_few_trials_are_enough() -> None:
    """Photographs: one and a half per cent more bytes a step, each in its own way."""
    randomness = random.Random(1)
    counts = []
    for _ in range(500):
        rate = randomness.uniform(0.011, 0.021)
        weights = [round(20_000 * math.exp(rate * step)) for step in range(49)]
        steps = qualities(SIZE, 30, 78)
        tried = 0

        def attempt(step: Candidate, weights: list[int] = weights) -> Trial:
            nonlocal tried
            tried += 1
            return Trial(weights[step.quality - 30])

        budget = randomness.uniform(15_000, 60_000)
        climb(steps, attempt, TYPICAL, budget_bytes=budget)
        counts.append(tried)

    assert statistics.mean(counts) <= 4
