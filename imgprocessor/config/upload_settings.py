"""What an operator may decide about uploads: who may, how much, and what is kept of a picture."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from imgprocessor.config.buckets import BucketUrl, bucket_url_or_none
from imgprocessor.config.types import (
    choice,
    not_negative,
    path,
    path_or_none,
    positive,
    setting,
    switch,
)

KeptMetadata = Literal["none", "copyright", "all"]
"""What is kept of a picture's metadata, beside what its orientation and colours need."""

SMALL_BODY_BYTES = 65_536
"""Of a body that has no file in it; and as much may stand around the file in a form. The virtual
host knows it, too.
"""


@dataclass(frozen=True)
class UploadsSettings:
    """Pictures that are handed in, and kept for good."""

    enabled: bool = setting(
        False,
        switch,
        "Take pictures at /upload, and in pieces at /upload/resumable/; without, both are 404.",
    )
    folder: Path = setting(
        Path("../uploads"),
        path,
        "Where uploads are kept, each in a folder with its record and its kept sizes. Nothing else"
        " has a copy: back it up. With a bucket: what is on its way in, and local copies.",
    )
    bucket: BucketUrl | None = setting(
        None,
        bucket_url_or_none,
        "Where uploads are kept instead, for all nodes: a place in a bucket, such as"
        " s3://pictures/uploads.",
    )
    tokens_file: Path | None = setting(
        None,
        path_or_none,
        "A file with who may upload, made by `imgprocessor uploads token`; readable for the"
        " daemons' user, not for everybody. Without, only programs on this machine may, and not by"
        " way of a proxy.",
    )
    metadata: KeptMetadata = setting(
        "none",
        choice(KeptMetadata),
        "What is kept of a picture's metadata: none, copyright (and artist), or all but where it"
        " was taken. Orientation and colours keep their effect.",
    )
    max_bytes: int = setting(
        52_428_800,
        positive,
        "Refuse larger files (50 MiB). No more than [originals] max_bytes, and than IMG_MAX_UPLOAD"
        " in the virtual host.",
    )
    max_uploads: int = setting(
        1_000_000,
        positive,
        "Keep no more pictures; one more is a 507. In a bucket nobody counts them.",
    )
    max_kept_bytes: int = setting(
        100_000_000_000,
        positive,
        "Pictures and their kept sizes take no more than this (100 GB); what would is a 507. In a"
        " bucket nobody counts them.",
    )
    min_free_bytes: int = setting(
        1_000_000_000,
        not_negative,
        "Where less of the disk would stay free (1 GB), nothing more is taken: 507.",
    )
    max_sizes: int = setting(20, positive, "A picture has no more kept sizes than this.")
    sizes_at_once: int = setting(
        4,
        not_negative,
        "So many sizes of a request are made before it is answered; the rest behind the answer.",
    )
    max_unfinished: int = setting(
        1000, positive, "So many resumable uploads may be unfinished at once."
    )
    max_unfinished_bytes: int = setting(
        5_000_000_000,
        positive,
        "Unfinished resumable uploads, each counted by the length that it will have, take no more"
        " than this.",
    )
    unfinished_seconds: int = setting(
        86_400, positive, "An unfinished upload is removed so long after its last piece."
    )

    @property
    def max_body_bytes(self) -> int:
        """Of a whole body: IMG_MAX_UPLOAD in the virtual host."""
        return self.max_bytes + SMALL_BODY_BYTES


@dataclass(frozen=True)
class ReplicaSettings:
    """A second copy of all uploads, usually elsewhere."""

    url: BucketUrl | None = setting(
        None,
        bucket_url_or_none,
        "A place in another bucket, such as s3://pictures-copy/uploads, that each upload and each"
        " kept size is copied to behind answers; it is read while the first place fails.",
    )
