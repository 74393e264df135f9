"""The parts that daemons and workers both have, and how much memory the C library keeps."""

import contextlib
import ctypes
import os
from pathlib import Path

from imgprocessor.config.rendering_settings import RenderingSettings
from imgprocessor.config.settings import DiskCacheSettings, Settings
from imgprocessor.program import code_digest
from imgprocessor.rendering.masters import Masters
from imgprocessor.rendering.run_folder import make_run_folder
from imgprocessor.reporting import complain, report_unexpected
from imgprocessor.storage.disk_cache import DiskCache
from imgprocessor.storage.locks import Locks

_PROGRAM = code_digest()
"""Daemons hand jobs to workers of their own program only: after an update the first of the new
daemons has workers of its own at once.
"""

# From malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8


def keep_memory() -> None:
    """Have the C library keep the memory that decoders use, instead of asking for it each time:
    renditions from masters take a fifth less time. What is over 32 MB is given back at once, and of
    the rest all but 64 MB.
    """
    _tune(32 << 20, 64 << 20)


def give_memory_back() -> None:
    """Have the C library give back what is over 1 MB once it was sent, of the rest all but 4 MB:
    otherwise daemons whose threads all had an answer of 11 MB at the same time kept 200 MB each.
    An answer of 2 MB takes a millisecond more.
    """
    _tune(1 << 20, 4 << 20)


def _tune(mmap_threshold_bytes: int, trim_threshold_bytes: int) -> None:
    library = ctypes.CDLL(None)
    with contextlib.suppress(AttributeError):  # another C library than GNU's
        library.mallopt(_M_MMAP_THRESHOLD, mmap_threshold_bytes)
        library.mallopt(_M_TRIM_THRESHOLD, trim_threshold_bytes)
        library.mallopt(_M_ARENA_MAX, 1)  # or every thread would keep as much for itself


def give_rest_back() -> None:
    """Have the C library give back, once, what it keeps and does not use."""
    with contextlib.suppress(AttributeError):  # as above
        ctypes.CDLL(None).malloc_trim(0)


def run_folder(settings: Settings) -> Path:
    """Make the folder of the sockets and locks that all daemons share.

    Raises:
        ConfigurationError: it cannot be used.
    """
    shared = f"{settings.disk_cache.folder} {_PROGRAM}"
    return make_run_folder(settings.rendering.run_folder, shared)


def max_job_seconds(settings: RenderingSettings) -> float:
    """Return how long a job may take in all, where others keep the processors busy, too."""
    return settings.decode_wait_seconds + 2 * settings.max_processor_seconds


def make_masters(settings: Settings, *, keeps: bool) -> Masters:
    """Make what decodes originals, and keeps them reduced if it `keeps`."""
    disk_cache = settings.disk_cache
    return Masters(
        make_disk_cache(disk_cache, "masters", disk_cache.max_masters_bytes if keeps else 0),
        make_locks(disk_cache, keeps=keeps),
        settings.originals,
        wait_seconds=settings.rendering.decode_wait_seconds,
        report=report_unexpected,
    )


def make_locks(settings: DiskCacheSettings, *, keeps: bool = True) -> Locks:
    """Make the locks of what is kept. A program that keeps nothing leaves no file there, which
    might be closed to the daemons' user: it locks what every program may open.
    """
    return Locks(settings.folder / "locks" if keeps else Path(os.devnull))


def make_disk_cache(settings: DiskCacheSettings, name: str, max_bytes: int) -> DiskCache:
    """Make one of the disk caches under the folder."""
    return DiskCache(
        settings.folder / name,
        max_bytes=max_bytes,
        min_free_percent=settings.min_free_percent,
        complain=complain,
    )
