"""The one place where parts are made and joined."""

import contextlib
import ctypes
import hashlib
import os
import re
import stat
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

from flask import Flask

from imgprocessor.allowed import Allowed
from imgprocessor.encoders import ENCODERS, PILLOW, PILLOW_VERSION, VERSIONS
from imgprocessor.errors import ConfigurationError
from imgprocessor.foreman import Foreman
from imgprocessor.gate import Gate
from imgprocessor.holes import closed_holes
from imgprocessor.log import Complaints, RequestLog, report_unexpected, utc_now
from imgprocessor.masters import Masters
from imgprocessor.metrics import Metrics, Watched
from imgprocessor.operations import add_health, add_metrics, add_purge
from imgprocessor.originals import Originals
from imgprocessor.placeholder import Placeholder
from imgprocessor.places import Places
from imgprocessor.policy import Policy, parse_policy
from imgprocessor.purges import Purges
from imgprocessor.purging import Purging
from imgprocessor.quarantine import Quarantine
from imgprocessor.readiness import Readiness
from imgprocessor.render import SHAPED_BY
from imgprocessor.renderer import Maker, Renderer
from imgprocessor.renderers import Renderers, own_folder
from imgprocessor.renditions import Renditions
from imgprocessor.service import Service
from imgprocessor.settings import (
    LogSettings,
    OriginalsSettings,
    PlaceholderSettings,
    PolicySettings,
    PurgeSettings,
    Settings,
    SigningSettings,
    StoreSettings,
    parse_settings,
)
from imgprocessor.signing import Signing
from imgprocessor.store import Store
from imgprocessor.web import create_web

# From malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

_MIN_TOKEN_CHARACTERS = 16
_MIN_KEY_CHARACTERS = 32
"""128 bits, where somebody writes hexadecimal digits."""

DEFAULT_CONF = Path(__file__).resolve().parent.parent / "conf" / "imgprocessor.ini"


@dataclass(frozen=True)
class Overrides:
    """What a command line may say instead of the settings file; relative to where it is typed."""

    originals: Path | None = None
    policy: Path | None = None


def create_app(conf: Path, overrides: Overrides = Overrides()) -> Flask:
    """Make the WSGI application.

    Raises:
        ConfigurationError: the settings or the policy are wrong, in one clear line.
    """
    keep_memory()
    settings = load_settings(conf, overrides)
    folder = run_folder(settings)
    web = make_web(settings, _renderers(settings, folder))
    Foreman(folder, _processes(settings), settings, Complaints()).start()
    return web


def keep_memory() -> None:
    """Have the C library keep the memory that decoders use, instead of asking for it each time:
    renditions from masters take a fifth less time. What is over 32 MB is given back at once, and of
    the rest all but 64 MB.
    """
    library = ctypes.CDLL(None)
    with contextlib.suppress(AttributeError):  # another C library than GNU's
        library.mallopt(_M_MMAP_THRESHOLD, 32 << 20)
        library.mallopt(_M_TRIM_THRESHOLD, 64 << 20)
        library.mallopt(_M_ARENA_MAX, 1)  # or every thread would keep as much for itself


def make_web(settings: Settings, renderers: Renderers | None = None) -> Flask:
    """Make the WSGI application from settings whose paths are absolute; without renderers,
    renditions are made in this process.

    Raises:
        ConfigurationError: the policy is wrong, or something that must be there is not.
    """
    service = make_service(settings, keeps=True, maker=renderers)
    placeholder = Placeholder(
        Path(settings.placeholder.file), service, settings.pixels, settings.originals
    )
    log = RequestLog(Path(settings.log.file))
    # Two Pillows can lie over each other: which one is loaded is worth a line.
    begin = {"time": utc_now(), "pid": os.getpid(), "started": VERSIONS}
    log.write(begin | {"closed_holes": closed_holes(PILLOW_VERSION)})
    metrics = make_metrics(settings) if settings.metrics.enabled else None
    web = create_web(
        service,
        placeholder,
        settings.freshness,
        log,
        metrics=metrics,
        signing=make_signing(settings),
    )
    root, store = Path(settings.originals.root), Path(settings.store.folder)
    add_health(web, Readiness(root, store, renderers), digest(settings))
    if metrics is not None:
        add_metrics(web, metrics)
    purging = make_purging(settings, service)
    if purging.by_http:
        add_purge(web, purging)
    return web


