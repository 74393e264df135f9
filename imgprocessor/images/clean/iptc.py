"""IPTC-IIM data written anew from a list of datasets that say nothing of the place."""

import struct

_MARK = 0x1C
_HEAD = struct.Struct(">BBBH")
_KEPT = {
    (1, 90),  # which characters
    *((2, number) for number in (0, 5, 55, 60, 62, 63, 65, 70)),  # version, title, dates, program
    *((2, number) for number in (80, 85, 105, 110, 115, 116, 120, 122)),  # author to writer
}
"""Record and number (IPTC-NAA IIM 4.2). Keywords stay out: programs write names of places there."""
_MAX_VALUE_BYTES, _MAX_BYTES = 2000, 30_000
_MAX_SETS = 1000


def kept_iptc(data: bytes) -> bytes:
    """Return the datasets that may stay, in their order, up to the first that makes no sense."""
    kept: list[bytes] = []
    place = size = 0
    for _ in range(_MAX_SETS):
        if place + _HEAD.size > len(data):
            break
        mark, record, number, length = _HEAD.unpack_from(data, place)
        end = place + _HEAD.size + length
        if mark != _MARK or end > len(data):  # or longer than 32,767, with another head
            break
        if (record, number) in _KEPT and length <= _MAX_VALUE_BYTES:
            kept.append(data[place:end])
            size += end - place
        if size > _MAX_BYTES:
            return b""
        place = end
    return b"".join(kept)
