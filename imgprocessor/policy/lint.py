"""What is allowed in a policy and still looks wrong."""

import math
from collections.abc import Iterator
from itertools import pairwise

from imgprocessor.policy.limits import BYTES_A_KILOBYTE
from imgprocessor.policy.link import PICTURES_A_PAGE, link_of
from imgprocessor.policy.seen import best_width, device_of, outlook
from imgprocessor.policy.table import Bandwidth, Cell, Policy, Screen

_MOST_PAGE_SECONDS = 5
"""A page's pictures should be there by then."""

_LEAST_PICTURE_BYTES = 10_000
"""Nobody is told to send less: below it no photograph is worth looking at, on any screen."""

_LEAST_GAIN = 3
"""Points of score; less cannot be seen, and is what the estimate is off by."""


def lint_policy(policy: Policy) -> list[str]:
    """Return what is allowed and still looks wrong: a worse bandwidth that gets more than the next
    better one, or the same; a page that takes too long; a width that wastes bytes. Save-Data is
    left out: it is a wish, and not the worst network.
    """
    networks = [bandwidth for bandwidth in policy.bandwidths if not bandwidth.save_data]
    found = []
    for row in policy.rows:
        for worse, better in pairwise(networks):
            more = _gets_more(policy.cells[row, worse.name], policy.cells[row, better.name])
            found += [f"[{row}] {worse.name} gets more than {better.name}: {what}" for what in more]
    found += _alike(networks, policy)
    for screen in policy.screens:
        for bandwidth in networks:
            found += _seen(screen, bandwidth, policy)
    return found


def _alike(networks: list[Bandwidth], policy: Policy) -> list[str]:
    """A class that browsers' hints tell from the next better one, for nothing."""
    return [
        f"{worse.name} and {better.name} get the same in every row"
        for worse, better in pairwise(networks)
        if worse.min_rtt_ms is not None or worse.max_downlink_mbps is not None
        if all(
            policy.cells[row, worse.name] == policy.cells[row, better.name] for row in policy.rows
        )
    ]


def _seen(screen: Screen, bandwidth: Bandwidth, policy: Policy) -> Iterator[str]:
    cell, device = policy.cells[screen.name, bandwidth.name], device_of(screen, policy)
    expected = outlook(cell, device)
    if expected is None:
        return
    place, weight = f"[{screen.name}] {bandwidth.name}", expected.picture_bytes
    seconds = link_of(bandwidth, policy).page_seconds(weight)
    if seconds > _MOST_PAGE_SECONDS and weight > _LEAST_PICTURE_BYTES:
        yield (
            f"{place}: {PICTURES_A_PAGE} pictures of about {weight / BYTES_A_KILOBYTE:.0f} kB take"
            f" {seconds:.1f} s, more than {_MOST_PAGE_SECONDS}"
        )
    width, score = best_width(weight, device)
    if score >= expected.score + _LEAST_GAIN:
        yield (
            f"{place}: {width}px would look better in as many bytes: score {score:.0f} against"
            f" {expected.score:.0f} on {device.pixels} pixels"
        )


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
