"""Paints the sample originals that a new installation can be tried out with.

Run ``python tasks/samples.py FOLDER``.  All is painted from seeded random numbers: no third party's
picture is shipped, and the pixels are the same each time.  They imitate photographs (haze, grain,
fine texture, dark gradients), on which the choice of size and quality shows.
"""

# ruff: noqa: PLR2004, S311 -- a picture is made of numbers, and chance need not be secret here

import argparse
import cmath
import math
import os
from array import array
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image, ImageChops, ImageColor, ImageDraw
from PIL.ExifTags import Base
from PIL.Image import Resampling, Transform, Transpose
from PIL.ImageFilter import GaussianBlur
from PIL.ImageMath import lambda_eval

Picture = Image.Image
Size = tuple[int, int]
GREENS = "#3a5c1e", "#547826", "#709432", "#94a846", "#28461c", "#3a5c1e"
FLOWERS = ("#ce2418", "#281012", 5), ("#f4f2ec", "#ecb81e", 11), ("#5462c8", "#342878", 8)
PETAL = (0, 0.1), (-2.6, 0.6), (-2, 0.95), (0, 1.08), (2, 0.95), (2.6, 0.6)
LAMPS = "#ffd68c", "#ffbe68", "#ffecc4", "#bedcff"
STRIPES = "#d02620", "#f4961e", "#fad646", "#f6f0e2", "#1e68a8", "#16346e"

# A "field" is a picture of mode F (one float a pixel, mostly 0 to 1), a "mask" one of mode L.


def _calc(formula: Callable[..., Any], *fields: Picture) -> Picture:
    """Apply a formula to fields, pixel by pixel."""
    named = {str(number): field for number, field in enumerate(fields)}
    done: Picture = lambda_eval(lambda known: formula(*(known[n] for n in named)), **named)
    return done


def _axes(size: Size, box: tuple[float, ...] = (0, 0, 1, 1)) -> list[Picture]:
    """Return each pixel's place across and down, as two fields."""
    corners = (box[0], box[2], box[0], box[2]), (box[1], box[1], box[3], box[3])
    fields = [Image.frombytes("F", (2, 2), array("f", ends).tobytes()) for ends in corners]
    return [field.resize(size, Resampling.BILINEAR, (0.5, 0.5, 1.5, 1.5)) for field in fields]


def _noise(rng: Random, size: Size, cell: Size, gain: float = 0.5, ridged: int = 0) -> Picture:
    """Return a field of noise of ever finer cells: clouds, or (ridged) crests and veins."""
    total = Image.new("F", (2, 2))
    for octave in range(9):
        grid = [min(s, math.ceil(s / c * 2**octave) + 1) for s, c in zip(size, cell, strict=True)]
        fine = (min(size[0], grid[0] * 4), min(size[1], grid[1] * 4))
        bumps = Image.frombytes("L", (grid[0], grid[1]), rng.randbytes(math.prod(grid)))
        bumps = bumps.convert("F").resize(fine, Resampling.BICUBIC)
        if ridged:
            bumps = _calc(lambda v: (1 - abs(v / 127.5 - 1)) ** 2 * 255, bumps)
        total = total.resize(fine, Resampling.BICUBIC)
        total = _calc(lambda t, v, w=(1 - gain) / 255 * gain**octave: t + v * w, total, bumps)
    return total.resize(size, Resampling.BICUBIC)


def _mask(field: Picture, low: float, high: float, most: float = 1) -> Picture:
    """Return a mask that rises softly from 0 where the field is low to `most` where it is high."""
    straight = _calc(lambda v: (v - low) * (255 / (high - low)), field).convert("L")
    return straight.point(lambda v: v * v * (765 - 2 * v) / 65025 * most)


