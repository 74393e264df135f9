"""What operators write, read and checked: files to settings and policy, and their digest."""

import hashlib
import os
from dataclasses import dataclass, fields, replace
from pathlib import Path

from imgprocessor.config.buckets import BucketUrl
from imgprocessor.config.ini_text import read_text
from imgprocessor.config.settings import HttpSettings, PolicySettings, Settings
from imgprocessor.config.settings_file import parse_settings, resolve_paths
from imgprocessor.errors import ConfigurationError
from imgprocessor.images.formats.encoders import ENCODERS
from imgprocessor.images.pipeline import SHAPED_BY
from imgprocessor.policy.limits import Allowed
from imgprocessor.policy.parse import parse_policy
from imgprocessor.policy.table import Policy
from imgprocessor.program import delivered

DEFAULT_CONF = delivered("conf") / "imgprocessor.ini"


def default_conf() -> Path:
    """Return the settings file that counts where none is named: the one that IMGPROCESSOR_CONF in
    the environment names, else the delivered one.
    """
    named = os.environ.get("IMGPROCESSOR_CONF")
    return Path(named) if named else DEFAULT_CONF


@dataclass(frozen=True)
class Overrides:
    """What a command line may say instead of the settings file; relative to where it is typed."""

    originals: Path | None = None
    policy: Path | None = None


def load_settings(conf: Path, overrides: Overrides = Overrides()) -> Settings:
    """Read the settings file; make its paths, which are relative to it, absolute.

    Raises:
        ConfigurationError: it cannot be read, or is wrong.
    """
    settings = resolve_paths(parse_settings(read_text(conf), str(conf)), conf.resolve().parent)
    if overrides.originals is not None:
        root = Path(os.path.normpath(Path.cwd() / overrides.originals))
        settings = replace(settings, originals=replace(settings.originals, roots=(root,)))
    if overrides.policy is not None:
        settings = replace(
            settings, policy=PolicySettings(Path(os.path.normpath(Path.cwd() / overrides.policy)))
        )
    _require_places_apart(settings)
    return settings


def _require_places_apart(settings: Settings) -> None:
    """Refuse places in buckets that overlap: what is kept in one would be shown, or taken for
    something else, in the other.
    """
    options = [
        (f"[{section.name}] {option.name}", getattr(getattr(settings, section.name), option.name))
        for section in fields(settings)
        for option in fields(getattr(settings, section.name))
    ]
    known = [
        (name, place)
        for name, value in options
        for place in (value if isinstance(value, tuple) else (value,))
        if isinstance(place, BucketUrl)
    ]
    for number, (setting, place) in enumerate(known):
        for other, there in known[:number]:
            if place.overlaps(there):
                wrong = f"{setting} = {place} overlaps {other} = {there}: give each its own prefix"
                raise ConfigurationError(wrong)


def load_policy(settings: Settings) -> Policy:
    """Read the policy. Where nothing is made behind answers, or nothing kept, it says so.

    Raises:
        ConfigurationError: it cannot be read, is wrong, or offers what cannot be encoded here.
    """
    file = settings.policy.file
    policy = parse_policy(read_text(file), str(file))
    for known in policy.formats:
        if known not in ENCODERS:
            wrong = f"{known!r} cannot be written here: its Pillow plugin is not installed"
            raise ConfigurationError(f"{file}: [formats] offer: {wrong}")
    is_behind = settings.rendering.best_behind and settings.disk_cache.max_renditions_bytes > 0
    if policy.effort == "behind" and not is_behind:
        return replace(policy, effort="quick")
    return policy


def answers_digest(settings: Settings, policy: Policy) -> str:
    """Return eight characters that change with whatever can change an answer to one request, but
    for the originals: a cache in front that has them in its keys forgets all when they change.
    """
    parts: list[object] = [policy, settings.pixels, settings.freshness, SHAPED_BY]
    # What was not always there counts where it is used: the digests of others stay as they were.
    if policy.allowed != Allowed():
        parts.append(policy.allowed)
    if settings.signing.keys_file is not None:
        parts.append("signed")
    if settings.http != HttpSettings():
        parts.append(settings.http)
    if settings.remote.hosts:
        parts.append(settings.remote.hosts)
    return hashlib.sha256(repr(tuple(parts)).encode()).hexdigest()[:8]
