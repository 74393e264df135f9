"""Tries what a step must not be able to do, and says what it could: run in the sandbox, as one."""

import json
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

ATTEMPTS = __file__

_NOTHING_KEPT = "cannot write in its folder"

_ENVIRONMENT = {"PATH", "LANG", "HOME", "TMPDIR", "TMP", "TEMP", "LC_CTYPE"}
"""The last one is Python's own."""


def _main() -> int:
    told = json.loads(sys.argv[1])
    print(json.dumps(list(_succeeded(told))))
    return 0


def _succeeded(told: Mapping[str, str]) -> Iterator[str]:
    folder, outside = Path(told["folder"]), Path(told["outside"])
    for what, attempt in _attempts(told, outside).items():
        with suppress(OSError):
            if attempt() is not False:
                yield what
    try:
        (folder / "probe").write_text("")
        Path(told["document"]).read_bytes()
    except OSError:
        yield _NOTHING_KEPT


def _attempts(told: Mapping[str, str], outside: Path) -> Mapping[str, Callable[[], object]]:
    worker = int(told["worker"])
    secret = outside / "secret"
    return {
        "read a file beside originals": secret.read_bytes,
        "list a folder": lambda: list(outside.iterdir()),
        "write outside of its folder": lambda: (outside / "written").write_text(""),
        "change the document": lambda: Path(told["document"]).write_text(""),
        "empty the document": lambda: _empty(told["document"]),
        "change a file's mode": lambda: secret.chmod(0o777),
        "shorten a file": lambda: os.truncate(secret, 0),
        "make a link to a file": lambda: os.link(secret, f"{told['folder']}/linked"),
        "read the worker's environment": Path(f"/proc/{worker}/environ").read_bytes,
        "see more of the environment": lambda: bool(set(os.environ) - _ENVIRONMENT),
        "use an open file of the worker": lambda: any(map(_is_open, range(3, 1_024))),
        "connect over the network": lambda: _connect(("127.0.0.1", int(told["port"]))),
        "send over the network": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "connect to a socket of a name alone": lambda: _connect(f"\0{told['abstract']}"),
        "connect to a socket": lambda: _connect(told["named"]),
        "signal the worker": lambda: _signal(worker),
        "begin a process": _fork,
        "leave its process group": os.setsid,
        "remove a file": secret.unlink,
    }


def _empty(file: str) -> None:
    """Empty it as a reader, for which Landlock had no rule at first."""
    os.close(os.open(file, os.O_RDONLY | os.O_TRUNC))


def _is_open(descriptor: int) -> bool:
    with suppress(OSError):
        os.fstat(descriptor)
        return True
    return False


def _connect(address: tuple[str, int] | str) -> None:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as client:
        client.settimeout(1)
        client.connect(address)


def _signal(worker: int) -> bool:
    os.kill(worker, 0)
    # Which may be the first process of a container, as this is of its namespace.
    return worker != os.getpid()


def _fork() -> None:
    if not os.fork():
        os._exit(0)


if __name__ == "__main__":
    sys.exit(_main())
