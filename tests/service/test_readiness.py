"""Alive is not ready: what a node needs before it should be sent visitors."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from imgprocessor.app import make_web
from imgprocessor.config.settings import Settings

HEALTH, READY = "/images/-/health", "/images/-/ready"


def test_a_node_that_lacks_nothing_is_ready(client: FlaskClient) -> None:
    client.get("/images/?name=nasa.jpeg&width=30")
    answer = client.get(READY)

    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert answer.get_json() == {"status": "ready", "checks": {"originals": "ok", "store": "ok"}}


def _replaced_by_a_file(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.write_bytes(b"")


@pytest.mark.parametrize(
    ("part", "breaking", "wrong"),
    [
        ("originals", shutil.rmtree, "no such file or directory"),
        ("originals", _replaced_by_a_file, "not a directory"),
        ("store", _replaced_by_a_file, "file exists"),
    ],
)
def test_what_is_missing_is_said_and_the_process_is_alive_all_the_same(
    client: FlaskClient,
    settings: Settings,
    part: str,
    breaking: Callable[[Path], None],
    wrong: str,
) -> None:
    breaking(
        Path(settings.originals.folders[0] if part == "originals" else settings.disk_cache.folder)
    )

    answer = client.get(READY)
    assert answer.status_code == 503
    assert answer.get_json()["status"] == "not ready"
    assert answer.get_json()["checks"][part] == wrong
    assert client.get(HEALTH).status_code == 200


@pytest.fixture
def allowing(settings: Settings, tmp_path: Path) -> Settings:
    """The settings of who allows a host."""
    remote = replace(settings.remote, hosts=("a.example",), folder=tmp_path / "elsewhere")
    return replace(settings, remote=remote)


def test_where_hosts_are_allowed_their_originals_can_be_kept(allowing: Settings) -> None:
    client = make_web(allowing).test_client()
    ready = client.get(READY)
    _replaced_by_a_file(Path(allowing.remote.folder))
    broken = client.get(READY)

    assert (ready.status_code, ready.get_json()["checks"]["remote"]) == (200, "ok")
    assert (broken.status_code, broken.get_json()["checks"]["remote"]) == (503, "file exists")
    assert broken.get_json()["checks"]["store"] == "ok"


def test_where_no_host_is_allowed_their_folder_does_not_matter(allowing: Settings) -> None:
    Path(allowing.remote.folder).write_bytes(b"")
    nobody = replace(allowing, remote=replace(allowing.remote, hosts=()))

    assert make_web(nobody).test_client().get(READY).status_code == 200


def test_a_store_that_is_not_there_yet_is_made(client: FlaskClient, settings: Settings) -> None:
    shutil.rmtree(settings.disk_cache.folder, ignore_errors=True)

    assert client.get(READY).status_code == 200


def test_asking_leaves_nothing_behind(client: FlaskClient, settings: Settings) -> None:
    client.get(HEALTH)
    before = sorted(settings.disk_cache.folder.rglob("*"))
    client.get(READY)

    assert sorted(settings.disk_cache.folder.rglob("*")) == before
    assert settings.log.file.read_text().count("\n") == 1  # that it started
