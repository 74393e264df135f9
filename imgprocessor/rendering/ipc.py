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
`BEGUN` comes a descriptor of the worker's process, for whoever may have to end it.
"""

CALL_OFF = signal.SIGUSR1
"""Ends a worker over a job that nobody wants any more, whatever a decoder does. Its supervisor
starts another, and complains of nothing.
"""

_LENGTH = struct.Struct("<Q")

_MAX_BYTES = 1 << 30
"""More than any rendition has; so that nonsense is no reason to reserve all memory."""


def send(connection: socket.socket, message: object) -> None:
    """Send one object.

    Raises:
        OSError: the other end has gone, or takes too long.
    """
    data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    connection.sendall(_LENGTH.pack(len(data)) + data)


def receive(connection: socket.socket) -> Any:
    """Receive one object; only ever from a socket that no other user can reach.

    Raises:
        EOFError: the other end has gone.
        OSError: it takes too long.
    """
    (size,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    if size > _MAX_BYTES:
        raise EOFError(f"{size} bytes cannot be right")
    return pickle.loads(_exactly(connection, size))  # noqa: S301 - from this server itself


def _exactly(connection: socket.socket, size: int) -> bytearray:
    data = bytearray(size)
    rest = memoryview(data)
    while rest:
        count = connection.recv_into(rest)
        if not count:
            raise EOFError("the other end has gone")
        rest = rest[count:]
    return data
