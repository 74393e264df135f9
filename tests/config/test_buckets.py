"""Buckets as settings name them, and the file that says how they are reached."""

from pathlib import Path
from typing import Any

import pytest

from imgprocessor.config.bucket_access import BucketAccess, bucket_access
from imgprocessor.config.buckets import BucketsSettings, BucketUrl, read_bucket_url
from imgprocessor.errors import ConfigurationError

URL = BucketUrl("s3", "pictures", "shop")
KEYS = "access_key_id = me\nsecret_access_key = none of yours\n"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("s3://pictures", BucketUrl("s3", "pictures")),
        ("s3://pictures/", BucketUrl("s3", "pictures")),
        ("gs://my.pictures/shop", BucketUrl("gs", "my.pictures", "shop")),
        ("az://pictures/a/b_c.d-e/", BucketUrl("az", "pictures", "a/b_c.d-e")),
    ],
)
def test_a_place_is_read(text: str, url: BucketUrl) -> None:
    assert read_bucket_url(text) == url
    assert read_bucket_url(str(url)) == url


@pytest.mark.parametrize(
    "text",
    ["pictures", "http://pictures", "s3://", "s3://Pictures", "s3://p", "s3://pictures/a//b",
     "s3://pictures/../b", "s3://pictures/./b", "s3://pictures/ä", "s3://pic tures",
     "s3:/pictures"],
)  # fmt: skip
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be SCHEME://BUCKET/PREFIX"):
        read_bucket_url(text)


def test_a_folder_of_a_place_is_one() -> None:
    assert BucketUrl("s3", "pictures").under("a") == BucketUrl("s3", "pictures", "a")
    assert URL.under("a/b") == BucketUrl("s3", "pictures", "shop/a/b")


def written(tmp_path: Path, text: str) -> BucketsSettings:
    file = tmp_path / "buckets.ini"
    file.touch(mode=0o600)
    file.write_text(text)
    return BucketsSettings(file)


@pytest.mark.parametrize(
    ("section", "access"),
    [
        (
            f"[s3://pictures]\nendpoint = http://10.0.0.1:8333/\nregion = x\n{KEYS}",
            BucketAccess(
                endpoint="http://10.0.0.1:8333",
                region="x",
                access_key_id="me",
                secret_access_key="none of yours",  # noqa: S106
            ),
        ),
        (
            "[s3://pictures]\nendpoint = https://gateway.example.org/s3\npublic = yes",
            BucketAccess(endpoint="https://gateway.example.org/s3", is_public=True),
        ),
        (
            "[s3://pictures]\nendpoint = http://pictures\npublic = yes",
            BucketAccess(endpoint="http://pictures", is_public=True),
        ),
        (
            "[s3://pictures]\nendpoint = http://a/pictures\nvirtual_hosted = yes\npublic = yes",
            BucketAccess(endpoint="http://a/pictures", virtual_hosted=True, is_public=True),
        ),
        ("[s3://pictures]\nuse_instance_role = yes", BucketAccess(use_instance_role=True)),
        ("[s3://pictures]\npublic = yes", BucketAccess(is_public=True)),
    ],
)
def test_how_a_bucket_is_reached_is_read(
    tmp_path: Path, section: str, access: BucketAccess
) -> None:
    assert bucket_access(written(tmp_path, section), URL) == access


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", r"has no section \[s3://pictures\]; it has none$"),
        (
            "[s3://other]\n[s3://pictures/shop]\npublic = yes",
            r"has no section \[s3://pictures\]; it has \[s3://other\], \[s3://pictures/shop\]$",
        ),
        ("".join(f"[{n}]\n" for n in range(6)), r"it has \[0\], .*, \[4\], …$"),
        ("[s3://pictures]", "must have either access_key_id and secret_access_key, or"),
        ("[s3://pictures]\naccess_key_id = me", "must have either access_key_id and"),
        (f"[s3://pictures]\n{KEYS}public = yes", "must have either"),
        ("[s3://pictures]\nuse_instance_role = yes\npublic = yes", "must have either"),
        ("[s3://pictures]\npublic = no", "must have either"),
        (f"[s3://pictures]\n{KEYS}endpoint = 10.0.0.1", "endpoint: must begin with https://"),
        (
            f"[s3://pictures]\n{KEYS}account_key = a",
            "an option that is not known: account_key; there are",
        ),
        ("[s3://pictures]\nnone of yours = a", "has an option that is not known; there are"),
        ("[s3://pictures]\nwJa1rXUtnFEMI = a", "has an option that is not known; there are"),
        (
            f"[s3://pictures]\n{KEYS}endpoint = https://s3.example.org/pictures/",
            "endpoint: must end before /pictures: the bucket's name is put behind it",
        ),
        ("[s3://pictures]\npublic = perhaps", "public: must be yes or no"),
        ("[s3://pictures]\npublic = yes\nca_file = /not/there", "ca_file: must be a file of cert"),
        ("[s3://pictures]\npublic = yes\nca_file = /etc/passwd", "ca_file: must be a file of cert"),
    ],
)
def test_what_is_wrong_is_told_and_no_key(tmp_path: Path, text: str, wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=wrong) as told:
        bucket_access(written(tmp_path, text), URL)

    assert "none of yours" not in str(told.value)


@pytest.mark.parametrize(
    ("scheme", "access", "endpoint"),
    [
        ("s3", {}, "https://s3.us-east-1.amazonaws.com"),
        ("s3", {"region": "eu-west-1"}, "https://s3.eu-west-1.amazonaws.com"),
        ("s3", {"virtual_hosted": True}, "https://pictures.s3.us-east-1.amazonaws.com"),
        ("s3", {"endpoint": "http://a:1", "virtual_hosted": True}, "http://a:1"),
        ("gs", {}, "https://storage.googleapis.com"),
        ("az", {"account_name": "me"}, "https://me.blob.core.windows.net"),
    ],
)
def test_what_urls_of_a_bucket_begin_with(
    scheme: str, access: dict[str, Any], endpoint: str
) -> None:
    assert BucketAccess(**access).endpoint_of(BucketUrl(scheme, "pictures")) == endpoint


def test_the_file_must_be_named_and_there_and_closed(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"\[buckets\] file must be set"):
        bucket_access(BucketsSettings(), URL)
    with pytest.raises(
        ConfigurationError, match=r"\[buckets\] file: /none: No such.*install -m 600 -o USER"
    ):
        bucket_access(BucketsSettings(Path("/none")), URL)

    settings = written(tmp_path, f"[s3://pictures]\n{KEYS}")
    assert settings.file is not None
    settings.file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="is open to everybody"):
        bucket_access(settings, URL)
