"""What a bucket promises, over a real S3 server."""

import pickle

import pytest
from weeds import S3Server, access_file, needs_weed

from imgprocessor.config.buckets import BucketsSettings, BucketUrl
from imgprocessor.errors import ConfigurationError
from imgprocessor.storage.shared.bucket import Bucket
from imgprocessor.storage.shared.failures import BucketFailed, Conflict, ObjectTooLarge, Refused

pytestmark = needs_weed


def test_what_was_put_is_got(bucket: Bucket) -> None:
    etag = bucket.put("cats/a.jpg", b"content")

    got = bucket.get("cats/a.jpg", max_bytes=7)

    assert got is not None
    assert got.body == b"content"
    assert (got.version.etag, got.version.size_bytes) == (etag, 7)


def test_what_is_known_is_not_got_again(bucket: Bucket) -> None:
    etag = bucket.put("a", b"one")
    assert bucket.get("a", max_bytes=9, unless=etag) is None

    bucket.put("a", b"two")

    got = bucket.get("a", max_bytes=9, unless=etag)
    assert got is not None
    assert got.body == b"two"


@pytest.mark.parametrize(
    "name", ["a b+c%20d#?&=[~].jpg", "Füße.jpg", "写真/猫.jpg", "u\u0308.jpg", "x" * 200]
)
def test_an_object_may_be_called_nearly_anything(bucket: Bucket, name: str) -> None:
    bucket.put(name, b"1")

    assert [found.key for found in bucket.listed()] == [name]
    assert bucket.get(name, max_bytes=1) is not None


@pytest.mark.parametrize(
    "name", ["", "/a", "a/", "a//b", "./a", "a/../b", "a\nb", "a\x7f", "\udc80"]
)
def test_what_no_path_is_called_is_not_there(bucket: Bucket, name: str) -> None:
    with pytest.raises(FileNotFoundError, match="may be called so"):
        bucket.get(name, max_bytes=1)


def test_what_is_too_large_is_not_read(bucket: Bucket) -> None:
    bucket.put("a", b"1234")

    with pytest.raises(ObjectTooLarge, match="has 4 bytes"):
        bucket.get("a", max_bytes=3)


def test_one_of_two_puts_what_is_new(bucket: Bucket) -> None:
    bucket.put_new("a", b"first")

    with pytest.raises(Conflict):
        bucket.put_new("a", b"second")

    got = bucket.get("a", max_bytes=9)
    assert got is not None
    assert got.body == b"first"


def test_what_was_changed_meanwhile_is_not_replaced(bucket: Bucket) -> None:
    before = bucket.put("a", b"first")
    now = bucket.put("a", b"second", instead_of=before)

    with pytest.raises(Conflict):
        bucket.put("a", b"third", instead_of=before)
    with pytest.raises(Conflict):
        bucket.put("not there", b"third", instead_of=before)

    bucket.put("a", b"third", instead_of=now)


def test_what_is_removed_has_gone_and_may_be_removed_again(bucket: Bucket) -> None:
    bucket.put("a", b"1")

    bucket.remove("a")
    bucket.remove("a")

    with pytest.raises(FileNotFoundError):
        bucket.get("a", max_bytes=1)


def test_a_listing_has_more_than_one_page_and_goes_on_after_a_key(bucket: Bucket) -> None:
    names = [f"many/{number:04}" for number in range(1203)]
    for name in names:
        bucket.put(name, b"1")

    assert [found.key for found in bucket.listed("many")] == names
    assert [found.key for found in bucket.listed("many", after=names[1100])] == names[1101:]


def test_a_listing_goes_on_past_keys_that_are_no_paths(s3_server: S3Server, bucket: Bucket) -> None:
    odd = ["line\nbreak", "del\x7f"]
    right = ["A b+c%20d&.jpg", "cats/写真.jpg"]
    for name in odd + right:
        s3_server.put(f"{bucket.url.prefix}/{name}", b"1")
    s3_server.put(f"{bucket.url.prefix}/marker/", b"")
    left_out: list[str] = []

    assert [one.key for one in bucket.listed(left_out=left_out.append)] == right
    assert sorted(left_out) == sorted(odd)


