"""How good what was sent looks: SSIMULACRA2 against the originals, over all processors.

At the size sent is against the original, resized to the answer's size. As seen is on a phone's
pixels, over which browsers stretch the answer.
"""

import io
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageChops, ImageStat
from results import Outcome
from seen import as_seen
from systems import CORES

from imgprocessor.policy.seen import TYPICAL_DEVICES

PHONE_PIXELS = TYPICAL_DEVICES[0].pixels
_EDGE_PIXELS = 16


_Reduce = Callable[[Image.Image, tuple[int, int]], Image.Image]


@dataclass(frozen=True)
class Sample:
    """What was sent for a photograph."""

    name: str
    """Whose answer it is."""
    measure: str
    photograph: Path
    body: bytes


def formats_of(samples: Sequence[Sample], measure: str, whom: str) -> list[str]:
    """Return which formats were sent to whom, in words, one sentence for each name."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for sample in samples:
        if sample.measure == measure:
            counts[sample.name][str(Image.open(io.BytesIO(sample.body)).format)] += 1
    return [
        f"Sent to {whom} by {name}: "
        + ", ".join(f"{count} {word}" for word, count in found.most_common())
        for name, found in counts.items()
    ]


def add_scores(
    samples: Sequence[Sample],
    outcomes: dict[str, Outcome],
    keys: Collection[str],
    step: Callable[[int, int], object],
) -> None:
    """Add mean scores to outcomes: `_score` at the size sent, `_seen` as seen on a phone; of these,
    what is among the keys. Each step tells how many photographs are done, of how many.
    """
    by_photograph: dict[Path, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_photograph[sample.photograph].append(sample)
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    with ProcessPoolExecutor(CORES) as pool:
        jobs = [pool.submit(_scores, same, keys) for same in by_photograph.values()]
        for done, job in enumerate(as_completed(jobs), 1):
            for name, key, score in job.result():
                found[name, key].append(score)
            step(done, len(jobs))
    for (name, key), scores in found.items():
        outcomes[name][key] = statistics.fmean(scores)


def _scores(samples: Sequence[Sample], keys: Collection[str]) -> list[tuple[str, str, float]]:
    """Return name, key and score of answers for one photograph; score what was sent twice once."""
    original = Image.open(samples[0].photograph).convert("RGB")
    original.info = {}
    known: dict[tuple[bytes, tuple[int, int]], float] = {}
    ways: dict[bytes, _Reduce] = {}
    found = []
    for sample in samples:
        sent = Image.open(io.BytesIO(sample.body)).convert("RGB")
        reduce = ways.get(sample.body) or ways.setdefault(sample.body, _likelier(original, sent))
        # As high as a browser makes it.
        phone = PHONE_PIXELS, round(sent.height * PHONE_PIXELS / sent.width)
        for kind, size in (("score", sent.size), ("seen", phone)):
            key, asked = f"{sample.measure}_{kind}", (sample.body, size)
            if key not in keys:
                continue
            if asked not in known:
                known[asked] = as_seen(reduce(original, size), sample.body)
            found.append((sample.name, key, known[asked]))
    return found


def _likelier(original: Image.Image, sent: Image.Image) -> _Reduce:
    """Return how an answer was reduced.

    Where its height is no whole number of pixels, some squeeze the original a little, others keep
    its shape and cut. That is half a pixel, which nobody sees, and which costs many points.
    """

    def difference(reduce: _Reduce) -> float:
        pixels = ImageChops.difference(reduce(original, sent.size), sent)
        return sum(ImageStat.Stat(pixels).sum2)

    return min((squeezed, cut), key=difference)


def squeezed(original: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return an original at a size, as Pillow and libjpeg have it: all of it, and no more."""
    return original.resize(size, Image.Resampling.LANCZOS)


def cut(original: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return an original at a size, as libvips has it: at the scale of its width, from its middle.

    What is missing at the edges is as what is next to it.
    """
    width, height = original.size
    extended = Image.new("RGB", (width, height + 2 * _EDGE_PIXELS))
    extended.paste(original, (0, _EDGE_PIXELS))
    for edge, place in ((0, 0), (height - 1, height + _EDGE_PIXELS)):
        row = original.crop((0, edge, width, edge + 1))
        extended.paste(row.resize((width, _EDGE_PIXELS)), (0, place))
    half, middle = size[1] * width / size[0] / 2, extended.height / 2
    box = (0.0, middle - half, float(width), middle + half)
    return extended.resize(size, Image.Resampling.LANCZOS, box)
