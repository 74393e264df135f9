"""The folder of originals: what is found, and that nothing outside it is ever opened."""

import errno
import os
import socket
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgprocessor.errors import ImageError, NotFound, OriginalsUnavailable, OversizedOriginal
from imgprocessor.originals.folder import Folder
from imgprocessor.originals.source import group_of

MAX_BYTES = 1000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (root / "a.jpg").write_bytes(b"a")
    (root / "folder" / "b").write_bytes(b"bb")
    (root / "été ü.jpg").write_bytes(b"c")
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "root-of-another").mkdir()
    (tmp_path / "root-of-another" / "secret").write_bytes(b"secret")
    return root


def _read(root: Path, name: str) -> bytes:
    originals = Folder(root, MAX_BYTES)
    with originals.open(originals.find(name)) as (file, _):
        return file.read()


@pytest.mark.parametrize(
    ("name", "content"), [("a.jpg", b"a"), ("folder/b", b"bb"), ("été ü.jpg", b"c")]
)
def test_what_is_under_the_root_is_found(root: Path, name: str, content: bytes) -> None:
    assert content == _read(root, name)


def test_the_root_may_be_a_symbolic_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)

    assert _read(tmp_path / "link", "a.jpg") == b"a"


def test_a_symbolic_link_that_stays_under_the_root_is_followed(root: Path) -> None:
    (root / "link").symlink_to("folder/b")

    assert _read(root, "link") == b"bb"


def test_all_names_of_a_file_have_what_is_made_from_it_in_common(root: Path) -> None:
    """As it is kept: another spelling would have everything made anew."""
    (root / "link").symlink_to("folder/b")
    originals = Folder(root, MAX_BYTES)
    file, status = root / "folder/b", (root / "folder/b").stat()
    times = f"{status.st_mtime_ns:x}-2-{status.st_ctime_ns:x}"

    for name in ("link", "folder/b"):
        found = originals.find(name)
        assert found.id == originals.id_of(name) == str(file)
        assert found.validator == times
        assert found.identity == f"{times}-{status.st_ino:x} {file}"


COMPOSED, DECOMPOSED = "\xe9", "e\u0301"


@pytest.mark.parametrize("letter", [COMPOSED, DECOMPOSED])
@pytest.mark.parametrize("folder", [COMPOSED, DECOMPOSED])
@pytest.mark.parametrize("asked_letter", [COMPOSED, DECOMPOSED])
@pytest.mark.parametrize("asked_folder", [COMPOSED, DECOMPOSED])
def test_a_name_is_found_in_either_form(
    root: Path, folder: str, letter: str, asked_folder: str, asked_letter: str
) -> None:
    """Each segment by itself; and all names have what is made from it in common."""
    path, name = root / folder / "a" / f"{letter}.jpg", f"{asked_folder}/a/{asked_letter}.jpg"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"found")
    originals = Folder(root, MAX_BYTES)
    found = originals.find(name)

    assert _read(root, name) == b"found"
    assert found.id == originals.id_of(name) == str(path)
    path.unlink()
    assert group_of(originals.id_of(name)) == found.group
    path.parent.rmdir()
    path.parent.parent.rmdir()
    assert group_of(originals.id_of(name)) == found.group


def test_names_that_differ_by_form_alone_find_their_own_files(root: Path) -> None:
    for name in (COMPOSED, DECOMPOSED):
        (root / name).mkdir()
        for other in (COMPOSED, DECOMPOSED):
            (root / name / other).write_bytes(f"{name}/{other}".encode())

    for name in (COMPOSED, DECOMPOSED):
        for other in (COMPOSED, DECOMPOSED):
            assert _read(root, f"{name}/{other}") == f"{name}/{other}".encode()
    (root / COMPOSED / COMPOSED).unlink()
    assert _read(root, f"{COMPOSED}/{COMPOSED}") == f"{COMPOSED}/{DECOMPOSED}".encode()
    (root / COMPOSED / DECOMPOSED).unlink()
    assert _read(root, f"{COMPOSED}/{COMPOSED}") == f"{DECOMPOSED}/{COMPOSED}".encode()


def test_a_link_in_another_form_leads_nowhere_else(root: Path, tmp_path: Path) -> None:
    (root / DECOMPOSED).symlink_to(tmp_path / "secret")
    with pytest.raises(NotFound):
        _read(root, COMPOSED)
    (root / DECOMPOSED).unlink()
    (root / DECOMPOSED).symlink_to("folder")

    assert _read(root, f"{COMPOSED}/b") == b"bb"


def test_a_disk_that_fails_over_another_form_is_not_taken_for_a_missing_picture(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "failed")

    (root / DECOMPOSED).write_bytes(b"x")
    originals, opens = Folder(root, MAX_BYTES), os.open
    monkeypatch.setattr(os, "lstat", fail)
    monkeypatch.setattr(
        os, "open", lambda path, *more: opens(path, *more) if COMPOSED in path else fail()
    )

    with pytest.raises(OriginalsUnavailable):
        originals.find(COMPOSED)


