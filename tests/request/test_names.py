"""Names in every script: spelled and decoded, and what has the same letters in another form."""

import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from imgprocessor.errors import BadQuery
from imgprocessor.request.names import (
    MAX_NAME_BYTES,
    MAX_SEGMENT_BYTES,
    decode,
    forms,
    is_url,
    known_as,
    read_name,
    require_name,
    spell,
)

names = st.text(st.characters(exclude_categories=[]), min_size=1, max_size=400)
"""Surrogates and all."""


@given(names)
def test_a_name_is_refused_or_has_one_spelling_that_is_read_as_the_same(name: str) -> None:
    assume(not is_url(name))
    try:
        require_name(name)
    except BadQuery as error:
        assert error.public.isascii()
        assert error.public.isprintable()
        return
    spelled = spell(name)

    assert decode(spelled) == read_name(spelled) == name
    assert spelled.isascii()
    assert spelled.isprintable()
    assert len(spelled) <= 3 * MAX_NAME_BYTES
    assert all(0 < len(part.encode()) <= MAX_SEGMENT_BYTES for part in name.split("/"))


@given(names)
def test_all_forms_of_a_name_are_forgotten_as_one(name: str) -> None:
    assume(not is_url(name))
    assert forms(name)[0] == name
    assert len(set(forms(name))) == len(forms(name)) <= 3
    assert {known_as(form) for form in forms(name)} == {unicodedata.normalize("NFC", name)}


def test_no_form_of_a_letter_is_anything_that_leads_elsewhere() -> None:
    for number in range(0x80, 0x110000):
        assert not set("/.\\\0").intersection("".join(forms(chr(number))[1:]))


@pytest.mark.parametrize(
    ("name", "count"),
    [("a.jpg", 1), ("写真", 1), ("\xe9", 2), ("e\u0301", 2), ("\xe9e\u0301", 3), ("가", 2)],
)
def test_a_form_stands_there_once(name: str, count: int) -> None:
    assert len(forms(name)) == count


@pytest.mark.parametrize("spelled", ["%ED%A0%80", "%C0%AF", "%FF", "%F4%90%80%80", "%E4%BD"])
def test_what_is_no_utf8_is_refused(spelled: str) -> None:
    with pytest.raises(ValueError, match="must be UTF-8"):
        read_name(spelled)
