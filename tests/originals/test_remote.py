"""Originals from elsewhere: fetched once, kept as they came, forgotten when they are old."""

import contextlib
import json
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from origins import PUBLIC, URL, Host, answer, host_in
from servers import await_true

from imgprocessor.errors import (
    Busy,
    ImageError,
    NotFound,
    OriginalsUnavailable,
    OriginBusy,
    OriginFailed,
    OriginForbidden,
    OriginTimeout,
    OversizedOriginal,
)
from imgprocessor.originals.folder import Folder
from imgprocessor.originals.local_copies import LocalCopies
from imgprocessor.originals.remote import Remote
from imgprocessor.originals.source import CopyRecord, Original, Source
from imgprocessor.storage.generation import Generations


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with host_in(tmp_path) as there:
        yield there


def read(remote: Source, original: Original) -> bytes:
    with remote.open(original) as (file, opened):
        assert opened.identity == original.identity
        return file.read()


def test_an_original_is_fetched_once_for_all_processes(host: Host) -> None:
    host.replies["/a.jpg"] = answer(b"picture", Cache_Control="max-age=100")
    one, other = host.remote(), host.remote()

    found = [one.find(URL), other.find(URL), one.find(URL)]

    assert host.asked == 1
    assert found[0] == found[1] == found[2]
    assert read(one, found[0]) == read(other, found[0]) == b"picture"
    assert found[0].id == one.id_of(URL) == URL


def test_what_is_kept_is_a_plain_file_that_any_process_can_open(host: Host) -> None:
    host.replies["/a.jpg"] = answer(b"picture")
    found = host.remote().find(URL)

    folder = Folder(host.folder / "remote", 1000)
    plain = folder.find(host.picture())
    with folder.open(plain) as (file, opened):
        assert file.read() == b"picture"
        assert (opened.size_bytes, opened.modified_ns) == (found.size_bytes, found.modified_ns)


def test_what_is_old_is_asked_after_and_stays_the_same_file(host: Host) -> None:
    host.replies["/a.jpg"] = answer(b"picture", ETag='"1"', Cache_Control="max-age=100")
    remote = host.remote()
    first = remote.find(URL)
    host.late = 101

    second = remote.find(URL)

    assert host.asked == 2
    assert b'If-None-Match: "1"' in host.there.requests[1]
    assert first == second
    assert remote.find(URL) == first
    assert host.asked == 2


def test_a_validator_may_have_any_bytes(host: Host) -> None:
    etag = '"\xe9t\xe9"'
    host.replies["/a.jpg"] = answer(b"picture", ETag=etag, Cache_Control="max-age=100")
    remote = host.remote()
    first = remote.find(URL)
    host.late = 101

    assert remote.find(URL) == first
    assert f"If-None-Match: {etag}".encode("latin-1") in host.there.requests[1]


def test_the_same_bytes_once_more_are_the_same_version(host: Host) -> None:
    host.replies["/a.jpg"] = answer(b"picture", Cache_Control="max-age=100")
    remote = host.remote()
    first = remote.find(URL)
    host.late = 101
    assert remote.find(URL) == first
    assert host.asked == 2

    host.replies["/a.jpg"] = answer(b"other", Cache_Control="max-age=100")
    host.late = 202
    other = remote.find(URL)
    assert other.version != first.version
    assert other.id == first.id
    assert read(remote, other) == b"other"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (answer(b"", "500 Odd"), OriginFailed),
        (b"wait", OriginTimeout),
        (answer(b"x", Content_Encoding="gzip"), OriginFailed),
        (answer(b"half", Content_Length="5"), OriginFailed),
    ],
)
def test_while_a_host_fails_what_is_old_is_used_for_a_while(
    host: Host, reply: bytes, error: type[ImageError]
) -> None:
    host.replies["/a.jpg"] = answer(b"picture", Cache_Control="max-age=100")
    remote = host.remote(max_stale_seconds=1000)
    first = remote.find(URL)
    host.replies["/a.jpg"] = reply

    host.late = 1000
    assert remote.find(URL) == first
    host.late = 1101
    with pytest.raises(error):
        host.remote(max_stale_seconds=1000).find(URL)
    with pytest.raises(error, match="a moment ago"):
        remote.find(URL)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (answer(b"", "404 Not Found"), NotFound),
        (answer(b"", "410 Gone"), NotFound),
        (answer(b"", "302 Found", Location="http://127.0.0.1/"), OriginForbidden),
        (answer(b"", Content_Length="20971521"), OversizedOriginal),
    ],
)
def test_what_a_host_says_for_sure_counts_at_once(
    host: Host, reply: bytes, error: type[ImageError]
) -> None:
    host.replies["/a.jpg"] = answer(b"picture", Cache_Control="max-age=100")
    remote = host.remote()
    remote.find(URL)
    host.replies["/a.jpg"] = reply
    host.late = 101

    for _ in range(2):
        with pytest.raises(error):
            remote.find(URL)
    assert host.asked == 2


