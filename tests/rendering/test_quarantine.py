"""Originals that did harm are remembered, and forgotten again."""

import multiprocessing
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from imgprocessor.errors import BrokenOriginal, Busy, DeadlyOriginal, ImageError, NotFound
from imgprocessor.originals.folder import Folder
from imgprocessor.originals.source import NodeVersion, Original
from imgprocessor.rendering import quarantine as quarantine_module
from imgprocessor.rendering.quarantine import Quarantine

PLAN = "plan"
ORIGINAL = Original(
    Folder(Path("/originals"), 1), "/originals/a.jpg", "2-1", 1, 2, NodeVersion(3, 4)
)


@pytest.fixture
def quarantine(tmp_path: Path) -> Quarantine:
    return Quarantine(tmp_path / "quarantine", 600)


def _age(folder: Path, seconds: float) -> None:
    for path in folder.iterdir():
        then = time.time() - seconds
        os.utime(path, (then, then))


def test_one_death_is_an_accident_and_two_are_none(quarantine: Quarantine) -> None:
    quarantine.check(ORIGINAL, PLAN)
    assert quarantine.note_death(ORIGINAL) == 1
    quarantine.check(ORIGINAL, PLAN)
    assert quarantine.note_death(ORIGINAL) == 2
    with pytest.raises(DeadlyOriginal):
        quarantine.check(ORIGINAL, PLAN)


def test_what_another_process_remembers_is_seen_at_once(tmp_path: Path) -> None:
    one, other = (Quarantine(tmp_path / "quarantine", 600) for _ in range(2))
    for _ in range(20):
        one.check(ORIGINAL, PLAN)  # sees that nothing is remembered
        other.note_verdict(ORIGINAL, BrokenOriginal("cut"))
        with pytest.raises(BrokenOriginal):
            one.check(ORIGINAL, PLAN)
        for path in (tmp_path / "quarantine").iterdir():
            path.unlink()


def test_nothing_is_listed_again_where_nothing_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quarantine = Quarantine(tmp_path, 600)
    listed = []

    def listdir(folder: Path) -> list[str]:
        listed.append(folder)
        return []

    monkeypatch.setattr("os.listdir", listdir)
    for _ in range(3):
        quarantine.check(ORIGINAL, PLAN)
    assert len(listed) == 3  # it may have changed in this very tick
    os.utime(tmp_path, (1, 1))
    for _ in range(3):
        quarantine.check(ORIGINAL, PLAN)
    assert len(listed) == 4


def test_who_was_not_to_blame_is_forgiven(quarantine: Quarantine) -> None:
    quarantine.note_death(ORIGINAL)
    quarantine.forgive(ORIGINAL, PLAN)

    assert quarantine.note_death(ORIGINAL) == 1


def test_a_death_after_decoding_is_one_renditions_alone(quarantine: Quarantine) -> None:
    for _ in range(2):
        quarantine.note_death(ORIGINAL, PLAN)

    with pytest.raises(DeadlyOriginal):
        quarantine.check(ORIGINAL, PLAN)
    quarantine.check(ORIGINAL, "another plan")


def test_another_version_is_another_original(quarantine: Quarantine) -> None:
    for _ in range(2):
        quarantine.note_death(ORIGINAL)

    quarantine.check(replace(ORIGINAL, version="5-1"), PLAN)
    quarantine.check(replace(ORIGINAL, id="/originals/b.jpg"), PLAN)


@pytest.mark.parametrize("age", [601, -1000])
def test_it_ends_and_so_it_does_when_clocks_are_set_back(
    quarantine: Quarantine, tmp_path: Path, age: float
) -> None:
    for _ in range(2):
        quarantine.note_death(ORIGINAL)
    quarantine.note_verdict(ORIGINAL, BrokenOriginal("cut"))
    _age(tmp_path / "quarantine", age)

    quarantine.check(ORIGINAL, PLAN)
    assert quarantine.note_death(ORIGINAL) == 1


def test_a_verdict_is_said_again(quarantine: Quarantine) -> None:
    quarantine.note_verdict(ORIGINAL, BrokenOriginal("cut"))

    with pytest.raises(BrokenOriginal, match="cut"):
        quarantine.check(ORIGINAL, PLAN)


