"""Uploads in a bucket without the web: two nodes that share nothing else."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from upload_houses import MODERN, House, house
from weeds import S3Server, needs_weed, place_in, running_s3

from imgprocessor.config.buckets import BucketsSettings, BucketUrl
from imgprocessor.config.settings import Settings
from imgprocessor.config.upload_settings import UploadsSettings
from imgprocessor.errors import (
    ConfigurationError,
    NoSuchUpload,
    NotYetGone,
    UploadsUnavailable,
)
from imgprocessor.parts import upload_store
from imgprocessor.service.understanding import Incoming
from imgprocessor.storage.shared.bucket import Bucket

pytestmark = needs_weed


def node(settings: Settings, folder: Path, place: tuple[BucketUrl, BucketsSettings]) -> House:
    """Return a node with folders of its own."""
    uploads = UploadsSettings(
        enabled=True, folder=folder / "uploads", bucket=place[0], min_free_bytes=0
    )
    cache = replace(settings.disk_cache, folder=folder / "cache")
    return house(replace(settings, uploads=uploads, buckets=place[1], disk_cache=cache))


@pytest.fixture
def nodes(
    settings: Settings, tmp_path: Path, place: tuple[BucketUrl, BucketsSettings]
) -> list[House]:
    """Two nodes of one bucket."""
    return [node(settings, tmp_path / name, place) for name in ("one", "two")]


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[S3Server]:
    """A server that a test may kill, and start again."""
    with running_s3(tmp_path / "s3") as server:
        yield server


def test_what_one_node_took_the_other_one_shows(nodes: list[House], photograph: bytes) -> None:
    one, two = nodes
    accepted = one.upload(photograph, "100x50")
    ident = accepted.ident

    plain, best = (two.ask(f"100/50/{ident}.jpg", accept=it) for it in ("*/*", MODERN))

    assert accepted.is_new
    assert (plain.source, best.source) == ("store", "store")  # it was made by the other one
    assert two.ask(f"{ident}.jpg", "width=90&fit=inside").rendition.size.width == 90
    again = two.upload(photograph, "100x50,10x10")
    assert (again.is_new, len(again.sizes)) == (False, 2)


def test_equal_ones_at_two_nodes_at_once_are_one(nodes: list[House], photograph: bytes) -> None:
    bodies = [photograph + bytes([number]) for number in range(3)]
    for body in bodies:
        with ThreadPoolExecutor(2) as pool:
            accepted = list(pool.map(lambda one: one.upload(body, "9x9"), nodes))  # noqa: B023

        assert sorted(one.is_new for one in accepted) == [False, True]
        assert accepted[0].ident == accepted[1].ident
    keys = [found.key.rpartition("/")[2] for found in bucket_of(nodes[0]).listed("files")]
    assert keys.count("original") == len(bodies)


def bucket_of(there: House) -> Bucket:
    """Return the bucket that a node uses."""
    url = there.settings.uploads.bucket
    assert url is not None
    return Bucket(url, there.settings.buckets)


def test_what_one_node_removed_the_other_one_shows_no_more(
    nodes: list[House], photograph: bytes
) -> None:
    one, two = nodes
    ident = one.upload(photograph, "100x50").ident
    found = two.delivery.find(two.delivery.understand(_asked(f"100/50/{ident}.jpg")))

    one.uploads.remove(ident)
    two.delivery.purge(f"{ident}.jpg")  # as the other node asks for it, by [purge] nodes

    for there in nodes:
        with pytest.raises(NoSuchUpload):
            there.ask(f"100/50/{ident}.jpg")
    two.delivery.keep(two.delivery.answer(found))
    assert not list(bucket_of(one).listed("files"))
    assert not list(bucket_of(one).listed("removed"))
    with pytest.raises(NoSuchUpload):
        two.uploads.remove(ident)
    assert two.upload(photograph).is_new
    assert one.ask(f"{ident}.jpg").rendition.original_size.width == 600


def _asked(path: str) -> Incoming:
    return Incoming("", {"accept": "*/*"}, path)


def test_a_removal_while_the_bucket_is_dead_is_done_once_it_is_back(
    settings: Settings, tmp_path: Path, mortal: S3Server, photograph: bytes
) -> None:
    here = node(settings, tmp_path / "node", place_in(mortal, tmp_path, "uploads"))
    ident = here.upload(photograph, "100x50").ident
    mortal.end()

    with pytest.raises(NotYetGone):
        here.uploads.remove(ident)
    with pytest.raises(NoSuchUpload):
        here.ask(f"100/50/{ident}.jpg")
    with pytest.raises(UploadsUnavailable):
        here.upload(photograph)
    mortal.start()
    with pytest.raises(NoSuchUpload):
        here.ask(f"{ident}.jpg")

    here.uploads.sweep()

    assert [found.key for found in bucket_of(here).listed()] == [f"records/{ident}"]
    with pytest.raises(NoSuchUpload):
        here.ask(f"{ident}.jpg")


def test_a_picture_is_shown_while_the_bucket_is_dead(
    settings: Settings, tmp_path: Path, mortal: S3Server, photograph: bytes
) -> None:
    here = node(settings, tmp_path / "node", place_in(mortal, tmp_path, "uploads"))
    ident = here.upload(photograph, "100x50").ident
    mortal.end()

    assert here.ask(f"100/50/{ident}.jpg").source == "store"
    assert here.ask(f"{ident}.jpg", "width=80&fit=inside").rendition.size.width == 80
    with pytest.raises(UploadsUnavailable):
        here.upload(photograph + b"x")


def test_without_a_word_on_how_it_is_reached_there_is_no_start(
    settings: Settings, tmp_path: Path
) -> None:
    uploads = UploadsSettings(enabled=True, folder=tmp_path, bucket=BucketUrl("s3", "abc"))

    with pytest.raises(ConfigurationError, match=r"\[buckets\] file must be set"):
        upload_store(replace(settings, uploads=uploads))
