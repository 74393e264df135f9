"""The supervisor and its workers without Apache: what they outlive, and what is said of them."""

import contextlib
import multiprocessing
import os
import signal
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import images
import pytest
from origins import URL, answer, host_in, public
from servers import await_true, children

from imgprocessor.app import make_web
from imgprocessor.config.settings import Settings
from imgprocessor.errors import ConfigurationError, DeadlyOriginal
from imgprocessor.originals.http.fetch import Fetcher
from imgprocessor.parts import make_delivery
from imgprocessor.rendering.admission import Admission
from imgprocessor.rendering.ipc import READY
from imgprocessor.rendering.pool import WorkerPool
from imgprocessor.rendering.process import make_locks, run_folder
from imgprocessor.rendering.quarantine import Quarantine
from imgprocessor.rendering.run_folder import SOCKET, make_run_folder
from imgprocessor.rendering.supervisor import Supervisor
from imgprocessor.service.understanding import Incoming
from imgprocessor.storage.locks import Locks


@pytest.fixture
def here(settings: Settings) -> Iterator[Settings]:
    """Settings whose run folder is the test's; its path is short, as sockets' must be."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield replace(settings, rendering=replace(settings.rendering, run_folder=Path(folder)))


def _lead(settings: Settings, complain: Callable[[str], None]) -> None:
    os.setsid()
    Supervisor(run_folder(settings), 1, settings, complain).start()
    signal.pause()


@contextlib.contextmanager
def supervisor(settings: Settings) -> Iterator[tuple[int, "multiprocessing.SimpleQueue[str]"]]:
    """Run one in a process of its own; yield its number and its complaints."""
    context = multiprocessing.get_context("fork")
    said: multiprocessing.SimpleQueue[str] = context.SimpleQueue()
    process = context.Process(target=_lead, args=(settings, said.put), daemon=True)
    process.start()
    try:
        yield process.pid or 0, said
    finally:
        process.kill()
        process.join()


def quarantine_of(settings: Settings) -> Quarantine:
    """Return what all daemons share."""
    return Quarantine(run_folder(settings) / "quarantine", 600)


def pool_of(settings: Settings) -> WorkerPool:
    """Return what a daemon would have."""
    return WorkerPool(
        run_folder(settings),
        Admission(make_locks(settings.disk_cache), 3),
        quarantine_of(settings),
        wait_seconds=5,
        answer_seconds=15,
    )


def test_a_job_of_another_version_costs_no_worker(here: Settings) -> None:
    """While daemons are replaced one by one, some hand over what others cannot read."""
    pool = pool_of(here)
    job = b"cimgprocessor.rendering.job\nJobOfNextYear\n."
    with supervisor(here) as (leader, _):
        await_true(pool.has_workers)
        before = children(leader)
        # There is one worker: the next is answered by that one, or the one in its place.
        for _ in range(3):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(10)
                connection.connect(str(run_folder(here) / SOCKET))
                connection.sendall(struct.pack("<Q", len(job)) + job)
                assert [connection.recv(1), connection.recv(1)] == [READY, b""]
        assert children(leader) == before


def test_what_killed_others_meanwhile_is_not_handed_over(here: Settings) -> None:
    delivery = make_delivery(here, renderer=pool_of(here))
    found = delivery.find(delivery.understand(Incoming("name=nasa.jpeg&width=64", {})))
    said: list[bytes] = []

    def be_a_worker(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            for _ in range(2):
                quarantine_of(here).note_death(found.original)
            connection.sendall(READY)
            said.append(connection.recv(1))

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(run_folder(here) / SOCKET))
        listener.listen()
        worker = threading.Thread(target=be_a_worker, args=(listener,))
        worker.start()
        with pytest.raises(DeadlyOriginal, match="not opened"):
            delivery.render(found)
        worker.join()

    assert said == [b""]


def test_a_worker_opens_what_was_fetched_and_refuses_what_is_damaged(
    here: Settings, tmp_path: Path
) -> None:
    remote = replace(here.remote, hosts=("a.example",), folder=tmp_path / "remote")
    picture = images.encoded(images.texture((60, 40)), "JPEG")
    pool = pool_of(here)
    with host_in(tmp_path) as host, supervisor(here):
        await_true(pool.has_workers)
        host.replies["/a.jpg"] = answer(picture, Cache_Control="max-age=100")
        fetcher = Fetcher(remote, resolve=public, dial=host.wires.dial)
        client = make_web(replace(here, remote=remote), pool, fetcher).test_client()
        assert client.get(f"/images/?url={URL}&width=20").status_code == 200
        (kept,) = (
            path
            for path in (tmp_path / "remote/entries").rglob("*")
            if path.is_file() and path.read_bytes() == picture
        )
        kept.write_bytes(picture[:-1] + b"x")
        # What was made of it before is good: its version is the bytes that came.
        assert client.get(f"/images/?url={URL}&width=20").status_code == 200
        statuses = [client.get(f"/images/?url={URL}&width=30").status_code for _ in range(2)]

    assert statuses == [503, 200]
    assert host.asked == 2


def test_where_no_worker_can_start_the_node_is_not_ready(
    here: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgprocessor.rendering.supervisor._python", lambda: "/bin/false")
    with supervisor(here) as (_, said):
        await_true(lambda: not said.empty())
        assert "none can start: status 1" in said.get()
        pool = pool_of(here)
        assert not pool.has_workers()
        ready = make_web(here, pool).test_client().get("/images/-/ready")
        assert (ready.status_code, ready.get_json()["checks"]["renderers"]) == (
            503,
            "there is none",
        )


def test_run_folders_that_no_daemon_uses_are_removed(here: Settings, tmp_path: Path) -> None:
    own = run_folder(here)

    def sibling(named: str) -> Path:
        return own.with_name(f"imgprocessor-{named}")

    user = os.geteuid()
    left, used, new, link, former = (sibling(f"{user}-{digit * 16}") for digit in "01236")
    others = sibling(f"{user + 1}-{'4' * 16}")
    something_else = sibling(f"{user}-originals")
    for folder in (left, used, former, new, others, something_else):
        folder.mkdir()
        (folder / "locks").touch()
    link.symlink_to(tmp_path)
    kept = {own, used, former, new, others, something_else, link}
    if user == 0:
        foreign = sibling(f"{user}-{'5' * 16}")
        foreign.mkdir()
        os.chown(foreign, 1, -1)
        kept.add(foreign)
    for folder in {left, *kept} - {new}:
        os.utime(folder, (time.time() - 3700,) * 2, follow_symlinks=False)
    with (
        Locks(used / "locks").held("supervisor", 0),
        Locks(former / "locks").held("foreman", 0),  # as programs named it before
        supervisor(here),
    ):
        await_true(pool_of(here).has_workers)

    assert set(own.parent.iterdir()) == kept
    assert tmp_path.exists()


def test_a_run_folder_that_was_made_anew_is_closed_to_others(here: Settings) -> None:
    folder = run_folder(here)
    folder.chmod(0o750)

    assert run_folder(here) == folder
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
def test_a_run_folder_that_others_could_write_to_is_refused(here: Settings, mode: int) -> None:
    run_folder(here).chmod(mode)

    with pytest.raises(ConfigurationError, match="this user's alone"):
        run_folder(here)


def test_a_run_folder_too_long_for_a_socket_is_refused_at_the_start(tmp_path: Path) -> None:
    (deep := tmp_path / ("x" * 60)).mkdir()
    with pytest.raises(ConfigurationError, match="too long"):
        make_run_folder(deep, "store")


def test_a_link_in_the_run_folders_place_is_refused(here: Settings, tmp_path: Path) -> None:
    folder = run_folder(here)
    folder.rmdir()
    folder.symlink_to(tmp_path)

    with pytest.raises(ConfigurationError, match="this user's alone"):
        run_folder(here)
