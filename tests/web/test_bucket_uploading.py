"""Uploads in a bucket over HTTP: what a client notices of it."""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from weeds import S3Server, needs_weed, place_in, running_s3

from imgprocessor.app import make_web
from imgprocessor.config.buckets import BucketsSettings, BucketUrl
from imgprocessor.config.settings import Settings
from imgprocessor.config.upload_settings import UploadsSettings

pytestmark = needs_weed


def form(body: bytes, sizes: str = "") -> dict[str, Any]:
    """Return a form with a file: arguments of a client's `post`."""
    more = {"sizes": sizes} if sizes else {}
    return {"data": {"image": (io.BytesIO(body), "a.jpg"), **more}}


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[S3Server]:
    """A server that a test may kill, and start again."""
    with running_s3(tmp_path / "s3") as server:
        yield server


def node(settings: Settings, folder: Path, place: tuple[BucketUrl, BucketsSettings]) -> FlaskClient:
    """Return a client of an application that takes uploads, with folders of its own."""
    uploads = UploadsSettings(
        enabled=True, folder=folder / "uploads", bucket=place[0], min_free_bytes=0
    )
    cache = replace(settings.disk_cache, folder=folder / "cache")
    changed = replace(settings, uploads=uploads, buckets=place[1], disk_cache=cache)
    return make_web(changed).test_client()


@pytest.fixture
def taking(settings: Settings, tmp_path: Path, mortal: S3Server) -> FlaskClient:
    """A client of an application whose bucket may die."""
    return node(settings, tmp_path / "node", place_in(mortal, tmp_path, "uploads"))


def test_the_contract_holds(taking: FlaskClient, photograph: bytes) -> None:
    new = taking.post("/upload", **form(photograph, "100x50"))
    again = taking.post("/upload", **form(photograph))
    path = new.headers["Location"]

    assert (new.status_code, again.status_code) == (201, 200)
    for asked in (path, f"{path}?width=100&height=50", f"{path}?width=77&fit=inside"):
        answer = taking.get(asked)
        assert (answer.status_code, answer.content_type) == (200, "image/jpeg")
    # Apache cannot send it, so it is not asked to.
    whole = taking.get(path.replace("/image/", "/full/"), environ_overrides={"IMG_INNER": "/inner"})
    assert (whole.status_code, whole.content_type) == (200, "image/jpeg")
    assert whole.data[:2] == photograph[:2]
    whole.close()
    assert taking.post(path, data={"sizes": "10x10"}).status_code == 200

    assert taking.delete(path).status_code == 204
    assert taking.get(path).status_code == 404
    assert taking.delete(path).status_code == 404
    assert "imgprocessor_uploads_kept" not in taking.get("/images/-/metrics").text


def test_what_is_left_is_told_while_the_bucket_is_dead(
    taking: FlaskClient, mortal: S3Server, photograph: bytes
) -> None:
    path = taking.post("/upload", **form(photograph)).headers["Location"]
    mortal.end()

    answer = taking.delete(path)

    assert answer.status_code == 202
    assert answer.json is not None
    assert "removes it there as soon as it can" in answer.json["title"]
    assert taking.get(path).status_code == 404
    refused = taking.post("/upload", **form(photograph + b"x"))
    assert (refused.status_code, refused.headers["image-error"]) == (503, "uploads-unavailable")


def test_pieces_go_to_whichever_node(
    settings: Settings,
    tmp_path: Path,
    place: tuple[BucketUrl, BucketsSettings],
    photograph: bytes,
) -> None:
    one, two = (node(settings, tmp_path / name, place) for name in ("one", "two"))
    tus = {"Tus-Resumable": "1.0.0"}
    piece = {**tus, "Content-Type": "application/offset+octet-stream"}
    length = str(len(photograph))
    begun = one.post("/upload/resumable/", headers={**tus, "Upload-Length": length})
    url, half = begun.headers["Location"], len(photograph) // 2

    first = one.patch(url, headers={**piece, "Upload-Offset": "0"}, data=photograph[:half])
    assert (first.status_code, first.headers["Upload-Offset"]) == (204, str(half))
    assert two.head(url, headers=tus).headers["Upload-Offset"] == str(half)
    wrong = two.patch(url, headers={**piece, "Upload-Offset": "0"}, data=photograph[:half])
    assert (wrong.status_code, wrong.headers["image-error"]) == (409, "wrong-offset")
    rest = two.patch(url, headers={**piece, "Upload-Offset": str(half)}, data=photograph[half:])
    assert rest.status_code == 204

    for client in (one, two):
        known = client.get(url)
        assert known.json is not None
        ident = known.json["content"]["ident"]
        assert client.get(f"/image/{ident}.jpg").status_code == 200
