"""The virtual host with something simple in the application's place, and bodies sent by hand."""

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conftest import ROOT
from processes import HTTPD, Command, free_port, httpd_conf, running
from serve import HTTPD_MODULES
from servers import open_up

from imgprocessor.config.upload_settings import UploadsSettings

MAX_BODY_BYTES = UploadsSettings().max_body_bytes
Told = tuple[int, dict[str, str], bytes]
"""Status, headers (names in lower case) and body."""
BEARER = "Authorization: Bearer token"


@dataclass
class Front:
    """A running Apache."""

    port: int
    folder: Path

    def arrived(self) -> list[dict[str, Any]]:
        """Return what came to the application: see bodies.wsgi."""
        lines = (self.folder / "root" / "arrived").read_text().splitlines()
        return [json.loads(line) for line in lines]


@contextlib.contextmanager
def front(folder: Path) -> Iterator[Front]:
    """Run the virtual host as `./run serve` does, without the application."""
    root, port = folder / "root", free_port()
    for name in ("root/static", "root/uploads", "root/originals", "cache", "locks", "logs"):
        (folder / name).mkdir(parents=True)
    open_up(folder)
    for name in ("cache", "locks"):
        (folder / name).chmod(0o777)
    (root / ".venv").symlink_to(ROOT / ".venv")
    (root / "imgprocessor.wsgi").write_text((ROOT / "tests" / "bodies.wsgi").read_text())
    (root / "arrived").touch()
    (root / "arrived").chmod(0o666)
    defines = {
        "ROOT": root, "CONF": folder, "ORIGINALS": root / "originals", "UPLOADS": root / "uploads",
        "MAX_UPLOAD": MAX_BODY_BYTES, "LOGS": folder / "logs", "RUN": folder, "HOST": "localhost",
        "LISTEN": f"*:{port}", "CACHE": folder / "cache", "LOCKS": folder / "locks",
        "CACHE_WORD": "any", "PROCESSES": 2, "THREADS": 24,
    }  # fmt: skip
    (folder / "httpd.conf").write_text(
        httpd_conf(folder, port, folder / "logs", HTTPD_MODULES)
        + f'LoadModule wsgi_module "{ROOT}/.venv/mod_wsgi.so"\nTypesConfig /etc/mime.types\n'
        + "".join(f'Define IMG_{name} "{value}"\n' for name, value in defines.items())
        + f'Include "{ROOT}/apache/imgprocessor.conf"\n'
    )
    command: Command = [HTTPD, "-f", folder / "httpd.conf", "-DFOREGROUND"]
    with running(command, port, folder / "apache.out"):
        yield Front(port, folder)


def begin(port: int, request: str, length: int | None = None, *headers: str) -> socket.socket:
    """Send the head of a request, which names a length of its body unless there is none."""
    lines = [f"{request} HTTP/1.1", "Host: localhost", *headers]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    client = socket.create_connection(("127.0.0.1", port), timeout=30)
    client.sendall("\r\n".join([*lines, "", ""]).encode())
    return client


def first_line(client: socket.socket) -> bytes:
    """Return how an answer begins, and leave it there."""
    return client.recv(12, socket.MSG_PEEK)


def answered(client: socket.socket, method: str = "POST") -> Told:
    """Return the answer, and pass over a 100 before it."""
    with contextlib.closing(http.client.HTTPResponse(client, method=method)) as response:
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return response.status, headers, response.read()


def ask(port: int, request: str, body: bytes | None = None, *headers: str) -> Told:
    """Send a whole request; return its answer."""
    length = None if body is None else len(body)
    with begin(port, request, length, *headers, "Connection: close") as client:
        # Who refuses a body may close before it is through.
        with contextlib.suppress(ConnectionError):
            client.sendall(body or b"")
        return answered(client, request.split(maxsplit=1)[0])
