"""The web application, joined from its parts."""

import os
import threading
from collections.abc import Callable, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TypeVar

from flask import Flask, send_from_directory
from werkzeug.wrappers import Response

from imgprocessor.config.settings import Settings
from imgprocessor.config.upload_tokens import upload_tokens
from imgprocessor.daemons import daemons, threads_here, too_few
from imgprocessor.edge.writers import Cache, Site, configuration
from imgprocessor.images.formats.encoders import PILLOW, VERSIONS
from imgprocessor.job_parts import (
    drawn_by_workers,
    make_conversions,
    make_dispatch,
    make_records,
)
from imgprocessor.jobs.conversions import STRAYS_SECONDS, Conversions, LaterByJobs, PagesByJobs
from imgprocessor.jobs.in_process import InProcessJobs
from imgprocessor.load import Overrides, answers_digest, default_conf, load_policy, load_settings
from imgprocessor.originals.configured import keeps_copies, make_plain_files, make_roots
from imgprocessor.originals.http.fetch import Fetcher
from imgprocessor.originals.roots import as_one
from imgprocessor.originals.source import Root
from imgprocessor.parts import (
    direct_renderer,
    first_upload_store,
    make_delivery,
    make_full,
    make_pool,
    make_purger,
    make_replication,
    make_signing,
    make_unfinished,
    make_uploads,
    max_jobs,
    processes,
)
from imgprocessor.policy.table import Policy
from imgprocessor.rendering.job import Renderer
from imgprocessor.rendering.pool import WorkerPool
from imgprocessor.rendering.process import (
    give_memory_back,
    make_disk_cache,
    make_locks,
    run_folder,
)
from imgprocessor.rendering.supervisor import Supervisor
from imgprocessor.reporting import complain
from imgprocessor.request.hints import ACCEPT_CH
from imgprocessor.request.parameters import PARAMETERS
from imgprocessor.service.delivery import Answer, Delivery
from imgprocessor.service.gallery.documents import Documents
from imgprocessor.service.gallery.library import Library, TinyPictures
from imgprocessor.service.later import (
    BestOutcome,
    Gathered,
    InProcess,
    Later,
    Owed,
    make_best,
    owed,
    regularly,
)
from imgprocessor.service.placeholder import Placeholder
from imgprocessor.service.readiness import Readiness
from imgprocessor.service.uploads import Uploads
from imgprocessor.storage.locks import Locks
from imgprocessor.storage.uploads.allowance import Allowance
from imgprocessor.storage.uploads.durable import told_in_words
from imgprocessor.storage.uploads.folder import UploadFolder
from imgprocessor.storage.uploads.replication.replication import Replication
from imgprocessor.web.browse import add_browse, make_links
from imgprocessor.web.jobs.convert import add_convert
from imgprocessor.web.jobs.pages import ConvertPages
from imgprocessor.web.log import RequestLog, job_entry, utc_now
from imgprocessor.web.metrics import (
    Metrics,
    watched_build,
    watched_disk_caches,
    watched_jobs,
    watched_places,
    watched_replica,
    watched_uploads,
)
from imgprocessor.web.operator import add_health, add_metrics, add_purge
from imgprocessor.web.pictures.routes import create_web
from imgprocessor.web.responses import PAGE_SECURITY
from imgprocessor.web.uploads.pages import taken_documents
from imgprocessor.web.uploads.permission import Permission
from imgprocessor.web.uploads.resumable import add_resumable
from imgprocessor.web.uploads.routes import UploadBounds, UploadPages, add_uploads

_Wanted = TypeVar("_Wanted")

_SWEEP_SECONDS = 60.0
_SWEEP_JOBS_SECONDS = 2.0


def create_app(conf: Path | None = None, overrides: Overrides = Overrides()) -> Flask:
    """Make the WSGI application from a settings file, by default that of `default_conf`.

    Raises:
        ConfigurationError: the settings or the policy are wrong, in one clear line.
    """
    give_memory_back()
    settings = load_settings(conf or default_conf(), overrides)
    folder = run_folder(settings)
    web = make_web(settings, make_pool(settings, folder))
    _warn_of_too_few_threads(settings)
    Supervisor(folder, processes(settings), settings, complain).start()
    return web


def add_page(web: Flask, folder: Path) -> None:
    """Serve the demonstration page and all pages' files as well, as Apache would do it."""

    @web.route("/", defaults={"file": "index.html"})
    @web.route("/<file>")
    def static_file(file: str) -> Response:
        response = send_from_directory(folder, file)
        if response.mimetype == "text/html":
            response.headers["Accept-CH"] = ACCEPT_CH
            response.headers["Content-Security-Policy"] = PAGE_SECURITY
        return response


