"""Plain files and their entries: what lies at the path is the body, and a group goes as a whole."""

import os
import time
from pathlib import Path

import pytest

from imgprocessor.storage.generation import Generations
from imgprocessor.storage.plain_files import PlainFiles

GROUPS = 40


@pytest.fixture
def files(tmp_path: Path) -> PlainFiles:
    folder = tmp_path / "files"
    return PlainFiles(folder, max_bytes=100 * 4096, min_free_percent=0, complain=pytest.fail)


def test_a_plain_file_is_its_body(files: PlainFiles) -> None:
    assert files.put_file("g", "file", b"body")
    assert Path(files.path("g", "file")).read_bytes() == b"body"
    assert files.put_file("g", "file", b"another")
    assert Path(files.path("g", "file")).read_bytes() == b"another"


def test_files_and_entries_are_purged_together(files: PlainFiles) -> None:
    files.put_file("g", "file", b"body")
    files.put("g", "known", 4, [b"fact"])
    files.put_file("other", "file", b"body")

    assert files.purge("g") == 2
    assert not Path(files.path("g", "file")).exists()
    assert Path(files.path("other", "file")).exists()


def test_no_plain_file_is_kept_that_was_begun_before_a_purge(
    files: PlainFiles, tmp_path: Path
) -> None:
    generations = Generations(tmp_path)
    before = generations.current()
    generations.begin()

    assert not files.put_file("g", "file", b"body", before)
    assert files.put_file("g", "file", b"body", generations.current())


def test_a_group_is_as_old_as_what_was_used_last_and_goes_as_a_whole(files: PlainFiles) -> None:
    """A file is opened by its path, so that only the use of its entry is seen."""
    for number in range(GROUPS):
        group = str(number)
        assert files.put_file(group, "file", bytes(100))
        assert files.put(group, "known", 100, [bytes(100)])
        for key in ("file", "known"):
            seconds = time.time() - 1000 + number
            os.utime(files.path(group, key), (seconds, seconds))
    for number in range(5):
        assert files.get(str(number), "known") is not None
    # Nine blocks must go: four groups, and half of the fifth.
    files.collect(room_bytes=9 * 4096)

    left = {
        number: [Path(files.path(str(number), key)).exists() for key in ("file", "known")]
        for number in range(GROUPS)
    }
    gone = [number for number in left if left[number] == [False, False]]
    assert gone == [5, 6, 7, 8, 9]
    assert [left[number] for number in left if number not in gone] == [[True, True]] * 35
