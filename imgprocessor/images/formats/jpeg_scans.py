"""What a progressive JPEG has that a decoder which reduces can do without: scans passed over.

A decoder that reduces by itself still reads every scan, and of an original of many megapixels that
is most of its time. But of a component that is reduced to one pixel a block all is in its DC scans,
and the last bit of all other coefficients, which takes 45 % of a file on average, is worth a
fraction of a point.
"""

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import IO

from PIL.JpegImagePlugin import zigzag_index

# JPEG markers (ITU-T T.81, table B.1).
SOI, EOI, SOS, DQT = 0xD8, 0xD9, 0xDA, 0xDB
TEM, RST0, RST7 = 0x01, 0xD0, 0xD7
APP1, APP15, COM = 0xE1, 0xEF, 0xFE
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_BY_HUFFMAN = 0xC2
"""Progressive, and not in arithmetic code, which libjpeg reads only where a whole scan is there: it
gets a file in parts, and more of them where some is passed over.
"""
AFTER_A_SCAN = re.compile(rb"\xff([\xc0-\xcf\xd8-\xfe])")
"""What ends entropy-coded data: no stuffed zero, no restart marker."""

_MARKER_BYTES = 2
_LENGTH = struct.Struct(">H")
"""Of a segment, with these bytes and without its marker."""

_STEPS = 64
"""In a quantisation table."""

_BLOCK = 8
"""Samples in a row of a block."""

_MAX_STEPS = {2: 12, 4: 9}
"""The largest quantisation steps with which the last bit may be left out of a block so many pixels
wide and high: those of photographs which libjpeg saved at quality 75, and at 85. It is worth 0.2
and 0.5 points of SSIMULACRA2 on average then, and 0.4 and 0.8 at worst, with noise added as without
(six photographs 2560 pixels wide, saved so and decoded at a quarter and a half, 426 and 960 pixels
wide, q75); of what is scaled down further it is worth less.
"""

_USED = {
    side: [zigzag_index[_BLOCK * row + column] for row, column in product(range(side), repeat=2)][
        1:
    ]
    for side in _MAX_STEPS
}
"""Where in zigzag order the coefficients are that a block so wide and high is made of, but the
first. In noise any of them counts: with the last bit of steps of 30 it lost 1.2 points.
"""

_UNUSED = 3
"""In zigzag order: a coefficient of even frequency, which libjpeg does not read where it reduces a
block to two pixels a side, or one. Where its step is 0 libjpeg guesses no coefficients that are
missing (`smoothing_ok` in jdcoefct.c), which takes longer than all the rest.
"""


_MAX_SEGMENTS = 5000
"""Inspection lets a thousand through before the first scan, and does not count those behind it.
Each takes a microsecond here, and four bytes of a file.
"""


@dataclass(frozen=True)
class Edit:
    """Bytes of a file, and what is read instead of them."""

    begin: int
    end: int
    instead: bytes = b""


@dataclass(frozen=True)
class _Scan:
    begin: int
    end: int
    components: bytes
    is_dc: bool
    high: int
    low: int
    """Which bits there were before, and are after it (T.81's Ah and Al)."""
    bits_at: int
    """Where in the file both are said, in one byte."""

    def is_ac_of(self, component: int) -> bool:
        """Whether it has coefficients but the first, and of this component alone."""
        return not self.is_dc and self.components == bytes((component,))


