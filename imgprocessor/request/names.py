"""What originals are called: files by name, pictures on other hosts by URL; spelled and decoded."""

import re
import unicodedata
from urllib.parse import quote, unquote, unquote_to_bytes

from imgprocessor.errors import BadQuery
from imgprocessor.request.urls import PORTS, read_url, spelled_url

MAX_NAME_BYTES = 1024
"""Of a file's name with its folders, as UTF-8, decoded: in a URL it takes three times as much."""

MAX_SEGMENT_BYTES = 255
"""Between slashes, as file systems have it."""

MAX_URL_BYTES = 500
"""Of an original's URL, as it is spelled in the query."""

MAX_QUOTED = 40
"""So much of a wrong value is repeated in the message, which goes into a header."""


_SCHEMES = tuple(f"{scheme}://" for scheme in PORTS)


def is_url(name: str) -> bool:
    """Whether what an original is called is a URL. No file's name is: it has no empty parts."""
    return name.startswith(_SCHEMES)


def known_as(name: str) -> str:
    """Return what an original is forgotten by: all spellings of one URL come to the same, and all
    names that may find one file.
    """
    return str(read_url(name)) if is_url(name) else unicodedata.normalize("NFC", name)


def forms(name: str) -> tuple[str, ...]:
    """Return a name, and the same letters composed and decomposed (NFC, NFD): macOS writes the
    one, people type the other. Each stands there once, the name itself first.
    """
    if name.isascii():
        return (name,)
    return tuple(dict.fromkeys((name, *(unicodedata.normalize(f, name) for f in ("NFC", "NFD")))))


def spell(name: str) -> str:
    """Return the one spelling of a name, or a URL, that is decoded."""
    return quote(name, safe="/")


def decode(spelled: str) -> str:
    """Return the name, or the URL, whose one spelling this is.

    Raises:
        BadQuery: no original may be called so.
    """
    name = unquote(spelled)
    require_name(name)
    return name


def require_name(name: str) -> None:
    """Check a file's name, or a URL, that is decoded already.

    Raises:
        BadQuery: no original may be called so.
    """
    try:
        name.encode()
        _check_url(name) if is_url(name) else _check_name(name)
    except UnicodeEncodeError as error:
        raise BadQuery(["name: must be UTF-8"]) from error
    except ValueError as error:
        raise BadQuery([f"name={spell(name)[:MAX_QUOTED]}: {error}"]) from error


def is_name(name: str) -> bool:
    """Whether an original may be called so: what is in a folder may be called anything."""
    try:
        require_name(name)
    except BadQuery:
        return False
    return True


def read_name(spelled: str) -> str:
    """Read a file's name from a query string.

    Raises:
        ValueError: no file may be called so.
    """
    # In a query string a plus is a blank.
    return read_name_in_path(spelled.replace("+", " "))


def read_name_in_path(spelled: str) -> str:
    """Read a file's name from a path, where `+` is a plus.

    Raises:
        ValueError: no file may be called so.
    """
    name = _decoded(spelled)
    _check_name(name)
    return name


def read_file_name(spelled: str) -> str:
    """Read what a downloaded file is to be called, from a query string.

    Raises:
        ValueError: no file may be called so.
    """
    name = read_name(spelled)
    if "/" in name:
        raise ValueError("must be a file's name, without folders")
    return name


def read_spelled_url(spelled: str) -> str:
    """Read a URL from a query string.

    Raises:
        ValueError: it is none, or it is not escaped as caches in front expect.
    """
    if len(printable(spelled)) > MAX_URL_BYTES:
        raise ValueError(f"must be at most {MAX_URL_BYTES} bytes long, as spelled in the query")
    url = _decoded(spelled.replace("+", " "))
    _check_url(url)
    if not re.fullmatch(spelled_url(), spelled):
        raise ValueError(
            "must be escaped as encodeURIComponent does, and its scheme, host and port not at all"
            " but for : and /"
        )
    return url


def printable(spelled: str) -> str:
    """Percent-encode what may not stand in a header; what is printable ASCII stays as it is."""
    return quote(spelled.encode("latin-1", "replace"), safe="!#$%&'()*+,-./:;<=>?@[]^_`{|}~")


def _decoded(spelled: str) -> str:
    try:
        return unquote_to_bytes(spelled.encode("latin-1")).decode()
    except UnicodeDecodeError as error:
        raise ValueError("must be UTF-8") from error


def _check_url(url: str) -> None:
    read_url(url)


def _check_name(name: str) -> None:
    if re.search(r"[\x00-\x1f\x7f\\]", name):
        raise ValueError("must have no control characters and no backslashes")
    segments = name.split("/")
    if any(segment in {"", ".", ".."} for segment in segments):
        raise ValueError(
            "must be a path under the folder of originals, without empty parts, . or .."
        )
    longest = max(len(segment.encode()) for segment in segments)
    if len(name.encode()) > MAX_NAME_BYTES or longest > MAX_SEGMENT_BYTES:
        raise ValueError(
            f"must be at most {MAX_NAME_BYTES} bytes of UTF-8, decoded, and"
            f" {MAX_SEGMENT_BYTES} between slashes"
        )
