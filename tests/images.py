"""Pictures made in code, each small, odd and named for its oddity, and ways to compare them."""

import io
import random
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops, ImageDraw, ImageStat

from imgprocessor.config.settings import OriginalsSettings
from imgprocessor.images.decode import Picture, at_level, open_original
from imgprocessor.images.pipeline import Rendition, render
from imgprocessor.policy.plan import Plan
from imgprocessor.timing import Timings

RED, GREEN, BLUE, WHITE = (208, 32, 32), (32, 160, 48), (32, 48, 208), (240, 240, 240)

STORED = {
    1: lambda image: image,
    2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    3: lambda image: image.transpose(Image.Transpose.ROTATE_180),
    4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
    6: lambda image: image.transpose(Image.Transpose.ROTATE_90),
    7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
    8: lambda image: image.transpose(Image.Transpose.ROTATE_270),
}
"""How a picture is stored that each orientation displays upright: CIPA DC-008, table 6."""


def four_colours(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    """Red and green above blue and white: every turn, flip and stretch of it can be told."""
    image = Image.new("RGB", size, WHITE)
    width, height = size
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, width // 2 - 1, height // 2 - 1), RED)
    draw.rectangle((width // 2, 0, width - 1, height // 2 - 1), GREEN)
    draw.rectangle((0, height // 2, width // 2 - 1, height - 1), BLUE)
    return image.convert(mode)


def texture(size: tuple[int, int], seed: int = 1) -> Image.Image:
    """Detail at several scales, like a photograph's; the same for the same seed."""
    image = Image.new("RGB", size)
    for cells in (4, 16, 64):
        octave = (cells, max(1, cells * size[1] // size[0]))
        octets = random.Random(seed * 100 + cells).randbytes(octave[0] * octave[1] * 3)
        noise = Image.frombytes("RGB", octave, octets).resize(size, Image.Resampling.BICUBIC)
        image = Image.blend(image, noise, 0.5)
    return image


def noise(size: tuple[int, int]) -> Image.Image:
    """What compresses worst."""
    width, height = size
    return Image.frombytes("RGB", size, random.Random(7).randbytes(width * height * 3))


def encoded(image: Image.Image, image_format: str, **options: Any) -> bytes:
    """Return the file that Pillow makes of an image."""
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def rendered(
    file: bytes, plan: Plan, timings: Timings, limits: OriginalsSettings | None = None
) -> Rendition:
    """Render a file's bytes as a plan says, with nothing kept."""
    opened = open_original(io.BytesIO(file), limits or OriginalsSettings())
    level = opened.metadata.choose_level(plan)
    image = at_level(opened.decode(level.draft), opened.metadata.stored, level)
    picture = Picture(opened.metadata, level, image)
    return render(picture, plan, timings)


def save(path: Path, image: Image.Image, image_format: str, **options: Any) -> Path:
    """Write an image, whatever its name says it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(image, image_format, **options))
    return path


def decoded(body: bytes) -> Image.Image:
    """Return a body's pixels, read in full."""
    image = Image.open(io.BytesIO(body))
    image.load()
    return image


def corner_colours(image: Image.Image) -> list[str]:
    """Name the colours of the four quarters' centres: top left, top right, bottom left, right."""
    rgb = image.convert("RGB")
    width, height = rgb.size
    admission = [(x * width // 4, y * height // 4) for y in (1, 3) for x in (1, 3)]
    return [_name(rgb.getpixel(place)) for place in admission]


def mean_difference(one: Image.Image, other: Image.Image) -> float:
    """Return the mean absolute difference of two images' channels, 0 to 255."""
    difference = ImageChops.difference(one.convert("RGB"), other.convert("RGB"))
    return sum(ImageStat.Stat(difference).mean) / 3


def difference_hash(image: Image.Image) -> int:
    """Return 64 bits that say where a picture gets brighter from left to right (dHash)."""
    grey = image.convert("L").resize((9, 8), Image.Resampling.BOX)
    values = list(grey.tobytes())
    bits = 0
    for row in range(8):
        for column in range(8):
            left, right = values[row * 9 + column], values[row * 9 + column + 1]
            bits = bits << 1 | (left < right)
    return bits


def _name(colour: Any) -> str:
    known = {"red": RED, "green": GREEN, "blue": BLUE, "white": WHITE}
    distance = {
        name: sum(abs(a - b) for a, b in zip(colour, value, strict=True))
        for name, value in known.items()
    }
    return min(distance, key=lambda name: distance[name])
