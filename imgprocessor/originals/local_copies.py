"""Local copies of remote originals: files, or bytes for one request where none can be kept."""

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from imgprocessor.errors import NotFound, OriginalsUnavailable
from imgprocessor.originals.folder import Original, Originals


@dataclass(frozen=True)
class CopyRecord:
    """What is known of a picture that is kept."""

    source: str
    """The URL that it came from in the end: what it is asked for with is meant for that."""
    checksum: str
    etag: str | None
    last_modified: str | None
    asked_at: float
    """When its host said last that it is good; seconds since 1970."""
    fresh_seconds: float
    """How long after that it is not asked again."""


@dataclass(frozen=True)
class KeptCopy(Original):
    """A picture that is kept."""

    url: str


@dataclass(frozen=True)
class PassingCopy(Original):
    """A picture that could not be kept: good for this one time."""

    body: bytes


class LocalCopies(Originals):
    """The folder of copies. Can be handed to another process."""

    @contextlib.contextmanager
    def open(self, original: Original) -> Iterator[tuple[BinaryIO, Original]]:
        """Open a copy; yield the file and the original as it is by now.

        Raises:
            OriginalsUnavailable: it has gone; the next request has it fetched anew. Or as
                `Originals.open` does.
        """
        if isinstance(original, PassingCopy):
            yield io.BytesIO(original.body), original
            return
        with contextlib.ExitStack() as stack:
            try:
                file, opened = stack.enter_context(super().open(original))
            except NotFound as error:
                raise OriginalsUnavailable(f"{original.path} has gone") from error
            yield file, opened
