"""`reload`: a new program, policy or settings without losing a request, daemon by daemon.

`apachectl graceful` is no way to do it: it has Apache end its daemons, and kill them after three
seconds (mod_wsgi, request pipeline, "Recovery flow on graceful restart"). A daemon that is sent
SIGUSR1 itself finishes what it has begun, and Apache starts another in its place.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import click

from imgprocessor.cli.options import FILE, Files, with_files
from imgprocessor.errors import ConfigurationError
from imgprocessor.parts import make_delivery, make_purger, make_signing
from imgprocessor.rendering.process import run_folder
from imgprocessor.storage.shared.configured import make_shared

DAEMON = "(wsgi:img"
"""How `display-name` in the virtual host has daemons called; there may be no room for all of it."""

PID_FILE = Path("/run/apache2/apache2.pid")
"""Debian's."""

_PAUSE_SECONDS = 0.02


@click.command(help="Have Apache's daemons start anew, losing nothing.")
@with_files()
@click.option("--pid-file", type=FILE, default=PID_FILE, help="Apache's.")
@click.option(
    "--wait", type=float, default=90.0, metavar="SECONDS", help="For each daemon; default 90."
)
def reload(files: Files, pid_file: Path, wait: float) -> None:
    """Check that they could start, and replace them."""

    def check() -> None:
        settings = files.load()
        make_purger(settings, make_delivery(settings))
        make_shared(settings)
        make_signing(settings)
        run_folder(settings)

    replace_daemons(pid_file, wait, print, check)


def replace_daemons(
    pid_file: Path, wait_seconds: float, tell: Callable[[str], None], check: Callable[[], object]
) -> None:
    """Replace the daemons of a running Apache, one after the other, if `check` raises nothing where
    it is called with their rights.

    Raises:
        ConfigurationError: there are none, they could not start, or one does not end in time.
    """
    apache = _apache(pid_file)
    daemons = daemons_of(apache)
    if not daemons:
        raise ConfigurationError(f"{pid_file}: Apache {apache} has no daemons called {DAEMON}...)")
    _checked(daemons[0], check)
    for daemon in daemons:
        began = time.monotonic()
        _replace(apache, daemon, wait_seconds)
        tell(f"daemon {daemon} was replaced in {time.monotonic() - began:.1f} s")


def daemons_of(apache: int) -> list[int]:
    """Return the daemons that an Apache has started."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            command = (entry / "cmdline").read_bytes().decode(errors="replace")
            if parent == apache and DAEMON in command:
                found.append(int(entry.name))
    return sorted(found)


def _apache(pid_file: Path) -> int:
    try:
        return int(pid_file.read_text())
    except (OSError, ValueError) as error:
        wrong = f"{pid_file}: cannot tell Apache's process from it; name another by --pid-file"
        raise ConfigurationError(wrong) from error


def _checked(daemon: int, check: Callable[[], object]) -> None:
    """Call `check` in a process with a daemon's rights: root can read what no daemon can."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            if os.geteuid() == 0:
                _take_rights_of(daemon)
            check()
            status = 0
        except ConfigurationError as error:
            os.write(writing, str(error).encode(errors="replace"))
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        wrong = told.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    if status:
        raise ConfigurationError(wrong or f"what daemon {daemon} would read cannot be checked")


def _take_rights_of(process: int) -> None:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    known = {name: words.split() for name, _, words in (line.partition(":") for line in lines)}
    os.setgroups([int(group) for group in known["Groups"]])
    os.setgid(int(known["Gid"][1]))
    os.setuid(int(known["Uid"][1]))


def _replace(apache: int, daemon: int, wait_seconds: float) -> None:
    deadline = time.monotonic() + wait_seconds
    # A daemon that has not loaded the application yet has no thread that could answer.
    threads = _threads(daemon) // 2
    before = sum(_threads(known) > threads for known in daemons_of(apache))
    try:
        os.kill(daemon, signal.SIGUSR1)
    except ProcessLookupError:
        return  # it has ended by itself
    except PermissionError as error:
        raise ConfigurationError(f"daemon {daemon}: only root may reload") from error
    while (
        daemon in (running := daemons_of(apache))
        or sum(_threads(known) > threads for known in running) < before
    ):
        if time.monotonic() > deadline:
            raise ConfigurationError(f"daemon {daemon} is not replaced yet; the rest is left alone")
        time.sleep(_PAUSE_SECONDS)


def _threads(pid: int) -> int:
    try:
        return len(list(Path(f"/proc/{pid}/task").iterdir()))
    except OSError:  # it has ended
        return 0
