"""Nodes that take jobs and do them: a real Apache and real workers, on a Redis they may share."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import images
from conftest import ROOT
from processes import DAEMON_USER
from servers import Answer, Server, ask, await_true, children, serving

OVER = {"SUCCESS", "FAILURE"}
_BOUNDARY = "------------------------d74496d66958873e"


@dataclass
class Node:
    """A server, and the workers that were started beside it."""

    server: Server
    folder: Path
    uploads: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def job_files(self) -> Path:
        """The folder with a folder for each job."""
        return self.uploads / "jobs"

    @property
    def log(self) -> Path:
        """What workers say."""
        return self.folder / "worker.log"

    def start_worker(self, *prefix: str) -> subprocess.Popen[bytes]:
        """Start another worker, by a command that runs another one, if that is named."""
        command = [*prefix, sys.executable, "-m", "imgprocessor", "worker"]
        command += ["--conf", str(self.folder / "imgprocessor.ini")]
        command += ["--originals", str(self.server.originals)]
        as_daemons: dict[str, Any] = {"user": DAEMON_USER, "group": DAEMON_USER, "extra_groups": []}
        options = as_daemons if os.geteuid() == 0 else {}
        with self.log.open("ab") as log:
            worker = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, **options)
        self.running.append(worker)
        return worker

    def hand_in(self, body: bytes, texts: Mapping[str, str] = {}) -> Answer:
        """Hand in a picture."""
        head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="'
        parts = [f'{head}{name}"\r\n\r\n{text}\r\n'.encode() for name, text in texts.items()]
        parts += [f'{head}file"; filename="a.jpg"\r\n\r\n'.encode(), body, b"\r\n"]
        kind = f"multipart/form-data; boundary={_BOUNDARY}"
        return self.ask(
            "/convert",
            "POST",
            b"".join((*parts, f"--{_BOUNDARY}--\r\n".encode())),
            {"Content-Type": kind},
        )

    def begin(self, body: bytes, texts: Mapping[str, str] = {}) -> str:
        """Hand in a picture; return its job."""
        answer = self.hand_in(body, texts)
        assert answer.status == 202, answer
        return str(json.loads(answer.body)["submission_task_id"])

    def ask(
        self,
        path: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] = {},
    ) -> Answer:
        """Send one request."""
        return ask(self.server.port, path, dict(headers), method, body)

    def told(self, job: str) -> dict[str, Any]:
        """Return how a job stands; while Redis is away, that nobody knows."""
        told: dict[str, Any] = json.loads(self.ask(f"/convert/{job}").body)
        return told

    def await_over(self, jobs: Sequence[str], seconds: float = 60) -> list[dict[str, Any]]:
        """Wait until all jobs are over; return what is told of them."""
        await_true(lambda: all(self.told(job)["status"] in OVER for job in jobs), seconds)
        return [self.told(job) for job in jobs]


@contextlib.contextmanager
def node(
    folder: Path, originals: Path, redis: str, *, jobs: str = "", uploads: Path | None = None
) -> Iterator[Node]:
    """Run a server whose jobs are kept in a Redis, with further settings of `[jobs]`; it keeps
    uploads in a folder of its own, unless one is named.
    """
    uploads = uploads or folder / "uploads"
    settings = (
        f"[uploads]\nenabled = yes\nfolder = {uploads}\nmin_free_bytes = 0\n"
        f"[jobs]\nenabled = yes\nredis = {redis}\n{jobs}"
    )
    with serving(folder, originals, settings=settings) as server:
        there = Node(server, folder, uploads)
        try:
            yield there
        finally:
            for worker in there.running:
                send(worker, signal.SIGCONT)
                worker.terminate()
            ended = {worker.wait(30) for worker in there.running}
            # One that had yet to begin ends by the signal.
            assert ended <= {0, -signal.SIGKILL, -signal.SIGTERM}, there.log.read_text()[-3000:]


def send(worker: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to a worker, and to its processes for each queue."""
    with contextlib.suppress(ProcessLookupError):
        for pid in (worker.pid, *children(worker.pid)):
            os.kill(pid, number)


def pictures(count: int, size: tuple[int, int] = (1600, 1200)) -> list[bytes]:
    """Return pictures that take a moment each, none like another."""
    body = images.encoded(images.texture(size), "PNG")
    return [body + number.to_bytes(4, "big") for number in range(count)]
