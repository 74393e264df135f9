"""`init`: what it writes is a working set, and it writes into empty folders only."""

import ast
import re
from pathlib import Path

import images
import pytest
from conftest import ROOT

from imgprocessor import app
from imgprocessor.__main__ import main
from imgprocessor.app import make_web
from imgprocessor.cli.init import WSGI, _create
from imgprocessor.config.settings import Settings
from imgprocessor.load import DEFAULT_CONF, load_settings


def test_what_it_writes_serves_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "site"

    assert main(["init", str(folder)]) == 0

    images.save(folder / "originals" / "a.jpg", images.texture((300, 200)), "JPEG")
    settings = load_settings(folder / "conf" / "imgprocessor.ini")
    answer = make_web(settings).test_client().get("/images/?name=a.jpg&width=100")
    assert answer.status_code == 200
    assert images.decoded(answer.data).size == (100, 67)
    assert (folder / "logs" / "requests.log").exists()
    assert (folder / "static" / "index.html").exists()


def test_the_virtual_host_has_the_folders_paths(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    assert main(["init", str(folder)]) == 0

    text = (folder / "apache" / "imgprocessor.conf").read_text()

    assert f'Define IMG_ROOT "{folder}"\n' in text
    assert f'Define IMG_CONF "{folder}/conf"\n' in text
    assert not re.search(r"Define IMG_\w+ /srv/imgprocessor", text)
    assert '"${IMG_ROOT}/.venv' not in text


def test_a_folder_that_is_not_empty_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").write_text("mine")

    assert main(["init", str(tmp_path)]) == 1
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_folder_that_cannot_be_made_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "/proc/none"]) == 1
    assert capsys.readouterr().err.startswith("imgprocessor: /proc/none")


def test_what_apache_loads_is_the_same_as_the_projects() -> None:
    def statements(text: str) -> list[str]:
        return [ast.dump(node) for node in ast.parse(text).body[1:]]

    assert statements(WSGI) == statements((ROOT / "imgprocessor.wsgi").read_text())


def test_the_application_is_made_without_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Settings] = []

    def kept(settings: Settings, _: object) -> None:
        made.append(settings)
        raise InterruptedError

    monkeypatch.setattr(app, "make_web", kept)
    conf = tmp_path / "imgprocessor.ini"
    conf.write_text("[originals]\nroots = mine\n")
    for named, root in ((str(conf), tmp_path / "mine"), ("", ROOT / "originals")):
        monkeypatch.setenv("IMGPROCESSOR_CONF", named)
        with pytest.raises(InterruptedError):
            app.create_app()
        assert made[-1].originals.folders[0] == root
    assert DEFAULT_CONF == ROOT / "conf" / "imgprocessor.ini"


def test_only_what_is_delivered_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project's own conf/ may have secrets, and keys for another site's caches."""
    there = tmp_path / "there"
    for name in ("conf", "static", "apache"):
        (there / name).mkdir(parents=True)
    (there / "conf" / "policy.ini").write_text("")
    (there / "conf" / "signing.keys").write_text("secret")
    (there / "conf" / "edge.conf").write_text("")
    (there / "apache" / "imgprocessor.conf").write_text("")
    monkeypatch.setattr("imgprocessor.cli.init.delivered", lambda name: there / name)

    assert main(["init", str(tmp_path / "site")]) == 0
    assert [path.name for path in (tmp_path / "site" / "conf").iterdir()] == ["policy.ini"]


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "link").symlink_to(victim)

    with pytest.raises(FileExistsError):
        _create(tmp_path / "link", b"overwritten")
    assert victim.read_text() == "mine"
