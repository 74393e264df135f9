"""Originals that killed two workers, or were refused once opened: left closed for minutes.

An original that killed a worker is tried once more, and never a third time; one that was refused
after it had been opened is not opened again to be refused again. Where a worker died only after
the original had been decoded, it is what was asked for that is not tried again: others may have
other sizes. What is remembered belongs to one version of one file: a mended one is free at once.
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
from imgprocessor.originals.source import Original

_MAX_DEATHS = 2
_MAX_REMEMBERED = 2000
"""Files, a page of memory each: 8 MB, beside one for each process that adds another at that moment.
"""
_MAX_TEXT = 800
"""Characters of what an original was refused for, 3,200 bytes at most: what decoders say may have a
part of the file in it.
"""
_DEATHS = ".deaths"
_TICK_NS = 100_000_000
"""More than file systems' clocks take for a tick, in which a second change is not seen."""

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
        self._empty_since_ns: int | None = None

    def check(self, original: Original, plan: object) -> None:
        """Refuse what is known to do harm: an original, or one of its renditions.

        Raises:
            DeadlyOriginal: it killed a worker twice.
            ImageError: what the original was refused for.
        """
        if self._is_empty():
            return
        with contextlib.suppress(OSError, ValueError):
            code, _, detail = self._read(self._verdict_of(original)).partition("\n")
            if code in _VERDICTS:
                raise _VERDICTS[code](f"{detail} (remembered)")
        if max(self._deaths(original, ""), self._deaths(original, plan)) >= _MAX_DEATHS:
            wrong = f"{original.id} killed a worker {_MAX_DEATHS} times; not opened"
            raise DeadlyOriginal(wrong)

    def note_death(self, original: Original, plan: object = "") -> int:
        """Remember that a worker died over an original; with a plan, over what was to be made of
        it, after it had been decoded. Return how often one did.
        """
        with contextlib.suppress(OSError):
            path = self._deaths_of(original, plan)
            if not self._deaths(original, plan):
                self._make_room()
            # One byte a death: appending is safe between processes.
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                os.write(descriptor, b"x")
                return os.fstat(descriptor).st_size
            finally:
                os.close(descriptor)
        return _MAX_DEATHS  # nothing can be remembered: it must not be tried for ever

    def forgive(self, original: Original, plan: object) -> None:
        """Forget deaths: what a worker died over was made by the next one, so that it was not the
        original that killed it.
        """
        with contextlib.suppress(OSError):
            for kind in ("", plan):
                self._deaths_of(original, kind).unlink(missing_ok=True)

    def note_verdict(self, original: Original, error: ImageError) -> None:
        """Remember what an original was refused for, where it would be refused again."""
        if error.code not in _VERDICTS or not error.is_lasting:
            return
        with contextlib.suppress(OSError):
            self._make_room()
            path = self._verdict_of(original)
            fresh = path.with_name(f"{path.name}.{os.getpid()}")
            text = f"{error.code}\n{error}"[:_MAX_TEXT]
            fresh.write_text(text, encoding="utf-8", errors="replace")
            fresh.replace(path)

    def _is_empty(self) -> bool:
        """Whether nothing is remembered, as mostly: that takes one call to see."""
        try:
            changed_ns = os.stat(self._folder).st_mtime_ns  # noqa: PTH116 - for each rendition
            if changed_ns != self._empty_since_ns:
                is_old = time.time_ns() - changed_ns > _TICK_NS
                is_empty = not os.listdir(self._folder)  # noqa: PTH208
                self._empty_since_ns = changed_ns if is_empty and is_old else None
                return is_empty
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True

    def _deaths(self, original: Original, plan: object) -> int:
        path = self._deaths_of(original, plan)
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
        """Remove what is old; where there is too much, all verdicts, which cost least to find
        again; and deaths where those alone are too many.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        known = [Path(entry.path) for entry in os.scandir(self._folder)]
        deaths = [path for path in known if path.suffix == _DEATHS]
        for path in known:
            crowd = deaths if path.suffix == _DEATHS else known
            with contextlib.suppress(FileNotFoundError):
                if len(crowd) >= _MAX_REMEMBERED or not self._is_recent(path.stat().st_mtime):
                    path.unlink()

    def _deaths_of(self, original: Original, plan: object) -> Path:
        return self._folder / f"{_name(original, plan)}{_DEATHS}"

    def _verdict_of(self, original: Original) -> Path:
        return self._folder / f"{_name(original, '')}.verdict"


def _name(original: Original, plan: object) -> str:
    return hashlib.sha256(os.fsencode(f"{original.identity}\0{plan}")).hexdigest()[:32]
