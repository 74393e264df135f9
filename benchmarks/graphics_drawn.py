"""Pictures that are drawn for `graphics_set.py`, and the pages that Chromium draws: no photographs.

All of it comes out the same each time: numbers come from one seed.
"""

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

SEED = 20
INK_BELOW = 140
"""Grey that a scanner of two colours takes for ink."""
FONTS = "/usr/share/fonts/truetype/dejavu"
TEXT = (
    "the server reads a picture once and sends what the screen can show so that a page is light"
    " and nobody waits for pixels that are never seen while caches keep every answer they may"
)
WORDS = TEXT.split()
COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#17becf")

Drawn = tuple[str, str, Image.Image]
"""Kind, name and picture."""


def drawn() -> Iterator[Drawn]:
    """Return every picture that is drawn here."""
    for size in (12, 16, 28):
        yield "text", f"text-{size}", _text(size, "#222222", "#ffffff")
    yield "text", "text-dark", _text(15, "#d0d0d0", "#1e1e2e")
    for count in (3, 6, 40):
        yield "flat", f"flat-{count}", _flat(count)
    for name, draw in (("bars", _bars), ("lines", _lines), ("scatter", _scatter), ("pie", _pie)):
        yield "chart", name, draw()
    for modules, pixels in ((25, 12), (57, 8), (33, 5)):
        yield "qr", f"qr-{modules}-{pixels}", _qr(modules, pixels)
    yield from _scans()
    for cells, pixels in ((32, 16), (64, 8), (240, 3), (256, 1)):
        yield "pixel-art", f"pixel-art-{cells}-{pixels}", _pixel_art(cells, pixels)
    for name, soft in (("sharp", 0), ("shadow", 9), ("glow", 28)):
        yield "logo", f"logo-{name}", _logo(soft)
    for name in ("linear", "radial", "sky", "alpha"):
        yield "gradient", f"gradient-{name}", _gradient(name)
    smooth = _gradient("sky").convert("RGB")
    yield "dithered", "dithered-16", smooth.quantize(16, dither=Image.Dither.FLOYDSTEINBERG)
    palette = _logo(9).convert("RGB").quantize(256)
    yield "dithered", "palette-256", palette


