"""The imagekey: what changes it, what does not, and that plans never share one."""

import dataclasses
import hashlib
import re
from collections.abc import Iterator
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

from imgprocessor.config.settings import PixelsSettings
from imgprocessor.errors import BadQuery
from imgprocessor.formats import UNIVERSAL
from imgprocessor.geometry import COMPASS, Box, Crop, Fit, Flip, Page
from imgprocessor.policy.imagekey import (
    FIELDS,
    MAX_SPELLED_BYTES,
    etag,
    imagekey,
    name_in,
    original_tag,
)
from imgprocessor.policy.negotiation import negotiate
from imgprocessor.policy.plan import Plan, make_plan
from imgprocessor.policy.table import Cell, Policy
from imgprocessor.request.hints import read_hints
from imgprocessor.request.names import spell
from imgprocessor.request.query import parse_query

MAX_SIDE = 4096
FULL = Plan(
    box=Box(340, 400),
    fit=Fit.INSIDE,
    density=Decimal(1),
    bandwidth="3g",
    screen="phone",
    formats=("jpeg",),
    quality_limit=40,
    bytes_limit=20000,
    cell=Cell(
        60,
        width_pixels=360,
        width_percent=50,
        max_density=Decimal("1.5"),
        target_score=70,
        budget_bytes=25000,
    ),
    pixels=PixelsSettings(),
    encoders="Pillow 1",
    page=Page(2),
    crop=Crop(1, 2, 3, 4),
    max_height=50,
    gravity=(Decimal("0.3"), Decimal("0.6")),
    flip=Flip.ACROSS,
    lqip=True,
    effort="best",
)
"""A plan with every field set, so that each can be changed."""

NO_OPERATIONS: dict[str, Any] = {
    field.name: None for field in dataclasses.fields(Plan) if field.default is None
}


def _planned(
    policy: Policy, parameters: dict[str, str], headers: dict[str, str]
) -> tuple[str, Plan]:
    """Return the name, and the plan."""
    query = parse_query(strategies.query_string(parameters), MAX_SIDE)
    decision = negotiate(query, read_hints(headers), policy)
    return query.original, make_plan(query, decision, PixelsSettings(), "Pillow 1", policy.effort)


def _key_of(name: str) -> str:
    return imagekey(name, FULL)


def _key(plan: Plan) -> str:
    return imagekey("nasa.jpeg", plan)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"screen": None}, "nasa.jpeg_340x400_inside_-_1x_3g_-_jpeg_q40+b20000"),
        ({"bytes_limit": None}, "nasa.jpeg_340x400_inside_-_1x_3g_phone_jpeg_q40"),
        ({"quality_limit": None}, "nasa.jpeg_340x400_inside_-_1x_3g_phone_jpeg_b20000"),
        (
            {"density": Decimal("1.5")},
            "nasa.jpeg_340x400_inside_-_1.5x_3g_phone_jpeg_q40+b20000",
        ),
        ({"box": Box(340, None)}, "nasa.jpeg_340x_inside_-_1x_3g_phone_jpeg_q40+b20000"),
        (
            {"formats": ("avif", "webp", "jpeg")},
            "nasa.jpeg_340x400_inside_-_1x_3g_phone_avif+webp+jpeg_q40+b20000",
        ),
        (
            {
                "box": None,
                "fit": None,
                "density": None,
                "quality_limit": None,
                "bytes_limit": None,
            },
            "nasa.jpeg_-_-_-_-_3g_phone_jpeg_-",
        ),
    ],
)
def test_a_key_is_the_name_and_nine_fields(changes: dict[str, Any], expected: str) -> None:
    key = _key(dataclasses.replace(FULL, **NO_OPERATIONS | changes))

    assert re.fullmatch(re.escape(expected) + "_[0-9a-f]{8}", key)
    assert len(FIELDS) == len(key.split("_"))


@pytest.mark.parametrize(
    ("rest", "operations"),
    [
        ("fit=cover&width=4&height=3&gravity=0.3%2C0.60", None),
        ("fit=cover&width=4&height=3&gravity=0.3%2C0.6", "g0.3x0.6"),
        ("fit=cover&width=4&height=3&gravity=north", "gnorth"),
        ("fit=cover&width=4&height=3&gravity=0.5,0", "gnorth"),
        ("fit=cover&width=4&height=3&gravity=0,0.05", "g0x0.05"),
        ("fit=cover&width=4&height=3&gravity=centre", "-"),
        ("fit=cover&width=4&height=3&gravity=0.5,0.5", "-"),
        ("fit=cover&width=4&gravity=north", "-"),
        ("fit=force&width=4&height=3&gravity=north", "-"),
        ("width=4&height=3&gravity=north", "-"),
        ("gravity=north", "-"),
    ],
)
def test_gravity_is_in_the_key_where_it_matters(
    policy: Policy, rest: str, operations: str | None
) -> None:
    values = {"name": "a"} | dict(part.split("=") for part in rest.split("&"))
    if operations is None:
        with pytest.raises(
            BadQuery, match=r"gravity=0\.3%2C0\.60: must be centre, north, northeast"
        ):
            _planned(policy, values, {})
        return

    assert (
        imagekey(*_planned(policy, values, {})).split("_")[FIELDS.index("operations")] == operations
    )


