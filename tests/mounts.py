"""Small disks, which only root can mount, and not in every container."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

_TRIAL = ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"]

needs_mounts = pytest.mark.skipif(
    os.geteuid() != 0 or subprocess.run(_TRIAL, check=False, capture_output=True).returncode != 0,
    reason="only root can mount, where it has CAP_SYS_ADMIN",
)


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """Make a folder that is a disk in memory, with options of `mount`."""
    folder.mkdir()
    subprocess.run(["/usr/bin/mount", "-t", "tmpfs", "-o", options, "none", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["/usr/bin/umount", "-l", folder], check=True)


def fill(disk: Path, left_bytes: int = 0) -> Path:
    """Fill a disk but for some bytes; return the file whose removal makes room again."""
    ballast = disk / "ballast"
    known = os.statvfs(disk)
    ballast.write_bytes(bytes(max(0, known.f_bavail * known.f_frsize - left_bytes)))
    return ballast
