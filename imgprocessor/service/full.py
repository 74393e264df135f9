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
from imgprocessor.originals.source import Original
from imgprocessor.originals.uploads import UploadedOriginals, ident_of, upload_name
from imgprocessor.storage.uploads.folder import UploadFolder

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
    path: str
    """Where it really is in its place, symbolic links followed."""
    place: str = ""
    """Which of the places that Apache knows: "" is the folder of originals."""


class FullOriginals:
    """Knows which originals may be shown as they are: files that inspection takes for pictures."""

    def __init__(
        self, folder: Folder, limits: OriginalsSettings, uploads: UploadFolder | None = None
    ) -> None:
        """Look for originals in a folder, and for what is not there among uploads."""
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
            try:
                original = self._folder.find(name)
            except NotFound:
                ident = ident_of(name)
                if ident is None or self._uploads is None:
                    raise
                return self._uploaded(self._uploads, ident)
            known = self._format(original)
        except (UnsupportedOriginal, BrokenOriginal, OversizedOriginal) as error:
            raise NotFound(f"{error.code}: {error}") from error
        return FullOriginal(original, known, self._folder.shared_id(original.id))

    def _uploaded(self, uploads: UploadFolder, ident: str) -> FullOriginal:
        original = UploadedOriginals(uploads).find(upload_name(ident))
        return FullOriginal(original, self._format(original), uploads.relative(ident), "uploads")

    def open(self, whole: FullOriginal) -> BinaryIO:
        """Open what was found; the caller closes it.

        Raises:
            NotFound, OriginalsUnavailable: it has gone, or is another one by now.
        """
        with whole.original.source.open(whole.original) as (file, opened):
            if opened != whole.original:
                raise OriginalsUnavailable(f"{opened.id} was replaced while it was looked at")
            return os.fdopen(os.dup(file.fileno()), "rb")

    def _inspected(self, original: Original) -> Format:
        with original.source.open(original) as (file, _):
            return ORIGINAL_FORMATS[inspect(file, self._limits).kind].format
