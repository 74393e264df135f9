"""Uploads in pieces: every byte once, at its place, whoever writes, dies, waits or comes late."""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import mounts
import pytest
from arriving import KEPT, Silent, accepting, finish, noise, parts_of
from servers import await_true

from imgprocessor.config.upload_settings import UploadsSettings
from imgprocessor.errors import NoRoom, NoSuchUpload, UploadOver, WrongOffset
from imgprocessor.storage.uploads.resumable.unfinished import Unfinished

SETTINGS = UploadsSettings(min_free_bytes=0, unfinished_seconds=100)

OTHER = """
import json, sys, time
from pathlib import Path
from imgprocessor.config.upload_settings import UploadsSettings
from imgprocessor.storage.uploads.resumable.unfinished import Unfinished
unfinished = Unfinished(Path(sys.argv[1]), UploadsSettings(min_free_bytes=0))
upload, whole = sys.argv[2], Path(sys.argv[3]).read_bytes()
"""
"""What begins a script of another process."""


def _other(script: str, folder: Path, upload: str) -> list[str]:
    return [sys.executable, "-c", script, f"{folder}/unfinished", upload, f"{folder}/whole"]


@pytest.fixture
def unfinished(tmp_path: Path) -> Unfinished:
    return Unfinished(tmp_path / "unfinished", SETTINGS)


@pytest.mark.slow
def test_bytes_of_two_requests_never_mix(unfinished: Unfinished, tmp_path: Path) -> None:
    """Each sends other bytes, and takes over from the others all the time: what each was told to be
    written is there, once, and nothing else is.
    """
    count, size = 10_000, 20
    upload = unfinished.begin(count * size, "", "tom")
    written: list[bytes] = []

    def parts(name: int, records: int) -> Iterator[bytes]:
        for serial in range(records):
            part = f"{name:4} {serial:14}\n".encode()
            yield part
            written.append(part)

    def go_on(name: int) -> None:
        for piece in itertools.count(name, 8):
            offset = unfinished.find(upload).offset_bytes
            if offset == count * size:
                return
            records = min(30, (count * size - offset) // size)
            with contextlib.suppress(WrongOffset):
                unfinished.write(upload, offset, records * size, parts(piece, records))

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(go_on, range(8))) == [None] * 8

    lines = finish(unfinished, upload, tmp_path).splitlines(keepends=True)
    assert len(lines) == count
    assert sorted(lines) == sorted(written)


def test_a_newer_request_takes_over_from_a_silent_one(
    unfinished: Unfinished, tmp_path: Path
) -> None:
    upload = unfinished.begin(9, "", "tom")
    silent = Silent(b"abc", b"XXX", b"YYY")
    with ThreadPoolExecutor() as threads:
        older = threads.submit(unfinished.write, upload, 0, 9, silent)
        assert silent.is_silent.wait(30)
        assert unfinished.find(upload).offset_bytes == 3

        # It waits for nobody; and the older one writes nothing, even before the newer one does.
        newer = Silent(b"", b"def", b"ghi")
        going_on = threads.submit(unfinished.write, upload, 3, 6, newer)
        assert newer.is_silent.wait(30)
        silent.wake.set()
        with pytest.raises(WrongOffset):
            older.result(30)
        newer.wake.set()
        assert going_on.result(30) == 9

    assert finish(unfinished, upload, tmp_path) == b"abcdefghi"


HAMMER = (
    OTHER
    + """
while (offset := unfinished.find(upload).offset_bytes) < len(whole):
    try:
        piece = whole[offset:offset + 30_000]
        unfinished.write(upload, offset, len(piece),
                         (piece[at:at + 500] for at in range(0, len(piece), 500)))
    except Exception as error:
        assert type(error).__name__ == "WrongOffset", error
"""
)


@pytest.mark.slow
def test_many_processes_at_one_upload_of_which_some_are_killed(
    unfinished: Unfinished, tmp_path: Path
) -> None:
    """Each takes over from the others all the time; no byte is lost, doubled or misplaced."""
    whole = noise(3_000_000)
    (tmp_path / "whole").write_bytes(whole)
    upload = unfinished.begin(len(whole), "", "tom")
    command = _other(HAMMER, tmp_path, upload)
    others = [subprocess.Popen(command) for _ in range(4)]

    await_true(lambda: unfinished.find(upload).offset_bytes > 100_000, 60)
    for other in others[:2]:
        other.send_signal(signal.SIGKILL)

    assert [other.wait(60) for other in others] == [-signal.SIGKILL] * 2 + [0, 0]
    assert finish(unfinished, upload, tmp_path) == whole


DYING = (
    OTHER
    + """
def parts():
    yield whole[:5000]
    print("written", flush=True)
    time.sleep(60)
unfinished.write(upload, 0, len(whole), parts())
"""
)


def test_what_arrived_outlives_its_process(unfinished: Unfinished, tmp_path: Path) -> None:
    whole = noise(9000)
    (tmp_path / "whole").write_bytes(whole)
    upload = unfinished.begin(len(whole), "", "tom")
    command = _other(DYING, tmp_path, upload)
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"written\n"
        await_true(lambda: unfinished.find(upload).offset_bytes == 5000)
        other.kill()

    assert unfinished.write(upload, 5000, 4000, [whole[5000:]]) == 9000
    assert finish(unfinished, upload, tmp_path) == whole


