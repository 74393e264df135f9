"""Build the images of compose.yaml by Podman, start all parts, and see that all of it works."""

import argparse
import base64
import contextlib
import http.client
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from container_documents import DocumentsTrial, write_documents
from container_env import ROOT, Told, Wrong, write_environment
from container_nodes import try_nodes
from container_parts import (
    NODES_TARGETS,
    TARGETS,
    Parts,
    build_images,
    image,
    is_healthy,
    run,
    started,
)
from container_profiles import as_docker, without_bubblewrap
from container_sites import Site, await_so, form, front, is_image, is_so_soon, noise, see
from PIL import Image
from processes import free_port

MAX_IMAGE_BYTES = {"server": 250_000_000, "worker": 290_000_000}

JOB_SECONDS = 180
AWAY_SECONDS = 5
JOBS = 15
WORKERS = 3
ODD_USER = "12345"
PICTURE = "/images/?name=meadow.jpg&width=340"
THUMBNAIL = 100


def main() -> int:
    """Do so; return the exit status."""
    parser = argparse.ArgumentParser(prog="./run containers", description=__doc__)
    parser.add_argument(
        "--nodes", action="store_true", help="try several nodes, as compose.nodes.yaml has them"
    )
    try:
        _try(several=parser.parse_args().nodes)
    except (Wrong, OSError, subprocess.TimeoutExpired) as error:
        print(f"./run containers: {error}", file=sys.stderr)
        return 1
    print("all of it is so")
    return 0


