"""Uploads in pieces: every byte once, at its place, whoever writes, dies, waits or comes late."""

import contextlib
import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import mounts
import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers import await_true

from imgprocessor.config.upload_settings import UploadsSettings
from imgprocessor.errors import BadQuery, ImageError, NoRoom, NoSuchUpload, UploadOver, WrongOffset
from imgprocessor.storage.uploads.unfinished import Outcome, Unfinished

SETTINGS = UploadsSettings(min_free_bytes=0, unfinished_seconds=100)
KEPT = {"ident": "a"}

OTHER = """
import json, sys, time
from pathlib import Path
from imgprocessor.config.upload_settings import UploadsSettings
from imgprocessor.storage.uploads.unfinished import Unfinished
unfinished = Unfinished(Path(sys.argv[1]), UploadsSettings(min_free_bytes=0))
upload, whole = sys.argv[2], Path(sys.argv[3]).read_bytes()
"""
"""What begins a script of another process."""


def _other(script: str, folder: Path, upload: str) -> list[str]:
    return [sys.executable, "-c", script, f"{folder}/unfinished", upload, f"{folder}/whole"]


@pytest.fixture
def unfinished(tmp_path: Path) -> Unfinished:
    return Unfinished(tmp_path / "unfinished", SETTINGS)


def _noise(length: int) -> bytes:
    return hashlib.shake_128(b"noise").digest(length)


def _parts(piece: bytes, length: int = 4096) -> Iterator[bytes]:
    return (piece[at : at + length] for at in range(0, len(piece), length))


def _accepting(seen: list[bytes], outcome: Outcome = KEPT) -> Callable[[Path, str], Outcome]:
    """Return what takes a file as a service does: it writes into it, and removes it."""

    def accept(file: Path, sha256: str) -> Outcome:
        seen.append(file.read_bytes())
        assert sha256 == hashlib.sha256(seen[-1]).hexdigest()
        file.write_bytes(b"cleaned")
        file.unlink()
        return outcome

    return accept


def _finish(unfinished: Unfinished, upload: str, tmp_path: Path) -> bytes:
    seen: list[bytes] = []
    assert unfinished.finish(upload, lambda: tmp_path / "copy", _accepting(seen)) == KEPT
    assert not (tmp_path / "copy").exists()
    return seen[0]


def _never(_: Path, __: str) -> Outcome:
    pytest.fail("this is not to be accepted")


class _Broken(Exception):
    """The line broke."""


@given(
    length=st.integers(1, 40_000),
    pieces=st.lists(st.integers(0, 20_000), max_size=6),
    cut=st.integers(1, 9000),
    breaks=st.lists(st.integers(0, 4), max_size=6),
)
def test_what_arrived_in_pieces_is_what_was_sent(
    tmp_path_factory: pytest.TempPathFactory,
    length: int,
    pieces: list[int],
    cut: int,
    breaks: list[int],
) -> None:
    """However it is cut into pieces, and those into reads, and whichever break off."""
    folder = tmp_path_factory.mktemp("unfinished")
    unfinished = Unfinished(folder, SETTINGS)
    whole = _noise(length)
    upload = unfinished.begin(length, "100x50", "tom")

    for size, whole_parts in itertools.zip_longest([*pieces, length], breaks):
        offset = unfinished.find(upload).offset_bytes
        piece = whole[offset:][: length if size is None else size]

        def arriving(piece: bytes = piece, most: int | None = whole_parts) -> Iterator[bytes]:
            for number, part in enumerate(_parts(piece, cut)):
                if number == most:
                    raise _Broken
                yield part

        try:
            end = unfinished.write(upload, offset, len(piece), arriving())
            assert end == offset + len(piece)
        except _Broken:
            end = offset + cut * (whole_parts or 0)
        assert unfinished.find(upload).offset_bytes == end
    offset = unfinished.find(upload).offset_bytes
    unfinished.write(upload, offset, length - offset, [whole[offset:]] * (offset < length))

    assert _finish(unfinished, upload, folder) == whole


