"""What every store of uploads promises, and what the one of plain files does besides."""

import hashlib
import os
import pickle
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from imgprocessor.errors import NoRoom
from imgprocessor.storage.locks import Locks
from imgprocessor.storage.uploads.folder import UploadFolder
from imgprocessor.storage.uploads.store import Record
from imgprocessor.storage.usage import Usage

BODY = b"a picture"
IDENT = "0123456789abcdef0123456789abcdef"
OTHER = "0123456789abcdef0123456789abcdee"


def folder(path: Path, **bounds: int) -> UploadFolder:
    """Return a store of plain files."""
    return UploadFolder(
        path, **{"max_uploads": 100, "max_bytes": 10**9, "min_free_bytes": 0, **bounds}
    )


def add(store: UploadFolder, ident: str = IDENT, body: bytes = BODY, **record: object) -> bool:
    """Keep an upload."""
    file = store.new_file()
    file.write_bytes(body)
    known: Record = {"ident": ident, "sizes": [], **record}
    return store.add(ident, file, known)


@pytest.fixture
def store(tmp_path: Path) -> UploadFolder:
    """An empty store."""
    return folder(tmp_path / "uploads")


def whole(store: UploadFolder, ident: str) -> bytes:
    """Return an upload's file."""
    with store.open(ident) as file:
        return file.read()


def test_what_was_added_is_found_with_its_record(store: UploadFolder) -> None:
    assert store.find(IDENT) is None
    assert add(store, by="somebody")

    found = store.find(IDENT)

    assert found is not None
    assert (found.ident, found.size_bytes, found.record["by"]) == (IDENT, len(BODY), "somebody")
    assert whole(store, IDENT) == BODY
    assert list(store.idents()) == [IDENT]
    assert store.count() == 1


def test_what_is_there_is_never_written_again(store: UploadFolder) -> None:
    add(store, by="first")

    assert not add(store, body=b"other", by="second")

    assert whole(store, IDENT) == BODY
    assert store.find(IDENT).record["by"] == "first"  # type: ignore[union-attr]
    assert store.count() == 1
    assert not any(store.new_file().parent.iterdir())


def test_of_eight_equal_ones_at_once_one_is_new(tmp_path: Path) -> None:
    stores = [folder(tmp_path / "uploads") for _ in range(8)]

    with ThreadPoolExecutor(8) as pool:
        new = list(pool.map(add, stores))

    assert sorted(new) == [False] * 7 + [True]
    assert stores[0].count() == 1


@pytest.mark.parametrize("ident", ["", "../x", IDENT.upper(), IDENT + "0", IDENT[:-1], "a" * 5000])
def test_what_is_no_ident_leads_nowhere(store: UploadFolder, ident: str) -> None:
    assert store.find(ident) is None
    assert not store.take_out(ident)
    assert store.kept(ident, "a") is None
    with pytest.raises(FileNotFoundError):
        store.open(ident)


def test_a_record_is_changed_by_one_at_a_time(tmp_path: Path) -> None:
    stores = [folder(tmp_path / "uploads") for _ in range(8)]
    add(stores[0])

    def change(number: int) -> None:
        for _ in range(20):
            with stores[number].changing(IDENT) as record:
                record["sizes"] = [*record["sizes"], f"{number}x0"]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(change, range(8)))

    assert len(stores[0].find(IDENT).record["sizes"]) == 160  # type: ignore[union-attr]


def test_a_change_that_fails_is_none(store: UploadFolder) -> None:
    add(store)

    with pytest.raises(KeyError), store.changing(IDENT) as record:
        record["sizes"] = [record["nothing"]]

    assert store.find(IDENT).record["sizes"] == []  # type: ignore[union-attr]


def test_a_record_of_nothing_cannot_be_changed(store: UploadFolder) -> None:
    with pytest.raises(FileNotFoundError), store.changing(IDENT):
        pass


