"""A check: a file on its way in is looked at, decoded whole, and written without metadata."""

import hashlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from imgprocessor.config.settings import OriginalsSettings
from imgprocessor.config.upload_settings import KeptMetadata
from imgprocessor.formats import Format
from imgprocessor.geometry import Size
from imgprocessor.images.acceptance import accept
from imgprocessor.originals.source import Original
from imgprocessor.reporting import trace_id
from imgprocessor.storage.uploads.durable import told_in_words
from imgprocessor.timing import Timings


@dataclass(frozen=True)
class Check:
    """A file to be checked. Can be handed to another process."""

    original: Original
    """What quarantine knows the file by, which no source has yet: a name made of what is in it."""
    file: Path
    """It is written anew in its place."""
    metadata: KeptMetadata
    timings: Timings = field(default_factory=Timings)
    takes_place: bool = True
    """Whether it counts among the jobs that admission control lets in."""
    trace_id: str = field(default_factory=trace_id)
    """Of the request that it is for, as logs have it."""


@dataclass(frozen=True)
class Checked:
    """What was found, and written."""

    format: Format
    size: Size
    """As displayed, after orientation."""
    is_animated: bool
    size_bytes: int
    """Of what was written."""
    sha256: str
    """Of what was written, 64 hexadecimal digits."""
    timings: Timings


def check_file(
    job: Check,
    limits: OriginalsSettings,
    room_for: Callable[[int], AbstractContextManager[None]],
) -> Checked:
    """Check a file, and write it anew. It is decoded inside of `room_for`, which is told how many
    bytes of memory that takes.

    Raises:
        ImageError: as `accept` does: it is no picture, or not a whole one, or over a limit.
    """
    with told_in_words():
        content = job.file.read_bytes()
    with job.timings.timed("decode"):
        accepted = accept(content, limits, job.metadata, room=room_for)
    del content
    with told_in_words():
        # Beside it first: should this process die, the next one checks the file as it was sent.
        # By a name of this process's own: a job that was taken for lost may be done by two.
        fresh = job.file.with_name(f"{job.file.name}.{os.getpid()}.clean")
        try:
            fresh.write_bytes(accepted.body)
            fresh.replace(job.file)
        finally:
            fresh.unlink(missing_ok=True)
    digest = hashlib.sha256(accepted.body).hexdigest()
    return Checked(
        accepted.format,
        accepted.displayed,
        accepted.is_animated,
        len(accepted.body),
        digest,
        job.timings,
    )
