"""Uploads with a second copy over HTTP: what a client sees of it, and what is copied by itself."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from prometheus_samples import parsed, total
from servers import await_true
from weeds import BUCKET, S3Server, access_file, needs_weed, running_s3

from imgprocessor.app import make_web
from imgprocessor.config.buckets import BucketUrl
from imgprocessor.config.settings import Settings
from imgprocessor.config.upload_settings import ReplicaSettings, UploadsSettings
from imgprocessor.parts import make_replication
from imgprocessor.storage.uploads.replication.replication import Replication

pytestmark = needs_weed


def form(body: bytes, sizes: str = "") -> dict[str, Any]:
    """Return a form with a file: arguments of a client's `post`."""
    more = {"sizes": sizes} if sizes else {}
    return {"data": {"image": (io.BytesIO(body), "a.jpg"), **more}}


@dataclass
class Taking:
    """A client of an application that takes uploads, and the servers of its two buckets."""

    client: FlaskClient
    settings: Settings
    first: S3Server
    second: S3Server

    def replication(self) -> Replication:
        """Return what another process has to copy with."""
        replication = make_replication(self.settings)
        assert replication is not None
        return replication

    def another(self, folder: Path) -> FlaskClient:
        """Return a client of another node."""
        uploads = replace(self.settings.uploads, folder=folder / "uploads")
        cache = replace(self.settings.disk_cache, folder=folder / "cache")
        there = replace(self.settings, uploads=uploads, disk_cache=cache)
        return make_web(there).test_client()


@pytest.fixture
def taking(settings: Settings, tmp_path: Path) -> Iterator[Taking]:
    """Both servers may be killed, and started again."""
    with running_s3(tmp_path / "s3a") as one, running_s3(tmp_path / "s3b", "elsewhere") as two:
        uploads = UploadsSettings(
            enabled=True,
            folder=tmp_path / "uploads",
            bucket=BucketUrl("s3", BUCKET, "uploads"),
            min_free_bytes=0,
        )
        there = replace(
            settings,
            uploads=uploads,
            buckets=access_file(tmp_path, one.access() + two.access()),
            replica=ReplicaSettings(BucketUrl("s3", two.bucket)),
        )
        yield Taking(make_web(there).test_client(), there, one, two)


def test_what_is_taken_is_copied_by_itself_and_shown_from_there_in_need(
    taking: Taking, photograph: bytes, tmp_path: Path
) -> None:
    path = taking.client.post("/upload", **form(photograph, "100x50")).headers["Location"]
    ident = path[7:39]
    await_true(lambda: not taking.replication().waiting().uploads)
    replica = taking.replication().replica
    assert replica.names(ident) == ["100x50.best", "100x50.plain"]
    told = parsed(taking.client.get("/images/-/metrics").text)
    assert total(told, "imgprocessor_replica_copies_total", outcome="copied") >= 1
    assert total(told, "imgprocessor_replica_copies_total", outcome="failed") == 0
    another = taking.another(tmp_path / "another")
    taking.first.end()

    for asked in ("?width=100&height=50", "?width=77&fit=inside", ""):
        answer = another.get(f"{path}{asked}")
        assert (answer.status_code, answer.content_type) == (200, "image/jpeg")
    log = taking.settings.log.file.read_text().splitlines()
    sources = [json.loads(line)["source"] for line in log[-3:]]
    assert sources[0] == "store"  # what is kept is not made anew
    assert another.post("/upload", **form(photograph + b"x")).status_code == 503

    assert another.delete(path).status_code == 202
    assert another.get(path).status_code == 404
    replica.forget_all()
    assert replica.find(ident) is None


def test_a_dead_replica_changes_no_answer(taking: Taking, photograph: bytes) -> None:
    taking.second.end()

    path = taking.client.post("/upload", **form(photograph, "100x50")).headers["Location"]

    assert taking.client.get(f"{path}?width=100&height=50").status_code == 200
    assert taking.replication().waiting().uploads == 1
    told = parsed(taking.client.get("/images/-/metrics").text)
    assert total(told, "imgprocessor_replica_waiting") == 1
    assert taking.client.delete(path).status_code == 204
    assert taking.client.get(path).status_code == 404
    taking.second.start()
    replication = taking.replication()

    def is_copied() -> bool:  # something may be kept behind an answer still
        replication.sweep(again_seconds=0)
        return not taking.replication().waiting().uploads

    await_true(is_copied)
    replication.replica.forget_all()
    assert replication.replica.find(path[7:39]) is None
