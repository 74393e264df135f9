"""Start Apache on this machine with the virtual host that production uses, and wait for its end."""

import argparse
import contextlib
import os
import pwd
import signal
import stat
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from secrets import token_hex
from types import FrameType
from typing import Any
from urllib.parse import quote

from processes import (
    DAEMON_USER,
    HTTPD,
    REDIS,
    STOP_SECONDS,
    CannotServe,
    Command,
    free_port,
    httpd_conf,
    start,
)
from samples import SAMPLES

from imgprocessor.app import edge_configuration
from imgprocessor.config.secrets import FLOWER_USER, flower_password
from imgprocessor.config.settings import BrowseSettings, Settings
from imgprocessor.config.settings_file import describe_settings
from imgprocessor.config.types import port_number
from imgprocessor.edge.writers import Site
from imgprocessor.errors import ConfigurationError, ImageError
from imgprocessor.images.formats.encoders import VERSIONS
from imgprocessor.load import DEFAULT_CONF, Overrides, answers_digest, load_policy, load_settings
from imgprocessor.originals.configured import keeps_copies, make_roots
from imgprocessor.originals.roots import as_one
from imgprocessor.parts import make_delivery, make_purger
from imgprocessor.request.names import is_name

ROOT = Path(__file__).resolve().parent.parent
NO_FOLDER = Path("/nonexistent")
MEMORY = Path("/dev/shm")  # noqa: S108 - what is made there has a name that nobody can guess
"""Where files are not written to a disk."""

START_SECONDS = 30
_MAX_NAMES_CHARACTERS = 6000
"""Of originals, in the page's URL."""

# What a system Apache on Debian has enabled and the virtual host uses, and mod_headers.
HTTPD_MODULES = (
    "mpm_event", "authz_core", "authz_host", "alias", "cache", "cache_disk", "dir", "headers",
    "mime", "reqtimeout", "rewrite", "setenvif",
)  # fmt: skip
_FLOWER_MODULES = ("proxy", "proxy_http")


def main() -> int:
    """Serve until Ctrl-C or SIGTERM; return the exit status."""
    options = _options()
    try:
        settings = settings_of(options)
        _make_samples(settings, options)
        make_purger(settings, make_delivery(settings))
        port = free_port(options.port)
        logs = _prepare_log(settings.log.file)
        written = _with_previews(settings) if options.jobs else settings
        _prepare_folders(written)
        _check_readable(written)
        return _serve(port, settings, logs, options)
    except (CannotServe, ConfigurationError) as error:
        print(f"./run serve: {error}", file=sys.stderr)
        return 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run serve", description=__doc__)
    parser.add_argument("--port", type=port, default=8000, help="on loopback; default 8000")
    parser.add_argument("--originals", type=Path, help="folder of originals, instead of samples")
    parser.add_argument("--conf", type=Path, default=DEFAULT_CONF, help="the settings file")
    parser.add_argument("--policy", type=Path, help="the policy, instead of the settings'")
    parser.add_argument(
        "--jobs",
        action="store_true",
        help="jobs in a Redis of its own, done by a worker of its own, which draws documents, and"
        " shown by Flower",
    )
    parser.add_argument(
        "--spelling", action="store_true", help="Apache's cache keeps pictures by the one spelling"
    )
    parser.add_argument("--include", type=Path, help="Apache directives beside the virtual host")
    return parser.parse_args()


def settings_of(options: argparse.Namespace) -> Settings:
    """Read the settings that a command line names. There are always a gallery, uploads and jobs:
    this listens on loopback alone.
    """
    settings = load_settings(options.conf, Overrides(options.originals, options.policy))
    uploads = replace(settings.uploads, enabled=True)
    jobs = replace(settings.jobs, enabled=True)
    return replace(settings, browse=BrowseSettings(enabled=True), uploads=uploads, jobs=jobs)


def _make_samples(settings: Settings, options: argparse.Namespace) -> None:
    """Make sample originals where nobody named others, nor put their own into this folder."""
    folder = ROOT / "originals"
    if options.originals is None and folder in settings.originals.roots:
        folder.mkdir(exist_ok=True)
        there = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
        if there < SAMPLES.keys():
            print("making sample originals ...", flush=True)
            # A process of its own, because painting takes memory that is never needed again.
            subprocess.run([sys.executable, ROOT / "tasks" / "samples.py", folder], check=True)


