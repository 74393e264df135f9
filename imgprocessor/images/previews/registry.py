"""The kinds of documents that are known here, in the order in which they are tried."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from imgprocessor.images.previews.heif import Heif
from imgprocessor.images.previews.kind import DocumentKind, Ends
from imgprocessor.images.previews.office import Office
from imgprocessor.images.previews.pdf import Pdf
from imgprocessor.images.previews.raw import Raw
from imgprocessor.images.previews.svg import Svg
from imgprocessor.images.previews.video import Video

KINDS: Sequence[DocumentKind] = (Pdf(), Svg(), Heif(), Raw(), Office(), Video())
"""No document is of two."""

DRAWING_VERSION = 1
"""Raised where pages come out otherwise than before: those that are kept are drawn anew."""


def document_kind(ends: Ends) -> DocumentKind | None:
    """Return which kind a document is of, by its bytes; None where it is none of them."""
    return next((kind for kind in KINDS if kind.is_one(ends)), None)


@dataclass(frozen=True)
class CheckedDocument:
    """What was found in a file that is no picture, and stays as it is."""

    kind: str
    """As `DocumentKind.name`."""
    size_bytes: int
    sha256: str
    """64 hexadecimal digits."""


def document_in(file: Path, kinds: Collection[str]) -> CheckedDocument | None:
    """Return what a document is, by its bytes; None where it is of none of these kinds.

    Raises:
        OSError: it cannot be read.
    """
    if not kinds:
        return None
    with file.open("rb") as opened:
        kind = document_kind(Ends.of(opened))
        if kind is None or kind.name not in kinds:
            return None
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
        return CheckedDocument(kind.name, file.stat().st_size, digest)


def taken_in_words(kinds: Collection[str]) -> str:
    """Say what is taken: pictures, and documents of these kinds."""
    titles = [kind.title for kind in KINDS if kind.name in kinds]
    documents = f", or a document ({', '.join(titles)})" if titles else ""
    return f"The file must be a JPEG, PNG, WebP or GIF picture{documents}, whatever its name says."
