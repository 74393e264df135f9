"""Jobs over HTTP: the contract, in one process without Redis."""

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import images
import pytest
from flask.testing import FlaskClient

from imgprocessor.app import make_web
from imgprocessor.config.jobs_settings import JobsSettings
from imgprocessor.config.settings import Settings
from imgprocessor.config.upload_settings import UploadsSettings
from imgprocessor.job_parts import make_conversions
from imgprocessor.jobs.in_process import InProcessJobs
from imgprocessor.parts import direct_renderer, make_delivery

BOUNDARY = "------------------------d74496d66958873e"


def form(*named: tuple[str, bytes]) -> dict[str, Any]:
    """Return a form as curl sends it."""
    begin = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="'.encode()
    parts = [begin + name.encode() + b'"\r\n\r\n' + value + b"\r\n" for name, value in named]
    body = b"".join([*parts, f"--{BOUNDARY}--\r\n".encode()])
    return {"data": body, "content_type": f"multipart/form-data; boundary={BOUNDARY}"}


def file(body: bytes, *more: tuple[str, bytes]) -> dict[str, Any]:
    """Return a form with a file."""
    return form(('file"; filename="a.jpg', body), *more)


@pytest.fixture(scope="module")
def photograph(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A JPEG of 600 x 400 pixels."""
    path = tmp_path_factory.mktemp("photograph") / "a.jpg"
    images.save(path, images.texture((600, 400)), "JPEG", quality=90)
    return path.read_bytes()


@pytest.fixture
def jobs() -> JobsSettings:
    return JobsSettings(enabled=True)


@pytest.fixture
def taking(settings: Settings, jobs: JobsSettings, tmp_path: Path) -> FlaskClient:
    """A client of an application that takes jobs."""
    uploads = UploadsSettings(enabled=True, folder=tmp_path / "uploads", min_free_bytes=0)
    return make_web(replace(settings, uploads=uploads, jobs=jobs)).test_client()


def over(client: FlaskClient, job: str) -> dict[str, Any]:
    """Wait until a job is over; return what is told of it."""
    deadline = time.monotonic() + 30
    while True:
        told = client.get(f"/convert/{job}?wait=5").json
        assert isinstance(told, dict)
        if told["status"] in {"SUCCESS", "FAILURE"}:
            return told
        assert time.monotonic() < deadline


def test_the_contract(taking: FlaskClient, photograph: bytes, tmp_path: Path) -> None:
    taken = taking.post("/convert", **file(photograph))
    assert isinstance(taken.json, dict)
    job = taken.json["submission_task_id"]
    told = over(taking, job)
    thumbnail = taking.get(told["result_url"])

    assert taken.status_code == 202
    assert taken.headers["Location"] == f"/convert/{job}"
    assert taken.headers["Cache-Control"] == "no-store"
    assert taken.json["status"] == taken.json["submission_status"]
    assert told == {
        "submission_task_id": job,
        "status": "SUCCESS",
        "submission_status": "SUCCESS",
        "submission_result": {
            "format": "jpeg", "width": 100, "height": 67, "bytes": len(thumbnail.data),
        },
        "result_url": f"/convert/{job}/thumbnail",
    }  # fmt: skip
    assert thumbnail.content_type == "image/jpeg"
    assert images.decoded(thumbnail.data).size == (100, 67)
    assert 0 < int(thumbnail.headers["Cache-Control"].rpartition("=")[2]) <= 86_400
    left = {path.name for path in (tmp_path / "uploads" / "jobs" / job).iterdir()}
    assert left == {"thumbnail"}  # what was handed in is not kept for nothing
    again = taking.get(told["result_url"], headers={"If-None-Match": thumbnail.headers["ETag"]})
    assert again.status_code == 304


@pytest.mark.parametrize(
    ("more", "size", "kind"),
    [
        ([("width", b"60"), ("height", b"60"), ("fit", b"cover")], (60, 60), "jpeg"),
        ([("width", b"60")], (60, 40), "jpeg"),
        ([("width", b"60"), ("format", b"png")], (60, 40), "png"),
        ([("width", b"60"), ("formats", b"webp")], (60, 40), "webp"),
        ([("w", b"60"), ("callback", b"http://a/")], (100, 67), "jpeg"),
    ],
)
def test_parameters_of_a_picture_hold(
    taking: FlaskClient,
    photograph: bytes,
    more: list[tuple[str, bytes]],
    size: tuple[int, int],
    kind: str,
) -> None:
    taken = taking.post("/convert", **file(photograph, *more)).json
    assert isinstance(taken, dict)
    told = over(taking, taken["submission_task_id"])
    thumbnail = taking.get(told["result_url"])

    assert thumbnail.content_type == f"image/{kind}"
    assert images.decoded(thumbnail.data).size == size


def test_of_what_is_there(taking: FlaskClient, photograph: bytes) -> None:
    taking.post("/upload", **file(photograph))
    ident = hashlib.sha256(photograph).hexdigest()[:32]
    for named in (form(("ident", ident.encode())), form(("name", b"nasa.jpeg"))):
        taken = taking.post("/convert", **named).json
        assert isinstance(taken, dict)
        assert over(taking, taken["submission_task_id"])["status"] == "SUCCESS"
    plain = {"data": {"name": "nasa.jpeg", "width": "50"}}
    assert taking.post("/convert", **plain).status_code == 202


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (form(), 400),
        (form(("width", b"5"), ("name", b"")), 400),
        (form(("name", b"a.jpg"), ("ident", b"0" * 32)), 400),
        (form(("name", b"../a.jpg")), 400),
        (form(("ident", b"../x")), 400),
        (form(("ident", b"A" * 32)), 400),
        (form(("ident", b"0" * 32), ("ident", b"0" * 32)), 400),
        (form(("name", b"a.jpg"), ("width", b"9999")), 400),
        (form(("name", b"a.jpg"), ("width", b"x\r\ny: z")), 400),
        (file(b"x", ("name", b"a.jpg")), 400),
        (file(b"x", ("fit", b"x")), 400),
        (form(("file", b"text")), 415),
        ({"data": b"{}"}, 415),
    ],
)
def test_what_makes_no_sense_is_no_job(
    taking: FlaskClient, tmp_path: Path, sent: dict[str, Any], status: int
) -> None:
    answer = taking.post("/convert", **sent)

    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/problem+json"
    left = [path for path in (tmp_path / "uploads").rglob("*") if path.name in {"file", "original"}]
    assert left == []
    assert not [*(tmp_path / "uploads").glob("incoming/*")]


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (file(b""), "The original is not a JPEG"),
        (file(b"text"), "The original is not a JPEG"),
        (file(b"\xff\xd8\xff\xe0"), "The original is damaged"),
        (form(("name", b"none.jpg")), "There is no such picture"),
        (form(("ident", b"0" * 32)), "There is no such upload"),
    ],
)
def test_what_cannot_be_done_says_why(taking: FlaskClient, sent: dict[str, Any], code: str) -> None:
    taken = taking.post("/convert", **sent).json
    assert isinstance(taken, dict)
    told = over(taking, taken["submission_task_id"])
    thumbnail = taking.get(f"/convert/{told['submission_task_id']}/thumbnail")

    assert told["status"] == "FAILURE"
    assert told["submission_result"].startswith(code)
    assert thumbnail.status_code == 422
    assert "result_url" not in told


def test_what_is_cancelled_is_gone(taking: FlaskClient, photograph: bytes, tmp_path: Path) -> None:
    taken = taking.post("/convert", **file(photograph)).json
    assert isinstance(taken, dict)
    job = taken["submission_task_id"]
    cancelled = taking.delete(f"/convert/{job}")
    told = over(taking, job)

    if cancelled.status_code == 204:
        assert told["status"] == "FAILURE"
        assert told["submission_result"] == "The job was cancelled."
        await_true(lambda: not [*(tmp_path / "uploads" / "jobs").glob("*/*")])
        assert taking.get(f"/convert/{job}/thumbnail").status_code == 410
    else:  # it was quicker
        assert cancelled.status_code == 410
    assert taking.delete(f"/convert/{job}").status_code == 410


def await_true(condition: Callable[[], bool]) -> None:
    """Look again and again, until something is so."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_ident_of_nonsense_is_said_to_be_one(taking: FlaskClient) -> None:
    answer = taking.post("/convert", **form(("ident", b"../x")))

    assert isinstance(answer.json, dict)
    assert answer.json["title"] == "ident: must be 32 of 0-9 and a-f"


@pytest.mark.parametrize(
    "query", ["wait=x", "wait=", "wait=-1", "wait=1e9", "wait=9999", "wait=\xff", "wait=1&wait=2"]
)
def test_waits_of_nonsense(taking: FlaskClient, query: str) -> None:
    taken = taking.post("/convert", **form(("name", b"none.jpg"))).json
    assert isinstance(taken, dict)
    path = f"/convert/{taken['submission_task_id']}"
    answer = taking.get(path, environ_overrides={"QUERY_STRING": query})

    assert answer.status_code == 400
    assert "wait: must be one number of seconds" in answer.text


@pytest.mark.parametrize("job", ["x", "a" * 32, "a" * 5000, "%00", "..%2f", "\u0661" * 32])
def test_ids_that_never_were(taking: FlaskClient, job: str) -> None:
    for path in (f"/convert/{job}", f"/convert/{job}/thumbnail"):
        answer = taking.get(path)
        assert answer.status_code == 404, path
    assert taking.delete(f"/convert/{job}").status_code == 404


def test_what_is_over_is_forgotten_with_its_files(
    settings: Settings, photograph: bytes, tmp_path: Path
) -> None:
    uploads = UploadsSettings(enabled=True, folder=tmp_path / "uploads", min_free_bytes=0)
    short = JobsSettings(enabled=True, result_seconds=1)
    client = make_web(replace(settings, uploads=uploads, jobs=short)).test_client()
    taken = client.post("/convert", **file(photograph)).json
    assert isinstance(taken, dict)
    job = taken["submission_task_id"]

    await_true(lambda: client.get(f"/convert/{job}").status_code == 410)
    await_true(lambda: not [*(tmp_path / "uploads" / "jobs").iterdir()])


def test_methods(taking: FlaskClient) -> None:
    for path, method in (
        ("/convert", "PUT"),
        ("/convert/x", "POST"),
        ("/convert/x/thumbnail", "PUT"),
    ):
        answer = taking.open(path, method=method)
        assert answer.status_code == 405
        assert "Allow" in answer.headers


def test_a_browser_gets_pages(taking: FlaskClient, photograph: bytes) -> None:
    html = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    empty = taking.get("/convert")
    taken = taking.post("/convert", **file(photograph), headers=html)
    job = taken.headers["Location"]
    refused = taking.post("/convert", **form(), headers=html)
    over(taking, job.rpartition("/")[2])
    told = taking.get(f"{job}?wait=20", headers=html)
    unknown = taking.get(f"/convert/{'a' * 32}", headers=html)

    pages = (empty, taken, refused, told, unknown)
    assert [page.status_code for page in pages] == [200, 202, 400, 200, 404]
    for page in pages:
        assert page.content_type == "text/html; charset=utf-8"
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["Vary"] == "Accept"
        assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert f'url={job}"' in taken.text
    assert f'src="{job}/thumbnail"' in told.text
    assert "one of: file, ident, name" in refused.text
    assert taking.head("/convert").data == b""


def test_without_jobs_there_is_no_such_path(client: FlaskClient) -> None:
    assert client.post("/convert").status_code == 404
    assert client.get("/convert").status_code == 404


def test_files_that_nobody_knows_are_removed(settings: Settings, tmp_path: Path) -> None:
    """But for those that are new: their records come a moment later."""
    uploads = UploadsSettings(enabled=True, folder=tmp_path / "uploads", min_free_bytes=0)
    there = replace(settings, uploads=uploads, jobs=JobsSettings(enabled=True))
    renderer = direct_renderer(there)
    delivery = make_delivery(there, renderer=renderer)
    conversions = make_conversions(
        there, delivery, renderer, InProcessJobs(1).dispatch, list[str]().append
    )
    names = ["a" * 32, "b" * 32, f"{'c' * 32}.gone-1"]
    folders = [tmp_path / "uploads" / "jobs" / name for name in names]
    for folder in folders:
        folder.mkdir(parents=True)
    long_ago = time.time() - 1000
    for folder in (folders[0], folders[2]):
        os.utime(folder, (long_ago, long_ago))

    conversions.remove_strays()

    assert [folder.exists() for folder in folders] == [False, True, False]


@pytest.mark.parametrize("path", ["/convert/", "/convert/a/", "/convert/a/b", "/convert/a/b/c"])
def test_below_is_nothing_else(taking: FlaskClient, path: str) -> None:
    """No picture that caches would keep for a while."""
    answer = taking.get(path)

    assert (answer.status_code, answer.headers["Cache-Control"]) == (404, "no-store")
    assert answer.headers["image-error"] == "no-such-job"