@dataclass
class _Frame:
    """What was found before the picture's end."""

    samplings: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    """By component: how fine it is across and down, and which table it has."""
    tables: dict[int, list[int]] = field(default_factory=dict)
    """Quantisation steps, in zigzag order."""
    tables_at: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Where the steps begin in the file, and how many bytes each has."""
    scans: list[_Scan] = field(default_factory=list)

    @property
    def is_usual(self) -> bool:
        """Whether each component has its samples, its table, and a scan that is never passed."""
        has_dc = {name for scan in self.scans if scan.is_dc for name in scan.components}
        known = self.samplings.items()
        return bool(known) and all(
            across and down and table in self.tables and name in has_dc
            for name, (across, down, table) in known
        )


def edits_for(file: IO[bytes], draft: int, max_bytes: int) -> list[Edit]:
    """Return what may be left out of a file that is decoded at one `draft`-th of its scale, in
    order; nothing where it is not progressive, or not as usual, or does not end within `max_bytes`,
    which are held in memory.
    """
    if draft == 1:
        return []
    size = file.seek(0, 2)
    file.seek(0)
    try:
        frame = _frame_of(file.read(min(size, max_bytes)))
    except (IndexError, ValueError, struct.error):
        return []
    if frame is None or not frame.is_usual:
        return []
    sides = {name: _reduced_side(frame, name, draft) for name in frame.samplings}
    passed = {name: [*_passed(frame, name, side)] for name, side in sides.items()}
    edits = [Edit(scan.begin, scan.end) for scans in passed.values() for scan in scans]
    if edits:
        edits += _without_guesses(frame, sides, passed)
    return sorted(edits, key=lambda edit: edit.begin)


def _reduced_side(frame: _Frame, name: int, draft: int) -> int:
    """Return how many pixels wide and high a component's blocks are decoded. Where its samples are
    further apart than others' it is reduced by less, as far as that spares libjpeg scaling it up
    (`jpeg_calc_output_dimensions` in jdmaster.c).
    """
    across, down, _ = frame.samplings[name]
    most_across = max(known[0] for known in frame.samplings.values())
    most_down = max(known[1] for known in frame.samplings.values())
    least = side = _BLOCK // draft
    while (
        side < _BLOCK
        and most_across * least % (across * side * 2) == 0
        and most_down * least % (down * side * 2) == 0
    ):
        side *= 2
    return side


def _passed(frame: _Frame, name: int, side: int) -> Iterator[_Scan]:
    """Yield the scans that a component can do without."""
    scans = [scan for scan in frame.scans if scan.is_ac_of(name)]
    if side == 1:
        yield from scans
    elif side < _BLOCK:
        steps = frame.tables[frame.samplings[name][2]]
        if max(steps[place] for place in _USED[side]) <= _MAX_STEPS[side]:
            yield from (scan for scan in scans if scan.high == 1 and scan.low == 0)


def _without_guesses(
    frame: _Frame, sides: Mapping[int, int], passed: Mapping[int, list[_Scan]]
) -> Iterator[Edit]:
    """Yield what keeps libjpeg from guessing what is missing; nothing where that cannot be."""
    for table, (begin, size) in frame.tables_at.items():
        using = [side for name, side in sides.items() if frame.samplings[name][2] == table]
        if using and max(using) <= 2:  # noqa: PLR2004 - pixels a side
            place = begin + size * _UNUSED
            yield Edit(place, place + size, bytes(size))
            return
    for name, scans in passed.items():
        if scans:
            yield from _with_a_bit_less(frame, name, scans)


def _with_a_bit_less(frame: _Frame, name: int, passed: list[_Scan]) -> Iterator[Edit]:
    """Yield what halves a component's coefficients, and doubles their steps: the same pixels, of
    which nothing is missing.
    """
    table = frame.samplings[name][2]
    begin, size = frame.tables_at[table]
    others = [scan for scan in frame.scans if scan.is_ac_of(name) and scan not in passed]
    is_shared = [known[2] for known in frame.samplings.values()].count(table) > 1
    doubled = [2 * step for step in frame.tables[table][1:]]
    if is_shared or max(doubled) >= 256**size or not all(scan.low for scan in others):
        return
    steps = b"".join(step.to_bytes(size, "big") for step in doubled)
    yield Edit(begin + size, begin + _STEPS * size, steps)
    for scan in others:
        bits = max(0, scan.high - 1) << 4 | scan.low - 1
        yield Edit(scan.bits_at, scan.bits_at + 1, bytes([bits]))


def _frame_of(content: bytes) -> _Frame | None:
    """Return what a file says; None where it is not progressive, or not as usual.

    Raises:
        IndexError, ValueError, struct.error: it ends too early.
    """
    frame = _Frame()
    for marker, place in _markers(content):
        if frame.scans and not frame.scans[-1].end:
            frame.scans[-1] = replace(frame.scans[-1], end=place)
        if marker == EOI:
            return frame
        begin = place + _MARKER_BYTES
        if marker in FRAMES:
            if marker != _BY_HUFFMAN or frame.samplings:
                return None
            _note_samplings(frame, content, begin + 7)
        elif marker == DQT:
            if frame.scans:
                return None
            _note_tables(frame, content, begin)
        elif marker == SOS:
            frame.scans.append(_scan(content, place, begin))
    return None


def _markers(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield each marker and where it is, as far as there are not too many."""
    end = _MARKER_BYTES
    for _ in range(_MAX_SEGMENTS):
        match = AFTER_A_SCAN.search(content, end)
        if match is None:
            return
        yield match[1][0], match.start()
        (length,) = _LENGTH.unpack_from(content, match.end())
        end = match.end() + length


def _note_samplings(frame: _Frame, content: bytes, place: int) -> None:
    """Note components; where two have one name libjpeg knows which is meant, and we do not."""
    count = content[place]
    for at in range(place + 1, place + 1 + 3 * count, 3):
        name, sampling, table = content[at : at + 3]
        frame.samplings[name] = sampling >> 4, sampling & 15, table
    if len(frame.samplings) < count:
        frame.samplings.clear()


def _note_tables(frame: _Frame, content: bytes, begin: int) -> None:
    (length,) = _LENGTH.unpack_from(content, begin)
    end, begin = begin + length, begin + _LENGTH.size
    while begin < end:
        size, table = 1 + (content[begin] >> 4), content[begin] & 15
        begin += 1
        steps = content[begin : begin + _STEPS * size]
        frame.tables_at[table] = begin, size
        frame.tables[table] = [*struct.unpack(f">{_STEPS}{' BH'[size]}", steps)]
        begin += _STEPS * size


def _scan(content: bytes, begin: int, place: int) -> _Scan:
    """Return a scan by its header, which is at a place; where it ends is not known yet."""
    count = content[place + 2]
    bits_at = place + 3 + 2 * count + 2
    bits = content[bits_at]
    return _Scan(
        begin=begin,
        end=0,
        components=content[place + 3 : bits_at - 2 : 2],
        is_dc=content[bits_at - 2] == 0,
        high=bits >> 4,
        low=bits & 15,
        bits_at=bits_at,
    )
