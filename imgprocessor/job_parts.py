"""Where the parts of jobs are made, without the web: for it, for workers and the command line."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from imgprocessor.config.jobs_settings import JobsSettings
from imgprocessor.config.settings import Settings
from imgprocessor.errors import ConfigurationError, JobsUnavailable, NoSuchUpload
from imgprocessor.jobs.conversions import Conversions, Dispatch, LaterByJobs
from imgprocessor.jobs.files import JobFiles
from imgprocessor.jobs.memory import MemoryRecords
from imgprocessor.jobs.previews.ability import Abilities, readiness_of
from imgprocessor.jobs.previews.making import PageMaker
from imgprocessor.jobs.previews.sandbox import Sandbox, find_sandbox
from imgprocessor.jobs.records import Records
from imgprocessor.jobs.work import JobWork
from imgprocessor.load import load_policy
from imgprocessor.parts import (
    make_delivery,
    make_pool,
    make_replication,
    make_turns,
    make_uploads,
    processes,
)
from imgprocessor.program import with_extra
from imgprocessor.rendering.job import Renderer
from imgprocessor.rendering.pool import WorkerPool
from imgprocessor.rendering.process import make_locks, make_masters, run_folder
from imgprocessor.rendering.supervisor import Supervisor
from imgprocessor.reporting import complain
from imgprocessor.service.delivery import Delivery
from imgprocessor.service.later import Gathered


def _no_copy(_: str) -> None:
    """Copy nothing: there is no replica."""


def make_conversions(
    settings: Settings,
    delivery: Delivery,
    renderer: Renderer,
    dispatch: Dispatch,
    make_sizes: Callable[[str], None],
    *,
    copy: Callable[[str], object] = _no_copy,
    log: Callable[[dict[str, Any]], None] = lambda _: None,
    abilities: Abilities | None = None,
) -> Conversions:
    """Make the part that takes jobs and does them.

    Args:
        settings: with absolute paths.
        delivery: what answers requests.
        renderer: what renders.
        dispatch: has jobs done.
        make_sizes: makes the sizes of an upload.
        copy: copies an upload to the replica.
        log: takes a line for each job that was done.
        abilities: what documents can be drawn; None where none is.
    """
    jobs = settings.jobs
    while_wanted = renderer.while_wanted if isinstance(renderer, WorkerPool) else None
    work = JobWork(
        files=JobFiles(_job_folder(settings)),
        delivery=delivery,
        renderer=while_wanted or (lambda _: renderer),
        make_sizes=make_sizes,
        copy=copy,
        drop_masters=make_masters(settings, keeps=True).purge,
        turns=make_turns(settings, renderer),
        metadata=settings.uploads.metadata,
        max_side_pixels=settings.pixels.max_output_side_pixels,
        pages=_page_maker(settings, delivery, abilities),
    )
    return Conversions(make_records(jobs), work, dispatch, jobs, log=log)


def make_conversions_on_node(
    settings: Settings,
    dispatch: Dispatch,
    *,
    starts_workers: bool = False,
    abilities: Abilities | None = None,
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
    replication = make_replication(settings)
    delivery = make_delivery(
        settings, policy=policy, keeps=True, renderer=pool, replication=replication
    )
    uploads = make_uploads(settings, delivery, pool, policy, replication)
    if starts_workers:
        Supervisor(folder, processes(settings), settings, complain).start()
    make_sizes = uploads.make_sizes if uploads is not None else _no_sizes
    conversions = make_conversions(
        settings,
        delivery,
        pool,
        dispatch,
        make_sizes,
        copy=_no_copy if replication is None else replication.copy,
        log=log,
        abilities=abilities,
    )
    if replication is not None:
        replication.submit = Gathered(LaterByJobs(conversions, "copy")).submit
    return conversions


def make_abilities(settings: Settings, folder: Path | None = None) -> Abilities:
    """Look what can be drawn on this machine; by default in the folder of jobs."""
    kept = [*_kept_paths(settings)]

    def find() -> Sandbox:
        place = folder or _job_folder(settings)
        with contextlib.suppress(OSError):  # what cannot be made cannot be written
            place.mkdir(parents=True, exist_ok=True)
        return find_sandbox(kept, place)

    return Abilities(settings.previews.kinds, find)


def _kept_paths(settings: Settings) -> Iterator[Path]:
    """Yield all files and folders that the settings name, but for those that are everybody's."""
    for section in fields(settings):
        part = getattr(settings, section.name)
        if section.name not in {"policy", "placeholder"}:
            for option in fields(part):
                value = getattr(part, option.name)
                several = value if isinstance(value, tuple) else (value,)
                yield from (one for one in several if isinstance(one, Path))


def _page_maker(
    settings: Settings, delivery: Delivery, abilities: Abilities | None
) -> PageMaker | None:
    pages = delivery.previews.pages
    if pages is None or abilities is None:
        return None
    return PageMaker(
        pages,
        abilities,
        side_pixels=settings.previews.side_pixels,
        document_seconds=settings.previews.document_seconds,
        max_document_bytes=settings.originals.max_bytes,
        again_seconds=settings.rendering.quarantine_seconds,
        locks=make_locks(settings.disk_cache),
        at_once=max(1, processes(settings) // 2),
    )


def _job_folder(settings: Settings) -> Path:
    return settings.uploads.folder / "jobs"


def drawn_by_workers(settings: Settings, records: Records) -> str:
    """Return `OK` where workers draw all documents that are shown; otherwise what they do not draw,
    and why.
    """
    try:
        return readiness_of(records.announced(), settings.previews.kinds)
    except JobsUnavailable:
        return "nobody knows: where jobs are kept cannot be reached"


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
    with with_extra("jobs", "[jobs] redis"):
        from imgprocessor.jobs.redis_records import RedisRecords  # noqa: PLC0415
    return RedisRecords(jobs)


def make_dispatch(jobs: JobsSettings) -> Dispatch:
    """Make what tells workers of jobs. Raises as `make_records` does."""
    with with_extra("jobs", "[jobs] redis"):
        from imgprocessor.jobs.by_celery import CeleryJobs  # noqa: PLC0415
    return CeleryJobs(jobs).dispatch
