"""The request log: one JSON line a request."""

import json
import os
import threading
import weakref
from datetime import UTC, datetime
from pathlib import Path

from imgprocessor.errors import ConfigurationError, ImageError
from imgprocessor.policy.negotiation import Decision
from imgprocessor.reporting import complain, trace_id
from imgprocessor.service.delivery import Answer
from imgprocessor.service.understanding import Planned

MAX_TOLD_CHARACTERS = 500
"""Of one value, so that a line stays one write."""

Entry = dict[str, object]
"""What one line says: names and values that JSON knows."""


class RequestLog:
    """Appends JSON lines to a file that several processes share.

    A line is handed to the system in one write, in append mode: lines of several processes never
    mix. The file is opened anew when it was rotated away. `logging` does the same, four times as
    slowly, which was a tenth of a repeat.
    """

    def __init__(self, file: Path) -> None:
        """Open the file.

        Raises:
            ConfigurationError: it cannot be written.
        """
        self._file = str(file)
        self._opening = threading.Lock()
        try:
            self._opened = _Opened(self._file)
        except OSError as error:
            wrong = f"[log] file: {file} cannot be written: {error.strerror}"
            raise ConfigurationError(wrong) from error

    def write(self, entry: Entry) -> None:
        """Append one line. A log that cannot be written is no reason to fail a request."""
        line = json.dumps(entry, ensure_ascii=True, separators=(",", ":"), default=str) + "\n"
        try:
            with self._opening:
                if not self._opened.is_current():
                    self._opened = _Opened(self._file)
                os.write(self._opened.descriptor, line.encode())
        except OSError as error:
            complain(f"cannot write {self._file}: {error}")


class _Opened:
    """An open file, closed with its last reference."""

    def __init__(self, file: str) -> None:
        self._file = file
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self.descriptor = os.open(file, flags, 0o644)
        weakref.finalize(self, os.close, self.descriptor)
        status = os.fstat(self.descriptor)
        self._identity = (status.st_dev, status.st_ino)

    def is_current(self) -> bool:
        """Whether the path still leads to this file."""
        try:
            status = os.stat(self._file)  # noqa: PTH116 - for each request
        except FileNotFoundError:
            return False
        return (status.st_dev, status.st_ino) == self._identity


def utc_now() -> str:
    """Return the time as every line has it, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def request_entry(
    method: str,
    status: int,
    *,
    body_bytes: int,
    imagekey: str | None,
    told: Entry,
    seconds: float,
) -> Entry:
    """Say what a request came to, and how long it took; `told` says why."""
    return {
        "time": utc_now(),
        "pid": os.getpid(),
        "trace_id": trace_id(),
        "method": method,
        "status": status,
        "bytes": body_bytes,
        "imagekey": imagekey,
        **told,
        "total_ms": round(seconds * 1000, 2),
    }


def job_entry(done: Entry) -> Entry:
    """Say what became of a job, in a line of its own."""
    return {"time": utc_now(), "pid": os.getpid(), **done}


def planned_entry(planned: Planned, reasons: Decision) -> Entry:
    """Say what was decided, and by which hints or parameters."""
    decision = planned.decision
    return {
        "bandwidth": decision.bandwidth,
        "bandwidth_from": reasons.bandwidth_from,
        "screen": decision.screen,
        "screen_from": reasons.screen_from,
        "dpr": str(reasons.dpr),
        "dpr_from": reasons.dpr_from,
        "cell": str(decision.cell),
        "budget_bytes": planned.plan.budget_bytes,
    }


def failure_entry(error: ImageError, trouble: str = "") -> Entry:
    """Say what failed, and what trouble there was with the placeholder."""
    detail = "; ".join(text for text in (str(error), trouble) if text)
    return {"error": error.code, "detail": detail[:MAX_TOLD_CHARACTERS]}


def answer_entry(answer: Answer) -> Entry:
    """Say what was sent, where it came from, and what the time went to."""
    rendition = answer.rendition
    return {
        "source": answer.source,
        **({"cheaper": True} if answer.is_cheaper else {}),
        "original": str(rendition.original_size),
        "original_bytes": answer.found.original.size_bytes,
        "size": str(rendition.size),
        "format": rendition.format,
        "quality": rendition.quality,
        "score": None if rendition.score is None else round(rendition.score, 1),
        "limited": rendition.limited,
        "trials": rendition.trials,
        **({"original_sent": True} if rendition.is_original else {}),
        **({"effort": "quick"} if answer.is_quick else {}),
        **({"damaged": True} if rendition.is_damaged else {}),
        "ms": answer.found.timings,
    }
