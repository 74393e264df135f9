"""The one place where parts are made and joined."""

import contextlib
import os
import threading
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path

from flask import Flask

from imgprocessor.download import Downloader
from imgprocessor.encoders import PILLOW, PILLOW_VERSION, VERSIONS
from imgprocessor.errors import ConfigurationError
from imgprocessor.foreman import Foreman
from imgprocessor.gate import Gate
from imgprocessor.holes import closed_holes
from imgprocessor.loading import (
    Overrides,
    digest,
    load_policy,
    load_settings,
    purge_token,
    signing_keys,
)
from imgprocessor.log import Complaints, RequestLog, utc_now
from imgprocessor.metrics import Metrics, Watched
from imgprocessor.operations import add_health, add_metrics, add_purge
from imgprocessor.originals import Originals
from imgprocessor.placeholder import Placeholder
from imgprocessor.places import Places
from imgprocessor.purges import Purges
from imgprocessor.purging import Purging
from imgprocessor.readiness import Readiness
from imgprocessor.remote import Remote
from imgprocessor.renderer import Maker, Renderer
from imgprocessor.renderers import Renderers
from imgprocessor.renditions import Renditions
from imgprocessor.service import Service
from imgprocessor.settings import (
    OriginalsSettings,
    Settings,
)
from imgprocessor.signing import Signing
from imgprocessor.store import Store
from imgprocessor.threads import daemons, too_few
from imgprocessor.web import create_web
from imgprocessor.workshop import (
    give_memory_back,
    make_gate,
    make_masters,
    make_quarantine,
    make_store,
    run_folder,
)


def create_app(conf: Path, overrides: Overrides = Overrides()) -> Flask:
    """Make the WSGI application.

    Raises:
        ConfigurationError: the settings or the policy are wrong, in one clear line.
    """
    give_memory_back()
    settings = load_settings(conf, overrides)
    folder = run_folder(settings)
    web = make_web(settings, _renderers(settings, folder))
    _warn_of_too_few_threads(settings)
    Foreman(folder, _processes(settings), settings, Complaints()).start()
    return web


def make_web(
    settings: Settings,
    renderers: Renderers | None = None,
    downloader: Downloader | None = None,
) -> Flask:
    """Make the WSGI application from settings whose paths are absolute; without renderers,
    renditions are made in this process. Tests have a downloader of their own.

    Raises:
        ConfigurationError: the policy is wrong, or something that must be there is not.
    """
    service = make_service(settings, keeps=True, maker=renderers, downloader=downloader)
    placeholder = Placeholder(
        Path(settings.placeholder.file), service, settings.pixels, settings.originals
    )
    if renderers is not None:
        threading.Thread(target=placeholder.prepare, daemon=True).start()
    log = RequestLog(Path(settings.log.file))
    # Two Pillows can lie over each other: which one is loaded is worth a line.
    begin = {"time": utc_now(), "pid": os.getpid(), "started": VERSIONS}
    log.write(begin | {"closed_holes": closed_holes(PILLOW_VERSION)})
    metrics = make_metrics(settings, renderers) if settings.metrics.enabled else None
    web = create_web(
        service,
        placeholder,
        settings.freshness,
        log,
        metrics=metrics,
        signing=make_signing(settings),
    )
    root, store = Path(settings.originals.root), Path(settings.store.folder)
    remote = Path(settings.remote.folder) if settings.remote.hosts else None
    add_health(web, Readiness(root, store, remote, renderers), digest(settings))
    if metrics is not None:
        add_metrics(web, metrics)
    purging = make_purging(settings, service)
    if purging.by_http:
        add_purge(web, purging)
    return web


def make_metrics(settings: Settings, renderers: Renderers | None = None) -> Metrics:
    """Make the part that counts, what waits for the renderers included.

    Raises:
        ConfigurationError: as `load_policy` does.
    """
    folder = Path(settings.store.folder)
    metrics = Metrics(folder / "metrics", load_policy(settings), Complaints())
    caps = {
        "renditions": settings.store.max_renditions_bytes,
        "masters": settings.store.max_masters_bytes,
    }
    stores = {name: make_store(settings.store, name, cap) for name, cap in caps.items()}
    if settings.remote.hosts:
        caps["remote"] = settings.remote.max_kept_bytes
        stores["remote"] = _remote_store(settings)

    def of_each(ask: Callable[[Store], int | None]) -> dict[tuple[str, ...], float]:
        # A store whose disk fails must not hide the others.
        known: dict[tuple[str, ...], float] = {}
        for name, store in stores.items():
            with contextlib.suppress(OSError):
                number = ask(store)
                if number is not None:
                    known[(name,)] = number
        return known

    metrics.watch(
        Watched("imgprocessor_store_bytes", "Kept.", partial(of_each, Store.kept_bytes), ("store",))
    )
    metrics.watch(
        Watched(
            "imgprocessor_damaged_entries_total",
            "Kept ones that were found damaged, or could not be read.",
            partial(of_each, lambda store: store.damages.read()),
            ("store",),
            grows=True,
        )
    )
    metrics.watch(
        Watched(
            "imgprocessor_store_max_bytes",
            "No more is ever kept.",
            lambda: {(name,): cap for name, cap in caps.items()},
            ("store",),
        )
    )
    if renderers is not None:
        places = {("free",): renderers.free_places, ("taken",): renderers.taken_places}
        metrics.watch(
            Watched(
                "imgprocessor_places",
                "For jobs that are rendered or wait for that.",
                lambda: {state: count() for state, count in places.items()},
                ("state",),
            )
        )
    about = (metadata.version("imgprocessor"), PILLOW, digest(settings))
    labels = ("version", "pillow", "policy")
    metrics.watch(Watched("imgprocessor_build_info", "What runs here.", lambda: {about: 1}, labels))
    return metrics


