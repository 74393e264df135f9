"""Originals' files to pixels: inspected first, then decoded at a level.

The only module that decodes originals. Whatever exception Pillow raises over a hostile file becomes
one of this project's errors here.
"""

import contextlib
import math
import re
import resource
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image, ImageFile

from imgprocessor.config.settings import OriginalsSettings
from imgprocessor.errors import BrokenOriginal, ImageError, OriginalsUnavailable, OversizedOriginal
from imgprocessor.geometry import Layout, Size
from imgprocessor.images.formats.damaged import decoding
from imgprocessor.images.formats.encoders import VERSIONS
from imgprocessor.images.formats.exif import ORIENTATIONS, binary_in
from imgprocessor.images.formats.structure import Inspected, Kind
from imgprocessor.images.inspection import ORIGINAL_FORMATS, inspect
from imgprocessor.images.pyramid import Level, choose_level, direct_level, levels_to_keep
from imgprocessor.policy.plan import Plan

MASTER_VERSION = 3
"""Raised by hand whenever an original's pixels or metadata, at any level, are kept as other bytes.
Goldens in the tests fail until it is.
"""

DECODED_BY = f"{VERSIONS}, masters {MASTER_VERSION}"
"""What a master depends on besides its original: libraries and our own code."""

# Pillow's own limit of pixels: what comes here was inspected, and is limited by its memory.
vars(Image).update(MAX_IMAGE_PIXELS=None)
# What Pillow warns of is in some stranger's file; it must not fill the server's error log.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
ImageFile.LOAD_TRUNCATED_IMAGES = False

