"""Real S3 servers for tests: SeaweedFS, each of its own, on ports of its own."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from imgprocessor.config.bucket_access import BucketAccess
from imgprocessor.config.buckets import BucketsSettings, BucketUrl
from imgprocessor.storage.shared.s3_signature import signed_headers

WEED = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}")

needs_weed = pytest.mark.skipif(WEED is None, reason="no SeaweedFS for this processor")

KEY_ID, KEY = "tester", "of-no-use-elsewhere"
BUCKET = "pictures"

_GRPC = 10_000
"""Each part listens here too, above its port."""

_OFF = ("webdav", "admin.ui", "s3.iam", "master.telemetry", "s3.allowDeleteBucketNotEmpty")


class S3Server:
    """A server with one bucket. What it said that it keeps is in its folder."""

    def __init__(self, folder: Path, bucket: str = BUCKET) -> None:
        """Use a folder, which may be another one's of before."""
        self._folder = folder
        self.bucket = bucket
        self._process: subprocess.Popen[bytes] | None = None
        self._ports = dict(
            zip(("s3", "filer", "master", "volume", "admin"), _ports(5), strict=True)
        )
        self.endpoint = f"http://127.0.0.1:{self._ports['s3']}"

    def start(self) -> None:
        """Start it; return when it answers."""
        assert WEED is not None
        command = [
            *(WEED, "mini", f"-dir={self._folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
            *(f"-{part}.port={port}" for part, port in self._ports.items()),
            *(f"-{part}=false" for part in _OFF),
            *("-s3.port.iceberg=0", "-s3.port.lance=0", "-master.electionTimeout=1s"),
            *("-debug.port=0", f"-bucket={self.bucket}"),
        ]
        known = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": KEY}
        with (self._folder / "weed.out").open("ab") as out:
            self._process = subprocess.Popen(
                command, stdout=out, stderr=out, cwd=self._folder, env={**os.environ, **known}
            )
        self._await()

    def end(self, number: int = signal.SIGKILL) -> None:
        """End it, as a signal does that."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Have it answer nothing meanwhile, and take connections as ever."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        stat = Path(f"/proc/{self._process.pid}/stat")
        while stat.read_text().rpartition(")")[2].split()[0] != "T":
            time.sleep(0.001)  # all of its threads stop a moment later
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def access(self, **instead: str) -> str:
        """Return the section that a file of buckets has of it."""
        return access_section(self.bucket, **{"endpoint": self.endpoint, **instead})

    def put(self, key: str, body: bytes) -> None:
        """Put an object of any name, also of one that obstore knows none by."""
        signed_request("PUT", f"{self.endpoint}/{self.bucket}/{quote(key, safe='/~')}", body)

    def _await(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                # The bucket is there last; but for what is in it, which takes a moment more.
                for method in ("PUT", "GET", "DELETE"):
                    body = b"1" if method == "PUT" else b""
                    signed_request(method, f"{self.endpoint}/{self.bucket}/ready", body)
            except OSError:
                assert self._process is not None
                assert self._process.poll() is None, (self._folder / "weed.out").read_text()
                assert time.monotonic() < deadline, "no S3 server"
                time.sleep(0.05)
            else:
                return


@contextlib.contextmanager
def running_s3(folder: Path, bucket: str = BUCKET) -> Iterator[S3Server]:
    """Run one that may be killed and started again meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    server = S3Server(folder, bucket)
    server.start()
    try:
        yield server
    finally:
        server.end(signal.SIGTERM)


def place_in(server: S3Server, folder: Path, prefix: str) -> tuple[BucketUrl, BucketsSettings]:
    """Return a place of its own in a server's bucket, and what says how that is reached."""
    return BucketUrl("s3", server.bucket, prefix), access_file(folder, server.access())


def access_section(bucket: str, **options: str) -> str:
    """Return the section that a file of buckets has of a bucket that these keys are for."""
    lines = {
        "region": "us-east-1",
        "access_key_id": KEY_ID,
        "secret_access_key": KEY,
        **options,
    }
    return f"[s3://{bucket}]\n" + "".join(f"{name} = {it}\n" for name, it in lines.items())


def access_file(folder: Path, text: str) -> BucketsSettings:
    """Write a file of buckets."""
    file = folder / "buckets.ini"
    file.touch(mode=0o600)
    file.write_text(text)
    return BucketsSettings(file)


def signed_request(method: str, url: str, body: bytes = b"") -> bytes:
    """Send a signed request, its path as it is."""
    access = BucketAccess(access_key_id=KEY_ID, secret_access_key=KEY)
    headers = signed_headers(method, url, access, body)
    request = urllib.request.Request(url, body or None, headers, method=method)
    with urllib.request.urlopen(request, timeout=10) as response:
        answer: bytes = response.read()
    return answer


def _ports(count: int) -> list[int]:
    """Return ports that are free, and so are those so far above."""
    found: list[int] = []
    with contextlib.ExitStack() as stack:
        while len(found) < count:
            with contextlib.suppress(OSError, OverflowError):
                one = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
                port = one.getsockname()[1]
                above = port + _GRPC if port + _GRPC <= 65_535 else port - _GRPC
                stack.enter_context(socket.create_server(("127.0.0.1", above)))
                found.append(min(port, above))
    return found
