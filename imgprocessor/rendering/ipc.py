"""What daemons and workers say to each other over a socket: single bytes, and pickled objects.

Not `multiprocessing.connection`: what is said over one job, with an answer of 100 kB, takes 94 us
like this, 170 with its `send` and `poll`, and 146 with its `send_bytes` alone (medians of 9,000).
"""

import pickle
import signal
import socket
import struct
from typing import Any

READY, BEGUN, DECODED, DONE = b"?", b"+", b"d", b"="
"""What a worker says: it takes a job, has it, has decoded the original; the result follows. With
`BEGUN` comes a descriptor of the worker's process, for those who said that they may have to end it.
"""

CALL_OFF = signal.SIGUSR1
"""Ends a worker over a job that nobody wants any more, whatever a decoder does. Its supervisor
starts another, and complains of nothing.
"""

ANSWER_BYTES = 11
"""What an answer has at least: three words and the length of the result, or two, which a byte of
the result follows. Who waits for so many at once is woken once.
"""

_LENGTH = struct.Struct("<Q")

_TIME = struct.Struct("@ll")
"""`struct timeval`: seconds and microseconds."""

_MAX_BYTES = 1 << 30
"""More than any rendition has; so that nonsense is no reason to reserve all memory."""


def send(connection: socket.socket, message: object, *, after: bytes = b"") -> None:
    """Send one object, after a word.

    Raises:
        OSError: the other end has gone, or takes too long.
    """
    data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    connection.sendall(after + _LENGTH.pack(len(data)) + data)


def receive(connection: socket.socket, begun: bytes = b"") -> Any:
    """Receive one object, of which `begun` has come already; only ever from a socket that no other
    user can reach.

    Raises:
        EOFError: the other end has gone.
        OSError: it takes too long.
    """
    head, body = begun[: _LENGTH.size], begun[_LENGTH.size :]
    (size,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size, head))
    if size > _MAX_BYTES:
        raise EOFError(f"{size} bytes cannot be right")
    return pickle.loads(_exactly(connection, size, body))  # noqa: S301 - from this server itself


def wait_at_most(connection: socket.socket, seconds: float) -> None:
    """Have the kernel give up what takes longer, and not Python, which looks before each call
    whether there is something, and waits in no call until all is there.
    """
    # Sockets have a timeout of Python's where somebody sets one for all: Celery does as it ends.
    connection.settimeout(None)
    timeout = _TIME.pack(*divmod(max(1, round(seconds * 1_000_000)), 1_000_000))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)


def _exactly(connection: socket.socket, size: int, begun: bytes) -> bytearray:
    data = bytearray(size)
    data[: len(begun)] = begun
    rest = memoryview(data)[len(begun) :]
    while rest:
        count = connection.recv_into(rest, 0, socket.MSG_WAITALL)
        if not count:
            raise EOFError("the other end has gone")
        rest = rest[count:]
    return data
