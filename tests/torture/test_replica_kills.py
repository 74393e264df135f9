"""Everything is killed while pictures are handed in, changed and removed, both buckets as well."""

from pathlib import Path

import pytest
import upload_kills
from measures import Measured
from weeds import needs_weed, running_s3

pytestmark = [pytest.mark.apache, needs_weed]


def test_each_201_is_in_both_buckets_and_what_was_removed_in_none(
    tmp_path: Path, measured: Measured
) -> None:
    with running_s3(tmp_path / "s3") as first, running_s3(tmp_path / "copy", "elsewhere") as copy:
        course = upload_kills.run(
            tmp_path, 60, life_seconds=0.7, most_kills=12, s3=first, replica=copy
        )
    measured(
        "E9",
        f"60 uploads in {course.seconds:.0f} s, all killed {course.kills} times, both buckets too:"
        f" {dict(course.statuses)}",
    )
    assert course.kills > 3
