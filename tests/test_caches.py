"""The client and the servers that tests of caches use."""

import socket
import threading
from collections.abc import Iterator

import caches
import pytest

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        yield listener


def _answers(listener: socket.socket, counts: list[int]) -> threading.Thread:
    """Answer so many requests on each connection, then close it."""

    def serve() -> None:
        for count in counts:
            there, _ = listener.accept()
            with there:
                for _ in range(count):
                    there.recv(65_536)
                    there.sendall(ANSWER)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_a_connection_that_was_closed_while_idle_is_opened_anew(listener: socket.socket) -> None:
    thread = _answers(listener, [1, 2])
    with caches.connection(listener.getsockname()[1]) as connection:
        statuses = [connection.ask("/")[0] for _ in range(3)]
    thread.join()

    assert statuses == [200, 200, 200]


def test_a_new_connection_that_is_closed_without_an_answer_is_a_failure(
    listener: socket.socket,
) -> None:
    thread = _answers(listener, [1, 0])
    with caches.connection(listener.getsockname()[1]) as connection:
        connection.ask("/")
        with pytest.raises(ConnectionResetError):
            connection.ask("/")
    thread.join()