def make_web(
    settings: Settings, pool: WorkerPool | None = None, fetcher: Fetcher | None = None
) -> Flask:
    """Make the WSGI application from settings whose paths are absolute; without a pool,
    renditions are made in this process. Tests have a fetcher of their own.

    Raises:
        ConfigurationError: the policy is wrong, or something that must be there is not.
    """
    policy = load_policy(settings)
    replication = make_replication(settings)
    counts = settings.metrics.enabled
    metrics = make_metrics(settings, policy, pool, replication) if counts else None
    roots = make_roots(settings, keeps=True)
    delivery = make_delivery(
        settings,
        policy=policy,
        keeps=True,
        renderer=pool,
        fetcher=fetcher,
        roots=roots,
        count_shared=metrics.count_shared if metrics is not None else lambda _tier, _outcome: None,
        replication=replication,
    )
    placeholder = Placeholder(
        settings.placeholder.file, delivery, make_locks(settings.disk_cache), settings.originals
    )
    if pool is not None:
        threading.Thread(target=placeholder.prepare, daemon=True).start()
    log = RequestLog(settings.log.file)
    # Two Pillows can lie over each other: which one is loaded is worth a line.
    log.write({"time": utc_now(), "pid": os.getpid(), "started": VERSIONS})
    if policy.effort == "behind":
        delivery.work_later(_best_behind(settings, delivery, pool, metrics))
    web = create_web(
        delivery,
        placeholder,
        settings.freshness,
        log,
        metrics=metrics,
        signing=make_signing(settings),
        originals=make_full(settings, roots, replication),
        allow_origin=settings.http.allow_origin,
    )
    if settings.browse.enabled:
        library = _library(settings, policy, roots, delivery, pool)
        add_browse(web, library, make_links(settings, policy))
    renderer = pool or direct_renderer(settings)
    uploads = make_uploads(settings, delivery, renderer, policy, replication)
    if uploads is not None:
        _add_uploads(
            web, settings, uploads, delivery, pool, policy=policy, log=log, replication=replication
        )
    add_health(web, _readiness(settings, roots, pool), answers_digest(settings, policy))
    if metrics is not None:
        add_metrics(web, metrics)
    if (purger := make_purger(settings, delivery)).by_http:
        add_purge(web, purger)
    return web


def _readiness(settings: Settings, roots: Sequence[Root], pool: WorkerPool | None) -> Readiness:
    copies = settings.remote.folder if keeps_copies(settings) else None
    previews = None
    if settings.previews.enabled:
        previews = partial(drawn_by_workers, settings, make_records(settings.jobs))
    return Readiness(roots, settings.disk_cache.folder, copies, pool, previews)


def _add_uploads(
    web: Flask,
    settings: Settings,
    uploads: Uploads,
    delivery: Delivery,
    pool: WorkerPool | None,
    *,
    policy: Policy,
    log: RequestLog,
    replication: Replication | None,
) -> None:
    tokens = upload_tokens(settings.uploads)
    locks = make_locks(settings.disk_cache)
    permission = Permission(tokens, Allowance(settings.uploads.folder / "allowances", locks))
    bounds = UploadBounds(settings.uploads, settings.pixels.max_output_side_pixels)
    taken = taken_documents(settings, policy)
    pages = UploadPages(settings.uploads.max_bytes, needs_token=bool(tokens), documents=taken)
    add_uploads(web, uploads, permission, bounds, pages)
    unfinished = make_unfinished(settings)
    add_resumable(web, uploads, unfinished, permission=permission, bounds=bounds, pages=pages)
    later: Later[str] = _later(settings, pool, uploads.make_missing)
    copies = None if replication is None else _copies_here(settings, replication)
    if settings.jobs.enabled:
        renderer = pool or direct_renderer(settings)
        conversions = _conversions(settings, delivery, renderer, uploads, log)
        if settings.jobs.redis is not None:
            delivery.previews.ask = PagesByJobs(conversions).ask
            later = LaterByJobs(conversions, "sizes")
            copies = LaterByJobs(conversions, "copy")
        add_convert(
            web,
            conversions,
            uploads,
            permission,
            ConvertPages(
                settings.uploads.max_bytes,
                bounds.max_side_pixels,
                needs_token=bool(tokens),
                documents=taken,
            ),
            max_bytes=settings.uploads.max_bytes,
            freshness=settings.freshness,
            max_waiters=threads_here() // 2,
        )
    uploads.work_later(later)
    sweeps = [uploads.sweep, unfinished.sweep]
    if replication is not None and copies is not None:
        replication.submit = Gathered(copies).submit
        sweeps.append(replication.sweep)
    if pool is not None:
        for sweep in sweeps:
            regularly(_SWEEP_SECONDS, partial(_in_words, sweep))


def _copies_here(settings: Settings, replication: Replication) -> Later[str]:
    """Return what copies uploads in this process, one at a time over all of this node: a replica
    that is slow must not keep others waiting who do something behind answers.
    """
    locks = Locks(settings.uploads.folder / "replica" / "copying" / "locks")
    return InProcess(replication.copy, may_begin=lambda: True, locks=locks)