def test_an_upload_from_its_beginning_to_its_end(unfinished: Unfinished, tmp_path: Path) -> None:
    upload = unfinished.begin(10, "100x50", "tom")
    at_first = unfinished.find(upload)
    unfinished.write(upload, 0, 4, [b"abc", b"d"])
    later = unfinished.find(upload)

    assert (at_first.offset_bytes, later.offset_bytes) == (0, 4)
    assert (later.length_bytes, later.metadata, later.by, later.outcome) == (
        10,
        "100x50",
        "tom",
        None,
    )
    assert later.expires_seconds == pytest.approx(time.time() + 100, abs=5)
    with pytest.raises(WrongOffset):
        unfinished.finish(upload, lambda: tmp_path / "copy", _accepting([]))
    assert unfinished.write(upload, 4, 6, [b"efghij"]) == 10
    assert _finish(unfinished, upload, tmp_path) == b"abcdefghij"
    over = unfinished.find(upload)
    assert (over.offset_bytes, over.length_bytes, over.by, over.outcome) == (10, 10, "tom", KEPT)
    assert unfinished.count() == (0, 0)
    # Asked for once more, and nothing is done once more.
    assert unfinished.write(upload, 10, 0, []) == 10
    assert unfinished.finish(upload, lambda: tmp_path, _never) == KEPT
    for call in (lambda: unfinished.write(upload, 9, 1, [b"j"]), lambda: unfinished.end(upload)):
        with pytest.raises(UploadOver):
            call()


@pytest.mark.parametrize(("offset", "size", "kind"), [
    (3, 1, WrongOffset), (5, 1, WrongOffset), (0, 4, WrongOffset), (9, 1, WrongOffset),
    (4, 7, BadQuery), (11, 0, BadQuery), (10**18, 1, BadQuery),
])  # fmt: skip
def test_a_piece_that_does_not_fit_is_not_written(
    unfinished: Unfinished, offset: int, size: int, kind: type[ImageError]
) -> None:
    upload = unfinished.begin(10, "", "tom")
    unfinished.write(upload, 0, 4, [b"abcd"])

    with pytest.raises(kind):
        unfinished.write(upload, offset, size, [b"x" * size])
    assert unfinished.find(upload).offset_bytes == 4


@pytest.mark.parametrize(
    "upload", ["", ".", "..", "over", "locks", "a" * 32, "A" * 32, "a/b", "a\0"]
)
def test_what_never_was_is_not_found(unfinished: Unfinished, upload: str) -> None:
    unfinished.begin(10, "", "tom")
    calls: list[Callable[[], object]] = [
        lambda: unfinished.find(upload),
        lambda: unfinished.write(upload, 0, 1, [b"a"]),
        lambda: unfinished.finish(upload, Path, _never),
        lambda: unfinished.end(upload),
    ]
    for call in calls:
        with pytest.raises(NoSuchUpload):
            call()


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

    lines = _finish(unfinished, upload, tmp_path).splitlines(keepends=True)
    assert len(lines) == count
    assert sorted(lines) == sorted(written)


class _Silent:
    """A client that sends something, is silent until it is woken, and sends the rest."""

    def __init__(self, *parts: bytes) -> None:
        self._parts = parts
        self.is_silent = threading.Event()
        self.wake = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        yield self._parts[0]
        self.is_silent.set()
        assert self.wake.wait(30)
        yield from self._parts[1:]


def test_a_newer_request_takes_over_from_a_silent_one(
    unfinished: Unfinished, tmp_path: Path
) -> None:
    upload = unfinished.begin(9, "", "tom")
    silent = _Silent(b"abc", b"XXX", b"YYY")
    with ThreadPoolExecutor() as threads:
        older = threads.submit(unfinished.write, upload, 0, 9, silent)
        assert silent.is_silent.wait(30)
        assert unfinished.find(upload).offset_bytes == 3

        # It waits for nobody; and the older one writes nothing, even before the newer one does.
        newer = _Silent(b"", b"def", b"ghi")
        going_on = threads.submit(unfinished.write, upload, 3, 6, newer)
        assert newer.is_silent.wait(30)
        silent.wake.set()
        with pytest.raises(WrongOffset):
            older.result(30)
        newer.wake.set()
        assert going_on.result(30) == 9

    assert _finish(unfinished, upload, tmp_path) == b"abcdefghi"


