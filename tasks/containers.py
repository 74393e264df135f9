"""Build the images of compose.yaml by Podman, start all parts, and see that all of it works.

With --env nothing is built or started: .env and secrets/ are written, which compose.yaml needs.
"""

import argparse
import base64
import contextlib
import http.client
import io
import json
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from container_parts import (
    ROOT,
    TARGETS,
    Parts,
    Told,
    Wrong,
    build_images,
    image,
    is_healthy,
    run,
    started,
    write_environment,
)
from PIL import Image
from processes import free_port

MAX_IMAGE_BYTES = 250_000_000
"""Of the server's and the worker's."""

START_SECONDS = 180
JOB_SECONDS = 180
AWAY_SECONDS = 5
JOBS = 30
WORKERS = 3
ODD_USER = "12345"
PICTURE = "/images/?name=meadow.jpg&width=340"
THUMBNAIL = 100
HINTS = {"ECT": "3g", "Sec-CH-Viewport-Width": "360", "Accept": "image/webp,*/*"}


def main() -> int:
    """Do so; return the exit status."""
    parser = argparse.ArgumentParser(prog="./run containers", description=__doc__)
    parser.add_argument("--env", action="store_true", help="write .env and secrets/, and no more")
    options = parser.parse_args()
    try:
        if options.env:
            told = write_environment(ROOT / ".env", ROOT / "secrets")
            print(f"{told.file} has the upload token, and Flower's password (its user: flower)")
            print(f"{told.certificate.parent} has a certificate to try: put your own there")
        else:
            _try()
            print("all of it is so")
    except (Wrong, OSError, subprocess.TimeoutExpired) as error:
        print(f"./run containers: {error}", file=sys.stderr)
        return 1
    return 0