@pytest.mark.parametrize(
    ("rest", "operations"),
    [
        ("flip=h", "fh"),
        ("flip=v&width=4", "fv"),
        ("flip=hv&width=4&height=3&fit=cover&gravity=north", "gnorth+fhv"),
        ("flip=hv&width=4&height=3&gravity=north", "fhv"),
        ("flip=none", "-"),
        ("flip=", "-"),
        ("", "-"),
    ],
)
def test_flip_is_in_the_key_after_gravity(policy: Policy, rest: str, operations: str) -> None:
    values = {"name": "a"} | dict(part.split("=") for part in rest.split("&") if part)
    key = imagekey(*_planned(policy, values, {}))

    assert key.split("_")[FIELDS.index("operations")] == operations


@pytest.mark.parametrize(
    ("rest", "operations"),
    [
        ("crop=10,20,300,200", "c10x20x300x200"),
        ("crop=10%2C20%2c300,200&width=4", "c10x20x300x200"),
        ("crop=10%25,20%25,50%25,30%25", "c10pcx20pcx50pcx30pc"),
        ("crop=none", "-"),
        ("crop=0%25,0%25,100%25,100%25", "-"),
        ("max_height=60&width=4", "m60"),
        ("max_height=060&width=4", "m60"),
        ("max_height=60&width=4&height=3", "-"),
        ("max_height=60", "-"),
        ("fit=cover&width=4&height=3&gravity=upper", "gupper"),
        ("gravity=upper", "-"),
        ("lqip=yes", "lqipyes"),
        ("lqip=yes&width=400&max_height=3&dpr=2&flip=h&crop=0,0,9,9", "c0x0x9x9+fh+lqipyes"),
        ("lqip=no", "-"),
        ("width=4&max_height=3&flip=h&crop=0,0,9,9", "c0x0x9x9+m3+fh"),
    ],
)
def test_operations_are_in_the_key_where_they_matter(
    policy: Policy, rest: str, operations: str
) -> None:
    values = {"name": "a"} | dict(part.split("=") for part in rest.split("&"))
    key = imagekey(*_planned(policy, values, {}))

    assert key.split("_")[FIELDS.index("operations")] == operations


def test_bytes_to_be_shown_blurred_have_one_key(policy: Policy) -> None:
    key = imagekey(*_planned(policy, {"name": "a.jpg", "lqip": "yes"}, {"ect": "2g"}))

    assert key.startswith("a.jpg_16x16_inside_lqipyes_1x_-_-_webp_b199_")


def _one_field_changed(value: Any) -> Iterator[tuple[str, Any]]:
    """Walk a dataclass, and yield it with each field, at any depth, changed once."""
    for field in dataclasses.fields(value):
        old = getattr(value, field.name)
        if dataclasses.is_dataclass(old):
            for path, changed in _one_field_changed(old):
                yield f"{field.name}.{path}", dataclasses.replace(value, **{field.name: changed})
        else:
            for changed in _others(old):
                yield field.name, dataclasses.replace(value, **{field.name: changed})


def _others(old: Any) -> list[Any]:
    if isinstance(old, Enum):
        return [other for other in type(old) if other is not old]
    if isinstance(old, bool):
        return [not old]
    if isinstance(old, int | float | Decimal):
        return [old + 1]
    if isinstance(old, str):
        return [old + "x"]
    if isinstance(old, tuple) and isinstance(old[0], Decimal):
        return [old[::-1], COMPASS["north"]]
    if isinstance(old, tuple):
        return [(*old, "x")]
    raise AssertionError(f"say here how a {type(old).__name__} is changed")


@pytest.mark.parametrize(
    ("path", "changed"),
    [pytest.param(path, plan, id=path) for path, plan in _one_field_changed(FULL)],
)
def test_changing_one_field_of_a_plan_changes_the_key(path: str, changed: Plan) -> None:
    assert _key(FULL) != _key(changed), path


def test_another_name_is_another_key() -> None:
    assert imagekey("nasa.jpeg", FULL) != imagekey("nasa.jpegx", FULL)


def test_a_none_in_any_field_that_allows_it_changes_the_key() -> None:
    names = (
        "box",
        "fit",
        "density",
        "bandwidth",
        "screen",
        "quality_limit",
        "bytes_limit",
        *NO_OPERATIONS,
    )
    for name in names:
        nothing: dict[str, Any] = {name: None}
        assert _key(FULL) != _key(dataclasses.replace(FULL, **nothing))


@given(strategies.parameters, strategies.headers, strategies.parameters, strategies.headers)
def test_keys_are_equal_exactly_when_plans_are(
    policy: Policy,
    one: dict[str, str],
    one_headers: dict[str, str],
    other: dict[str, str],
    other_headers: dict[str, str],
) -> None:
    first, second = _planned(policy, one, one_headers), _planned(policy, other, other_headers)

    assert (first == second) == (imagekey(*first) == imagekey(*second))


