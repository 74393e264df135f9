"""The table: the language, its errors, and the two tables that are delivered."""

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgprocessor.errors import ConfigurationError
from imgprocessor.policy import SIZED, Bandwidth, Cell, Policy, Screen, parse_policy

GOOD = """
[bandwidths]
2g = rtt>=1400 downlink<=0.07 ; slow
4g = otherwise
default = 4g
[screens]
phone = 480
desktop = otherwise
default = desktop
[sized]
2g = q45
4g = dpr1.5 q78
[phone]
2g = q40 360px
4g = 75% q100
[desktop]
2g = 1px q1
4g = full q90
"""


def test_a_table_is_read() -> None:
    expected = Policy(
        bandwidths=(
            Bandwidth("2g", min_rtt_ms=Decimal(1400), max_downlink_mbps=Decimal("0.07")),
            Bandwidth("4g", otherwise=True),
        ),
        default_bandwidth="4g",
        screens=(Screen("phone", 480), Screen("desktop", None)),
        default_screen="desktop",
        cells={
            ("sized", "2g"): Cell(45),
            ("sized", "4g"): Cell(78, max_density=Decimal("1.5")),
            ("phone", "2g"): Cell(40, width_pixels=360),
            ("phone", "4g"): Cell(100, width_percent=75),
            ("desktop", "2g"): Cell(1, width_pixels=1),
            ("desktop", "4g"): Cell(90, width_percent=100),
        },
    )

    assert expected == parse_policy(GOOD, "x.ini")


def test_a_cell_is_written_as_the_operator_would() -> None:
    cells = parse_policy(GOOD, "x.ini").cells

    assert [str(cell) for cell in cells.values()] == [
        "q45 dpr1",
        "q78 dpr1.5",
        "360px q40",
        "75% q100",
        "1px q1",
        "full q90",
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("q40 360px", "q40 36opx", "[phone] 2g: '36opx' is no word of a cell; right are NNNpx"),
        ("q40 360px", "q40 360px 25kB", "[phone] 2g: '25kB' is no word of a cell"),
        ("q40 360px", "q40 360px 50%", "[phone] 2g: '50%' and '360px': only one width"),
        ("q40 360px", "q40 q40 360px", "[phone] 2g: 'q40' and 'q40': only one quality"),
        ("q40 360px", "360px", "[phone] 2g: must say a quality, such as q75"),
        ("q40 360px", "q40", "[phone] 2g: must say a width: NNNpx, NN% or full"),
        ("q40 360px", "q40 360px dpr2", "[phone] 2g: 'dpr2': density only counts in [sized]"),
        ("q40 360px", "q0 360px", "[phone] 2g: 'q0' is no word"),
        ("q40 360px", "q101 360px", "[phone] 2g: 'q101' is no word"),
        ("q40 360px", "q40 0px", "[phone] 2g: '0px' is no word"),
        ("q40 360px", "q40 101%", "[phone] 2g: '101%' is no word"),
        ("q40 360px", "", "[phone] 2g: must say a quality"),
        ("2g = q40 360px\n", "", "[phone] 2g: this cell is missing"),
        ("2g = q40 360px", "2g = q40 360px\n5g = q1 1px", "[phone] 5g: no such bandwidth"),
        ("2g = q45", "2g = q45 300px", "[sized] 2g: '300px': here the request says how wide"),
        ("dpr1.5", "dpr1.25", "[sized] 4g: 'dpr1.25' is no word"),
        ("[sized]", "[seized]", "[seized]: no such screen; there are phone, desktop"),
        ("[phone]", "[tablet]", "[tablet]: no such screen"),
        ("phone = 480\n", "phone = 480\nwatch = 600\n", "[watch]: this section is missing"),
        ("phone = 480\n", "phone = 480\nwatch = 240\n", "[screens] watch: '240' must be a num"),
        ("phone = 480\n", "phone = 480\nwatch = 480\n", "[screens] watch: '480' must be a num"),
        ("phone = 480\n", "phone = x\n", "[screens] phone: 'x' must be a number of CSS pixels"),
        ("phone = 480\n", "phone = otherwise\n", "[screens] desktop: must stand before phone"),
        ("desktop = otherwise\n", "desktop = 2000\n", "[screens] desktop: the last screen must"),
        ("default = desktop", "default = tv", "[screens] default: 'tv' is none of phone, desktop"),
        ("default = desktop", "", "[screens] default: must be given: one of phone, desktop"),
        ("default = 4g", "default = 5g", "[bandwidths] default: '5g' is none of 2g, 4g"),
        ("rtt>=1400", "rtt>1400", "[bandwidths] 2g: 'rtt>1400' is no bound; right are rtt>="),
        ("rtt>=1400", "rtt>=1400 rtt>=1", "[bandwidths] 2g: 'rtt>=1': only one rtt"),
        (
            "4g = otherwise",
            "4g = otherwise\nx = rtt>=5",
            "[bandwidths] x: its bounds are never met",
        ),
        ("rtt>=1400", "rtt>=x", "[bandwidths] 2g: 'rtt>=x' is no bound"),
        ("rtt>=1400", "otherwise", "[bandwidths] 4g: 'otherwise' already belongs to 2g"),
        ("2g = rtt", "2_g = rtt", "[bandwidths] 2_g: must be 1 to 20 of a-z, 0-9 and -"),
        ("phone = 480", "sized = 480", "[screens] sized: must be 1 to 20"),
        ("2g = q40 360px", "2g = q40 360px\n2G = q1 1px", "[phone] 2g: given twice"),
        ("[bandwidths]", "[bandwidth]", "[bandwidths]: this section is missing"),
    ],
)
def test_a_wrong_table_is_refused_with_section_key_and_word(
    old: str, new: str, message: str
) -> None:
    assert GOOD.count(old) == 1

    with pytest.raises(ConfigurationError) as caught:
        parse_policy(GOOD.replace(old, new), "conf/x.ini")

    assert str(caught.value).startswith(f"conf/x.ini: {message}")
    assert "\n" not in str(caught.value)


