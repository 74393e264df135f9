"""What other servers' lines are here: each request that is shown is asked, each setting exists."""

import re
from dataclasses import fields
from pathlib import Path

import images
import pytest
from conftest import ROOT
from flask.testing import FlaskClient

from imgprocessor.config.settings import Settings

TEXT = (ROOT / "docs/coming-from.md").read_text()
ROWS = re.findall(r"^\| .* \| `(/[^`]*)` \| (.+) \|$", TEXT, re.MULTILINE)
SETTINGS = re.findall(r"`\[(\w+)\](?: (\w+))?`", TEXT)
OURS = [pair for pair in SETTINGS if pair[0] not in {"formats", "allowed"}]
"""But for the policy's."""


@pytest.fixture
def cats(originals: Path) -> Path:
    """The pictures that the document names."""
    folder = originals / "cats"
    folder.mkdir()
    images.save(folder / "tom.jpg", images.texture((600, 400)), "JPEG")
    images.save(folder / "tall.jpg", images.texture((300, 900)), "JPEG")
    ident = f"{'0123456789abcdef' * 2}.jpg"
    images.save(originals / ident, images.texture((600, 400)), "JPEG")
    return folder


@pytest.mark.usefixtures("cats")
@pytest.mark.parametrize(("url", "expected"), ROWS)
def test_each_line_is_answered(client: FlaskClient, url: str, expected: str) -> None:
    answer = client.get(url, headers={"Accept": "image/webp,*/*"})
    size, *words = expected.split()

    assert answer.status_code == 200, answer.headers.get("image-error-detail")
    assert "x".join(map(str, images.decoded(answer.data).size)) == size
    told = " ".join(answer.headers.get(name, "") for name in TOLD)
    assert all(word in told for word in words), told


TOLD = ("Content-Type", "Cache-Control", "Content-Disposition")


def test_there_are_many() -> None:
    assert len(ROWS) > 40


@pytest.mark.parametrize(("section", "key"), OURS)
def test_each_setting_is_there(section: str, key: str) -> None:
    known = getattr(Settings(), section)

    assert not key or key in {field.name for field in fields(known)}
