"""Which known holes of an older Pillow are there, and what in this program closes them.

Pillow-SIMD follows Pillow late. From Pillow's release notes for 12.1.1, 12.2.0 and 12.3.0: the
holes that a picture or a query could reach in a program that opens whatever comes. Those in fonts,
PDF, ImageDraw and filters need functions that this program never calls.
"""

import re
from typing import NamedTuple


class _Hole(NamedTuple):
    cve: str
    mended: tuple[int, int, int]
    """The first version without it."""
    closed_by: str


_ONE_DECODER = "is never opened: a file's first bytes choose among four decoders"
_HOLES = (
    _Hole("CVE-2026-25990", (12, 1, 1), f"PSD {_ONE_DECODER}"),
    _Hole("CVE-2026-42311", (12, 2, 0), f"PSD {_ONE_DECODER}"),
    _Hole("CVE-2026-40192", (12, 2, 0), f"FITS {_ONE_DECODER}"),
    _Hole("CVE-2026-59203", (12, 3, 0), f"EPS {_ONE_DECODER}"),
    _Hole("CVE-2026-59204", (12, 3, 0), f"JPEG 2000 {_ONE_DECODER}"),
    _Hole("CVE-2026-54058", (12, 3, 0), f"McIdas {_ONE_DECODER}"),
    _Hole("CVE-2026-59199", (12, 3, 0), "boxes are made of checked sizes, never by a query"),
    _Hole("CVE-2026-59205", (12, 3, 0), "a colour transform is applied to its own mode only"),
)


def closed_holes(pillow: str) -> list[str]:
    """Return the holes that a version of Pillow has, each with what closes it here.

    Args:
        pillow: the version, such as `12.1.1.post0`. One that cannot be read counts as old.
    """
    numbers = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", pillow)
    version = tuple(int(number or 0) for number in numbers.groups()) if numbers else ()
    return [f"{hole.cve}: {hole.closed_by}" for hole in _HOLES if version < hole.mended]