@pytest.mark.parametrize("error", [Busy(), NotFound("x")])
def test_what_may_be_otherwise_next_time_is_not_remembered(
    quarantine: Quarantine, error: ImageError
) -> None:
    quarantine.note_verdict(ORIGINAL, error)

    quarantine.check(ORIGINAL, PLAN)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"code": "internal"}', b"\xff", b"1"])
def test_a_damaged_memory_is_none(quarantine: Quarantine, tmp_path: Path, content: bytes) -> None:
    quarantine.note_verdict(ORIGINAL, BrokenOriginal("cut"))
    for path in (tmp_path / "quarantine").iterdir():
        path.write_bytes(content)

    quarantine.check(ORIGINAL, PLAN)


def test_a_folder_that_cannot_be_used_forgets_and_still_ends_trials(tmp_path: Path) -> None:
    (tmp_path / "quarantine").write_bytes(b"")
    quarantine = Quarantine(tmp_path / "quarantine", 600)

    assert quarantine.note_death(ORIGINAL) == 2
    quarantine.note_verdict(ORIGINAL, BrokenOriginal("cut"))
    quarantine.check(ORIGINAL, PLAN)


MOST = 20
"""Instead of 2,000."""


def _taken(folder: Path) -> tuple[int, int]:
    """Return how many files there are, and their pages in memory."""
    sizes = [path.stat().st_size for path in folder.iterdir()]
    return len(sizes), sum(-(-size // 4096) for size in sizes)


def _note(quarantine: Quarantine, kind: str, number: int) -> None:
    """Let an original do harm: each time another one, or another rendition of one."""
    original = replace(ORIGINAL, on_node=NodeVersion(3, number))
    if kind == "refused":
        quarantine.note_verdict(original, BrokenOriginal("\N{BOMB}" * 10_000))
    elif kind == "kills":
        quarantine.note_death(original)
    elif kind == "kills after decoding":
        for _ in range(2):
            quarantine.note_death(ORIGINAL, f"plan {number}")
    else:
        _note(quarantine, KINDS[number % 3], number)


KINDS = ["refused", "kills", "kills after decoding", "all of that"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_remembered_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("imgprocessor.rendering.quarantine._MAX_REMEMBERED", MOST)
    quarantine = Quarantine(tmp_path / "quarantine", 600)
    most = 0
    for number in range(15 * MOST):
        _note(quarantine, kind, number)
        files, pages = _taken(tmp_path / "quarantine")
        assert pages <= files <= MOST
        most = max(most, files)
    assert most == MOST


def _note_many(folder: Path, kind: str, first: int) -> None:
    quarantine = Quarantine(folder, 600)
    for number in range(first, first + 15 * MOST):
        _note(quarantine, kind, number)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_bounded_over_all_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("imgprocessor.rendering.quarantine._MAX_REMEMBERED", MOST)
    folder = tmp_path / "quarantine"
    folder.mkdir()
    fork = multiprocessing.get_context("fork")
    others = [
        fork.Process(target=_note_many, args=(folder, kind, number * 10_000)) for number in range(4)
    ]
    for other in others:
        other.start()
    while any(other.is_alive() for other in others):
        assert len(list(folder.iterdir())) <= MOST + len(others)
    for other in others:
        other.join()

    assert [other.exitcode for other in others] == [0] * len(others)


def test_all_of_it_is_little(tmp_path: Path) -> None:
    """In memory: the folder is in /dev/shm."""
    quarantine = Quarantine(tmp_path / "quarantine", 600)
    for number in range(200):
        _note(quarantine, "refused", number)
    files, pages = _taken(tmp_path / "quarantine")

    assert pages * 4096 / files * quarantine_module._MAX_REMEMBERED <= 10_000_000  # noqa: SLF001


def test_a_long_verdict_is_still_one(quarantine: Quarantine) -> None:
    _note(quarantine, "refused", 7)

    with pytest.raises(BrokenOriginal, match="remembered"):
        quarantine.check(replace(ORIGINAL, on_node=NodeVersion(3, 7)), PLAN)
