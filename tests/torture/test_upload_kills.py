"""Everything is killed every second while pictures are handed in."""

from pathlib import Path

import pytest
import upload_kills
from measures import Measured

pytestmark = pytest.mark.apache


def test_two_hundred_uploads_while_everything_is_killed(tmp_path: Path, measured: Measured) -> None:
    """E3: nothing is lost that a client was told of, and nothing half of it stays."""
    course = upload_kills.run(tmp_path, 200, life_seconds=1.0, most_kills=60)
    measured(
        "E3",
        f"200 uploads in {course.seconds:.0f} s, all killed {course.kills} times:"
        f" {dict(course.statuses)}",
    )
    assert course.kills > 5