def _ramp(field: Picture, colours: str) -> Picture:
    """Colour a field by a scale of colours, evenly spaced from 0 to 1."""
    stops = Image.frombytes("RGB", (len(colours.split()), 1), bytes.fromhex(colours))
    scale = stops.resize((65536, 1), Resampling.BILINEAR, (0.5, 0, stops.width - 0.5, 1))
    # 16 bits in between: with 8 the wide gradients would already be banded in the original.
    levels = _calc(lambda v: v * 65535, field).convert("I")
    return Image.merge("RGB", [levels.point(list(b.tobytes()), "L") for b in scale.split()])


def _bent(picture: Picture, size: Size, source: Callable[[float, float], complex]) -> Picture:
    """Bend a picture: `source` tells for a place in the result where its colour comes from."""
    columns, rows = range(0, size[0] + 1, 20), range(0, size[1] + 1, 20)
    at = {(x, y): (s.real, s.imag) for y in rows for x in columns for s in (source(x, y),)}
    mesh = [
        ((x, y, east, south), (*at[x, y], *at[x, south], *at[east, south], *at[east, y]))
        for y, south in pairwise(rows)
        for x, east in pairwise(columns)
    ]
    return picture.transform(size, Transform.MESH, mesh, Resampling.BICUBIC)


def _shade(colour: str, light: float) -> tuple[int, ...]:
    """Return a colour made darker or brighter."""
    return tuple(min(255, round(band * light)) for band in ImageColor.getrgb(colour))


