"""The formats that renditions may be sent in."""

from typing import Literal, get_args

Format = Literal["jxl", "avif", "webp", "png", "jpeg"]
"""A format that renditions may be sent in."""

FORMATS: tuple[Format, ...] = get_args(Format)
"""From the one that fewest programs can show to the plainest, which all can."""

PLAINEST: Format = FORMATS[-1]
