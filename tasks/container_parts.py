"""Build the images of compose.yaml, start and stop its parts by Podman."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from container_env import ROOT, Told, Wrong

KEPT = ROOT / "build" / "containers"
"""What is made once."""

BASE = "localhost/imgprocessor-base"
TARGETS = ("redis", "tls", "varnish", "worker", "flower", "server")
"""Of the Dockerfile, each an image of compose.yaml."""
NODES_TARGETS = ("objects", "memory")
"""The same of compose.nodes.yaml."""

COMMAND_SECONDS = 1800

# What Podman needs where there is no systemd.
_PODMAN_CONF = """\
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
# debian:bookworm-slim has none of these either.
_LEFT_OUT = ("doc", "man", "info", "locale")


def run(*words: str | Path) -> str:
    """Run a command of Podman's kind; return what it printed.

    Raises:
        Wrong: it failed; the message has the end of what it said.
    """
    told = {
        **os.environ,
        "CONTAINERS_CONF": str(KEPT / "containers.conf"),
        "BUILDAH_FORMAT": "docker",
    }
    done = subprocess.run(
        words, check=False, cwd=ROOT, env=told, capture_output=True, text=True,
        timeout=COMMAND_SECONDS,
    )  # fmt: skip
    if done.returncode != 0:
        said = (done.stdout + done.stderr)[-3000:]
        raise Wrong(f"{' '.join(map(str, words))}: status {done.returncode}\n{said}")
    return done.stdout


def build_images(*targets: str) -> None:
    """Build images, the base of them from Debian's packages."""
    KEPT.mkdir(parents=True, exist_ok=True)
    (KEPT / "containers.conf").write_text(_PODMAN_CONF, encoding="utf-8")
    _make_base()
    options = ["--layers", "--build-arg", f"BASE={BASE}"]
    certificates = os.environ.get("PIP_CERT")
    if certificates:
        options += ["--secret", f"id=certificates,src={certificates}"]
    for target in targets:
        print(f"building {target} ...", flush=True)
        run("podman", "build", *options, "--target", target, "-t", image(target), ".")


def image(target: str) -> str:
    """Return what a target's image is called."""
    return f"localhost/imgprocessor-{target}"


def _make_base() -> None:
    """Make the base once: what debian:bookworm-slim is, without a registry."""
    archive = KEPT / "base.tar"
    if not archive.exists():
        print("making Debian's base from its packages ...", flush=True)
        beside = archive.with_name("base-new.tar")
        run(
            *("mmdebstrap", "--variant=minbase", "--include=usr-is-merged"),
            "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
            *(f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in _LEFT_OUT),
            "--dpkgopt=path-include=/usr/share/doc/*/copyright",
            *("bookworm", beside),
        )
        beside.replace(archive)
    if not run("podman", "images", "--quiet", BASE).strip():
        run("podman", "import", "--change", 'CMD ["/bin/bash"]', archive, BASE)


@dataclass(frozen=True)
class Parts:
    """The running parts of compose.yaml, and of what is laid over it."""

    project: str
    told: Told
    overlays: tuple[str, ...] = ()

    def compose(self, *words: str) -> str:
        """Have podman-compose do something."""
        program = KEPT / "compose" / "bin" / "podman-compose"
        files = [word for file in ("compose.yaml", *self.overlays) for word in ("-f", file)]
        known = ("--env-file", self.told.file)
        return run(program, "-p", self.project, *known, *files, *words)

    def up(self, scale: str = "worker=1") -> None:
        """Start what does not run yet."""
        self.compose("up", "-d", "--no-build", "--scale", scale)

    def names(self, service: str | None = None, *options: str) -> list[str]:
        """Return the names of the containers that run, of one service or of all; `-a`: of others,
        too.
        """
        labels = [f"io.podman.compose.project={self.project}"]
        if service is not None:
            labels.append(f"com.docker.compose.service={service}")
        filters = [word for label in labels for word in ("--filter", f"label={label}")]
        return run("podman", "ps", *options, *filters, "--format", "{{.Names}}").split()

    def inspect(self, name: str) -> dict[str, Any]:
        """Return all that Podman knows of a container."""
        (found,) = json.loads(run("podman", "inspect", name))
        known: dict[str, Any] = found
        return known

    def kill(self, name: str) -> int:
        """Kill what runs in a container from outside, so that it is not taken for the operator's
        wish that it be gone; return the process's number.
        """
        process = int(self.inspect(name)["State"]["Pid"])
        os.kill(process, signal.SIGKILL)
        return process

    def show_logs(self) -> None:
        """Print the ends of all logs, which go with the containers."""
        for name in self.names():
            done = subprocess.run(
                ["podman", "logs", "--tail", "12", name],  # noqa: S607 - as all of Podman is
                check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
            print(f"--- {name}\n{done.stdout}", file=sys.stderr)


def is_healthy(name: str) -> bool:
    """Whether a container's own check says so; made now, because without systemd nobody makes it at
    its time.
    """
    with contextlib.suppress(Wrong):
        run("podman", "healthcheck", "run", name)
        return True
    return False


@contextlib.contextmanager
def started(told: Told, *overlays: str, scale: str = "worker=1") -> Iterator[Parts]:
    """Start all parts; remove them, with their volumes, at the end. Where something is not so, show
    what they logged.
    """
    parts = Parts(f"imgprocessor-try-{os.getpid()}", told, overlays)
    try:
        parts.up(scale)
        yield parts
    except BaseException:
        parts.show_logs()
        raise
    finally:
        # By name: podman-compose forgets workers that it was told to add.
        run("podman", "rm", "-f", "-v", "-t", "20", *parts.names(None, "-a"))
        parts.compose("down", "-v")
