"""Several places of originals as one: the first that has a name counts, and none is passed over."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from imgprocessor.errors import NotFound, OriginalsUnavailable
from imgprocessor.originals.folder import Folder
from imgprocessor.originals.roots import Roots, as_one
from imgprocessor.originals.source import FolderState, Original


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    made = [tmp_path / name for name in ("one", "two")]
    for folder, names in zip(
        made, (("a.jpg", "cats/b.jpg"), ("a.jpg", "c.jpg", "cats/d.jpg", "dogs/e.jpg")), strict=True
    ):
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(f"{folder.name}/{name}")
    return made


@pytest.fixture
def roots(folders: list[Path]) -> Roots:
    return Roots([Folder(folder, 1000, number) for number, folder in enumerate(folders)])


class Failing(Folder):
    """A folder on a disk that fails."""

    def find(self, name: str) -> Original:
        """Fail."""
        raise OriginalsUnavailable(name)

    def folder(self, name: str) -> FolderState:
        """Fail."""
        raise OriginalsUnavailable(name)


def test_the_first_that_has_a_name_counts(roots: Roots, folders: list[Path]) -> None:
    for name, where in (("a.jpg", 0), ("c.jpg", 1), ("cats/b.jpg", 0), ("cats/d.jpg", 1)):
        found = roots.find(name)
        assert found.id == str(folders[where] / name)
        assert found.source.shared_id(found.id) == (f"1//{name}" if where else name)
        assert roots.at_hand(name) == found
        with found.source.open(found) as (file, _):
            assert file.read().decode() == f"{folders[where].name}/{name}"
    with pytest.raises(NotFound):
        roots.find("none.jpg")
    with pytest.raises(NotFound):
        roots.at_hand("none.jpg")


def test_one_that_fails_is_not_passed_over(folders: list[Path]) -> None:
    failing = Roots([Failing(folders[0], 1000), Folder(folders[1], 1000, 1)])

    looks: list[Callable[[str], object]] = [failing.find, failing.at_hand]
    looks += [failing.folder, failing.listed]
    for look in looks:
        with pytest.raises(OriginalsUnavailable):
            look("cats")


def test_folders_have_what_is_in_all_of_them(roots: Roots) -> None:
    listed = roots.listed("")
    assert (sorted(listed.folders), sorted(listed.files)) == (["cats", "dogs"], ["a.jpg", "c.jpg"])
    assert sorted(roots.listed("cats").files) == ["b.jpg", "d.jpg"]
    assert roots.listed("dogs").files == ["e.jpg"]
    with pytest.raises(NotFound):
        roots.folder("birds")
    with pytest.raises(NotFound):
        roots.listed("birds")


def test_a_name_is_what_it_is_in_the_first(roots: Roots, folders: list[Path]) -> None:
    (folders[0] / "c.jpg").mkdir()

    listed = roots.listed("")
    assert "c.jpg" in listed.folders
    assert "c.jpg" not in listed.files


def test_a_folder_has_changed_and_is_closed_where_it_is_in_one(
    roots: Roots, folders: list[Path]
) -> None:
    before = roots.folder("cats")
    assert before.id == str(folders[0] / "cats")
    assert not before.is_closed
    (folders[1] / "cats/.nomedia").touch()
    os.utime(folders[1] / "cats", ns=(1, 1))

    after = roots.folder("cats")
    assert after.changed != before.changed
    assert after.is_closed


def test_one_place_is_itself(folders: list[Path]) -> None:
    folder = Folder(folders[0], 1000)

    assert as_one([folder]) is folder
