"""The one place where parts are made and joined."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from flask import Flask

from imgprocessor.encoders import ENCODERS, VERSIONS
from imgprocessor.errors import ConfigurationError
from imgprocessor.log import RequestLog, utc_now
from imgprocessor.originals import Originals
from imgprocessor.placeholder import Placeholder
from imgprocessor.policy import Policy, parse_policy
from imgprocessor.service import Service
from imgprocessor.settings import (
    LogSettings,
    OriginalsSettings,
    PlaceholderSettings,
    PolicySettings,
    Settings,
    parse_settings,
)
from imgprocessor.web import create_web

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
    return make_web(load_settings(conf, overrides))


def make_web(settings: Settings) -> Flask:
    """Make the WSGI application from settings whose paths are absolute.

    Raises:
        ConfigurationError: the policy is wrong, or something that must be there is not.
    """
    service = make_service(settings)
    placeholder = Placeholder(
        Path(settings.placeholder.file), service, settings.pixels, settings.originals
    )
    log = RequestLog(Path(settings.log.file))
    # Two Pillows can lie over each other: which one is loaded is worth a line.
    log.write({"time": utc_now(), "pid": os.getpid(), "started": VERSIONS})
    return create_web(service, placeholder, settings.freshness, log)


def load_settings(conf: Path, overrides: Overrides = Overrides()) -> Settings:
    """Read the settings file; make its paths, which are relative to it, absolute.

    Raises:
        ConfigurationError: it cannot be read, or is wrong.
    """
    settings = parse_settings(_read(conf), str(conf))
    folder = conf.resolve().parent

    def absolute(path: str, override: Path | None = None) -> str:
        return os.path.normpath(Path.cwd() / override if override else folder / path)

    return replace(
        settings,
        originals=replace(
            settings.originals, root=absolute(settings.originals.root, overrides.originals)
        ),
        policy=PolicySettings(absolute(settings.policy.file, overrides.policy)),
        placeholder=PlaceholderSettings(absolute(settings.placeholder.file)),
        log=LogSettings(absolute(settings.log.file)),
    )


def make_service(settings: Settings) -> Service:
    """Make the part that answers requests, without the web.

    Raises:
        ConfigurationError: the policy is wrong, or there is no folder of originals.
    """
    policy = load_policy(settings)
    return Service(
        policy=policy,
        originals=_originals(settings.originals),
        pixels=settings.pixels,
        limits=settings.originals,
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
