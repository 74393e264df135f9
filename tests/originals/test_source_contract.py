"""What every source of originals promises: a later one is one more row in `PLACES`."""

import contextlib
import hashlib
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
from bucket_nodes import BucketNode
from conftest import ROOT
from origins import URL, answer, host_in
from upload_places import IDENT, add_upload, bucket_node, whole
from weeds import S3Server, needs_weed, place_in

from imgprocessor.errors import ImageError, NotFound, OriginalsUnavailable
from imgprocessor.originals.folder import Folder
from imgprocessor.originals.source import Original, Source
from imgprocessor.originals.uploads import UploadedOriginals
from imgprocessor.storage.uploads.folder import UploadFolder

OTHER_PROCESS = """
import pickle, sys
original = pickle.load(sys.stdin.buffer)
with original.source.open(original) as (file, opened):
    pickle.dump((file.read(), opened.identity), sys.stdout.buffer)
"""

SECRET = b"secret"


@dataclass
class Place:
    """A source, and what happens behind its back."""

    source: Source
    name: str
    put: Callable[[bytes], object]
    """Have other content under the name, and let the next `find` look."""
    remove: Callable[[], object]
    kept: int = 0
    """Files that are here only because the original was asked for."""
    keeps_bytes: bool = False
    """Whether what was found holds its bytes, come what may."""


@contextlib.contextmanager
def folder(tmp_path: Path) -> Iterator[Place]:
    path = tmp_path / "root/cats/a.jpg"
    path.parent.mkdir(parents=True)

    def put(content: bytes) -> None:
        await_tick(tmp_path)
        path.write_bytes(content)
        os.utime(path, ns=(1, 1))  # as copying may

    yield Place(Folder(tmp_path / "root", 1000), "cats/a.jpg", put, path.unlink)


@contextlib.contextmanager
def remote(tmp_path: Path, *, max_kept_bytes: int = 50_000_000) -> Iterator[Place]:
    with host_in(tmp_path) as host:

        def put(content: bytes) -> None:
            await_tick(tmp_path)
            host.replies["/a.jpg"] = answer(content, Cache_Control="max-age=100")
            host.late += 101

        def remove() -> None:
            del host.replies["/a.jpg"]
            host.late += 101

        yield Place(host.remote(max_kept_bytes=max_kept_bytes), URL, put, remove, kept=2)


@contextlib.contextmanager
def full_disk(tmp_path: Path) -> Iterator[Place]:
    with remote(tmp_path, max_kept_bytes=0) as there:
        yield replace(there, kept=0, keeps_bytes=True)


@contextlib.contextmanager
def uploads(tmp_path: Path) -> Iterator[Place]:
    store = UploadFolder(tmp_path / "u", max_uploads=9, max_bytes=10**9, min_free_bytes=0)
    ident = "0123456789abcdef" * 2

    def remove() -> None:
        store.take_out(ident)
        store.clear(ident)

    def put(content: bytes) -> None:
        remove()
        file = store.new_file()
        file.write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        store.add(ident, file, {"sha256": sha256, "sizes": [], "uploaded_ns": 1})

    yield Place(UploadedOriginals(store), f"{ident}.jpg", put, remove)


@contextlib.contextmanager
def in_bucket(
    tmp_path: Path, server: S3Server, *, max_kept_bytes: int = 50_000_000
) -> Iterator[Place]:
    node = BucketNode(
        tmp_path / "node",
        place_in(server, tmp_path, f"contract-{uuid4()}"),
        max_kept_bytes=max_kept_bytes,
    )
    key = "cats/a b+%20#?.jpg"

    def put(content: bytes) -> None:
        node.bucket.put(key, content)
        node.pass_time()

    def remove() -> None:
        node.bucket.remove(key)
        node.pass_time()

    yield Place(node.source, key, put, remove, kept=2)


@contextlib.contextmanager
def in_bucket_full_disk(tmp_path: Path, server: S3Server) -> Iterator[Place]:
    with in_bucket(tmp_path, server, max_kept_bytes=0) as there:
        yield replace(there, kept=0, keeps_bytes=True)


@contextlib.contextmanager
def bucket_uploads(tmp_path: Path, server: S3Server) -> Iterator[Place]:
    node = bucket_node(tmp_path / "node", *place_in(server, tmp_path, f"contract-{uuid4()}"))

    def remove() -> None:
        node.take_out(IDENT)
        node.clear(IDENT)

    def put(content: bytes) -> None:
        remove()
        sha256 = hashlib.sha256(content).hexdigest()
        add_upload(node, body=content, sha256=sha256, uploaded_ns=1)
        assert whole(node) == content

    yield Place(UploadedOriginals(node), f"{IDENT}.jpg", put, remove, kept=2)


PLACES: dict[str, Callable[[Path], contextlib.AbstractContextManager[Place]]] = {
    "folder": folder,
    "remote": remote,
    "remote, kept nowhere": full_disk,
    "uploads": uploads,
}
IN_BUCKETS = {
    "bucket": in_bucket,
    "bucket, kept nowhere": in_bucket_full_disk,
    "uploads in a bucket": bucket_uploads,
}