def _photo(rng: Random, picture: Picture, width: int, grain: int) -> Picture:
    """Enlarge a picture and add a camera's noise, at most `grain` levels up or down."""
    size = (width, width * picture.height // picture.width)
    dust = Image.frombytes("L", size, rng.randbytes(math.prod(size)))
    dust = dust.point(lambda v: v * 2 * grain / 255).convert("RGB")
    return ImageChops.add(picture.resize(size, Resampling.BICUBIC), dust, 1, -grain)


def _sky(rng: Random, size: Size, colours: str, cloud: str, cell: Size) -> Picture:
    """Paint a sky with clouds; the scale of colours ends at the lower edge."""
    sky = _ramp(_axes(size)[1], colours)
    sky.paste(cloud, None, _mask(_noise(rng, size, cell, 0.58), 0.46, 0.76, 0.9))
    return sky


def _hills(rng: Random, view: Picture, mist: str, *ranges: tuple[int, int, int, str]) -> None:
    """Paint ranges of hills, far ones first: top, rise and width in pixels, and colours."""
    for top, rise, wide, colours in ranges:
        size = (view.width, view.height - top)
        line = _noise(rng, (size[0], 2), (wide, 2), ridged=1)
        line = line.resize(size, Resampling.NEAREST, (0, 0, size[0], 1))
        below = _calc(lambda v, y, r=rise: y - r * (1 - v), line, _axes(size, (0, 0, *size))[1])
        rough = _noise(rng, (size[0] + 40, size[1] + 40), (wide // 3, wide // 4), 0.6, ridged=1)
        moved = [rough.crop((x, x, x + size[0], x + size[1])) for x in (40, 36, 40 - wide // 30)]
        light = _calc(lambda v, w, u: 0.5 + (v - w) * 5 + (v - u) * 1.3, *moved)
        land, fog = _mask(below, 0, 1.5), _mask(below, rise * 0.1, rise * 1.1, 0.8)
        view.paste(_ramp(light, colours), (0, top), land.filter(GaussianBlur(0.7)))
        view.paste(mist, (0, top, *view.size), ImageChops.multiply(fog, land))


def _lake(rng: Random, view: Picture, shore: int, tint: str) -> None:
    """Cover all below the shore with what is above it upside down, broken by waves."""
    size = (view.width, view.height - shore)
    water = view.crop((0, shore - size[1], size[0], shore)).transpose(Transpose.FLIP_TOP_BOTTOM)
    near = _axes(size)[1]
    for swell in (4, 8, 16, 32):
        waves = _calc(lambda v, y: v + y / 5, _noise(rng, size, (swell * 16, swell)), near)
        water.paste(water.copy(), (0, swell), _mask(waves, 0.55, 0.65))
    water.paste(tint, None, _mask(near, -0.3, 1.5, 0.8))
    view.paste(water, (0, shore))


def _earth() -> Picture:
    """Paint the Earth's limb as seen from orbit."""
    rng, size, flat = Random(8), (2100, 1400), (1400, 1280)
    x, y = _axes(size, (-0.4924, 1.2045, 0.644, 0.447))  # right and up, in the globe's radii
    reach = _calc(lambda x, y: (x * x + y * y) ** 0.5, x, y)

    def place(x: float, y: float) -> complex:
        spot = complex(x / 1848 - 0.4924, 1.2045 - y / 1848)
        spot *= min(1, 0.99999 / abs(spot))
        # The map's poles lie left and right, outside the picture, where nobody sees them pinched.
        away = math.atan2(math.sqrt(1 - abs(spot) ** 2), spot.imag)
        return complex(math.asin(spot.real) * 1072 + 617, away * 1072 + 8)

    def winds(x: float, y: float) -> complex:
        spot = place(x, y)
        for middle, extent, turns in (800 + 507j, 105, 7), (280 + 787j, 224, -2.2):
            turn = cmath.rect(1, turns * math.exp(-abs(spot - middle) / extent))
            spot = middle + (spot - middle) * turn
        return complex(min(max(spot.real, 0), flat[0] - 1), min(max(spot.imag, 0), flat[1] - 1))

    shape = _noise(rng, flat, (620, 620), 0.53)
    sea = _ramp(_calc(lambda v: (v - 0.3) * 3, shape), "041438 08265c 0e3e7c 2a809e")
    land = _ramp(_noise(rng, flat, (250, 250), 0.62), "223a20 223a20 46542e be9c6c d4bc94")
    ground = _bent(Image.composite(land, sea, _mask(shape, 0.522, 0.528)), size, place)
    veil, torn = _noise(rng, flat, (350, 210), 0.6), _noise(rng, flat, (130, 100), ridged=1)
    thick = _calc(lambda a, b: a * 0.75 + b * 0.45, veil, torn)
    clouds = _mask(_bent(thick, size, winds), 0.51, 0.92)
    ground.paste("#030a1a", None, ImageChops.offset(clouds, 7, 6).filter(GaussianBlur(4)))
    ground.paste("#fafcff", None, clouds)
    ground.paste("#000000", None, _mask(reach, 0.9994, 1.0006))
    sun = _calc(lambda x, y, r: y * 0.62 - x * 0.45 + abs(1 - r * r) ** 0.5 * 0.64, x, y, reach)
    haze = "101e38 162c50 1c3c68 284c80 3868a4 5080b8 96c8f4 285cd0 0a246e 020822 000000"
    ground = ImageChops.screen(ground, _ramp(_calc(lambda r: (r - 0.8417) * 4.8, reach), haze))
    ground = ImageChops.multiply(ground, _mask(sun, -0.25, 0.95).convert("RGB"))
    return _photo(rng, ground, 3000, 4)


def _mountains() -> Picture:
    """Paint snowy mountains beyond a lake."""
    rng = Random(8)
    view = _sky(rng, (2250, 1500), "2c5ca4 5a8cc8 9cc0e0 ecdecc ecdecc", "#faf4ee", (680, 150))
    far, middle = (110, 750, 680, "6478a8 8c9cc4 e8e0dc fff8f0"), (420, 480, 520, "42587e b0b4b4")
    near, shore = (645, 285, 380, "20344a 4c6258 70805e"), (810, 170, 220, "0a1820 20341e 38482a")
    _hills(rng, view, "#dce0e4", far, middle, near, shore)
    _lake(rng, view, 950, "#0e2832")
    return _photo(rng, view, 4500, 3)


def _meadow() -> Picture:
    """Paint a flowering meadow: the finest detail of all the samples."""
    rng, size = Random(3), (3000, 2250)
    view = _sky(rng, (1500, 1125), "407eca 8ebce4 d8e6ec d8e6ec d8e6ec", "#ffffff", (350, 130))
    _hills(rng, view, "#b8c8c8", (290, 130, 400, "7c98ae 8ea6ba"), (360, 50, 120, "28482a 5c7c4a"))
    view = view.filter(GaussianBlur(2)).resize(size)
    view.paste("#587028", None, _mask(_axes(size)[1], 0.358, 0.364))
    draw = ImageDraw.Draw(view)
    for near in ((row / 110) ** 2.2 for row in range(110)):
        tall, patch = 8 + 540 * near, rng.uniform(0, 9)
        for _ in range(round(80 + 500 * (1 - near) ** 2.5)):
            x, y = rng.uniform(-70, 3070), 825 + near * 1900 + rng.uniform(-0.4, 0.4) * tall
            end_x, end_y = x + rng.gauss(0, 0.25) * tall, y - tall * rng.uniform(0.5, 1)
            bend, half, wide = x * 0.7 + end_x * 0.3, (y + end_y) / 2, tall * 0.016
            side = (x - wide, y, bend - wide, half, end_x, end_y, bend + wide, half, x + wide, y)
            light = 0.9 + 0.15 * math.sin(x / 310 + patch) + rng.gauss(0, 0.16)
            draw.polygon(side, fill=_shade(rng.choice(GREENS), light))
            if rng.random() < 0.1 + 0.07 * math.sin(x / 230 + 2 * patch):
                (petal, heart, count), wide = rng.choice(FLOWERS), tall * rng.uniform(0.08, 0.12)
                for angle in (x + n * math.tau / count for n in range(count)):
                    spots = [cmath.rect(wide * far, angle + a / count) for a, far in PETAL]
                    outline = [(end_x + spot.real, end_y + 0.7 * spot.imag) for spot in spots]
                    draw.polygon(outline, fill=_shade(petal, 0.85 + 0.15 * math.cos(angle + 0.8)))
                draw.circle((end_x, end_y), wide / 4, fill=heart)
        if 0.14 < near < 0.15:  # the lens is focused on what is nearer than this
            view.paste(view.filter(GaussianBlur(2)))
    return _photo(rng, view.filter(GaussianBlur(0.6)), 4000, 5)


def _harbour() -> Picture:
    """Paint a town at dusk beyond water: hard edges, lights, and both again upside down."""
    rng, size, shore = Random(4), (2176, 1632), 946
    dusk = "101c42 34427a 806084 e28a6a fcc276 fcc276 fcc276"
    view, lights = _sky(rng, size, dusk, "#c07488", (800, 100)), Image.new("RGB", size)
    _hills(rng, view, "#8a6a88", (720, 200, 600, "3e3a5a 4a4466 584c6c"))
    draw, glow = ImageDraw.Draw(view), ImageDraw.Draw(lights)
    for wall, tallest, widest in ("#5e5078", 420, 87), ("#362f52", 280, 127), ("#1c1a2e", 150, 167):
        x = -30
        while x < size[0]:
            wide, lamp = rng.randint(widest // 2, widest), rng.choice(LAMPS)
            middle = 0.3 + math.exp(-((x / 600 - 2.1) ** 2))
            top = shore - 60 - round(tallest * rng.random() * middle)
            draw.rectangle((x, top, x + wide, shore), fill=_shade(wall, rng.uniform(0.8, 1.2)))
            glow.rectangle((x, top, x + wide, shore), fill=0)  # hide what is behind
            step, share = rng.randint(15, 22), rng.uniform(0.08, 0.45)
            for left in range(x + 7, x + wide - step // 2, step):
                for above in range(top + 10, shore - 30, step):
                    pane = (left, above, left + step * 0.45, above + step * 0.6)
                    lit = rng.random() < share
                    colour = _shade(lamp, rng.uniform(0.4, 1)) if lit else _shade(wall, 0.7)
                    (glow if lit else draw).rectangle(pane, fill=colour)
            x += wide + rng.choice((0, 0, 2, 10))
    view = ImageChops.add(ImageChops.add(view, lights), lights.filter(GaussianBlur(16)))
    streaks = lights.filter(GaussianBlur((1, 34))).point(lambda v: v * 3)  # drawn out by the water
    doubled = ImageChops.add(view, streaks)
    _lake(rng, doubled, shore, "#0e1a34")
    view.paste(doubled.crop((0, shore, *size)), (0, shore))
    return _photo(rng, view, 3264, 4)


def _portrait() -> Picture:
    """Paint a hot-air balloon, stored lying on its side as cameras do it."""
    rng = Random(5)
    view = _sky(rng, (1000, 1500), "2c64b0 84b0d8 ecd6be ffe0ac ffe0ac", "#fff6ec", (420, 130))
    far, middle = (1000, 160, 400, "a8b0c4 b4b8c8"), (1130, 130, 420, "708260 8c9a6c")
    _hills(rng, view, "#fae2c4", far, middle, (1260, 130, 380, "46602c 6c8440"))
    view = view.filter(GaussianBlur(3)).resize((2000, 3000), Resampling.BICUBIC)
    layer = Image.new("RGBA", (2600, 3920), "#a8683800")
    draw = ImageDraw.Draw(layer)
    draw.line((1150, 3000, 1150, 3500, 1450, 3500, 1450, 3000), fill="#463c36", width=8)
    draw.rounded_rectangle((1135, 3440, 1465, 3720), 30, fill="#8a5a30")
    girths = [1180 * math.sin(math.pi * (n / 124) ** 0.8) ** 0.75 for n in range(121)]
    for row, (wide, narrow) in enumerate(pairwise(girths)):  # small patches, each with its light
        for part in range(84):
            east, west = (math.sin(math.pi * (n / 84 - 0.5)) for n in (part, part + 1))
            light = 0.7 + 0.4 * math.sin(math.pi * (part / 84 - 0.4)) + max(0, row / 200 - 0.42)
            light *= 0.84 + 0.18 * math.sin((part % 6 + 0.5) / 6 * math.pi)  # between two seams
            patch = [(1300 + wide * edge, 40 + row * 25.2) for edge in (east, west)]
            patch += [(1300 + narrow * edge, 66 + row * 25.2) for edge in (west, east)]
            stripe = int(row / 12.6 + abs(part // 6 % 4 - 2) / 3) % len(STRIPES)
            draw.polygon(patch, fill=_shade(STRIPES[stripe], light))
    for balloon, place in (layer.reduce(10), (140, 1290)), (layer.reduce(2), (470, 300)):
        view.paste(balloon, place, balloon)
    return _photo(rng, view, 2000, 4).transpose(Transpose.ROTATE_90)


def _logo() -> Picture:
    """Paint an emblem on a transparent ground: a picture, framed in three sizes."""
    badge = Image.new("L", (2400, 2400))
    ImageDraw.Draw(badge).rounded_rectangle((200, 200, 2200, 2200), 430, fill=255)
    scene = _ramp(_calc(lambda x, y: (x + y) / 2, *_axes(badge.size)), "48c4d0 2278be 303e8c")
    draw = ImageDraw.Draw(scene)
    draw.circle((1640, 740), 160, fill="#ffd45c")
    hills = (440, 1640), (880, 900), (1310, 1520), (1590, 1150), (1960, 1640), (1960, 1960)
    draw.polygon((*hills, (440, 1960)), fill="#183a6e")
    for x, y in hills[1], hills[3]:
        draw.polygon((x, y, x + 180, y + 300, x, y + 230, x - 180, y + 300), fill="#f4faff")
    for corner, wide in (380, 70), (1000, 56), (1420, 46):
        draw.rounded_rectangle((corner, corner, 2020, 2020), 150, outline="#eef4fa", width=wide)
    scene.putalpha(badge)
    shadow = Image.new("RGBA", badge.size, "#10182c")
    shadow.putalpha(badge.filter(GaussianBlur(50)).point(lambda v: v / 2))
    return Image.alpha_composite(ImageChops.offset(shadow, 0, 50), scene).reduce(2)


def _night() -> Picture:
    """Paint the Milky Way over a dark valley: gradients in which banding would show."""
    rng, size = Random(6), (1800, 1200)
    bend, clouds = _noise(rng, size, (420, 420), 0.55), _noise(rng, size, (190, 190), 0.6)
    dust = _noise(rng, size, (260, 260), 0.58, ridged=1)
    off = _calc(lambda x, y, n: x * 1.23 + y * 0.95 + n * 0.34 - 1.33, *_axes(size), bend)
    band = _calc(lambda c, v, o: (c * 1.7 - v * 0.8) / (1 + (o * o * 18) ** 1.3), clouds, dust, off)
    sky = _ramp(band, "000000 121426 3a364a 7a6a6c bea694")
    stars, clear = Image.new("RGB", size), _mask(_axes(size)[1], 0.85, 0.35).convert("RGB")
    draw = ImageDraw.Draw(stars)
    for _ in range(9000):
        light, place = rng.random() ** 12, (rng.uniform(0, size[0]), rng.uniform(0, size[1]))
        draw.circle(place, 0.4 + 2 * light * light, fill=_shade(rng.choice(LAMPS), 0.2 + light))
    sky = ImageChops.multiply(ImageChops.add(sky, stars.filter(GaussianBlur(0.6))), clear)
    view = ImageChops.screen(_ramp(_axes(size)[1], "050814 0c1630 203450 605c4a 605c4a"), sky)
    far, middle = (850, 200, 500, "1a2430 242e38"), (960, 180, 420, "0c1218 141a22")
    _hills(rng, view, "#0c1218", far, middle, (1080, 120, 300, "06090c 080c10"))
    tent = Image.new("RGB", size)
    ImageDraw.Draw(tent).polygon(((1200, 1128), (1262, 1040), (1330, 1128)), fill="#d88434")
    ImageDraw.Draw(tent).polygon(((1262, 1040), (1330, 1128), (1362, 1112)), fill="#7a3c18")
    for reach in (0.7, 40):
        view = ImageChops.screen(view, tent.filter(GaussianBlur(reach)))
    return _photo(rng, view, 1800, 3)


SIDEWAYS = Image.Exif()
SIDEWAYS[Base.Orientation] = 6  # to be turned a quarter to the right

# By file name: how a sample is painted, and the arguments of Image.save.
SAMPLES: dict[str, tuple[Callable[[], Picture], dict[str, Any]]] = {
    "nasa.jpeg": (_earth, {"quality": 92}),
    "mountains.jpg": (_mountains, {"quality": 92, "progressive": True}),
    "meadow.jpg": (_meadow, {"quality": 90}),
    "harbour.jpg": (_harbour, {"quality": 92, "progressive": True}),
    "portrait.jpg": (_portrait, {"quality": 90, "exif": SIDEWAYS}),
    "logo.png": (_logo, {}),
    "night.jpg": (_night, {"quality": 93}),
}


def main() -> None:
    """Make the samples missing from the folder that is named on the command line."""
    parser = argparse.ArgumentParser(description="Write sample originals into a folder.")
    parser.add_argument("folder", type=Path, help="where the files go; made if it is missing")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, (paint, saved) in SAMPLES.items():
        target, partial = folder / name, folder / f".{os.getpid()}.{name}"
        if not target.exists():
            paint().save(partial, **saved)
            partial.replace(target)
            print(f"{target}  {target.stat().st_size:,} bytes", flush=True)


if __name__ == "__main__":
    main()
