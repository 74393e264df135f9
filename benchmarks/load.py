"""Ask a server for a list of URLs, each exactly once, and watch what memory it takes meanwhile.

The client shares the processors with the server that it measures. So it is one thread that waits in
one place, sends requests that were written beforehand, and looks at answers only once the clock has
stopped.
"""

import contextlib
import mmap
import os
import selectors
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 4
JPEG_ALONE = "image/jpeg"
"""What a client accepts that takes nothing newer."""
ANSWER_SECONDS = 60
"""A server that sends nothing for so long has failed."""
SAMPLE_SECONDS = 0.05
_RECEIVE_BYTES = 1 << 18
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_REST_SECONDS, _REST_SHARE = 1.0, 0.05
"""A server is at rest that takes no more of one processor for so long."""
_AT_WORK_SECONDS = 120
_TRIES = 3
"""A kept connection may be closed by the server just as the next request is on its way."""


class LoadError(Exception):
    """A server did not answer as HTTP wants it; the message says how."""


@dataclass(frozen=True)
class Answer:
    """What came back for one path."""

    path: str
    status: int
    body: bytes
    seconds: float
    """From the first byte sent to the last received."""


@dataclass(frozen=True)
class Load:
    """A list of paths, asked for."""

    seconds: float
    """Wall time, from the first byte sent to the last received."""
    answers: Sequence[Answer]

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return len(self.answers) / self.seconds


def ask_each(
    port: int,
    paths: Sequence[str],
    connections: int = CONNECTIONS,
    *,
    accept: str = JPEG_ALONE,
    headers: str = "",
) -> Load:
    """Send a GET for each path, in this order, over so many kept connections to loopback. Each line
    of further `headers` ends in CR and LF.

    Raises:
        LoadError: when a server does not answer, or not in HTTP.
    """
    host = f"Host: localhost:{port}\r\nAccept: {accept}\r\n{headers}\r\n"
    waiting = iter([(path, f"GET {path} HTTP/1.1\r\n{host}".encode()) for path in paths])
    answers: list[Answer] = []
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
        begin = time.perf_counter()
        # One after the other, each with its request at once: so an idle worker is found for each.
        for path, request in _first(waiting, connections):
            connection = _Connection(port, selector)
            stack.callback(connection.close)
            connection.send(path, request)
        while len(answers) < len(paths):
            ready = selector.select(ANSWER_SECONDS)
            if not ready:
                raise LoadError(f"no answer in {ANSWER_SECONDS} s")
            for key, _ in ready:
                connection = key.data
                answer = connection.receive()
                if answer is not None:
                    answers.append(answer)
                    following = next(waiting, None)
                    if following is None:
                        # Or the server ends it, where others take long.
                        connection.close()
                    else:
                        connection.send(*following)
        return Load(time.perf_counter() - begin, answers)


def _first(waiting: Iterator[tuple[str, bytes]], connections: int) -> Iterator[tuple[str, bytes]]:
    for _ in range(connections):
        one = next(waiting, None)
        if one is not None:
            yield one


