"""Everything is killed while pictures are handed in, changed and removed, both buckets as well."""

import tempfile
from pathlib import Path

import pytest
import redises
import upload_kills
from measures import Measured
from weeds import needs_weed, running_s3

pytestmark = [pytest.mark.apache, needs_weed]


@pytest.mark.parametrize("by_workers", [False, True], ids=["daemons", "workers"])
def test_each_201_is_in_both_buckets_and_what_was_removed_in_none(
    tmp_path: Path, measured: Measured, *, by_workers: bool
) -> None:
    with (
        tempfile.TemporaryDirectory(dir="/tmp") as short,  # paths of sockets must be
        running_s3(tmp_path / "s3") as first,
        running_s3(tmp_path / "copy", "elsewhere") as copy,
        redises.running_redis(Path(short)) as redis,
    ):
        Path(short).chmod(0o755)
        course = upload_kills.run(
            tmp_path,
            100,
            life_seconds=0.5,
            most_kills=10,
            s3=first,
            replica=copy,
            redis=redis.url if by_workers else None,
        )
    measured(
        "E9",
        f"copies by {'workers' if by_workers else 'daemons'}: 100 uploads in"
        f" {course.seconds:.0f} s, all killed {course.kills} times, both buckets too:"
        f" {dict(course.statuses)}",
    )
    assert course.kills > 3
