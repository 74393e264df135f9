"""Originals' files to pixels: looked at first, then decoded at a level.

The only module that opens originals. What Pillow makes of a hostile file is turned into this
project's errors here, whatever exception it comes as.
"""

import contextlib
import hashlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import ExifTags, Image, ImageFile

# Importing a plugin registers it, and Image.open() goes looking for no others.
from PIL import GifImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin  # noqa: F401 isort:skip

from imgprocessor.encoders import VERSIONS
from imgprocessor.errors import BrokenOriginal, ImageError, OversizedOriginal, UnsupportedOriginal
from imgprocessor.geometry import Layout, Size
from imgprocessor.levels import Level, choose_level, levels_to_keep
from imgprocessor.plan import Plan
from imgprocessor.settings import OriginalsSettings

# The allow-list: what Pillow calls each format, and how its files begin. JPEG also stands for
# MPO, which is a JPEG with more pictures behind the first. Nothing else is ever handed to Pillow.
_SIGNATURES: tuple[tuple[str, Callable[[bytes], bool]], ...] = (
    ("JPEG", lambda head: head.startswith(b"\xff\xd8\xff")),
    ("PNG", lambda head: head.startswith(b"\x89PNG\r\n\x1a\n")),
    ("WEBP", lambda head: head[:4] + head[8:12] == b"RIFFWEBP"),
    ("GIF", lambda head: head[:6] in {b"GIF87a", b"GIF89a"}),
)
_LONGEST_SIGNATURE = 12

_DRAFTING = {"JPEG", "MPO"}
"""Formats whose decoder reduces by itself, at a half, a quarter and an eighth (libjpeg)."""
_MAX_DRAFT = 8

_UPRIGHT = 1
_FIRST_LYING = 5
_LAST_ORIENTATION = 8
# EXIF orientations (CIPA DC-008, table 6): from 5 on, stored width is displayed height.

_KEPT_TAGS = (ExifTags.Base.Copyright, ExifTags.Base.Artist)

_MAX_KEPT_CHARACTERS = 1000
"""Of copyright and artist each: no notice is longer, and formats have room for 64 kB at most."""

_MAX_ICC_BYTES = 1 << 20
"""Real profiles are under 1 MB; a larger one is only there to cost time."""


def code_digest(*modules: str) -> str:
    """Return a digest of the source of some of our modules."""
    source = b"".join(Path(__file__).with_name(f"{name}.py").read_bytes() for name in modules)
    return hashlib.sha256(source).hexdigest()[:8]


DECODED_BY = f"{VERSIONS}, code {code_digest('geometry', 'levels', 'decode', 'masters')}"
"""What a master depends on: libraries and our own code, that which writes it too."""

# A picture between one and two times Pillow's own limit would be a warning only.
warnings.simplefilter("error", Image.DecompressionBombWarning)
ImageFile.LOAD_TRUNCATED_IMAGES = False


@dataclass(frozen=True)
class Facts:
    """What must be known of an original beside its pixels."""

    stored: Size
    """As it is stored, before orientation."""
    orientation: int
    """EXIF's, 1 to 8."""
    profile: bytes
    """ICC; empty where there is none."""
    copyright: tuple[tuple[int, str], ...]
    """EXIF tags and texts: artist and copyright."""

    @property
    def is_lying(self) -> bool:
        """Whether stored width is displayed height."""
        return self.orientation >= _FIRST_LYING

    @property
    def displayed(self) -> Size:
        """The size after orientation."""
        return self.stored.turned() if self.is_lying else self.stored

    def lay_out(self, plan: Plan) -> Layout:
        """Return what becomes of the original, in its pixels as they are stored."""
        layout = plan.lay_out(self.displayed)
        return layout.turned() if self.is_lying else layout

    def choose_level(self, plan: Plan) -> Level:
        """Return the level that a rendition is made from."""
        layout, margin = plan.lay_out(self.displayed), plan.pixels.master_margin
        level = choose_level(self.displayed, layout, margin)
        return level.turned() if self.is_lying else level

    def levels_to_keep(self, level: Level) -> list[Level]:
        """Return the levels that are kept once the original was decoded for one of them."""
        if not self.is_lying:
            return levels_to_keep(self.displayed, level)
        return [kept.turned() for kept in levels_to_keep(self.displayed, level.turned())]


@dataclass(frozen=True)
class Picture:
    """An original at a level: channels of 8 bits, as it is stored, before orientation."""

    facts: Facts
    level: Level
    image: Image.Image