def meme(photograph: Image.Image, text: str) -> Image.Image:
    """Return a photograph with large letters on it."""
    image = photograph.copy()
    draw = ImageDraw.Draw(image)
    for line, y in ((text.upper().replace("-", " "), 20), ("WHEN THE CACHE IS WARM", -90)):
        place = (image.width // 2, y % image.height)
        font = _font(image.width // 16, "DejaVuSans-Bold")
        draw.text(place, line, "white", font, "ma", stroke_width=4, stroke_fill="black")
    return image


def page_with(source: str, title: str) -> str:
    """Return an article with a photograph in it."""
    photograph = f'<img src="{source}" style="width:560px;float:right;margin:0 0 12px 20px">'
    return _page(f"<h1>{title}</h1>{photograph}{_paragraphs(5)}", "font:15px/1.5 sans-serif")


def _numbers() -> np.random.Generator:
    return np.random.default_rng(SEED)


def _font(size: int, name: str = "DejaVuSans") -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(f"{FONTS}/{name}.ttf", size)


def _sentences(numbers: np.random.Generator, count: int) -> str:
    return " ".join(WORDS[index] for index in numbers.integers(len(WORDS), size=count))


def _text(size: int, ink: str, paper: str) -> Image.Image:
    numbers = _numbers()
    image = Image.new("RGB", (900, 620), paper)
    draw = ImageDraw.Draw(image)
    for y in range(20, image.height - 2 * size, round(1.5 * size)):
        draw.text((24, y), _sentences(numbers, 1000 // size // 6), ink, _font(size))
    return image


def _flat(count: int) -> Image.Image:
    numbers = _numbers()
    image = Image.new("RGB", (1600, 1200), "#f4efe6")
    draw = ImageDraw.Draw(image)
    for index in range(count):
        x, y = (int(one) for one in numbers.integers(0, 1200, size=2))
        side = int(numbers.integers(120, 600))
        shape = (draw.ellipse, draw.rectangle)[index % 2]
        shape((x, y, x + side, y + side), fill=COLOURS[index % len(COLOURS)])
    return image.resize((800, 600), Image.Resampling.LANCZOS)


def _axes(title: str) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (800, 500), "white")
    draw = ImageDraw.Draw(image)
    for step in range(6):
        y = 440 - 75 * step
        draw.line((70, y, 770, y), "#dddddd")
        draw.text((60, y), str(step * 20), "#444444", _font(14), "rm")
    draw.line((70, 40, 70, 440, 770, 440), "black", 2)
    draw.text((420, 12), title, "black", _font(18), "ma")
    return image, draw


def _bars() -> Image.Image:
    image, draw = _axes("Requests by format")
    for index, height in enumerate(_numbers().integers(40, 370, size=12)):
        x = 90 + 56 * index
        draw.rectangle((x, 440 - int(height), x + 38, 438), COLOURS[index % 3])
        draw.text((x + 19, 446), f"w{index}", "#444444", _font(12), "ma")
    return image


def _lines() -> Image.Image:
    image, draw = _axes("Milliseconds")
    numbers = _numbers()
    for index, colour in enumerate(COLOURS[:4]):
        values = 250 - 30 * index + np.cumsum(numbers.normal(0, 6, 140))
        draw.line([(75 + 5 * x, float(y)) for x, y in enumerate(values)], colour, 2)
        draw.text((680, 50 + 20 * index), f"series {index}", colour, _font(14))
    return image


def _scatter() -> Image.Image:
    image, draw = _axes("Bytes and score")
    for x, y in _numbers().normal((420, 240), (120, 70), (1500, 2)):
        draw.ellipse((x - 2, y - 2, x + 2, y + 2), COLOURS[0], "white")
    return image


def _pie() -> Image.Image:
    image = Image.new("RGB", (1600, 1200), "white")
    draw = ImageDraw.Draw(image)
    begin = 0.0
    for index, share in enumerate(_numbers().dirichlet([2] * 7) * 360):
        draw.pieslice((300, 100, 1300, 1100), begin, begin + share, COLOURS[index], "white", 6)
        begin += share
    return image.resize((800, 600), Image.Resampling.LANCZOS)


def _qr(modules: int, pixels: int) -> Image.Image:
    """Return what looks like a QR code of so many modules; it says nothing."""
    dark = _numbers().random((modules, modules)) < 0.5  # noqa: PLR2004 - half of them
    ring = np.ones((7, 7), dtype=bool)
    ring[1:6, 1:6] = False
    ring[2:5, 2:5] = True
    corner = np.zeros((8, 8), dtype=bool)
    corner[:7, :7] = ring
    dark[:8, :8], dark[:8, -8:], dark[-8:, :8] = corner, corner[:, ::-1], corner[::-1]
    page = np.pad(dark, 4)
    return _enlarged(np.where(page, 0, 255).astype(np.uint8), pixels).convert("1")


def _enlarged(values: NDArray[np.uint8], pixels: int) -> Image.Image:
    image = Image.fromarray(values)
    return image.resize((image.width * pixels, image.height * pixels), Image.Resampling.NEAREST)


def _scans() -> Iterator[Drawn]:
    page = _text(22, "#000000", "#ffffff").convert("L")
    turned = page.rotate(0.7, Image.Resampling.BICUBIC, fillcolor=255)
    grain = _numbers().normal(0, 26, (turned.height, turned.width))
    grey = Image.fromarray(np.clip(np.asarray(turned, float) + grain, 0, 255).astype(np.uint8))
    yield "scan", "scan-1-bit", turned.point(lambda value: 255 * (value >= INK_BELOW)).convert("1")
    yield (
        "scan",
        "scan-1-bit-grain",
        grey.point(lambda value: 255 * (value >= INK_BELOW)).convert("1"),
    )
    yield "scan", "scan-grey", grey.filter(ImageFilter.GaussianBlur(0.7))
    yield "scan", "halftone", _gradient("sky").convert("L").convert("1")


def _pixel_art(cells: int, pixels: int) -> Image.Image:
    """Return a landscape of few colours, each cell a square of so many pixels."""
    numbers = _numbers()
    height = cells * 3 // 4
    palette = numbers.integers(30, 255, (12, 3))
    rows, columns = np.mgrid[:height, :cells]
    hills = height * (0.5 + 0.2 * np.sin(columns / cells * 9) + 0.1 * np.sin(columns / cells * 31))
    ground = (rows > hills).astype(int) * 4
    index = ground + rows * 3 // height + (numbers.random((height, cells)) < 0.04)  # noqa: PLR2004
    for _ in range(6):
        x, y = int(numbers.integers(cells - 8)), int(numbers.integers(height - 8))
        half = numbers.integers(8, 12, (8, 4))
        index[y : y + 8, x : x + 8] = np.hstack([half, half[:, ::-1]])
    return _enlarged(palette[index].astype(np.uint8), pixels)


def _logo(soft: int) -> Image.Image:
    """Return letters in a ring on nothing, with a shadow that is so soft."""
    image = Image.new("RGBA", (1800, 1200))
    draw = ImageDraw.Draw(image)
    draw.ellipse((120, 120, 1080, 1080), outline=COLOURS[3], width=90)
    draw.polygon(((420, 330), (900, 600), (420, 870)), COLOURS[0])
    draw.text((1130, 420), "play", COLOURS[0], _font(260, "DejaVuSans-Bold"))
    image = image.resize((600, 400), Image.Resampling.LANCZOS)
    if not soft:
        return image
    shadow = Image.new("RGBA", image.size, "black")
    alpha = image.getchannel("A").filter(ImageFilter.GaussianBlur(soft))
    shadow.putalpha(alpha.point(lambda value: value * 7 // 10))
    shadow.alpha_composite(image)
    return shadow


def _gradient(name: str) -> Image.Image:
    rows, columns = np.mgrid[:600, :900]
    y, x = rows / 600, columns / 900
    far = np.hypot(x - 0.5, y - 0.5) / 0.71
    channels = {
        "linear": (x, 0.3 + 0.5 * x, 1 - x),
        "radial": (1 - far, 0.8 - 0.5 * far, 0.4 + 0.3 * far),
        "sky": (0.2 + 0.7 * y**2, 0.4 + 0.4 * y, 0.9 - 0.3 * y * x),
        "alpha": (x, y, 1 - x, 1 - far),
    }[name]
    values = np.clip(np.stack(channels, axis=-1) * 255, 0, 255).round().astype(np.uint8)
    return Image.fromarray(values)


def _page(body: str, style: str) -> str:
    head = f"<!doctype html><meta charset=utf-8><style>body{{margin:24px;{style}}}"
    table = "table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:5px 12px}"
    button = "button,input{font:inherit;padding:6px 14px;margin:6px}pre{font:13px monospace}"
    card = ".card{border-radius:10px;box-shadow:0 2px 8px #0004;padding:16px;margin:14px}"
    return f"{head}{table}{button}{card}</style>{body}"


def _paragraphs(count: int) -> str:
    numbers = _numbers()
    return "".join(f"<p>{_sentences(numbers, 70).capitalize()}.</p>" for _ in range(count))


def _rows(count: int) -> str:
    numbers = _numbers().integers(10, 99_999, (count, 6))
    rows = ("".join(f"<td>{value:,}" for value in row) for row in numbers.tolist())
    return "<table><tr>" + "<tr>".join(f"<th>item {n}{row}" for n, row in enumerate(rows))


def _code() -> str:
    numbers = _numbers()
    lines = []
    for number in range(34):
        words = _sentences(numbers, int(numbers.integers(2, 9))).split()
        first = f'<span style="color:#c678dd">{words[0]}</span>'
        rest = f'<span style="color:#98c379">"{" ".join(words[1:])}"</span>'
        lines.append(f"{number:3}  {'    ' * (number % 3)}{first} = {rest}")
    return "<pre>" + "\n".join(lines)


def _cards() -> str:
    gradient = "background:linear-gradient(120deg,{},{});color:white"
    pairs = itertools.pairwise(COLOURS)
    cards = (
        f'<div class=card style="{gradient.format(*pair)}"><b>{42 + 7 * n} %</b> {WORDS[n]}</div>'
        for n, pair in enumerate(pairs)
    )
    return "<h2>Today</h2>" + "".join(cards)


_LIGHT = "font:15px/1.5 sans-serif;color:#222;background:white"
_DARK = "font:15px/1.5 sans-serif;color:#abb2bf;background:#282c34"
_FORM = "".join(f"<p>{word}: <input value={word}><button>{word}</button>" for word in WORDS[:9])

PAGES = {
    "article": (_page(f"<h1>Light pages</h1>{_paragraphs(6)}", _LIGHT), 1000, 700),
    "article-narrow": (_page(f"<h1>Light pages</h1>{_paragraphs(4)}", _LIGHT), 500, 900),
    "table": (_page(f"<h2>Figures</h2>{_rows(18)}", _LIGHT), 900, 720),
    "code": (_page(_code(), _DARK), 900, 680),
    "form": (_page(f"<h2>Settings</h2>{_FORM}", _LIGHT), 700, 640),
    "cards": (_page(_cards(), _LIGHT), 800, 640),
}
"""By name: HTML, and the window's width and height in pixels."""
