"""The error log: each kind of complaint once a minute, unexpected errors always."""

import io

import pytest

from imgprocessor import reporting
from imgprocessor.reporting import complain, report_unexpected


def test_each_kind_of_complaint_is_said_once_a_minute(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    for number in range(3):
        complain(f"/cache/a/entries/{number} cannot be read: Input/output error")
        complain(f"/cache/a/entries/{number} cannot be read: Permission denied")
    now += 61
    complain("/cache/a/entries/9 cannot be read: Permission denied")

    assert capsys.readouterr().err.splitlines() == [
        "imgprocessor: /cache/a/entries/0 cannot be read: Input/output error",
        "imgprocessor: /cache/a/entries/0 cannot be read: Permission denied",
        "imgprocessor: /cache/a/entries/9 cannot be read: Permission denied",
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


@pytest.mark.parametrize("stderr", [None, "closed"])
def test_a_log_that_is_not_there_is_no_error(
    monkeypatch: pytest.MonkeyPatch, stderr: str | None
) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr("sys.stderr", closed if stderr else None)

    complain("nobody hears this")
