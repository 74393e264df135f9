"""The one place where parts are made, without the web: for it, and for the command line."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from imgprocessor.config.secrets import purge_token, signing_keys, store_keys
from imgprocessor.config.settings import OriginalsSettings, Settings
from imgprocessor.errors import ConfigurationError
from imgprocessor.load import load_policy
from imgprocessor.originals.fetch import Fetcher
from imgprocessor.originals.folder import Folder
from imgprocessor.originals.local_copies import LocalCopies
from imgprocessor.originals.remote import Remote
from imgprocessor.originals.source import Source
from imgprocessor.originals.uploads import UploadedOriginals
from imgprocessor.policy.table import Policy
from imgprocessor.rendering.admission import Admission
from imgprocessor.rendering.job import DirectRenderer, Renderer
from imgprocessor.rendering.pool import WorkerPool
from imgprocessor.rendering.process import (
    make_disk_cache,
    make_locks,
    make_masters,
    max_job_seconds,
)
from imgprocessor.rendering.quarantine import Quarantine
from imgprocessor.rendering.renditions import Renditions
from imgprocessor.reporting import complain
from imgprocessor.request.signing import Signing
from imgprocessor.request.urls import PORTS
from imgprocessor.service.delivery import Delivery
from imgprocessor.service.full import FullOriginals
from imgprocessor.service.kept_sizes import KeptSizes
from imgprocessor.service.purge import Purger
from imgprocessor.service.sources import Sources
from imgprocessor.service.turns import Turns
from imgprocessor.service.understanding import Understanding
from imgprocessor.service.uploads import Uploads
from imgprocessor.storage.generation import Generations
from imgprocessor.storage.locks import Locks
from imgprocessor.storage.plain_files import PlainFiles
from imgprocessor.storage.shared.entries import SharedEntries
from imgprocessor.storage.shared.signed import Signer
from imgprocessor.storage.shared.tier import Count, Guard, Tier
from imgprocessor.storage.uploads.folder import UploadFolder


def direct_renderer(settings: Settings) -> Renderer:
    """Make what renders in this process, for programs that have no workers."""
    return DirectRenderer(make_masters(settings, keeps=True))


def make_purger(settings: Settings, delivery: Delivery) -> Purger:
    """Make the part that purges.

    Raises:
        ConfigurationError: the token cannot be read, or is wrong.
    """
    return Purger(delivery, settings.purge, purge_token(settings.purge))


def make_signing(settings: Settings) -> Signing | None:
    """Make the part that tells signed links from others; None where none need be signed.

    Raises:
        ConfigurationError: the keys cannot be read, or are wrong.
    """
    keys = signing_keys(settings.signing)
    return Signing(keys) if keys else None


def make_full(settings: Settings) -> FullOriginals | None:
    """Make the part that knows which originals may be sent as they are; None where none may.

    Raises:
        ConfigurationError: there is no folder of originals.
    """
    wanted = settings.originals.full
    if wanted == "no" or (wanted == "auto" and settings.signing.keys_file is not None):
        return None
    return FullOriginals(
        make_folder(settings.originals), settings.originals, upload_store(settings)
    )


def make_delivery(
    settings: Settings,
    *,
    policy: Policy | None = None,
    keeps: bool = False,
    renderer: Renderer | None = None,
    fetcher: Fetcher | None = None,
    count_shared: Count = lambda _tier, _outcome: None,
) -> Delivery:
    """Make the part that answers requests, without the web.

    Args:
        settings: with absolute paths.
        policy: where it was read already.
        keeps: whether what is made is kept on disk; a command that runs once has no use for it.
        renderer: what makes renditions; by default this process itself.
        fetcher: what fetches remote originals; by default over the network.
        count_shared: is told what came of asking what nodes share.

    Raises:
        ConfigurationError: the policy is wrong, or there is no folder of originals.
    """
    disk_cache = settings.disk_cache
    policy = policy or load_policy(settings)
    understanding = Understanding(policy, settings.remote.hosts, settings.pixels)
    store = upload_store(settings)
    masters = make_masters(settings, keeps=keeps)
    renditions = make_disk_cache(
        disk_cache, "renditions", disk_cache.max_renditions_bytes if keeps else 0
    )
    generations = Generations(disk_cache.folder)
    return Delivery(
        policy=policy,
        sources=Sources(
            _sources(settings, store, _remote(settings, generations, fetcher, keeps=keeps))
        ),
        understanding=understanding,
        kept_sizes=None if store is None else KeptSizes(store, understanding.plan, policy),
        masters=masters,
        renderer=renderer or DirectRenderer(masters),
        renditions=Renditions(renditions, make_shared(settings, count_shared) if keeps else None),
        generations=generations,
        locks=make_locks(disk_cache, keeps=keeps),
        cheaper_when_overloaded=settings.rendering.cheaper_when_overloaded,
        single_flight_seconds=settings.rendering.single_flight_seconds,
    )


def make_shared(
    settings: Settings, count: Count = lambda _tier, _outcome: None
) -> SharedEntries | None:
    """Make what nodes share; None where they share nothing.

    Raises:
        ConfigurationError: it cannot be reached as the settings say, or has no key.
    """
    store = settings.store
    if store.bucket is None and store.shared is None:
        return None
    keys = store_keys(store)
    if not keys:
        raise ConfigurationError(
            "[store] key_file must be set where nodes share renditions: a key signs them"
        )
    signer = Signer(keys)
    tiers: list[Tier] = []
    if store.shared is not None:
        if str(store.shared) == settings.jobs.redis:
            raise ConfigurationError(
                "[store] shared must not be the Redis of [jobs]: what it forgets would be jobs"
            )
        with with_extra("memory", "[store] shared"):
            from imgprocessor.storage.shared.memory_tier import MemoryTier  # noqa: PLC0415
        tiers.append(MemoryTier(store.shared, signer.name, store.shared_seconds))
    if store.bucket is not None:
        with with_extra("buckets", "[store] bucket"):
            from imgprocessor.storage.shared.bucket_tier import BucketTier  # noqa: PLC0415
        bucket = BucketTier(store.bucket, settings.buckets)
        bucket.check()
        tiers.append(bucket)
    return SharedEntries([Guard(tier, count, complain) for tier in tiers], signer)


def _sources(
    settings: Settings, store: UploadFolder | None, remote: Remote | None
) -> dict[str, Sequence[Source]]:
    files: list[Source] = [make_folder(settings.originals)]
    if store is not None:
        files.append(UploadedOriginals(store))
    sources: dict[str, Sequence[Source]] = {"": files}
    if remote is not None:
        sources |= dict.fromkeys(PORTS, (remote,))
    return sources


def upload_store(settings: Settings) -> UploadFolder | None:
    """Make the part that keeps uploads; None where there are none."""
    uploads = settings.uploads
    if not uploads.enabled:
        return None
    return UploadFolder(
        uploads.folder,
        max_uploads=uploads.max_uploads,
        max_bytes=uploads.max_kept_bytes,
        min_free_bytes=uploads.min_free_bytes,
    )


def make_uploads(
    settings: Settings, delivery: Delivery, renderer: Renderer, policy: Policy
) -> Uploads | None:
    """Make the part that takes uploads; None where none are taken.

    Raises:
        ConfigurationError: as `make_purger` does.
    """
    store = upload_store(settings)
    if store is None:
        return None
    if settings.uploads.max_bytes > settings.originals.max_bytes:
        raise ConfigurationError(
            "[uploads] max_bytes must be no more than [originals] max_bytes, or what is taken"
            " could not be shown"
        )
    return Uploads(
        store,
        settings.uploads,
        delivery=delivery,
        kept_sizes=KeptSizes(store, delivery.plan, policy),
        renderer=renderer,
        purger=make_purger(settings, delivery),
        locks=make_locks(settings.disk_cache),
        turns=make_turns(settings, renderer),
    )


@contextlib.contextmanager
def with_extra(extra: str, setting: str) -> Iterator[None]:
    """Import what takes time and memory, and is only there where it was asked for: by an extra of
    this package, for a setting.

    Raises:
        ConfigurationError: it is not.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        wrong = f"{error.name} is not installed: pip install 'imgprocessor[{extra}]'"
        raise ConfigurationError(f"{setting}: {wrong}") from error


