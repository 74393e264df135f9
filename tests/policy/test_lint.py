"""What a cell looks like as seen, and what is doubted: figures, links, classes."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgprocessor.policy.lint import lint_policy
from imgprocessor.policy.parse import parse_policy
from imgprocessor.policy.seen import (
    TYPICAL_DEVICES,
    Device,
    best_width,
    device_of,
    outlook,
    told,
)
from imgprocessor.policy.table import Cell, Policy

TABLE = """
[bandwidths]
2g = rtt>=1400
3g = rtt>=270
4g = otherwise
default = 4g
[screens]
phone = 480
desktop = otherwise
default = desktop
[sized]
2g = q30
3g = q40
4g = q78
[phone]
2g = 480px q30 9kB
3g = 1082px q32 45kB
4g = 1082px q70
[desktop]
2g = 480px q30 9kB
3g = 50% q40
4g = full s70
"""
PHONE, _, DESKTOP = TYPICAL_DEVICES


def _policy(old: str = "", new: str = "") -> Policy:
    assert not old or TABLE.count(old) == 1
    return parse_policy(TABLE.replace(old, new) if old else TABLE, "x.ini")


@pytest.mark.parametrize(
    ("old", "new", "doubt"),
    [
        ("", "", None),
        # Twelve of them cannot be there in time on a 3g.
        (
            "3g = 1082px q32 45kB",
            "3g = 1082px q60 45kB",
            "[phone] 3g: 12 pictures of about 28 kB take 7.4 s, more than 5",
        ),
        # A budget that keeps them light is enough.
        ("3g = 1082px q32 45kB", "3g = 1082px q40 17kB", None),
        # On a 2g nothing can; but more than is worth looking at is too much there, too.
        (
            "[phone]\n2g = 480px q30 9kB",
            "[phone]\n2g = 640px q60 40kB",
            "[phone] 2g: 12 pictures of about 13 kB take 19.3 s, more than 5",
        ),
        (
            "4g = 1082px q70",
            "4g = 640px q90",
            "[phone] 4g: 1082px would look better in as many bytes: score 6",
        ),
        (
            "[phone]\n2g = 480px q30 9kB",
            "[phone]\n2g = 1082px q30 4kB",
            "[phone] 2g: 487px would look better in as many bytes: score 14 against 6",
        ),
    ],
)
def test_what_looks_wrong_as_seen_is_doubted(old: str, new: str, doubt: str | None) -> None:
    found = [line for line in lint_policy(_policy(old, new)) if " gets more than " not in line]

    assert [line[: len(doubt or "")] for line in found] == ([doubt] if doubt else [])


def test_classes_that_get_the_same_everywhere_are_doubted() -> None:
    text = TABLE.replace("q32 45kB", "q70").replace("3g = q40", "3g = q78")
    same = text.replace("50% q40", "full s70")

    doubt = "3g and 4g get the same in every row"
    assert doubt not in lint_policy(parse_policy(text, "x.ini"))
    assert doubt in lint_policy(parse_policy(same, "x.ini"))
    # By its name alone no browser is told from others.
    named = same.replace("3g = rtt>=270", "3g =")
    assert doubt not in lint_policy(parse_policy(named, "x.ini"))


@pytest.mark.parametrize(
    ("row", "bandwidth", "words"),
    [
        ("phone", "2g", "about 5 kB, score 20 on 1082 pixels; 12 pictures take 8.0 s{13.6 s"),
        ("phone", "3g", "about 15 kB, score 54 on 1082 pixels; 12 pictures take 4.3 s{11.4 s"),
        ("phone", "4g", "about 35 kB, score 75 on 1082 pixels; 12 pictures take 2.4 s"),
        # What depends on the original cannot be told.
        ("desktop", "3g", ""),
        ("desktop", "4g", ""),
    ],
)
def test_a_cell_is_told_as_it_is_seen(row: str, bandwidth: str, words: str) -> None:
    policy = _policy()
    (screen,) = [known for known in policy.screens if known.name == row]
    (network,) = [known for known in policy.bandwidths if known.name == bandwidth]

    assert words.replace("{", ", at the budget ") == told(screen, network, policy)


@pytest.mark.parametrize(
    ("screens", "devices"),
    [
        ("phone = 480\ntablet = 1024\ndesktop = otherwise", list(TYPICAL_DEVICES)),
        ("desktop = otherwise", [DESKTOP]),
        ("phone = 480\ndesktop = otherwise", [PHONE, DESKTOP]),
        ("desktop = 400\nphone = 480\nwall = otherwise", [
            Device(400, Decimal("2.625")), PHONE, DESKTOP,
        ]),
        ("desktop = 1920\nwall = otherwise", [DESKTOP, Device(1921, Decimal(1))]),
    ],
)  # fmt: skip
def test_each_row_has_a_typical_device(screens: str, devices: list[Device]) -> None:
    head, _, rest = TABLE.partition("phone = 480\ndesktop = otherwise")
    names = [line.split()[0] for line in screens.splitlines()]
    cells = "".join(f"[{name}]\n2g = full q1\n3g = full q1\n4g = full q1\n" for name in names)
    policy = parse_policy(head + screens + rest[: rest.index("[phone]")] + cells, "x.ini")

    assert devices == [device_of(screen, policy) for screen in policy.screens]


@given(st.integers(100, 4000), st.integers(1, 100), st.none() | st.integers(1, 400))
def test_an_outlook_keeps_the_budget_and_no_width_is_better_than_the_best(
    width: int, quality: int, kilobytes: int | None
) -> None:
    budget = None if kilobytes is None else 1000 * kilobytes
    expected = outlook(Cell(quality, width_pixels=width, budget_bytes=budget), PHONE)

    assert expected is not None
    assert 0 < expected.picture_bytes <= (budget or 10**7)
    _, score = best_width(expected.picture_bytes, PHONE)
    assert score <= 100


def test_the_delivered_table_leaves_no_doubt(policy: Policy) -> None:
    assert lint_policy(policy) == []
    assert all(
        told(screen, known, policy) for screen in policy.screens for known in policy.bandwidths
    )
