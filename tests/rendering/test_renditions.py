"""Renditions kept: back come all of their parts, for one version of an original."""

import os
from pathlib import Path

import pytest

from imgprocessor.geometry import Size
from imgprocessor.images.pipeline import Rendition
from imgprocessor.originals.folder import Folder
from imgprocessor.rendering.renditions import Renditions
from imgprocessor.storage.disk_cache import DiskCache

RENDITION = Rendition(
    body=b"\n\0body{}\n",
    format="webp",
    size=Size(3, 4),
    original_size=Size(30, 40),
    quality=60,
    score=71.25,
    limited="quality",
    density="1.5",
    trials=4,
)


@pytest.fixture
def renditions(tmp_path: Path) -> Renditions:
    return Renditions(
        DiskCache(tmp_path / "store", max_bytes=10**6, min_free_percent=0, complain=pytest.fail)
    )


@pytest.fixture
def kept_originals(tmp_path: Path) -> Folder:
    for name in ("a", "b"):
        (tmp_path / "originals").mkdir(exist_ok=True)
        (tmp_path / "originals" / name).write_bytes(b"original")
    return Folder(tmp_path / "originals", 1000)


def test_all_parts_come_back(renditions: Renditions, kept_originals: Folder) -> None:
    original = kept_originals.find("a")
    assert renditions.get(original, "key") is None
    assert renditions.put(original, "key", RENDITION)

    assert renditions.get(original, "key") == RENDITION
    assert renditions.get(original, "other") is None
    assert renditions.get(kept_originals.find("b"), "key") is None


def test_a_replaced_original_has_none(
    renditions: Renditions, kept_originals: Folder, tmp_path: Path
) -> None:
    path = tmp_path / "originals/a"
    os.utime(path, (1, 1))
    renditions.put(kept_originals.find("a"), "key", RENDITION)
    path.write_bytes(b"replaced")
    os.utime(path, (1, 1))

    assert renditions.get(kept_originals.find("a"), "key") is None


def test_a_purge_takes_all_versions_of_one_original(
    renditions: Renditions, kept_originals: Folder, tmp_path: Path
) -> None:
    for number in range(3):
        (tmp_path / "originals/a").write_bytes(b"x" * number)
        renditions.put(kept_originals.find("a"), "key", RENDITION)
    renditions.put(kept_originals.find("b"), "key", RENDITION)

    assert renditions.purge(kept_originals.id_of("a")) == 3
    assert renditions.get(kept_originals.find("a"), "key") is None
    assert renditions.get(kept_originals.find("b"), "key") == RENDITION
