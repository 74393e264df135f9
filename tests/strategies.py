"""Requests for hypothesis: what pages and browsers send, and what nobody should."""

from hypothesis import strategies as st

from imgprocessor.request import parameters as parameters_table
from imgprocessor.request.parameters import Parameter
from imgprocessor.request.values import Whole

NAMES = st.sampled_from(["nasa.jpeg", "a/b.png", "a_b_c", "x%20y.jpg", "x+y.jpg", "%C3%A9.jpg"])
NUMBERS = st.sampled_from(
    ["0", "1", "1.5", "2.001", "3", "320", "480", "481", "980", "1024", "5000", "x"]
)
BANDWIDTHS = st.sampled_from(["2g", "3G", "4g", "slow-2g", "save-data", "any", "*", "5g", "wifi"])

BY_SCRIPTS = {
    "bandwidth": BANDWIDTHS,
    "screen": st.sampled_from(["phone", "Tablet", "desktop", "tv"]) | NUMBERS,
    "dpr": NUMBERS,
    "formats": st.sampled_from(["avif+webp+gif", "webp+jpeg", "jpeg", "jxl", "gif", "none", ""]),
}


def _written_by_an_author(row: Parameter) -> st.SearchStrategy[str]:
    """Right spellings, those that count as not given among them, and some of what is given most."""
    unset = ["", *(["0"] if isinstance(row.value, Whole) and row.value.zero_is_none else [])]
    right = [text for text in row.value.examples if text not in NOT_HERE]
    return st.sampled_from([*right, *unset, *MORE.get(row.name, [])])


NOT_HERE = {"jxl", "999999,0,999999,7"}
"""What no policy here offers, and what no picture here has."""

MORE = {"width": ["340", "1500", "4096"], "height": ["400", "3000"], "max_bytes": ["25001"]}

PARAMETERS = {
    name: _written_by_an_author(row) if row.is_signed else BY_SCRIPTS[name]
    for name, row in parameters_table.PARAMETERS.items()
    if name not in parameters_table.NAMES
} | {"colour": st.just("red")}

HEADERS = {
    "http-nw-type": BANDWIDTHS,
    "save-data": st.sampled_from(["on", "off", "ON"]),
    "ect": BANDWIDTHS,
    "rtt": st.sampled_from(["0", "224", "225", "269", "270", "1400", "2050", "x", "2000, 1"]),
    "downlink": st.sampled_from(["0", "0.05", "0.051", "0.7", "0.701", "1", "10", ""]),
    "http-screensize": NUMBERS,
    "sec-ch-viewport-width": NUMBERS,
    "viewport-width": NUMBERS,
    "sec-ch-ua-mobile": st.sampled_from(["?1", "?0", "?1, ?0", "1", ""]),
    "sec-ch-dpr": NUMBERS,
    "dpr": NUMBERS,
    "accept": st.sampled_from(
        [
            *("*/*", "image/webp", "image/avif,image/webp,*/*;q=0.8", "image/avif;q=0, image/webp"),
            *("image/avif;q=0.4,image/gif", "image/png;q=0", "image/jpeg;q=0,*/*", ""),
        ]
    ),
    "user-agent": st.text(max_size=5),
}

parameters = st.fixed_dictionaries({"name": NAMES}, optional=PARAMETERS)
headers = st.fixed_dictionaries({}, optional=HEADERS)


def query_string(values: dict[str, str]) -> str:
    """Join parameters that are already spelled as in a URL."""
    return "&".join(f"{name}={value}" for name, value in values.items())
