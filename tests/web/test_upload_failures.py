"""Uploads while disks fill up, lines break and workers die: nothing half-kept, nothing lost."""

import contextlib
import io
import json
import os
import random
import secrets
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import hostile
import images
import pytest
import servers
import uploaders
from flask.testing import FlaskClient
from load import repeating
from mounts import fill, mounted, needs_mounts
from servers import Answer, Server, await_true, serving
from uploaders import PIECE, RESUMABLE, TUS, break_off, ident_of, reset, send_form, send_piece, told
from werkzeug.test import TestResponse

from imgprocessor.app import make_web
from imgprocessor.config.settings import Settings
from imgprocessor.config.upload_settings import UploadsSettings
from imgprocessor.storage.uploads.folder import UploadFolder

PICTURE = images.encoded(images.texture((300, 200)), "JPEG", quality=90)
BLOCK_BYTES = 4096


def picture(number: int, trailer_bytes: int = 0) -> bytes:
    """Return a picture with bytes behind it, which make it another one."""
    return PICTURE + random.Random(number).randbytes(trailer_bytes) + str(number).encode()


def store_of(folder: Path) -> UploadFolder:
    """Return what is kept in a folder."""
    return UploadFolder(folder, max_uploads=10**6, max_bytes=10**12, min_free_bytes=0)


def require_whole(folder: Path, idents: set[str]) -> None:
    """Check that these uploads are there, whole, and nothing else; and that so much is counted."""
    store = store_of(folder)
    assert set(store.idents()) == idents
    for ident in idents:
        with store.open(ident) as file:
            assert file.read() == PICTURE
    assert list(folder.glob("incoming/*")) == []
    assert store.taken_out() == []
    if not idents:
        return
    counted = store.count(), store.kept_bytes()
    store.count_anew()
    assert (store.count(), store.kept_bytes()) == counted


# --- In this process -----------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk."""
    with mounted(tmp_path / "disk", "size=4m"):
        yield tmp_path / "disk"


def taking(settings: Settings, folder: Path) -> FlaskClient:
    """Return a client of an application that takes uploads."""
    uploads = UploadsSettings(enabled=True, folder=folder, min_free_bytes=0)
    return make_web(replace(settings, uploads=uploads)).test_client()


class Filling(io.BytesIO):
    """A body; once so much of it was read, something happens."""

    def __init__(self, body: bytes, after_bytes: int, happen: Callable[[], object]) -> None:
        super().__init__(body)
        self._after_bytes = after_bytes
        self._happen: Callable[[], object] | None = happen

    def read(self, count: int | None = -1, /) -> bytes:
        """Read, and then let it happen."""
        part = super().read(count)
        if self._happen is not None and self.tell() >= self._after_bytes:
            self._happen()
            self._happen = None
        return part


