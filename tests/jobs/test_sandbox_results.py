"""What a step leaves leads nobody out of its folder, and can always be removed."""

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from conftest import ROOT

from imgprocessor.errors import UndrawableDocument
from imgprocessor.images.previews.kind import EMPTY, TOO_LARGE
from imgprocessor.jobs.previews.results import UNKNOWN_BYTES, folder_use, open_result, remove_tree


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("canary")
    folder = tmp_path / "within"
    (folder / "inner").mkdir(parents=True)
    return folder


def test_a_result_is_opened(folder: Path) -> None:
    (folder / "inner/page.png").write_bytes(b"png")

    with open_result(folder, folder / "inner/page.png", 3) as file:
        assert file.read() == b"png"


def test_no_link_leads_out(folder: Path) -> None:
    (folder / "page.png").symlink_to(folder.parent / "secret")
    (folder / "out").symlink_to(folder.parent)

    for path in ("page.png", "out/secret"):
        with pytest.raises(UndrawableDocument) as caught:
            open_result(folder, folder / path, 1_000)
        assert caught.value.public == EMPTY
    for path in ("../secret", "inner/../../secret", "."):
        with pytest.raises(ValueError, match="within"):
            open_result(folder, folder / path, 1_000)


def test_what_is_no_file_is_no_result(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "empty").touch()
    (folder / "large").write_bytes(bytes(1_001))
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(folder)
        listener.bind("socket")

    for path in ("pipe", "empty", "socket", "inner", "not-there"):
        with pytest.raises(UndrawableDocument) as caught:
            open_result(folder, folder / path, 1_000)
        assert caught.value.public == EMPTY
    with pytest.raises(UndrawableDocument) as caught:
        open_result(folder, folder / "large", 1_000)
    assert caught.value.public == TOO_LARGE


def test_what_a_folder_takes_is_added_up_without_following(folder: Path) -> None:
    (folder / "inner/file").write_bytes(bytes(100_000))
    (folder / "out").symlink_to("/usr")

    use = folder_use(folder, 1_000_000)

    assert use.files == 3
    assert 100_000 <= use.file_bytes < 200_000
    assert not use.is_over(200_000)
    assert use.is_over(50_000)


AS_NOBODY = """
import os, sys
os.setgroups([]), os.setgid(65534), os.setuid(65534)
from pathlib import Path
from imgprocessor.jobs.previews.results import folder_use, remove_tree
folder = Path(sys.argv[1])
(folder / "inner").mkdir()
assert not folder_use(folder, 1_000_000).is_over(1_000_000)
(folder / "inner/closed").mkdir(mode=0o300)
(folder / "inner/closed/file").write_bytes(b"x")
assert folder_use(folder, 1_000_000).is_over(1_000_000)
remove_tree(folder / "inner")
print(os.listdir(folder))
"""


def test_a_folder_that_cannot_be_read_counts_as_too_much() -> None:
    """For root there is none, so somebody else looks."""
    code = AS_NOBODY
    folder = Path(tempfile.mkdtemp(prefix="results-", dir="/var/tmp"))
    try:
        if os.geteuid():
            code = "\n".join(line for line in code.splitlines() if "setuid" not in line)
        else:
            os.chown(folder, 65534, 65534)
        done = subprocess.run(
            [sys.executable, "-B", "-c", code, str(folder)],
            capture_output=True,
            cwd="/",
            env={"PYTHONPATH": str(ROOT)},
            check=False,
        )
    finally:
        remove_tree(folder)

    if b"ModuleNotFoundError" in done.stderr and not os.geteuid():
        pytest.skip("no other user may read this program")
    assert (done.stdout, done.stderr) == (b"[]\n", b"")


HIDES = """
import ctypes, mmap, os, sys, tempfile
from pathlib import Path
from imgprocessor.jobs.previews.removed import RemovedFiles
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, *[ctypes.c_size_t] + [ctypes.c_int] * 3, ctypes.c_long]
software = [Path(sys.argv[1])] if len(sys.argv) > 3 else []
removed = RemovedFiles(software)
for _ in range(int(sys.argv[2])):
    with tempfile.TemporaryFile(dir=sys.argv[1]) as file:
        file.write(bytes(9_000))
        libc.mmap(None, 4096, 1, 1, file.fileno(), 0)
    with tempfile.NamedTemporaryFile(dir=sys.argv[1]) as file:
        file.write(bytes(9_000))
        libc.mmap(None, 4096, 1, 1, file.fileno(), 0)
open_one = tempfile.TemporaryFile(dir=sys.argv[1], buffering=0)
open_one.write(bytes(9_000))
print(*[removed.held_bytes(os.getpid()) for _ in range(2)])
"""


@pytest.mark.parametrize(
    ("arguments", "is_known"),
    [
        pytest.param(["0"], [True, True], id="none"),
        pytest.param(["1"], [True, False], id="few"),
        pytest.param(["2"], [False, False], id="many"),
        pytest.param(["2", "software"], [True, True], id="software"),
    ],
)
def test_what_is_mapped_and_removed_is_seen(
    tmp_path: Path, arguments: list[str], is_known: list[bool]
) -> None:
    command = [sys.executable, "-B", "-c", HIDES, str(tmp_path), *arguments]

    done = subprocess.run(command, capture_output=True, cwd=ROOT, check=True)

    looks = [int(look) for look in done.stdout.split()]
    assert [look < UNKNOWN_BYTES for look in looks] == is_known
    assert all(9_000 <= look < 50_000 for look in looks if look < UNKNOWN_BYTES)


def test_any_tree_can_be_removed(folder: Path) -> None:
    at = os.open(folder, os.O_RDONLY)
    for number in range(3_000):  # deeper than a path can be long, and than Python recurses
        os.mkdir("d" * 20, dir_fd=at)
        if not number % 500:
            os.close(os.open(f"file{number}", os.O_CREAT, dir_fd=at))
            os.mkdir(".0", dir_fd=at)
            os.symlink("/usr", "link", dir_fd=at)
        inner = os.open("d" * 20, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = inner
    os.close(at)
    (folder / "inner").chmod(0)
    (folder.parent / "secret-folder").mkdir(mode=0o750)
    (folder / "link-out").symlink_to(folder.parent / "secret-folder")

    remove_tree(folder)

    assert not folder.exists()
    assert (folder.parent / "secret").read_text() == "canary"
    assert (folder.parent / "secret-folder").stat().st_mode & 0o777 == 0o750
    remove_tree(folder)
