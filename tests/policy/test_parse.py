"""The table: the language, its errors, and the two tables that are delivered."""

import re
from dataclasses import fields
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgprocessor.errors import ConfigurationError
from imgprocessor.policy.lint import lint_policy
from imgprocessor.policy.parse import parse_policy
from imgprocessor.policy.table import BEST_QUALITY, SIZED, Bandwidth, Cell, Policy, Screen

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
        mobile_screen="phone",
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
        ("q40 360px", "q40 360px 25KB", "[phone] 2g: '25KB' is no word of a cell"),
        ("q40 360px", "q40 360px 50%", "[phone] 2g: '50%' and '360px': only one width"),
        ("q40 360px", "q40 q40 360px", "[phone] 2g: 'q40' and 'q40': only one quality"),
        ("q40 360px", "360px", "[phone] 2g: must say a quality, such as q75"),
        ("q40 360px", "q40", "[phone] 2g: must say a width: NNNpx, NN% or full"),
        ("q40 360px", "q40 360px dpr2", "[phone] 2g: 'dpr2': density only counts in [sized]"),
        ("q40 360px", "q40 360px 0kB", "[phone] 2g: '0kB' is no word of a cell"),
        ("q40 360px", "q40 360px 5kB 6kB", "[phone] 2g: '6kB' and '5kB': only one budget"),
        ("q40 360px", "q40 s70 360px", "[phone] 2g: 's70' and 'q40': only one quality"),
        ("q40 360px", "s100 360px", "[phone] 2g: 's100' is no word of a cell"),
        ("[screens]", "[formats]\noffer = avif\n[screens]", "[formats] offer: must have jpeg"),
        ("[screens]", "[formats]\noffer = gif jpeg\n[screens]", "[formats] offer: 'gif' cannot "),
        ("[screens]", "[formats]\noffer = jpeg jpeg\n[screens]", "[formats] offer: 'jpeg': named"),
        ("[screens]", "[formats]\nofer = jpeg\n[screens]", "[formats] ofer: no such key; there"),
        ("[screens]", "[formats]\n[screens]", "[formats] offer: must have jpeg"),
        (
            "[screens]",
            "[formats]\noffer = jpeg\neffort = slow\n[screens]",
            "[formats] effort: 'slow' must be one of behind, quick, best",
        ),
        ("phone = 480", "formats = 480", "[screens] formats: must be 1 to 20"),
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
        (
            "default = desktop",
            "default = desktop\nmobile = tv",
            "[screens] mobile: 'tv' is none of",
        ),
        # Before it was a key it could be a row.
        ("phone = 480", "mobile = 480", "[screens] mobile: '480' is none of desktop"),
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

    told = str(caught.value)
    assert re.sub(r"line \d+: ", "", told).startswith(f"conf/x.ini: {message}")
    assert "\n" not in told


def test_a_cell_may_have_a_budget_and_a_score() -> None:
    text = GOOD.replace("q40 360px", "25kB s70 360px").replace("q45\n", "q45 100000kB\n")
    policy = parse_policy(text, "x.ini")

    phone = policy.cells["phone", "2g"]
    assert phone == Cell(95, width_pixels=360, target_score=70, budget_bytes=25_000)
    assert ("360px s70 25kB", "q45 100000kB dpr1") == (str(phone), str(policy.cells["sized", "2g"]))


def test_formats_stand_in_the_operators_order() -> None:
    offer = "[formats]\noffer = webp jpeg avif\n"

    assert parse_policy(GOOD, "x.ini").formats == ("jpeg",)
    assert parse_policy(offer + GOOD, "x.ini").formats == ("webp", "jpeg", "avif")


@pytest.mark.parametrize("effort", ["behind", "quick", "best"])
def test_the_policy_says_how_long_visitors_wait(effort: str) -> None:
    offer = "[formats]\noffer = avif jpeg\n"

    assert parse_policy(GOOD, "x.ini").effort == "behind"
    assert parse_policy(offer + GOOD, "x.ini").effort == "behind"
    assert parse_policy(f"{offer}effort = {effort}\n{GOOD}", "x.ini").effort == effort