@given(st.text() | st.text().map(lambda text: GOOD + text))
def test_no_text_whatever_raises_anything_else(text: str) -> None:
    try:
        parse_policy(text, "x.ini")
    except ConfigurationError as error:
        assert "\n" not in str(error)


# The whole grid of the ancestor, as it was found by running it.
CLASSIC = """
240  35%q90 35%q90 45%q85 45%q85
320  35%q90 35%q90 45%q85 45%q85
360  35%q90 35%q90 45%q85 45%q85
480  35%q90 45%q85 45%q85 60%q90
540  35%q90 45%q85 45%q85 60%q90
640  45%q85 45%q85 60%q90 60%q90
720  45%q85 45%q85 60%q90 60%q90
1080 60%q90 60%q90 75%q90 75%q90
-    60%q90 60%q90 75%q90 75%q90
sized q75   q80    q90    q90
"""


def test_the_classic_table_has_every_cell_of_the_ancestors(classic: Policy) -> None:
    rows = [line.split() for line in CLASSIC.strip().splitlines()]
    for row, *cells in rows:
        for bandwidth, expected in zip(("2g", "3g", "4g", "any"), cells, strict=True):
            cell = classic.cells[_classic_screen(classic, row), bandwidth]
            width = "" if cell.width_percent is None else f"{cell.width_percent}%"
            assert (row, bandwidth, expected) == (row, bandwidth, f"{width}q{cell.quality}")


def _classic_screen(classic: Policy, row: str) -> str:
    if row == SIZED:
        return SIZED
    if row == "-":
        return classic.default_screen
    bounds = [(screen.name, screen.max_css_pixels) for screen in classic.screens]
    return next(name for name, bound in bounds if bound is None or int(row) <= bound)


def test_in_the_delivered_table_no_worse_bandwidth_gets_more_than_a_better_one(
    policy: Policy,
) -> None:
    """Save-Data stands first, but is a wish and not the slowest network."""
    networks = [bandwidth.name for bandwidth in policy.bandwidths if not bandwidth.save_data]
    for row in (SIZED, *(screen.name for screen in policy.screens)):
        cells = [policy.cells[row, network] for network in networks]
        for worse, better in pairwise(cells):
            assert worse.quality <= better.quality
            assert (worse.width_pixels or 0) <= (better.width_pixels or 0)
            assert worse.max_density <= better.max_density


def test_in_the_delivered_table_width_goes_down_before_quality_does(policy: Policy) -> None:
    """From the best class down, the share of the width that is left is below that of quality."""
    best = policy.bandwidths[-1].name
    for screen in policy.screens:
        full = policy.cells[screen.name, best]
        for bandwidth in policy.bandwidths[:-1]:
            cell = policy.cells[screen.name, bandwidth.name]
            width_left = (cell.width_pixels or 0) / (full.width_pixels or 1)
            assert width_left < cell.quality / full.quality
