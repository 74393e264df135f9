"""Types of value: what they read they write in one spelling, and their patterns say the same."""

import re
from decimal import Decimal

import pytest
from generated import spelled_by
from hypothesis import given
from hypothesis import strategies as st

from imgprocessor.edge.query_rules import author_step
from imgprocessor.edge.rules import follow
from imgprocessor.geometry import Crop
from imgprocessor.request.parameters import PARAMETERS, ImageQuery, Parameter
from imgprocessor.request.values import AnyValue, Point, Rectangle, Value, Whole, Word, write_number

HALF = Decimal("0.5")
POINT = Point({"north": (HALF, Decimal(0)), "centre": (HALF, HALF), "east": (Decimal(1), HALF)})
RECTANGLE = Rectangle()
TYPES: dict[str, AnyValue] = {
    **{name: row.value for name, row in PARAMETERS.items()},
    "a whole number": Whole(5, 120, digits=4, zero_is_none=False, examples=("5", "77", "120")),
    "a word": Word({"h": 1, "v": 2, "hv": 3}),
    "a point": POINT,
}

SCRIPTS = [name for name, row in PARAMETERS.items() if not row.is_signed]


@pytest.mark.parametrize("name", TYPES)
def test_what_is_read_is_written_in_one_spelling(name: str) -> None:
    value = TYPES[name]
    for spelled in spelled_by(value):
        try:
            known = value.read(spelled)
        except ValueError as error:
            assert str(error)
            continue
        if known is not None:
            written = value.write(known)
            assert value.read(written) == known
            assert re.fullmatch(value.pattern, written) or known == ""
            assert value.write(value.read(written)) == written


@pytest.mark.parametrize("row", PARAMETERS.values(), ids=PARAMETERS)
def test_a_row_has_a_default_that_its_type_knows(row: Parameter) -> None:
    """Caches drop it, however it is spelled."""
    if row.is_signed:
        pattern = row.value.pattern_of(row.default)
        for spelled in (*row.value.examples, *row.value.respelled):
            if re.fullmatch(pattern, spelled):
                assert row.value.read(spelled) == row.default
    assert getattr(ImageQuery(), row.name) == row.default


@pytest.mark.parametrize(
    "name", ["a whole number", "a word", "a point", "crop", "width", "fit", "gravity", "format"]
)
def test_the_pattern_matches_nothing_else(name: str) -> None:
    value = TYPES[name]
    for spelled in spelled_by(value):
        if re.fullmatch(value.pattern, spelled):
            assert value.write(value.read(spelled)) == spelled


SHARES = [Decimal(step) / 20 for step in range(21)]


@given(st.sampled_from(SHARES), st.sampled_from(SHARES), st.sampled_from([",", "%2C", "%2c"]))
def test_points_are_read_in_steps(x: Decimal, y: Decimal, comma: str) -> None:
    spelled = f"{write_number(x)}{comma}{write_number(y)}"

    assert POINT.read(spelled) == (x, y)
    assert POINT.read(POINT.write((x, y))) == (x, y)


@pytest.mark.parametrize(
    "spelled",
    [
        *("0.30,0.5", ".3,0.5", "0.31,0.5", "0.5", "0.5,", "0.5,0.5,0.5", "1.0,0", "1.05,0"),
        *("-0.1,0", "0.5;0", "NORTH", "00.5,1", "0.5, 1", "0.5x0.5", "0.00,1", "0.0,1"),
    ],
)
def test_any_other_spelling_of_a_point_is_refused(spelled: str) -> None:
    with pytest.raises(ValueError, match="must be north, centre, east, or a point"):
        POINT.read(spelled)


COMMAS = st.lists(st.sampled_from([",", "%2C", "%2c"]), min_size=3, max_size=3)


@given(st.data(), st.sampled_from(["", "%25"]), COMMAS)
def test_rectangles_are_read_in_pixels_and_in_percent(
    data: st.DataObject, unit: str, commas: list[str]
) -> None:
    most = 100 if unit else 999_999
    places, lengths = st.integers(0, most - bool(unit)), st.integers(1, most)
    numbers = [data.draw(some) for some in (places, places, lengths, lengths)]
    spelled = "".join(
        f"{number}{unit}{comma}" for number, comma in zip(numbers, [*commas, ""], strict=True)
    )
    left, top, width, height = numbers

    found = RECTANGLE.read(spelled)

    wanted = Crop(left, top, width, height, is_percent=bool(unit))
    assert found == (None if wanted == Crop(0, 0, 100, 100, is_percent=True) else wanted)
    assert RECTANGLE.read(RECTANGLE.write(found)) == found
    assert re.fullmatch(RECTANGLE.pattern, RECTANGLE.write(found))


@pytest.mark.parametrize("comma", [",", "%2C"])
def test_all_of_a_picture_is_no_rectangle(comma: str) -> None:
    assert RECTANGLE.read(comma.join(["0%25", "0%25", "100%25", "100%25"])) is None
    assert RECTANGLE.read("none") is None
    assert RECTANGLE.write(None) == "none"


@pytest.mark.parametrize(
    "spelled",
    [
        *("1,2,3", "1,2,3,", "1,2,3,4,5", ",,,", "1,2,3,4,", "1;2;3;4", "1x2x3x4", "1, 2,3,4"),
        *("0,0,0,1", "0,0,1,0", "-1,0,1,1", "+1,0,1,1", "01,0,1,1", "1.5,0,1,1", "1e3,0,1,1"),
        *("1000000000,0,1,1", "0,0,1000000,1", "0,0,1,1000000000", "9" * 5000 + ",0,1,1"),
        *("10%25,0,1,1", "0,0,10%25,10", "0%25,0%25,0%25,1%25", "100%25,0%25,1%25,1%25"),
        *("0%25,0%25,101%25,1%25", "1%,2%,3%,4%", "1%2525,2%2525,3%2525,4%2525", "NONE"),
        *("1.5%25,0%25,1%25,1%25", "\u0663,0,1,1", "on", "0,0,1,1\n"),
    ],
)
def test_any_other_spelling_of_a_rectangle_is_refused(spelled: str) -> None:
    with pytest.raises(ValueError, match="must be none, or left, top, width and height in whole"):
        RECTANGLE.read(spelled)


@pytest.mark.parametrize("name", [name for name, kind in TYPES.items() if isinstance(kind, Value)])
def test_caches_come_to_the_same_spelling(name: str) -> None:
    """Whatever is read; what is refused stays as it is."""
    value = TYPES[name]
    default = PARAMETERS[name].default if name in PARAMETERS else value.read(value.examples[0])
    step = author_step(Parameter("x", value, default, "", {}, is_signed=True, ladder=None))
    for spelled in spelled_by(value):
        found = follow([step], f"?a&x={spelled}", {})["x"]
        try:
            known = value.read(spelled)
        except ValueError:
            assert found == (f"x={spelled}&" if spelled else ""), spelled
            continue
        assert found == ("" if known in {default, None} else f"x={value.write(known)}&"), spelled
