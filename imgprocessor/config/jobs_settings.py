"""What an operator may decide about jobs, and about the pages of documents that jobs draw."""

from dataclasses import dataclass
from pathlib import Path

from imgprocessor.config.types import (
    instance_name,
    output_side,
    path_or_none,
    positive,
    redis_url_or_none,
    setting,
    several,
    switch,
)

DOCUMENT_KINDS = ("pdf", "svg", "heif", "office", "video", "raw")
"""The kinds of documents that are known."""


@dataclass(frozen=True)
class JobsSettings:
    """Thumbnails that are asked for now, and fetched later."""

    enabled: bool = setting(
        False,
        switch,
        "Take pictures, and names of such that are there, at POST /convert; needs [uploads]"
        " enabled, whose tokens count here, too.",
    )
    redis: str | None = setting(
        None,
        redis_url_or_none,
        "Where jobs are kept, such as redis://127.0.0.1:6379/0 or unix:///run/redis/redis.sock;"
        " with it `imgprocessor worker` does them, on any number of machines. Without, the daemon"
        " for uploads does, and forgets them when it ends.",
    )
    instance: str = setting(
        "imgprocessor",
        instance_name,
        "What all keys and queues begin with, those of [store] shared as well: another word for"
        " each installation on one Redis.",
    )
    max_pending: int = setting(
        1000, positive, "So many jobs wait, of each queue; one more is a 503."
    )
    max_known: int = setting(
        100_000,
        positive,
        "So many jobs are known, those that are over included; each takes some 2 kB of memory.",
    )
    max_waiting_bytes: int = setting(
        2_000_000_000, positive, "Files that were handed in for jobs take no more than this (2 GB)."
    )
    max_kept_bytes: int = setting(
        5_000_000_000,
        positive,
        "Where thumbnails take more than this (5 GB), a new job is a 503 until some are forgotten.",
    )
    result_seconds: int = setting(
        86_400, positive, "A job, its file and its thumbnail are kept for so long."
    )
    job_seconds: int = setting(
        120, positive, "A trial of a job takes no longer, its wait for a renderer included."
    )
    flower_password_file: Path | None = setting(
        None,
        path_or_none,
        "A file with the password of Flower's pages, which `imgprocessor flower` shows. Without it"
        " there are none.",
    )


@dataclass(frozen=True)
class PreviewsSettings:
    """Pages of documents, which are shown like pictures."""

    enabled: bool = setting(
        False,
        switch,
        "Show documents, page by page; needs [jobs] redis, and `imgprocessor worker`, which draws"
        " them in a sandbox. `imgprocessor previews` says which it can draw.",
    )
    kinds: tuple[str, ...] = setting(
        DOCUMENT_KINDS,
        several(DOCUMENT_KINDS),
        f"Which, with blanks between: {' '.join(DOCUMENT_KINDS)}. One is drawn where its parts are"
        " installed.",
    )
    side_pixels: int = setting(
        2400,
        output_side,
        "The longer side of a page as it is drawn; all sizes are made from that.",
    )
    document_seconds: int = setting(
        30, positive, "A page is given up that takes longer; it is tried again after minutes."
    )
