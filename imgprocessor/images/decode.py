"""Originals' files to pixels: inspected first, then decoded at a level.

The only module that decodes originals. Whatever exception Pillow raises over a hostile file becomes
one of this project's errors here.
"""

import contextlib
import math
import re
import resource
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageFile

from imgprocessor.config.settings import OriginalsSettings
from imgprocessor.errors import BrokenOriginal, ImageError, OriginalsUnavailable, OversizedOriginal
from imgprocessor.geometry import Layout, Size
from imgprocessor.images.formats.encoders import VERSIONS
from imgprocessor.images.formats.exif import ORIENTATIONS, binary_in
from imgprocessor.images.formats.structure import Inspected, Kind
from imgprocessor.images.inspection import ORIGINAL_FORMATS, inspect
from imgprocessor.images.pyramid import Level, choose_level, levels_to_keep
from imgprocessor.policy.plan import Plan

MASTER_VERSION = 1
"""Raised by hand whenever an original's pixels or metadata, at any level, are kept as other bytes.
Goldens in the tests fail until it is.
"""

DECODED_BY = f"{VERSIONS}, masters {MASTER_VERSION}"
"""What a master depends on besides its original: libraries and our own code."""

# A picture between one and two times Pillow's own limit would be a warning only.
warnings.simplefilter("error", Image.DecompressionBombWarning)
# What Pillow warns of is in some stranger's file; it must not fill the server's error log.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
ImageFile.LOAD_TRUNCATED_IMAGES = False

Pixels = Image.Image
"""A picture in memory, for modules that only pass it on."""


@dataclass(frozen=True)
class Metadata:
    """What must be known of an original beside its pixels."""

    stored: Size
    """As it is stored, before orientation."""
    orientation: int
    """EXIF's, 1 to 8."""
    profile: bytes
    """ICC; empty where there is none."""
    copyright: tuple[tuple[int, str], ...]
    """EXIF tags and texts: artist and copyright."""
    kind: Kind
    saved_quality: int | None = None
    """What a JPEG was saved with, on the scale of libjpeg-turbo, by its tables."""
    is_damaged: bool = False

    @property
    def is_lying(self) -> bool:
        """Whether stored width is displayed height."""
        return ORIENTATIONS[self.orientation].is_lying

    @property
    def displayed(self) -> Size:
        """The size after orientation."""
        return self.stored.turned() if self.is_lying else self.stored

    def lay_out(self, plan: Plan) -> Layout:
        """Return what becomes of the original, in its pixels as they are stored."""
        lies = ORIENTATIONS[self.orientation]
        layout = plan.lay_out(self.displayed).mirrored(
            self.displayed, across=lies.is_mirrored_across, down=lies.is_mirrored_down
        )
        return layout.transposed() if lies.is_lying else layout

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

    metadata: Metadata
    level: Level
    image: Image.Image


class OpenedOriginal:
    """An original whose header was read and found good; the rest may be read now, once."""

    def __init__(self, image: Image.Image, metadata: Metadata, inspected: Inspected) -> None:
        self._image = image
        self._inspected = inspected
        self.metadata = metadata

    def memory_bytes(self, draft: int) -> int:
        """Return what decoding takes."""
        return self._inspected.memory_bytes(self._by_decoder(draft))

    def decode(self, draft: int) -> Image.Image:
        """Decode at one `draft`-th of the scale; 8 bits a channel. Of an animation its first frame.

        Raises:
            BrokenOriginal: it cannot be decoded.
            OversizedOriginal: there is not enough memory to.
        """
        stored = self.metadata.stored
        by_decoder = self._by_decoder(draft)
        try:
            with _fault_of_the_original():
                if by_decoder > 1:
                    size = (stored.width // by_decoder, stored.height // by_decoder)
                    self._image.draft(None, size)
                self._image.load()
                image = _to_eight_bits(_first_frame(self._image))
        except BrokenOriginal as error:
            # libjpeg says of memory that it cannot get what it says of broken data.
            if self.memory_bytes(draft) > _free_bytes():
                raise OversizedOriginal.for_want_of_memory() from error
            raise
        return reduced(image, draft // by_decoder)

    def _by_decoder(self, draft: int) -> int:
        """Return how much of a reduction the decoder does by itself."""
        return min(draft, ORIGINAL_FORMATS[self._inspected.kind].max_draft)


def _free_bytes() -> float:
    """Return how much more memory this process may have."""
    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if limit == resource.RLIM_INFINITY:
        return math.inf
    found = re.search(r"^VmData:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return math.inf if found is None else limit - int(found[1]) * 1024


def open_original(file: BinaryIO, limits: OriginalsSettings) -> OpenedOriginal:
    """Read the header alone; decide from it whether the rest may be read at all.

    Raises:
        ImageError: as `inspect` does.
        BrokenOriginal: its header makes no sense, or not the same to the decoder.
        OriginalsUnavailable: the disk fails.
    """
    try:
        inspected = inspect(file, limits)
    except OSError as error:  # the disk's: there is no decoder yet
        raise OriginalsUnavailable(f"cannot be read: {error}") from error
    known = ORIGINAL_FORMATS[inspected.kind]
    with _fault_of_the_original():
        image = known.decoder(file)
    stored = Size(*image.size)
    if stored != inspected.size:
        raise BrokenOriginal(f"{inspected.size} to the inspection, {stored} to the decoder")
    exif = known.exif_in(image.info, limits.max_exif_bytes)
    metadata = Metadata(
        stored=stored,
        orientation=exif.orientation,
        profile=binary_in(image.info, "icc_profile", limits.max_icc_bytes),
        copyright=exif.copyright,
        kind=inspected.kind,
        saved_quality=known.saved_quality(image),
    )
    return OpenedOriginal(image, metadata, inspected)


def at_level(image: Image.Image, stored: Size, level: Level) -> Image.Image:
    """Return what was decoded at a level's draft, brought to the level."""
    base = level.base
    if base is None:
        return reduced(image, level.reduce)
    # What was decoded may end in a column or row that is for less than a whole pixel.
    right = min(stored.width / level.draft, image.width)
    box = (0, 0, right, min(stored.height / level.draft, image.height))
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


def _first_frame(image: Image.Image) -> Image.Image:
    """Return what was loaded, without its file: encoders that look for more frames would read on,
    in a file that is closed by then. Nothing is copied: of 50 megapixels that would take 200 MB.
    """
    return image._new(image.im)  # noqa: SLF001 - Image.copy() is this, and a copy


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


@contextlib.contextmanager
def _fault_of_the_original() -> Iterator[None]:
    """Turn whatever a decoder raises into an error of ours: nothing but the file is to blame."""
    try:
        yield
    except (ImageError, KeyboardInterrupt):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise OversizedOriginal(str(error)) from error
    except MemoryError as error:
        raise OversizedOriginal.for_want_of_memory() from error
    except OSError as error:
        if error.errno is not None:  # the disk's, and not a decoder's
            raise OriginalsUnavailable(f"cannot be read: {error}") from error
        raise BrokenOriginal(f"{type(error).__name__}: {error}") from error
    except Exception as error:
        raise BrokenOriginal(f"{type(error).__name__}: {error}") from error
