"""What is allowed in a policy and still looks wrong."""

import math
from itertools import pairwise

from imgprocessor.policy.limits import BYTES_A_KILOBYTE
from imgprocessor.policy.table import Cell, Policy


def lint_policy(policy: Policy) -> list[str]:
    """Return what is allowed and still looks wrong: a worse bandwidth that gets more of something
    than the next better one. Save-Data is left out: it is a wish, and not the worst network.
    """
    networks = [bandwidth.name for bandwidth in policy.bandwidths if not bandwidth.save_data]
    found = []
    for row in policy.rows:
        for worse, better in pairwise(networks):
            more = _gets_more(policy.cells[row, worse], policy.cells[row, better])
            found += [f"[{row}] {worse} gets more than {better}: {what}" for what in more]
    return found


def _gets_more(worse: Cell, better: Cell) -> list[str]:
    of_worse, of_better = _amounts(worse), _amounts(better)
    return [
        f"{of_worse[kind][1]} against {of_better[kind][1]}"
        for kind in of_worse
        if kind in of_better and of_worse[kind][0] > of_better[kind][0]
    ]


def _amounts(cell: Cell) -> dict[str, tuple[float, str]]:
    """Return what a cell gives, each as a number and as a word; only like is compared to like."""
    budget = cell.budget_bytes
    amounts: dict[str, tuple[float, str]] = {
        "density": (float(cell.max_density), f"dpr{cell.max_density}"),
        "budget": (math.inf, "no budget")
        if budget is None
        else (budget, f"{budget // BYTES_A_KILOBYTE}kB"),
    }
    if cell.width_pixels is not None:
        amounts["pixels"] = (cell.width_pixels, f"{cell.width_pixels}px")
    if cell.width_percent is not None:
        amounts["percent"] = (cell.width_percent, f"{cell.width_percent}%")
    if cell.target_score is not None:
        amounts["score"] = (cell.target_score, f"s{cell.target_score}")
    else:
        amounts["quality"] = (cell.quality, f"q{cell.quality}")
    return amounts
