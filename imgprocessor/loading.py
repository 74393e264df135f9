"""What operators write, read and checked: settings, policy, secrets, and what changes with them."""

import hashlib
import os
import re
import stat
from dataclasses import dataclass, replace
from pathlib import Path

from imgprocessor.allowed import Allowed
from imgprocessor.encoders import ENCODERS
from imgprocessor.errors import ConfigurationError
from imgprocessor.policy import Policy, parse_policy
from imgprocessor.render import SHAPED_BY
from imgprocessor.settings import (
    LogSettings,
    PlaceholderSettings,
    PolicySettings,
    PurgeSettings,
    Settings,
    SigningSettings,
)
from imgprocessor.settingsfile import parse_settings

_MIN_TOKEN_CHARACTERS = 16
_MIN_KEY_CHARACTERS = 32
"""128 bits, where somebody writes hexadecimal digits."""

DEFAULT_CONF = Path(__file__).resolve().parent.parent / "conf" / "imgprocessor.ini"


@dataclass(frozen=True)
class Overrides:
    """What a command line may say instead of the settings file; relative to where it is typed."""

    originals: Path | None = None
    policy: Path | None = None


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


def purge_token(settings: PurgeSettings) -> str | None:
    """Read the token that purges by HTTP must show; None where nobody may.

    Raises:
        ConfigurationError: it cannot be read, or is wrong.
    """
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
        remote=replace(settings.remote, folder=absolute(settings.remote.folder)),
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
    if settings.remote.hosts:
        parts.append(settings.remote.hosts)
    return hashlib.sha256(repr(tuple(parts)).encode()).hexdigest()[:8]


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{file}: must be UTF-8 text") from error
