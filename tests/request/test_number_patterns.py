"""Regular expressions that say what comparing numbers says."""

import re
from decimal import Decimal

from hypothesis import example, given
from hypothesis import strategies as st

from imgprocessor.request.number_patterns import NUMBER, at_least, at_most, whole_between
from imgprocessor.request.values import parse_number

spellings = st.from_regex(rf"^{NUMBER}$".replace("$", r"\Z"), alphabet="0123456789.")
bounds = spellings.map(Decimal)


@st.composite
def near(draw: st.DrawFn) -> tuple[Decimal, str]:
    """A bound, and a spelling of a number close to it."""
    bound = draw(bounds)
    number = bound + draw(st.integers(-12, 12)) * draw(
        st.sampled_from([Decimal(1), Decimal("0.1"), Decimal("0.001")])
    )
    text = f"{max(Decimal(0), number):f}"
    whole, point, decimals = text.partition(".")
    zeros = draw(st.integers(0, 4))
    return bound, f"{whole.rjust(zeros, '0')}{point}{decimals[:3]}"


@given(pair=st.one_of(near(), st.tuples(bounds, spellings)))
@example(pair=(Decimal("0.7"), "0.7"))
@example(pair=(Decimal("0.7"), "00000.700"))
@example(pair=(Decimal(0), "0"))
@example(pair=(Decimal(99999), "99999"))
def test_they_match_what_comparing_says(pair: tuple[Decimal, str]) -> None:
    bound, text = pair
    number = parse_number(text)

    assert bool(re.fullmatch(at_least(bound), text)) == (number is not None and number >= bound)
    assert bool(re.fullmatch(at_most(bound), text)) == (number is not None and number <= bound)


@given(bound=bounds, text=st.text("0123456789.-+ e", max_size=12))
def test_what_is_no_number_is_in_no_range(bound: Decimal, text: str) -> None:
    number = parse_number(text)

    assert bool(re.fullmatch(at_least(bound), text)) == (number is not None and number >= bound)
    assert bool(re.fullmatch(at_most(bound), text)) == (number is not None and number <= bound)


@given(
    bounds=st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)).map(sorted),
    near=st.integers(-12, 12),
    text=st.text("0123456789.-+ ", max_size=9),
)
@example(bounds=[0, 0], near=0, text="00")
@example(bounds=[1, 999_999_999], near=0, text="0")
def test_whole_numbers_in_a_range(bounds: list[int], near: int, text: str) -> None:
    least, most = bounds
    pattern = whole_between(least, most)

    for spelled in (str(max(0, least + near)), str(max(0, most + near)), text):
        is_one = re.fullmatch("0|[1-9][0-9]*", spelled) is not None
        assert bool(re.fullmatch(pattern, spelled)) == (is_one and least <= int(spelled) <= most)
