"""Paints the sample originals a new installation can be tried out with.

Run ``python tasks/samples.py FOLDER``.  Every picture is made by this script alone, from seeded
random numbers, so that no third party's picture has to be shipped and the pixels are the same
on every run.  They imitate photographs (haze, grain, fine texture, dark gradients), because it is
on photographs that the choice of size and quality shows.
"""

# ruff: noqa: PLR2004, S311 -- a picture is made of numbers, and chance need not be secret here

from __future__ import annotations

import argparse
import math
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

from PIL import ExifTags, Image, ImageChops, ImageDraw, ImageFilter, ImageMath

Size = tuple[int, int]
Point = tuple[float, float]
Colour = tuple[int, int, int]
Stops = Sequence[tuple[float, Colour]]

BICUBIC = Image.Resampling.BICUBIC


@dataclass(frozen=True)
class Sample:
    """One sample original: its file name, size as stored, motif and how it is saved."""

    name: str
    size: Size
    what: str
    saved: Mapping[str, Any]  # the arguments of Image.save
    paint: Callable[[], Image.Image]


# --- Building blocks -----------------------------------------------------------------------------
# A "field" is a picture of mode F (one float per pixel, mostly 0 to 1), a "mask" one of mode L.


def _calc(formula: Callable[..., Any], *fields: Image.Image) -> Image.Image:
    """Apply a formula to fields, pixel by pixel."""
    names = [f"field{number}" for number in range(len(fields))]
    result: Image.Image = ImageMath.lambda_eval(
        lambda known: known["float"](formula(*(known[name] for name in names))),
        **{name: field.convert("F") for name, field in zip(names, fields, strict=True)},
    )
    return result


def _across(size: Size, first: float = 0.0, last: float = 1.0) -> Image.Image:
    """Return a field that changes evenly from the left edge to the right one."""
    step = (last - first) / (size[0] - 1)
    row = array("f", (first + step * x for x in range(size[0])))
    return Image.frombytes("F", (size[0], 1), row.tobytes()).resize(size, Image.Resampling.NEAREST)


def _rows(size: Size, values: Iterable[float]) -> Image.Image:
    """Return a field with the same value all along each row."""
    field = Image.frombytes("F", (1, size[1]), array("f", values).tobytes())
    return field.resize(size, Image.Resampling.NEAREST)


def _down(size: Size, first: float = 0.0, last: float = 1.0) -> Image.Image:
    """Return a field that changes evenly from the top edge to the bottom one."""
    step = (last - first) / (size[1] - 1)
    return _rows(size, (first + step * y for y in range(size[1])))


def _noise(rng: Random, size: Size, cell: Point) -> Image.Image:
    """Return a smooth random field whose bumps are about one cell wide and high."""
    columns = max(2, math.ceil(size[0] / cell[0]))
    rows = max(2, math.ceil(size[1] / cell[1]))
    grid = Image.frombytes("L", (columns, rows), rng.randbytes(columns * rows))
    return _calc(lambda v: v / 255.0, grid).resize(size, BICUBIC)


def _fractal(
    rng: Random,
    size: Size,
    cell: Point,
    octaves: int,
    gain: float = 0.5,
    *,
    ridged: bool = False,
) -> Image.Image:
    """Add up noise of ever finer cells: clouds, or (ridged) mountain crests and veins."""
    total = Image.new("F", size, 0.0)
    weight = 1.0
    weights = 0.0
    for octave in range(octaves):
        layer = _noise(rng, size, (cell[0] / 2**octave, cell[1] / 2**octave))
        if ridged:
            layer = _calc(lambda v: (1.0 - abs(v * 2.0 - 1.0)) ** 2, layer)
        total = _calc(lambda t, v, w=weight: t + v * w, total, layer)
        weights += weight
        weight *= gain
    return _calc(lambda t: t / weights, total)


def _mask(field: Image.Image, low: float, high: float) -> Image.Image:
    """Return a mask that rises softly from 0 where the field is low to 255 where it is high."""
    straight = _calc(lambda v: (v - low) * (255.0 / (high - low)), field).convert("L")
    return straight.point([round(255 * t * t * (3 - 2 * t)) for t in (n / 255 for n in range(256))])


def _curve(stops: Sequence[tuple[float, float]]) -> list[int]:
    """Return a table of 65536 levels that joins the stops by straight lines."""
    table = [round(stops[0][1])] * round(stops[0][0] * 65535)
    for (start, here), (end, there) in pairwise(stops):
        count = round(end * 65535) - round(start * 65535)
        table += [round(here + (there - here) * n / count) for n in range(count)]
    return table + [round(stops[-1][1])] * (65536 - len(table))


def _ramp(field: Image.Image, stops: Stops) -> Image.Image:
    """Colour a field by a scale of colours."""
    # 16 bits in between: with 8 the wide gradients would already be banded in the original.
    levels = _calc(lambda v: v * 65535.0, field).convert("I")
    bands = [
        levels.point(_curve([(place, colour[band]) for place, colour in stops]), "L")
        for band in range(3)
    ]
    return Image.merge("RGB", bands)


def _scaled(mask: Image.Image, factor: float) -> Image.Image:
    """Return a mask made fainter (or stronger) throughout."""
    return mask.point([min(255, round(level * factor)) for level in range(256)])


def _grey(mask: Image.Image) -> Image.Image:
    """Return a mask as a grey RGB picture, to be combined with coloured ones."""
    return Image.merge("RGB", (mask, mask, mask))


def _brighter(factor: float) -> list[int]:
    """Return a table for an RGB picture that makes every band brighter (or darker)."""
    return [min(255, round(level * factor)) for level in range(256)] * 3


def _relief(heights: Image.Image, strength: float) -> Image.Image:
    """Light a landscape from the upper left: slopes that face the light are bright."""
    moved = ImageChops.offset(heights, 2, 2)
    return _calc(lambda v, m: 160 + (v - m) * strength, heights, moved).convert("L")