class _Connection:
    """One connection, and the answer that is coming in on it."""

    def __init__(self, port: int, selector: selectors.BaseSelector) -> None:
        self._port = port
        self._selector = selector
        self._socket = self._open()
        self._is_open = True
        self._keep = True
        self._path = ""
        self._request = b""
        self._tries = 0
        self._sent = 0.0
        self._forget()

    def send(self, path: str, request: bytes) -> None:
        """Send a request; open the connection if there is none."""
        self._path, self._request, self._tries = path, request, 0
        self._sent = time.perf_counter()
        self._send()

    def receive(self) -> Answer | None:
        """Take what has arrived; return the answer once it is whole."""
        try:
            data = self._socket.recv(_RECEIVE_BYTES)
        except OSError as error:
            data = b""
            if self._got or self._head:
                raise LoadError(f"{self._path}: {error.strerror}") from error
        if not data:
            self._lost()
            return None
        self._parts.append(data)
        self._got += len(data)
        if not self._head and not self._read_head():
            return None
        return self._whole()

    def close(self) -> None:
        """Close the connection, if it is open."""
        if self._is_open:
            self._selector.unregister(self._socket)
            self._socket.close()
            self._is_open = False

    def _open(self) -> socket.socket:
        try:
            opened = socket.create_connection(("127.0.0.1", self._port), ANSWER_SECONDS)
        except OSError as error:
            raise LoadError(f"port {self._port}: {error.strerror}") from error
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(opened, selectors.EVENT_READ, self)
        return opened

    def _send(self) -> None:
        self._tries += 1
        self._forget()
        if not self._is_open:
            self._socket = self._open()
            self._is_open = True
        try:
            self._socket.sendall(self._request)
        except OSError:
            self._lost()

    def _lost(self) -> None:
        """Take the end of the connection: nothing of an answer has come, so ask again."""
        self.close()
        if self._head or self._got or self._tries >= _TRIES:
            raise LoadError(f"{self._path}: the connection ended before the answer did")
        self._send()

    def _forget(self) -> None:
        self._head = b""
        self._parts: list[bytes] = []
        self._got = 0
        self._length: int | None = None
        self._status = 0

    def _read_head(self) -> bool:
        data = b"".join(self._parts)
        head, found, rest = data.partition(b"\r\n\r\n")
        if not found:
            self._parts = [data]
            return False
        lines = head.lower().split(b"\r\n")
        try:
            headers = dict(line.split(b":", 1) for line in lines[1:])
            self._status = int(lines[0].split()[1])
            length = headers.get(b"content-length")
            self._length = None if length is None else int(length)
        except (ValueError, IndexError) as error:
            raise LoadError(f"{self._path}: this is no HTTP: {lines[0]!r}") from error
        if self._length is None and headers.get(b"transfer-encoding", b"").strip() != b"chunked":
            raise LoadError(f"{self._path}: an answer without a length")
        self._keep = headers.get(b"connection", b"").strip() != b"close"
        self._head, self._parts, self._got = head, [rest], len(rest)
        return True

    def _whole(self) -> Answer | None:
        body: bytes | None
        if self._length is not None:
            body = b"".join(self._parts) if self._got >= self._length else None
        else:
            body = b"".join(self._parts) if self._parts[-1].endswith(b"\n") else None
            try:
                body = None if body is None else unchunked(body)
            except ValueError as error:
                raise LoadError(f"{self._path}: these are no chunks") from error
        if body is None:
            return None
        answer = Answer(self._path, self._status, body, time.perf_counter() - self._sent)
        if not self._keep:
            self.close()
        return answer


def unchunked(data: bytes) -> bytes | None:
    """Return a body without the frames of the chunked coding; None if its end has not come yet."""
    parts: list[bytes] = []
    place = 0
    while True:
        end = data.find(b"\r\n", place)
        if end < 0:
            return None
        size = int(data[place:end].split(b";")[0], 16)
        begin = end + 2
        if len(data) < begin + size + 2:
            return None
        if size == 0:
            return b"".join(parts)
        parts.append(data[begin : begin + size])
        place = begin + size + 2


def touch_memory(size: int) -> None:
    """Touch so many bytes of memory, and free them.

    A virtual machine may get memory from its host at the first touch only, and give it back when it
    is free (seen: 3 ms a megabyte, ten times what writing costs). On one that has been up for a
    while all memory was touched, so that is what every system finds before it is measured.
    """
    with mmap.mmap(-1, size) as memory:
        for page in range(0, size, mmap.PAGESIZE):
            memory[page] = 1


def jpeg_size(body: bytes) -> tuple[int, int] | None:
    """Return width and height as a JPEG's frame header has them; None if it is no whole JPEG."""
    if not body.startswith(b"\xff\xd8") or not body.rstrip(b"\0").endswith(b"\xff\xd9"):
        return None
    place = 2
    while place + 9 < len(body):
        marker = body[place + 1]
        if body[place] != 0xFF:  # noqa: PLR2004 - what every marker begins with
            return None
        # Frame headers are C0 to CF, but for tables (C4, CC) and a reserved one (C8).
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:  # noqa: PLR2004
            height = int.from_bytes(body[place + 5 : place + 7], "big")
            return int.from_bytes(body[place + 7 : place + 9], "big"), height
        place += 2 + int.from_bytes(body[place + 2 : place + 4], "big")
    return None


