"""The formats that renditions may be sent in."""

from collections.abc import Mapping
from typing import Literal, get_args

Format = Literal["jxl", "avif", "webp", "gif", "png", "jpeg"]
"""A format that renditions may be sent in."""

FORMATS: tuple[Format, ...] = get_args(Format)
"""From the one that fewest programs can show to the plainest, which all can."""

PLAINEST: Format = FORMATS[-1]

UNIVERSAL: frozenset[Format] = frozenset({"png", "jpeg"})
"""What every client takes that does not refuse it by name. A policy need not offer it."""

ENCODED: tuple[Format, ...] = tuple(known for known in FORMATS if known != "gif")
"""What renditions are encoded in. There is no encoder for GIF: a GIF is only ever an original, sent
as it is.
"""

FILE_SUFFIXES: Mapping[Format, tuple[str, ...]] = {
    **{known: (f".{known}",) for known in FORMATS},
    "jpeg": (".jpg", ".jpeg"),
}
"""How names of files end, in lower case; the usual ending first."""
