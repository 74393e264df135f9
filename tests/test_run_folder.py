"""The run folder and the socket in it, as neighbours and strangers may leave them."""

import socket
from pathlib import Path

import pytest

from imgprocessor.gate import Gate
from imgprocessor.places import Places
from imgprocessor.quarantine import Quarantine
from imgprocessor.renderers import SOCKET, Renderers


@pytest.fixture
def renderers(tmp_path: Path) -> Renderers:
    return Renderers(
        tmp_path,
        Places(Gate(tmp_path / "locks"), 1),
        Quarantine(tmp_path / "quarantine", 1),
        max_wait_seconds=1,
        max_render_seconds=1,
    )


def test_asking_for_renderers_all_the_time_takes_no_room_from_jobs(
    renderers: Renderers, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(tmp_path / SOCKET))
        busy.listen(8)
        busy.setblocking(False)
        assert all(renderers.are_there() for _ in range(100))
        busy.accept()[0].close()
        with pytest.raises(BlockingIOError):
            busy.accept()


def test_renderers_that_many_wait_for_are_there(renderers: Renderers, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(str(tmp_path / SOCKET))
        busy.listen(0)
        waiting.connect(str(tmp_path / SOCKET))
        assert renderers.are_there()


def test_renderers_that_have_gone_are_not_there(renderers: Renderers, tmp_path: Path) -> None:
    assert not renderers.are_there()
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(tmp_path / SOCKET))
    assert not renderers.are_there()
