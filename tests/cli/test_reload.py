"""Daemons are replaced one by one while visitors go on asking: real Apache, nothing lost."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from servers import serving
from visitors import Visitors, reload

pytestmark = pytest.mark.apache

VISITORS = 6
ROUNDS = 2
"""`torture/test_reloads.py` has twenty."""


def test_nothing_is_lost(tmp_path: Path, pictures: Path) -> None:
    with serving(tmp_path, pictures) as server:
        before = set(server.daemons())
        with Visitors(server.port, VISITORS, 0.05) as visitors:
            told = [reload(server) for _ in range(ROUNDS)]

        assert [done.returncode for done in told] == [0] * ROUNDS, told
        assert [done.stdout.count("was replaced") for done in told] == [4] * ROUNDS
        assert not before & set(server.daemons())
        assert visitors.statuses.keys() == {200}
        assert visitors.statuses[200] > 100


def test_a_configuration_that_could_not_start_replaces_nothing(
    tmp_path: Path, pictures: Path
) -> None:
    with serving(tmp_path, pictures) as server:
        before = server.daemons()
        (wrong := tmp_path / "policy.ini").write_text("[bandwidths]\n4g = nonsense\n")
        done = reload(server, "--policy", wrong)

        assert done.returncode == 1
        assert str(wrong) in done.stderr
        assert server.daemons() == before


def test_what_the_daemons_could_not_read_replaces_nothing(tmp_path: Path, pictures: Path) -> None:
    """Keys that are open to everybody stop a start; so does a folder that only root can read."""
    (keys := tmp_path / "keys").write_text("k" * 32)
    keys.chmod(0o644)
    (closed := tmp_path / "closed").mkdir(mode=0o700)
    with serving(tmp_path, pictures) as server:
        before = server.daemons()
        ini = tmp_path / "imgprocessor.ini"
        plain = ini.read_text()
        ini.write_text(f"{plain}[signing]\nkeys_file = {keys}\n")
        signed = reload(server, "--conf", ini, "--originals", pictures)
        ini.write_text(plain)
        unreadable = reload(server, "--conf", ini, "--originals", closed)

        assert (signed.returncode, str(keys) in signed.stderr) == (1, True)
        if os.geteuid() == 0:
            assert (unreadable.returncode, str(closed) in unreadable.stderr) == (1, True)
        assert server.daemons() == before


@pytest.mark.parametrize("content", [None, "", "x", "{a process that is no Apache}\n"])
def test_where_there_is_no_apache_it_says_so(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "apache2.pid"
    if content is not None:
        file.write_text(content.format(**{"a process that is no Apache": os.getpid()}))
    done = subprocess.run(
        [sys.executable, "-m", "imgprocessor", "reload", "--pid-file", file],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )

    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert str(file) in done.stderr
