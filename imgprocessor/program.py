"""A digest of the program's code, where its data folders are, and its parts that may be missing."""

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

from imgprocessor.errors import ConfigurationError

_ROOT = Path(__file__).parent


def code_digest() -> str:
    """Return eight characters that change with any module or data file of the program."""
    digest = hashlib.sha256()
    for file in sorted(_ROOT.rglob("*.py")) + sorted(_ROOT.rglob("*.json")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:8]


def delivered(folder: str) -> Path:
    """Return where `apache`, `conf` or `static` is: in the package where it is installed, beside it
    in the project.
    """
    inside = _ROOT / "delivered" / folder
    return inside if inside.is_dir() else _ROOT.parent / folder


@contextlib.contextmanager
def with_extra(extra: str, wanted_by: str) -> Iterator[None]:
    """Import what takes time and memory, and is only there where it was asked for.

    Args:
        extra: the extra of this package that has it.
        wanted_by: the setting without which it would not be needed.

    Raises:
        ConfigurationError: it is not there.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        wrong = f"{error.name} is not installed: pip install 'imgprocessor[{extra}]'"
        raise ConfigurationError(f"{wanted_by}: {wrong}") from error
