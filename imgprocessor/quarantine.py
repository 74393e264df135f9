"""Originals that did harm: remembered for some minutes, over all processes, and not opened.

An original that killed a renderer is tried once more, and never a third time; one that was refused
after it had been opened is not opened again to be refused again. What is remembered belongs to one
version of one file: a mended original is free at once.
"""

import contextlib
import hashlib
import os
import time
from pathlib import Path

from imgprocessor.errors import (
    BrokenOriginal,
    DeadlyOriginal,
    ImageError,
    OversizedOriginal,
    UnsupportedOriginal,
)
from imgprocessor.originals import Original

_MAX_DEATHS = 2
_MAX_REMEMBERED = 10_000

_VERDICTS: dict[str, type[ImageError]] = {
    kind.code: kind for kind in (BrokenOriginal, OversizedOriginal, UnsupportedOriginal)
}
"""What an original is refused for, which opening it again would not change."""


class Quarantine:
    """A folder with one small file for each original that did harm."""

    def __init__(self, folder: Path, seconds: int) -> None:
        """Use a folder, which is made when it is first needed. Where it cannot be used, nothing
        is remembered.
        """
        self._folder = folder
        self._seconds = seconds

    def check(self, original: Original) -> None:
        """Refuse an original that is known to do harm.

        Raises:
            DeadlyOriginal: it killed a renderer twice.
            ImageError: what it was refused for.
        """
        with contextlib.suppress(OSError, ValueError):
            code, _, detail = self._read(self._verdict_of(original)).partition("\n")
            if code in _VERDICTS:
                raise _VERDICTS[code](f"{detail} (remembered)")
        if self._deaths(original) >= _MAX_DEATHS:
            wrong = f"{original.path} killed a renderer {_MAX_DEATHS} times; not opened"
            raise DeadlyOriginal(wrong)

    def note_death(self, original: Original) -> int:
        """Remember that a renderer died over an original; return how often one did."""
        with contextlib.suppress(OSError):
            path = self._deaths_of(original)
            if not self._deaths(original):
                self._make_room()
                path.unlink(missing_ok=True)  # one of long ago
            # One byte a death: appending is safe between processes.
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                os.write(descriptor, b"x")
                return os.fstat(descriptor).st_size
            finally:
                os.close(descriptor)
        return _MAX_DEATHS  # nothing can be remembered: it must not be tried for ever

    def note_verdict(self, original: Original, error: ImageError) -> None:
        """Remember what an original was refused for, where it would be refused again."""
        if error.code not in _VERDICTS:
            return
        with contextlib.suppress(OSError):
            self._make_room()
            path = self._verdict_of(original)
            fresh = path.with_name(f"{path.name}.{os.getpid()}")
            fresh.write_text(f"{error.code}\n{error}", encoding="utf-8", errors="replace")
            fresh.replace(path)

    def _deaths(self, original: Original) -> int:
        path = self._deaths_of(original)
        with contextlib.suppress(OSError):
            if self._is_recent(path.stat().st_mtime):
                return path.stat().st_size
        return 0

    def _read(self, path: Path) -> str:
        with path.open(encoding="utf-8") as file:
            recent = self._is_recent(os.fstat(file.fileno()).st_mtime)
            return file.read() if recent else ""

    def _is_recent(self, modified_seconds: float) -> bool:
        # A time in the future is a clock that was set back.
        return 0 <= time.time() - modified_seconds < self._seconds

    def _make_room(self) -> None:
        """Remove what is old; everything, where there is too much."""
        self._folder.mkdir(parents=True, exist_ok=True)
        known = [Path(entry.path) for entry in os.scandir(self._folder)]
        for path in known:
            with contextlib.suppress(FileNotFoundError):
                if len(known) >= _MAX_REMEMBERED or not self._is_recent(path.stat().st_mtime):
                    path.unlink()

    def _deaths_of(self, original: Original) -> Path:
        return self._folder / f"{_name(original)}.deaths"

    def _verdict_of(self, original: Original) -> Path:
        return self._folder / f"{_name(original)}.verdict"


def _name(original: Original) -> str:
    return hashlib.sha256(os.fsencode(original.identity)).hexdigest()[:32]
