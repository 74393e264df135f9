"""What other servers' lines are here: each request that is shown is asked, each setting exists."""

import re
from collections.abc import Iterator
from dataclasses import fields

import images
import pytest
import servers
from conftest import ROOT

from imgprocessor.config.settings import Settings

TEXT = (ROOT / "docs/coming-from.md").read_text()
ROWS = re.findall(r"^\| .* \| `(/[^`]*)` \| (.+) \|$", TEXT, re.MULTILINE)
SETTINGS = re.findall(r"`\[(\w+)\](?: (\w+))?`", TEXT)
OURS = [pair for pair in SETTINGS if pair[0] not in {"formats", "allowed"}]
"""But for the policy's."""


@pytest.fixture(scope="module")
def apache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    """A server with the pictures that the document names."""
    folder = tmp_path_factory.mktemp("pictures")
    servers.open_up(folder)
    (folder / "cats").mkdir()
    images.save(folder / "cats/tom.jpg", images.texture((600, 400)), "JPEG")
    images.save(folder / "cats/tall.jpg", images.texture((300, 900)), "JPEG")
    ident = f"{'0123456789abcdef' * 2}.jpg"
    images.save(folder / ident, images.texture((600, 400)), "JPEG")
    with servers.serving(tmp_path_factory.mktemp("server"), folder) as server:
        yield server


@pytest.mark.apache
@pytest.mark.parametrize(("url", "expected"), ROWS)
def test_each_line_is_answered(apache: servers.Server, url: str, expected: str) -> None:
    answer = apache.ask(url, {"Accept": "image/webp,*/*"})
    size, *words = expected.split()

    assert answer.status == 200, answer.headers.get("image-error-detail")
    if size != "-":
        assert "x".join(map(str, images.decoded(answer.body).size)) == size
    told = " ".join(answer.headers.get(name, "") for name in TOLD)
    assert all(word in told for word in words), told


TOLD = ("content-type", "cache-control", "content-disposition")


def test_there_are_many() -> None:
    assert len(ROWS) > 40


@pytest.mark.parametrize(("section", "key"), OURS)
def test_each_setting_is_there(section: str, key: str) -> None:
    known = getattr(Settings(), section)

    assert not key or key in {field.name for field in fields(known)}
