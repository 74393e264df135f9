"""What `./run bench` has to know of a system to install, start and ask it."""

import os
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

CORES = os.cpu_count() or 1


class CannotInstall(Exception):
    """A peer cannot be had on this machine; the message says why."""


@dataclass(frozen=True)
class Place:
    """Where a system runs."""

    state: Path
    """Empty at first, and removed afterwards; others may look into it."""
    originals: Path
    static: Path
    """Files that imgprocessor's Apache also serves."""
    port: int
    spare_ports: Sequence[int]
    """As many as there are cores, for what stands behind a proxy."""


@dataclass(frozen=True)
class Command:
    """A process to start."""

    words: Sequence[str | Path]
    port: int
    """On which it will listen."""
    environment: Mapping[str, str] = field(default_factory=dict)
    children_only: bool = False
    """It only starts the server, in a session of its own, and is not counted."""


class System(ABC):
    """A server of renditions, and its place in the cache of installed ones."""

    name: str
    document: str
    """What its set-up follows."""
    negotiates = True
    """Whether it can choose a format by `Accept`."""

    def __init__(self, cache: Path) -> None:
        self.folder = cache / self.name

    @abstractmethod
    def installed(self) -> bool:
        """Whether it can be started."""

    @abstractmethod
    def install(self) -> None:
        """Install it.

        Raises:
            CannotInstall: when this machine lacks something.
        """

    @abstractmethod
    def version(self) -> str:
        """Return its version, and those of what it renders with."""

    @abstractmethod
    def commands(self, place: Place) -> list[Command]:
        """Write what it needs into its state; return what to start."""

    @abstractmethod
    def path(self, name: str, width: int, quality: int) -> str:
        """Return path and query for an original as a JPEG, so many pixels wide."""

    @abstractmethod
    def negotiated(self, name: str, width: int, quality: int | None) -> str:
        """Return path and query for an original so many pixels wide, in the format that the system
        chooses by `Accept`; at a quality, or at its own.
        """

    def _run(self, *words: str | Path, environment: Mapping[str, str] | None = None) -> None:
        """Run one step of the installation; what it prints goes to a log."""
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / "install.log"
        with log.open("ab") as file:
            done = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**os.environ, **(environment or {})},
                check=False,
            )
        if done.returncode:
            step = " ".join(str(word) for word in words)
            shown = str(log).replace(str(Path.home()), "~", 1)
            raise CannotInstall(f"`{step}` failed; see {shown}")


def nginx(place: Place, location: str, upstream: str = "", load: str = "") -> Command:
    """Write a configuration of nginx with one server; return its command."""
    state = place.state
    user = "user www-data;" if os.geteuid() == 0 else ""
    folders = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"{name}_temp_path {state}/{name};" for name in folders)
    conf = state / "nginx.conf"
    conf.write_text(f"""\
{load}
{user}
daemon off;
worker_processes {CORES};
pid {state}/nginx.pid;
error_log {state}/error.log;
events {{ }}
http {{
include /etc/nginx/mime.types;
access_log {state}/access.log;
sendfile on;
tcp_nopush on;
{temporary}
{upstream}
server {{
listen 127.0.0.1:{place.port};
{location}}}
}}
""")
    return Command(
        ("/usr/sbin/nginx", "-p", state, "-e", state / "error.log", "-c", conf), place.port
    )


def nginx_version() -> str:
    """Return nginx' name and version."""
    done = subprocess.run(["/usr/sbin/nginx", "-v"], capture_output=True, text=True, check=False)
    return done.stderr.strip().rpartition(" ")[2]


def printed(*words: str | Path) -> str:
    """Return the last line that a program prints; "unknown" if none, or if it is not there."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "unknown"
    return (done.stdout.strip() or "unknown").splitlines()[-1]
