"""The run folder and the socket in it, as neighbours and strangers may leave them."""

import socket
from pathlib import Path

import pytest

from imgprocessor.rendering.admission import Admission
from imgprocessor.rendering.pool import WorkerPool
from imgprocessor.rendering.quarantine import Quarantine
from imgprocessor.rendering.run_folder import SOCKET
from imgprocessor.storage.locks import Locks


@pytest.fixture
def pool(tmp_path: Path) -> WorkerPool:
    return WorkerPool(
        tmp_path,
        Admission(Locks(tmp_path / "locks"), 1),
        Quarantine(tmp_path / "quarantine", 1),
        wait_seconds=1,
        answer_seconds=3,
    )


def test_asking_for_workers_all_the_time_takes_no_room_from_jobs(
    pool: WorkerPool, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(tmp_path / SOCKET))
        busy.listen(8)
        busy.setblocking(False)
        assert all(pool.has_workers() for _ in range(100))
        busy.accept()[0].close()
        with pytest.raises(BlockingIOError):
            busy.accept()


def test_workers_that_many_wait_for_are_there(pool: WorkerPool, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(str(tmp_path / SOCKET))
        busy.listen(0)
        waiting.connect(str(tmp_path / SOCKET))
        assert pool.has_workers()


def test_workers_that_have_gone_are_not_there(pool: WorkerPool, tmp_path: Path) -> None:
    assert not pool.has_workers()
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(tmp_path / SOCKET))
    assert not pool.has_workers()
