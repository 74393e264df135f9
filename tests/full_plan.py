"""A plan that changes as little as may be."""

from imgprocessor.config.settings import PixelsSettings
from imgprocessor.policy.plan import Plan
from imgprocessor.policy.table import Cell

FULL = Plan(
    box=None,
    fit=None,
    density=None,
    bandwidth="4g",
    screen="desktop",
    formats=("jpeg",),
    quality_limit=None,
    bytes_limit=None,
    cell=Cell(95, width_percent=100),
    pixels=PixelsSettings(),
    encoders="",
)
