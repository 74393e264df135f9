"""What is written down: one JSON line a request, and unexpected errors once, with traceback."""

import contextlib
import json
import logging
import logging.handlers
import sys
import time
import traceback
import weakref
from datetime import UTC, datetime
from pathlib import Path

from imgprocessor.errors import ConfigurationError

_COMPLAIN_EVERY_SECONDS = 60.0

Entry = dict[str, object]
"""What one line says: names and values that JSON knows."""


class RequestLog:
    """Appends JSON lines to a file that several processes share."""

    def __init__(self, file: Path) -> None:
        """Open the file.

        Raises:
            ConfigurationError: it cannot be written.
        """
        try:
            self._handler = _Appender(file, encoding="utf-8")
        except OSError as error:
            wrong = f"[log] file: {file} cannot be written: {error.strerror}"
            raise ConfigurationError(wrong) from error
        weakref.finalize(self, _close, self._handler)

    def write(self, entry: Entry) -> None:
        """Append one line. A log that cannot be written is no reason to fail a request."""
        line = json.dumps(entry, ensure_ascii=True, separators=(",", ":"), default=str)
        self._handler.handle(
            logging.LogRecord("imgprocessor", logging.INFO, "", 0, line, None, None)
        )


class _Appender(logging.handlers.WatchedFileHandler):
    """Opens the file anew when it was rotated away; complains of failures once a minute.

    A line is handed to the system in one write, in append mode: lines of several processes never
    mix.
    """

    _complained_at = float("-inf")

    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)
        except OSError:  # the base class handles failures to write, but none to open anew
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - logging's
        now = time.monotonic()
        if now - self._complained_at >= _COMPLAIN_EVERY_SECONDS:
            self._complained_at = now
            _print(f"imgprocessor: cannot write {self.baseFilename}: {sys.exc_info()[1]}")


def utc_now() -> str:
    """Return the time as every line has it, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def report_unexpected(error: BaseException) -> None:
    """Write an unexpected error with its traceback to Apache's error log, by way of stderr."""
    _print("".join(traceback.format_exception(error)).rstrip())


def _close(handler: logging.Handler) -> None:
    with contextlib.suppress(OSError):  # what could not be written has been complained of
        handler.close()


def _print(text: str) -> None:
    # One write, so that the lines of several processes do not mix.
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
