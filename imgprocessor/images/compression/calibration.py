"""What was measured over photographs: the encoders' settings for each quality, and the score.

`calibration.json` is made by `benchmarks/quality_scale.py`; nobody edits it by hand.
"""

import hashlib
import json
import math
from bisect import bisect_right
from dataclasses import dataclass
from importlib import resources

from imgprocessor.geometry import Size


@dataclass(frozen=True)
class Term:
    """What one feature takes from the score: nothing up to its lowest, then two straight lines."""

    lowest: float
    middle: float
    first_slope: float
    second_slope: float
    """Points of score for each step of the feature, never below 0: the worse, the lower."""


@dataclass(frozen=True)
class ScoreModel:
    """What makes a score of features."""

    best: float
    by_size: float
    """Points for each doubling of the pixels, against those of the first size."""
    terms: tuple[Term, ...]


@dataclass(frozen=True)
class Calibration:
    """The one quality scale, and the score."""

    pixels: tuple[float, ...]
    """The sizes that were calibrated at, the smallest first."""
    settings: dict[str, tuple[tuple[int, ...], ...]]
    """For each scale and size the encoder's setting at quality 1, 2, … 100, never falling. A scale
    is a format's, or that of an encoder which has its own.
    """
    log_bytes: dict[str, tuple[float, ...]]
    """For each scale the natural logarithm of what pictures weigh on average at quality 1, 2, …
    100, against quality 100.
    """
    scores: tuple[float, ...]
    """What pictures score on average at quality 1, 2, … 100."""
    score: ScoreModel
    digest: str
    """Of all of it; another calibration makes other bytes."""

    def setting(self, scale: str, quality: int, size: Size) -> int:
        """Return the setting at which a lossy format looks like libjpeg-turbo at this quality.

        It depends on the size, too: what is fine detail in a large picture is all there is to a
        small one. Between the sizes that were measured it goes in a straight line.
        """
        known = [settings[quality - 1] for settings in self.settings[scale]]
        pixels = min(max(size.width * size.height, self.pixels[0]), self.pixels[-1])
        above = min(bisect_right(self.pixels, pixels), len(known) - 1)
        low, high = self.pixels[above - 1], self.pixels[above]
        share = math.log(pixels / low) / math.log(high / low)
        return round(known[above - 1] + share * (known[above] - known[above - 1]))


def _load() -> Calibration:
    folder = resources.files("imgprocessor.images.compression")
    text = folder.joinpath("calibration.json").read_text()
    data = json.loads(text)
    return Calibration(
        pixels=tuple(data["pixels"]),
        settings={
            name: tuple(tuple(settings) for settings in known)
            for name, known in data["settings"].items()
        },
        log_bytes={name: tuple(known) for name, known in data["log_bytes"].items()},
        scores=tuple(data["scores"]),
        score=ScoreModel(
            data["best"], data["by_size"], tuple(Term(*term) for term in data["terms"])
        ),
        digest=hashlib.sha256(text.encode()).hexdigest()[:8],
    )


CALIBRATION = _load()