def _in_words(work: Callable[[], None]) -> None:
    """Do work that is done again anyway: a bucket that fails is no reason for a traceback."""
    with told_in_words():
        work()


def _conversions(
    settings: Settings, delivery: Delivery, renderer: Renderer, uploads: Uploads, log: RequestLog
) -> Conversions:
    """Make what takes jobs: for Celery's workers, or, without Redis, for threads of its own."""
    if settings.jobs.redis is not None:
        dispatch = make_dispatch(settings.jobs)
        return make_conversions(settings, delivery, renderer, dispatch, uploads.make_sizes)
    here = InProcessJobs(max(1, processes(settings) // 2))
    conversions = make_conversions(
        settings,
        delivery,
        renderer,
        here.dispatch,
        uploads.make_sizes,
        log=lambda done: log.write(job_entry(done)),
    )
    here.start(conversions.do)
    regularly(_SWEEP_JOBS_SECONDS, conversions.sweep)
    regularly(STRAYS_SECONDS, conversions.remove_strays)
    return conversions


def make_metrics(
    settings: Settings,
    policy: Policy,
    pool: WorkerPool | None = None,
    replication: Replication | None = None,
) -> Metrics:
    """Make the part that counts, what waits for the workers included."""
    folder = settings.disk_cache.folder
    metrics = Metrics(folder / "metrics", policy, complain)
    caps = {
        "renditions": settings.disk_cache.max_renditions_bytes,
        "masters": settings.disk_cache.max_masters_bytes,
    }
    disk_caches = {
        name: make_disk_cache(settings.disk_cache, name, cap) for name, cap in caps.items()
    }
    if keeps_copies(settings):
        caps["remote"] = settings.remote.max_kept_bytes
        disk_caches["remote"] = make_plain_files(settings)
    for watched in watched_disk_caches(disk_caches, caps):
        metrics.watch(watched)
    store = first_upload_store(settings)
    if isinstance(store, UploadFolder):  # what is in a bucket nobody counts
        for watched in watched_uploads(store.count, store.kept_bytes, settings.uploads):
            metrics.watch(watched)
    if replication is not None:
        for watched in watched_replica(replication):
            metrics.watch(watched)
    if settings.jobs.enabled and settings.jobs.redis is not None:
        for watched in watched_jobs(make_records(settings.jobs)):
            metrics.watch(watched)
    if pool is not None:
        metrics.watch(watched_places(pool.free_places, pool.taken_places))
    digest = answers_digest(settings, policy)
    metrics.watch(watched_build(metadata.version("imgprocessor"), PILLOW, digest))
    return metrics


def edge_configuration(cache: Cache, settings: Settings, site: Site) -> str:
    """Write the configuration of a cache in front.

    Raises:
        ConfigurationError: as `load_policy` does.
    """
    policy = load_policy(settings)
    return configuration(cache, settings, policy, answers_digest(settings, policy), site)


def _library(
    settings: Settings,
    policy: Policy,
    roots: Sequence[Root],
    delivery: Delivery,
    pool: WorkerPool | None,
) -> Library:
    source = as_one(roots)
    tiny, allowed = TinyPictures(source, delivery), policy.allowed.of(PARAMETERS["page"])
    documents = Documents(source, delivery.previews, settings.previews.kinds, allowed)
    # Otherwise nothing made behind a page would be there for another.
    keeps = settings.disk_cache.max_renditions_bytes > 0
    later = _later(settings, pool, tiny.make) if keeps else None
    return Library(source, tiny, later, documents)


def _later(
    settings: Settings, pool: WorkerPool | None, work: Callable[[_Wanted], bool | None]
) -> InProcess[_Wanted]:
    # Half of the workers stay free for visitors who come meanwhile.
    most = max(1, processes(settings) // 2)
    return InProcess(
        work,
        may_begin=lambda: pool is None or pool.taken_places() < most,
        locks=make_locks(settings.disk_cache),
    )


def _best_behind(
    settings: Settings, delivery: Delivery, pool: WorkerPool | None, metrics: Metrics | None
) -> Callable[[Answer], None]:
    """Return what is told of each quick answer, and has its best made."""

    def count(outcome: BestOutcome) -> None:
        if metrics is not None:
            metrics.count_best(outcome)

    def make(wanted: Owed) -> bool:
        outcome = make_best(delivery, wanted)
        count(outcome)
        return outcome != "put_off"

    best = _later(settings, pool, make)

    def owe(answer: Answer) -> None:
        if not best.submit(owed(answer)):
            count("dropped")

    return owe


def _warn_of_too_few_threads(settings: Settings) -> None:
    found = daemons()
    if found is not None:
        jobs, fetches = max_jobs(settings), settings.remote.max_fetches
        has_buckets = bool(settings.originals.buckets)
        wrong = too_few(found, max_jobs=jobs, max_fetches=fetches, has_buckets=has_buckets)
        if wrong is not None:
            complain(wrong)