def test_a_failure_is_remembered_for_its_url_alone(host: Host) -> None:
    remote = host.remote(failed_seconds=600)
    for _ in range(5):
        with pytest.raises(NotFound):
            remote.find(URL)
    assert host.asked == 1
    host.replies["/b.jpg"] = answer(b"picture")
    assert read(remote, remote.find("http://a.example/b.jpg")) == b"picture"


def test_a_failure_is_remembered_no_longer_than_it_should(host: Host) -> None:
    remote = host.remote(failed_seconds=1)
    began = time.monotonic()
    with pytest.raises(NotFound):
        remote.find(URL)
    host.replies["/a.jpg"] = answer(b"picture")

    def is_found() -> bool:
        with contextlib.suppress(NotFound):
            return read(remote, remote.find(URL)) == b"picture"
        return False

    await_true(is_found)
    assert time.monotonic() - began >= 1
    assert host.asked == 2


def test_a_host_that_cannot_be_reached_is_asked_for_nothing_else(host: Host) -> None:
    host.wires.port = 1
    remote = host.remote()
    for path in range(5):
        with pytest.raises(OriginFailed):
            remote.find(f"http://a.example/{path}")
    assert len(host.wires.dialled) == 1
    with pytest.raises(OriginFailed):
        remote.find("http://b.example/")
    assert len(host.wires.dialled) == 2
    host.wires.port = host.there.port
    host.replies["/0"] = answer(b"picture")
    remote.forget("http://a.example/0")
    assert read(remote, remote.find("http://a.example/0")) == b"picture"


def test_a_host_is_not_down_for_all_because_it_is_asked_in_a_way_that_cannot_be(host: Host) -> None:
    host.replies["/a.jpg"] = answer(b"picture")
    remote = host.remote()
    with pytest.raises((OriginFailed, OriginTimeout)):
        remote.find("https://a.example:80/a.jpg")  # TLS, where nobody speaks it
    assert read(remote, remote.find(URL)) == b"picture"


def test_failures_take_bounded_room(host: Host) -> None:
    remote = host.remote()
    remote._failures.forget("x")  # noqa: SLF001 - memory is the point
    for number in range(5000):
        remote._failures.remember(str(number), NotFound())  # noqa: SLF001
    assert len(remote._failures._until) == 1024  # noqa: SLF001
    assert not (host.folder / "remote").exists()


def test_of_equal_fetches_one_goes_out(host: Host) -> None:
    host.replies["/a.jpg"] = answer(b"picture" * 1000)
    remotes = [host.remote() for _ in range(12)]
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda remote: remote.find(URL), remotes))
    assert host.asked == 1
    assert len(set(found)) == 1


def _find(remote_of: Callable[[], Remote], say: "multiprocessing.Queue[str]") -> None:
    try:
        say.put(remote_of().find(URL).version)
    except ImageError as error:
        say.put(error.code)


def test_of_equal_fetches_one_goes_out_over_processes(host: Host) -> None:
    host.replies["/a.jpg"] = answer(b"picture" * 1000)
    context = multiprocessing.get_context("fork")
    said: multiprocessing.Queue[str] = context.Queue()
    workers = [context.Process(target=_find, args=(host.remote, said)) for _ in range(4)]
    for worker in workers:
        worker.start()
    versions = {said.get(timeout=10) for _ in workers}
    for worker in workers:
        worker.join()
    assert host.asked == 1
    assert len(versions) == 1


@pytest.mark.slow
def test_waiting_for_somebody_elses_fetch_ends(host: Host) -> None:
    host.replies["/a.jpg"] = b"wait"
    one, other = host.remote(), host.remote()
    with ThreadPoolExecutor(2) as pool:
        began = time.monotonic()
        outcomes = [pool.submit(remote.find, URL) for remote in (one, other)]
        errors = [outcome.exception() for outcome in outcomes]
        assert time.monotonic() - began < 2.6
    assert all(isinstance(error, (OriginTimeout, Busy)) for error in errors)


