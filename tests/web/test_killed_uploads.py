"""Everything is killed while pictures are handed in, for seconds: `torture` has minutes of it."""

from pathlib import Path

import pytest
import upload_kills
from weeds import needs_weed, running_s3


@pytest.mark.apache
@pytest.mark.slow
def test_uploads_while_everything_is_killed(tmp_path: Path) -> None:
    course = upload_kills.run(tmp_path, 20, life_seconds=0.3, most_kills=3)
    assert course.kills


@pytest.mark.apache
@pytest.mark.slow
@needs_weed
def test_uploads_to_a_bucket_while_that_is_killed_as_well(tmp_path: Path) -> None:
    with running_s3(tmp_path / "s3") as server:
        course = upload_kills.run(tmp_path, 20, life_seconds=0.3, most_kills=3, s3=server)
    assert course.kills
