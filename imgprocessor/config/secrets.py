"""Tokens, keys and passwords in closed files; and how clients show tokens."""

import re
import stat
from pathlib import Path

from imgprocessor.config.ini_text import read_text
from imgprocessor.config.jobs_settings import JobsSettings
from imgprocessor.config.settings import PurgeSettings, SigningSettings
from imgprocessor.config.store_settings import StoreSettings
from imgprocessor.errors import ConfigurationError

FLOWER_USER = "flower"
"""Whose password it is that Flower's pages ask for."""

_MIN_TOKEN_CHARACTERS = 16
_MIN_KEY_CHARACTERS = 32
"""128 bits, where the key is hexadecimal digits."""


def signing_keys(settings: SigningSettings) -> tuple[str, ...]:
    """Read the keys that links are signed with, the one that signs first; none if no file is named.

    Raises:
        ConfigurationError: they cannot be read, or are wrong.
    """
    return _keys_in(settings.keys_file, "[signing] keys_file")


def store_keys(settings: StoreSettings) -> tuple[str, ...]:
    """Read the keys that shared entries are signed with, the one that signs first; none if no file
    is named.

    Raises:
        ConfigurationError: they cannot be read, or are wrong.
    """
    return _keys_in(settings.key_file, "[store] key_file")


def purge_token(settings: PurgeSettings) -> str | None:
    """Read the token that purges by HTTP must show; None where purging by HTTP is off.

    Raises:
        ConfigurationError: it cannot be read, or is wrong.
    """
    return _word_in(settings.token_file, "[purge] token_file")


def flower_password(settings: JobsSettings) -> str | None:
    """Read the password of Flower's pages; None where there are none.

    Raises:
        ConfigurationError: it cannot be read, or is wrong.
    """
    return _word_in(settings.flower_password_file, "[jobs] flower_password_file")


def bearer_token(authorization: str) -> str:
    """Return the token that a header `Authorization` has; nothing where it has none."""
    scheme, _, given = authorization.strip().partition(" ")
    return given.strip() if scheme.lower() == "bearer" else ""


def secret_text(file: Path, where: str, how_made: str) -> str:
    """Read a file that must be closed to other users.

    Args:
        file: the file.
        where: names it in messages.
        how_made: is told where there is none.

    Raises:
        ConfigurationError: it cannot be read, or is open.
    """
    text = read_text(file, where, how_made)
    if file.stat().st_mode & stat.S_IRWXO:
        raise ConfigurationError(f"{where} is open to everybody: chmod o= {file}")
    return text


def _keys_in(file: Path | None, setting: str) -> tuple[str, ...]:
    """Return the keys in a file, one a line."""
    if file is None:
        return ()
    where = f"{setting}: {file}"
    keys = []
    for number, line in enumerate(_words(file, where).splitlines(), 1):
        key = line.strip()
        if key and not key.startswith("#"):
            keys.append(_word(key, _MIN_KEY_CHARACTERS, f"{where}: line {number}"))
    if not keys:
        raise ConfigurationError(
            f"{where} has no key: put one there, as `openssl rand -hex 32` does"
        )
    return tuple(keys)


def _word_in(file: Path | None, setting: str) -> str | None:
    """Return the one word in a file; None where there is no file."""
    if file is None:
        return None
    where = f"{setting}: {file}"
    return _word(_words(file, where).strip(), _MIN_TOKEN_CHARACTERS, where)


def _words(file: Path, where: str) -> str:
    how_made = f"make it: (umask 077; openssl rand -hex 32 > {file}), for the daemons' user"
    return secret_text(file, where, how_made)


def _word(text: str, min_characters: int, where: str) -> str:
    """Check what is as good as a password; the message never has it."""
    if not re.fullmatch(rf"[!-~]{{{min_characters},200}}", text):
        wrong = f"must hold one word of {min_characters} to 200 ASCII characters"
        raise ConfigurationError(f"{where} {wrong}, such as `openssl rand -hex 32` prints")
    return text