@pytest.fixture(params=[*PLACES, *(pytest.param(name, marks=needs_weed) for name in IN_BUCKETS)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    (tmp_path / "secret").write_bytes(SECRET)
    with contextlib.ExitStack() as stack:
        if request.param in IN_BUCKETS:
            server = request.getfixturevalue("s3_server")
            there = stack.enter_context(IN_BUCKETS[request.param](tmp_path, server))
        else:
            there = stack.enter_context(PLACES[request.param](tmp_path))
        there.put(b"content")
        yield there


def await_tick(folder: Path) -> None:
    """Wait until files that are written now have another time."""
    file = folder / "tick"
    file.touch()
    before = file.stat().st_ctime_ns
    while file.stat().st_ctime_ns == before:
        file.touch()


def read(source: Source, original: Original) -> tuple[bytes, Original]:
    with source.open(original) as (file, opened):
        return file.read(), opened


_opened: set[int] = set()
"""The inodes of files that were opened to be read."""


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open":
        path, _, flags = arguments
        if isinstance(path, str | bytes | os.PathLike) and not int(str(flags)) & os.O_PATH:
            with contextlib.suppress(OSError, ValueError):
                _opened.add(Path(os.fsdecode(path)).stat().st_ino)


sys.addaudithook(_note)


def test_what_is_found_is_not_opened(place: Place) -> None:
    first = place.source.find(place.name)
    _opened.clear()
    again = place.source.find(place.name)

    assert again.on_node.inode == first.on_node.inode
    assert again.on_node.inode not in _opened
    read(place.source, again)
    has_inode = again.on_node.inode and not place.keeps_bytes
    assert not has_inode or again.on_node.inode in _opened


def test_it_is_what_it_is_called_by_and_as_large_as_it_is(place: Place) -> None:
    found = place.source.find(place.name)

    assert found.id == place.source.id_of(place.name)
    assert found.size_bytes == 7
    assert found.modified_ns > 0


def test_what_did_not_change_has_the_same_version(place: Place) -> None:
    found = [place.source.find(place.name) for _ in range(3)]

    assert len({(one.id, one.version, one.validator, one.identity) for one in found}) == 1


def test_other_bytes_are_another_version(place: Place) -> None:
    """Of the same size, too, and with the same time stamp."""
    first = place.source.find(place.name)
    place.put(b"CONTENT")
    second = place.source.find(place.name)

    assert first.id == second.id
    assert first.validator != second.validator
    assert first.identity != second.identity
    assert read(place.source, second) == (b"CONTENT", second)


def test_what_is_opened_is_what_was_found(place: Place) -> None:
    found = place.source.find(place.name)

    assert read(place.source, found) == (b"content", found)
    assert read(found.source, found) == (b"content", found)


def test_what_was_replaced_meanwhile_says_so(place: Place) -> None:
    found = place.source.find(place.name)
    place.put(b"CONTENT")
    place.source.find(place.name)  # as another request may
    content, opened = read(place.source, found)

    assert (content == b"content") == (opened.identity == found.identity) == place.keeps_bytes
    assert opened.id == found.id


def test_what_has_gone_is_not_found(place: Place) -> None:
    found = place.source.find(place.name)
    place.remove()

    with pytest.raises(NotFound):
        place.source.find(place.name)
    if not place.keeps_bytes:
        with pytest.raises((NotFound, OriginalsUnavailable)):
            read(place.source, found)
    assert place.source.id_of(place.name) == found.id


def test_forgetting_counts_and_may_be_done_twice(place: Place) -> None:
    for forget in (partial(place.source.forget, place.name), place.source.forget_all):
        found = place.source.find(place.name)
        assert [forget(), forget()] == [place.kept, 0]
        again = place.source.find(place.name)
        assert (again.id, read(place.source, again)) == (found.id, (b"content", again))


def test_another_process_can_open_it(place: Place) -> None:
    found = place.source.find(place.name)
    done = subprocess.run(
        [sys.executable, "-c", OTHER_PROCESS],
        input=pickle.dumps(found),
        cwd=ROOT,
        capture_output=True,
        check=True,
    )

    assert pickle.loads(done.stdout) == (b"content", found.identity)  # noqa: S301 - from above


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../secret",
        "cats/../../secret",
        "{tmp_path}/secret",
        "/etc/passwd",
        "a\0b",
        "\ud800",
        "x" * 300,
        "file:///etc/passwd",
        "http://a.example/../secret",
        "http://127.0.0.1/secret",
        "http://a.example@127.0.0.1/",
    ],
)
def test_nothing_leads_out_of_a_source(place: Place, tmp_path: Path, name: str) -> None:
    name = name.format(tmp_path=tmp_path)
    found = place.source.find(place.name)
    with pytest.raises(ImageError):
        place.source.find(name)
    with contextlib.suppress(ImageError):
        assert read(place.source, replace(found, id=name))[0] == b"content"
    with contextlib.suppress(NotFound):
        place.source.id_of(name)
    with contextlib.suppress(NotFound):
        assert place.source.forget(name) == 0
    assert read(place.source, place.source.find(place.name))[0] == b"content"
