"""Real servers for tests: `./run serve` on a free port, and plain HTTP to talk to it."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from conftest import ROOT

START_SECONDS = 60
WORKER = "imgprocessor.rendering.worker"
"""What is in the command of each process that renders."""
DAEMONS = 2
"""As many as `./run serve` starts."""


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes


@dataclass
class Server:
    """A running `./run serve`."""

    process: subprocess.Popen[str]
    port: int
    originals: Path
    logs: Path
    printed: list[str] = field(default_factory=list)

    def ask(self, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> Answer:
        """Send one request on a connection of its own."""
        return ask(self.port, path, headers, method)

    def daemons(self) -> list[int]:
        """Return the processes that answer."""
        return [pid for pid, command in self.processes().items() if "wsgi:imgproc" in command]

    def workers(self) -> list[int]:
        """Return the processes that render."""
        return [pid for pid, command in self.processes().items() if WORKER in command]

    def processes(self) -> dict[int, str]:
        """Return this server's processes: Apache runs in a session of its own."""
        apache, known = self.apache(), all_processes()
        return {pid: command for pid, command in known.items() if session_of(pid) == apache}

    def apache(self) -> int:
        """Return Apache's first process."""
        known = all_processes()
        (apache,) = (pid for pid in self.children() if "/httpd.conf" in known.get(pid, ""))
        return apache

    def children(self) -> list[int]:
        """Return what it started itself: Apache, and with --jobs a Redis, a worker and Flower."""
        return children(self.process.pid)


def ask(
    port: int,
    path: str,
    headers: dict[str, str] | None = None,
    method: str = "GET",
    body: bytes | None = None,
) -> Answer:
    """Send one request on a connection of its own; the path goes out as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        # Python would refuse to send hostile paths.
        connection._validate_path = lambda _: None  # type: ignore[attr-defined] # noqa: SLF001
        connection._encode_request = lambda text: text.encode("latin-1")  # type: ignore[attr-defined] # noqa: SLF001
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        names = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, names, response.read())


def open_up(folder: Path) -> None:
    """Let the daemons' user into a folder of pytest's, which are closed to others."""
    for part in (folder, *folder.parents):
        if part.owner() == Path("/proc/self").owner() and "pytest-" in str(part):
            part.chmod(0o755)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def configuration(folder: Path, text: str = "") -> Path:
    """Write a settings file whose logs are in its own folder."""
    folder.mkdir(parents=True, exist_ok=True)
    open_up(folder)
    file = folder / "imgprocessor.ini"
    uploads = "" if "[uploads]" in text else "[uploads]\nfolder = uploads\n"
    file.write_text(
        f"[policy]\nfile = {ROOT}/conf/policy.ini\n[log]\nfile = logs/requests.log\n"
        "[disk_cache]\nfolder = cache\nmin_free_percent = 0\n"
        f"[placeholder]\nfile = {ROOT}/static/404image.png\n{uploads}{text}"
    )
    return file


def run_serve(*arguments: str | Path, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """Start `./run serve` as a user would."""
    return subprocess.Popen(
        [*prefix, ROOT / "run", "serve", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",
    )


@contextlib.contextmanager
def serving(
    folder: Path,
    originals: Path,
    *arguments: str,
    prefix: tuple[str, ...] = (),
    settings: str = "",
    port: int = 0,
) -> Iterator[Server]:
    """Run `./run serve` over a folder of originals, on a free port unless one is named."""
    conf, port = configuration(folder, settings), port or free_port()
    options = ["--port", str(port), "--originals", str(originals), "--conf", str(conf)]
    with run_serve(*options, *arguments, prefix=prefix) as process:
        try:
            server = Server(process, port, originals, folder / "logs")
            server.printed = await_ready(process)
            # It is ready when one of them answers; the other may have yet to begin.
            await_true(lambda: len(server.daemons()) == DAEMONS)
            yield server
        finally:
            process.send_signal(signal.SIGTERM)  # at once, unlike Ctrl-C
            process.wait(START_SECONDS)


def await_ready(process: subprocess.Popen[str]) -> list[str]:
    """Return what was printed up to the line that says ready."""
    assert process.stdout is not None
    printed: list[str] = []
    # Reading has no time-out of its own.
    watchdog = threading.Timer(START_SECONDS, process.kill)
    watchdog.start()
    try:
        for line in process.stdout:
            printed.append(line.rstrip("\n"))
            if line.startswith("ready on "):
                return printed
    finally:
        watchdog.cancel()
    raise AssertionError("\n".join(["never ready:", *printed]))


def await_true(condition: Callable[[], object], seconds: float = 20) -> None:
    """Look again and again, until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, condition
        time.sleep(0.005)


def memory_bytes(pids: Iterable[int]) -> int:
    """Return what processes take together; what several share counts once."""
    kilobytes = 0
    for pid in pids:
        with contextlib.suppress(OSError):  # it has ended meanwhile
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            (share,) = [line for line in rollup.splitlines() if line.startswith("Pss:")]
            kilobytes += int(share.split()[1])
    return kilobytes * 1024


def slow_reader(port: int, path: str) -> socket.socket:
    """Ask for something, of which the kernel here takes little until it is read."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return client


def unread(port: int) -> int:
    """Return how many connections to a port have clients who do not read all that was sent, in the
    network of the thread that asks.
    """
    count = 0
    for line in Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, queues, *_ = line.split()
        unsent, _, _ = queues.partition(":")
        count += local.endswith(f":{port:04X}") and state == "01" and int(unsent, 16) > 0
    return count


def has_open(pid: int, file: Path) -> bool:
    """Whether a process has a file open."""
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if descriptor.readlink() == file:
                    return True
    return False


def all_processes() -> dict[int, str]:
    """Return the command lines of all processes."""
    commands = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                commands[int(entry.name)] = command.decode(errors="replace")
    return commands


def session_of(pid: int) -> int:
    """Return the session that a process belongs to; 0 if it has ended."""
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


def children(pid: int) -> list[int]:
    """Return a process's children, whichever of its threads started them."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a thread that has just ended
            found += map(int, (task / "children").read_text().split())
    return found