def test_a_missing_name_costs_few_looks(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where all folders stand there in both forms, and each leads to all others."""
    looks, lstat, originals = 0, os.lstat, Folder(root, MAX_BYTES)

    def look(path: str) -> os.stat_result:
        nonlocal looks
        looks += 1
        return lstat(path)

    (root / COMPOSED).symlink_to(".")
    (root / DECOMPOSED).symlink_to(".")
    monkeypatch.setattr(os, "lstat", look)
    for name, most in (
        ("none.jpg", 0),
        (f"x/{COMPOSED}", 1),
        ("\xfc.jpg", 2),
        ("\xfc/" * 300, 2),
        (f"{COMPOSED}/" * 300 + "x", 300 * 3 * 8),
    ):
        looks = 0
        with pytest.raises(NotFound):
            originals.find(name)
        assert looks <= most, name


@pytest.mark.parametrize(
    "name",
    [
        "none.jpg",
        "folder",
        "a.jpg/x",
        "../secret",
        "folder/../../secret",
        "../root-of-another/secret",
        "/etc/passwd",
        "a.jpg\0",
        "\ud800",
        "x" * 300,
        "/".join("x" * 3000),
        ".",
        "",
    ],
)
def test_what_is_no_original_is_not_found(root: Path, name: str) -> None:
    with pytest.raises(NotFound):
        _read(root, name)


def test_symbolic_links_that_lead_out_are_not_followed(root: Path, tmp_path: Path) -> None:
    (root / "file").symlink_to(tmp_path / "secret")
    (root / "relative").symlink_to("../secret")
    (root / "out").symlink_to(tmp_path)
    (root / "loop").symlink_to("loop")
    (root / "dangling").symlink_to("nowhere")

    for name in ("file", "relative", "out/secret", "loop", "dangling"):
        with pytest.raises(NotFound):
            _read(root, name)


def test_fifos_sockets_and_devices_are_refused_at_once(root: Path) -> None:
    os.mkfifo(root / "fifo")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(root / "socket"))
    (root / "zero").symlink_to("/dev/zero")
    names = ["fifo", "socket", "zero"]
    if os.geteuid() == 0:
        os.mknod(root / "null", 0o020666, os.makedev(1, 3))
        names.append("null")

    begin = time.monotonic()
    for name in names:
        with pytest.raises(NotFound):
            _read(root, name)

    listener.close()
    assert time.monotonic() - begin < 1


def test_a_fifo_that_took_an_originals_place_does_not_hang(root: Path) -> None:
    originals = Folder(root, MAX_BYTES)
    found = originals.find("a.jpg")
    (root / "a.jpg").unlink()
    os.mkfifo(root / "a.jpg")

    with pytest.raises(NotFound), originals.open(found):
        pass


def test_a_folder_that_took_an_originals_place_is_not_opened(root: Path) -> None:
    originals = Folder(root, MAX_BYTES)
    found = originals.find("a.jpg")
    (root / "a.jpg").unlink()
    (root / "a.jpg").mkdir()

    with pytest.raises(NotFound, match="no plain file"), originals.open(found):
        pass


def test_a_link_that_took_an_originals_place_is_not_followed(root: Path, tmp_path: Path) -> None:
    originals = Folder(root, MAX_BYTES)
    found = originals.find("folder/b")
    (root / "folder" / "b").unlink()
    (root / "folder").rmdir()
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "b").write_bytes(b"secret")
    (root / "folder").symlink_to(tmp_path / "evil")

    with pytest.raises(NotFound, match="is outside"), originals.open(found):
        pass


def test_a_file_with_too_many_bytes_is_refused(root: Path) -> None:
    (root / "large").write_bytes(b"x" * 1001)

    with pytest.raises(OversizedOriginal, match="max_bytes = 1000"):
        Folder(root, MAX_BYTES).find("large")


def test_a_root_that_has_gone_is_not_taken_for_missing_pictures(root: Path) -> None:
    originals = Folder(root, MAX_BYTES)
    root.rename(root.with_name("elsewhere"))

    with pytest.raises(OriginalsUnavailable):
        originals.find("a.jpg")


def test_a_replaced_original_has_another_version(root: Path) -> None:
    originals = Folder(root, MAX_BYTES)
    before = originals.find("a.jpg").identity
    (root / "new").write_bytes(b"A")
    os.utime(root / "new", ns=(1, 1))
    (root / "new").rename(root / "a.jpg")

    assert before != originals.find("a.jpg").identity


def test_an_original_replaced_after_it_was_found_is_opened_as_what_it_is_now(root: Path) -> None:
    originals = Folder(root, MAX_BYTES)
    found = originals.find("a.jpg")
    (root / "a.jpg").write_bytes(b"longer")

    with originals.open(found) as (file, opened):
        assert file.read() == b"longer"
    assert found.version != opened.version


def test_an_original_changed_while_it_is_read_is_noticed(root: Path) -> None:
    originals = Folder(root, MAX_BYTES)

    def read_while_it_changes() -> None:
        with originals.open(originals.find("a.jpg")) as (file, _):
            file.read()
            (root / "a.jpg").write_bytes(b"longer")

    with pytest.raises(OriginalsUnavailable, match="changed"):
        read_while_it_changes()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["..", ".", "/", "a.jpg", "folder", "secret", "\0", "x", "//"])))
def test_no_name_leads_outside_the_root(root: Path, pieces: list[str]) -> None:
    try:
        content = _read(root, "".join(pieces))
    except ImageError:
        return
    assert content != b"secret"
