"""What the store of plain files does besides what every store of uploads promises."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from upload_places import BODY, IDENT, add_upload, whole

from imgprocessor.errors import NoRoom
from imgprocessor.storage.locks import Locks
from imgprocessor.storage.uploads.folder import UploadFolder
from imgprocessor.storage.usage import Usage

OTHER = "0123456789abcdef0123456789abcdee"


def folder(path: Path, **bounds: int) -> UploadFolder:
    """Return a store of plain files."""
    return UploadFolder(
        path, **{"max_uploads": 100, "max_bytes": 10**9, "min_free_bytes": 0, **bounds}
    )


def test_bounds_hold_for_all_of_it(tmp_path: Path) -> None:
    few = folder(tmp_path / "few", max_uploads=1)
    small = folder(tmp_path / "small", max_bytes=20_000)
    full = folder(tmp_path / "full", min_free_bytes=10**18)
    for store, size in ((few, 9), (small, 5000), (full, 9)):
        add_upload(store, body=b"x" * size)

    with pytest.raises(NoRoom, match="max_uploads"):
        add_upload(few, OTHER)
    with pytest.raises(NoRoom, match="max_bytes"):
        add_upload(small, OTHER, b"x" * 10_000)
    with pytest.raises(NoRoom, match="max_bytes"):
        small.keep(IDENT, "1x0.best", b"x" * 10_000)
    with pytest.raises(NoRoom, match="min_free_bytes"):
        full.require_room(1)
    with pytest.raises(NoRoom, match="min_free_bytes"):
        full.keep(IDENT, "1x0.best", b"x")
    with pytest.raises(NoRoom, match="max_uploads"):
        few.require_room(1)
    with pytest.raises(NoRoom, match="max_kept_bytes"):
        small.require_room(20_000)
    assert (few.count(), small.count()) == (1, 1)
    assert small.kept(IDENT, "1x0.best") is None
    assert not list((tmp_path / "few" / "incoming").iterdir())


def test_what_is_counted_is_what_is_there(tmp_path: Path) -> None:
    store = folder(tmp_path / "uploads")
    for number in range(20):
        ident = hashlib.sha256(bytes([number])).hexdigest()[:32]
        add_upload(store, ident, b"x" * 1000 * number)
        store.keep(ident, "1x0.best", b"y" * 3000)
        store.keep(ident, "1x0.best", b"y" * 9000)
        if number % 2:
            store.take_out(ident)
            store.clear(ident)
    counted = store.count(), store.kept_bytes()

    (tmp_path / "uploads" / "bytes").unlink()
    (tmp_path / "uploads" / "uploads").unlink()

    assert (store.count(), store.kept_bytes()) == counted
    assert counted[0] == 10


def test_what_is_taken_out_counts_until_it_is_cleared(tmp_path: Path) -> None:
    store = folder(tmp_path / "uploads")
    add_upload(store)
    before = store.kept_bytes()
    store.take_out(IDENT)

    (tmp_path / "uploads" / "bytes").unlink()

    assert (store.kept_bytes(), store.count()) == (before, 0)
    store.clear(IDENT)
    assert store.kept_bytes() == 0


def test_what_several_clear_at_once_is_counted_less_once(tmp_path: Path) -> None:
    stores = [folder(tmp_path / "uploads") for _ in range(8)]
    add_upload(stores[0], OTHER)
    before = stores[0].kept_bytes()
    for _ in range(10):
        add_upload(stores[0])
        for number in range(20):
            stores[0].keep(IDENT, f"{number}x0.best", b"made")
        stores[0].take_out(IDENT)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda store: store.clear(IDENT), stores))

        assert stores[0].kept_bytes() == before


def test_what_processes_left_behind_is_swept(tmp_path: Path) -> None:
    store = folder(tmp_path / "uploads")
    old, new, halfway = store.new_file(), store.new_file(), store.new_file()
    for path in (old, new):
        path.write_bytes(BODY)
    halfway.mkdir()
    (halfway / "original").write_bytes(BODY)
    hours_ago = time.time() - 7200
    for path in (old, halfway):
        os.utime(path, (hours_ago, hours_ago))

    store.sweep()

    assert list(old.parent.iterdir()) == [new]


def test_once_a_day_all_is_counted_anew_however_much_is_uploaded(tmp_path: Path) -> None:
    store = folder(tmp_path / "uploads")
    counted = Usage(
        tmp_path / "uploads/uploads", Locks(tmp_path / "uploads/locks"), is_empty=lambda: False
    )
    add_upload(store)
    store.sweep()

    def sweep_after(seconds: int) -> int:
        """Return what is counted, where a process was killed that had counted what it did not keep,
        and others go on writing down what they keep.
        """
        with counted.locked():
            counted.write(7, 7)
        when = time.time() - seconds
        os.utime(tmp_path / "uploads/counted", (when, when))
        store.keep(IDENT, "1x0.best", b"made")
        store.sweep()
        return store.count()

    assert sweep_after(80_000) == 7
    assert sweep_after(90_000) == 1
    assert sweep_after(-90_000) == 1  # the clock was set back
    assert sweep_after(10) == 7


def test_a_copy_of_the_folder_is_a_backup(tmp_path: Path) -> None:
    add_upload(folder(tmp_path / "uploads"))
    folder(tmp_path / "uploads").keep(IDENT, "1x0.best", b"made")

    shutil.copytree(tmp_path / "uploads" / "kept", tmp_path / "restored" / "kept")

    restored = folder(tmp_path / "restored")
    assert whole(restored, IDENT) == BODY
    assert restored.kept(IDENT, "1x0.best") == b"made"
    assert restored.count() == 1
    assert not add_upload(restored)


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A program that adds an upload, keeps a size of it, changes its record and removes it."""
    file = tmp_path_factory.mktemp("program") / "upload.py"
    file.write_text(
        f"""
import sys
from pathlib import Path
from imgprocessor.storage.locks import Locks
from imgprocessor.storage.uploads.folder import UploadFolder
store = UploadFolder(Path(sys.argv[1]), max_uploads=100, max_bytes=10**9, min_free_bytes=0)
for step in range(3):
    file = store.new_file()
    file.write_bytes(b"x" * 5000)
    new = store.add("{IDENT}", file, {{"sizes": []}})
    print("kept", flush=True)
    store.keep("{IDENT}", "1x0.best", b"y" * 5000)
    store.change("{IDENT}", lambda record: {{**record, "sizes": ["1x0"]}})
    print("changed", flush=True)
    if step < 2:
        store.take_out("{IDENT}")
        print("gone", flush=True)
        store.clear("{IDENT}")
"""
    )
    return str(file)


@pytest.mark.slow
@pytest.mark.parametrize("delay_us", range(0, 6000, 500))
def test_a_process_that_is_killed_leaves_nothing_half(
    tmp_path: Path, calls: str, delay_us: int
) -> None:
    """It is killed at many moments: what it said is so, and what is there is whole."""
    with subprocess.Popen(
        [sys.executable, calls, str(tmp_path / "uploads")], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said = [process.stdout.readline().strip()]
        time.sleep(delay_us / 1e6)  # the moment of death, not a wait for anything
        process.kill()
        said += process.stdout.read().split()

    store = folder(tmp_path / "uploads")
    found = store.find(IDENT)
    if said[-1] in {"kept", "changed"} and found is None:
        # It died after the removal that it had not told of yet.
        assert said.count("gone") < 2
        assert store.taken_out()
    if found is not None:
        assert whole(store, IDENT) == b"x" * 5000
        assert store.kept(IDENT, "1x0.best") in {None, b"y" * 5000}
        if said[-1] == "changed":
            assert found.record["sizes"] == ["1x0"]
    for ident in store.taken_out():
        store.clear(ident)
    assert add_upload(store) == (found is None)