@pytest.mark.slow
def test_who_has_something_old_does_not_wait_for_who_fetches(host: Host) -> None:
    host.replies["/a.jpg"] = answer(b"picture", Cache_Control="max-age=100")
    one, other = host.remote(), host.remote()
    first = one.find(URL)
    host.late = 101
    host.replies["/a.jpg"] = b"wait"
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(one.find, URL)
        await_true(lambda: host.asked >= 2, 5)
        began = time.monotonic()
        assert other.find(URL) == first
        assert time.monotonic() - began < 0.3
        assert slow.result() == first


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limits", "urls", "most"),
    [
        ({"max_host_fetches": 2}, ["http://a.example/{}"], 2),
        (
            {"max_host_fetches": 8, "max_fetches": 3},
            ["http://a.example/{}", "http://b.example/{}"],
            3,
        ),
    ],
)
def test_few_are_fetched_at_once_and_nobody_waits_to_be_one(
    host: Host, limits: dict[str, int], urls: list[str], most: int
) -> None:
    for path in range(6):
        host.replies[f"/{path}"] = b"wait"
    remotes = [host.remote(**limits) for _ in range(6)]
    took: list[tuple[float, str]] = []

    def find(number: int) -> None:
        began = time.monotonic()
        with contextlib.suppress(ImageError):
            try:
                remotes[number].find(urls[number % len(urls)].format(number))
            except ImageError as error:
                took.append((time.monotonic() - began, error.code))
                raise

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(find, range(6)))

    assert host.asked == most
    quick = [seconds for seconds, code in took if code == OriginBusy.code]
    assert len(quick) == 6 - most
    assert max(quick) < 0.5
    assert [code for _, code in took].count(OriginTimeout.code) == most


@pytest.mark.slow
def test_who_waits_for_somebody_else_who_fetches_the_same_is_one_of_the_few(host: Host) -> None:
    """Each keeps a thread: a slow URL that is asked for often must not take all there are."""
    host.replies["/a.jpg"] = b"wait"
    remotes = [host.remote(max_fetches=3) for _ in range(8)]

    def refused_quickly(remote: Remote) -> bool:
        began = time.monotonic()
        with pytest.raises(ImageError) as refused:
            remote.find(URL)
        return refused.value.code == OriginBusy.code and time.monotonic() - began < 0.5

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(refused_quickly, remotes)) == 8 - 3


def test_slots_are_free_again_afterwards(host: Host) -> None:
    remote = host.remote(max_host_fetches=1, max_fetches=1)
    for path in range(3):
        host.replies[f"/{path}"] = answer(b"picture")
        remote.find(f"http://a.example/{path}")
        with pytest.raises(NotFound):
            remote.find(f"http://a.example/none{path}")
    assert host.asked == 6


def test_a_purge_forgets_and_fetches_anew(host: Host) -> None:
    host.replies["/a.jpg"] = answer(b"picture")
    remote = host.remote()
    first = remote.find(URL)
    assert remote.forget(URL) == 2
    assert remote.forget(URL) == 0
    with pytest.raises(OriginalsUnavailable), remote.open(first):
        pass
    host.replies["/a.jpg"] = answer(b"other")
    assert read(remote, remote.find(URL)) == b"other"
    assert remote.forget_all() == 2


def test_what_was_being_fetched_before_a_purge_is_not_kept(host: Host) -> None:
    began, purged = threading.Event(), threading.Event()
    remote = host.remote()
    fetch = remote._fetcher.copy  # noqa: SLF001 - a purge in the middle of a fetch

    def slowly(*args: object, **named: object) -> object:
        got = fetch(*args, **named)  # type: ignore[arg-type]
        began.set()
        purged.wait(10)
        return got

    remote._fetcher.copy = slowly  # type: ignore[assignment,method-assign] # noqa: SLF001
    host.replies["/a.jpg"] = answer(b"picture")
    with ThreadPoolExecutor(1) as pool:
        outcome = pool.submit(remote.find, URL)
        began.wait(10)
        Generations(host.folder).begin()
        assert remote.forget(URL) == 0
        purged.set()
        assert read(remote, outcome.result()) == b"picture"
    kept = (host.folder / "remote" / "entries").rglob("*")
    assert not [path for path in kept if path.is_file()]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"pictuRe"),
        lambda path: path.write_bytes(b"pict"),
        lambda path: path.write_bytes(b""),
    ],
)
def test_what_is_damaged_is_never_shown_and_fetched_anew(
    host: Host, damage: Callable[[Path], object]
) -> None:
    host.replies["/a.jpg"] = answer(b"picture", ETag='"1"')
    remote = host.remote()
    remote.find(URL)
    damage(Path(host.picture()))
    found = remote.find(URL)

    with pytest.raises(OriginalsUnavailable, match="damaged"), remote.open(found):
        pass

    assert any("is damaged" in text for text in host.complaints)
    assert host.kept.damages.read() == 1  # what the metrics show
    assert read(remote, remote.find(URL)) == b"picture"
    assert host.asked == 2