def make_turns(settings: Settings, renderer: Renderer) -> Turns:
    """Make what keeps half of the workers free for visitors who come meanwhile."""
    workers = processes(settings)

    def has_idle() -> bool:
        return not isinstance(renderer, WorkerPool) or renderer.taken_places() < workers

    progress = settings.disk_cache.folder / "turns"
    locks = make_locks(settings.disk_cache)
    return Turns(locks, max(1, workers // 2), progress, has_idle=has_idle)


def processes(settings: Settings) -> int:
    """Return how many workers there are."""
    return settings.rendering.workers or len(os.sched_getaffinity(0))


def make_folder(settings: OriginalsSettings) -> Folder:
    """Make the source of files.

    Raises:
        ConfigurationError: there is no folder of originals.
    """
    root = settings.root
    if not root.is_dir() or not os.access(root, os.R_OK | os.X_OK):
        wrong = f"{root} is not a folder that can be read: make it, or name another (--originals)"
        raise ConfigurationError(f"[originals] root: {wrong}")
    return Folder(root, settings.max_bytes)


def _remote(
    settings: Settings, generations: Generations, fetcher: Fetcher | None, *, keeps: bool
) -> Remote | None:
    remote = settings.remote
    if not remote.hosts:
        return None
    if remote.max_kept_bytes < 10 * remote.max_bytes:
        wrong = f"[remote] max_kept_bytes must be at least ten times max_bytes: {remote.max_bytes}"
        raise ConfigurationError(f"{wrong}; no original takes more than a tenth")
    return Remote(
        remote,
        LocalCopies(remote.folder, remote.max_bytes, make_plain_files(settings, keeps=keeps)),
        generations=generations,
        fetcher=fetcher or Fetcher(remote),
        complain=complain,
    )


def make_plain_files(settings: Settings, *, keeps: bool = True) -> PlainFiles:
    """Make what keeps local copies of remote originals."""
    return PlainFiles(
        settings.remote.folder,
        max_bytes=settings.remote.max_kept_bytes if keeps else 0,
        min_free_percent=settings.disk_cache.min_free_percent,
        complain=complain,
    )


def make_pool(settings: Settings, folder: Path) -> WorkerPool:
    """Make the way to the workers."""
    return WorkerPool(
        folder,
        Admission(Locks(folder / "locks"), max_jobs(settings)),
        Quarantine(folder / "quarantine", settings.rendering.quarantine_seconds),
        wait_seconds=settings.rendering.worker_wait_seconds,
        answer_seconds=max_job_seconds(settings.rendering),
    )


def max_jobs(settings: Settings) -> int:
    """Return how many jobs may be rendered or wait for that."""
    return processes(settings) * (1 + settings.rendering.max_waiting_per_worker)
