"""A digest of the program's code, and where its data folders are."""

import hashlib
from pathlib import Path

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
