"""Originals as they are: found by name, and shown only where their bytes are a picture's."""

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

from imgprocessor.config.settings import OriginalsSettings
from imgprocessor.errors import (
    BrokenOriginal,
    NotFound,
    OriginalsUnavailable,
    OversizedOriginal,
    UnsupportedOriginal,
)
from imgprocessor.formats import Format
from imgprocessor.images.inspection import ORIGINAL_FORMATS, inspect
from imgprocessor.originals.folder import Folder
from imgprocessor.originals.local_copies import PassingCopy
from imgprocessor.originals.source import Original
from imgprocessor.originals.uploads import UploadedOriginals, original_id
from imgprocessor.service.sources import Sources
from imgprocessor.storage.uploads.store import UploadStore

_MAX_REMEMBERED = 4096
"""Originals whose format is known: of one in many scans it takes some milliseconds to find out, and
a client may ask for it in a thousand ranges.
"""


@dataclass(frozen=True)
class FullOriginal:
    """An original that may be shown as it is."""

    original: Original
    format: Format
    """What it is, whatever its name says."""
    path: str | None
    """Where it really is in its place, symbolic links followed; None where Apache has none."""
    place: str = ""
    """Which of the places that Apache knows: "" is the first folder of originals."""


class FullOriginals:
    """Knows which originals may be shown as they are: files that inspection takes for pictures."""

    def __init__(
        self,
        sources: Sources,
        limits: OriginalsSettings,
        *,
        folder: Folder | None,
        uploads: UploadStore | None,
    ) -> None:
        """Look for originals in sources; Apache knows the places of a folder, and of uploads."""
        self._sources = sources
        self._folder = folder
        self._limits = limits
        self._uploads = uploads
        self._format = lru_cache(_MAX_REMEMBERED)(self._inspected)

    def find(self, name: str) -> FullOriginal:
        """Find an original, and what it is.

        Raises:
            NotFound: there is none, or it is no picture, or over a limit.
            OriginalsUnavailable: it cannot be read at the moment.
        """
        try:
            original = self._sources.find(name)
            # What could not be kept has its bytes with it: it is not remembered.
            is_kept = not isinstance(original, PassingCopy)
            known = self._format(original) if is_kept else self._inspected(original)
        except (UnsupportedOriginal, BrokenOriginal, OversizedOriginal) as error:
            raise NotFound(f"{error.code}: {error}") from error
        if self._uploads is not None and isinstance(original.source, UploadedOriginals):
            ident = original.id.removeprefix(original_id(""))
            return FullOriginal(original, known, self._uploads.relative(ident), "uploads")
        path = None if self._folder is None else self._folder.relative(original)
        return FullOriginal(original, known, path)

    def open(self, whole: FullOriginal) -> BinaryIO:
        """Open what was found; the caller closes it.

        Raises:
            NotFound, OriginalsUnavailable: it has gone, or is another one by now.
        """
        with whole.original.source.open(whole.original) as (file, opened):
            if opened != whole.original:
                raise OriginalsUnavailable(f"{opened.id} was replaced while it was looked at")
            if isinstance(opened, PassingCopy):
                return file  # in memory
            return os.fdopen(os.dup(file.fileno()), "rb")

    def _inspected(self, original: Original) -> Format:
        with original.source.open(original) as (file, _):
            return ORIGINAL_FORMATS[inspect(file, self._limits).kind].format