def test_a_silent_request_is_over_when_its_upload_is_ended(unfinished: Unfinished) -> None:
    upload = unfinished.begin(9, "", "tom")
    silent = _Silent(b"abc", b"def")
    with ThreadPoolExecutor() as threads:
        older = threads.submit(unfinished.write, upload, 0, 9, silent)
        assert silent.is_silent.wait(30)
        unfinished.end(upload)
        silent.wake.set()
        with pytest.raises(UploadOver):
            older.result(30)

    with pytest.raises(UploadOver):
        unfinished.find(upload)
    assert unfinished.count() == (0, 0)


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
    whole = _noise(3_000_000)
    (tmp_path / "whole").write_bytes(whole)
    upload = unfinished.begin(len(whole), "", "tom")
    command = _other(HAMMER, tmp_path, upload)
    others = [subprocess.Popen(command) for _ in range(4)]

    await_true(lambda: unfinished.find(upload).offset_bytes > 100_000, 60)
    for other in others[:2]:
        other.send_signal(signal.SIGKILL)

    assert [other.wait(60) for other in others] == [-signal.SIGKILL] * 2 + [0, 0]
    assert _finish(unfinished, upload, tmp_path) == whole


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
    whole = _noise(9000)
    (tmp_path / "whole").write_bytes(whole)
    upload = unfinished.begin(len(whole), "", "tom")
    command = _other(DYING, tmp_path, upload)
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"written\n"
        await_true(lambda: unfinished.find(upload).offset_bytes == 5000)
        other.kill()

    assert unfinished.write(upload, 5000, 4000, [whole[5000:]]) == 9000
    assert _finish(unfinished, upload, tmp_path) == whole


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
    whole = _noise(9000)
    (tmp_path / "whole").write_bytes(whole)
    upload = unfinished.begin(len(whole), "", "tom")
    unfinished.write(upload, 0, 9000, [whole])
    command = _other(KILLED, tmp_path, upload)
    assert subprocess.run(command, check=False).returncode == 9
    (tmp_path / "copy").unlink()  # as the store sweeps it

    assert unfinished.write(upload, 9000, 0, []) == 9000
    assert _finish(unfinished, upload, tmp_path) == whole


def test_a_check_that_failed_is_done_once_more(unfinished: Unfinished, tmp_path: Path) -> None:
    upload = unfinished.begin(3, "", "tom")
    unfinished.write(upload, 0, 3, [b"abc"])

    def fail(file: Path, _: str) -> Outcome:
        file.write_bytes(b"")
        file.unlink()
        raise NoRoom

    with pytest.raises(NoRoom):
        unfinished.finish(upload, lambda: tmp_path / "copy", fail)
    assert _finish(unfinished, upload, tmp_path) == b"abc"


def test_an_upload_is_checked_once(unfinished: Unfinished, tmp_path: Path) -> None:
    upload = unfinished.begin(3, "", "tom")
    unfinished.write(upload, 0, 3, [b"abc"])
    seen: list[bytes] = []
    names = itertools.count()

    def finish(_: int) -> Outcome:
        return unfinished.finish(upload, lambda: tmp_path / str(next(names)), _accepting(seen))

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(finish, range(8))) == [KEPT] * 8
    assert seen == [b"abc"]


@pytest.mark.parametrize(("bounds", "begun"), [
    (replace(SETTINGS, max_unfinished=3), 3),
    (replace(SETTINGS, max_unfinished_bytes=350), 3),
    (replace(SETTINGS, max_unfinished_bytes=300), 3),
    (replace(SETTINGS, min_free_bytes=10**18), 0),
])  # fmt: skip
def test_bounds_hold_for_all_together(
    unfinished: Unfinished, tmp_path: Path, bounds: UploadsSettings, begun: int
) -> None:
    """Counted by the length that they will have; those that are over do not count."""
    over = unfinished.begin(100, "", "tom")
    unfinished.end(over)

    at_once = threading.Barrier(8)

    def begin(_: int) -> bool:
        # One each, as if each were a process.
        at_once.wait(30)
        other = Unfinished(tmp_path / "unfinished", bounds)
        try:
            other.begin(100, "", "tom")
        except NoRoom:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(begin, range(8))) == begun
    assert unfinished.count() == (begun, begun * 100)


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
    _finish(unfinished, finished, tmp_path)
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
            for number, part in enumerate(_parts(_noise(5_000_000))):
                if number == 500:
                    mounts.fill(disk, 3_500_000)
                yield part

        with pytest.raises(NoRoom):
            unfinished.write(upload, 0, 5_000_000, parts())

        arrived = unfinished.find(upload).offset_bytes
        assert 500 * 4096 <= arrived < 3_500_000
        (disk / "ballast").unlink()
        left = _noise(5_000_000)[arrived:]
        assert unfinished.write(upload, arrived, len(left), _parts(left)) == 5_000_000


@mounts.needs_mounts
def test_what_must_stay_free_stays_free_though_many_are_finished_at_once(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with mounts.mounted(disk, "size=12m"):
        unfinished = Unfinished(disk / "unfinished", replace(SETTINGS, min_free_bytes=4_000_000))
        body = _noise(1_500_000)
        upload = unfinished.begin(len(body), "", "somebody")
        unfinished.write(upload, 0, len(body), _parts(body))

        def new_file() -> Path:
            mounts.fill(disk, 3_500_000)
            return disk / "copy"

        with pytest.raises(NoRoom):
            unfinished.finish(upload, new_file, _accepting([]))

        assert not (disk / "copy").exists()
        (disk / "ballast").unlink()
        assert _finish(unfinished, upload, disk) == body
