"""`replicate`: what it copies, removes, leaves and says."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from upload_houses import House, house
from weeds import S3Server, needs_weed, place_in

from imgprocessor.__main__ import main
from imgprocessor.config.settings import Settings
from imgprocessor.config.settings_file import describe_settings
from imgprocessor.config.upload_settings import ReplicaSettings, UploadsSettings
from imgprocessor.parts import make_replication
from imgprocessor.storage.shared.bucket import Bucket
from imgprocessor.storage.uploads.replication.replication import Replication

pytestmark = needs_weed

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(params=["folder", "bucket"])
def copied(
    request: pytest.FixtureRequest, settings: Settings, s3_server: S3Server, tmp_path: Path
) -> Settings:
    """Settings of uploads that have a replica."""
    url, buckets = place_in(s3_server, tmp_path, tmp_path.name)
    uploads = UploadsSettings(
        enabled=True,
        folder=tmp_path / "uploads",
        bucket=url.under("first") if request.param == "bucket" else None,
        min_free_bytes=0,
    )
    replica = ReplicaSettings(url.under("replica"))
    return replace(settings, uploads=uploads, buckets=buckets, replica=replica)


@pytest.fixture
def here(copied: Settings) -> House:
    """A node of it, which copies nothing by itself."""
    return house(copied)


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """What runs the command with settings; it returns its status and what it printed."""

    def run_one(settings: Settings, *arguments: str) -> tuple[int, str, str]:
        conf = tmp_path / "imgprocessor.ini"
        conf.write_text(describe_settings(settings))
        capsys.readouterr()
        return main(["replicate", "--conf", str(conf), *arguments]), *capsys.readouterr()

    return run_one


def replication_of(settings: Settings) -> Replication:
    """Return what another process copies with."""
    replication = make_replication(settings)
    assert replication is not None
    return replication


def test_it_copies_what_is_missing_and_the_second_time_nothing(
    here: House, copied: Settings, run: Run, photograph: bytes
) -> None:
    idents = [here.upload(photograph + bytes([n]), "100x50").ident for n in range(3)]

    first, second = run(copied), run(copied)

    assert first == (0, "3 copied, 0 removed, 0 were there already, 0 left\n", "")
    assert second == (0, "0 copied, 0 removed, 3 were there already, 0 left\n", "")
    there = replication_of(copied).replica
    assert list(there.idents()) == sorted(idents)
    for ident in idents:
        assert there.names(ident) == ["100x50.best", "100x50.plain"]


def test_the_replica_is_the_first_place_once_it_is_named_so(
    here: House, copied: Settings, run: Run, photograph: bytes, tmp_path: Path
) -> None:
    ident = here.upload(photograph, "100x50").ident
    run(copied)
    url = copied.replica.url
    uploads = replace(copied.uploads, folder=tmp_path / "new", bucket=url)
    cache = replace(copied.disk_cache, folder=tmp_path / "new cache")
    after = replace(copied, uploads=uploads, replica=ReplicaSettings(), disk_cache=cache)

    there = house(after)

    assert there.ask(f"100/50/{ident}.jpg").source == "store"
    assert not there.upload(photograph).is_new
    there.uploads.add_sizes(ident, there.upload(photograph, "10x10").sizes)
    there.uploads.remove(ident)
    assert there.upload(photograph).is_new


def test_what_was_removed_is_removed_and_what_is_lost_is_not(
    here: House, copied: Settings, run: Run, photograph: bytes
) -> None:
    gone, lost = (here.upload(photograph + bytes([n])).ident for n in range(2))
    run(copied)
    replication = replication_of(copied)
    here.uploads.remove(gone)
    first = replication.first
    replication.first.take_out(lost)
    first.clear(lost)
    if copied.uploads.bucket is not None:
        Bucket(copied.uploads.bucket, copied.buckets).remove(f"records/{lost}")

    status, out, err = run(copied)

    # That it was removed the replica was told at once.
    assert (status, out) == (1, "0 copied, 0 removed, 0 were there already, 1 left\n")
    assert f"imgprocessor: {lost}: is here no more, and nobody removed it; with --remove-u" in err
    replica = replication.replica
    replica.forget_all()
    assert replica.find(gone) is None
    assert replica.find(lost) is not None
    assert run(copied, "--remove-unknown")[:2] == (
        0,
        "0 copied, 1 removed, 0 were there already, 0 left\n",
    )
    replica.forget_all()
    assert replica.find(lost) is None


def test_it_goes_on_past_what_fails_and_past_what_nobody_can_ask_for(
    here: House, copied: Settings, run: Run, photograph: bytes, s3_server: S3Server
) -> None:
    idents = sorted(here.upload(photograph + bytes([n])).ident for n in range(3))
    first = replication_of(copied).first
    if copied.uploads.bucket is None:
        Path(first.where(idents[1])).write_bytes(b"x" * 99)
    else:
        bucket = Bucket(copied.uploads.bucket, copied.buckets)
        bucket.put(f"records/{idents[1]}", b"no record, and of more bytes than a tombstone has")
    assert copied.replica.url is not None
    s3_server.put(f"{copied.replica.url.prefix}/records/line\nbreak", b"odd")

    status, out, err = run(copied)

    assert (status, out) == (1, "2 copied, 0 removed, 0 were there already, 1 left\n")
    assert f"imgprocessor: {idents[1]}: " in err
    assert r"line\nbreak' left out" in err or r"line\nbreak': left out" in err
    assert list(replication_of(copied).replica.idents()) == [idents[0], idents[2]]


def test_it_says_what_is_missing_in_the_settings(copied: Settings, run: Run) -> None:
    status, _, err = run(replace(copied, replica=ReplicaSettings()))
    assert status != 0
    assert "[replica] url must name the second place" in err
    if copied.uploads.bucket is not None:
        status, _, err = run(replace(copied, replica=ReplicaSettings(copied.uploads.bucket)))
        assert f"[replica] url = {copied.uploads.bucket} overlaps [uploads] bucket" in err