_STRIP_ROWS = 256

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
    """Whether a part is missing: known once it was decoded."""

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

    def direct_level(self, plan: Plan) -> Level | None:
        """Return the level that a rendition is made from soonest, where no other will be made; None
        where keeping is cheap beside decoding, because the decoder does not reduce by itself.
        """
        max_draft = ORIGINAL_FORMATS[self.kind].max_draft
        if max_draft == 1:
            return None
        layout, margin = plan.lay_out(self.displayed), plan.pixels.master_margin
        return direct_level(self.displayed, layout, margin, max_draft)

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

    def __init__(
        self,
        file: BinaryIO,
        image: ImageFile.ImageFile,
        metadata: Metadata,
        inspected: Inspected,
    ) -> None:
        self._file = file
        self._image = image
        self._inspected = inspected
        self._known = ORIGINAL_FORMATS[inspected.kind]
        self.metadata = metadata

    @property
    def info(self) -> Mapping[Any, Any]:
        """What Pillow found beside the pixels, before they are decoded."""
        return self._image.info

    def memory_bytes(self, draft: int) -> int:
        """Return what decoding takes at its peak."""
        return self._inspected.memory_bytes(self._by_decoder(draft))

    def decode(self, draft: int, *, reads_all: bool = False) -> Image.Image:
        """Decode at one `draft`-th of the scale; 8 bits a channel. Of an animation its first frame.
        What is worth a fraction of a point, reduced, is left out, unless it `reads_all`.

        Of what ends too early, what there is; the metadata say so from then on.

        Raises:
            BrokenOriginal: it cannot be decoded.
            OversizedOriginal: there is not enough memory to.
        """
        if reads_all or self._inspected.scans == 1:
            self._known.read_all(self._image)
        return reduced(self._decoded(draft), draft // self._by_decoder(draft))

    def _decoded(self, draft: int) -> Image.Image:
        """Return what the decoder makes of it; the decoder's own picture is freed."""
        stored, by_decoder = self.metadata.stored, self._by_decoder(draft)
        has_memory = self.memory_bytes(draft) <= _free_bytes()
        with fault_of_the_original():
            if by_decoder > 1:
                size = (max(1, stored.width // by_decoder), max(1, stored.height // by_decoder))
                self._image.draft(None, size)
            with decoding() as fault:
                self._image.load()
            # libjpeg says of memory that it cannot get what it says of broken data.
            if fault.error is not None and not has_memory:
                raise OversizedOriginal.for_want_of_memory() from fault.error
            if fault.error is None:
                image = self._to_eight_bits(self._image)
            else:
                image = self._shown(fault.error)
        del self._image
        return image

    def _by_decoder(self, draft: int) -> int:
        """Return how much of a reduction the decoder does by itself."""
        return min(draft, self._known.max_draft)

    def _shown(self, error: OSError) -> Image.Image:
        """Return what was decoded until there was an error, as browsers show it: the rest is
        transparent, or grey where the format has no alpha. Where that is nothing, raise the error.
        """
        found = self._known.shown(self._image, self._file)
        if found is None:
            raise error
        self.metadata = replace(self.metadata, is_damaged=not found.is_whole)
        return _without_rest(self._to_eight_bits(found.image), found.box)

    def _to_eight_bits(self, image: Image.Image) -> Image.Image:
        return _to_eight_bits(_first_frame(self._known.eight_bits(image, self._file)))


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
    with fault_of_the_original():
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
    return OpenedOriginal(file, image, metadata, inspected)


def at_level(image: Image.Image, stored: Size, level: Level) -> Image.Image:
    """Return what was decoded at a level's draft, brought to the level."""
    base = level.base
    if base is None:
        return reduced(image, level.reduce)
    # What was decoded may end in a column or row that is for less than a whole pixel.
    right = min(stored.width / level.draft, image.width)
    box = (0, 0, right, min(stored.height / level.draft, image.height))
    with fault_of_the_original():
        return image.resize((base.width, base.height), Image.Resampling.LANCZOS, box)


def reduced(image: Image.Image, reduce: int) -> Image.Image:
    """Return a picture averaged over squares of `reduce` pixels, a power of two.

    By halves, so that it does not matter which level another one is reduced from.
    """
    with fault_of_the_original():  # there may not be memory enough
        while reduce > 1:
            image = _halved(image)
            reduce //= 2
    return image


def _halved(image: Image.Image) -> Image.Image:
    """Return a picture at half its scale. Of what is transparent Pillow makes a copy to do so: of
    some rows at a time, which gives the same bytes.
    """
    if image.mode not in {"LA", "RGBA"}:
        return image.reduce(2)
    width, height = image.size
    half = Image.new(image.mode, (-(-width // 2), -(-height // 2)))
    for top in range(0, height, _STRIP_ROWS):
        strip = image.crop((0, top, width, min(top + _STRIP_ROWS, height)))
        half.paste(strip.reduce(2), (0, top // 2))
    return half


def _first_frame(image: Image.Image) -> Image.Image:
    """Return what was loaded, without its file: encoders that look for more frames would read on,
    in a file that is closed by then. Nothing is copied: of 50 megapixels that would take 200 MB.
    """
    return image._new(image.im)  # noqa: SLF001 - Image.copy() is this, and a copy


def _without_rest(image: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    """Return a picture, transparent but for a box."""
    if box == (0, 0, *image.size):
        return image
    alpha = Image.new("L", image.size)
    has_alpha = image.mode in {"LA", "RGBA"}
    alpha.paste(image.getchannel("A").crop(box) if has_alpha else 255, box)
    image.putalpha(alpha)
    return image


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Bring palettes and single bits to channels of 8 bits, which resizing needs."""
    if "transparency" in image.info:
        return image.convert("RGBA")
    if image.mode == "1":
        return image.convert("L")
    if image.mode not in {"L", "LA", "RGB", "RGBA", "CMYK"}:
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    return image


@contextlib.contextmanager
def fault_of_the_original() -> Iterator[None]:
    """Turn whatever a decoder raises into an error of ours: nothing but the file is to blame."""
    try:
        yield
    except (ImageError, KeyboardInterrupt):
        raise
    except MemoryError as error:
        raise OversizedOriginal.for_want_of_memory() from error
    except OSError as error:
        if error.errno is not None:  # the disk's, and not a decoder's
            raise OriginalsUnavailable(f"cannot be read: {error}") from error
        raise BrokenOriginal(f"{type(error).__name__}: {error}") from error
    except Exception as error:
        raise BrokenOriginal(f"{type(error).__name__}: {error}") from error
