"""Wiring and the command line: configurations that are right, and ones that stop the start."""

import io
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import images
import pytest
from conftest import ROOT
from servers import ask

from imgprocessor.__main__ import main
from imgprocessor.errors import ConfigurationError
from imgprocessor.load import DEFAULT_CONF, Overrides, load_settings


def _conf(folder: Path, text: str = "") -> Path:
    """A configuration of its own: the delivered policy, and a folder of originals."""
    (folder / "pictures").mkdir()
    images.save(folder / "pictures" / "a b.png", images.four_colours((400, 300)), "PNG")
    (folder / "policy.ini").write_text((ROOT / "conf/policy.ini").read_text())
    (folder / "imgprocessor.ini").write_text(
        f"[originals]\nroots = pictures\n[placeholder]\nfile = {ROOT}/static/404image.png\n"
        f"[log]\nfile = requests.log\n{text}"
    )
    return folder / "imgprocessor.ini"


def test_paths_are_relative_to_the_settings_file() -> None:
    settings = load_settings(DEFAULT_CONF)

    assert settings.originals.folders[0] == ROOT / "originals"
    assert settings.policy.file == ROOT / "conf/policy.ini"
    assert settings.placeholder.file == ROOT / "static/404image.png"


def test_overrides_are_relative_to_where_they_are_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    settings = load_settings(DEFAULT_CONF, Overrides(Path("pictures"), Path("mine.ini")))

    assert settings.originals.folders[0] == tmp_path / "pictures"
    assert settings.policy.file == tmp_path / "mine.ini"


def test_what_settings_prints_can_be_read_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conf = _conf(tmp_path)
    main(["settings", "--conf", str(conf)])
    printed = tmp_path / "printed.ini"
    printed.write_text(capsys.readouterr().out)

    assert load_settings(conf) == load_settings(printed)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("policy.ini", "640px q32", "640px q320", "[phone] 2g: 'q320' is no word of a cell"),
        ("policy.ini", "[phone]", "[fone]", "[fone]: no such screen"),
        ("imgprocessor.ini", "roots = pictures", "rooot = x", "[originals] rooot: no such setting"),
        ("imgprocessor.ini", "roots = pictures", "roots = none", "[originals] roots: "),
        ("imgprocessor.ini", "[log]", "[policy]\nfile = none.ini\n[log]", "none.ini: No such file"),
    ],
)
def test_a_wrong_configuration_stops_the_start_with_one_clear_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    file: str,
    old: str,
    new: str,
    message: str,
) -> None:
    conf = _conf(tmp_path)
    text = (tmp_path / file).read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new))

    for command in (["policy", "check"], ["serve"]):
        assert main([*command, "--conf", str(conf)]) == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert message in error


def test_a_settings_file_that_is_no_text_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.ini").write_bytes(b"\xff\xfe\x00")

    assert main(["policy", "check", "--conf", str(tmp_path / "x.ini")]) == 1
    assert "must be UTF-8 text" in capsys.readouterr().err


def test_render_is_the_same_service_without_the_web(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _conf(tmp_path).parent / "pictures" / "a b.png"
    output = tmp_path / "out.jpg"

    status = main(
        ["render", str(file), "-o", str(output), "--width", "100", "-H", "ECT: 2g", "-H", "DPR: 2"]
    )

    assert status == 0
    assert images.decoded(output.read_bytes()).size == (150, 113)
    assert re.match(
        r"a%20b\.png_100x_inside_-_1\.5x_2g_-_gif\+png\+jpeg_-_[0-9a-f]{8}:"
        r" png, 150x113, quality 100, \d+ bytes",
        capsys.readouterr().err,
    )


def test_render_writes_to_standard_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = _conf(tmp_path).parent / "pictures" / "a b.png"
    standard_output = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", standard_output)

    assert main(["render", str(file), "--screen", "phone"]) == 0
    assert images.decoded(standard_output.buffer.getvalue()).size == (400, 300)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--width", "x"], "width=x: must be a whole number"),
        (["-H", "no header"], "must be of the form 'Name: value'"),
    ],
)
def test_render_says_what_was_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    file = _conf(tmp_path).parent / "pictures" / "a b.png"

    assert main(["render", str(file), *arguments]) in {1, 2}
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("port", ["65536", "-1", "http", "٣"])
def test_a_port_that_is_none_is_refused(capsys: pytest.CaptureFixture[str], port: str) -> None:
    assert main(["serve", f"--port={port}"]) == 2
    assert "'--port': must be a number from 0 to 65535" in capsys.readouterr().err


