"""A digest of the program's code, and where its data folders are."""

import hashlib
from pathlib import Path

_ROOT = Path(__file__).parent


def code_digest(*parts: str) -> str:
    """Return eight characters that change with any module or data file of these parts: modules and
    packages, as paths under this package. With `.` it is all of the program.
    """
    digest = hashlib.sha256()
    for part in parts:
        path = _ROOT / part
        files = (
            [path] if path.is_file() else sorted(path.rglob("*.py")) + sorted(path.rglob("*.json"))
        )
        for file in files:
            digest.update(file.read_bytes())
    return digest.hexdigest()[:8]


def delivered(folder: str) -> Path:
    """Return where `apache`, `conf` or `static` is: in the package where it is installed, beside it
    in the project.
    """
    inside = _ROOT / "delivered" / folder
    return inside if inside.is_dir() else _ROOT.parent / folder