def make_metrics(settings: Settings) -> Metrics:
    """Make the part that counts.

    Raises:
        ConfigurationError: as `load_policy` does.
    """
    folder = Path(settings.store.folder)
    metrics = Metrics(folder / "metrics", load_policy(settings), Complaints())
    caps = {
        "renditions": settings.store.max_renditions_bytes,
        "masters": settings.store.max_masters_bytes,
    }
    stores = {name: _store(settings.store, name, cap) for name, cap in caps.items()}

    def kept() -> dict[tuple[str, ...], float]:
        known = {(name,): store.kept_bytes() for name, store in stores.items()}
        return {labels: number for labels, number in known.items() if number is not None}

    metrics.watch(Watched("imgprocessor_store_bytes", "Kept.", kept, ("store",)))
    metrics.watch(
        Watched(
            "imgprocessor_store_max_bytes",
            "No more is ever kept.",
            lambda: {(name,): cap for name, cap in caps.items()},
            ("store",),
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
    return Purging(service, settings.purge, _token(settings.purge))


def make_signing(settings: Settings) -> Signing | None:
    """Make the part that tells signed links from others; None where none need be signed.

    Raises:
        ConfigurationError: the keys cannot be read, or are wrong.
    """
    keys = signing_keys(settings.signing)
    return Signing(keys, settings.pixels.max_output_side_pixels) if keys else None


def signing_keys(settings: SigningSettings) -> tuple[str, ...]:
    """Read the keys that links are signed with, the one that signs first; none if no file is named.

    Raises:
        ConfigurationError: they cannot be read, or are wrong.
    """
    if settings.keys_file is None:
        return ()
    file = Path(settings.keys_file)
    where = f"[signing] keys_file: {file}"
    keys = []
    for number, line in enumerate(_secret(file, where).splitlines(), 1):
        key = line.strip()
        if key and not key.startswith("#"):
            keys.append(_word(key, _MIN_KEY_CHARACTERS, f"{where}: line {number}"))
    if not keys:
        raise ConfigurationError(
            f"{where} has no key: put one there, as `openssl rand -hex 32` does"
        )
    return tuple(keys)


def _token(settings: PurgeSettings) -> str | None:
    if settings.token_file is None:
        return None
    file = Path(settings.token_file)
    where = f"[purge] token_file: {file}"
    return _word(_secret(file, where).strip(), _MIN_TOKEN_CHARACTERS, where)


def _secret(file: Path, where: str) -> str:
    """Read a file that not everybody may read."""
    text = _read(file)
    if file.stat().st_mode & stat.S_IRWXO:
        raise ConfigurationError(f"{where} is open to everybody: chmod o= {file}")
    return text


def _word(text: str, min_characters: int, where: str) -> str:
    """Check what is as good as a password; the message never has it."""
    if not re.fullmatch(rf"[!-~]{{{min_characters},200}}", text):
        wrong = f"must hold one word of {min_characters} to 200 ASCII characters"
        raise ConfigurationError(f"{where} {wrong}, such as `openssl rand -hex 32` prints")
    return text


def load_settings(conf: Path, overrides: Overrides = Overrides()) -> Settings:
    """Read the settings file; make its paths, which are relative to it, absolute.

    Raises:
        ConfigurationError: it cannot be read, or is wrong.
    """
    settings = parse_settings(_read(conf), str(conf))
    folder = conf.resolve().parent

    def known(path: str | None) -> str | None:
        return None if path is None else absolute(path)

    def absolute(path: str, override: Path | None = None) -> str:
        return os.path.normpath(Path.cwd() / override if override else folder / path)

    return replace(
        settings,
        originals=replace(
            settings.originals, root=absolute(settings.originals.root, overrides.originals)
        ),
        store=replace(settings.store, folder=absolute(settings.store.folder)),
        renderers=replace(settings.renderers, run_folder=absolute(settings.renderers.run_folder)),
        policy=PolicySettings(absolute(settings.policy.file, overrides.policy)),
        placeholder=PlaceholderSettings(absolute(settings.placeholder.file)),
        purge=replace(
            settings.purge,
            token_file=known(settings.purge.token_file),
            disk_caches=tuple(map(absolute, settings.purge.disk_caches)),
        ),
        signing=SigningSettings(known(settings.signing.keys_file)),
        log=LogSettings(absolute(settings.log.file)),
    )


def make_service(settings: Settings, *, keeps: bool = False, maker: Maker | None = None) -> Service:
    """Make the part that answers requests, without the web.

    Args:
        settings: with absolute paths.
        keeps: whether what is made is kept on disk; a command that runs once has no use for it.
        maker: who makes renditions; this process itself, where nobody is named.

    Raises:
        ConfigurationError: the policy is wrong, or there is no folder of originals.
    """
    policy, store = load_policy(settings), settings.store
    masters = _masters(settings, keeps=keeps)
    renditions = _store(store, "renditions", store.max_renditions_bytes if keeps else 0)
    return Service(
        policy=policy,
        originals=_originals(settings.originals),
        pixels=settings.pixels,
        masters=masters,
        maker=maker or Renderer(masters),
        renditions=Renditions(renditions),
        purges=Purges(Path(store.folder)),
        gate=_gate(store),
        cheaper_when_overloaded=settings.renderers.cheaper_when_overloaded,
        max_wait_seconds=store.max_wait_seconds,
    )


def make_renderer(settings: Settings) -> tuple[Renderer, Masters]:
    """Make what a renderer's process works with."""
    masters = _masters(settings, keeps=True)
    return Renderer(masters), masters


def make_quarantine(settings: Settings) -> Quarantine:
    """Make the memory of originals that did harm.

    Raises:
        ConfigurationError: the run folder cannot be used.
    """
    return Quarantine(run_folder(settings) / "quarantine", settings.renderers.quarantine_seconds)


def run_folder(settings: Settings) -> Path:
    """Make the folder of the sockets and locks that all daemons share.

    Raises:
        ConfigurationError: it cannot be used.
    """
    return own_folder(Path(settings.renderers.run_folder), Path(settings.store.folder))


def _processes(settings: Settings) -> int:
    return settings.renderers.processes or len(os.sched_getaffinity(0))


def _renderers(settings: Settings, folder: Path) -> Renderers:
    processes = _processes(settings)
    places = processes * (1 + settings.renderers.max_waiting_per_process)
    return Renderers(
        folder,
        Places(Gate(folder / "locks"), places),
        make_quarantine(settings),
        max_wait_seconds=settings.store.max_wait_seconds,
        max_render_seconds=settings.renderers.max_render_seconds,
    )


def _masters(settings: Settings, *, keeps: bool) -> Masters:
    store = settings.store
    return Masters(
        _store(store, "masters", store.max_masters_bytes if keeps else 0),
        _gate(store),
        settings.originals,
        wait_seconds=store.max_wait_seconds,
        report=report_unexpected,
    )


def _gate(settings: StoreSettings) -> Gate:
    return Gate(Path(settings.folder) / "locks")


def _store(settings: StoreSettings, name: str, max_bytes: int) -> Store:
    return Store(
        Path(settings.folder) / name,
        max_bytes=max_bytes,
        min_free_percent=settings.min_free_percent,
        complain=Complaints(),
    )


def load_policy(settings: Settings) -> Policy:
    """Read the policy.

    Raises:
        ConfigurationError: it cannot be read, is wrong, or offers what cannot be encoded here.
    """
    file = settings.policy.file
    policy = parse_policy(_read(Path(file)), file)
    for known in policy.formats:
        if known not in ENCODERS:
            wrong = f"{known!r} cannot be written here: its Pillow plugin is not installed"
            raise ConfigurationError(f"{file}: [formats] offer: {wrong}")
    return policy


def digest(settings: Settings) -> str:
    """Return eight characters that change with whatever can change an answer to one request, but
    for the originals: a cache in front that has them in its keys forgets all when they change.

    Raises:
        ConfigurationError: as `load_policy` does.
    """
    policy = load_policy(settings)
    parts: list[object] = [policy, settings.pixels, settings.freshness, SHAPED_BY]
    # What was not always there counts where it is used: the digests of others stay as they were.
    if policy.allowed != Allowed():
        parts.append(policy.allowed)
    if settings.signing.keys_file is not None:
        parts.append("signed")
    return hashlib.sha256(repr(tuple(parts)).encode()).hexdigest()[:8]


def _originals(settings: OriginalsSettings) -> Originals:
    root = Path(settings.root)
    if not root.is_dir() or not os.access(root, os.R_OK | os.X_OK):
        wrong = f"{root} is not a folder that can be read: make it, or name another (--originals)"
        raise ConfigurationError(f"[originals] root: {wrong}")
    return Originals(root, settings)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{file}: must be UTF-8 text") from error
