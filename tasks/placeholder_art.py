"""Draws the placeholder that is sent in place of a missing picture.

Run ``python tasks/placeholder_art.py static/404image.png``.  The placeholder says 404, its zero
being a picture that hangs crooked and cracked on its nail.  It is drawn from plain shapes, so
that no font is needed, and is bold enough to be read at the size of a thumbnail.
"""

from __future__ import annotations

import argparse
import math
import os
from itertools import pairwise
from pathlib import Path

from PIL import Image, ImageDraw

Point = tuple[float, float]
Colour = tuple[int, int, int]

SIZE = (1600, 1200)
FINER = 4  # drawn this much larger and reduced, for smooth edges

WALL: Colour = (235, 237, 240)
SHADOW: Colour = (222, 225, 230)
INK: Colour = (104, 117, 135)
FRAME: Colour = (71, 84, 104)
SKY: Colour = (206, 223, 236)
SUN: Colour = (245, 190, 76)
FAR_HILL: Colour = (150, 171, 190)
NEAR_HILL: Colour = (116, 141, 164)

# All places are in pixels of the finished picture.  Everything that matters lies in the middle
# 1150 pixels, so that it survives being cropped to a square.
DIGIT_TOP, DIGIT_BOTTOM = 370, 870
FRAME_SIZE = (390, 500)
FRAME_MIDDLE = (800, 620)
FRAME_TILT = -5.0  # degrees; less than 0 turns to the right
NAIL = (800, 268)


def _path(admission: str) -> list[Point]:
    """Return points written as "x,y x,y ..." in pixels of the finished picture."""
    pairs = (place.split(",") for place in admission.split())
    return [(float(x) * FINER, float(y) * FINER) for x, y in pairs]


def _stroke(draw: ImageDraw.ImageDraw, admission: str, width: float, colour: Colour) -> None:
    """Draw a line with round ends and corners."""
    points = _path(admission)
    radius = width * FINER / 2
    # Pillow's own wide lines are up to a pixel off their ends' circles, which shows as notches.
    for (x1, y1), (x2, y2) in pairwise(points):
        length = math.hypot(x2 - x1, y2 - y1)
        aside, up = (y2 - y1) / length * radius, (x1 - x2) / length * radius
        corners = [(x1 + aside, y1 + up), (x2 + aside, y2 + up)]
        corners += [(x2 - aside, y2 - up), (x1 - aside, y1 - up)]
        draw.polygon(corners, fill=colour)
    for x, y in points:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def _four(draw: ImageDraw.ImageDraw, left: float, drop: float, colour: Colour) -> None:
    """Draw a 4 whose left edge is at `left`, moved down by `drop`."""
    top, bar, bottom = DIGIT_TOP + drop, DIGIT_TOP + 345 + drop, DIGIT_BOTTOM + drop
    stem = left + 205
    admission = f"{stem},{bottom} {stem},{top} {left},{bar} {left + 270},{bar}"
    _stroke(draw, admission, 68, colour)


def _picture() -> Image.Image:
    """Draw the framed picture upright, on a transparent ground."""
    width, height = (side * FINER for side in FRAME_SIZE)
    layer = Image.new("RGBA", (width, height), (*FRAME, 0))
    draw = ImageDraw.Draw(layer)
    draw.rounded_rectangle((0, 0, width - 1, height - 1), 64 * FINER, fill=FRAME)
    inside = (58 * FINER, 58 * FINER, width - 58 * FINER, height - 58 * FINER)
    scene = Image.new("RGB", layer.size, SKY)
    _scene(ImageDraw.Draw(scene))
    mask = Image.new("L", layer.size, 0)
    ImageDraw.Draw(mask).rounded_rectangle(inside, 22 * FINER, fill=255)
    layer.paste(scene, None, mask)
    # The crack runs through glass and frame alike, in the colour of the wall behind.
    _stroke(draw, "262,-10 232,88 276,150 214,236 258,300", 11, WALL)
    _stroke(draw, "214,236 160,262", 9, WALL)
    _stroke(draw, "276,150 326,176", 9, WALL)
    return layer


def _scene(draw: ImageDraw.ImageDraw) -> None:
    """Draw what the picture shows: a sun over two mountains."""
    draw.ellipse([(x, y) for x, y in _path("92,108 176,192")], fill=SUN)
    draw.polygon(_path("110,500 270,236 450,500"), fill=FAR_HILL)
    draw.polygon(_path("-40,500 148,292 240,394 284,350 420,500"), fill=NEAR_HILL)


def draw_placeholder() -> Image.Image:
    """Return the placeholder, an opaque RGB picture of 1600 by 1200 pixels."""
    wall = Image.new("RGB", (SIZE[0] * FINER, SIZE[1] * FINER), WALL)
    draw = ImageDraw.Draw(wall)
    for drop, colour in ((20, SHADOW), (0, INK)):
        _four(draw, 262, drop, colour)
        _four(draw, 1068, drop, colour)
    picture = _picture().rotate(FRAME_TILT, Image.Resampling.BICUBIC, expand=True)
    corner = tuple(
        round(middle * FINER - side / 2)
        for middle, side in zip(FRAME_MIDDLE, picture.size, strict=True)
    )
    _stroke(draw, f"660,380 {NAIL[0]},{NAIL[1]} 960,400", 12, INK)
    wall.paste(SHADOW, (corner[0], corner[1] + 22 * FINER), picture.getchannel("A"))
    wall.paste(picture, (corner[0], corner[1]), picture)
    _stroke(draw, f"{NAIL[0]},{NAIL[1]}", 36, FRAME)
    return wall.reduce(FINER)


def main() -> None:
    """Write the placeholder to the file named on the command line."""
    parser = argparse.ArgumentParser(description="Draw the picture sent for missing pictures.")
    parser.add_argument("file", type=Path, help="the PNG file to write")
    target: Path = parser.parse_args().file
    # A server may be reading the old file: it must never see half of the new one.
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        # Few colours, but stored as RGB: nothing that reads it need know about palettes.
        few = draw_placeholder().quantize(64, dither=Image.Dither.NONE).convert("RGB")
        few.save(partial, format="PNG", optimize=True)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    print(f"{target}  {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
