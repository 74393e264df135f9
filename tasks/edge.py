"""Start the application and a cache in front of it, until Ctrl-C; tell what the cache does."""

import argparse
import contextlib
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from processes import CannotServe, Command, free_port, nginx_command, running, varnish_command
from serve import Stop, port, settings_of

from imgprocessor.app import edge_configuration
from imgprocessor.config.settings import Settings
from imgprocessor.config.settings_file import describe_settings
from imgprocessor.edge.writers import Backend, Site
from imgprocessor.errors import ConfigurationError
from imgprocessor.load import DEFAULT_CONF

ROOT = Path(__file__).resolve().parent.parent
VARNISHSTAT = Path("/usr/bin/varnishstat")

STOP_SECONDS = 60
"""How long the application may take to end what it has begun."""
TELL_SECONDS = 1.0

COUNTERS = {"hit": ("cache_hit",), "miss": ("cache_miss",), "pass": ("s_pass",)}
"""What varnishstat calls them."""


def main() -> int:
    """Serve until Ctrl-C or SIGTERM; return the exit status."""
    parser = argparse.ArgumentParser(prog="./run edge", description=__doc__)
    parser.add_argument("--cache", choices=("varnish", "nginx"), default="varnish")
    parser.add_argument("--port", type=port, default=8080, help="the cache's; default 8080")
    parser.add_argument("--originals", type=Path, help="folder of originals, instead of samples")
    parser.add_argument("--conf", type=Path, default=DEFAULT_CONF, help="the settings file")
    parser.add_argument("--policy", type=Path, help="the policy, instead of the settings'")
    options = parser.parse_args()
    try:
        return _serve(options)
    except (CannotServe, ConfigurationError) as error:
        print(f"./run edge: {error}", file=sys.stderr)
        return 1


def _serve(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    port, stopped = free_port(options.port), Stop()
    with contextlib.ExitStack() as stack:
        state = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="imgprocessor-edge-")))
        state.chmod(0o755)
        # Purges reach the cache in front, too.
        settings = _purger(settings, options.cache, port, state)
        conf = state / "imgprocessor.ini"
        conf.write_text(describe_settings(settings), encoding="utf-8")
        application_port, said = stack.enter_context(_application(conf))
        backend = Backend("127.0.0.1", application_port)
        command = _command(state, settings, options.cache, port, backend)
        with running(command, port, state / "output.log", lambda: stopped) as cache:
            for line in said:
                print(line.replace(f":{application_port}", f":{port}"))
            print(f"(the application itself is on http://localhost:{application_port})")
            print(f"ready on http://localhost:{port}, by way of {options.cache}", flush=True)
            _tell(state, options.cache, cache, stopped)
    return 0 if stopped else 1


def _purger(settings: Settings, cache: str, port: int, state: Path) -> Settings:
    """Return settings by which purges reach the cache."""
    purge = settings.purge
    if cache == "varnish":
        purge = replace(purge, varnish=(*purge.varnish, f"127.0.0.1:{port}"))
    else:
        purge = replace(purge, proxy_cache_folders=(*purge.proxy_cache_folders, state / "cache"))
    return replace(settings, purge=purge)


@contextlib.contextmanager
def _application(conf: Path) -> Iterator[tuple[int, list[str]]]:
    """Run `./run serve` on a port of its own; yield the port and the URLs that it named."""
    command: list[str | Path] = [sys.executable, ROOT / "tasks" / "serve.py"]
    command += ["--port", "0", "--conf", conf]
    # A session of its own: Ctrl-C reaches this process alone, which then stops all in order.
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            said: list[str] = []
            for line in process.stdout or ():
                if line.startswith("ready on "):
                    yield int(line.rsplit(":", 1)[1]), said
                    return
                said.append(line.rstrip())
            raise CannotServe("the application did not start")
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(STOP_SECONDS)


def _command(state: Path, settings: Settings, cache: str, port: int, backend: Backend) -> Command:
    """Write the cache's configuration; return what starts it."""
    site = Site(backends=[backend])
    if cache == "varnish":
        vcl = edge_configuration("varnish", settings, site)
        return varnish_command(state, vcl, port, "-s", "malloc,256m")
    site = replace(site, listen=f"127.0.0.1:{port}", folder=str(state / "cache"))
    text = edge_configuration("nginx", settings, site)
    outcomes = f"{state}/outcomes outcome"
    return nginx_command(state, text, settings.log.file.parent, access_log=outcomes)


def _tell(state: Path, cache: str, process: subprocess.Popen[bytes], stopped: Stop) -> None:
    """Print a line whenever the counts change: one line, written over, where somebody looks."""
    shown, look = "", shutil.get_terminal_size().columns
    while process.poll() is None and not stopped:
        counts = _varnish_counts(state) if cache == "varnish" else _nginx_counts(state)
        asked = counts["hit"] + counts["miss"]
        share = f", {counts['hit'] / asked:.0%} of what may be kept" if asked else ""
        line = f"hits {counts['hit']}, misses {counts['miss']}, passed {counts['pass']}{share}"
        if line != shown:
            over = sys.stdout.isatty()
            print(f"\r{line:<{look - 1}}" if over else line, end="" if over else "\n", flush=True)
            shown = line
        time.sleep(TELL_SECONDS)
    print()


def _varnish_counts(state: Path) -> Counter[str]:
    done = subprocess.run(
        [VARNISHSTAT, "-1", "-j", "-n", state / "varnish"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    counters = json.loads(done.stdout)["counters"] if done.returncode == 0 else {}
    return Counter(
        {
            outcome: sum(int(counters.get(f"MAIN.{name}", {"value": 0})["value"]) for name in names)
            for outcome, names in COUNTERS.items()
        }
    )


def _nginx_counts(state: Path) -> Counter[str]:
    """Count what was logged. `-` and BYPASS are what nobody may keep."""
    known = {"HIT": "hit", "STALE": "hit", "UPDATING": "hit", "REVALIDATED": "hit"}
    known |= {"MISS": "miss", "EXPIRED": "miss"}
    file = state / "outcomes"
    lines = file.read_text().split() if file.exists() else []
    return Counter(known.get(line, "pass") for line in lines)


if __name__ == "__main__":
    sys.exit(main())
