"""Ids of requests: a client's own or a new one, the same in all that is told of a request."""

import json
import pickle
import re
import socket
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from flask.testing import FlaskClient
from servers import await_true

from imgprocessor.app import make_web
from imgprocessor.config.jobs_settings import JobsSettings
from imgprocessor.config.settings import Settings
from imgprocessor.config.upload_settings import UploadsSettings
from imgprocessor.errors import Internal
from imgprocessor.originals.source import Original
from imgprocessor.rendering.check import Check
from imgprocessor.rendering.ipc import BEGUN, DONE, READY, receive, send
from imgprocessor.rendering.job import Call
from imgprocessor.rendering.masters import Masters
from imgprocessor.rendering.worker import _Work
from imgprocessor.reporting import complain, trace_id, traced
from imgprocessor.web.incoming import trace_id_of

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


@pytest.mark.parametrize(
    "traceparent",
    [
        f"00-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-00",
        f"cc-{TRACE}-{PARENT}-01",
        f"cc-{TRACE}-{PARENT}-01-what-comes-later",
    ],
)
def test_a_clients_id_is_taken(traceparent: str) -> None:
    assert trace_id_of({"HTTP_TRACEPARENT": traceparent}) == TRACE


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        TRACE,
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01\n",
        f"00-{TRACE}-{PARENT}-01,00-{TRACE}-{PARENT}-01",
        f'00-{TRACE[:-1]}"-{PARENT}-01',
        "x" * 8000,
    ],
)
def test_whatever_else_is_sent_the_id_is_a_new_one(traceparent: str) -> None:
    found = [trace_id_of({"HTTP_TRACEPARENT": traceparent}) for _ in range(2)]

    assert found[0] != found[1]
    for one in found:
        assert re.fullmatch("[0-9a-f]{32}", one)
        assert one not in traceparent


def _lines(settings: Settings) -> list[dict[str, Any]]:
    return [json.loads(line) for line in settings.log.file.read_text().splitlines()]


def test_the_log_has_the_id_of_each_request(client: FlaskClient, settings: Settings) -> None:
    client.get("/images/?name=nasa.jpeg", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    client.get("/images/?name=none")
    client.get("/none")

    (taken, *others) = [line["trace_id"] for line in _lines(settings) if "status" in line]
    assert taken == TRACE
    assert len({taken, *others}) == 3


def test_a_job_has_the_id_of_the_request_that_handed_it_in(
    settings: Settings, tmp_path: Path
) -> None:
    uploads = UploadsSettings(enabled=True, folder=tmp_path / "uploads", min_free_bytes=0)
    there = replace(settings, uploads=uploads, jobs=JobsSettings(enabled=True))
    client = make_web(there).test_client()
    answers = [
        client.post(
            "/convert", data={"name": name}, headers={"traceparent": f"00-{TRACE}-{PARENT}-01"}
        )
        for name in ("nasa.jpeg", "none.jpeg")
    ]

    def done() -> list[dict[str, Any]]:
        return [line for line in _lines(settings) if "outcome" in line]

    await_true(lambda: len(done()) == len(answers))
    told = {line["job"]: line for line in done()}
    made, failed = [told[answer.json["submission_task_id"]] for answer in answers if answer.json]
    assert (made["trace_id"], failed["trace_id"]) == (TRACE, TRACE)
    assert (made["outcome"], made["error"], made["queue"]) == ("SUCCESS", None, "quick")
    assert (failed["outcome"], failed["error"]) == ("FAILURE", "not-found")
    assert 0 < made["seconds"] < 30


def _check() -> Check:
    original = Original(cast("Any", None), "a", "a", 0, 0)
    return Check(original, Path("none"), "none")


def test_what_is_handed_to_another_process_has_the_id() -> None:
    with traced(TRACE):
        job = pickle.loads(pickle.dumps(_check()))  # noqa: S301 - its own

    assert (job.trace_id, trace_id()) == (TRACE, "")
    assert _check().trace_id == ""


def test_a_workers_error_names_the_request(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken:
        def checked(self, _: Check) -> None:
            raise ZeroDivisionError

    here, there = socket.socketpair()
    here.settimeout(20)
    with here, there, traced(TRACE):
        job = _check()

        def hand_over() -> None:
            assert here.recv(1) == READY
            send(here, Call(job, may_be_called_off=False))
            assert here.recv(1) == BEGUN
            assert here.recv(1) == DONE
            assert isinstance(receive(here), Internal)

        client = threading.Thread(target=hand_over)
        client.start()
        with traced(""):
            _Work(cast("Masters", Broken()), settings).do(there)
        client.join()

    assert f"unexpected error (trace_id {TRACE})\nTraceback" in capsys.readouterr().err


def test_a_complaint_names_the_request_and_is_held_back_without(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for known in (TRACE, "f" * 32):
        with traced(known):
            complain("the disk is slow")

    assert capsys.readouterr().err == f"imgprocessor: the disk is slow (trace_id {TRACE})\n"
