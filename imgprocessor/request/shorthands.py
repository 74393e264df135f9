"""Shorthands: what stands for one or more parameters, as older services spell them."""

import re
from collections.abc import Mapping

from imgprocessor.request.parameters import PARAMETERS

SIZE = "size"

_HEIGHTS = ("height", *PARAMETERS["height"].old)

SHORTHANDS = frozenset({SIZE, "crop", *_HEIGHTS})
"""Words of a query string that may stand for parameters; all but `size` are names of some, too."""

ON = ("on", "1", "true")
"""Values of `crop` that stand for `fit=cover`."""

_AT_MOST = "(?:<|%3[cC])"
_NUMBER = "[1-9][0-9]{0,8}"

WIDTH_IN_PATH = _NUMBER
"""A pattern of a folder's name that may be a width."""

HEIGHT_IN_PATH = f"0|{_AT_MOST}?{_NUMBER}"
"""The same of the height behind it."""

UPLOAD = "[0-9a-f]{32}[.]jpg"
"""A pattern of what an upload service of old calls its pictures. Of such a name in the path a width
and a height are a size, as they were there.
"""

_SIZE = re.compile(f"({_NUMBER})x(?:{HEIGHT_IN_PATH})")


def expanded(word: str, value: str | None) -> Mapping[str, str] | None:
    """Return the parameters that a word of a query string stands for, as they are spelled; None
    where it is no shorthand.

    Args:
        word: what stands before the `=`.
        value: what stands behind it; None where there is no `=`.

    Raises:
        ValueError: it is a shorthand that makes no sense; the message says what would be right.
    """
    if word == SIZE and value:
        if not _SIZE.fullmatch(value):
            raise ValueError("must be such as 100x50, 100x0 or 100x<60")
        return sized(*value.split("x", 1))
    if word == "crop" and (value is None or value in ON):
        return {"fit": "cover"}
    if word in _HEIGHTS and value and re.match(_AT_MOST, value):
        return {"max_height": re.sub(_AT_MOST, "", value, count=1)}
    return None


def sized(width: str, height: str) -> Mapping[str, str]:
    """Return the parameters that a size stands for. All of them enlarge.

    `100x50` covers that box; `100x100` is a square that loses more at the bottom; `100x0` is that
    width; `100x<60` that width, and of what is taller the top.
    """
    if height == "0":
        return {"width": width, "fit": "force"}
    if re.match(_AT_MOST, height):
        return {"width": width, "fit": "force", "max_height": re.sub(_AT_MOST, "", height)}
    upper = {"gravity": "upper"} if width == height else {}
    return {"width": width, "height": height, "fit": "cover", **upper}
