"""The error log: each kind of complaint once a minute, unexpected errors always."""

import pytest

from imgprocessor import reporting
from imgprocessor.reporting import complain, report_unexpected


def test_each_kind_of_complaint_is_said_once_a_minute(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    for number in range(3):
        complain(f"/cache/a/{number} cannot be read: Input/output error")
        complain(f"/cache/a/{number} cannot be read: Permission denied")
    now += 61
    complain("/cache/b/9 cannot be read: Permission denied")

    assert capsys.readouterr().err.splitlines() == [
        "imgprocessor: /cache/a/0 cannot be read: Input/output error",
        "imgprocessor: /cache/a/0 cannot be read: Permission denied",
        "imgprocessor: /cache/b/9 cannot be read: Permission denied",
    ]


def test_few_kinds_are_remembered(capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(1000):
        complain("x" * number)

    assert capsys.readouterr().err.count("imgprocessor: ") == 1000
    assert len(reporting._ONCE._said_at) <= 100  # noqa: SLF001 - memory is the point


def test_unexpected_errors_are_always_told_with_their_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for _ in range(2):
        try:
            int("inside")
        except ValueError as error:
            report_unexpected(error)

    told = capsys.readouterr().err
    assert told.count("Traceback") == 2
    assert told.count("ValueError: invalid literal") == 2


def test_a_log_that_cannot_be_written_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def write(self, _: str) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("sys.stderr", Full())

    complain("nobody hears this")
