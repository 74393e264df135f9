"""GIF without metadata: frames, what controls them, and how often they are repeated."""

import re
from collections.abc import Iterator

from imgprocessor.errors import BrokenOriginal
from imgprocessor.images.clean.parts import Cleaned, Cursor, Part

_EXTENSION, _FRAME, _TRAILER = b"!,;"
_CONTROL, _TEXT, _APPLICATION = 0xF9, 0x01, 0xFF
_CONTROL_BYTES = 4
_REPEATING = {b"NETSCAPE2.0", b"ANIMEXTS1.0"}
_FULL_BLOCKS = re.compile(rb"(?:\xff.{255}|\xfe.{254})*+", re.DOTALL)
"""As encoders write them, all but the last of a frame: 200,000 in 50 MB, too many for Python."""
_REPEATED, _REPEATED_BYTES = 1, 3
"""The block that says how often: its number, and the count in two bytes."""


def clean_gif(file: bytes) -> Cleaned:
    """Keep the screen, its colours and all frames.

    Between frames the end of the file counts as the end of the picture, and so does what is neither
    a frame nor an extension: browsers show what was before. Within either it is an error.
    """
    cursor = Cursor(file)
    screen = cursor.take(13)
    parts: list[Part] = [screen, _colours(cursor, screen[10])]
    frames, control, repeated = 0, b"", b""
    while cursor.left:
        begin = cursor.place
        (introducer,) = cursor.take(1)
        if introducer == _FRAME:
            _colours(cursor, cursor.take(9)[8])
            cursor.take(1)  # how many bits a code has
            _skip_data(cursor)
            parts += [control, cursor.file[begin : cursor.place]]
            frames, control = frames + 1, b""
        elif introducer == _EXTENSION:
            (label,) = cursor.take(1)
            content = list(_blocks(cursor))
            if label == _CONTROL:
                control = _control(content)
            elif label == _TEXT:
                control = b""  # it was for the text
            elif label == _APPLICATION and not repeated:
                repeated = _repeated(content)
                parts.append(repeated)
        else:
            break
    if not frames:
        raise BrokenOriginal("no picture in it")
    return Cleaned(b"".join((*parts, b";")), is_animated=frames > 1)


def gif_frames(file: bytes) -> Iterator[tuple[memoryview, int, int]]:
    """Yield of each frame in a cleaned file its descriptor, and where the byte before its blocks
    is, and the empty block behind them.
    """
    cursor = Cursor(file)
    _colours(cursor, cursor.take(13)[10])
    while (introducer := cursor.take(1)[0]) != _TRAILER:
        if introducer == _FRAME:
            descriptor = cursor.take(9)
            _colours(cursor, descriptor[8])
            begin = cursor.place
            cursor.take(1)
            _skip_data(cursor)
            yield descriptor, begin, cursor.place - 1
        else:
            cursor.take(1)
            _skip_data(cursor)


def _colours(cursor: Cursor, flags: int) -> memoryview:
    """Take a table of colours, if there is one."""
    return cursor.take(3 << (flags & 7) + 1 if flags & 0x80 else 0)


def _skip_data(cursor: Cursor) -> None:
    """Go behind a frame's blocks."""
    while length := cursor.take(1)[0]:
        cursor.take(length)
        if full := _FULL_BLOCKS.match(cursor.file, cursor.place):
            cursor.place = full.end()


def _blocks(cursor: Cursor) -> Iterator[memoryview]:
    """Take blocks up to the empty one, and yield what is in each."""
    (length,) = cursor.take(1)
    while length:
        block = cursor.take(length + 1)  # and the next one's length
        yield block[:-1]
        length = block[-1]


def _control(content: list[memoryview]) -> bytes:
    """Return the extension that says how long the next frame is shown, and over what."""
    if not content or len(content[0]) < _CONTROL_BYTES:
        return b""
    return bytes((0x21, _CONTROL, _CONTROL_BYTES, *content[0][:_CONTROL_BYTES], 0))


def _repeated(content: list[memoryview]) -> bytes:
    """Return the extension that says how often frames are repeated; empty of any other one."""
    name = bytes(content[0]) if content else b""
    if name not in _REPEATING:
        return b""
    for block in content[1:]:
        if len(block) >= _REPEATED_BYTES and block[0] == _REPEATED:
            head = bytes((0x21, _APPLICATION, len(name))) + name
            return head + bytes((_REPEATED_BYTES, *block[:_REPEATED_BYTES], 0))
    return b""
