"""`uploads` where they are kept in a bucket, and `uploads move`."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from upload_houses import House, house
from weeds import needs_weed

from imgprocessor.__main__ import main
from imgprocessor.config.buckets import BucketsSettings, BucketUrl
from imgprocessor.config.settings import Settings
from imgprocessor.config.settings_file import describe_settings
from imgprocessor.config.upload_settings import UploadsSettings
from imgprocessor.storage.shared.bucket import Bucket

pytestmark = needs_weed

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def in_folder(settings: Settings, tmp_path: Path) -> Settings:
    """Settings of uploads in a folder."""
    uploads = UploadsSettings(enabled=True, folder=tmp_path / "uploads", min_free_bytes=0)
    return replace(settings, uploads=uploads)


@pytest.fixture
def in_bucket(in_folder: Settings, place: tuple[BucketUrl, BucketsSettings]) -> Settings:
    """The same, once a bucket is set."""
    uploads = replace(in_folder.uploads, bucket=place[0])
    return replace(in_folder, uploads=uploads, buckets=place[1])


@pytest.fixture
def here(in_bucket: Settings) -> House:
    """A node of it."""
    return house(in_bucket)


@pytest.fixture
def run(in_bucket: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """What runs a command; it returns its status and what it printed."""

    def run_one(command: str, *arguments: str) -> tuple[int, str, str]:
        conf = tmp_path / "imgprocessor.ini"
        conf.write_text(describe_settings(in_bucket))
        capsys.readouterr()
        status = main(["uploads", command, "--conf", str(conf), *arguments])
        return status, *capsys.readouterr()

    return run_one


def test_every_command_works_over_a_bucket(
    here: House, run: Run, bucket: Bucket, photograph: bytes, tmp_path: Path
) -> None:
    ident = here.upload(photograph, "100x50").ident
    other = here.upload(photograph + b"x").ident

    status, out, _ = run("list")
    assert (status, out.count("\n")) == (0, 2)
    shown = json.loads(run("show", ident, "--json")[1])
    assert shown["file"].startswith(f"{bucket.url}/files/{ident}/")
    assert [row["is_current"] for row in shown["kept"]] == [True, True]
    assert run("verify")[:2] == (0, "all well\n")
    assert run("sizes", "--all", "--add", "9x9")[0] == 0
    assert len(json.loads(run("show", other, "--json")[1])["kept"]) == 2
    tar = tmp_path / "all.tar"
    assert run("export", str(tar))[0] == 0
    assert run("remove", ident, other)[0] == 0
    assert run("list")[1] == ""
    status, out, _ = run("import", str(tar))
    assert (status, out.splitlines()[0]) == (0, "2 new, 0 known, 0 refused")
    assert here.ask(f"100/50/{ident}.jpg").rendition.size.width == 100


def test_what_is_damaged_in_the_bucket_is_told(
    here: House, run: Run, bucket: Bucket, photograph: bytes
) -> None:
    ident = here.upload(photograph, "100x50").ident
    for found in list(bucket.listed("files")):
        bucket.put(found.key, b"x" * found.version.size_bytes)

    bucket.put(f"files/{ident}/late/sizes/1x1.best", b"late")

    status, out, _ = run("verify")

    assert status == 1
    assert f"{bucket.url}/files/{ident}/late: is no upload; take it away" in out
    assert f"{ident}: [Errno 5] is damaged" in out
    assert f"{ident}/100x50.best: is damaged; have it made anew" in out


def test_all_is_moved_to_the_bucket_and_back(
    in_folder: Settings, here: House, run: Run, bucket: Bucket, photograph: bytes
) -> None:
    before = house(in_folder)
    idents = [before.upload(photograph + bytes([n]), "100x50").ident for n in range(3)]

    assert here.ask(f"100/50/{idents[0]}.jpg").source == "store"  # nothing is missing before
    assert run("move", idents[0])[:2] == (0, "1 moved\n")
    assert run("move")[:2] == (0, "2 moved\n")
    assert before.kept == []
    for ident in idents:
        assert here.ask(f"100/50/{ident}.jpg").source == "store"
    status, _, err = run("move", "0" * 32)
    assert (status, "there is no such upload" in err) == (1, True)
    assert run("move")[:2] == (0, "0 moved\n")

    assert run("move", "--to-folder")[:2] == (0, "3 moved\n")
    assert not list(bucket.listed("files"))
    assert len(before.kept) == 6
    for ident in idents:
        assert before.ask(f"100/50/{ident}.jpg").source == "store"


def test_without_a_bucket_nothing_is_moved(
    in_folder: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conf = tmp_path / "imgprocessor.ini"
    conf.write_text(describe_settings(in_folder))

    assert main(["uploads", "move", "--conf", str(conf)]) == 1
    assert "[uploads] bucket must name the bucket" in capsys.readouterr().err
