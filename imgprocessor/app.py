"""The one place where parts are made and joined."""

import os
import threading
from importlib import metadata
from pathlib import Path

from flask import Flask

from imgprocessor.config.secrets import purge_token, signing_keys
from imgprocessor.config.settings import OriginalsSettings, Settings
from imgprocessor.edge.writers import Cache, Site, configuration
from imgprocessor.errors import ConfigurationError
from imgprocessor.images.formats.encoders import PILLOW, VERSIONS
from imgprocessor.load import Overrides, answers_digest, default_conf, load_policy, load_settings
from imgprocessor.originals.fetch import Fetcher
from imgprocessor.originals.folder import Folder
from imgprocessor.originals.local_copies import LocalCopies
from imgprocessor.originals.remote import Remote
from imgprocessor.originals.source import Source
from imgprocessor.policy.table import Policy
from imgprocessor.rendering.admission import Admission
from imgprocessor.rendering.job import DirectRenderer, Renderer
from imgprocessor.rendering.pool import WorkerPool
from imgprocessor.rendering.process import (
    give_memory_back,
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
from imgprocessor.service.later import InProcess
from imgprocessor.service.library import Library, TinyPictures
from imgprocessor.service.placeholder import Placeholder
from imgprocessor.service.purge import Purger
from imgprocessor.service.readiness import Readiness
from imgprocessor.storage.generation import Generations
from imgprocessor.storage.locks import Locks
from imgprocessor.storage.plain_files import PlainFiles
from imgprocessor.web.browse import Links, add_browse, thumbnail_widths
from imgprocessor.web.daemons import daemons, too_few
from imgprocessor.web.log import RequestLog, utc_now
from imgprocessor.web.metrics import (
    Metrics,
    watched_build,
    watched_disk_caches,
    watched_places,
)
from imgprocessor.web.operator import add_health, add_metrics, add_purge
from imgprocessor.web.pictures import create_web


def create_app(conf: Path | None = None, overrides: Overrides = Overrides()) -> Flask:
    """Make the WSGI application from a settings file, by default that of `default_conf`.

    Raises:
        ConfigurationError: the settings or the policy are wrong, in one clear line.
    """
    give_memory_back()
    settings = load_settings(conf or default_conf(), overrides)
    folder = run_folder(settings)
    web = make_web(settings, _pool(settings, folder))
    _warn_of_too_few_threads(settings)
    Supervisor(folder, _processes(settings), settings, complain).start()
    return web


def make_web(
    settings: Settings,
    pool: WorkerPool | None = None,
    fetcher: Fetcher | None = None,
) -> Flask:
    """Make the WSGI application from settings whose paths are absolute; without a pool,
    renditions are made in this process. Tests have a fetcher of their own.

    Raises:
        ConfigurationError: the policy is wrong, or something that must be there is not.
    """
    policy = load_policy(settings)
    delivery = make_delivery(settings, policy=policy, keeps=True, renderer=pool, fetcher=fetcher)
    placeholder = Placeholder(
        settings.placeholder.file, delivery, make_locks(settings.disk_cache), settings.originals
    )
    if pool is not None:
        threading.Thread(target=placeholder.prepare, daemon=True).start()
    log = RequestLog(settings.log.file)
    # Two Pillows can lie over each other: which one is loaded is worth a line.
    log.write({"time": utc_now(), "pid": os.getpid(), "started": VERSIONS})
    metrics = make_metrics(settings, policy, pool) if settings.metrics.enabled else None
    web = create_web(
        delivery,
        placeholder,
        settings.freshness,
        log,
        metrics=metrics,
        signing=make_signing(settings),
        originals=make_full(settings),
        allow_origin=settings.http.allow_origin,
    )
    remote = settings.remote.folder if settings.remote.hosts else None
    if settings.browse.enabled:
        add_browse(web, _library(settings, delivery, pool), _links(settings, policy))
    ready = Readiness(settings.originals.root, settings.disk_cache.folder, remote, pool)
    add_health(web, ready, answers_digest(settings, policy))
    if metrics is not None:
        add_metrics(web, metrics)
    purger = make_purger(settings, delivery)
    if purger.by_http:
        add_purge(web, purger)
    return web


def make_metrics(settings: Settings, policy: Policy, pool: WorkerPool | None = None) -> Metrics:
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
    if settings.remote.hosts:
        caps["remote"] = settings.remote.max_kept_bytes
        disk_caches["remote"] = _plain_files(settings)
    for watched in watched_disk_caches(disk_caches, caps):
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
    return FullOriginals(_folder(settings.originals), settings.originals)


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
    masters = make_masters(settings, keeps=keeps)
    renditions = make_disk_cache(
        disk_cache, "renditions", disk_cache.max_renditions_bytes if keeps else 0
    )
    generations = Generations(disk_cache.folder)
    return Delivery(
        policy=policy or load_policy(settings),
        sources=_sources(settings, generations, fetcher, keeps=keeps),
        hosts=settings.remote.hosts,
        pixels=settings.pixels,
        masters=masters,
        renderer=renderer or DirectRenderer(masters),
        renditions=Renditions(renditions),
        generations=generations,
        locks=make_locks(disk_cache),
        cheaper_when_overloaded=settings.rendering.cheaper_when_overloaded,
        single_flight_seconds=settings.rendering.single_flight_seconds,
    )


def _library(settings: Settings, delivery: Delivery, pool: WorkerPool | None) -> Library:
    source = _folder(settings.originals)
    tiny = TinyPictures(source, delivery)
    if not settings.disk_cache.max_renditions_bytes:
        return Library(source, tiny, None)  # nothing made behind a page would be there for another
    # Half of the workers stay free for visitors who come meanwhile.
    most = max(1, _processes(settings) // 2)
    later = InProcess(
        tiny.make,
        may_begin=lambda: pool is None or pool.taken_places() < most,
        locks=make_locks(settings.disk_cache),
    )
    return Library(source, tiny, later)


def _links(settings: Settings, policy: Policy) -> Links:
    keys = signing_keys(settings.signing)
    widths = thumbnail_widths(policy, settings.pixels.max_output_side_pixels)
    return Links(widths, keys[0] if keys else None)


def _processes(settings: Settings) -> int:
    return settings.rendering.workers or len(os.sched_getaffinity(0))


def _max_jobs(settings: Settings) -> int:
    return _processes(settings) * (1 + settings.rendering.max_waiting_per_worker)


def _warn_of_too_few_threads(settings: Settings) -> None:
    found = daemons()
    if found is not None:
        jobs, fetches = _max_jobs(settings), settings.remote.max_fetches
        wrong = too_few(found, max_jobs=jobs, max_fetches=fetches)
        if wrong is not None:
            complain(wrong)


def _pool(settings: Settings, folder: Path) -> WorkerPool:
    return WorkerPool(
        folder,
        Admission(Locks(folder / "locks"), _max_jobs(settings)),
        Quarantine(folder / "quarantine", settings.rendering.quarantine_seconds),
        wait_seconds=settings.rendering.worker_wait_seconds,
        answer_seconds=max_job_seconds(settings.rendering),
    )


def _sources(
    settings: Settings, generations: Generations, fetcher: Fetcher | None, *, keeps: bool
) -> dict[str, Source]:
    sources: dict[str, Source] = {"": _folder(settings.originals)}
    if settings.remote.hosts:
        remote = _remote(settings, generations, fetcher, keeps=keeps)
        sources |= dict.fromkeys(PORTS, remote)
    return sources


def _folder(settings: OriginalsSettings) -> Folder:
    root = settings.root
    if not root.is_dir() or not os.access(root, os.R_OK | os.X_OK):
        wrong = f"{root} is not a folder that can be read: make it, or name another (--originals)"
        raise ConfigurationError(f"[originals] root: {wrong}")
    return Folder(root, settings.max_bytes)


def _remote(
    settings: Settings, generations: Generations, fetcher: Fetcher | None, *, keeps: bool
) -> Remote:
    remote = settings.remote
    if remote.max_kept_bytes < 10 * remote.max_bytes:
        wrong = f"[remote] max_kept_bytes must be at least ten times max_bytes: {remote.max_bytes}"
        raise ConfigurationError(f"{wrong}; no original takes more than a tenth")
    return Remote(
        remote,
        LocalCopies(remote.folder, remote.max_bytes, _plain_files(settings, keeps=keeps)),
        generations=generations,
        fetcher=fetcher or Fetcher(remote),
        complain=complain,
    )


def _plain_files(settings: Settings, *, keeps: bool = True) -> PlainFiles:
    return PlainFiles(
        settings.remote.folder,
        max_bytes=settings.remote.max_kept_bytes if keeps else 0,
        min_free_percent=settings.disk_cache.min_free_percent,
        complain=complain,
    )
