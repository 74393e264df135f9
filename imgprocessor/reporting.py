"""What is told to Apache's error log by way of stderr, and of which request: complaints, errors."""

import contextlib
import logging
import re
import sys
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextvars import ContextVar

_SAME_AGAIN_SECONDS = 60.0
_MAX_REMEMBERED = 100

_VARYING = re.compile(r"/(?:entries|incoming)/\S*|\d+")
"""Names of entries, and numbers: a disk that fails must not fill the log with every file's name."""


class _OnceAMinute(logging.Filter):
    """Lets each kind of complaint through once a minute; unexpected errors always."""

    def __init__(self) -> None:
        super().__init__()
        self.forget()

    def forget(self) -> None:
        """Begin anew: for tests, which share a process."""
        self._said_at: OrderedDict[str, float] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to say it."""
        kind, now = _VARYING.sub("", record.getMessage()), time.monotonic()
        if record.exc_info is None:
            if now - self._said_at.get(kind, float("-inf")) < _SAME_AGAIN_SECONDS:
                return False
            self._said_at[kind] = now
            self._said_at.move_to_end(kind)
            while len(self._said_at) > _MAX_REMEMBERED:
                self._said_at.popitem(last=False)
        return True


class _WithTrace(logging.Formatter):
    """Says of which request something is told."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the line without a traceback."""
        line, known = super().formatMessage(record), trace_id()
        return f"{line} (trace_id {known})" if known else line


class _Stderr(logging.Handler):
    """Writes to whatever stderr is now: mod_wsgi has one for each request."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record in one go, so that lines of several processes do not mix."""
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):
            return  # it may lie on the very disk that fails, be closed, or none


_ONCE = _OnceAMinute()


def _made() -> logging.Logger:
    log = logging.getLogger("imgprocessor")
    log.propagate = False
    log.setLevel(logging.WARNING)
    handler = _Stderr()
    handler.addFilter(_ONCE)
    handler.setFormatter(_WithTrace())
    log.handlers = [handler]
    return log


_LOG = _made()

_TRACE_ID: ContextVar[str] = ContextVar("trace_id", default="")


def trace_id() -> str:
    """Return the id of the request for which this thread works, 32 hexadecimal digits; empty where
    it works for none.
    """
    return _TRACE_ID.get()


def begin_trace(known: str) -> None:
    """Work for a request from now on, in this thread; for none where the id is empty."""
    _TRACE_ID.set(known)


@contextlib.contextmanager
def traced(known: str) -> Iterator[None]:
    """Work for a request inside, perhaps one that was answered long ago."""
    before = _TRACE_ID.set(known)
    try:
        yield
    finally:
        _TRACE_ID.reset(before)


def complain(text: str) -> None:
    """Say what is wrong, unless the same was said within a minute."""
    _LOG.warning("imgprocessor: %s", text)


def report_unexpected(error: BaseException) -> None:
    """Write an unexpected error with its traceback."""
    _LOG.error("imgprocessor: unexpected error", exc_info=error)
