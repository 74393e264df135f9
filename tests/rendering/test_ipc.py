"""What daemons and workers say to each other: words and objects, over a socket that gives up."""

import socket
import threading

import pytest

from imgprocessor.rendering.ipc import (
    ANSWER_BYTES,
    BEGUN,
    DECODED,
    DONE,
    receive,
    send,
    wait_at_most,
)


@pytest.mark.parametrize("size", [0, 1, 100, 300_000])
@pytest.mark.parametrize("words", [BEGUN + DECODED, BEGUN])
def test_an_answer_is_taken_as_soon_as_its_length_is_there(size: int, words: bytes) -> None:
    here, there = socket.socketpair()
    with here, there:
        wait_at_most(here, 20)

        def answer() -> None:
            there.sendall(words)
            send(there, b"x" * size, after=DONE)

        worker = threading.Thread(target=answer)
        worker.start()
        said = here.recv(ANSWER_BYTES, socket.MSG_WAITALL)
        heard, done, rest = said.partition(DONE)

        assert (heard, done) == (words, DONE)
        assert receive(here, rest) == b"x" * size
        worker.join()


def test_a_time_out_that_all_sockets_have_does_not_count() -> None:
    """Celery's, as a worker ends: a job in its hands would be taken for a deadly one."""
    socket.setdefaulttimeout(5)
    try:
        here, there = socket.socketpair()
    finally:
        socket.setdefaulttimeout(None)
    with here, there:
        wait_at_most(here, 20)
        there.sendall(BEGUN)
        later = threading.Timer(0.05, send, (there, b"x"), {"after": DECODED + DONE})
        later.start()
        said = here.recv(ANSWER_BYTES, socket.MSG_WAITALL)

        assert said.startswith(BEGUN + DECODED + DONE)
        later.join()


def test_what_was_said_before_the_end_is_heard() -> None:
    here, there = socket.socketpair()
    with here, there:
        wait_at_most(here, 20)
        there.sendall(BEGUN + DECODED)
        there.close()

        assert here.recv(ANSWER_BYTES, socket.MSG_WAITALL) == BEGUN + DECODED
        with pytest.raises(EOFError):
            receive(here)


def test_the_kernel_gives_up() -> None:
    here, there = socket.socketpair()
    with here, there:
        wait_at_most(here, 0.05)
        with pytest.raises(OSError, match="temporarily unavailable"):
            receive(here)
        there.sendall(BEGUN)
        assert here.recv(ANSWER_BYTES, socket.MSG_WAITALL) == BEGUN