def test_what_was_made_of_it_is_kept_until_it_is_replaced(store: UploadFolder) -> None:
    add(store)

    store.keep(IDENT, "100x50.best", b"one")
    store.keep(IDENT, "100x50.best", b"two")

    assert store.kept(IDENT, "100x50.best") == b"two"
    assert store.kept(IDENT, "100x50.plain") is None


def test_what_is_damaged_counts_as_not_made(store: UploadFolder, tmp_path: Path) -> None:
    add(store)
    store.keep(IDENT, "100x50.best", b"one")
    (file,) = tmp_path.rglob("100x50.best")

    for damaged in (file.read_bytes()[:-1], b"", b"x" * 100):
        file.write_bytes(damaged)
        assert store.kept(IDENT, "100x50.best") is None


def test_nothing_is_kept_of_what_was_taken_out(store: UploadFolder) -> None:
    add(store)
    store.keep(IDENT, "100x50.best", b"one")

    assert store.take_out(IDENT)

    assert store.find(IDENT) is None
    assert store.kept(IDENT, "100x50.best") is None
    assert list(store.idents()) == []
    assert store.taken_out() == [IDENT]
    with pytest.raises(FileNotFoundError):
        store.keep(IDENT, "100x50.best", b"one")
    with pytest.raises(FileNotFoundError):
        store.open(IDENT)


def test_what_was_taken_out_is_cleared_and_may_come_again(
    store: UploadFolder, tmp_path: Path
) -> None:
    add(store)
    store.take_out(IDENT)

    assert add(store, by="later")
    assert store.take_out(IDENT)
    assert store.take_out(IDENT)  # what is left to be cleared can be asked for again
    store.clear(IDENT)

    assert not store.take_out(IDENT)
    assert store.taken_out() == []
    assert not list(tmp_path.rglob("original"))
    assert (store.count(), store.kept_bytes()) == (0, 0)


def test_another_process_has_the_same_uploads(store: UploadFolder) -> None:
    add(store)

    assert whole(pickle.loads(pickle.dumps(store)), IDENT) == BODY  # noqa: S301


def test_bounds_hold_for_all_of_it(tmp_path: Path) -> None:
    few = folder(tmp_path / "few", max_uploads=1)
    small = folder(tmp_path / "small", max_bytes=20_000)
    full = folder(tmp_path / "full", min_free_bytes=10**18)
    for store, size in ((few, 9), (small, 5000), (full, 9)):
        add(store, body=b"x" * size)

    with pytest.raises(NoRoom, match="max_uploads"):
        add(few, OTHER)
    with pytest.raises(NoRoom, match="max_bytes"):
        add(small, OTHER, b"x" * 10_000)
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
        add(store, ident, b"x" * 1000 * number)
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
    add(store)
    before = store.kept_bytes()
    store.take_out(IDENT)

    (tmp_path / "uploads" / "bytes").unlink()

    assert (store.kept_bytes(), store.count()) == (before, 0)
    store.clear(IDENT)
    assert store.kept_bytes() == 0


def test_what_several_clear_at_once_is_counted_less_once(tmp_path: Path) -> None:
    stores = [folder(tmp_path / "uploads") for _ in range(8)]
    add(stores[0], OTHER)
    before = stores[0].kept_bytes()
    for _ in range(10):
        add(stores[0])
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
    add(store)
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
    add(folder(tmp_path / "uploads"))
    folder(tmp_path / "uploads").keep(IDENT, "1x0.best", b"made")

    shutil.copytree(tmp_path / "uploads" / "kept", tmp_path / "restored" / "kept")

    restored = folder(tmp_path / "restored")
    assert whole(restored, IDENT) == BODY
    assert restored.kept(IDENT, "1x0.best") == b"made"
    assert restored.count() == 1
    assert not add(restored)


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
    with store.changing("{IDENT}") as record:
        record["sizes"] = ["1x0"]
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
    assert add(store) == (found is None)