@pytest.mark.slow
def test_a_port_that_is_taken_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "imgprocessor", "serve", "--port", str(port)]
        done = subprocess.run(
            [*command, "--conf", _conf(tmp_path)],
            check=False,
            capture_output=True,
            text=True,
            cwd=ROOT,
        )

    assert done.returncode == 1
    assert done.stderr == (
        f"imgprocessor: --host 127.0.0.1 --port {port}: Address already in use\n"
    )


WITHOUT_THE_EXTRA = """
import sys
from importlib.abc import MetaPathFinder
class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"celery", "kombu", "redis", "flower", "tornado"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
sys.argv[0] = "imgprocessor"
import imgprocessor.app
from imgprocessor.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize("command", ["worker", "flower", "serve"])
def test_what_workers_need_is_not_needed_without_them(tmp_path: Path, command: str) -> None:
    """Neither by pictures, nor by what must be there to say that it is not."""
    (tmp_path / "password").write_text("0123456789abcdef\n")
    (tmp_path / "password").chmod(0o600)
    conf = _conf(tmp_path)
    run = [sys.executable, "-c", WITHOUT_THE_EXTRA]
    shown = subprocess.run([*run, "settings", "--conf", conf], check=False, cwd=ROOT)
    conf.write_text(
        conf.read_text()
        + "[uploads]\nenabled = yes\nfolder = uploads\n"
        + "[jobs]\nenabled = yes\nredis = redis://127.0.0.1:1\nflower_password_file = password\n"
    )
    done = subprocess.run(
        [*run, command, "--conf", conf], check=False, capture_output=True, text=True, cwd=ROOT
    )

    assert shown.returncode == 0
    assert done.returncode == 1
    assert re.fullmatch(
        r"imgprocessor: \[jobs\] redis: (celery|redis|flower|kombu) is not installed: pip install"
        r" 'imgprocessor\[jobs\]'\n",
        done.stderr,
    ), done.stderr


def test_waitress_serves_pictures_and_the_page(tmp_path: Path) -> None:
    conf = _conf(tmp_path)
    command = [sys.executable, "-m", "imgprocessor", "serve", "--port", "0", "--conf", str(conf)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        try:
            assert server.stdout is not None
            ready = server.stdout.readline()
            assert ready.startswith("ready on http://127.0.0.1:")
            port = int(ready.rpartition(":")[2])
            picture = ask(port, "/images/?name=a+b.png&width=40")
            assert images.decoded(picture.body).size == (40, 30)
            page = ask(port, "/")
            assert "ECT" in page.headers["accept-ch"]
            assert b"<html" in page.body
            assert "javascript" in ask(port, "/adaptive.js").headers["content-type"]
            assert ask(port, "/none.html").status == 404
            assert ask(port, "/images/-/metrics").status == 200
            for proxys in ("X-Forwarded-For", "Forwarded", "Via"):
                assert ask(port, "/images/-/metrics", {proxys: "192.0.2.1"}).status == 404
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(10) == 0


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (
            "[originals]\nroots = s3://pictures\n[uploads]\nbucket = s3://pictures/uploads",
            "[uploads] bucket = s3://pictures/uploads overlaps [originals] roots = s3://pictures:",
        ),
        (
            "[uploads]\nbucket = s3://kept/a\n[store]\nbucket = s3://kept/a",
            "overlaps [store] bucket = s3://kept/a: give each its own prefix",
        ),
        (
            "[originals]\nroots = s3://pictures/a/b s3://pictures/a",
            "[originals] roots = s3://pictures/a overlaps [originals] roots = s3://pictures/a/b",
        ),
    ],
)
def test_places_in_buckets_that_overlap_are_refused(tmp_path: Path, text: str, wrong: str) -> None:
    (tmp_path / "x.ini").write_text(text)

    with pytest.raises(ConfigurationError, match=re.escape(wrong)):
        load_settings(tmp_path / "x.ini")


def test_places_beside_each_other_are_none_that_overlap(tmp_path: Path) -> None:
    text = (
        "[originals]\nroots = s3://kept/a s3://kept/ab gs://kept/a\n[store]\nbucket = s3://kept/b"
    )
    (tmp_path / "x.ini").write_text(text)

    load_settings(tmp_path / "x.ini")
