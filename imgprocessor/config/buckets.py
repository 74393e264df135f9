"""Buckets, as settings name them."""

import re
from dataclasses import dataclass
from pathlib import Path

from imgprocessor.config.types import path, path_or_none, setting, words

SCHEMES = ("s3", "gs", "az")
"""S3 and what speaks like it, Google Cloud Storage, Azure Blob Storage."""

_SEGMENT = "[A-Za-z0-9._-]{1,200}"


@dataclass(frozen=True)
class BucketUrl:
    """A place in a bucket, such as `s3://pictures/shop`."""

    scheme: str
    bucket: str
    prefix: str = ""
    """What all keys in it begin with, without the slash that follows; "" is the whole bucket."""

    def __str__(self) -> str:
        return f"{self.root}/{self.prefix}" if self.prefix else self.root

    @property
    def root(self) -> str:
        """The bucket itself, as its section is called."""
        return f"{self.scheme}://{self.bucket}"

    def overlaps(self, other: "BucketUrl") -> bool:
        """Whether one is the other, or lies in it."""
        ours, theirs = f"{self}/", f"{other}/"
        return ours.startswith(theirs) or theirs.startswith(ours)

    def under(self, folder: str) -> "BucketUrl":
        """Return the place of a folder in this one."""
        return BucketUrl(self.scheme, self.bucket, f"{self.prefix}/{folder}".strip("/"))


def read_bucket_url(text: str) -> BucketUrl:
    """Read a place in a bucket.

    Raises:
        ValueError: it is something else; the message says what would be right.
    """
    read = re.fullmatch(
        rf"({'|'.join(SCHEMES)})://([a-z0-9][a-z0-9.-]{{1,61}}[a-z0-9])(/.*)?", text
    )
    prefix = "" if read is None else (read[3] or "").strip("/")
    if read is None or not all(
        re.fullmatch(_SEGMENT, part) and part.strip(".") for part in prefix.split("/") if prefix
    ):
        raise ValueError(
            "must be SCHEME://BUCKET/PREFIX, such as s3://pictures/shop: the scheme s3, gs or az,"
            " the prefix of letters, digits, dots, - and _, or left out"
        )
    return BucketUrl(read[1], read[2], prefix)


def bucket_url_or_none(value: str) -> BucketUrl | None:
    """Read a place in a bucket, or none."""
    return None if value == "none" else read_bucket_url(value)


def places(value: str) -> tuple[Path | BucketUrl, ...]:
    """Read folders and places in buckets, with blanks between them."""
    found = tuple(read_bucket_url(word) if "://" in word else path(word) for word in words(value))
    if not found:
        raise ValueError("must not be empty")
    return found


@dataclass(frozen=True)
class BucketsSettings:
    """Object storage, where settings name buckets such as s3://pictures/shop."""

    file: Path | None = setting(
        None,
        path_or_none,
        "A file with a section for each bucket, such as [s3://pictures], that says how it is"
        " reached; readable for the daemons' user, not for everybody. See docs/buckets.md.",
    )
