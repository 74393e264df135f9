"""What every store of uploads promises: a later one is one more row in `PLACES`."""

import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from upload_places import (
    BODY,
    IDENT,
    UploadPlace,
    add_upload,
    bucket_place,
    folder_place,
    place_of_both,
    replicated_place,
    whole,
)
from weeds import needs_weed

from imgprocessor.storage.uploads.store import Record, UploadStore

IN_BUCKETS = ("bucket", "both", *(f"replicated {name}" for name in ("folder", "bucket", "both")))
PLACES = ["folder", *(pytest.param(name, marks=needs_weed) for name in IN_BUCKETS)]


@pytest.fixture(params=PLACES)
def there(request: pytest.FixtureRequest, tmp_path: Path) -> UploadPlace:
    """An empty place."""
    if request.param == "folder":
        return folder_place(tmp_path / "uploads")
    if request.param.startswith("replicated "):
        name = request.param.removeprefix("replicated ")
        replicated = replicated_place(tmp_path, name, *request.getfixturevalue("place"))
        return UploadPlace(replicated.node, replicated.first.left)
    made = bucket_place if request.param == "bucket" else place_of_both
    return made(tmp_path, *request.getfixturevalue("place"))


@pytest.fixture
def store(there: UploadPlace) -> UploadStore:
    """An empty store."""
    return there.node()


def known(store: UploadStore, ident: str = IDENT) -> Record:
    """Return the record of an upload that is there."""
    found = store.find(ident)
    assert found is not None
    return found.record


def with_size(size: str) -> Callable[[Record], Record]:
    """Return what adds a size to a record."""
    return lambda record: {**record, "sizes": [*record["sizes"], size]}


def test_what_was_added_is_found_with_its_record(store: UploadStore) -> None:
    assert store.find(IDENT) is None
    assert add_upload(store, by="somebody")

    found = store.find(IDENT)

    assert found is not None
    assert (found.ident, found.size_bytes) == (IDENT, len(BODY))
    assert found.record == {"ident": IDENT, "sizes": [], "by": "somebody"}
    assert whole(store) == BODY
    assert list(store.idents()) == [IDENT]


def test_what_is_there_is_never_written_again(store: UploadStore, there: UploadPlace) -> None:
    add_upload(store, by="first")

    assert not add_upload(store, body=b"other", by="second")

    assert whole(store) == BODY
    assert known(store)["by"] == "first"
    assert there.left() == ["original"]
    assert not any(store.new_file().parent.iterdir())


def test_of_eight_equal_ones_at_once_one_is_new(there: UploadPlace) -> None:
    stores = [there.node() for _ in range(8)]
    numbers = range(8)

    with ThreadPoolExecutor(8) as pool:
        bodies = [bytes([number]) * 9 for number in numbers]
        new = list(pool.map(lambda n: add_upload(stores[n], body=bodies[n], by=str(n)), numbers))

    assert sorted(new) == [False] * 7 + [True]
    first = new.index(True)
    for store in stores:
        assert known(store)["by"] == str(first)
        assert whole(store) == bodies[first]
    assert there.left() == ["original"]


@pytest.mark.parametrize(
    "ident", ["", "../x", IDENT.upper(), IDENT + "0", IDENT[:-1], "a" * 5000, "\0"]
)
def test_what_is_no_ident_leads_nowhere(store: UploadStore, ident: str) -> None:
    assert store.find(ident) is None
    assert not store.take_out(ident)
    assert store.kept(ident, "a") is None
    for call in (store.open, partial(store.keep, name="a", body=b""), changing(store)):
        with pytest.raises(FileNotFoundError):
            call(ident)


def changing(store: UploadStore) -> Callable[[str], object]:
    """Return what changes the record of an upload."""
    return lambda ident: store.change(ident, dict)


def test_a_record_is_changed_by_one_at_a_time(there: UploadPlace) -> None:
    stores = [there.node() for _ in range(4)]
    add_upload(stores[0])

    def change(number: int) -> None:
        for serial in range(10):
            stores[number].change(IDENT, with_size(f"{number}x{serial}"))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(change, range(4)))

    assert len(set(stores[0].change(IDENT, dict)["sizes"])) == 40


def test_a_change_that_fails_is_none(store: UploadStore) -> None:
    add_upload(store)

    with pytest.raises(KeyError):
        store.change(IDENT, lambda record: {**record, "sizes": record["nothing"]})

    assert known(store)["sizes"] == []
    assert store.change(IDENT, with_size("1x1")) == known(store)
    assert known(store)["sizes"] == ["1x1"]


def test_what_was_made_of_it_is_kept_until_it_is_replaced(
    store: UploadStore, there: UploadPlace
) -> None:
    add_upload(store)

    store.keep(IDENT, "100x50.best", b"one")
    store.keep(IDENT, "100x50.best", b"two")

    assert store.kept(IDENT, "100x50.best") == b"two"
    assert there.node().kept(IDENT, "100x50.best") == b"two"
    assert store.kept(IDENT, "100x50.plain") is None
    assert store.names(IDENT) == ["100x50.best"]


def test_nothing_is_kept_of_what_was_taken_out(store: UploadStore) -> None:
    add_upload(store)
    store.keep(IDENT, "100x50.best", b"one")

    assert store.take_out(IDENT)

    assert store.find(IDENT) is None
    assert store.kept(IDENT, "100x50.best") is None
    assert list(store.idents()) == []
    assert not store.names(IDENT)
    assert store.taken_out() == [IDENT]
    with pytest.raises(FileNotFoundError):
        store.keep(IDENT, "100x50.best", b"one")
    with pytest.raises(FileNotFoundError):
        store.open(IDENT)


def test_what_was_taken_out_is_cleared_and_may_come_again(
    store: UploadStore, there: UploadPlace
) -> None:
    add_upload(store)
    store.keep(IDENT, "1x0.best", b"of the first")
    store.take_out(IDENT)

    assert add_upload(store, by="later")
    assert store.kept(IDENT, "1x0.best") is None
    store.clear(IDENT)
    assert whole(store) == BODY
    assert store.take_out(IDENT)
    assert store.take_out(IDENT)  # what is left to be cleared can be asked for again
    store.clear(IDENT)

    assert not store.take_out(IDENT)
    assert store.taken_out() == []
    assert there.left() == []
    assert add_upload(store)


def test_another_process_has_the_same_uploads(store: UploadStore) -> None:
    add_upload(store)

    assert whole(pickle.loads(pickle.dumps(store))) == BODY  # noqa: S301


def test_a_sweep_leaves_what_is_kept(store: UploadStore) -> None:
    add_upload(store)
    store.keep(IDENT, "1x0.best", b"made")

    store.sweep()
    store.forget(IDENT)
    store.forget_all()

    assert whole(store) == BODY
    assert store.kept(IDENT, "1x0.best") == b"made"
