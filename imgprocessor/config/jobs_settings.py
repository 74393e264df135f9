"""What an operator may decide about jobs: where they are kept, how many, and for how long."""

from dataclasses import dataclass
from pathlib import Path

from imgprocessor.config.types import (
    instance_name,
    path_or_none,
    positive,
    redis_url_or_none,
    setting,
    switch,
)


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