def _grain(rng: Random, picture: Image.Image, amount: int) -> Image.Image:
    """Add a camera's noise, at most `amount` levels up or down, at full resolution."""
    squeeze = [level * 2 * amount // 255 for level in range(256)]
    pixels = picture.width * picture.height
    speckle = Image.frombytes("L", picture.size, rng.randbytes(pixels)).point(squeeze)
    return ImageChops.add(picture, _grey(speckle), 1, -amount)


def _remap(
    picture: Image.Image, size: Size, cell: int, source: Callable[[float, float], Point]
) -> Image.Image:
    """Bend a picture: `source` tells for a place in the result where its colour comes from."""
    columns = [*range(0, size[0], cell), size[0]]
    rows = [*range(0, size[1], cell), size[1]]
    known = {(x, y): source(x, y) for y in rows for x in columns}
    mesh = [
        (
            (left, top, right, bottom),
            (*known[left, top], *known[left, bottom], *known[right, bottom], *known[right, top]),
        )
        for top, bottom in pairwise(rows)
        for left, right in pairwise(columns)
    ]
    return picture.transform(size, Image.Transform.MESH, mesh, BICUBIC)


def _ridge(rng: Random, width: int, cell: float, octaves: int, gain: float = 0.5) -> list[float]:
    """Return one line of fractal noise, 0 to 1: the outline of a hill."""
    line = _fractal(rng, (width, 2), (cell, 2.0), octaves, gain)
    return list(array("f", line.crop((0, 0, width, 1)).tobytes()))


def _below(size: Size, heights: Sequence[float]) -> Image.Image:
    """Return a mask of everything under a line, given as one y for each column."""
    mask = Image.new("L", size, 0)
    step = (size[0] - 1) / (len(heights) - 1)
    line = [(index * step, y) for index, y in enumerate(heights)]
    ImageDraw.Draw(mask).polygon([(0, size[1]), *line, (size[0], size[1])], fill=255)
    return mask


def _path(admission: str, unit: float) -> list[Point]:
    """Return points written as "x,y x,y ..." in the given unit."""
    pairs = (place.split(",") for place in admission.split())
    return [(float(x) * unit, float(y) * unit) for x, y in pairs]


def _shade(colour: Iterable[int], factor: float) -> tuple[int, ...]:
    """Return a colour made darker or brighter."""
    return tuple(max(0, min(255, round(band * factor))) for band in colour)


def _mirrored(view: Image.Image, shore: int, size: Size) -> Image.Image:
    """Return the part of a view above the shore upside down, as still water shows it."""
    upright = view.crop((0, shore - size[1], size[0], shore))
    return upright.transpose(Image.Transpose.FLIP_TOP_BOTTOM)


def _ripples(rng: Random, water: Image.Image, swell: Point) -> Image.Image:
    """Break up a reflection; `swell` is the height of the waves far away and close by."""
    columns, rows = water.width // 12 + 2, water.height // 6 + 2
    pushes = array("f", _noise(rng, (columns, rows), (5, 1)).tobytes())

    def source(x: float, y: float) -> Point:
        push = pushes[int(y // 6) * columns + int(x // 12)] - 0.5
        height = swell[0] + (swell[1] - swell[0]) * y / water.height
        return x, min(water.height - 1.0, max(0.0, y + push * height))

    return _remap(water, water.size, 12, source)


def _stars(rng: Random, size: Size, count: int, faintness: float) -> Image.Image:
    """Return stars on black: many faint ones, few bright ones, in slightly different colours."""
    sky = Image.new("RGB", size)
    draw = ImageDraw.Draw(sky)
    for _ in range(count):
        x, y = rng.random() * size[0], rng.random() * size[1]
        light = 0.12 + 0.88 * rng.random() ** faintness
        warmth = rng.uniform(-0.15, 0.15)
        colour = (
            round(255 * light * min(1, 1 + warmth)),
            round(250 * light),
            round(255 * light * min(1, 1 - warmth)),
        )
        radius = 0.4 + 2.0 * light**2
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    return ImageChops.add(sky.filter(ImageFilter.GaussianBlur(0.7)), _bloom(sky, 5, 0.6))


def _bloom(lights: Image.Image, radius: float, strength: float) -> Image.Image:
    """Return the glow that bright lights spread around them."""
    wide = lights.reduce(4).filter(ImageFilter.GaussianBlur(radius / 4)).resize(lights.size)
    return wide.point(_brighter(strength))


# --- nasa.jpeg -----------------------------------------------------------------------------------

EARTH_SIZE = (3000, 2000)
EARTH_CENTRE = (1300.0, 3180.0)
EARTH_RADIUS = 2640.0
EARTH_SUN = (-0.45, 0.62, 0.64)  # towards the sun: right, up, to the viewer
EARTH_MAP = (2240, 2030)
EARTH_FINE = EARTH_MAP[0] / 3440  # the map is a little coarser than the picture: it may be soft
# Place on the map, extent and turning of the cyclones; the first one is the motif's centre.
EARTH_STORMS = ((0.57, 0.40, 0.075, 7.0), (0.2, 0.62, 0.16, -2.2), (0.8, 0.86, 0.1, 3.0))


def _earth() -> Image.Image:
    """Paint the Earth's limb as seen from orbit."""
    rng = Random(5)
    right = _across(EARTH_SIZE, *((x - EARTH_CENTRE[0]) / EARTH_RADIUS for x in (0, 2999)))
    up = _down(EARTH_SIZE, *((EARTH_CENTRE[1] - y) / EARTH_RADIUS for y in (0, 1999)))
    reach = _calc(lambda x, y: (x * x + y * y) ** 0.5, right, up)
    light = _earth_light(right, up, reach)
    globe = _remap(_earth_map(rng), EARTH_SIZE, 20, _earth_place)
    globe = ImageChops.multiply(globe, _grey(light))
    picture = Image.composite(_stars(rng, EARTH_SIZE, 1400, 7), globe, _mask(reach, 0.9994, 1.0006))
    picture = ImageChops.screen(picture, _earth_air(reach, light))
    return _grain(rng, picture, 4)


def _earth_light(right: Image.Image, up: Image.Image, reach: Image.Image) -> Image.Image:
    """Return how brightly the sun lights the globe, also a little beyond its edge."""
    depth = _calc(lambda r: ImageMath.imagemath_max(1.0 - r * r, 0.0) ** 0.5, reach)
    sun = _calc(
        lambda x, y, z: x * EARTH_SUN[0] + y * EARTH_SUN[1] + z * EARTH_SUN[2], right, up, depth
    )
    return _mask(sun, -0.25, 0.95)


def _earth_place(x: float, y: float) -> Point:
    """Return where on the map the globe's surface at a place in the picture is drawn."""
    right = (x - EARTH_CENTRE[0]) / EARTH_RADIUS
    up = (EARTH_CENTRE[1] - y) / EARTH_RADIUS
    reach = math.hypot(right, up)
    if reach > 0.99999:
        right, up = right / reach * 0.99999, up / reach * 0.99999
    depth = math.sqrt(max(0.0, 1.0 - right * right - up * up))
    # The map's poles lie left and right, outside the picture, where nobody sees them pinched.
    along = (math.asin(right) * EARTH_RADIUS + 1520) * EARTH_FINE
    away = (math.atan2(depth, up) * EARTH_RADIUS + 20) * EARTH_FINE
    return along, away


def _earth_map(rng: Random) -> Image.Image:
    """Paint the flat map: sea, land, clouds and their shadows."""
    shape = _fractal(rng, EARTH_MAP, (990, 990), 10, 0.53)
    sea = _ramp(
        _calc(lambda v, n: v * 0.9 + n * 0.2, shape, _fractal(rng, EARTH_MAP, (300, 300), 5)),
        [
            (0.3, (4, 20, 56)),
            (0.5, (8, 38, 92)),
            (0.6, (14, 62, 124)),
            (0.64, (42, 128, 158)),
        ],
    )
    ground = Image.composite(_earth_land(rng), sea, _mask(shape, 0.522, 0.528))
    clouds = _earth_clouds(rng)
    shadow = _scaled(ImageChops.offset(clouds, 8, 6).filter(ImageFilter.GaussianBlur(4)), 0.6)
    ground.paste((3, 10, 26), None, shadow)
    ground.paste((250, 252, 255), None, clouds)
    return ground


def _earth_land(rng: Random) -> Image.Image:
    """Paint the land: forest, steppe and desert over mountain chains."""
    land = _ramp(
        _fractal(rng, EARTH_MAP, (400, 400), 9, 0.62),
        [
            (0.32, (34, 58, 32)),
            (0.44, (70, 84, 46)),
            (0.51, (134, 112, 72)),
            (0.62, (190, 156, 108)),
            (0.72, (212, 188, 148)),
        ],
    )
    chains = _fractal(rng, EARTH_MAP, (300, 300), 8, 0.62, ridged=True)
    return ImageChops.multiply(land, _grey(_relief(chains, 600)).point(_brighter(1.55)))


def _earth_clouds(rng: Random) -> Image.Image:
    """Return a mask of clouds: streaks, torn fields, small puffs and great swirls."""
    veil = _fractal(rng, EARTH_MAP, (560, 340), 9, 0.6)
    torn = _fractal(rng, EARTH_MAP, (210, 160), 8, 0.62, ridged=True)
    both = _calc(lambda a, b, s: a * 0.75 + b * 0.4 + s, veil, torn, _earth_storm())
    streaks = _mask(_remap(both, EARTH_MAP, 12, _earth_winds(rng)), 0.51, 0.92)
    where = _mask(_fractal(rng, EARTH_MAP, (500, 400), 3), 0.45, 0.7)
    puffs = _mask(_fractal(rng, EARTH_MAP, (46, 46), 5, 0.6), 0.52, 0.72)
    return ImageChops.screen(streaks, _scaled(ImageChops.multiply(puffs, where), 0.9))


def _earth_storm() -> Image.Image:
    """Return how much thicker the clouds are around the first storm, with a clear eye."""
    across, down, extent, _ = EARTH_STORMS[0]
    shape = EARTH_MAP[1] / EARTH_MAP[0]
    x = _across(EARTH_MAP, -across / extent, (1 - across) / extent)
    y = _down(EARTH_MAP, -down * shape / extent, (1 - down) * shape / extent)
    return _calc(
        lambda a, b: 0.17 / (1 + (a * a + b * b) ** 2 * 0.12) - 0.4 / (1 + (a * a + b * b) * 160),
        x,
        y,
    )


def _earth_winds(rng: Random) -> Callable[[float, float], Point]:
    """Return the way the winds bend the clouds: everywhere a little, and around the storms."""
    bends = [
        array("f", _noise(rng, (256, 256), (14, 14)).tobytes()),
        array("f", _noise(rng, (256, 256), (14, 14)).tobytes()),
    ]
    width, height = EARTH_MAP

    def source(x: float, y: float) -> Point:
        place = int(y * 255 / height) * 256 + int(x * 255 / width)
        for across, down, extent, turns in EARTH_STORMS:
            far_x, far_y = x - across * width, y - down * height
            angle = turns * math.exp(-math.hypot(far_x, far_y) / (extent * width))
            x = across * width + far_x * math.cos(angle) - far_y * math.sin(angle)
            y = down * height + far_x * math.sin(angle) + far_y * math.cos(angle)
        x += 150 * (bends[0][place] - 0.5)
        y += 150 * (bends[1][place] - 0.5)
        return min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)

    return source


def _earth_air(reach: Image.Image, light: Image.Image) -> Image.Image:
    """Return the atmosphere: a haze towards the limb and a thin blue glow above it."""
    # The scale runs from 0.80 to 1.05 radii; the limb itself is at 0.8.
    scale = _calc(lambda r: (r - 0.8) * 4.0, reach)
    air = _ramp(
        scale,
        [
            (0.0, (8, 16, 30)),
            (0.5, (22, 48, 84)),
            (0.74, (64, 116, 178)),
            (0.795, (150, 200, 244)),
            (0.806, (120, 184, 250)),
            (0.83, (40, 100, 214)),
            (0.87, (10, 36, 110)),
            (0.93, (2, 8, 34)),
            (1.0, (0, 0, 0)),
        ],
    )
    return ImageChops.multiply(air, _grey(_scaled(light, 1.6)))


# --- mountains.jpg -------------------------------------------------------------------------------

RANGE_VIEW = (3000, 2000)  # painted at half size, then enlarged and given fine detail
RANGE_HORIZON = 1270
RANGE_NEAR, RANGE_FAR = 1.0, 6.8
RANGE_SLICES = 1300  # steps in depth
RANGE_ANGLE = 1.05  # width of the view at distance 1
RANGE_FINE = 290  # map points to one unit of distance
RANGE_MAP = (round(RANGE_FAR * RANGE_ANGLE * RANGE_FINE) + 40, round(RANGE_FAR * RANGE_FINE) + 20)
RANGE_EYE = 0.012  # height of the viewer above the lake


def _mountains() -> Image.Image:
    """Paint snowy mountains beyond a lake."""
    rng = Random(9)
    view = _range_sky(rng)
    land = _range_land(rng)
    distance = land.getchannel("A")
    haze = _ramp(
        _across(RANGE_VIEW),
        [(0.0, (232, 214, 196)), (0.5, (190, 206, 224)), (1.0, (160, 186, 216))],
    )
    far = distance.point([round(195 * (n / 255) ** 1.2) for n in range(256)])
    hazy = Image.composite(haze, land.convert("RGB"), far)
    solid = distance.point([0] + [255] * 255)
    view.paste(hazy, None, solid)
    view = _range_lake(rng, view, solid)
    return _range_detail(rng, view, solid, far)


def _range_sky(rng: Random) -> Image.Image:
    """Paint an evening sky with thin clouds, lit from the left."""
    sky = _ramp(
        _calc(
            lambda y, x: y + 0.12 * (1 - x),
            _down(RANGE_VIEW, 0.0, 2000 / 1270),
            _across(RANGE_VIEW),
        ),
        [
            (0.0, (52, 98, 168)),
            (0.45, (112, 158, 208)),
            (0.8, (186, 208, 226)),
            (1.0, (236, 222, 204)),
        ],
    )
    cloud = _fractal(rng, (1500, 1000), (520, 150), 8, 0.58).resize(RANGE_VIEW, BICUBIC)
    sky.paste((250, 244, 238), None, _scaled(_mask(cloud, 0.46, 0.78), 0.9))
    return sky


def _range_heights(rng: Random) -> Image.Image:
    """Return the map of heights: a lake shore, hills, then ever higher crests."""
    broad = _fractal(rng, RANGE_MAP, (2.4 * RANGE_FINE, 2.4 * RANGE_FINE), 4, 0.5)
    crest = _fractal(rng, RANGE_MAP, (2.6 * RANGE_FINE, 2.6 * RANGE_FINE), 9, 0.46, ridged=True)
    away = _down(RANGE_MAP, 0.0, RANGE_FAR)
    half = RANGE_MAP[0] / RANGE_FINE / 2
    aside = _across(RANGE_MAP, -half, half)
    return _calc(
        lambda c, b, z, x: (
            (c * 1.2 + b * 0.5 - 0.34)
            * (ImageMath.imagemath_min(ImageMath.imagemath_max(z - 1.25, 0.0) * 0.5, 1.8))
            * (0.55 + ImageMath.imagemath_min((x * x + 0.1) ** 0.5 / z * 1.4, 0.6))
            - 0.015
        ),
        crest,
        broad,
        away,
        aside,
    )


def _range_colours(rng: Random, heights: Image.Image) -> Image.Image:
    """Paint the map: forest, rock and snow, lit from the left."""
    size = heights.size
    rough = _fractal(rng, size, (60, 60), 5, 0.65)
    rock = _ramp(rough, [(0.3, (62, 60, 64)), (0.55, (104, 98, 96)), (0.75, (140, 130, 122))])
    forest = _ramp(rough, [(0.3, (22, 38, 26)), (0.55, (44, 62, 36)), (0.75, (84, 92, 52))])
    steep = _calc(lambda v, a: abs(v - a) * 17.0, heights, ImageChops.offset(heights, 3, 3))
    wooded = _calc(lambda h, r: h + (r - 0.5) * 0.4, heights, rough)
    snowy = _calc(
        lambda h, r, s: ImageMath.imagemath_min(h, 0.5) + (r - 0.5) * 0.3 - s * 0.95,
        heights,
        rough,
        steep,
    )
    ground = Image.composite(rock, forest, _mask(wooded, 0.26, 0.4))
    ground.paste((246, 248, 254), None, _mask(snowy, 0.1, 0.2))
    light = _relief_from_left(heights)
    return ImageChops.multiply(ground, light)


def _relief_from_left(heights: Image.Image) -> Image.Image:
    """Return the light on the slopes: warm where the sun shines, blue in the shade."""
    wide = ImageChops.offset(heights, 12, 3)
    fine = ImageChops.offset(heights, 3, 1)
    slope = _calc(lambda v, w, f: 0.42 + (v - w) * 4.2 + (v - f) * 7.0, heights, wide, fine)
    return _ramp(
        slope,
        [
            (0.0, (58, 74, 112)),
            (0.35, (104, 116, 150)),
            (0.6, (220, 206, 190)),
            (1.0, (255, 246, 230)),
        ],
    )


def _range_land(rng: Random) -> Image.Image:
    """Paint the land in perspective; alpha is the distance, 0 where there is no land."""
    heights = _range_heights(rng)
    colours = _range_colours(rng, heights)
    size = (RANGE_VIEW[0], RANGE_SLICES)
    aways = [
        RANGE_NEAR + (RANGE_FAR - RANGE_NEAR) * (n / RANGE_SLICES) ** 1.3
        for n in range(RANGE_SLICES + 1)
    ]

    def source(column: float, step: float) -> Point:
        away = aways[int(step)]
        aside = (column / RANGE_VIEW[0] - 0.5) * RANGE_ANGLE * away
        return RANGE_MAP[0] / 2 + aside * RANGE_FINE, away * RANGE_FINE

    seen_heights = _remap(heights, size, 20, source)
    seen_colours = _remap(colours, size, 20, source)
    zooms = _rows(size, (RANGE_VIEW[0] / RANGE_ANGLE / away for away in aways[:-1]))
    bumps = _calc(lambda b, z: (b - 0.5) * (1 - z) ** 3, _noise(rng, size, (5, 3)), _down(size))
    tops = _calc(
        lambda h, z, b: RANGE_HORIZON + (RANGE_EYE - h) * z - b * 14 * (h > 0.01),
        seen_heights,
        zooms,
        bumps,
    )
    _range_trees(rng, seen_colours)
    seen_colours.putalpha(_down(size, 1.0, 255.0).convert("L"))
    return _range_stack(tops, seen_colours)


def _range_trees(rng: Random, seen: Image.Image) -> None:
    """Roughen the dark places near the shore: single trees are too fine for the map."""
    rough = _mask(_fractal(rng, seen.size, (7, 4), 2, 0.8), 0.1, 0.9)
    near = _down(seen.size, 255.0, -250.0).convert("L")
    dark = ImageChops.invert(seen.convert("L"))
    seen.paste(ImageChops.overlay(seen, _grey(rough)), None, ImageChops.multiply(dark, near))


def _range_stack(tops: Image.Image, colours: Image.Image) -> Image.Image:
    """Stack the slices up, nearest first: each shows where it rises above all before it."""
    width, slices = tops.size
    height = RANGE_VIEW[1]
    # Turned on its side, what belongs to one column lies together in memory.
    rises = array("i", tops.convert("I").transpose(Image.Transpose.TRANSPOSE).tobytes())
    paints = colours.transpose(Image.Transpose.TRANSPOSE).tobytes()
    canvas = bytearray(width * height * 4)
    for column in range(width):
        start = column * slices
        base = column * height
        lowest = RANGE_HORIZON + 24
        for place, rise in enumerate(rises[start : start + slices], start):
            if rise < lowest:
                top = max(rise, 0)
                paint = paints[place * 4 : place * 4 + 4]
                canvas[(base + top) * 4 : (base + lowest) * 4] = paint * (lowest - top)
                lowest = top
    image = Image.frombytes("RGBA", (height, width), bytes(canvas))
    return image.transpose(Image.Transpose.TRANSPOSE)


def _range_lake(rng: Random, view: Image.Image, solid: Image.Image) -> Image.Image:
    """Put the lake below the horizon: the view upside down, broken by ripples."""
    shore = RANGE_HORIZON + 6
    size = (RANGE_VIEW[0], RANGE_VIEW[1] - RANGE_HORIZON)
    mirror = _ripples(rng, _mirrored(view, shore, size), (2, 42))
    mirror = mirror.filter(ImageFilter.GaussianBlur((0.5, 2.5)))
    mirror = Image.blend(mirror, Image.new("RGB", size, (26, 52, 66)), 0.12)
    depth = _down(size, 0, 120).convert("L")
    mirror.paste((14, 40, 50), None, depth)
    breeze = _fractal(rng, size, (900, 26), 6, 0.6)
    mirror.paste((196, 208, 220), None, _scaled(_mask(breeze, 0.6, 0.78), 0.3))
    free = ImageChops.invert(solid).crop((0, RANGE_HORIZON, *RANGE_VIEW))
    view.paste(mirror, (0, RANGE_HORIZON), free)
    return view


def _range_detail(
    rng: Random, view: Image.Image, solid: Image.Image, far: Image.Image
) -> Image.Image:
    """Enlarge the view and add what the half size could not hold."""
    size = (RANGE_VIEW[0] * 2, RANGE_VIEW[1] * 2)
    near = ImageChops.multiply(solid, ImageChops.invert(far)).resize(size)
    large = view.filter(ImageFilter.UnsharpMask(1.5, 60, 0)).resize(size, BICUBIC)
    cells = (size[0] // 4, size[1] // 3)
    stone = Image.frombytes("L", cells, rng.randbytes(cells[0] * cells[1])).resize(size, BICUBIC)
    rough = ImageChops.overlay(large, _grey(stone))
    large.paste(rough, None, _scaled(near, 0.14))
    return _grain(rng, large, 3)


# --- meadow.jpg ----------------------------------------------------------------------------------

MEADOW_SIZE = (4000, 3000)
MEADOW_HORIZON = 1080
MEADOW_GREENS: tuple[Colour, ...] = (
    (58, 92, 30),
    (84, 120, 38),
    (112, 148, 50),
    (148, 168, 70),
    (176, 172, 98),
    (40, 70, 28),
)
# A petal's outline: how far to the side, how far from the heart.
MEADOW_PETAL = ((0, 0.1), (-0.7, 0.6), (-0.55, 0.95), (0, 1.08), (0.55, 0.95), (0.7, 0.6))
# Petals, heart, number of petals.
MEADOW_FLOWERS: tuple[tuple[Colour, Colour, int], ...] = (
    ((206, 36, 24), (40, 16, 18), 4),
    ((244, 242, 236), (236, 184, 30), 11),
    ((84, 98, 200), (52, 40, 120), 8),
    ((240, 200, 40), (196, 138, 20), 6),
)


def _meadow() -> Image.Image:
    """Paint a flowering meadow: the finest detail of all the samples."""
    rng = Random(3)
    picture = _meadow_background(rng)
    draw = ImageDraw.Draw(picture)
    rows = 150
    for row in range(rows):
        nearness = (row / rows) ** 2.2
        base = MEADOW_HORIZON + 20 + nearness * (MEADOW_SIZE[1] + 620 - MEADOW_HORIZON)
        size = 10 + 720 * nearness
        _meadow_row(rng, draw, base, size, nearness)
        if row == 60:  # the lens is focused on what is nearer than this
            picture.paste(picture.filter(ImageFilter.GaussianBlur(2.5)))
    return _grain(rng, picture.filter(ImageFilter.GaussianBlur(0.8)), 5)


def _meadow_background(rng: Random) -> Image.Image:
    """Paint sky, far hills and trees, and the ground the grass grows from."""
    sky = _ramp(
        _down(MEADOW_SIZE, 0.0, MEADOW_SIZE[1] / MEADOW_HORIZON),
        [(0.0, (64, 126, 202)), (0.6, (142, 188, 228)), (1.0, (216, 230, 236))],
    )
    cloud = _fractal(rng, (1000, 750), (230, 90), 8, 0.6).resize(MEADOW_SIZE, BICUBIC)
    puffs = _ramp(cloud, [(0.5, (255, 255, 255)), (0.62, (246, 248, 250)), (0.8, (186, 196, 210))])
    sky.paste(puffs, None, _mask(cloud, 0.5, 0.68))
    width = MEADOW_SIZE[0]
    for rise, depth, colour in (
        (330, 170, (142, 166, 186)),
        (210, 130, (112, 144, 142)),
        (110, 70, (96, 130, 84)),
    ):
        line = [
            MEADOW_HORIZON - rise * 0.3 - depth * v for v in _ridge(rng, width // 4, 260, 6, 0.4)
        ]
        sky.paste(colour, None, _below(MEADOW_SIZE, line))
    trees = [MEADOW_HORIZON - 200 * (v - 0.38) for v in _ridge(rng, width, 160, 8, 0.62)]
    leaves = _ramp(_noise(rng, MEADOW_SIZE, (14, 12)), [(0.2, (30, 52, 24)), (0.8, (78, 104, 44))])
    sky.paste(leaves, None, _below(MEADOW_SIZE, trees))
    sky = sky.filter(ImageFilter.GaussianBlur(4))
    field = _ramp(
        _fractal(rng, MEADOW_SIZE, (900, 60), 5, 0.6),
        [(0.3, (66, 96, 34)), (0.5, (112, 140, 52)), (0.7, (158, 168, 84))],
    )
    sky.paste(field, None, _mask(_down(MEADOW_SIZE), 0.358, 0.364))
    shade = _down(MEADOW_SIZE, -120, 200).convert("L")
    sky.paste((24, 40, 14), None, shade)
    return sky


def _meadow_row(
    rng: Random, draw: ImageDraw.ImageDraw, base: float, size: float, nearness: float
) -> None:
    """Draw one row of grass and flowers across the picture."""
    count = round(90 + 620 * (1 - nearness) ** 2.5)
    patch = rng.uniform(0, 9)
    for _ in range(count):
        x = rng.uniform(-100, MEADOW_SIZE[0] + 100)
        foot = base + rng.uniform(-0.4, 0.4) * size
        light = 0.45 + 0.3 * math.sin(x / 420 + patch) + rng.gauss(0, 0.4)
        if rng.random() < 0.075 + 0.06 * math.sin(x / 310 + 2 * patch):
            _meadow_flower(rng, draw, (x, foot), size * rng.uniform(0.8, 1.2))
        else:
            _meadow_blade(rng, draw, (x, foot), size * rng.uniform(0.5, 1.1), light)


def _meadow_blade(
    rng: Random, draw: ImageDraw.ImageDraw, foot: Point, size: float, light: float
) -> None:
    """Draw one blade of grass, bent to a side, with a lighter edge if it is near."""
    green = MEADOW_GREENS[min(rng.randrange(6), rng.randrange(6))]
    colour = _shade(green, 0.7 + 0.4 * light)
    lean = rng.gauss(0.1, 0.3) * size
    thick = max(1.0, size * 0.018)
    x, y = foot
    bend = y - size * 0.6
    left, right = x + lean * 0.3 - thick * 0.8, x + lean * 0.3 + thick * 0.8
    tip = (x + lean, y - size * rng.uniform(0.85, 1.0))
    outline = [(x - thick, y), (left, bend), tip, (right, bend), (x + thick, y)]
    draw.polygon(outline, fill=colour)
    if size > 120:
        edge = tuple(min(255, round(band * 1.3 + 12)) for band in colour)
        draw.line(outline[:3], fill=edge, width=max(1, round(thick * 0.4)))


def _meadow_flower(rng: Random, draw: ImageDraw.ImageDraw, foot: Point, size: float) -> None:
    """Draw one flower on its stem, seen slightly from above."""
    petal, heart, count = rng.choices(MEADOW_FLOWERS, (4, 5, 2, 3))[0]
    lean = rng.gauss(0, 0.12) * size
    x, y = foot[0] + lean, foot[1] - size * rng.uniform(0.8, 1.1)
    draw.line(
        [foot, (foot[0] + lean * 0.4, foot[1] - size * 0.5), (x, y)],
        fill=(70, 104, 42),
        width=max(1, round(size * 0.016)),
    )
    radius = size * rng.uniform(0.08, 0.115)
    if radius < 2.5:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=petal)
        return
    _meadow_petals(rng, draw, (x, y, radius), petal, count)
    middle = radius * 0.26
    draw.ellipse((x - middle, y - middle * 0.8, x + middle, y + middle * 0.75), fill=heart)
    for _ in range(min(60, round(radius))):
        angle, reach = rng.uniform(0, math.tau), middle * rng.random() ** 0.5
        spot = (x + reach * math.cos(angle), y + 0.75 * reach * math.sin(angle))
        draw.point(spot, fill=tuple(min(255, band + 60) for band in heart))


def _meadow_petals(
    rng: Random,
    draw: ImageDraw.ImageDraw,
    place: tuple[float, float, float],
    colour: Colour,
    count: int,
) -> None:
    """Draw a wreath of petals, each a little different in light, with a vein in the middle."""
    x, y, radius = place
    turn = rng.uniform(0, math.tau)
    wide = 3.5 / count + 0.03
    for number in range(count):
        angle = turn + number * math.tau / count
        light = 0.82 + 0.18 * math.cos(angle + 0.8) + rng.uniform(-0.06, 0.04)
        outline = [
            (
                x + radius * reach * math.cos(angle + wide * aside),
                y + radius * 0.72 * reach * math.sin(angle + wide * aside),
            )
            for aside, reach in MEADOW_PETAL
        ]
        draw.polygon(outline, fill=_shade(colour, light))
        vein = _shade(colour, light * 0.85)
        draw.line([(x, y), outline[3]], fill=vein, width=max(1, round(radius * 0.03)))


# --- harbour.jpg ---------------------------------------------------------------------------------

HARBOUR_SIZE = (3264, 2448)
HARBOUR_SHORE = 1420
HARBOUR_LAMPS: tuple[Colour, ...] = (
    (255, 214, 140),
    (255, 190, 104),
    (255, 236, 196),
    (190, 220, 255),
)
HARBOUR_HULLS: tuple[Colour, ...] = (
    (226, 222, 224),
    (40, 52, 90),
    (130, 40, 44),
    (200, 204, 214),
)
BOAT_SIZE = (1100, 900)
BOAT_PLACE = (380, HARBOUR_SHORE - 290)
BOAT_WATERLINE = 806
# The fishing boat: hull, bulwark, red bottom, wheelhouse, its lit side, roof, masts, windows.
BOAT_PARTS: tuple[tuple[str, Colour], ...] = (
    ("60,640 300,672 760,668 1040,590 960,780 880,806 180,806 110,760", (28, 48, 82)),
    ("60,640 300,672 760,668 1040,590 1034,612 760,690 300,694 66,662", (206, 198, 190)),
    ("105,752 968,752 960,780 880,806 180,806 112,764", (122, 36, 34)),
    ("330,470 610,470 640,676 310,678", (176, 168, 172)),
    ("330,470 400,470 390,677 310,678", (214, 186, 168)),
    ("312,452 640,452 628,474 322,474", (70, 64, 76)),
    ("700,120 712,120 718,676 696,676", (96, 76, 66)),
    ("448,250 456,250 460,456 444,456", (96, 76, 66)),
    *(
        (f"{x},505 {x + 44},505 {x + 46},560 {x},560", (255, 222, 150))
        for x in (352, 420, 488, 552)
    ),
)
BOAT_ROPES = (
    "706,130 1034,596",
    "706,130 452,256",
    "452,256 70,644",
    "706,330 900,250",
    *(f"{64 + n * 0.4},{662 + n} 300,{694 + n}" for n in (16, 34, 52)),
    *(f"300,{694 + n} 760,{690 + n} {1032 - n * 0.5},{612 + n * 1.25}" for n in (16, 34, 52)),
)


def _harbour() -> Image.Image:
    """Paint a harbour town at dusk: hard edges, lights, and both again in the water."""
    rng = Random(4)
    view = _harbour_sky(rng)
    lights = Image.new("RGB", HARBOUR_SIZE)
    _harbour_houses(rng, view, lights)
    _harbour_quay(rng, view, lights)
    boat = _harbour_boat(rng)
    water = _harbour_water(rng, view, lights, boat)
    view = ImageChops.add(ImageChops.add(view, lights), _bloom(lights, 26, 1.1))
    view.paste(water, (0, HARBOUR_SHORE))
    view.paste(boat, (0, 0), boat)
    return _grain(rng, view, 4)


def _harbour_sky(rng: Random) -> Image.Image:
    """Paint the sky after sunset, with clouds lit from below and a dark hill."""
    fall = _down(HARBOUR_SIZE, 0.0, HARBOUR_SIZE[1] / HARBOUR_SHORE)
    sky = _ramp(
        fall,
        [
            (0.0, (16, 28, 66)),
            (0.4, (52, 66, 122)),
            (0.65, (128, 96, 132)),
            (0.85, (226, 138, 106)),
            (1.0, (252, 194, 118)),
        ],
    )
    cloud = _fractal(rng, (1088, 816), (420, 60), 8, 0.58).resize(HARBOUR_SIZE, BICUBIC)
    tint = _ramp(
        fall,
        [
            (0.0, (44, 50, 88)),
            (0.5, (140, 92, 120)),
            (0.9, (250, 150, 110)),
            (1.0, (255, 200, 130)),
        ],
    )
    sky.paste(tint, None, _scaled(_mask(cloud, 0.46, 0.7), 0.85))
    for rise, colour in ((330, (88, 72, 104)), (220, (52, 50, 82))):
        line = [HARBOUR_SHORE - rise * (0.3 + v) for v in _ridge(rng, 1632, 700, 8, 0.42)]
        sky.paste(colour, None, _below(HARBOUR_SIZE, line))
    return sky


def _harbour_houses(rng: Random, view: Image.Image, lights: Image.Image) -> None:
    """Draw three rows of houses, the far ones paler, and light some of their windows."""
    draw, glow = ImageDraw.Draw(view), ImageDraw.Draw(lights)
    for haze, lowest, highest, widest in (
        (0.45, 160, 620, 130),
        (0.2, 120, 430, 190),
        (0.0, 80, 230, 250),
    ):
        x = -40.0
        while x < HARBOUR_SIZE[0]:
            width = rng.uniform(0.45, 1.0) * widest
            middle = math.exp(-(((x - 1900) / 900) ** 2))
            height = lowest + (highest - lowest) * rng.random() * (0.25 + 0.75 * middle)
            tone = rng.uniform(0.7, 1.3)
            wall = tuple(
                round((c * tone) * (1 - haze) + f * haze)
                for c, f in zip((30, 30, 46), (110, 86, 112), strict=True)
            )
            top = HARBOUR_SHORE - height
            draw.rectangle((x, top, x + width, HARBOUR_SHORE), fill=wall)
            glow.rectangle((x, top, x + width, HARBOUR_SHORE), fill=0)  # hide what is behind
            _harbour_roof(rng, draw, glow, (x, top, x + width), wall)
            _harbour_windows(rng, draw, glow, (x, top, x + width, HARBOUR_SHORE - 14), haze)
            x += width + rng.choice((0, 0, 3, 16))


def _harbour_roof(
    rng: Random,
    draw: ImageDraw.ImageDraw,
    glow: ImageDraw.ImageDraw,
    wall: tuple[float, float, float],
    colour: tuple[int, ...],
) -> None:
    """Put a roof on a house: flat with a mast, gabled, or stepped; its left side catches light."""
    left, top, right = wall
    lit = tuple(min(255, band + 26) for band in colour)
    kind = rng.randrange(4)
    if kind == 0:
        peak = ((left + right) / 2, top - (right - left) * 0.36)
        gable = [(left - 4, top), peak, (right + 4, top)]
        draw.polygon(gable, fill=_shade(colour, 0.75))
        glow.polygon(gable, fill=0)
        draw.line([(left - 4, top), peak], fill=lit, width=3)
    elif kind == 1:
        draw.rectangle((left + 16, top - 26, right - 16, top), fill=colour)
        glow.rectangle((left + 16, top - 26, right - 16, top), fill=0)
        mast = left + (right - left) * rng.uniform(0.3, 0.7)
        draw.line([(mast, top - 26), (mast, top - rng.uniform(60, 130))], fill=colour, width=3)
    elif kind == 2:
        for chimney in (0.2, 0.7):
            x = left + (right - left) * chimney
            draw.rectangle((x, top - 30, x + 13, top), fill=colour)
    draw.line([(left, top), (left, HARBOUR_SHORE)], fill=lit, width=2)


def _harbour_windows(
    rng: Random,
    draw: ImageDraw.ImageDraw,
    glow: ImageDraw.ImageDraw,
    wall: tuple[float, float, float, float],
    haze: float,
) -> None:
    """Draw a house's windows, most of them dark."""
    left, top, right, bottom = wall
    wide, high = rng.choice(((9, 13), (12, 16), (7, 18), (18, 10)))
    step_x, step_y = wide + rng.uniform(8, 14), high + rng.uniform(12, 20)
    share = rng.uniform(0.08, 0.45)
    lamp = rng.choice(HARBOUR_LAMPS)
    y = top + 14
    while y + high < bottom:
        x = left + 10
        while x + wide < right - 6:
            box = (x, y, x + wide, y + high)
            if rng.random() < share:
                light = rng.uniform(0.35, 1.0) * (1 - haze * 0.6)
                glow.rectangle(box, fill=tuple(round(band * light) for band in lamp))
            else:
                draw.rectangle(box, fill=(24, 28, 48) if haze < 0.3 else (78, 68, 98))
            x += step_x
        y += step_y


def _harbour_quay(rng: Random, view: Image.Image, lights: Image.Image) -> None:
    """Draw the quay wall, its lamps, and moored yachts with their masts."""
    draw, glow = ImageDraw.Draw(view), ImageDraw.Draw(lights)
    width, shore = HARBOUR_SIZE[0], HARBOUR_SHORE
    draw.rectangle((0, shore - 26, width, shore), fill=(22, 22, 30))
    glow.rectangle((0, shore - 26, width, shore), fill=0)
    draw.line([(0, shore - 27), (width, shore - 27)], fill=(120, 96, 90), width=3)
    for x in range(60, width, 136):
        draw.line([(x, shore - 26), (x, shore - 116)], fill=(14, 14, 20), width=5)
        glow.ellipse((x - 8, shore - 128, x + 8, shore - 112), fill=rng.choice(HARBOUR_LAMPS[:3]))
    for _ in range(26):
        place = (rng.uniform(40, width - 240), shore)
        _harbour_yacht(rng, draw, glow, place, rng.uniform(90, 200))


def _harbour_yacht(
    rng: Random, draw: ImageDraw.ImageDraw, glow: ImageDraw.ImageDraw, place: Point, length: float
) -> None:
    """Draw one yacht with its sails stowed, some with a light at the masthead."""
    x, shore = place
    stern, mast = x + length, x + length * 0.45
    top = shore - length * rng.uniform(1.5, 2.1)
    hull = [(x, shore - 30), (stern, shore - 34), (x + length * 0.88, shore)]
    hull.append((x + length * 0.08, shore))
    draw.polygon(hull, fill=_shade(rng.choice(HARBOUR_HULLS), 0.5))
    glow.polygon(hull, fill=0)
    cabin = (x + length * 0.28, shore - 46, x + length * 0.62, shore - 31)
    draw.rectangle(cabin, fill=(110, 104, 112))
    draw.line([(mast, shore - 30), (mast, top)], fill=(196, 180, 176), width=4)
    draw.line([(mast, top), (stern, shore - 34)], fill=(90, 84, 96), width=1)
    draw.line([(mast, shore - 56), (x + 6, shore - 54)], fill=(206, 196, 190), width=7)
    if rng.random() < 0.4:
        glow.ellipse((mast - 4, top - 4, mast + 4, top + 4), fill=(255, 120, 90))


def _harbour_dusk(rng: Random, boat: Image.Image) -> Image.Image:
    """Light the boat as the evening does: from behind, with worn paint and lit windows."""
    colours = boat.convert("RGB")
    bright = _mask(colours.getchannel("R"), 238, 250)
    wear = _fractal(rng, boat.size, (40, 160), 6, 0.7)
    shade = _calc(
        lambda y, x, n: 0.95 - 0.75 * y - 0.25 * x + (n - 0.5) * 0.5,
        _down(boat.size),
        _across(boat.size),
        wear,
    )
    light = _ramp(shade, [(0.0, (24, 28, 48)), (0.5, (150, 128, 140)), (1.0, (255, 214, 190))])
    dusk = Image.composite(colours, ImageChops.multiply(colours, light), bright)
    windows = Image.composite(colours, Image.new("RGB", boat.size), bright)
    dusk = ImageChops.add(dusk, _bloom(windows, 12, 0.5))
    dusk.putalpha(boat.getchannel("A").filter(ImageFilter.GaussianBlur(0.6)))
    return dusk


def _harbour_boat(rng: Random) -> Image.Image:
    """Paint the fishing boat in front, on a transparent layer as big as the picture."""
    big = Image.new("RGBA", (BOAT_SIZE[0] * 2, BOAT_SIZE[1] * 2), (0, 0, 0, 0))
    draw = ImageDraw.Draw(big)
    for outline, colour in BOAT_PARTS:
        draw.polygon(_path(outline, 2), fill=colour)
    for rope in BOAT_ROPES:
        draw.line(_path(rope, 2), fill=(30, 32, 48), width=5)
    for x in range(140, 960, 120):  # fenders
        draw.ellipse((x * 2, 1400, x * 2 + 52, 1484), fill=(20, 20, 24))
    layer = Image.new("RGBA", HARBOUR_SIZE, (0, 0, 0, 0))
    layer.paste(_harbour_dusk(rng, big.reduce(2)), BOAT_PLACE)
    return layer


def _harbour_water(
    rng: Random, view: Image.Image, lights: Image.Image, boat: Image.Image
) -> Image.Image:
    """Paint the water: town, boat and sky upside down, and the lamps drawn out into streaks."""
    size = (HARBOUR_SIZE[0], HARBOUR_SIZE[1] - HARBOUR_SHORE)
    water = _mirrored(view, HARBOUR_SHORE, size).filter(ImageFilter.GaussianBlur((2, 9)))
    water = Image.blend(water, Image.new("RGB", size, (14, 26, 52)), 0.3)
    streaks = _mirrored(lights, HARBOUR_SHORE, size)
    for reach, strength in ((10, 1.0), (70, 2.6)):
        smear = streaks.filter(ImageFilter.GaussianBlur((3, reach))).point(_brighter(strength))
        water = ImageChops.add(water, smear)
    line = BOAT_PLACE[1] + BOAT_WATERLINE - 16  # the waves reach a little above it
    double = _mirrored(boat, line, (size[0], HARBOUR_SIZE[1] - line))
    double = double.filter(ImageFilter.GaussianBlur((1, 4)))
    dark = Image.blend(double.convert("RGB"), Image.new("RGB", double.size, (14, 26, 52)), 0.3)
    water.paste(dark, (0, line - HARBOUR_SHORE), double.getchannel("A"))
    water = _ripples(rng, water, (6, 110))
    crests = _mask(_fractal(rng, size, (190, 9), 5, 0.65), 0.5, 0.75)
    water.paste((236, 170, 140), None, _scaled(crests, 0.22))
    troughs = _mask(_fractal(rng, size, (150, 12), 5, 0.65), 0.52, 0.75)
    water.paste((8, 14, 34), None, _scaled(troughs, 0.55))
    return water


# --- portrait.jpg --------------------------------------------------------------------------------

PORTRAIT_SIZE = (2000, 3000)  # as it is displayed
BALLOON_GORES = 28
BALLOON_COLOURS: tuple[Colour, ...] = (
    (208, 38, 32),
    (244, 150, 30),
    (250, 214, 70),
    (246, 240, 226),
    (30, 104, 168),
    (22, 52, 110),
)


def _portrait() -> Image.Image:
    """Paint a hot-air balloon, stored lying on its side as cameras do it."""
    rng = Random(5)
    picture = _portrait_background(rng)
    far = _balloon(3).reduce(5).filter(ImageFilter.GaussianBlur(4))
    far.putalpha(_scaled(far.getchannel("A"), 0.75))
    picture.paste(far, (140, 1290), far)
    near = _balloon(0)
    picture.paste(near, (470, 300), near)
    return _grain(rng, picture, 4).transpose(Image.Transpose.ROTATE_90)


def _portrait_background(rng: Random) -> Image.Image:
    """Paint a misty morning landscape, out of focus."""
    half = (PORTRAIT_SIZE[0] // 2, PORTRAIT_SIZE[1] // 2)
    sky = _ramp(
        _down(half, 0.0, 1500 / 1130),
        [
            (0.0, (58, 112, 186)),
            (0.45, (132, 176, 216)),
            (0.8, (236, 214, 190)),
            (1.0, (255, 224, 172)),
        ],
    )
    cloud = _fractal(rng, half, (420, 130), 7, 0.55)
    sky.paste((255, 246, 236), None, _scaled(_mask(cloud, 0.48, 0.75), 0.7))
    sun = _calc(
        lambda x, y: 1.0 / (1.0 + (x * x + y * y) * 90.0),
        _across(half, -0.84, 0.16),
        _down(half, -1.02, 0.48),
    )
    hills: tuple[tuple[int, int, Colour], ...] = (
        (1130, 130, (168, 176, 196)),
        (1170, 110, (136, 150, 160)),
        (1225, 90, (112, 130, 110)),
        (1300, 70, (96, 116, 70)),
        (1400, 60, (70, 92, 48)),
    )
    for y, rise, colour in hills:
        rough = 0.35 + 0.2 * (y > 1200)
        line = [y - rise * v for v in _ridge(rng, half[0], 380, 8, rough)]
        grass = _fractal(rng, half, (60, 9), 4, 0.7)
        tone = _ramp(grass, [(0.25, (204, 204, 204)), (0.75, (255, 255, 255))])
        hill = ImageChops.multiply(Image.new("RGB", half, _shade(colour, 1.2)), tone)
        sky.paste(hill, None, _below(half, line))
        mist = _scaled(_mask(_down(half, 0.0, 1500.0), y - 10, y + 60), 0.45)
        sky.paste((250, 226, 196), None, ImageChops.multiply(mist, _below(half, line)))
    sky.paste((255, 238, 200), None, _mask(sun, 0.0, 1.1))
    return sky.filter(ImageFilter.GaussianBlur(5)).resize(PORTRAIT_SIZE, BICUBIC)


def _balloon_outline(down: float) -> float:
    """Return the envelope's half width at a height from 0 (crown) to 1 (mouth), at most 1."""
    if down < 0.42:
        return math.sqrt(max(0.0, 1 - ((0.42 - down) / 0.42) ** 2))
    along = (down - 0.42) / 0.58
    return 1 - 0.86 * math.pow(along * along * (3 - 2 * along), 0.92)


def _balloon(shift: int) -> Image.Image:
    """Paint a balloon on a transparent layer; `shift` changes the order of its colours."""
    width, height = 1300, 1960
    layer = Image.new("RGBA", (width * 2, height * 2), (150, 120, 100, 0))
    draw = ImageDraw.Draw(layer)
    _balloon_basket(draw, (width, 3400))
    _balloon_envelope(draw, (width, 40), (1180, 3020), shift)
    return layer.reduce(2)


def _balloon_envelope(draw: ImageDraw.ImageDraw, crown: Point, extent: Point, shift: int) -> None:
    """Draw the envelope out of small patches, each with its own share of light."""
    strips, parts = 120, 6
    around = BALLOON_GORES * parts // 2
    for strip in range(strips):
        top, bottom = strip / strips, (strip + 1) / strips
        ends = [(crown[1] + extent[1] * d, extent[0] * _balloon_outline(d)) for d in (top, bottom)]
        for part in range(around):
            gore = part // parts
            east, west = (math.pi * (n / around - 0.5) for n in (part, part + 1))
            # Each gore bulges a little between its seams.
            bulge = math.sin((part % parts + 0.5) / parts * math.pi)
            light = 0.66 + 0.4 * math.sin((east + west) / 2 + 0.35) + 0.2 * (0.5 - top)
            light = light * (0.86 + 0.16 * bulge) + 0.5 * max(0.0, top - 0.7)  # lit by the flame
            zigzag = abs((gore % 4) - 2) * 0.035
            band = int((top + zigzag) * 9.5) + shift
            colour = BALLOON_COLOURS[min(band, 99) % 6]
            paint = tuple(max(0, min(255, round(c * min(light, 1.12)))) for c in colour)
            corners = [
                (crown[0] + reach * math.sin(angle), y)
                for (y, reach), angles in zip(ends, ((east, west), (west, east)), strict=True)
                for angle in angles
            ]
            draw.polygon(corners, fill=(*paint, 255))
            if part % parts == 0:
                seam = tuple(c * 3 // 4 for c in paint)
                draw.line([corners[0], corners[3]], fill=(*seam, 255), width=3)


def _balloon_basket(draw: ImageDraw.ImageDraw, top: Point) -> None:
    """Draw the ropes, the basket with its weave, two passengers and the flame."""
    x, y = top
    for side in (-1, -0.5, 0.5, 1):
        draw.line([(x + side * 165, y - 345), (x + side * 140, y)], fill=(70, 60, 54, 255), width=6)
    draw.polygon([(x - 26, y - 120), (x, y - 320), (x + 26, y - 120)], fill=(255, 190, 80, 235))
    draw.polygon([(x - 12, y - 120), (x, y - 240), (x + 12, y - 120)], fill=(255, 246, 200, 255))
    draw.rectangle((x - 60, y - 124, x + 60, y - 104), fill=(60, 60, 66, 255))
    for aside, coat in ((-70, (40, 84, 130)), (54, (150, 50, 60))):
        draw.rounded_rectangle(
            (x + aside - 44, y - 60, x + aside + 44, y + 60), 34, fill=(*coat, 255)
        )
        draw.ellipse((x + aside - 28, y - 118, x + aside + 28, y - 56), fill=(206, 160, 128, 255))
        draw.chord(
            (x + aside - 30, y - 124, x + aside + 30, y - 62), 180, 360, fill=(60, 44, 36, 255)
        )
    draw.rounded_rectangle((x - 165, y - 8, x + 165, y + 250), 26, fill=(122, 80, 44, 255))
    for row in range(16):
        for column in range(22):
            left, above = x - 160 + column * 14.6, y + 14 + row * 14.4
            light = 1.2 - column / 30 + 0.14 * ((row + column) % 2)
            weave = tuple(round(c * light) for c in (150, 100, 56))
            draw.rectangle((left, above, left + 11, above + 8), fill=(*weave, 255))
    draw.rounded_rectangle((x - 172, y - 16, x + 172, y + 14), 14, fill=(84, 50, 28, 255))


# --- logo.png ------------------------------------------------------------------------------------

LOGO_SIZE = (2000, 1000)
LOGO_WORD = "imgprocessor"
LOGO_FINER = 3  # masks are drawn this much larger and reduced, for smooth edges


def _arc(x: float, y: float, radius: float, start: int, end: int) -> list[Point]:
    """Return points along an arc, in degrees, clockwise from the right."""
    step = 5 if end > start else -5
    angles = [math.radians(angle) for angle in range(start, end + step, step)]
    return [(x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles]


# Letters as strokes, so that no font is needed: width and strokes, in heights of a small letter.
LOGO_LETTERS: Mapping[str, tuple[float, list[list[Point]]]] = {
    "i": (0.0, [[(0, -1), (0, 0)], [(0, -1.42), (0, -1.41)]]),
    "m": (
        1.24,
        [
            [(0, -1), (0, 0)],
            [*_arc(0.31, -0.69, 0.31, 180, 360), (0.62, 0)],
            [*_arc(0.93, -0.69, 0.31, 180, 360), (1.24, 0)],
        ],
    ),
    "g": (1.0, [_arc(0.5, -0.5, 0.5, 0, 360), [(1, -1), *_arc(0.5, 0.12, 0.5, 0, 150)]]),
    "p": (1.0, [_arc(0.5, -0.5, 0.5, 0, 360), [(0, -1), (0, 0.62)]]),
    "r": (0.5, [[(0, -1), (0, 0)], _arc(0.45, -0.55, 0.45, 180, 290)]),
    "o": (1.0, [_arc(0.5, -0.5, 0.5, 0, 360)]),
    "c": (0.86, [_arc(0.5, -0.5, 0.5, 45, 315)]),
    "e": (1.0, [[(0, -0.5), *_arc(0.5, -0.5, 0.5, 0, -315)]]),
    "s": (0.54, [[*_arc(0.27, -0.75, 0.25, -25, -270), *_arc(0.27, -0.25, 0.25, -90, 155)]]),
}

LOGO_SNOW = (
    "300,420 352,494 322,512 298,486 272,516 246,499",
    "500,490 545,545 520,562 498,536 478,552 456,545",
)


def _logo() -> Image.Image:
    """Paint the project's emblem and name on a transparent ground."""

    def plate(draw: ImageDraw.ImageDraw, u: float) -> None:
        draw.rounded_rectangle((110 * u, 220 * u, 670 * u, 780 * u), 120 * u, fill=255)

    badge = _logo_mask(plate)
    word = _logo_mask(_logo_word)
    colour = _ramp(
        _calc(lambda x, y: x * 0.5 + y * 0.5, _across(LOGO_SIZE, 0.0, 2.6), _down(LOGO_SIZE)),
        [(0.2, (64, 190, 205)), (0.45, (34, 120, 190)), (0.7, (48, 62, 140))],
    )
    ink = _ramp(_across(LOGO_SIZE), [(0.36, (40, 60, 96)), (1.0, (38, 128, 178))])
    picture = Image.composite(ink, colour, word)
    _logo_scene(picture)
    shape = ImageChops.lighter(badge, word)
    shadow = _scaled(ImageChops.offset(shape, 0, 22).filter(ImageFilter.GaussianBlur(20)), 0.45)
    layer = Image.new("RGBA", LOGO_SIZE, (16, 24, 44, 0))
    layer.putalpha(shadow)
    picture.putalpha(shape)
    return Image.alpha_composite(layer, picture)


def _logo_mask(shape: Callable[[ImageDraw.ImageDraw, float], object]) -> Image.Image:
    """Return a mask with smooth edges of what `shape` draws."""
    mask = Image.new("L", (LOGO_SIZE[0] * LOGO_FINER, LOGO_SIZE[1] * LOGO_FINER), 0)
    shape(ImageDraw.Draw(mask), LOGO_FINER)
    return mask.reduce(LOGO_FINER)


def _logo_word(draw: ImageDraw.ImageDraw, unit: float) -> None:
    """Draw the name stroke by stroke, with round ends."""
    high, thick = 76 * unit, 20 * unit
    x, base = 770 * unit, 545 * unit
    for letter in LOGO_WORD:
        width, strokes = LOGO_LETTERS[letter]
        for stroke in strokes:
            points = [(x + a * high, base + b * high) for a, b in stroke]
            draw.line(points, fill=255, width=round(thick))
            for a, b in points:  # round ends, and no gaps on the outside of the bends
                draw.ellipse((a - thick / 2, b - thick / 2, a + thick / 2, b + thick / 2), fill=255)
        x += (width + 0.5) * high


def _logo_scene(picture: Image.Image) -> None:
    """Draw into the badge: sun and mountains, framed three times in shrinking sizes."""

    def hills(draw: ImageDraw.ImageDraw, u: float) -> None:
        outline = "165,640 300,420 420,590 500,490 615,630"
        draw.polygon(_path(outline + " 615,685 575,725 205,725 165,685", u), fill=255)

    def snow(draw: ImageDraw.ImageDraw, u: float) -> None:
        for cap in LOGO_SNOW:
            draw.polygon(_path(cap, u), fill=255)

    def frames(draw: ImageDraw.ImageDraw, u: float) -> None:
        for left, top, thick in ((160, 270, 20), (330, 440, 16), (450, 560, 13)):
            box = (left * u, top * u, 620 * u, 730 * u)
            draw.rounded_rectangle(box, 40 * u, outline=255, width=round(thick * u))

    sun = _logo_mask(lambda draw, u: draw.ellipse((470 * u, 325 * u, 560 * u, 415 * u), fill=255))
    picture.paste((255, 212, 92), None, sun)
    picture.paste((24, 58, 110), None, _scaled(_logo_mask(hills), 0.8))
    picture.paste((244, 250, 255), None, _logo_mask(snow))
    picture.paste((255, 255, 255), None, _scaled(_logo_mask(frames), 0.85))


# --- night.jpg -----------------------------------------------------------------------------------

NIGHT_SIZE = (1800, 1200)


def _night() -> Image.Image:
    """Paint the Milky Way over a dark valley: gradients in which banding would show."""
    rng = Random(6)
    sky = _ramp(
        _down(NIGHT_SIZE),
        [
            (0.0, (5, 8, 20)),
            (0.4, (10, 18, 40)),
            (0.65, (22, 38, 62)),
            (0.78, (50, 66, 74)),
            (0.86, (96, 92, 74)),
        ],
    )
    band = _night_band(rng)
    glow = _ramp(
        _calc(lambda v: v / 1.3, band),
        [
            (0.0, (0, 0, 0)),
            (0.25, (18, 20, 38)),
            (0.5, (58, 54, 74)),
            (0.7, (122, 106, 108)),
            (1.0, (190, 166, 148)),
        ],
    )
    thin = _mask(_down(NIGHT_SIZE), 0.85, 0.35)  # the air near the horizon swallows faint light
    sky = ImageChops.screen(sky, ImageChops.multiply(glow, _grey(thin)))
    dust = _stars(rng, NIGHT_SIZE, 30000, 26)
    sky = ImageChops.add(
        sky, ImageChops.multiply(dust, _grey(ImageChops.multiply(thin, _mask(band, 0.05, 0.6))))
    )
    sky = ImageChops.add(sky, ImageChops.multiply(_stars(rng, NIGHT_SIZE, 3200, 12), _grey(thin)))
    _night_ground(rng, sky)
    return _grain(rng, sky, 3)


def _night_band(rng: Random) -> Image.Image:
    """Return how bright the Milky Way shines, a slanting band torn by dark dust."""
    x, y = _across(NIGHT_SIZE, -0.9, 0.6), _down(NIGHT_SIZE, -0.55, 0.45)
    bend = _fractal(rng, NIGHT_SIZE, (420, 420), 6, 0.55)
    off = _calc(lambda a, b, n: a * 0.82 + b * 0.95 + 0.1 + (n - 0.5) * 0.34, x, y, bend)
    clouds = _fractal(rng, NIGHT_SIZE, (190, 190), 8, 0.6)
    lanes = _fractal(rng, NIGHT_SIZE, (260, 260), 8, 0.58, ridged=True)
    return _calc(
        lambda d, c, v: ImageMath.imagemath_max(
            (c * 2.2 - 0.35) / (1 + (d * d * 18) ** 1.3)
            - ImageMath.imagemath_max(v * 2.6 - 0.8, 0.0) / (1 + d * d * 60),
            0.0,
        ),
        off,
        clouds,
        lanes,
    )


def _night_ground(rng: Random, sky: Image.Image) -> None:
    """Draw dark ridges, fir trees and a lit tent."""
    width, height = NIGHT_SIZE
    for base, rise, colour in (
        (1030, 190, (30, 40, 50)),
        (1090, 150, (17, 24, 32)),
        (1150, 110, (8, 12, 16)),
    ):
        line = [base - rise * v for v in _ridge(rng, width, 420, 9, 0.45)]
        sky.paste(colour, None, _below(NIGHT_SIZE, line).filter(ImageFilter.GaussianBlur(0.8)))
    _night_tent(sky)
    firs = Image.new("L", (width * 2, height * 2), 0)
    pen = ImageDraw.Draw(firs)
    for _ in range(64):
        x = rng.choice((rng.gauss(180, 170), rng.gauss(1640, 120), rng.uniform(0, width)))
        if 1130 < x < 1400:
            continue  # the tent stays in view
        size = rng.uniform(0.35, 1.0) * (250 if abs(x - 900) > 500 else 90)
        _night_fir(rng, pen, (x * 2, 2 * (height - rng.uniform(-20, 50))), size * 2)
    sky.paste((5, 8, 11), None, firs.reduce(2))


def _night_tent(sky: Image.Image) -> None:
    """Draw a tent that is lit from within, and its light on the air around."""
    tent = Image.new("RGB", NIGHT_SIZE)
    draw = ImageDraw.Draw(tent)
    draw.polygon(_path("1200,1128 1262,1040 1330,1128", 1), fill=(255, 168, 70))
    draw.polygon(_path("1262,1040 1330,1128 1362,1112", 1), fill=(150, 76, 30))
    draw.line(_path("1262,1040 1268,1128", 1), fill=(170, 90, 36), width=3)
    light = ImageChops.add(tent.filter(ImageFilter.GaussianBlur(1)), _bloom(tent, 40, 1.0))
    sky.paste(ImageChops.screen(sky, light))


def _night_fir(rng: Random, pen: ImageDraw.ImageDraw, foot: Point, size: float) -> None:
    """Draw one fir tree as ragged boughs on both sides of a trunk."""
    x, y = foot
    pen.polygon([(x - size * 0.02, y), (x, y - size), (x + size * 0.02, y)], fill=255)
    for step in range(26):
        down = (step + 1) / 26
        reach = size * 0.21 * down * rng.uniform(0.7, 1.1)
        bough = y - size * (1 - down * 0.94)
        for side in (-1, 1):
            pen.polygon(
                [
                    (x, bough - size * 0.05),
                    (x + side * reach, bough + size * 0.035),
                    (x, bough + size * 0.02),
                ],
                fill=255,
            )


# --- The list, and the making --------------------------------------------------------------------

# Lying on its right side: a viewer has to turn the stored picture a quarter to the right.
SIDEWAYS = Image.Exif()
SIDEWAYS[ExifTags.Base.Orientation] = 6

BASELINE: Mapping[str, Any] = {"format": "JPEG", "quality": 90, "progressive": False}
PROGRESSIVE: Mapping[str, Any] = {"format": "JPEG", "quality": 92, "progressive": True}

SAMPLES: tuple[Sample, ...] = (
    Sample("nasa.jpeg", EARTH_SIZE, "the Earth from orbit", {**BASELINE, "quality": 92}, _earth),
    Sample("mountains.jpg", (6000, 4000), "mountains at a lake", PROGRESSIVE, _mountains),
    Sample("meadow.jpg", MEADOW_SIZE, "a flowering meadow", BASELINE, _meadow),
    Sample("harbour.jpg", HARBOUR_SIZE, "a harbour at dusk", PROGRESSIVE, _harbour),
    Sample(
        "portrait.jpg",
        PORTRAIT_SIZE[::-1],
        "a balloon, stored on its side (EXIF orientation 6)",
        {**BASELINE, "exif": SIDEWAYS.tobytes()},
        _portrait,
    ),
    Sample("logo.png", LOGO_SIZE, "an emblem on nothing", {"format": "PNG"}, _logo),
    Sample("night.jpg", NIGHT_SIZE, "the Milky Way", {**BASELINE, "quality": 93}, _night),
)


def _write(sample: Sample, target: Path) -> None:
    """Save a sample so that nobody ever sees half a file under its name."""
    # Not made with tempfile: its files are closed to others, and the web server is another user.
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        sample.paint().save(partial, **sample.saved)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _missing_made(folder: Path) -> Iterator[Path]:
    """Make the samples that are missing from a folder, and name each as soon as it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    for sample in SAMPLES:
        target = folder / sample.name
        if not target.exists():
            _write(sample, target)
            yield target


def main() -> None:
    """Make the samples in the folder named on the command line, one line for each."""
    parser = argparse.ArgumentParser(description="Write sample originals into a folder.")
    parser.add_argument("folder", type=Path, help="where the files go; made if it is missing")
    for path in _missing_made(parser.parse_args().folder):
        print(f"{path}  {path.stat().st_size:,} bytes", flush=True)


if __name__ == "__main__":
    main()