def test_what_was_purged_while_it_was_opened_is_no_damage(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or each purge of a picture that is asked for would look like a disk that fails."""
    host.replies["/a.jpg"] = answer(b"picture")
    remote = host.remote()
    found = remote.find(URL)
    facts = LocalCopies.record

    def purged(copies: LocalCopies, url: str) -> CopyRecord | None:
        remote.forget(url)  # in the middle
        return facts(copies, url)

    monkeypatch.setattr(LocalCopies, "record", purged)
    with pytest.raises(OriginalsUnavailable, match="gone"), remote.open(found):
        pass

    assert host.complaints == []
    assert host.kept.damages.read() == 0  # what the metrics show


@pytest.mark.parametrize("what", ["picture", "facts"])
def test_where_half_of_it_is_gone_it_is_fetched_anew(host: Host, what: str) -> None:
    host.replies["/a.jpg"] = answer(b"picture", ETag='"1"')
    remote = host.remote()
    first = remote.find(URL)
    Path(host.kept.path(URL, what)).unlink()  # as the collector may
    second = remote.find(URL)
    assert read(remote, second) == b"picture"
    assert host.asked == 2
    assert b"If-None-Match" not in host.there.requests[1]
    if what == "facts":
        assert first == second  # the bytes are the same


def test_a_link_in_its_place_leads_nowhere(host: Host, tmp_path: Path) -> None:
    host.replies["/a.jpg"] = answer(b"picture")
    remote = host.remote()
    remote.find(URL)
    path = Path(host.picture())
    (tmp_path / "secret").write_bytes(b"secret")
    path.unlink()
    path.symlink_to(tmp_path / "secret")
    assert read(remote, remote.find(URL)) == b"picture"


@pytest.mark.parametrize("broken", ["no room", "no folder"])
def test_where_nothing_can_be_kept_it_is_still_shown(host: Host, broken: str) -> None:
    host.replies["/a.jpg"] = answer(b"picture")
    if broken == "no room":
        remote = host.remote(max_kept_bytes=4096)
    else:
        (host.folder / "remote").write_text("a file")
        remote = host.remote()
    for asked in (1, 2):
        assert read(remote, remote.find(URL)) == b"picture"
        assert host.asked == asked
    assert any("nobody counts" in text for text in host.complaints) == (broken == "no folder")


@pytest.mark.slow
def test_the_cap_is_never_exceeded_and_what_is_used_stays(host: Host) -> None:
    remote = host.remote(max_kept_bytes=4_000_000, max_host_fetches=16)
    used = "http://a.example/used"
    for path in ("/used", *(f"/{number}" for number in range(100))):
        host.replies[path] = answer(bytes(100_000), Cache_Control="max-age=1000")
    first = remote.find(used)
    kept = host.folder / "remote" / "entries"
    for number in range(100):
        remote.find(f"http://a.example/{number}")
        time.sleep(0.01)
        assert remote.find(used) == first, number
        host.kept.settle()  # what it collects in the background
        assert sum(path.stat().st_blocks * 512 for path in kept.rglob("*") if path.is_file()) < 4e6
    assert host.asked == 101
    groups = {path.parent for path in kept.rglob("*") if path.is_file()}
    assert 20 < len(groups) < 40
    # The last facts may have found no room.
    assert sum(len(list(group.iterdir())) != 2 for group in groups) <= 1


def test_record_of_another_version_are_none(host: Host) -> None:
    host.replies["/a.jpg"] = answer(b"picture")
    remote = host.remote()
    first = remote.find(URL)
    content = json.dumps({"something": "else"}).encode()
    host.kept.put(URL, "facts", len(content), [content])  # as another would
    assert remote.find(URL) == first
    assert host.asked == 2


def test_a_clock_that_went_back_makes_nothing_fresh_for_ever(host: Host) -> None:
    host.replies["/a.jpg"] = answer(b"picture", ETag='"1"', Cache_Control="max-age=100")
    remote = host.remote()
    host.late = 1_000_000
    first = remote.find(URL)
    host.late = 0
    assert remote.find(URL) == first
    assert host.asked == 2
    assert remote.find(URL) == first
    assert host.asked == 2


def test_only_the_public_address_was_ever_dialled(host: Host) -> None:
    host.replies["/a.jpg"] = answer(b"", "302 Found", Location="//localhost/")
    with pytest.raises(OriginForbidden):
        host.remote().find(URL)
    assert {address for address, _ in host.wires.dialled} == {PUBLIC}