@given(strategies.parameters, strategies.headers, st.randoms())
def test_what_cannot_matter_is_not_in_the_key(
    policy: Policy, parameters: dict[str, str], headers: dict[str, str], random: Any
) -> None:
    key = imagekey(*_planned(policy, parameters, headers))
    same = list(parameters.items())
    random.shuffle(same)
    written = {name: text.upper() if name == "bandwidth" else text for name, text in same}
    written |= {"colour": "blue", "cachebuster": "17"}
    if written.get("width", "") in {"", "0"} and written.get("height", "") in {"", "0"}:
        written["dpr"] = "2"  # without a box, density counts for nothing
        written["fit"] = "cover"
    else:
        written["screen"] = "tablet"  # with a box, the screen does

    headers = {**headers, "cookie": "x", "user-agent": "y"}
    assert key == imagekey(*_planned(policy, written, headers))


@given(strategies.parameters, strategies.headers)
def test_a_key_is_fit_for_a_header_and_tells_its_fields_apart(
    policy: Policy, parameters: dict[str, str], headers: dict[str, str]
) -> None:
    name, plan = _planned(policy, parameters, headers)
    spelled, *others = imagekey(name, plan).rsplit("_", len(FIELDS) - 1)

    assert spelled == spell(name)
    assert name_in(imagekey(name, plan)) == name
    assert all(re.fullmatch(r"[a-z0-9.+-]+", field) for field in others)


def test_whatever_headers_a_client_invents_the_keys_of_a_url_are_few(policy: Policy) -> None:
    keys = set()
    for rtt in range(0, 4000, 50):
        for width in range(100, 3000, 50):
            headers = {"rtt": str(rtt), "viewport-width": str(width), "dpr": str(width / 100)}
            headers["accept"] = f"image/avif;q=0.{rtt % 10}, image/webp;q=0.{width}, image/x{rtt}"
            keys.add(imagekey(*_planned(policy, {"name": "a"}, headers)))

    sets_of_formats = 2 ** len(set(policy.formats) - UNIVERSAL)
    assert len(keys) <= len(policy.bandwidths) * len(policy.screens) * sets_of_formats


def test_a_change_of_one_cell_leaves_the_keys_of_the_others_alone() -> None:
    def keys(text: str) -> list[str]:
        changed = dataclasses.replace(FULL, cell=Cell(int(text)))
        return [_key(FULL), _key(changed)]

    assert keys("60")[0] == keys("61")[0]
    assert keys("60")[1] != keys("61")[1]


@pytest.mark.parametrize(
    "name",
    [
        "https://IMAGES.example.org/x y.jpg",
        "https://images.example.org:443/x%20y.jpg",
        "https://images.example.org/x%20y.jpg",
    ],
)
def test_all_spellings_of_one_url_are_purged_by_one_tag(name: str) -> None:
    assert original_tag(name) == original_tag("https://images.example.org/x y.jpg")


def _spelled_in(key: str) -> str:
    return key.rsplit("_", len(FIELDS) - 1)[0]


@pytest.mark.parametrize(
    ("name", "is_spelled"),
    [
        ("a" * 250 + "/" + "b" * 249, True),
        ("\u4f60" * 60 + "/" + "\u4f60" * 51, True),
        ("\u4f60" * 60 + "/" + "\u4f60" * 51 + "a", False),
        ("https://images.example.org/" + "=" * 330, False),
    ],
)
def test_a_long_name_stands_in_the_key_as_a_digest(name: str, *, is_spelled: bool) -> None:
    key = _key_of(name)

    assert (_spelled_in(key) == spell(name)) == is_spelled == (len(spell(name)) <= 1000)
    if is_spelled:
        assert name_in(key) == name
        return
    assert _spelled_in(key) == f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"
    with pytest.raises(BadQuery, match="purge the name"):
        name_in(key)


letters = st.text(st.characters(codec="utf-8"), min_size=1, max_size=3)
any_names = st.builds(str.__mul__, letters, st.sampled_from([1, 2, 85, 340, 1024]))


@given(any_names, any_names)
def test_names_have_keys_of_their_own_that_are_bounded(one: str, other: str) -> None:
    keys = {_key_of(one), _key_of(other)}

    assert len(keys) == len({one, other})
    for name, spelled in ((name, _spelled_in(_key_of(name))) for name in (one, other)):
        assert len(spelled) <= MAX_SPELLED_BYTES
        # No name is spelled as a digest is.
        assert (":" in spelled) == (spelled != spell(name))


def test_names_that_differ_by_form_alone_have_two_keys_and_one_tag() -> None:
    one, other = "\xe9/\xfc.jpg", "e\u0301/u\u0308.jpg"

    assert _key_of(one) != _key_of(other)
    assert original_tag(one) == original_tag(other) == original_tag("\xe9/u\u0308.jpg")
    assert original_tag(one) != original_tag("e/u.jpg")


def test_an_etag_changes_with_the_key_and_with_the_version() -> None:
    assert len({etag("a", "1"), etag("a", "2"), etag("b", "1")}) == 3
