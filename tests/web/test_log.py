"""The log: one JSON line a request, safe with several processes."""

import json
import multiprocessing
from pathlib import Path

import pytest

from imgprocessor.errors import ConfigurationError
from imgprocessor.reporting import report_unexpected
from imgprocessor.web.log import RequestLog


def test_a_line_is_json(tmp_path: Path) -> None:
    RequestLog(tmp_path / "log").write({"imagekey": 'a"\n\u2028é_%s', "status": 200})

    (line,) = (tmp_path / "log").read_bytes().splitlines()
    assert json.loads(line) == {"imagekey": 'a"\n\u2028é_%s', "status": 200}
    assert line.isascii()


def _write_many(file: Path, writer: int) -> None:
    log = RequestLog(file)
    for number in range(500):
        log.write({"writer": writer, "number": number, "padding": "x" * 9000})


@pytest.mark.slow
def test_lines_of_several_processes_never_mix(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    file = tmp_path / "log"
    writers = [context.Process(target=_write_many, args=(file, writer)) for writer in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(lines) == 2000
    for writer_number in range(4):
        numbers = [line["number"] for line in lines if line["writer"] == writer_number]
        assert numbers == list(range(500))


def test_a_log_that_was_rotated_away_is_begun_anew(tmp_path: Path) -> None:
    log = RequestLog(tmp_path / "log")
    log.write({"line": 1})
    (tmp_path / "log").rename(tmp_path / "log.1")
    log.write({"line": 2})

    assert json.loads((tmp_path / "log").read_text()) == {"line": 2}


def test_a_log_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"\[log\] file: .*cannot be written"):
        RequestLog(tmp_path / "none" / "log")


def test_a_full_disk_fails_no_request_and_is_said_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = RequestLog(Path("/dev/full"))
    for _ in range(10):
        log.write({"line": 1})

    assert capsys.readouterr().err.count("cannot write /dev/full") == 1


def test_a_log_that_cannot_be_begun_anew_fails_no_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    log = RequestLog(folder / "log")
    folder.rename(tmp_path / "away")
    log.write({"line": 1})
    log.write({"line": 2})
    folder.mkdir()
    log.write({"line": 3})

    assert capsys.readouterr().err.count("cannot write") == 1
    assert json.loads((folder / "log").read_text()) == {"line": 3}


def test_an_unexpected_error_is_reported_with_its_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    try:
        int("inside")
    except ValueError as error:
        report_unexpected(error)

    written = capsys.readouterr().err
    assert "Traceback" in written
    assert "ValueError: invalid literal" in written
