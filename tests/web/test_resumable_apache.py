"""Uploads in pieces through real Apache: lines that break anywhere, silent clients, kill -9."""

import contextlib
import hashlib
import http.client
import json
import os
import random
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import images
import pytest
from servers import Server, await_true, serving

ROOT = "/upload/resumable/"
PIECE = {"Content-Type": "application/offset+octet-stream"}
GROUP = "wsgi:imguploads"

pytestmark = [pytest.mark.apache, pytest.mark.slow]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("resumable")
    originals = folder / "originals"
    originals.mkdir()
    images.save(originals / "a.jpg", images.texture((40, 30)), "JPEG")
    uploads = "[uploads]\nfolder = uploads\nmin_free_bytes = 0\n"
    with serving(folder, originals, settings=uploads) as running:
        yield running


@dataclass
class _Upload:
    """An upload as its client sees it."""

    server: Server
    body: bytes
    url: str = ""

    def __post_init__(self) -> None:
        self.url = self.ask("POST", ROOT, {"Upload-Length": str(len(self.body))})[1]["Location"]

    def ask(
        self, method: str, url: str, headers: dict[str, str], body: bytes = b""
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, url, body, {"Tus-Resumable": "1.0.0", **headers})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    @property
    def offset(self) -> int:
        status, headers, _ = self.ask("HEAD", self.url, {})
        assert status == 200
        return int(headers["Upload-Offset"])

    def piece(self, offset: int, end: int | None = None) -> int:
        headers = {**PIECE, "Upload-Offset": str(offset)}
        return self.ask("PATCH", self.url, headers, self.body[offset:end])[0]

    def begun(self, offset: int, end: int) -> socket.socket:
        """Begin a piece with all that is left, and send of it what comes before `end`."""
        line = socket.create_connection(("127.0.0.1", self.server.port), 30)
        line.sendall(
            f"PATCH {self.url} HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\n"
            f"Upload-Offset: {offset}\r\nContent-Type: {PIECE['Content-Type']}\r\n"
            f"Content-Length: {len(self.body) - offset}\r\n\r\n".encode()
            + self.body[offset:end]
        )
        return line

    def is_whole(self) -> bool:
        """Whether the server has it under the ident of what was sent."""
        answer = json.loads(self.ask("GET", self.url, {"Accept": "application/json"})[2])
        ident: str = answer["content"]["ident"]
        return ident == hashlib.sha256(self.body).hexdigest()[:32]


@pytest.fixture
def body(request: pytest.FixtureRequest) -> bytes:
    picture = images.encoded(images.noise((600, 400)), "jpeg", quality=90)
    return picture + str(request.node.name).encode()


def test_a_line_that_breaks_anywhere_costs_what_was_under_way(server: Server, body: bytes) -> None:
    chance = random.Random(1)
    for number in range(20):
        upload = _Upload(server, body + bytes([number]))
        offset = 0
        for _ in range(3):
            end = chance.randrange(offset + 1, len(upload.body))
            upload.begun(offset, end).close()
            offset = _settled(upload, offset + (end - offset) // 4096 * 4096, end)
        assert upload.piece(offset) == 204
        assert upload.is_whole()


def _settled(upload: _Upload, offset: int, end: int) -> int:
    """Return how much has arrived once no more will: all but the read in hand, which is the last
    4096 bytes begun, or seldom another, where Apache handed bytes on as they came.
    """
    try:
        await_true(lambda: upload.offset == offset, 10)
    except AssertionError:
        assert offset - 4096 <= upload.offset <= end
    return upload.offset


def _await_offset(upload: _Upload, offset: int) -> None:
    await_true(lambda: upload.offset == offset)


def test_a_newer_request_does_not_wait_for_a_silent_one(server: Server, body: bytes) -> None:
    upload = _Upload(server, body)
    with upload.begun(0, 10_000):
        _await_offset(upload, 8192)

        assert upload.piece(8192, 20_000) == 204
        assert upload.piece(20_000) == 204

    assert upload.is_whole()


def test_what_arrived_outlives_its_daemon(server: Server, body: bytes) -> None:
    upload = _Upload(server, body)
    with upload.begun(0, 10_000):
        _await_offset(upload, 8192)
        old = _receivers(server)
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        await_true(lambda: _receivers(server) - old)

    assert upload.offset == 8192
    assert upload.piece(8192) == 204
    assert upload.is_whole()


def _receivers(server: Server) -> set[int]:
    return {pid for pid, command in server.processes().items() if GROUP in command}
