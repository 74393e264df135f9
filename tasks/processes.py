"""Start Apache, Varnish and nginx as processes of this machine, and stop them.

Serves `serve` and `edge` beside it, the benchmarks, and the tests.
"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

HTTPD = Path("/usr/sbin/apache2")
MODULES = Path("/usr/lib/apache2/modules")
VARNISHD = Path("/usr/sbin/varnishd")
NGINX = Path("/usr/sbin/nginx")
REDIS = Path("/usr/bin/redis-server")
DAEMON_USER = "www-data"
"""Whom Apache and nginx run as when root starts them: Debian's own choice."""

START_SECONDS = 60
STOP_SECONDS = 10

HTTPD_CONF = """\
{load}
ServerRoot "{state}"
DefaultRuntimeDir "{state}"
PidFile "{state}/httpd.pid"
ServerName localhost
Listen 127.0.0.1:{port}
{user}
ErrorLog "{logs}/error.log"
<Directory "/">
    Options FollowSymLinks
    AllowOverride None
    Require all denied
</Directory>
"""
"""As Debian's has it: Apache looks for no files that might change its configuration."""
NGINX_CONF = """\
pid {state}/nginx.pid;
error_log {logs}/nginx-error.log warn;
daemon off;
pcre_jit on;
worker_processes {workers};
{user}
events {{}}
http {{
    log_format outcome "$upstream_cache_status";
    access_log {access_log};
    client_body_temp_path {state}/body;
    proxy_temp_path {state}/proxy;
    include {state}/edge.conf;
}}
"""

Command = Sequence[str | Path]


class CannotServe(Exception):
    """A server cannot be started; the message says why and what to do."""


def free_port(port: int = 0) -> int:
    """Return the port if nobody listens there; for 0, one that the system chooses."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            chosen: int = probe.getsockname()[1]
        except OSError as error:
            raise CannotServe(f"port {port}: {error.strerror}; choose another by --port") from error
    return chosen


def listens(port: int) -> bool:
    """Whether a server accepts connections on a port of loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def start(command: Command, **options: Any) -> subprocess.Popen[bytes]:
    """Start a server in a session of its own, with further arguments of Popen.

    Ctrl-C reaches the caller alone, which then stops its servers in order. Should the caller be
    killed, the kernel tells them to stop (--pdeathsig).
    """
    words = ["/usr/bin/setpriv", "--pdeathsig", "TERM", *command]
    return subprocess.Popen(words, start_new_session=True, **options)


@contextlib.contextmanager
def running(
    command: Command, port: int, log: Path, given_up: Callable[[], object] = lambda: False
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server whose output goes to a log; yield it once it listens, or once that is given up.

    Raises:
        CannotServe: when it ends before, or takes too long; the message has the end of the log.
    """
    with (
        log.open("wb") as output,
        start(command, stdout=output, stderr=subprocess.STDOUT) as process,
    ):
        try:
            deadline = time.monotonic() + START_SECONDS
            while not given_up() and not listens(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    text = log.read_text(errors="replace")[-3000:]
                    raise CannotServe(f"{command[0]} did not start:\n{text}")
                time.sleep(0.05)
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)


def httpd_conf(state: Path, port: int, logs: Path, modules: Iterable[str]) -> str:
    """Return what every Apache here begins with; with modules of Debian's."""
    load = "\n".join(f"LoadModule {name}_module {MODULES}/mod_{name}.so" for name in modules)
    user = f"User {DAEMON_USER}\nGroup {DAEMON_USER}" if os.geteuid() == 0 else ""
    return HTTPD_CONF.format(load=load, state=state, port=port, logs=logs, user=user)


def varnish_command(folder: Path, vcl: str, port: int, *options: str) -> Command:
    """Write a configuration of Varnish; return the command to run it in the foreground."""
    if not VARNISHD.exists():
        raise CannotServe(f"{VARNISHD} is not there: apt-get install varnish varnish-modules")
    file = folder / "edge.vcl"
    file.write_text(vcl, encoding="utf-8")
    where = ("-n", folder / "varnish", "-f", file, "-a", f"127.0.0.1:{port}", "-T", "none")
    return [VARNISHD, "-F", *where, *options]


def nginx_command(
    folder: Path, included: str, logs: Path, workers: str = "auto", access_log: str = "off"
) -> Command:
    """Write a configuration of nginx around an included one; return the command to run it.

    The access log may have the format `outcome`: what the cache did for each request.
    """
    if not NGINX.exists():
        raise CannotServe(f"{NGINX} is not there: apt-get install nginx")
    (folder / "edge.conf").write_text(included, encoding="utf-8")
    user = f"user {DAEMON_USER};" if os.geteuid() == 0 else ""
    text = NGINX_CONF.format(
        state=folder, logs=logs, workers=workers, access_log=access_log, user=user
    )
    (folder / "nginx.conf").write_text(text, encoding="utf-8")
    return [NGINX, "-p", folder, "-c", folder / "nginx.conf"]
