"""What kind of video a file is, by its beginning: FFmpeg may read it as that and as no other."""

import re
from collections.abc import Callable, Sequence
from typing import BinaryIO

from imgprocessor.images.previews.kind import Ends

_ISO_BRANDS = re.compile(
    rb"qt  |isom|iso[2-9a-f]|mp4[12]|mp71|avc1|av01|hvc1|hev1|M4V[ HP]|3g[2egprs][0-9a-z]"
    rb"|f4v |F4V |mmp4|MSNV|dash|cmf[2cfls]|NDSC|NDSH|NDSM|NDSP|NDSS|XAVC|kddi|msdh|msix|piff|dby1"
)
"""Major brands of films. Audio alone, pictures (HEIF, AVIF, JPEG 2000) and raw photographs (CR3)
say that they are something else.
"""
_QUICKTIME_BOXES = (b"moov", b"mdat", b"wide")
"""What QuickTime's files begin with that are older than brands."""

_EBML = b"\x1aE\xdf\xa3"
_MATROSKA = re.compile(rb"\x42\x82[\x80-\xff\x40]\x00{0,6}.?(webm|matroska)", re.DOTALL)
_OGG_FILMS = (b"\x80theora", b"\x01video\x00", b"BBCD\x00", b"OVP80")
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILM = bytes.fromhex("c0ef19bc4d5bcf11a8fd00805f5c442b")
_FLV_HAS_FILM = 1
_MPEG_PACK, _MPEG_SEQUENCE = b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3"

_PACKET_MARK = 0x47
_PACKETS = ((188, 0), (192, 4))
"""How long a packet of a transport stream is, and where its mark is."""
_MARKS_SEEN = 5
_NO_TEXT = 9
"""Text has no bytes below; a packet has."""

_BEGINNING_BYTES = 4096

_BOX_BYTES, _LONG_BOX, _MAX_BOXES = 8, 1, 10_000


def video_format(head: bytes) -> str | None:
    """Return what FFmpeg calls the format that a video begins like, or None where it is none."""
    return next((name for name, is_one in _FORMATS if is_one(head)), None)


def is_video(ends: Ends) -> bool:
    """Whether a document is a video."""
    return video_format(ends.head) is not None


def is_cut_off(file: BinaryIO, size: int) -> bool:
    """Whether an ISO file or an AVI says that it is longer than it is."""
    head = file.read(_BEGINNING_BYTES)
    if _is_avi(head):
        return int.from_bytes(head[4:8], "little") + 8 > size
    at = 0
    for _ in range(_MAX_BOXES if _is_iso(head) else 0):
        file.seek(at)
        box = file.read(16)
        if len(box) < _BOX_BYTES:
            return False
        length = int.from_bytes(box[:4], "big")
        if length == _LONG_BOX:
            length = int.from_bytes(box[8:16], "big")
        if length < _BOX_BYTES:
            return False
        at += length
        if at > size:
            return True
    return False


def _is_iso(head: bytes) -> bool:
    if head[4:8] in _QUICKTIME_BOXES:
        return True
    return head[4:8] == b"ftyp" and _ISO_BRANDS.match(head, 8) is not None


def _is_matroska(head: bytes) -> bool:
    return head.startswith(_EBML) and _MATROSKA.search(head[:_BEGINNING_BYTES]) is not None


def _is_avi(head: bytes) -> bool:
    return head.startswith(b"RIFF") and head[8:12] == b"AVI "


def _is_ogg(head: bytes) -> bool:
    beginning = head[:_BEGINNING_BYTES]
    return head.startswith(b"OggS") and any(mark in beginning for mark in _OGG_FILMS)


def _is_asf(head: bytes) -> bool:
    return head.startswith(_ASF) and _ASF_FILM in head


def _is_flv(head: bytes) -> bool:
    return head.startswith(b"FLV\x01") and bool(head[4:5] and head[4] & _FLV_HAS_FILM)


def _is_transport_stream(head: bytes) -> bool:
    if min(head[: _PACKETS[0][0]], default=_NO_TEXT) >= _NO_TEXT:
        return False
    return any(
        len(head) > at + size * (_MARKS_SEEN - 1)
        and all(head[at + size * packet] == _PACKET_MARK for packet in range(_MARKS_SEEN))
        for size, at in _PACKETS
    )


def _is_program_stream(head: bytes) -> bool:
    return head.startswith(_MPEG_PACK)


def _is_mpeg_sequence(head: bytes) -> bool:
    return head.startswith(_MPEG_SEQUENCE)


_FORMATS: Sequence[tuple[str, Callable[[bytes], bool]]] = (
    ("mov", _is_iso),
    ("matroska", _is_matroska),
    ("avi", _is_avi),
    ("ogg", _is_ogg),
    ("asf", _is_asf),
    ("flv", _is_flv),
    ("mpegts", _is_transport_stream),
    ("mpeg", _is_program_stream),
    ("mpegvideo", _is_mpeg_sequence),
)
