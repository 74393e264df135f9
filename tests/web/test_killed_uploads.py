"""Everything is killed while pictures are handed in, for seconds: `torture` has minutes of it."""

from pathlib import Path

import pytest
import upload_kills


@pytest.mark.apache
@pytest.mark.slow
def test_uploads_while_everything_is_killed(tmp_path: Path) -> None:
    course = upload_kills.run(tmp_path, 20, life_seconds=0.3, most_kills=3)
    assert course.kills