def post(client: FlaskClient, body: bytes, happen: Callable[[], object]) -> TestResponse:
    """Send a form; after half of it something happens."""
    content, headers = uploaders.form(body, ["20x10"])
    line = Filling(content, len(content) // 2, happen)
    environ = {"CONTENT_TYPE": headers["Content-Type"], "CONTENT_LENGTH": str(len(content))}
    return client.post("/upload", environ_overrides={**environ, "wsgi.input": line})


def patch(client: FlaskClient, url: str, body: bytes, happen: Callable[[], object]) -> TestResponse:
    """Send a piece; after half of it something happens."""
    line = Filling(body, len(body) // 2, happen)
    environ = {"wsgi.input": line, "CONTENT_LENGTH": str(len(body))}
    headers = {**PIECE, "Upload-Offset": "0"}
    return client.patch(url, headers=headers, environ_overrides=environ)


def begun(client: FlaskClient, length: int) -> str:
    """Begin an upload in pieces."""
    answer = client.post(RESUMABLE, headers={**TUS, "Upload-Length": str(length)})
    assert answer.status_code == 201
    return answer.headers["Location"]


def offset_of(client: FlaskClient, url: str) -> int:
    """Return how far an upload has come."""
    answer = client.head(url, headers=TUS)
    assert answer.status_code == 200, answer.headers
    return int(answer.headers["Upload-Offset"])


def words(answer: TestResponse) -> dict[str, Any]:
    """Check the one shape of failures; return what it says."""
    known = {name.lower(): value for name, value in answer.headers.items()}
    return told(Answer(answer.status_code, known, answer.data))


@needs_mounts
def test_a_disk_that_fills_up_at_any_moment_of_a_form(settings: Settings, disk: Path) -> None:
    """From the second half of the body to the last kept size, block by block."""
    client, kept, statuses = taking(settings, disk / "uploads"), set[str](), set[int]()
    for number in range(45):
        body = picture(number, 150_000)

        answer = post(client, body, lambda: fill(disk, number * BLOCK_BYTES))  # noqa: B023

        statuses.add(answer.status_code)
        if answer.status_code == 201:
            kept.add(ident_of(body))
        else:
            assert (answer.status_code, words(answer)["code"]) == (507, "no-room"), answer.text
        require_whole(disk / "uploads", kept)
        assert client.get("/images/?name=nasa.jpeg&width=50").status_code == 200
        (disk / "ballast").unlink()
    assert statuses == {201, 507}


@needs_mounts
def test_a_disk_that_fills_up_at_any_moment_of_a_piece(settings: Settings, disk: Path) -> None:
    """What arrived is kept, and the upload goes on once there is room."""
    client, kept, statuses = taking(settings, disk / "uploads"), set[str](), set[int]()
    for number in range(0, 60, 2):
        body = picture(number, 100_000)
        url = begun(client, len(body))

        answer = patch(client, url, body, lambda: fill(disk, number * BLOCK_BYTES))  # noqa: B023

        statuses.add(answer.status_code)
        if answer.status_code != 204:
            assert (answer.status_code, words(answer)["code"]) == (507, "no-room"), answer.text
            require_whole(disk / "uploads", kept)
        (disk / "ballast").unlink()
        kept.add(ident_of(body))
        offset = offset_of(client, url)
        assert offset >= len(body) // 2 - 4096
        headers = {**PIECE, "Upload-Offset": str(offset)}
        assert client.patch(url, headers=headers, data=body[offset:]).status_code == 204
        require_whole(disk / "uploads", kept)
    assert statuses == {204, 507}


@needs_mounts
def test_a_full_disk_can_be_cleared_by_removals(settings: Settings, disk: Path) -> None:
    client = taking(settings, disk / "uploads")
    content, headers = uploaders.form(picture(1))
    assert client.post("/upload", data=content, headers=headers).status_code == 201
    fill(disk)
    other, _ = uploaders.form(picture(2))
    assert client.post("/upload", data=other, headers=headers).status_code == 507

    assert client.delete(f"/image/{ident_of(picture(1))}.jpg").status_code == 204

    require_whole(disk / "uploads", set())
    (disk / "ballast").unlink()
    assert client.post("/upload", data=other, headers=headers).status_code == 201


class Broken(io.BytesIO):
    """A body whose line breaks: the read in hand is lost, as under mod_wsgi."""

    def read(self, count: int | None = -1, /) -> bytes:
        """Read so many bytes, or fail."""
        part = super().read(count)
        if len(part) != count:
            raise OSError("Apache/mod_wsgi request data read error")
        return part


def test_lines_that_break_anywhere_lose_nothing(settings: Settings, tmp_path: Path) -> None:
    """Eighty uploads, each of which breaks off some times."""
    client, chance, kept = taking(settings, tmp_path / "uploads"), random.Random(1), set[str]()
    for number in range(80):
        body = picture(number, chance.randrange(60_000))
        url = begun(client, len(body))
        for _ in range(chance.randrange(1, 4)):
            offset = offset_of(client, url)
            arrives = chance.randrange(len(body) - offset + 1)
            line = Broken(body[offset : offset + arrives])
            headers = {**PIECE, "Upload-Offset": str(offset)}
            environ = {"wsgi.input": line, "CONTENT_LENGTH": str(len(body) - offset)}
            answer = client.patch(url, headers=headers, environ_overrides=environ)
            whole = offset + arrives == len(body)
            assert answer.status_code == (204 if whole else 400)
            assert offset_of(client, url) >= offset + arrives - 4096
        offset = offset_of(client, url)
        headers = {**PIECE, "Upload-Offset": str(offset)}
        assert client.patch(url, headers=headers, data=body[offset:]).status_code == 204
        known = client.get(url)
        assert json.loads(known.data)["content"]["ident"] == ident_of(body)
        kept.add(ident_of(body))
    require_whole(tmp_path / "uploads", kept)


# --- With Apache ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Apache whose uploads have a small disk of their own, where it can be mounted."""
    folder, originals = tmp_path_factory.mktemp("server"), tmp_path_factory.mktemp("originals")
    servers.open_up(originals)
    images.save(originals / "nasa.jpeg", images.texture((600, 400)), "JPEG")
    with contextlib.ExitStack() as stack:
        if os.geteuid() == 0:
            stack.enter_context(mounted(folder / "disk", "size=60m"))
        else:
            (folder / "disk").mkdir()
        (folder / "disk").chmod(0o755)
        settings = "[uploads]\nfolder = disk/uploads\nmin_free_bytes = 0\n"
        yield stack.enter_context(serving(folder, originals, settings=settings))


@pytest.fixture
def uploads(server: Server) -> Iterator[Path]:
    """The folder of uploads; at the end nothing is in it but what was kept whole."""
    folder = server.logs.parent / "disk/uploads"
    yield folder
    (folder.parent / "ballast").unlink(missing_ok=True)
    store = store_of(folder)
    for ident in list(store.idents()):
        assert server.ask(f"/image/{ident}.jpg", method="DELETE").status == 204
    require_whole(folder, set())
    shutil.rmtree(folder / "unfinished", ignore_errors=True)


def is_looked_at(server: Server) -> None:
    """Check that pictures are answered."""
    for path in ("/images/?name=nasa.jpeg&width=60", "/image/nasa.jpeg?height=30"):
        assert server.ask(path).status == 200


@pytest.mark.apache
@needs_mounts
def test_a_full_disk_is_told_and_pictures_are_answered(server: Server, uploads: Path) -> None:
    fill(uploads.parent, 600_000)
    kept, refused = set[str](), list[Answer]()

    def by_form(number: int) -> None:
        body = picture(number, 200_000)
        answer = send_form(server.port, body, ["20x10", "30x0"])
        if answer.status == 201:
            kept.add(ident_of(body))
        else:
            refused.append(answer)

    def in_pieces(number: int) -> None:
        body = picture(number, 200_000)
        answer = uploaders.begin(server.port, len(body))
        if answer.status == 201:
            answer = send_piece(server.port, answer.headers["location"], 0, body)
        if answer.status == 204:
            kept.add(ident_of(body))
        else:
            refused.append(answer)

    # Several at once: all find room when they begin, and some none in the end.
    with ThreadPoolExecutor(8) as pool:
        for done in [
            pool.submit(by_form if number % 2 else in_pieces, number) for number in range(200, 232)
        ]:
            done.result()

    assert kept
    assert refused
    assert {(answer.status, told(answer)["code"]) for answer in refused} == {(507, "no-room")}
    require_whole(uploads, kept)
    is_looked_at(server)
    for ident in kept:
        for path in (f"/image/20/10/{ident}.jpg", f"/image/{ident}.jpg", f"/full/{ident}.jpg"):
            assert server.ask(path).status == 200, path
    one = kept.pop()
    assert server.ask(f"/image/{one}.jpg", method="DELETE").status == 204
    (uploads.parent / "ballast").unlink()
    assert send_form(server.port, picture(299, 200_000)).status == 201


@pytest.mark.apache
@needs_mounts
def test_a_folder_without_rights_is_told_and_heals(server: Server, uploads: Path) -> None:
    body, other = picture(300), picture(301)
    assert send_form(server.port, body, ["20x10"]).status == 201
    begun = uploaders.begin(server.port, len(other)).headers["location"]
    uploads.chmod(0)
    try:
        failed = [
            send_form(server.port, other),
            uploaders.begin(server.port, len(other)),
            send_piece(server.port, begun, 0, other),
            server.ask(f"/image/{ident_of(body)}.jpg", method="DELETE"),
            servers.ask(
                server.port, f"/image/{ident_of(body)}.jpg", uploaders.URLENCODED, "POST",
                b"sizes=1x1",
            ),
        ]  # fmt: skip
        for answer in failed:
            assert (answer.status, told(answer)["code"]) == (503, "uploads-unavailable")
            assert "retry-after" in answer.headers
        is_looked_at(server)
        assert server.ask(f"/image/{ident_of(body)}.jpg?width=77").status == 503
    finally:
        uploads.chmod(0o750)

    assert server.ask(f"/image/{ident_of(body)}.jpg?width=77").status == 200
    assert send_piece(server.port, begun, 0, other).status == 204
    assert send_form(server.port, other).status == 200
    require_whole(uploads, {ident_of(body), ident_of(other)})


def offset_at(server: Server, url: str) -> int:
    """Return how far an upload has come."""
    answer = uploaders.stand(server.port, url)
    assert answer.status == 200, answer
    return int(answer.headers["upload-offset"])


@pytest.mark.apache
def test_lines_that_break_at_apache_lose_nothing(server: Server, uploads: Path) -> None:
    """Reset, silent, or taken over: the client goes on by what it is told has arrived."""
    chance, silent, kept = random.Random(2), contextlib.ExitStack(), set[str]()

    def send(number: int) -> None:
        body = picture(400 + number, chance.randrange(10_000, 200_000))
        url = uploaders.begin(server.port, len(body), ["20x10"]).headers["location"]
        for _ in range(chance.randrange(1, 4)):
            offset = offset_at(server, url)
            arrives = chance.randrange(len(body) - offset)
            client = break_off(server.port, url, offset, body[offset:], arrives)
            silent.callback(client.close)
            if chance.random() < 0.5:
                reset(client)
            else:
                # What is on its way arrives, or loses to what follows: nothing is waited for.
                assert offset_at(server, url) >= offset
        done: list[Answer] = []

        def go_on() -> None:
            while not done:
                offset = offset_at(server, url)
                answer = send_piece(server.port, url, offset, body[offset:])
                # 409: what was on its way came first; 410: so did the other one.
                assert answer.status in {204, 409, 410}, answer
                if answer.status != 409:
                    done.append(answer)

        with ThreadPoolExecutor(2) as pool:
            for both in [pool.submit(go_on) for _ in range(2)]:
                both.result()
        known = server.ask(url)
        assert json.loads(known.body)["content"]["ident"] == ident_of(body)
        kept.add(ident_of(body))

    with silent, ThreadPoolExecutor(4) as pool:
        list(pool.map(send, range(20)))
    require_whole(uploads, kept)


def remembered(server: Server) -> int:
    """Return how often quarantine answered, as the log has it."""
    lines = map(json.loads, (server.logs / "requests.log").read_text().splitlines())
    return sum("remembered" in str(line.get("detail")) for line in lines)


BOMBS = ("bomb", "scans", "text", "itxt", "icc", "chunks", "segments", "frames")


@pytest.mark.apache
def test_bombs_are_refused_and_remembered(server: Server, uploads: Path) -> None:
    workers = server.workers()
    refused = {hostile.OVERSIZED, hostile.BROKEN}
    bombs = [one for one in hostile.hostile_files() if one.name.startswith(BOMBS)]
    bombs = [one for one in bombs if one.expected in refused]
    assert len(bombs) > 12
    for number, bomb in enumerate(bombs):
        before, body = remembered(server), bomb.make()
        for _ in range(2):
            answer = send_form(server.port, body)
            assert (answer.status, told(answer)["code"]) == (422, bomb.expected), bomb.name
        assert remembered(server) > before
        if not number % 5:
            url = uploaders.begin(server.port, len(body)).headers["location"]
            answers = [send_piece(server.port, url, 0, body), server.ask(url)]
            assert [told(answer)["code"] for answer in answers] == [bomb.expected] * 2
    assert server.workers() == workers
    require_whole(uploads, set())
    is_looked_at(server)


def sockets(pid: int) -> int:
    """Return how many sockets a process has open."""
    count = 0
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                count += descriptor.readlink().name.startswith("socket:")
    return count


@contextlib.contextmanager
def killing(server: Server) -> Iterator[list[int]]:
    """Kill each worker that has a job, as a decoder's crash would; yield which."""
    idle, killed = min(map(sockets, server.workers())), list[int]()

    def kill() -> None:
        for pid in server.workers():
            if pid not in killed and sockets(pid) > idle:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    with repeating(kill, 0.01):
        yield killed


@pytest.mark.apache
def test_a_picture_that_kills_its_worker_is_given_up(server: Server, uploads: Path) -> None:
    body = images.encoded(images.noise((2400, 2000)), "PNG", compress_level=1)
    body += secrets.token_bytes(8)  # quarantine outlives a server
    count = len(server.workers())
    with killing(server) as killed:
        answer = send_form(server.port, body, ["20x10"])
    assert (answer.status, told(answer)["code"]) == (422, "deadly-original")
    assert len(killed) >= 2

    again = send_form(server.port, body)
    url = uploaders.begin(server.port, len(body)).headers["location"]
    in_pieces = send_piece(server.port, url, 0, body)

    for answer in (again, in_pieces):
        assert (answer.status, told(answer)["code"]) == (422, "deadly-original")
    require_whole(uploads, set())
    await_true(lambda: len(server.workers()) == count)
    assert send_form(server.port, picture(500)).status == 201
    is_looked_at(server)
