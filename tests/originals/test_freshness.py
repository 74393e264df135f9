"""How long an original from elsewhere is good, by what its host said."""

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgprocessor.config.settings import RemoteSettings
from imgprocessor.originals.http.freshness import fresh_seconds

NOW = 1_800_000_000.0
SETTINGS = RemoteSettings(min_fresh_seconds=60, max_fresh_seconds=86_400)


def date(seconds: float) -> str:
    return formatdate(NOW + seconds, usegmt=True)


SAID: list[tuple[dict[str, str], float]] = [
    ({}, 60),
    ({"cache-control": "max-age=300"}, 300),
    ({"cache-control": "public, MAX-AGE=300"}, 300),
    ({"cache-control": "max-age=300, s-maxage=600"}, 600),
    ({"cache-control": 'max-age="300"'}, 300),
    ({"cache-control": "max-age=300", "expires": date(999)}, 300),
    ({"cache-control": "max-age=300", "age": "100"}, 200),
    ({"cache-control": "max-age=300", "age": "x"}, 300),
    ({"cache-control": "max-age=300, max-age=900"}, 300),
    ({"cache-control": "max-age=1"}, 60),
    ({"cache-control": "max-age=99999999999999999999"}, 86_400),
    ({"cache-control": "max-age=-1"}, 60),
    ({"cache-control": "max-age=nonsense"}, 60),
    ({"cache-control": "max-age=300, no-store"}, 60),
    ({"age": "0\x1f"}, 60),
    ({"cache-control": "private, max-age=300"}, 60),
    ({"cache-control": 'no-cache="x", max-age=300'}, 60),
    ({"expires": date(500)}, 500),
    ({"expires": date(500), "date": date(100)}, 400),
    ({"expires": date(-500)}, 60),
    ({"expires": "0"}, 60),
    ({"last-modified": date(-10_000)}, 1000),
    ({"last-modified": date(-10_000), "date": date(-5000)}, 500),
    ({"last-modified": date(10_000)}, 60),
    ({"last-modified": "yesterday"}, 60),
    ({"last-modified": date(-1e9)}, 86_400),
]


@pytest.mark.parametrize(("headers", "seconds"), SAID)
def test_a_host_says_how_long(headers: dict[str, str], seconds: float) -> None:
    assert fresh_seconds(headers, NOW, SETTINGS) == seconds


@given(
    st.dictionaries(
        st.sampled_from(["cache-control", "expires", "date", "age", "last-modified"]),
        st.text()
        | st.sampled_from(["max-age=", "Mon, 32 Foo 99999 25:61:61 GMT", "1e9", "\u0665"]),
    )
)
def test_whatever_a_host_says_the_bounds_hold(headers: dict[str, str]) -> None:
    assert 60 <= fresh_seconds(headers, NOW, SETTINGS) <= 86_400
