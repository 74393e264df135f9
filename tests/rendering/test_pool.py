"""Workers are processes of their own: real Apache, and workers that are killed."""

import contextlib
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import images
import pytest
import servers
from load import repeating
from servers import Answer, Server, await_true, has_open, serving

pytestmark = pytest.mark.apache

NASA = "/images/?name=nasa.jpeg"
SLOW = "width=1200&max_bytes=2000&bandwidth=4g&dpr=1&format=avif"

Serving = Callable[[str], contextlib.AbstractContextManager[Server]]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    images.save(folder / "nasa.jpeg", images.texture((3000, 2000)), "JPEG", quality=92)
    images.save(folder / "deadly.png", images.noise((4000, 3000)), "PNG", compress_level=1)
    return folder


@pytest.fixture
def started(tmp_path: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Serving:
    """Start a server with further settings, over copies of them."""
    originals = tmp_path_factory.mktemp("originals")
    shutil.copytree(pictures, originals, dirs_exist_ok=True)
    servers.open_up(originals)
    return lambda settings: serving(tmp_path, originals, settings=settings)


@pytest.fixture(scope="module")
def plain(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server as it is delivered, whose processes may be killed; at the end none is left."""
    servers.open_up(pictures)
    with serving(tmp_path_factory.mktemp("server"), pictures) as server:
        yield server
        workers = server.workers()
        assert workers
    await_true(lambda: not set(workers) & servers.all_processes().keys(), 10)


@contextlib.contextmanager
def killing(server: Server, name: str) -> Iterator[list[int]]:
    """Kill each worker that opens an original, as a decoder's crash would; yield which."""
    file, killed = server.originals / name, list[int]()

    def kill() -> None:
        for pid in server.workers():
            if pid not in killed and has_open(pid, file):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    with repeating(kill, 0.002):
        yield killed


def works_nicely(pid: int) -> bool:
    """Whether a thread of a process leaves the processor to others sooner than the first does."""
    niceness: dict[str, int] = {}
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            fields = (task / "stat").read_text().rpartition(")")[2].split()
            niceness[task.name] = int(fields[16])
    return max(niceness.values(), default=0) > niceness.get(str(pid), 0)


def run_folder(server: Server) -> Path:
    """Return where the socket of the workers is."""
    (descriptor, *_) = [
        descriptor.readlink().name.strip("socket:[]")
        for descriptor in Path(f"/proc/{server.workers()[0]}/fd").iterdir()
        if descriptor.readlink().name.startswith("socket:")
    ]
    (line,) = [
        line
        for line in Path("/proc/net/unix").read_text().splitlines()
        if descriptor in line.split() and "/" in line
    ]
    return Path(line.split()[-1]).parent


def at_once(server: Server, paths: list[str]) -> list[Answer]:
    with ThreadPoolExecutor(len(paths)) as pool:
        return list(pool.map(server.ask, paths))


def test_a_picture_that_kills_workers_is_given_up(started: Serving) -> None:
    """Asked for a hundred times it costs two workers, no daemon, and no other request."""
    with started("[rendering]\nworkers = 2\n") as server:
        daemons = server.daemons()
        with killing(server, "deadly.png") as killed:
            deadly = [f"/images/?name=deadly.png&width={100 + x}" for x in range(100)]
            with ThreadPoolExecutor(4) as pool:
                answers = list(pool.map(server.ask, deadly))
            others = [server.ask(f"{NASA}&width={200 + x}") for x in range(10)]

        assert {(answer.status, answer.headers["image-error"]) for answer in answers} == {
            (422, "deadly-original")
        }
        assert len(killed) == 2
        assert {answer.status for answer in others} == {200}
        assert server.daemons() == daemons
        # A new version of the file is another picture.
        images.save(server.originals / "deadly.png", images.four_colours((400, 300)), "PNG")
        assert server.ask("/images/?name=deadly.png&width=99").status == 200


def test_quarantine_ends(started: Serving) -> None:
    path = "/images/?name=deadly.png&width=300"
    with started("[rendering]\nquarantine_seconds = 3\n") as server:
        with killing(server, "deadly.png"):
            assert server.ask(path).status == 422
        assert server.ask(path).status == 422
        await_true(lambda: server.ask(path).status == 200, 10)


def test_who_asked_a_worker_that_is_killed_gets_the_picture_all_the_same(plain: Server) -> None:
    noise = plain.originals / "deadly.png"
    quarantine = run_folder(plain) / "quarantine"
    noted = {*quarantine.glob("*")}  # of what others asked for
    answers: list[Answer] = []
    client = threading.Thread(
        target=lambda: answers.append(plain.ask(f"/images/?name=deadly.png&{SLOW}"))
    )
    client.start()
    await_true(lambda: any(has_open(pid, noise) for pid in plain.workers()))
    (busy,) = [pid for pid in plain.workers() if has_open(pid, noise)]
    os.kill(busy, signal.SIGKILL)
    client.join()

    assert [answer.status for answer in answers] == [200]
    # It was not the picture's fault, however often that happens to it.
    assert {*quarantine.glob("*")} <= noted
    await_true(lambda: len(plain.workers()) == (os.cpu_count() or 1))
    assert busy not in plain.workers()


def test_workers_killed_over_the_best_leave_the_quick_one(started: Serving) -> None:
    """What nobody waits for is done at a lower priority, and given up as a visitor's picture is."""
    path = f"{NASA}&width=1200&bandwidth=4g&dpr=1&format=avif"
    with started("") as server:
        killed: list[int] = []

        def kill() -> None:
            for pid in server.workers():
                if pid not in killed and works_nicely(pid):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                    killed.append(pid)

        with repeating(kill, 0.002):
            quick = server.ask(path)
            await_true(lambda: len(killed) >= 2)
            past_caches = {"Cache-Control": "no-store"}
            await_true(lambda: "effort" not in decision(server.ask(path, past_caches)))
            left = server.ask(path, past_caches)
            # Visitors' pictures are made as ever.
            assert server.ask(f"{NASA}&width=1201&format=jpeg").status == 200
        assert decision(quick).endswith("; effort=quick")
        assert (left.status, left.body) == (200, quick.body)
        assert len(killed) == 2


def decision(answer: Answer) -> str:
    return answer.headers["image-decision"]


def test_all_workers_killed_are_replaced_within_a_moment(plain: Server) -> None:
    for width in (300, 400):
        for pid in plain.workers():
            os.kill(pid, signal.SIGKILL)
        begin = time.monotonic()
        assert plain.ask(f"{NASA}&width={width}").status == 200
        assert time.monotonic() - begin < 5
    await_true(lambda: len(plain.workers()) == (os.cpu_count() or 1))


def test_another_daemon_becomes_the_supervisor(plain: Server) -> None:
    first = set(plain.workers())
    supervisors = [pid for pid in plain.daemons() if set(servers.children(pid)) & first]
    assert len(supervisors) == 1
    os.kill(supervisors[0], signal.SIGKILL)
    begin = time.monotonic()

    assert plain.ask(f"{NASA}&width=301").status == 200
    assert time.monotonic() - begin < 5
    await_true(lambda: len(set(plain.workers()) - first) == len(first))
    await_true(lambda: not set(plain.workers()) & first)
    await_true(lambda: len(plain.daemons()) == servers.DAEMONS)


def test_a_stuck_worker_ends(started: Serving) -> None:
    """One that takes more time than it may is ended by the kernel, and the picture given up."""
    with started("[rendering]\nmax_processor_seconds = 1\n") as server:
        images.save(
            server.originals / "slow.png", images.noise((4700, 3200)), "PNG", compress_level=1
        )
        begin = time.monotonic()
        slow = "width=4096&height=4096&fit=force&max_bytes=2000&format=png&dpr=1&bandwidth=4g"
        answer = server.ask(f"/images/?name=slow.png&{slow}")
        assert (answer.status, answer.headers["image-error"]) == (422, "deadly-original")
        assert time.monotonic() - begin < 20
        assert server.ask(f"{NASA}&width=64").status == 200


def test_memory_is_limited_and_the_worker_lives(started: Serving) -> None:
    with started("[rendering]\nmax_memory_bytes = 100000000\nworkers = 1\n") as server:
        before = server.workers()
        big = server.originals / "big.png"
        images.save(big, images.four_colours((7000, 5000)), "PNG", compress_level=1)
        answer = server.ask("/images/?name=big.png&width=64")

        assert (answer.status, answer.headers["image-error"]) == (422, "oversized-original")
        assert server.ask(f"{NASA}&width=64").status == 200
        assert server.workers() == before


def test_what_only_a_large_rendition_has_no_memory_for_is_not_the_originals_fault(
    started: Serving,
) -> None:
    with started("[rendering]\nmax_memory_bytes = 150000000\nworkers = 1\n") as server:
        images.save(
            server.originals / "big.jpeg", images.noise((4900, 3266)), "JPEG", progressive=True
        )
        assert server.ask("/images/?name=big.jpeg&width=100").status == 200
        large = server.ask("/images/?name=big.jpeg&width=4000&format=jpeg")
        assert (large.status, large.headers["image-error"]) == (422, "oversized-original")
        assert server.ask("/images/?name=big.jpeg&width=101").status == 200


def test_too_many_are_refused_at_once_and_what_is_kept_is_sent(started: Serving) -> None:
    limits = "[rendering]\nworkers = 1\nmax_waiting_per_worker = 2\n"
    with started(limits) as server:
        kept = f"{NASA}&width=300&bandwidth=4g&dpr=1"
        assert server.ask(f"{kept}&x=1").status == 200
        slow = [f"/images/?name=deadly.png&{SLOW}&quality={60 - x}" for x in range(12)]
        begin = time.monotonic()
        with ThreadPoolExecutor(13) as pool:
            asked = [pool.submit(server.ask, path) for path in slow]
            await_true(lambda: any(known.done() for known in asked))
            refused_after = time.monotonic() - begin
            repeat = server.ask(f"{kept}&x=2")
            answers = [known.result() for known in asked]

        by_status = sorted(answer.status for answer in answers)
        assert by_status == [200] * 3 + [503] * 9
        assert refused_after < 1
        for answer in answers:
            if answer.status == 503:
                assert answer.headers["image-error"] == "overloaded"
                assert 1 <= int(answer.headers["retry-after"]) <= 3
                assert answer.headers["cache-control"] == "no-store"
        assert repeat.status == 200
        assert server.ask(f"{NASA}&width=301").status == 200


def test_who_would_be_refused_may_get_the_picture_of_a_worse_bandwidth(started: Serving) -> None:
    """The best that is kept, marked, and not to be kept by anybody."""
    limits = "[rendering]\nworkers = 1\nmax_waiting_per_worker = 0\n"
    with started(f"{limits}cheaper_when_overloaded = yes\n") as server:
        screen = f"{NASA}&screen=phone&format=jpeg"
        # The placeholder's own rendition may have the one place there is.
        await_true(lambda: server.ask(f"{screen}&bandwidth=2g").status == 200)
        kept = [server.ask(f"{screen}&bandwidth={known}") for known in ("2g", "3g")]
        slow = f"/images/?name=deadly.png&{SLOW}"
        client = threading.Thread(target=server.ask, args=(slow,))
        client.start()
        await_true(lambda: server.ask("/images/-/ready").status == 503)
        cheaper = server.ask(f"{screen}&bandwidth=4g")
        refused = server.ask(f"{NASA}&width=77")
        client.join()

        assert (cheaper.status, cheaper.body) == (200, kept[1].body)
        assert cheaper.headers["imagekey"] == kept[1].headers["imagekey"]
        assert cheaper.headers["image-decision"].endswith("; cheaper=overloaded")
        assert cheaper.headers["cache-control"] == "no-store"
        assert (refused.status, refused.headers["image-error"]) == (503, "overloaded")
        right = server.ask(f"{screen}&bandwidth=4g&x=1")
        assert (right.status, "cheaper" in right.headers["image-decision"]) == (200, False)
        assert server.ask("/images/-/ready").status == 200


def test_a_broken_original_is_opened_once(plain: Server) -> None:
    (plain.originals / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0broken")
    for width in range(100, 105):
        assert plain.ask(f"/images/?name=broken.jpg&width={width}").status == 422
    lines = (plain.logs / "requests.log").read_text().splitlines()

    details = [json.loads(line)["detail"] for line in lines if "broken-original" in line]
    assert ["(remembered)" in detail for detail in details] == [False] + [True] * 4
