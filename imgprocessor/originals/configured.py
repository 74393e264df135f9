"""Sources of originals as the settings name them: roots in order, and other hosts."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imgprocessor.config.buckets import BucketUrl
from imgprocessor.config.settings import Settings
from imgprocessor.errors import ConfigurationError
from imgprocessor.originals.folder import Folder
from imgprocessor.originals.http.fetch import Fetcher
from imgprocessor.originals.local_copies import LocalCopies
from imgprocessor.originals.remote import QUICK_SECONDS, Remote
from imgprocessor.originals.source import Root, bucket_address, url_address
from imgprocessor.program import with_extra
from imgprocessor.reporting import complain
from imgprocessor.storage.generation import Generations
from imgprocessor.storage.plain_files import PlainFiles

if TYPE_CHECKING:  # it takes time and memory, and is only there where it was asked for
    from imgprocessor.storage.shared.bucket import Bucket


def make_roots(settings: Settings, *, keeps: bool) -> Sequence[Root]:
    """Make the sources of files: folders and places in buckets, in order.

    Raises:
        ConfigurationError: one of them cannot be read, or is named twice.
    """
    roots = settings.originals.roots
    known = [os.path.realpath(one) if isinstance(one, Path) else str(one) for one in roots]
    for number, one in enumerate(known):
        if one in known[:number]:
            raise ConfigurationError(f"[originals] roots: {one} is named twice")
    return [
        _folder(settings, root, number)
        if isinstance(root, Path)
        else _bucket_originals(settings, root, keeps=keeps)
        for number, root in enumerate(roots)
    ]


def require_folder(root: Path) -> None:
    """Look whether originals can be in a folder.

    Raises:
        ConfigurationError: it cannot be read.
    """
    if not root.is_dir() or not os.access(root, os.R_OK | os.X_OK):
        wrong = f"{root} is not a folder that can be read: make it, or name another (--originals)"
        hint = "; a place in a bucket is s3://BUCKET/PREFIX" if ":" in str(root) else ""
        raise ConfigurationError(f"[originals] roots: {wrong}{hint}")


def _folder(settings: Settings, root: Path, number: int) -> Folder:
    require_folder(root)
    return Folder(root, settings.originals.max_bytes, number)


def make_bucket(settings: Settings, url: BucketUrl, *, total_seconds: float) -> "Bucket":
    """Make the client of a place in a bucket, and send nothing.

    Raises:
        ConfigurationError: the file of buckets does not say how it is reached, or what speaks to
            buckets is not installed.
    """
    with with_extra("buckets", str(url)):
        from imgprocessor.storage.shared.bucket import Bucket  # noqa: PLC0415
    bucket = Bucket(url, settings.buckets, total_seconds=total_seconds)
    bucket.check()
    return bucket


def _bucket_originals(settings: Settings, url: BucketUrl, *, keeps: bool) -> Root:
    remote, max_bytes = settings.remote, settings.originals.max_bytes
    bucket = make_bucket(settings, url, total_seconds=remote.total_seconds)
    from imgprocessor.originals.bucket import (  # noqa: PLC0415 - as make_bucket does
        BucketFetcher,
        BucketOriginals,
    )

    _require_room(settings, "[originals] max_bytes", max_bytes)
    quick = make_bucket(settings, url, total_seconds=min(QUICK_SECONDS, remote.total_seconds))
    fetcher = BucketFetcher(
        bucket,
        quick,
        max_bytes=max_bytes,
        fresh_seconds=remote.min_fresh_seconds,
        missing_seconds=settings.originals.missing_seconds,
        complain=complain,
    )
    files = make_plain_files(settings, keeps=keeps)
    copies = Remote(
        remote,
        LocalCopies(remote.folder, max_bytes, files, bucket_address(url)),
        generations=Generations(settings.disk_cache.folder),
        fetcher=fetcher,
        complain=complain,
    )
    return BucketOriginals(bucket, quick, copies, complain)


def make_remote(settings: Settings, fetcher: Fetcher | None, *, keeps: bool) -> Remote | None:
    """Make the source of pictures on other hosts; None where no host is allowed.

    Raises:
        ConfigurationError: there is no room for copies.
    """
    remote = settings.remote
    if not remote.hosts:
        return None
    _require_room(settings, "max_bytes", remote.max_bytes)
    files = make_plain_files(settings, keeps=keeps)
    return Remote(
        remote,
        LocalCopies(remote.folder, remote.max_bytes, files, url_address),
        generations=Generations(settings.disk_cache.folder),
        fetcher=fetcher or Fetcher(remote),
        complain=complain,
    )


def _require_room(settings: Settings, limit: str, max_bytes: int) -> None:
    if settings.remote.max_kept_bytes < 10 * max_bytes:
        wrong = f"[remote] max_kept_bytes must be at least ten times {limit}: {max_bytes}"
        raise ConfigurationError(f"{wrong}; no original takes more than a tenth")


def keeps_copies(settings: Settings) -> bool:
    """Whether there are originals that are copied to this node before they are used, or drawn."""
    remote, originals = settings.remote, settings.originals
    return bool(remote.hosts or originals.buckets or settings.previews.enabled)


def make_plain_files(settings: Settings, *, keeps: bool = True) -> PlainFiles:
    """Make what keeps local copies of originals."""
    return PlainFiles(
        settings.remote.folder,
        max_bytes=settings.remote.max_kept_bytes if keeps else 0,
        min_free_percent=settings.disk_cache.min_free_percent,
        complain=complain,
    )
