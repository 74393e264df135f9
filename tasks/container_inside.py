"""Run in the worker's container: prints what a program in its sandbox reaches, of what it tries."""

import json
import socket
import sys
import tempfile
from pathlib import Path

from imgprocessor.images.previews.kind import SandboxStep
from imgprocessor.job_parts import make_abilities
from imgprocessor.load import default_conf, load_settings

_KEPT = (
    *("/originals", "/originals/secret.png", "/originals/meadow.jpg", "/uploads", "/uploads/jobs"),
    *("/copies", "/cache", "/secrets", "/secrets/upload-tokens", "/etc/passwd", "/etc/hosts"),
    *("/etc/imgprocessor/imgprocessor.ini", "/etc/imgprocessor/policy.ini", "/proc/1/environ"),
    *("/proc/self/environ", "/srv/imgprocessor", "/dev/shm", "/dev/shm/heartbeat"),  # noqa: S108
)
_REDIS = "redis:6379"
_SECONDS = 20

_TRY = """\
import os, socket, sys
address, *paths = sys.argv[1:]
for path in paths:
    for look in (os.listdir, open):
        try:
            look(path)
        except OSError:
            continue
        print(path)
host, _, port = address.partition(":")
try:
    socket.create_connection((host, int(port)), 2)
    print(address)
except OSError:
    pass
"""


def main() -> None:
    """Try it; the document itself is the first of what is tried, and the only one in reach."""
    settings = load_settings(default_conf())
    sandbox = make_abilities(settings).sandbox
    if sandbox is None:
        raise SystemExit("there is no sandbox")
    host, port = _REDIS.split(":")
    address = f"{socket.gethostbyname(host)}:{port}"
    with tempfile.TemporaryDirectory(dir=settings.uploads.folder / "jobs") as name:
        document, within = Path(name) / "document", Path(name) / "within"
        document.write_text("x", encoding="utf-8")
        within.mkdir()
        tried = [str(document), address, *_KEPT]
        command = [sys.executable, "-I", "-S", "-c", _TRY, address, str(document), *_KEPT]
        ended = sandbox.running(document, within, _SECONDS)(SandboxStep(command))
    if ended.status:
        raise SystemExit(f"it ended with {ended.status}: {ended.said}")
    print(json.dumps([ended.said.splitlines(), tried]))


main()
