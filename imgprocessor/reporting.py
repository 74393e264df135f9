"""What is told to the error log: what is wrong with a disk, and what should not happen."""

import contextlib
import sys
import time
import traceback

_COMPLAIN_EVERY_SECONDS = 60.0


class Complaints:
    """Says what is wrong with a disk, once a minute at most, in Apache's error log."""

    def __init__(self) -> None:
        self._said_at = float("-inf")

    def __call__(self, text: str) -> None:
        """Say it, unless something was said within a minute."""
        now = time.monotonic()
        if now - self._said_at >= _COMPLAIN_EVERY_SECONDS:
            self._said_at = now
            _print(f"imgprocessor: {text}")


def report_unexpected(error: BaseException) -> None:
    """Write an unexpected error with its traceback to Apache's error log, by way of stderr."""
    _print("".join(traceback.format_exception(error)).rstrip())


def _print(text: str) -> None:
    # Who cannot complain goes on working: the error log may lie on the very disk that fails.
    with contextlib.suppress(OSError):
        # One write, so that the lines of several processes do not mix.
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