def test_a_folder_and_what_comes_after_may_be_called_nearly_anything(bucket: Bucket) -> None:
    names = [f"a b+c%20&=[~]写/{name}" for name in ("1 +.jpg", "2 +.jpg", "sub %/3.jpg")]
    for name in names:
        bucket.put(name, b"1")
    folder = "a b+c%20&=[~]写"

    assert [one.key for one in bucket.listed(folder, after=names[0])] == names[1:]
    folders, objects = bucket.folder(folder)
    assert folders == ["sub %"]
    assert [one.key for one in objects] == names[:2]


def test_a_listing_has_the_versions_that_objects_have(bucket: Bucket) -> None:
    etag = bucket.put("a", b"content")

    (listed,) = bucket.listed()

    got = bucket.get("a", max_bytes=9)
    assert got is not None
    assert listed.version.etag == got.version.etag == etag
    assert listed.version.size_bytes == 7
    assert int(listed.version.modified_seconds) == int(got.version.modified_seconds)


def test_a_folder_has_what_is_directly_in_it(bucket: Bucket) -> None:
    for name in ("a.jpg", "cats/b.jpg", "cats/old/c.jpg", "cats2/d.jpg"):
        bucket.put(name, b"1")
    bucket.put("cats/marker", b"")

    assert bucket.folder("cats")[0] == ["old"]
    assert [found.key for found in bucket.folder("cats")[1]] == ["cats/b.jpg"]
    assert bucket.folder()[0] == ["cats", "cats2"]
    assert bucket.folder("dogs") == ([], [])


def test_another_process_has_a_client_of_its_own(bucket: Bucket) -> None:
    bucket.put("a", b"1")

    other = pickle.loads(pickle.dumps(bucket))  # noqa: S301

    assert other.get("a", max_bytes=1) == bucket.get("a", max_bytes=1)


def test_credentials_that_are_replaced_count_at_once(
    s3_server: S3Server, place: tuple[BucketUrl, BucketsSettings]
) -> None:
    url, settings = place
    assert settings.file is not None
    access_file(settings.file.parent, s3_server.access(secret_access_key="expired"))  # noqa: S106
    bucket = Bucket(url, settings)
    with pytest.raises(Refused, match="the secret key is wrong"):
        bucket.put("a", b"1")

    access_file(settings.file.parent, s3_server.access())

    bucket.put("a", b"1")


def test_an_access_key_that_is_not_known_is_told(
    s3_server: S3Server, place: tuple[BucketUrl, BucketsSettings]
) -> None:
    url, settings = place
    assert settings.file is not None
    access_file(settings.file.parent, s3_server.access(access_key_id="somebody"))

    with pytest.raises(Refused, match="the access key is not known there"):
        Bucket(url, settings).get("a", max_bytes=1)


def test_a_server_that_stands_still_is_waited_for_no_longer_than_said(
    s3_server: S3Server, place: tuple[BucketUrl, BucketsSettings]
) -> None:
    bucket = Bucket(*place, total_seconds=0.3)
    bucket.put("a", b"1")

    with s3_server.stopped(), pytest.raises(BucketFailed, match="it takes too long"):
        bucket.get("a", max_bytes=1)

    bucket.get("a", max_bytes=1)


def test_a_server_that_is_not_there_is_told(
    s3_server: S3Server, place: tuple[BucketUrl, BucketsSettings]
) -> None:
    url, settings = place
    assert settings.file is not None
    access_file(settings.file.parent, s3_server.access(endpoint="http://127.0.0.1:1"))

    with pytest.raises(BucketFailed, match="it cannot be connected to"):
        Bucket(url, settings).get("a", max_bytes=1)


def test_a_file_of_buckets_that_cannot_be_read_any_more_is_told_as_a_refusal(
    place: tuple[BucketUrl, BucketsSettings],
) -> None:
    url, settings = place
    bucket = Bucket(url, settings)
    bucket.check()
    other = Bucket(url, settings)
    assert settings.file is not None
    settings.file.write_text("")

    bucket.put("a", b"1")
    with pytest.raises(Refused, match="has no section"):
        other.put("a", b"1")
    with pytest.raises(ConfigurationError, match="has no section"):
        other.check()