KILLED = (
    OTHER
    + """
import os
unfinished.finish(upload, lambda: Path(sys.argv[3]).with_name("copy"), lambda *_: os._exit(9))
"""
)


def test_a_check_whose_process_dies_is_done_once_more(
    unfinished: Unfinished, tmp_path: Path
) -> None:
    whole = noise(9000)
    (tmp_path / "whole").write_bytes(whole)
    upload = unfinished.begin(len(whole), "", "tom")
    unfinished.write(upload, 0, 9000, [whole])
    command = _other(KILLED, tmp_path, upload)
    assert subprocess.run(command, check=False).returncode == 9
    (tmp_path / "copy").unlink()  # as the store sweeps it

    assert unfinished.write(upload, 9000, 0, []) == 9000
    assert finish(unfinished, upload, tmp_path) == whole


def test_no_piece_takes_the_last_of_the_disk(unfinished: Unfinished, tmp_path: Path) -> None:
    upload = unfinished.begin(3, "", "tom")
    full = Unfinished(tmp_path / "unfinished", replace(SETTINGS, min_free_bytes=10**18))

    with pytest.raises(NoRoom):
        full.write(upload, 0, 3, [b"abc"])
    assert unfinished.find(upload).offset_bytes == 0


def test_what_nobody_goes_on_with_is_removed_and_then_forgotten(
    unfinished: Unfinished, tmp_path: Path
) -> None:
    old, fresh, finished = (unfinished.begin(9, "", "tom") for _ in range(3))
    unfinished.write(old, 0, 3, [b"abc"])
    unfinished.write(finished, 0, 9, [b"abcdefghi"])
    finish(unfinished, finished, tmp_path)
    folder = tmp_path / "unfinished"

    unfinished.sweep()
    assert unfinished.find(old).offset_bytes == 3

    _age(folder / old / "data", folder / fresh / "data", folder / "over" / finished)
    unfinished.write(fresh, 0, 1, [b"a"])
    unfinished.sweep()
    assert unfinished.find(fresh).offset_bytes == 1
    with pytest.raises(UploadOver):
        unfinished.find(old)
    with pytest.raises(NoSuchUpload):
        unfinished.find(finished)
    assert unfinished.count() == (1, 9)

    _age(folder / "over" / old)
    unfinished.sweep()
    with pytest.raises(NoSuchUpload):
        unfinished.find(old)
    assert sorted(path.name for path in folder.iterdir()) == sorted([fresh, "locks", "over"])


def _age(*paths: Path) -> None:
    for path in paths:
        os.utime(path, (time.time() - 101,) * 2)


def test_what_killed_processes_left_half_done_is_swept(
    unfinished: Unfinished, tmp_path: Path
) -> None:
    upload = unfinished.begin(9, "", "tom")
    folder = tmp_path / "unfinished"
    begun, over = folder / f".{upload}", folder / "over" / f".{upload}"
    begun.mkdir()
    over.parent.mkdir()
    over.write_bytes(b"{")
    info = json.loads((folder / upload / "info").read_bytes())
    closed = folder / "over" / upload
    closed.write_text(json.dumps({"info": info, "outcome": KEPT}))
    _age(begun, over)

    assert unfinished.find(upload).outcome == KEPT
    unfinished.sweep()

    assert sorted(path.name for path in folder.iterdir()) == ["locks", "over"]
    assert [path.name for path in closed.parent.iterdir()] == [upload]
    assert unfinished.find(upload).outcome == KEPT


@mounts.needs_mounts
def test_what_must_stay_free_stays_free_though_others_write_meanwhile(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with mounts.mounted(disk, "size=12m"):
        settings = replace(SETTINGS, min_free_bytes=4_000_000)
        unfinished = Unfinished(disk / "unfinished", settings)
        upload = unfinished.begin(5_000_000, "", "somebody")

        def parts() -> Iterator[bytes]:
            for number, part in enumerate(parts_of(noise(5_000_000))):
                if number == 500:
                    mounts.fill(disk, 3_500_000)
                yield part

        with pytest.raises(NoRoom):
            unfinished.write(upload, 0, 5_000_000, parts())

        arrived = unfinished.find(upload).offset_bytes
        assert 500 * 4096 <= arrived < 3_500_000
        (disk / "ballast").unlink()
        left = noise(5_000_000)[arrived:]
        assert unfinished.write(upload, arrived, len(left), parts_of(left)) == 5_000_000


@mounts.needs_mounts
def test_what_must_stay_free_stays_free_though_many_are_finished_at_once(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with mounts.mounted(disk, "size=12m"):
        unfinished = Unfinished(disk / "unfinished", replace(SETTINGS, min_free_bytes=4_000_000))
        body = noise(1_500_000)
        upload = unfinished.begin(len(body), "", "somebody")
        unfinished.write(upload, 0, len(body), parts_of(body))

        def new_file() -> Path:
            mounts.fill(disk, 3_500_000)
            return disk / "copy"

        with pytest.raises(NoRoom):
            unfinished.finish(upload, new_file, accepting([]))

        assert not (disk / "copy").exists()
        (disk / "ballast").unlink()
        assert finish(unfinished, upload, disk) == body
