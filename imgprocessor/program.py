"""Which program this is, told by its code: another one may do otherwise."""

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