@dataclass
class Memory:
    """The most that a server's processes held at once, in bytes.

    PSS takes the kernel a millisecond a process, which would be taken from the server. So it is
    read only where RSS, which costs nothing, is at least a hundredth higher than ever before.
    """

    pss: int = 0
    """Proportional set size: pages that several processes share count once in all."""
    rss: int = 0
    """Resident set size: such pages count once for each process."""
    _rss_of_pss: float = 0.0

    def take(self, sessions: Collection[int]) -> None:
        """Take one sample."""
        pids = processes_of(sessions)
        rss = sum(int(_of_process(pid, "statm").split()[1]) * _PAGE_BYTES for pid in pids)
        self.rss = max(self.rss, rss)
        if rss > self._rss_of_pss * 1.01:
            self._rss_of_pss = rss
            self.pss = max(self.pss, sum(_pss(pid) for pid in pids))


def _of_process(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:  # it has ended
        return b"0 0"


def _pss(pid: int) -> int:
    for line in _of_process(pid, "smaps_rollup").splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) * 1024
    return 0


@contextlib.contextmanager
def watching(sessions: Collection[int]) -> Iterator[Memory]:
    """Sample the memory of all processes of some sessions, while the body runs."""
    memory = Memory()
    memory.take(sessions)
    with repeating(lambda: memory.take(sessions), SAMPLE_SECONDS):
        yield memory


@contextlib.contextmanager
def repeating(act: Callable[[], object], pause_seconds: float) -> Iterator[None]:
    """Act again and again in a thread of its own, with a pause before each, while the body runs."""
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(pause_seconds):
            act()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def processes_of(sessions: Collection[int]) -> list[int]:
    """Return the ids of all processes of some sessions."""
    found = []
    for entry in os.listdir("/proc"):  # noqa: PTH208 - twenty times a second
        if entry.isdigit():
            with contextlib.suppress(OSError):
                if os.getsid(int(entry)) in sessions:
                    found.append(int(entry))
    return found


def processor_seconds(sessions: Collection[int]) -> float:
    """Return how much of processors all processes of some sessions have taken so far, and those
    that they waited for.
    """
    ticks = 0
    for pid in processes_of(sessions):
        ticks += sum(
            int(part) for part in _of_process(pid, "stat").rpartition(b") ")[2].split()[11:15]
        )
    return ticks / os.sysconf("SC_CLK_TCK")


def at_rest(sessions: Collection[int]) -> None:
    """Wait until processes of some sessions do next to nothing, for what they do of their own
    accord behind answers.

    Raises:
        LoadError: they go on for too long.
    """
    deadline = time.monotonic() + _AT_WORK_SECONDS
    while time.monotonic() < deadline:
        before = processor_seconds(sessions)
        time.sleep(_REST_SECONDS)
        if processor_seconds(sessions) - before < _REST_SHARE * _REST_SECONDS:
            return
    raise LoadError(f"after {_AT_WORK_SECONDS} s it still does something that nobody waits for")


def repeat(
    port: int, paths: Sequence[str], seconds: int, folder: Path, cache_control: str = ""
) -> float:
    """Ask for some paths over and over with wrk; return requests a second.

    Raises:
        LoadError: when a request failed, or was not answered with success.
    """
    file = folder / "paths.txt"
    file.write_text("\n".join(paths) + "\n")
    script = Path(__file__).with_name("repeats.lua")
    command = ["wrk", "-t2", "-c16", f"-d{seconds}s", "--timeout", "20s", "-s", str(script)]
    url = f"http://127.0.0.1:{port}"
    done = subprocess.run(
        [*command, url, "--", str(file), f"localhost:{port}", cache_control],
        capture_output=True,
        text=True,
        check=False,
    )
    words = done.stdout.rpartition("repeats: ")[2].split()
    if done.returncode or not words:
        raise LoadError(f"wrk failed: {done.stderr.strip() or done.stdout.strip()}")
    requests, microseconds, failures = (int(word) for word in words[:3])
    if failures or not requests:
        raise LoadError(f"{failures} of {requests} repeats failed")
    return requests / (microseconds / 1e6)