def make_purging(settings: Settings, service: Service) -> Purging:
    """Make the part that purges.

    Raises:
        ConfigurationError: the token cannot be read, or is wrong.
    """
    return Purging(service, settings.purge, purge_token(settings.purge))


def make_signing(settings: Settings) -> Signing | None:
    """Make the part that tells signed links from others; None where none need be signed.

    Raises:
        ConfigurationError: the keys cannot be read, or are wrong.
    """
    keys = signing_keys(settings.signing)
    return Signing(keys, settings.pixels.max_output_side_pixels) if keys else None


def make_service(
    settings: Settings,
    *,
    keeps: bool = False,
    maker: Maker | None = None,
    downloader: Downloader | None = None,
) -> Service:
    """Make the part that answers requests, without the web.

    Args:
        settings: with absolute paths.
        keeps: whether what is made is kept on disk; a command that runs once has no use for it.
        maker: who makes renditions; this process itself, where nobody is named.
        downloader: what fetches originals from elsewhere, where it is not the usual.

    Raises:
        ConfigurationError: the policy is wrong, or there is no folder of originals.
    """
    policy, store = load_policy(settings), settings.store
    masters = make_masters(settings, keeps=keeps)
    renditions = make_store(store, "renditions", store.max_renditions_bytes if keeps else 0)
    purges = Purges(Path(store.folder))
    return Service(
        policy=policy,
        originals=_originals(settings.originals),
        remote=_remote(settings, purges, downloader, keeps=keeps),
        pixels=settings.pixels,
        masters=masters,
        maker=maker or Renderer(masters),
        renditions=Renditions(renditions),
        purges=purges,
        gate=make_gate(store),
        cheaper_when_overloaded=settings.renderers.cheaper_when_overloaded,
        max_wait_seconds=store.max_wait_seconds,
    )


def _processes(settings: Settings) -> int:
    return settings.renderers.processes or len(os.sched_getaffinity(0))


def _max_jobs(settings: Settings) -> int:
    return _processes(settings) * (1 + settings.renderers.max_waiting_per_process)


def _warn_of_too_few_threads(settings: Settings) -> None:
    found = daemons()
    if found is not None:
        jobs, fetches = _max_jobs(settings), settings.remote.max_fetches
        wrong = too_few(found, max_jobs=jobs, max_fetches=fetches)
        if wrong is not None:
            Complaints()(wrong)


def _renderers(settings: Settings, folder: Path) -> Renderers:
    return Renderers(
        folder,
        Places(Gate(folder / "locks"), _max_jobs(settings)),
        make_quarantine(settings),
        max_wait_seconds=settings.store.max_wait_seconds,
        max_render_seconds=settings.renderers.max_render_seconds,
    )


def _originals(settings: OriginalsSettings) -> Originals:
    root = Path(settings.root)
    if not root.is_dir() or not os.access(root, os.R_OK | os.X_OK):
        wrong = f"{root} is not a folder that can be read: make it, or name another (--originals)"
        raise ConfigurationError(f"[originals] root: {wrong}")
    return Originals(root, settings)


def _remote(
    settings: Settings, purges: Purges, downloader: Downloader | None, *, keeps: bool
) -> Remote | None:
    remote = settings.remote
    if not remote.hosts:
        return None
    if remote.max_kept_bytes < 10 * remote.max_bytes:
        wrong = f"[remote] max_kept_bytes must be at least ten times max_bytes: {remote.max_bytes}"
        raise ConfigurationError(f"{wrong}; no original takes more than a tenth")
    return Remote(
        remote,
        settings.originals,
        store=_remote_store(settings, keeps=keeps),
        purges=purges,
        downloader=downloader or Downloader(remote),
        complain=Complaints(),
    )


def _remote_store(settings: Settings, *, keeps: bool = True) -> Store:
    return Store(
        Path(settings.remote.folder),
        max_bytes=settings.remote.max_kept_bytes if keeps else 0,
        min_free_percent=settings.store.min_free_percent,
        complain=Complaints(),
        whole_groups=True,
    )
