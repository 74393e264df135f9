"""The one place where parts are made, without the web: for it, and for the command line."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from imgprocessor.config.jobs_settings import JobsSettings
from imgprocessor.config.secrets import purge_token, signing_keys
from imgprocessor.config.settings import OriginalsSettings, Settings
from imgprocessor.errors import ConfigurationError, NoSuchUpload
from imgprocessor.jobs.conversions import Conversions, Dispatch
from imgprocessor.jobs.files import JobFiles
from imgprocessor.jobs.memory import MemoryRecords
from imgprocessor.jobs.records import Records
from imgprocessor.jobs.work import JobWork
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
    run_folder,
)
from imgprocessor.rendering.quarantine import Quarantine
from imgprocessor.rendering.renditions import Renditions
from imgprocessor.rendering.supervisor import Supervisor
from imgprocessor.reporting import complain
from imgprocessor.request.signing import Signing
from imgprocessor.request.urls import PORTS
from imgprocessor.service.delivery import Delivery
from imgprocessor.service.full import FullOriginals
from imgprocessor.service.kept_sizes import KeptSizes
from imgprocessor.service.purge import Purger
from imgprocessor.service.turns import Turns
from imgprocessor.service.understanding import Understanding
from imgprocessor.service.uploads import Uploads
from imgprocessor.storage.generation import Generations
from imgprocessor.storage.locks import Locks
from imgprocessor.storage.plain_files import PlainFiles
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
) -> Delivery:
    """Make the part that answers requests, without the web.

    Args:
        settings: with absolute paths.
        policy: where it was read already.
        keeps: whether what is made is kept on disk; a command that runs once has no use for it.
        renderer: what makes renditions; by default this process itself.
        fetcher: what fetches remote originals; by default over the network.

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
        sources=_sources(settings, store, _remote(settings, generations, fetcher, keeps=keeps)),
        understanding=understanding,
        kept_sizes=None if store is None else KeptSizes(store, understanding.plan, policy),
        masters=masters,
        renderer=renderer or DirectRenderer(masters),
        renditions=Renditions(renditions),
        generations=generations,
        locks=make_locks(disk_cache, keeps=keeps),
        cheaper_when_overloaded=settings.rendering.cheaper_when_overloaded,
        single_flight_seconds=settings.rendering.single_flight_seconds,
    )


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


def make_conversions(
    settings: Settings,
    delivery: Delivery,
    renderer: Renderer,
    dispatch: Dispatch,
    make_sizes: Callable[[str], None],
    *,
    log: Callable[[dict[str, Any]], None] = lambda _: None,
) -> Conversions:
    """Make the part that takes jobs and does them; `log` takes a line for each that was done."""
    jobs = settings.jobs
    while_wanted = renderer.while_wanted if isinstance(renderer, WorkerPool) else None
    work = JobWork(
        files=JobFiles(settings.uploads.folder / "jobs"),
        delivery=delivery,
        renderer=while_wanted or (lambda _: renderer),
        make_sizes=make_sizes,
        turns=make_turns(settings, renderer),
        metadata=settings.uploads.metadata,
        max_side_pixels=settings.pixels.max_output_side_pixels,
    )
    return Conversions(make_records(jobs), work, dispatch, jobs, log=log)


def make_conversions_on_node(
    settings: Settings,
    dispatch: Dispatch,
    *,
    starts_workers: bool = False,
    log: Callable[[dict[str, Any]], None] = lambda _: None,
) -> Conversions:
    """Make the same by the workers of this node; with `starts_workers` they are started, where no
    daemon has done it.

    Raises:
        ConfigurationError: as `make_delivery` and `make_uploads` do.
    """
    folder = run_folder(settings)
    pool = make_pool(settings, folder)
    policy = load_policy(settings)
    delivery = make_delivery(settings, policy=policy, keeps=True, renderer=pool)
    uploads = make_uploads(settings, delivery, pool, policy)
    if starts_workers:
        Supervisor(folder, processes(settings), settings, complain).start()
    make_sizes = uploads.make_sizes if uploads is not None else _no_sizes
    return make_conversions(settings, delivery, pool, dispatch, make_sizes, log=log)


def _no_sizes(ident: str) -> None:
    raise NoSuchUpload(f"{ident}: [uploads] enabled is no")


def require_redis(jobs: JobsSettings) -> None:
    """Require that workers beside the daemons do jobs.

    Raises:
        ConfigurationError: they do not.
    """
    if not jobs.enabled or jobs.redis is None:
        raise ConfigurationError("[jobs] enabled must be yes, and redis say where jobs are kept")


def make_records(jobs: JobsSettings) -> Records:
    """Make what keeps jobs.

    Raises:
        ConfigurationError: it is Redis, and what speaks to it is not installed.
    """
    if jobs.redis is None:
        return MemoryRecords(jobs)
    with with_jobs_extra():
        from imgprocessor.jobs.redis_records import RedisRecords  # noqa: PLC0415
    return RedisRecords(jobs)


def make_dispatch(jobs: JobsSettings) -> Dispatch:
    """Make what tells workers of jobs. Raises as `make_records` does."""
    with with_jobs_extra():
        from imgprocessor.jobs.by_celery import CeleryJobs  # noqa: PLC0415
    return CeleryJobs(jobs).dispatch


@contextlib.contextmanager
def with_jobs_extra() -> Iterator[None]:
    """Import what takes time and memory, and is only there where it was asked for.

    Raises:
        ConfigurationError: it is not.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        wrong = f"{error.name} is not installed: pip install 'imgprocessor[jobs]'"
        raise ConfigurationError(f"[jobs] redis: {wrong}") from error


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