class Opened:
    """An original whose header was read and found good; the rest may be read now, once."""

    def __init__(self, image: Image.Image, facts: Facts) -> None:
        self._image = image
        self.facts = facts

    def memory_bytes(self, draft: int) -> int:
        """Return what decoding takes at least: pixels, and for progressive JPEG all coefficients,
        two bytes each at the full scale, because scans come one after another.
        """
        stored = self.facts.stored
        full = stored.width * stored.height
        layers = getattr(self._image, "layer", ())
        coefficients = 0.0
        if self._image.info.get("progressive") and layers:
            across, down = (max(layer[side] for layer in layers) for side in (1, 2))
            samples = sum(layer[1] * layer[2] for layer in layers) / (across * down)
            coefficients = 2 * samples * full
        return int(coefficients) + 4 * full // self._by_decoder(draft) ** 2

    def decode(self, draft: int) -> Image.Image:
        """Decode at one `draft`-th of the scale; 8 bits a channel.

        Raises:
            BrokenOriginal: it cannot be decoded.
            OversizedOriginal: there is not enough memory to.
        """
        stored = self.facts.stored
        by_decoder = self._by_decoder(draft)
        with _fault_of_the_original():
            if by_decoder > 1:
                size = (stored.width // by_decoder, stored.height // by_decoder)
                self._image.draft(None, size)
            self._image.load()
            image = _to_eight_bits(self._image)
        return reduced(image, draft // by_decoder)

    def _by_decoder(self, draft: int) -> int:
        """Return how much of a reduction the decoder does by itself."""
        return min(draft, _MAX_DRAFT) if self._image.format in _DRAFTING else 1


def open_original(file: BinaryIO, limits: OriginalsSettings) -> Opened:
    """Read the header alone; decide from it whether the rest may be read at all.

    Raises:
        UnsupportedOriginal: the file is in no format on the allow-list.
        OversizedOriginal: it has too many pixels, or too long a side.
        BrokenOriginal: its header makes no sense.
    """
    head = file.read(_LONGEST_SIGNATURE)
    file.seek(0)
    kind = next((kind for kind, matches in _SIGNATURES if matches(head)), None)
    if kind is None:
        raise UnsupportedOriginal(f"begins with {head!r}")
    with _fault_of_the_original():
        image = Image.open(file, formats=(kind,))
    stored = Size(*image.size)
    _check_size(stored, limits)
    exif = _read_exif(image)
    profile = image.info.get("icc_profile") or b""
    facts = Facts(
        stored=stored,
        orientation=_orientation(exif),
        profile=profile if len(profile) <= _MAX_ICC_BYTES else b"",
        copyright=_copyright(exif),
    )
    return Opened(image, facts)


def at_level(image: Image.Image, stored: Size, level: Level) -> Image.Image:
    """Return what was decoded at a level's draft, brought to the level."""
    base = level.base
    if base is None:
        return reduced(image, level.reduce)
    # What was decoded may end in a column or row that is for less than a whole pixel.
    box = (0, 0, stored.width / level.draft, stored.height / level.draft)
    with _fault_of_the_original():
        return image.resize((base.width, base.height), Image.Resampling.LANCZOS, box)


def reduced(image: Image.Image, reduce: int) -> Image.Image:
    """Return a picture averaged over squares of `reduce` pixels, a power of two.

    By halves, so that it does not matter which level another one is reduced from.
    """
    with _fault_of_the_original():  # there may not be memory enough
        while reduce > 1:
            image = image.reduce(2)
            reduce //= 2
    return image


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Bring palettes, 16 bits and single bits to channels of 8 bits, which resizing needs."""
    if image.mode.startswith("I"):
        # 16 bits of grey to 8: Pillow's own conversion clips instead of scaling.
        return image.point(lambda value: value * (1 / 257) + 0.5).convert("L")
    if "transparency" in image.info:
        return image.convert("RGBA")
    if image.mode == "1":
        return image.convert("L")
    if image.mode not in {"L", "LA", "RGB", "RGBA", "CMYK"}:
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    return image


def _check_size(size: Size, limits: OriginalsSettings) -> None:
    if max(size.width, size.height) > limits.max_side_pixels:
        wrong = f"{size} has a side over max_side_pixels = {limits.max_side_pixels}"
        raise OversizedOriginal(wrong)
    if size.width * size.height > limits.max_pixels:
        raise OversizedOriginal(f"{size} has more than max_pixels = {limits.max_pixels}")


def _read_exif(image: Image.Image) -> Image.Exif:
    """Read the EXIF data; broken EXIF data is no reason to refuse a good picture."""
    try:
        return image.getexif()
    except Exception:  # noqa: BLE001 - Pillow raises almost anything on broken EXIF data
        return Image.Exif()


def _orientation(exif: Image.Exif) -> int:
    """Return the EXIF orientation, 1 where it is absent or nonsense."""
    value = exif.get(ExifTags.Base.Orientation)
    if isinstance(value, int) and _UPRIGHT <= value <= _LAST_ORIENTATION:
        return value
    return _UPRIGHT


def _copyright(exif: Image.Exif) -> tuple[tuple[int, str], ...]:
    found = ((int(tag), exif.get(tag)) for tag in _KEPT_TAGS)
    return tuple(
        (tag, text[:_MAX_KEPT_CHARACTERS]) for tag, text in found if isinstance(text, str) and text
    )


@contextlib.contextmanager
def _fault_of_the_original() -> Iterator[None]:
    """Turn whatever a decoder raises into an error of ours: nothing but the file is to blame."""
    try:
        yield
    except (ImageError, KeyboardInterrupt):
        raise
    except Image.DecompressionBombError as error:
        raise OversizedOriginal(str(error)) from error
    except Image.DecompressionBombWarning as error:
        raise OversizedOriginal(str(error)) from error
    except MemoryError as error:
        raise OversizedOriginal("not enough memory to decode it") from error
    except Exception as error:
        raise BrokenOriginal(f"{type(error).__name__}: {error}") from error
