"""Requests for hypothesis: what pages and browsers send, and what nobody should."""

from hypothesis import strategies as st

NAMES = st.sampled_from(["nasa.jpeg", "a/b.png", "a_b_c", "x%20y.jpg", "x+y.jpg", "%C3%A9.jpg"])
NUMBERS = st.sampled_from(
    ["0", "1", "1.5", "2.001", "3", "320", "480", "481", "980", "1024", "5000", "x"]
)
BANDWIDTHS = st.sampled_from(["2g", "3G", "4g", "slow-2g", "save-data", "any", "*", "5g", "wifi"])

PARAMETERS = {
    "width": st.sampled_from(["", "0", "1", "340", "1500", "4096"]),
    "height": st.sampled_from(["", "0", "1", "400", "3000"]),
    "fit": st.sampled_from(["inside", "force", "cover"]),
    "bandwidth": BANDWIDTHS,
    "screen": st.sampled_from(["phone", "Tablet", "desktop", "tv"]) | NUMBERS,
    "dpr": NUMBERS,
    "quality": st.sampled_from(["0", "1", "40", "60", "77", "78", "100"]),
    "max_bytes": st.sampled_from(["", "1000", "24999", "25000", "25001", "1000000"]),
    "format": st.sampled_from(["auto", "jpeg", "png", "webp", "avif"]),
    "colour": st.just("red"),
}

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
        ["*/*", "image/webp", "image/avif,image/webp,*/*;q=0.8", "image/avif;q=0, image/webp", ""]
    ),
    "user-agent": st.text(max_size=5),
}

parameters = st.fixed_dictionaries({"name": NAMES}, optional=PARAMETERS)
headers = st.fixed_dictionaries({}, optional=HEADERS)


def query_string(values: dict[str, str]) -> str:
    """Join parameters that are already spelled as in a URL."""
    return "&".join(f"{name}={value}" for name, value in values.items())
