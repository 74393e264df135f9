"""Real workers, processes of their own, beside a real Redis and a client of the application."""

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redises
import servers
from conftest import ROOT
from flask.testing import FlaskClient
from flowers import PASSWORD
from servers import await_true

from imgprocessor.app import make_web
from imgprocessor.config.upload_tokens import UploadToken, describe_token, token_hash
from imgprocessor.load import load_settings

TOKEN = secrets.token_urlsafe(32)
MAY = {"Authorization": f"Bearer {TOKEN}"}
SECRET_NAME = "holiday-with-somebody"  # noqa: S105 - what a client calls its file
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
OVER = {"SUCCESS", "FAILURE"}


@dataclass
class Workers:
    """A client, a Redis, and the workers that do what it keeps."""

    client: FlaskClient
    folder: Path
    url: str
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> subprocess.Popen[bytes]:
        """Start another worker."""
        conf = self.folder / "imgprocessor.ini"
        with (self.folder / "worker.log").open("ab") as log:
            command = [sys.executable, "-m", "imgprocessor", "worker", "--conf", str(conf)]
            command += ["--heartbeat", str(self.folder / "heartbeat")]
            worker = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        self.running.append(worker)
        return worker

    def send(self, worker: subprocess.Popen[bytes], number: signal.Signals) -> None:
        """Send a signal to all processes of a worker; not to those that render for it."""
        for pid in (worker.pid, *servers.children(worker.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def renderers(self) -> set[int]:
        """Return the processes that render for the workers."""
        queues = [pid for worker in self.running for pid in servers.children(worker.pid)]
        return {renderer for pid in queues for renderer in servers.children(pid)}

    def begin(self, body: bytes, **fields: str) -> str:
        """Hand in a picture; return its job."""
        boundary = "------------------------d74496d66958873e"
        form = f"--{boundary}\r\nContent-Disposition: form-data; name="
        texts = "".join(f'{form}"{name}"\r\n\r\n{text}\r\n' for name, text in fields.items())
        sent = f'{texts}{form}"file"; filename="{SECRET_NAME}.jpg"\r\n\r\n'.encode() + body
        answer = self.client.post(
            "/convert",
            data=sent + f"\r\n--{boundary}--\r\n".encode(),
            content_type=f"multipart/form-data; boundary={boundary}",
            headers=MAY | {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"},
        )
        assert answer.status_code == 202, answer.text
        assert isinstance(answer.json, dict)
        return str(answer.json["submission_task_id"])

    def told(self, job: str) -> dict[str, Any]:
        """Return how a job stands; while Redis is away, how nobody knows."""
        told = self.client.get(f"/convert/{job}").json
        assert isinstance(told, dict)
        return told

    def await_over(self, jobs: list[str], seconds: float = 60) -> list[dict[str, Any]]:
        """Wait until all jobs are over; return what is told of them."""
        await_true(lambda: all(self.told(job)["status"] in OVER for job in jobs), seconds)
        return [self.told(job) for job in jobs]


@contextlib.contextmanager
def working(more_settings: str = "") -> Iterator[Workers]:
    """Have one worker that runs."""
    with contextlib.ExitStack() as stack:
        # Paths of sockets must be short.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp")))
        url = stack.enter_context(redises.redis_server(folder))
        (folder / "originals").mkdir()
        token = UploadToken("somebody", token_hash(TOKEN), frozenset(("upload",)))
        (folder / "tokens").write_text(describe_token(token))
        (folder / "tokens").chmod(0o600)
        (folder / "imgprocessor.ini").write_text(
            f"[originals]\nroots = originals\n[policy]\nfile = {ROOT}/conf/policy.ini\n"
            f"[placeholder]\nfile = {ROOT}/static/404image.png\n[disk_cache]\nfolder = cache\n"
            "min_free_percent = 0\n"
            "[log]\nfile = requests.log\n[uploads]\nenabled = yes\nfolder = uploads\n"
            f"tokens_file = tokens\nmin_free_bytes = 0\n[jobs]\nenabled = yes\nredis = {url}\n"
            f"flower_password_file = password\n{more_settings}"
        )
        (folder / "password").write_text(PASSWORD)
        (folder / "password").chmod(0o600)
        settings = load_settings(folder / "imgprocessor.ini")
        there = Workers(make_web(settings).test_client(), folder, url)
        there.start()
        try:
            yield there
        finally:
            for worker in there.running:
                worker.terminate()
            ended = [worker.wait(30) for worker in there.running]
        assert set(ended) <= {0, -signal.SIGKILL}
