"""A thousand clients that send as slowly as they may, a picture on a slow network among them."""

import contextlib
import json
import threading
import time
from pathlib import Path

import bodies
import pytest
from bodies import BEARER, ask, begin

pytestmark = pytest.mark.apache

SENDERS = 1000
LEAST_BYTES_A_SECOND = 1100
"""Just enough not to be cut off: RequestReadTimeout in apache/imgprocessor.conf."""
PICTURE_BYTES = 3_000_000
PICTURE_BYTES_A_SECOND = 6250
"""50 kbit/s."""


def test_a_picture_at_50_kbit_arrives_and_slow_senders_keep_no_picture_waiting(
    tmp_path: Path,
) -> None:
    """Eight minutes. The slow ones come one minute after the picture began."""
    over, took = threading.Event(), []
    with bodies.front(tmp_path) as front, contextlib.ExitStack() as stack:
        picture = stack.enter_context(begin(front.port, "POST /upload", PICTURE_BYTES, BEARER))

        def send_slowly() -> None:
            others = [begin(front.port, "POST /upload", 2_000_000, BEARER) for _ in range(SENDERS)]
            while not over.wait(1):
                for client in others:
                    with contextlib.suppress(OSError):  # refused: there are no threads for it
                        client.sendall(bytes(LEAST_BYTES_A_SECOND))
            for client in others:
                client.close()

        slow = threading.Thread(target=send_slowly)
        start = time.monotonic()
        sent = 0
        try:
            while sent < PICTURE_BYTES:
                time.sleep(max(0, start + sent / PICTURE_BYTES_A_SECOND - time.monotonic()))
                picture.sendall(bytes(min(PICTURE_BYTES_A_SECOND, PICTURE_BYTES - sent)))
                sent += PICTURE_BYTES_A_SECOND
                if slow.ident is None and time.monotonic() - start > 60:
                    slow.start()
                asked = time.monotonic()
                assert ask(front.port, f"GET /image/a.jpg?x={sent}")[0] == 200
                took.append(time.monotonic() - asked)
            picture.settimeout(30)
            status, _, body = bodies.answered(picture)
        finally:
            over.set()
            slow.join()
    assert (status, json.loads(body)["body"]) == (200, PICTURE_BYTES)
    assert time.monotonic() - start > PICTURE_BYTES / PICTURE_BYTES_A_SECOND - 2
    took.sort()
    print(f"pictures: half within {took[len(took) // 2]:.3f} s, all within {took[-1]:.3f} s")
    assert took[len(took) // 2] < 0.1
    assert took[-1] < 3