def _try(*, several: bool) -> None:
    if os.geteuid() != 0:
        raise Wrong("only root can try containers here; --env, and docker compose, need no root")
    # An end by a signal ends the containers, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    targets = (*TARGETS, *NODES_TARGETS) if several else TARGETS
    build_images(*targets)
    if not several:
        _look_at_images()
    with tempfile.TemporaryDirectory(prefix="imgprocessor-containers-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        originals = folder / "originals"
        originals.mkdir()
        run(sys.executable, ROOT / "tasks" / "samples.py", originals)
        write_documents(originals)
        if not several:
            _try_alone(originals)
        names = ("TLS_PORT", "FLOWER_PORT", "OBJECTS_PORT" if several else "API_PORT")
        ports = {name: free_port() for name in names}
        told = write_environment(folder / "env", folder / "secrets", ORIGINALS=originals, **ports)
        if several:
            try_nodes(told, originals, ports["TLS_PORT"], ports["OBJECTS_PORT"])
            return
        docker = as_docker(folder)
        known = {name.lower(): port for name, port in ports.items()}
        if docker is None:
            print("as Docker has it, nothing was tried: there is no Go to fetch its profile with")
        else:
            print("all parts, under Docker's profile for system calls:", flush=True)
            with started(told, str(docker)) as parts:
                Trial(parts, told, **known).all("landlock")
        print("documents, under Podman's own profile:", flush=True)
        with started(told) as parts:
            trial = Trial(parts, told, **known)
            if docker is None:
                trial.all("bubblewrap")
            else:
                trial.documents.all("bubblewrap")
        print("documents, without bubblewrap:", flush=True)
        with started(told, str(without_bubblewrap(folder))) as parts:
            documents = Trial(parts, told, **known).documents
            documents.see_sandbox("landlock")
            documents.see_page()


def _look_at_images() -> None:
    for target in TARGETS:
        size = int(run("podman", "image", "inspect", "--format", "{{.Size}}", image(target)))
        see(f"the image {target} has {size / 1e6:.0f} MB", size > 0)
        if most := MAX_IMAGE_BYTES.get(target):
            see(f"... which is under {most / 1e6:.0f}", size < most)
            look = "for name in gcc cc c++ cpp ld as make pip; do command -v $name; done; true"
            found = run("podman", "run", "--rm", image(target), "sh", "-c", look)
            see(f"... and {found.split() or 'no compiler'}", not found.split())


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
        await_so("the server's image serves a folder by itself", lambda: site.is_picture(PICTURE))
        users = run("podman", "top", name, "huser").split()[1:]
        see(f"... as user {set(users)}", set(users) == {ODD_USER})
        await_so("... and is healthy", lambda: is_healthy(name))
        run("podman", "kill", "-s", "KILL", name)
        run("podman", "start", name)
        await_so("it starts again after kill -9", lambda: site.is_picture(f"{PICTURE}1"))
        with ThreadPoolExecutor() as clients:
            asked = clients.submit(
                site.is_picture, "/images/?name=night.jpg&width=3400&format=webp"
            )
            time.sleep(0.3)  # until it is in the server's hands
            began = time.monotonic()
            run("podman", "stop", "-t", "40", name)
            seconds = time.monotonic() - began
            see("SIGTERM ends it, and not who was asking", asked.result())
        status = run("podman", "inspect", "--format", "{{.State.ExitCode}}", name).strip()
        see(f"... with status {status} after {seconds:.1f} s", status == "0")
    finally:
        run("podman", "rm", "-f", "-v", name)


class Trial:
    """What is tried with all parts."""

    def __init__(
        self, parts: Parts, told: Told, *, tls_port: int, api_port: int, flower_port: int
    ) -> None:
        self._parts = parts
        self._ports = {tls_port, api_port, flower_port}
        self._tls_port = tls_port
        self._front = front(told, tls_port)
        self.documents = DocumentsTrial(parts, self._front)
        authorization = f"Bearer {told.token}"
        self._open = Site(f"http://localhost:{api_port}")
        self._api = Site(self._open.base, headers={"Authorization": authorization})
        password = base64.b64encode(f"flower:{told.password}".encode()).decode()
        self._flower = Site(f"http://localhost:{flower_port}")
        self._flower_password = f"Basic {password}"
        self._made = 0

    def all(self, sandbox: str) -> None:
        """Try all, where workers must find this sandbox for documents."""
        begun = time.monotonic()
        await_so("all parts have started", lambda: self._front.is_picture(PICTURE))
        print(f"    after {time.monotonic() - begun:.1f} s")
        self._see_ports()
        self._see_front()
        self.documents.all(sandbox)
        self._see_conversion()
        self._see_removal()
        self._see_flower()
        self._see_workers()
        self._kill_workers()
        self._stop_worker()
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
        see(f"ports are {open_ports}: to the world {world}", only)

    def _see_front(self) -> None:
        _, page, _ = self._front.ask("/")
        see("the page asks browsers for hints, by TLS", "ECT" in page.get("accept-ch", ""))
        path = f"{PICTURE}2"
        _, first, body = self._front.ask(path)
        _, second, again = self._front.ask(path)
        told = f"{first.get('x-cache')}, then {second.get('x-cache')}"
        see(f"a picture comes by TLS and Varnish: {first.get('image-decision')}", is_image(body))
        see(f"... {told}", second.get("x-cache") == "HIT" and again == body)

    def _see_conversion(self) -> None:
        status, _, _ = self._open.ask("/convert", *form(self._picture(THUMBNAIL)))
        see(f"a job without a token is a {status}", status == http.HTTPStatus.UNAUTHORIZED)
        job = self._begin()
        see(f"with it there is one: {job}", bool(job))
        self._await_all([job])
        _, told, body = self._api.ask(f"/convert/{job}/thumbnail")
        with Image.open(io.BytesIO(body)) as thumbnail:
            see(
                f"... and its thumbnail: {told.get('content-type')} {thumbnail.size}",
                max(thumbnail.size) == THUMBNAIL,
            )

    def _see_removal(self) -> None:
        """See that a removal reaches Varnish, which knows the server by its address."""
        _, told, _ = self._api.ask("/upload", *form(self._picture()))
        path = told.get("location", "")
        shown = self._front.is_picture(path) and self._front.is_picture(path)
        see(f"an upload is shown: {path}", shown)
        status, _, answer = self._api.ask(path, method="DELETE")
        gone, _, _ = self._front.ask(path)
        see(
            f"... and removed: {status} {answer.decode()}, then {gone}",
            (status, gone) == (http.HTTPStatus.NO_CONTENT, http.HTTPStatus.NOT_FOUND),
        )

    def _see_flower(self) -> None:
        await_so(
            "Flower has started", lambda: self._flower_status() == http.HTTPStatus.UNAUTHORIZED
        )
        found = self._flower_status(self._flower_password)
        see(f"Flower without the password is a 401, with it a {found}", found == http.HTTPStatus.OK)

    def _flower_status(self, authorization: str = "") -> int:
        with contextlib.suppress(OSError, http.client.HTTPException):
            headers = {"Authorization": authorization} if authorization else {}
            return self._flower.ask("/flower/workers", headers=headers)[0]
        return 0

    def _see_workers(self) -> None:
        self._parts.up(f"worker={WORKERS}")
        names = self._parts.names("worker")
        see(f"workers are {names}", len(names) == WORKERS)
        await_so(
            "each of them takes jobs",
            lambda: all(is_healthy(name) for name in names),
        )

    def _kill_workers(self) -> None:
        jobs = self._begin_many()
        names = self._parts.names("worker")
        in_hand = self._count(jobs, "STARTED")
        killed = time.monotonic()
        for name in names:
            self._kill(name)
        see(f"kill -9 of all workers, with {in_hand} of {len(jobs)} jobs in hand", in_hand > 0)
        self._await_all(jobs)
        see(f"... all are done {time.monotonic() - killed:.1f} s later", passed=True)
        await_so("the workers have started again", lambda: all(map(is_healthy, names)))

    def _stop_worker(self) -> None:
        jobs = self._begin_many()
        name = self._parts.names("worker")[0]
        stopped = time.monotonic()
        run("podman", "stop", "-t", "150", name)
        seconds = time.monotonic() - stopped
        status = self._parts.inspect(name)["State"]["ExitCode"]
        see(f"SIGTERM ends a worker after {seconds:.1f} s, with status {status}", status == 0)
        self._await_all(jobs)
        see(f"... and all of {len(jobs)} jobs are done", passed=True)
        run("podman", "start", name)

    def _stop_redis(self) -> None:
        jobs = self._begin_many()
        (redis,) = self._parts.names("redis")
        left = len(jobs) - self._count(jobs, "SUCCESS")
        run("podman", "stop", "-t", "0", redis)  # kills it, and leaves it so
        stopped = time.monotonic()
        see(f"kill -9 of Redis, with {left} of {len(jobs)} jobs to do", left > 0)
        status, told, _ = self._api.ask("/convert", *form(self._picture()))
        retry = told.get("retry-after")
        see(
            f"... a job now is a {status}, Retry-After {retry}",
            status == http.HTTPStatus.SERVICE_UNAVAILABLE and retry is not None,
        )
        see("... and pictures come", self._front.is_picture(f"{PICTURE}3"))
        time.sleep(max(0.0, stopped + AWAY_SECONDS - time.monotonic()))
        run("podman", "start", redis)
        self._await_all(jobs)
        seconds = time.monotonic() - stopped
        see(f"... started after {AWAY_SECONDS} s: all are done after {seconds:.1f} s", passed=True)

    def _kill_each(self) -> None:
        for number, service in enumerate(("redis", "varnish", "tls", "flower", "server")):
            (name,) = self._parts.names(service)
            killed = time.monotonic()
            self._kill(name)
            await_so(
                f"{service} starts again after kill -9",
                lambda name=name: is_healthy(name),  # type: ignore[misc]
            )
            await_so(
                "... and pictures come",
                lambda number=number: self._front.is_picture(f"{PICTURE}{number}"),  # type: ignore[misc]
            )
            print(f"    after {time.monotonic() - killed:.1f} s")
        self._await_all([self._begin()])
        see("a job after all of that is done", passed=True)

    def _kill(self, name: str) -> None:
        process = self._parts.kill(name)
        is_so_soon(lambda: self._parts.inspect(name)["State"]["Pid"] not in {process, 0})

    def _picture(self, side: int = 1200) -> bytes:
        """Return a picture that nobody has seen yet."""
        self._made += 1
        return noise((side + self._made, side))

    def _begin(self) -> str:
        """Hand in a file; return its job."""
        return self._begun(*form(self._picture()))

    def _begin_many(self) -> list[str]:
        """Begin jobs that take little, of files, and such that take a second, of what is there."""
        self._made += JOBS
        heavy = [
            self._begun(f"name=mountains.jpg&format=avif&width={self._made + number}".encode())
            for number in range(1500, 1500 + JOBS)
        ]
        return [*heavy, *(self._begin() for _ in range(JOBS))]

    def _begun(self, body: bytes, headers: dict[str, str] | None = None) -> str:
        status, _, answer = self._api.ask("/convert", body, headers)
        if status != http.HTTPStatus.ACCEPTED:
            raise Wrong(f"a job was answered {status}: {answer.decode(errors='replace')}")
        return str(json.loads(answer)["submission_task_id"])

    def _count(self, jobs: list[str], status: str) -> int:
        """Return of how many jobs this is said."""
        return sum(
            json.loads(self._api.ask(f"/convert/{job}")[2])["status"] == status for job in jobs
        )

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


if __name__ == "__main__":
    sys.exit(main())
