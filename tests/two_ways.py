"""What the shortest way to a rendition loses against the one by way of a master, as it is seen."""

import io
import statistics
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from PIL import Image
from ssimulacra2.ssimulacra2 import compute_ssimulacra2

from imgprocessor.config.settings import OriginalsSettings, PixelsSettings
from imgprocessor.geometry import Box, Fit, Layout, Size, lay_out
from imgprocessor.images.compression.calibration import CALIBRATION
from imgprocessor.images.decode import at_level, open_original
from imgprocessor.images.formats.encoders import ENCODERS
from imgprocessor.images.pyramid import Level, choose_level, direct_level

QUALITY = 75
MAX_MEAN_LOSS, MAX_LOSS = 0.3, 1.5
"""In points of SSIMULACRA2, whose mean is taken with gains counted as such."""


def check(photographs: Sequence[Path], width: int) -> None:
    """Check what photographs lose so many pixels wide."""
    with ProcessPoolExecutor() as pool:
        known = list(pool.map(partial(_loss, width=width), photographs))
    losses = [loss for loss in known if loss is not None]

    assert len(losses) > 1
    assert statistics.mean(losses) <= MAX_MEAN_LOSS
    assert max(losses) <= MAX_LOSS, photographs[known.index(max(losses))].name


def _loss(path: Path, width: int) -> float | None:
    with Image.open(path) as header:
        stored, max_draft = Size(*header.size), 8 if header.format == "JPEG" else 1
    if stored.width < width:
        return None
    layout = lay_out(stored, Box(width, None), Fit.INSIDE, max_side=16_383)
    margin = PixelsSettings().master_margin
    whole = _scaled(_decoded(path, Level(1), stored), Level(1), stored, layout)
    by_master, direct = (
        _score(whole, _scaled(_decoded(path, level, stored), level, stored, layout))
        for level in (
            choose_level(stored, layout, margin),
            direct_level(stored, layout, margin, max_draft),
        )
    )
    return by_master - direct


def _decoded(path: Path, level: Level, stored: Size) -> Image.Image:
    with path.open("rb") as file:
        image = open_original(file, OriginalsSettings()).decode(level.draft)
    return at_level(image.convert("RGB"), stored, level)


def _scaled(image: Image.Image, level: Level, stored: Size, layout: Layout) -> Image.Image:
    across, down = level.scale(stored)
    box = (0, 0, stored.width * across, stored.height * down)
    size = (layout.size.width, layout.size.height)
    return image.resize(size, Image.Resampling.LANCZOS, box)


def _score(whole: Image.Image, image: Image.Image) -> float:
    setting = CALIBRATION.setting("jpeg", QUALITY, Size(*image.size))
    reference = io.BytesIO()
    whole.save(reference, "PNG", compress_level=1)
    body = ENCODERS["jpeg"].write(image, setting, b"")
    return float(compute_ssimulacra2(reference, io.BytesIO(body)))
