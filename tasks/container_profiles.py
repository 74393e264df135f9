"""What parts may do in a container: as Podman has it, as Docker has it, or without bubblewrap."""

import json
import shutil
from pathlib import Path

from container_env import Wrong
from container_parts import KEPT, TARGETS, run

_PROFILE, _VERSION = "github.com/moby/profiles/seccomp", "v0.3.0"
"""The module for Go that has Docker's profile for system calls, as data."""
_SUM = "h1:1vJ94fIWXz206DLWq7ddPD6qLP82N7351JI/9iGy3IY="
"""Of all files of the module, as Go counts."""
_FILE = "default.json"

_IN_MEMORY = ("/run", "/tmp", "/var/tmp")  # noqa: S108 - folders that are in containers
"""What Podman lets parts write to where the root is read-only, and Docker does not."""


def as_docker(folder: Path) -> Path | None:
    """Write what is laid over compose.yaml so that all parts may do no more than by Docker; return
    it, or None where there is no Go to fetch Docker's profile with.

    Raises:
        Wrong: it is not what it was.
    """
    go, kept = shutil.which("go"), KEPT / f"docker-seccomp-{_VERSION}.json"
    if not kept.exists():
        if go is None:
            return None
        told = json.loads(run(go, "mod", "download", "-json", f"{_PROFILE}@{_VERSION}"))
        if told["Sum"] != _SUM:
            raise Wrong(f"{_PROFILE} {_VERSION} has the sum {told['Sum']}, and not {_SUM}")
        kept.write_bytes((Path(told["Dir"]) / _FILE).read_bytes())
    closed = [f"{path}:ro" for path in _IN_MEMORY]
    each = {"security_opt": [f"seccomp={kept}"], "tmpfs": closed}
    return _overlay(folder / "docker.yaml", dict.fromkeys(TARGETS, each))


def without_bubblewrap(folder: Path) -> Path:
    """Write what is laid over compose.yaml so that bubblewrap fails."""
    volumes = ["/bin/false:/usr/bin/bwrap:ro"]
    return _overlay(folder / "no-bubblewrap.yaml", {"worker": {"volumes": volumes}})


def _overlay(file: Path, services: dict[str, dict[str, list[str]]]) -> Path:
    file.write_text(json.dumps({"services": services}), encoding="utf-8")
    return file