def port(text: str) -> int:
    """Read a port for argparse."""
    try:
        return port_number(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _prepare_log(file: Path) -> Path:
    """Make the log that the daemons append to; return its folder, where Apache logs, too.

    The folder stays root's: whoever could write to it could make root open any file.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # Through a descriptor, and no symbolic link: root gives away this one file and no other.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(file, flags, 0o640)
        with os.fdopen(descriptor, "ab"):
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise CannotServe(f"{file}: the log must be a plain file")
            _give(descriptor)
    except OSError as error:
        raise CannotServe(f"{file}: {error.strerror}") from error
    return file.parent


def _give(file: int | Path) -> None:
    """Let the user that Apache runs as write to a file or a folder."""
    if os.geteuid() == 0:
        user = pwd.getpwnam(DAEMON_USER)
        os.chown(file, user.pw_uid, user.pw_gid)


def _prepare_folders(settings: Settings) -> None:
    """Make the folders that the daemons write to; the outer first, where one is in the other."""
    for folder, name in sorted((Path(path), name) for name, path in _written(settings).items()):
        _prepare_folder(name, folder)


def _written(settings: Settings) -> dict[str, Path]:
    """Return the folders that the daemons keep something in, by their settings' names."""
    folders = {
        "[disk_cache] folder": settings.disk_cache.folder,
        "[uploads] folder": settings.uploads.folder,
    }
    if keeps_copies(settings):
        folders["[remote] folder"] = settings.remote.folder
    return folders


def _prepare_folder(name: str, folder: Path) -> None:
    """Make a folder that the daemons write to.

    Root gives away a new or an empty folder, and never what a symbolic link leads to.
    """
    try:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if not os.listdir(descriptor):  # noqa: PTH208 - not a path
                _give(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise CannotServe(f"{name}: {folder}: {error.strerror}") from error


def _check_readable(settings: Settings) -> None:
    """Name the first folder or file that the daemons will not be able to read."""
    files = (settings.purge.token_file, settings.signing.keys_file, settings.buckets.file)
    secrets = [*filter(None, files)]
    needed = [
        ROOT / "imgprocessor.wsgi",
        ROOT / "imgprocessor" / "app.py",
        ROOT / ".venv" / "bin" / "python",
        Path(os.path.realpath(sys.executable)),
        settings.policy.file,
        *settings.originals.folders,
        settings.log.file,
        *_written(settings).values(),
        *secrets,
    ]
    readable: set[Path] = set()
    for file in needed:
        for path in (*reversed(file.parents), file):
            if path not in readable and not _daemon_may_read(path):
                raise CannotServe(_unreadable(path, file, secret=path in secrets))
            readable.add(path)


def _unreadable(path: Path, needed: Path, *, secret: bool) -> str:
    """Say that the daemons cannot read a file or folder, what for they need it, and what to do."""
    user, kind = _daemon_user(), "folder" if path.is_dir() else "file"
    thus = "" if path == needed else f", and so not {needed}"
    open_it = "open it (chmod o+rX), or put the project elsewhere"
    right = f"give it to them (chown {user})" if secret else open_it
    return f"the user {user}, whom Apache runs as, cannot read the {kind} {path}{thus}; {right}"


def _daemon_user() -> str:
    return DAEMON_USER if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


def _daemon_may_read(path: Path) -> bool:
    flags = "-x" if path.is_dir() else "-r"
    if os.geteuid() != 0:
        return os.access(path, os.X_OK if path.is_dir() else os.R_OK)
    user = pwd.getpwnam(DAEMON_USER)
    test = ["/usr/bin/test", flags, str(path)]
    status = subprocess.run(
        test, check=False, user=user.pw_uid, group=user.pw_gid, extra_groups=[], cwd="/"
    )
    return status.returncode == 0


def _serve(port: int, settings: Settings, logs: Path, options: argparse.Namespace) -> int:
    stopped = Stop()
    memory = MEMORY if MEMORY.is_dir() else None
    with (
        tempfile.TemporaryDirectory(prefix="imgprocessor-") as name,
        tempfile.TemporaryDirectory(prefix="imgprocessor-locks-", dir=memory) as locks,
    ):
        state = Path(name)
        state.chmod(0o755)  # the daemons read their settings here
        (state / "cache").mkdir(mode=0o750)
        _give(state / "cache")
        _give(Path(locks))
        settings = _with_cache(settings, state / "cache")
        if options.jobs:
            settings = _with_jobs(settings, state)
        (state / "imgprocessor.ini").write_text(describe_settings(settings), encoding="utf-8")
        if options.spelling:
            text = edge_configuration("apache", settings, Site())
            (state / "edge.conf").write_text(text, encoding="utf-8")
        flower_port = free_port() if options.jobs else None
        text = _httpd_conf(state, Path(locks), port, settings, logs, flower_port)
        if options.include is not None:
            text += f'Include "{options.include.resolve()}"\n'
        conf = state / "httpd.conf"
        conf.write_text(text, encoding="utf-8")
        with (
            contextlib.nullcontext() if flower_port is None else _jobs(state, logs, flower_port),
            start([HTTPD, "-f", conf, "-DFOREGROUND"]) as apache,
        ):
            try:
                if _answered(apache, port, settings, stopped):
                    _print_addresses(port, settings)
                while apache.poll() is None and not stopped:
                    time.sleep(0.1)
            finally:
                _stop(apache, at_once=stopped.at_once)
    return 0 if stopped else 1


def _with_jobs(settings: Settings, state: Path) -> Settings:
    """Return settings with a Redis of this server's own, a fresh password for Flower, and workers
    that draw documents.
    """
    (state / "redis").mkdir(mode=0o750)
    _give(state / "redis")
    file = state / "flower-password"
    file.touch(mode=0o600)
    file.write_text(token_hex(16), encoding="utf-8")
    _give(file)
    redis = f"unix://{state}/redis/redis.sock"
    jobs = replace(settings.jobs, redis=redis, flower_password_file=file)
    return _with_previews(replace(settings, jobs=jobs))


def _with_previews(settings: Settings) -> Settings:
    return replace(settings, previews=replace(settings.previews, enabled=True))


@contextlib.contextmanager
def _jobs(state: Path, logs: Path, flower_port: int) -> Iterator[None]:
    """Run a Redis, a worker and Flower, all as the daemons' user."""
    if not REDIS.exists():
        raise CannotServe(f"{REDIS} is not there: apt-get install redis-server")
    folder = state / "redis"
    redis: Command = [
        *(REDIS, "--port", "0", "--unixsocket", folder / "redis.sock", "--dir", folder),
        *("--save", "", "--appendonly", "yes", "--appendfsync", "always"),
        *("--maxmemory-policy", "noeviction"),
    ]
    ours, conf = (
        (ROOT / ".venv" / "bin" / "python", "-m", "imgprocessor"),
        state / "imgprocessor.ini",
    )
    commands: dict[str, Command] = {
        "redis": redis,
        "worker": (*ours, "worker", "--conf", conf),
        "flower": (*ours, "flower", "--conf", conf, "--port", str(flower_port)),
    }
    as_daemons: dict[str, Any] = {"user": DAEMON_USER, "group": DAEMON_USER, "extra_groups": []}
    options = as_daemons if os.geteuid() == 0 else {}
    with contextlib.ExitStack() as stack:
        for name, command in commands.items():
            _prepare_log(logs / f"{name}.log")
            told = stack.enter_context((logs / f"{name}.log").open("ab"))
            process = start(command, cwd=ROOT, stdout=told, stderr=told, **options)
            stack.callback(_end, stack.enter_context(process))
        yield


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    if process.poll() is None:
        process.kill()


def _with_cache(settings: Settings, cache: Path) -> Settings:
    """Return settings by which purges reach Apache's cache."""
    folders = (*settings.purge.proxy_cache_folders, cache)
    return replace(settings, purge=replace(settings.purge, proxy_cache_folders=folders))


def _httpd_conf(  # noqa: PLR0917
    state: Path, locks: Path, port: int, settings: Settings, logs: Path, flower_port: int | None
) -> str:
    defines = {
        "IMG_ROOT": ROOT,
        "IMG_CONF": state,
        "IMG_ORIGINALS": (*settings.originals.folders, NO_FOLDER)[0],
        "IMG_UPLOADS": settings.uploads.folder,
        "IMG_MAX_UPLOAD": settings.uploads.max_body_bytes,
        "IMG_LOGS": logs,
        "IMG_RUN": state,
        "IMG_HOST": "localhost",
        "IMG_LISTEN": f"*:{port}",
        "IMG_CACHE": state / "cache",
        "IMG_LOCKS": locks,
        "IMG_CACHE_WORD": answers_digest(settings, load_policy(settings)),
        "IMG_PROCESSES": 2,
        "IMG_THREADS": 24,
    }
    modules: tuple[str, ...] = HTTPD_MODULES
    if flower_port is not None:
        defines["IMG_FLOWER"] = f"http://127.0.0.1:{flower_port}"
        modules += _FLOWER_MODULES
    return "\n".join(
        (
            httpd_conf(state, port, logs, modules),
            f'LoadModule wsgi_module "{ROOT}/.venv/mod_wsgi.so"',
            "TypesConfig /etc/mime.types",
            *(f'Define {name} "{value}"' for name, value in defines.items()),
            f'Include "{ROOT}/apache/imgprocessor.conf"\n',
        )
    )


class Stop:
    """Whether SIGINT or SIGTERM came; after SIGTERM nobody's answer is waited for."""

    def __init__(self) -> None:
        self._came = False
        self.at_once = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._take)

    def __bool__(self) -> bool:
        return self._came

    def _take(self, number: int, _frame: FrameType | None) -> None:
        self._came = True
        self.at_once = number == signal.SIGTERM


def _answered(
    apache: subprocess.Popen[bytes], port: int, settings: Settings, stopped: Stop
) -> bool:
    """Wait for the first answer; whether it came before this process was told to stop."""
    deadline = time.monotonic() + START_SECONDS
    first = _picture(port, _names(settings)[0])
    while not _answers(first):
        if stopped:
            return False
        if apache.poll() is not None or time.monotonic() > deadline:
            log = settings.log.file.parent / "error.log"
            raise CannotServe(f"Apache did not answer; see {log}")
        time.sleep(0.05)
    return True


def _print_addresses(port: int, settings: Settings) -> None:
    """Print what may be opened in a browser, then that all is ready."""
    base, names = f"http://localhost:{port}", _names(settings)
    page = "/" if names == [*SAMPLES] else "/?" + "&".join(f"name={quote(n)}" for n in names)
    print(f"  {base}{page}")
    print(f"  {base}/browse/")
    print(f"  {base}/upload")
    print(f"  {base}/convert")
    if password := flower_password(settings.jobs):
        print(f"  {base}/flower/ user {FLOWER_USER}, password {password}")
    print(f"  {_picture(port, names[0])}&width=340&height=400")
    print(f"  {_picture(port, names[0])}&bandwidth=2g&screen=phone")
    print(f"with {VERSIONS}")
    print(f"ready on {base}", flush=True)


def _picture(port: int, name: str) -> str:
    return f"http://localhost:{port}/images/?name={quote(name)}"


def _names(settings: Settings) -> list[str]:
    """Return names worth opening: the samples, or what else there is."""
    names: list[str] = []
    with contextlib.suppress(ImageError):
        listed = as_one(make_roots(settings, keeps=False)).listed("")
        names = sorted((*listed.files, *listed.links))
    if next(iter(SAMPLES)) in names:
        return [*SAMPLES]
    shown = [name for name in names if not name.startswith(".") and is_name(name)][:12]
    lengths = accumulate(len(quote(name)) for name in shown)
    few = [n for n, so_far in zip(shown, lengths, strict=True) if so_far < _MAX_NAMES_CHARACTERS]
    return few or ["none.jpeg"]


def _answers(url: str) -> bool:
    """Whether the application answers at all: a 404 for an empty folder is an answer, too."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=START_SECONDS) as answer:
            return answer.headers["imagekey"] is not None
    except urllib.error.HTTPError as error:
        with error:
            return error.headers["imagekey"] is not None
    except OSError:
        return False


def _stop(apache: subprocess.Popen[bytes], *, at_once: bool) -> None:
    """Stop Apache, a process group of its own; unless at once, as `apachectl graceful-stop` does:
    whoever asked already is answered.
    """
    gently = () if at_once else (signal.SIGWINCH,)
    for number in (*gently, signal.SIGTERM, signal.SIGKILL):
        if apache.poll() is not None:
            return
        os.killpg(apache.pid, number) if number is signal.SIGKILL else apache.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            apache.wait(STOP_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