@pytest.mark.parametrize(
    ("old", "new", "doubt"),
    [
        ("", "", None),
        ("2g = q45", "2g = q79", "[sized] 2g gets more than 4g: q79 against q78"),
        ("4g = 75% q100", "4g = 300px q100", "[phone] 2g gets more than 4g: 360px against 300px"),
        ("q40 360px", "q40 75% 9kB", None),
        ("2g = q45", "2g = q45 dpr2", "[sized] 2g gets more than 4g: dpr2 against dpr1.5"),
        ("4g = full q90", "4g = full q90 9kB", "[desktop] 2g gets more than 4g: no budget against"),
        ("q40 360px", "q40 80%", "[phone] 2g gets more than 4g: 80% against 75%"),
        # What is not alike is not compared.
        ("q40 360px", "s90 360px", None),
        ("q40 360px", "q40 9000px", None),
    ],
)
def test_a_worse_bandwidth_that_gets_more_is_doubted(old: str, new: str, doubt: str | None) -> None:
    policy = parse_policy(GOOD.replace(old, new) if old else GOOD, "x.ini")
    found = [line for line in lint_policy(policy) if " gets more than " in line]

    assert (doubt is None) == (found == [])
    assert doubt is None or (len(found) == 1 and found[0].startswith(doubt))


def test_budgets_and_scores_are_compared() -> None:
    text = GOOD.replace("q40 360px", "s80 360px 9kB").replace("75% q100", "75% s70 5kB")

    assert lint_policy(parse_policy(text, "x.ini")) == [
        "[phone] 2g gets more than 4g: 9kB against 5kB",
        "[phone] 2g gets more than 4g: s80 against s70",
    ]


def test_every_field_of_a_cell_is_written_read_and_compared() -> None:
    """A word that is added to cells must be added to all of these."""
    full = {
        "quality": Cell(50, width_pixels=9),
        "width_pixels": Cell(40, width_pixels=10),
        "width_percent": Cell(40, width_percent=50),
        "max_density": Cell(40, max_density=Decimal(2)),
        "target_score": Cell(BEST_QUALITY, width_pixels=9, target_score=70),
        "budget_bytes": Cell(40, width_pixels=9, budget_bytes=5000),
    }
    plain = {"9px": Cell(40, width_pixels=9), "dpr": Cell(40)}

    assert set(full) == {field.name for field in fields(Cell)}
    for name, cell in full.items():
        row = "sized" if name == "max_density" else "phone"
        old = "q45" if row == "sized" else "q40 360px"
        text = GOOD.replace(f"2g = {old}", f"2g = {cell}")
        assert str(cell) not in {str(other) for other in plain.values()}
        assert parse_policy(text, "x.ini").cells[row, "2g"] == cell


def test_the_classic_table_is_doubted_where_the_ancestor_was_odd(classic: Policy) -> None:
    assert "[medium] 2g gets more than 3g: q90 against q85" in lint_policy(classic)


def test_a_wish_to_save_data_is_no_network() -> None:
    wish = GOOD.replace("4g = otherwise", "4g = save-data")

    assert lint_policy(parse_policy(wish.replace("2g = q45", "2g = q99"), "x.ini")) == []


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("q40 360px", "q40 36opx", "2g = q40 36opx ; here"),
        ("dpr1.5", "dpr1.25", "4g = dpr1.25 q78 ; here"),
        ("rtt>=1400", "rtt>1400", "2g = rtt>1400 downlink<=0.07 ; slow ; here"),
        ("[sized]\n2g = q45", "[sized]\n2G: q45 1px", "2G: q45 1px ; here"),
        # What is missing is missing in its section.
        ("2g = q40 360px\n", "", "[phone] ; here"),
    ],
)
def test_a_message_says_which_line(old: str, new: str, line: str) -> None:
    text = GOOD.replace(old, new)
    marked = text.replace(line.removesuffix(" ; here"), line)
    expected = next(n for n, known in enumerate(marked.splitlines(), 1) if known == line)

    with pytest.raises(ConfigurationError, match=f"^x.ini: line {expected}: "):
        parse_policy(text, "x.ini")


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
