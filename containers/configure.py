"""Write what Apache, and the cache in front of it, read of the settings when the server starts.

`configure.py FOLDER`: Apache's part goes there. The cache's goes into /edge, where IMG_BACKEND says
by which HOST:PORT the cache finds this server, and the others that have this name; it alone is
written where no folder is given.
"""

import ipaddress
import os
import socket
import sys
import tempfile
import time
from pathlib import Path

from imgprocessor.app import edge_configuration
from imgprocessor.config.settings import Settings
from imgprocessor.config.types import read_address
from imgprocessor.edge.writers import Backend, Site
from imgprocessor.errors import ConfigurationError
from imgprocessor.load import answers_digest, default_conf, load_policy, load_settings
from imgprocessor.parts import processes

EDGE = Path("/edge/default.vcl")
RESOLVE_SECONDS = 30
NO_FOLDER = Path("/nonexistent")

_DAEMONS = 2
_MIN_THREADS, _THREADS_A_CORE = 24, 6
"""As apache/imgprocessor.conf says, of each daemon."""


def main() -> int:
    """Write them; return the exit status."""
    try:
        settings = load_settings(default_conf())
        for folder in sys.argv[1:]:
            (Path(folder) / "defines.conf").write_text(_defines(settings), encoding="utf-8")
        known = os.environ.get("IMG_BACKEND")
        if known:
            _write_edge(settings, *read_address(known))
    except (ConfigurationError, OSError, ValueError) as error:
        print(f"the server cannot start: {error}", file=sys.stderr)
        return 1
    return 0


def _defines(settings: Settings) -> str:
    # What comes from buckets is waited for in the daemons that render.
    fetches = settings.remote.max_fetches if settings.originals.buckets else 0
    values = {
        "IMG_HOST": os.environ.get("IMG_HOST", "localhost"),
        "IMG_ORIGINALS": (*settings.originals.folders, NO_FOLDER)[0],
        "IMG_UPLOADS": settings.uploads.folder,
        "IMG_MAX_UPLOAD": settings.uploads.max_body_bytes,
        "IMG_CACHE_WORD": answers_digest(settings, load_policy(settings)),
        "IMG_PROCESSES": _DAEMONS,
        "IMG_THREADS": max(_MIN_THREADS, _THREADS_A_CORE * processes(settings)) + fetches,
    }
    return "".join(f'Define {name} "{value}"\n' for name, value in values.items())


def _write_edge(settings: Settings, host: str, port: int) -> None:
    """Write it with the addresses, so that a cache that reads it needs to know no name; and whole,
    so that it never reads half of it, whichever nodes write it at once.
    """
    site = Site(backends=[Backend(address, port) for address in _addresses(host)])
    text = edge_configuration("varnish", settings, site)
    with tempfile.TemporaryDirectory(dir=EDGE.parent) as folder:
        beside = Path(folder) / EDGE.name
        beside.write_text(text, encoding="utf-8")
        beside.replace(EDGE)


def _addresses(host: str) -> list[str]:
    """Return all addresses that a name has, once it has one; always in the same order."""
    deadline = time.monotonic() + RESOLVE_SECONDS
    while True:
        try:
            _, _, found = socket.gethostbyname_ex(host)
            return sorted(set(found), key=ipaddress.ip_address)
        except OSError as error:
            if time.monotonic() > deadline:
                raise ConfigurationError(f"IMG_BACKEND: {host}: {error.strerror}") from error
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