def _try() -> None:
    if os.geteuid() != 0:
        raise Wrong("only root can try containers here; --env, and docker compose, need no root")
    # An end by a signal ends the containers, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    build_images()
    _look_at_images()
    with tempfile.TemporaryDirectory(prefix="imgprocessor-containers-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        originals = folder / "originals"
        originals.mkdir()
        run(sys.executable, ROOT / "tasks" / "samples.py", originals)
        _try_alone(originals)
        ports = {part: free_port() for part in ("TLS_PORT", "API_PORT", "FLOWER_PORT")}
        told = write_environment(folder / "env", folder / "secrets", ORIGINALS=originals, **ports)
        with started(f"imgprocessor-try-{os.getpid()}", told) as parts:
            trial = Trial(parts, told, **{name.lower(): port for name, port in ports.items()})
            try:
                trial.all()
            except BaseException:
                _show_logs(parts)
                raise


def _look_at_images() -> None:
    for target in TARGETS:
        size = int(run("podman", "image", "inspect", "--format", "{{.Size}}", image(target)))
        _see(f"the image {target} has {size / 1e6:.0f} MB", size > 0)
        if target in {"server", "worker"}:
            _see(f"... which is under {MAX_IMAGE_BYTES / 1e6:.0f}", size < MAX_IMAGE_BYTES)
            look = "for name in gcc cc c++ cpp ld as make pip; do command -v $name; done; true"
            found = run("podman", "run", "--rm", image(target), "sh", "-c", look)
            _see(f"... and {found.split() or 'no compiler'}", not found.split())


def _try_alone(originals: Path) -> None:
    """See that one image serves a folder, as any user, and writes nowhere but into memory and its
    volume; that SIGTERM ends it warmly; and that it starts again after it was killed.
    """
    port, name = free_port(), f"imgprocessor-alone-{os.getpid()}"
    restricted = ("--read-only", "--read-only-tmpfs=false", "--cap-drop", "ALL")
    run(
        *("podman", "run", "-d", "--name", name, "--user", f"{ODD_USER}:{ODD_USER}", *restricted),
        *("-p", f"127.0.0.1:{port}:8000", "-v", f"{originals}:/originals:ro", image("server")),
    )
    try:
        site = Site(f"http://localhost:{port}")
        _await("the server's image serves a folder by itself", lambda: site.is_picture(PICTURE))
        users = run("podman", "top", name, "huser").split()[1:]
        _see(f"... as user {set(users)}", set(users) == {ODD_USER})
        _await("... and is healthy", lambda: is_healthy(name))
        run("podman", "kill", "-s", "KILL", name)
        run("podman", "start", name)
        _await("it starts again after kill -9", lambda: site.is_picture(f"{PICTURE}1"))
        with ThreadPoolExecutor() as clients:
            asked = clients.submit(
                site.is_picture, "/images/?name=night.jpg&width=3400&format=webp"
            )
            time.sleep(0.3)  # until it is in the server's hands
            began = time.monotonic()
            run("podman", "stop", "-t", "40", name)
            seconds = time.monotonic() - began
            _see("SIGTERM ends it, and not who was asking", asked.result())
        status = run("podman", "inspect", "--format", "{{.State.ExitCode}}", name).strip()
        _see(f"... with status {status} after {seconds:.1f} s", status == "0")
    finally:
        run("podman", "rm", "-f", "-v", name)


@dataclass
class Site:
    """One of the parts, as clients see it."""

    base: str
    context: ssl.SSLContext | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def ask(
        self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers by their names in lower case, and body."""
        asked = urllib.request.Request(self.base + path, body, self.headers | (headers or {}))
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if self.context is not None:
            handlers.append(urllib.request.HTTPSHandler(context=self.context))
        try:
            with urllib.request.build_opener(*handlers).open(asked, timeout=60) as answer:
                told = {name.lower(): value for name, value in answer.headers.items()}
                return answer.status, told, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                told = {name.lower(): value for name, value in error.headers.items()}
                return error.code, told, error.read()

    def is_picture(self, path: str) -> bool:
        """Whether a picture comes now."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, _, body = self.ask(path)
            return status == http.HTTPStatus.OK and _is_image(body)
        return False


class Trial:
    """What is tried with all parts."""

    def __init__(
        self, parts: Parts, told: Told, *, tls_port: int, api_port: int, flower_port: int
    ) -> None:
        self._parts = parts
        self._ports = {tls_port, api_port, flower_port}
        self._tls_port = tls_port
        trusting = ssl.create_default_context(cafile=str(told.certificate))
        self._front = Site(f"https://localhost:{tls_port}", trusting, HINTS)
        authorization = f"Bearer {told.token}"
        self._open = Site(f"http://localhost:{api_port}")
        self._api = Site(self._open.base, headers={"Authorization": authorization})
        password = base64.b64encode(f"flower:{told.password}".encode()).decode()
        self._flower = Site(f"http://localhost:{flower_port}")
        self._flower_password = f"Basic {password}"
        self._made = 0

    def all(self) -> None:
        """Try all."""
        begun = time.monotonic()
        _await("all parts have started", lambda: self._front.is_picture(PICTURE))
        print(f"    after {time.monotonic() - begun:.1f} s")
        self._see_ports()
        self._see_front()
        self._see_conversion()
        self._see_flower()
        self._see_workers()
        self._kill_worker()
        self._stop_redis()
        self._kill_each()

    def _see_ports(self) -> None:
        shown = run(
            "podman", "ps", "--filter", f"label=io.podman.compose.project={self._parts.project}",
            "--format", "{{.Ports}}",
        )  # fmt: skip
        open_ports = [port for line in shown.splitlines() for port in line.split(", ") if port]
        world = [port for port in open_ports if not port.startswith("127.0.0.1:")]
        only = len(world) == 1 and f":{self._tls_port}->" in world[0]
        _see(f"ports are {open_ports}: to the world {world}", only)

    def _see_front(self) -> None:
        _, page, _ = self._front.ask("/")
        _see("the page asks browsers for hints, by TLS", "ECT" in page.get("accept-ch", ""))
        path = f"{PICTURE}2"
        _, first, body = self._front.ask(path)
        _, second, again = self._front.ask(path)
        told = f"{first.get('x-cache')}, then {second.get('x-cache')}"
        _see(f"a picture comes by TLS and Varnish: {first.get('image-decision')}", _is_image(body))
        _see(f"... {told}", second.get("x-cache") == "HIT" and again == body)

    def _see_conversion(self) -> None:
        status, _, _ = self._open.ask("/convert", *_form(self._picture(THUMBNAIL)))
        _see(f"a job without a token is a {status}", status == http.HTTPStatus.UNAUTHORIZED)
        job = self._begin()
        _see(f"with it there is one: {job}", bool(job))
        self._await_all([job])
        _, told, body = self._api.ask(f"/convert/{job}/thumbnail")
        with Image.open(io.BytesIO(body)) as thumbnail:
            _see(
                f"... and its thumbnail: {told.get('content-type')} {thumbnail.size}",
                max(thumbnail.size) == THUMBNAIL,
            )

    def _see_flower(self) -> None:
        _await("Flower has started", lambda: self._flower_status() == http.HTTPStatus.UNAUTHORIZED)
        found = self._flower_status(self._flower_password)
        _see(
            f"Flower without the password is a 401, with it a {found}", found == http.HTTPStatus.OK
        )

    def _flower_status(self, authorization: str = "") -> int:
        with contextlib.suppress(OSError, http.client.HTTPException):
            headers = {"Authorization": authorization} if authorization else {}
            return self._flower.ask("/workers", headers=headers)[0]
        return 0

    def _see_workers(self) -> None:
        self._parts.up(WORKERS)
        names = self._parts.names("worker")
        _see(f"workers are {names}", len(names) == WORKERS)
        _await(
            "each of them takes jobs",
            lambda: all(is_healthy(name) for name in names),
        )

    def _kill_worker(self) -> None:
        begun = time.monotonic()
        jobs = [self._begin() for _ in range(JOBS)]
        name = self._parts.names("worker")[0]
        self._kill(name)
        self._await_all(jobs)
        _see(
            f"{JOBS} jobs of which a worker was killed by kill -9: all are done, after"
            f" {time.monotonic() - begun:.1f} s",
            all(jobs),
        )
        _await("the worker has started again", lambda: is_healthy(name))

    def _stop_redis(self) -> None:
        jobs = [self._begin() for _ in range(JOBS)]
        (redis,) = self._parts.names("redis")
        self._parts.compose("stop", "-t", "5", "redis")
        stopped = time.monotonic()
        body, headers = _form(self._picture())
        status, told, _ = self._api.ask("/convert", body, headers)
        retry = told.get("retry-after")
        _see(
            f"without Redis a job is a {status}, Retry-After {retry}",
            status == http.HTTPStatus.SERVICE_UNAVAILABLE and retry is not None,
        )
        _see("... and pictures come", self._front.is_picture(f"{PICTURE}3"))
        time.sleep(max(0.0, stopped + AWAY_SECONDS - time.monotonic()))
        run("podman", "start", redis)
        self._await_all(jobs)
        _see(
            f"{JOBS} jobs while Redis was away for {AWAY_SECONDS} s: all are done"
            f" {time.monotonic() - stopped:.1f} s after it stopped",
            all(jobs),
        )

    def _kill_each(self) -> None:
        for number, service in enumerate(("redis", "varnish", "tls", "flower", "server")):
            (name,) = self._parts.names(service)
            killed = time.monotonic()
            self._kill(name)
            _await(
                f"{service} starts again after kill -9",
                lambda name=name: is_healthy(name),  # type: ignore[misc]
            )
            _await(
                "... and pictures come",
                lambda number=number: self._front.is_picture(f"{PICTURE}{number}"),  # type: ignore[misc]
            )
            print(f"    after {time.monotonic() - killed:.1f} s")
        self._await_all([self._begin()])
        _see("a job after all of that is done", passed=True)

    def _kill(self, name: str) -> None:
        """Kill what runs in a container from outside, so that it is not taken for the operator's
        wish that it be gone.
        """
        process = int(self._parts.inspect(name)["State"]["Pid"])
        os.kill(process, signal.SIGKILL)
        _await_quietly(lambda: self._parts.inspect(name)["State"]["Pid"] not in {process, 0})

    def _picture(self, side: int = 1200) -> bytes:
        """Return a picture that nobody has seen yet."""
        self._made += 1
        body = io.BytesIO()
        size = (side + self._made, side)
        Image.effect_noise(size, 80).convert("RGB").save(body, "JPEG", quality=85)
        return body.getvalue()

    def _begin(self) -> str:
        body, headers = _form(self._picture())
        status, _, answer = self._api.ask("/convert", body, headers)
        if status != http.HTTPStatus.ACCEPTED:
            raise Wrong(f"a job was answered {status}: {answer.decode(errors='replace')}")
        return str(json.loads(answer)["submission_task_id"])

    def _await_all(self, jobs: list[str]) -> None:
        """Wait until all jobs have succeeded.

        Raises:
            Wrong: one has not.
        """
        deadline = time.monotonic() + JOB_SECONDS
        waiting = list(jobs)
        while waiting:
            status, _, answer = self._api.ask(f"/convert/{waiting[0]}?wait=5")
            told = json.loads(answer)
            if told.get("status") == "SUCCESS":
                waiting.pop(0)
            elif told.get("status") == "FAILURE" or time.monotonic() > deadline:
                raise Wrong(f"a job is {status} {told}; {len(waiting)} are left")
            elif status != http.HTTPStatus.OK:
                time.sleep(0.5)


def _form(picture: bytes) -> tuple[bytes, dict[str, str]]:
    """Return a form with a file, and the headers that it needs."""
    boundary = "------------------------d74496d66958873e"
    head = 'Content-Disposition: form-data; name="file"; filename="a.jpg"'
    body = f"--{boundary}\r\n{head}\r\n\r\n".encode() + picture + f"\r\n--{boundary}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def _is_image(body: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(body)) as opened:
            opened.load()
    except OSError:
        return False
    return True


def _see(what: str, passed: bool) -> None:  # noqa: FBT001 - read aloud, it is a sentence
    """Say what was seen.

    Raises:
        Wrong: it is not so.
    """
    if not passed:
        raise Wrong(f"this is not so: {what}")
    print(f"  {what}", flush=True)


def _await(what: str, is_so: Callable[[], bool]) -> None:
    """Wait until something is so, and say it."""
    _see(what, _await_quietly(is_so))


def _await_quietly(is_so: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


def _show_logs(parts: Parts) -> None:
    """Print the ends of all logs, which go with the containers."""
    for name in parts.names():
        done = subprocess.run(
            ["podman", "logs", "--tail", "12", name],  # noqa: S607 - as all of Podman is
            check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        print(f"--- {name}\n{done.stdout}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
