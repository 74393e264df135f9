"""Who may upload: tokens, of which the file has hashes alone, and what each of them may do."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from imgprocessor.config.ini_text import read_ini
from imgprocessor.config.secrets import secret_text
from imgprocessor.config.types import positive
from imgprocessor.config.upload_settings import UploadsSettings
from imgprocessor.errors import ConfigurationError

UploadRight = Literal["upload", "sizes", "delete"]
"""What a token may do: hand in pictures, have sizes made of them, remove them."""

UPLOAD_RIGHTS: tuple[UploadRight, ...] = get_args(UploadRight)

LOOPBACK = "loopback"
"""What programs on this machine are called that need no token; so no token is called that."""

_NAME = "[a-z0-9-]{1,40}"
_MADE = "as `imgprocessor uploads token NAME` prints"


@dataclass(frozen=True)
class UploadToken:
    """A token, without itself."""

    name: str
    sha256: str
    """Of its ASCII characters, as 64 hexadecimal digits in lower case."""
    may: frozenset[UploadRight]
    max_bytes_an_hour: int = 2_000_000_000
    max_requests_an_hour: int = 10_000
    """Each piece of a resumable upload is one: the upload page sends 256 KiB at a time."""


def token_hash(token: str) -> str:
    """Return what the file has of a token. It is no password that people choose, but as good as 256
    random bits: one round of SHA-256 is right.
    """
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def upload_tokens(settings: UploadsSettings) -> tuple[UploadToken, ...]:
    """Read the tokens; none if no file is named.

    Raises:
        ConfigurationError: they cannot be read, or are wrong. No message repeats what the file has,
            but for names: somebody may have put a token into it.
    """
    if settings.tokens_file is None:
        return ()
    file = settings.tokens_file
    where = f"[uploads] tokens_file: {file}"
    how_made = "`imgprocessor uploads token NAME --may upload` writes a section for it"
    return _parsed(secret_text(file, where, how_made), where)


def read_token_name(text: str) -> str:
    """Read a token's name.

    Raises:
        ValueError: says what is right.
    """
    if not re.fullmatch(_NAME, text) or text == LOOPBACK:
        raise ValueError(f"must have 1 to 40 of a-z, 0-9 and -, and must not be {LOOPBACK}")
    return text


def describe_token(token: UploadToken) -> str:
    """Return the section that the file has of a token."""
    may = " ".join(right for right in UPLOAD_RIGHTS if right in token.may)
    return (
        f"[{token.name}]\n"
        f"sha256 = {token.sha256}\n"
        f"may = {may}\n"
        f"max_bytes_an_hour = {token.max_bytes_an_hour}\n"
        f"max_requests_an_hour = {token.max_requests_an_hour}\n"
    )


def _parsed(text: str, where: str) -> tuple[UploadToken, ...]:
    ini = read_ini(text, where, is_secret=True)
    tokens: list[UploadToken] = []
    for number, name in enumerate(ini.sections(), 1):
        try:
            read_token_name(name)
        except ValueError as error:
            raise ConfigurationError(f"{where}: the name of section {number} {error}") from error
        token = _read_token(name, dict(ini[name]), f"{where}: [{name}]")
        for other in tokens:
            if other.sha256 == token.sha256:
                raise ConfigurationError(f"{where}: [{name}] sha256: is that of [{other.name}]")
        tokens.append(token)
    if not tokens:
        raise ConfigurationError(f"{where} has no token: put a section there, {_MADE} it")
    return tuple(tokens)


def _read_token(name: str, options: dict[str, str], where: str) -> UploadToken:
    values: dict[str, Any] = {}
    for option, value in options.items():
        if option not in _READERS:
            raise ConfigurationError(
                f"{where}: has an option that is not known; there are {', '.join(_READERS)}"
            )
        try:
            values[option] = _READERS[option](value)
        except ValueError as error:
            raise ConfigurationError(f"{where} {option}: {error}") from error
    for option in ("sha256", "may"):
        if option not in values:
            raise ConfigurationError(f"{where} {option}: must be given, {_MADE} it")
    return UploadToken(name, **values)


def _hash(text: str) -> str:
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise ValueError(f"must be 64 hexadecimal digits in lower case, {_MADE} them")
    return text


def _rights(text: str) -> frozenset[UploadRight]:
    words = text.split()
    rights = frozenset(right for right in UPLOAD_RIGHTS if right in words)
    if not words or len(rights) != len(words):
        raise ValueError(f"must be one or more of {' '.join(UPLOAD_RIGHTS)}, each once")
    return rights


_READERS: dict[str, Callable[[str], Any]] = {
    "sha256": _hash,
    "may": _rights,
    "max_bytes_an_hour": positive,
    "max_requests_an_hour": positive,
}
