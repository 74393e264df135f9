"""GIF: blocks of an original up to its first frame, and its decoder."""

import struct
from functools import partial
from typing import cast

from PIL import GifImagePlugin

from imgprocessor.errors import BrokenOriginal, OversizedOriginal
from imgprocessor.images.formats.damaged import Grids, Underlaid, shown
from imgprocessor.images.formats.structure import Inspected, OriginalFormat, Walk

_PIXEL_BYTES = 6
"""Of a palette, RGBA made of it, and where that is damaged its alpha."""
_ROWS: Grids = (((0, 1), (1, 2)), ((0, 2), (1, 4)), ((0, 4), (1, 8)))
_MAX_COMMENT_BLOCKS = 2048
"""Half a megabyte. Pillow copies the whole comment for each of its blocks."""


def _inspect(walk: Walk) -> Inspected:
    walk.skip(6)
    width, height, flags = struct.unpack("<HHB2x", walk.take(7))
    if flags & 0x80:
        walk.skip(3 << (flags & 7) + 1)
    comment_blocks = 0
    while (introducer := walk.take(1)) != b",":
        if introducer == b";":
            raise BrokenOriginal("no picture in it")
        if introducer != b"!":
            walk.count_stray()
            continue
        (label,) = walk.take(1)
        blocks, content_bytes = _skip_blocks(walk)
        walk.count(content_bytes)
        comment_blocks += blocks if label == 0xFE else 0  # noqa: PLR2004 - a comment
        if comment_blocks > _MAX_COMMENT_BLOCKS:
            raise OversizedOriginal(f"a comment in more than {_MAX_COMMENT_BLOCKS} blocks")
    left, top, across, down = struct.unpack("<HHHH", walk.take(8))
    # Pillow enlarges the screen to what the frame needs.
    width, height = max(width, left + across), max(height, top + down)
    return walk.afforded(walk.sized("GIF", width, height, pixel_bytes=_PIXEL_BYTES))


def _skip_blocks(walk: Walk) -> tuple[int, int]:
    """Go behind the blocks of a GIF's extension; return how many, and how many bytes in them."""
    blocks = content_bytes = 0
    while length := walk.take(1)[0]:
        walk.count_pixels()
        walk.skip(length)
        blocks += 1
        content_bytes += length
    return blocks, content_bytes


class _Decoder(Underlaid, GifImagePlugin.GifImageFile):
    def _open(self) -> None:
        super()._open()
        _, is_interlaced, _ = cast("tuple[int, bool, int]", self.tile[0].args)
        self.grids = _ROWS if is_interlaced else ()
        self.blank = self.info.get("transparency", 0)


GIF_ORIGINAL = OriginalFormat(
    format="gif",
    matches=lambda head: head[:6] in {b"GIF87a", b"GIF89a"},
    inspect=_inspect,
    decoder=_Decoder,
    shown=partial(shown, decoder=_Decoder),
    is_lossless=True,
)
