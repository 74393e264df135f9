"""The run folder: where all daemons of one installation keep a socket and locks while they run."""

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from imgprocessor.errors import ConfigurationError

SOCKET = "workers"
"""The name of the file, in the run folder, that workers take jobs from."""

_MAX_PATH_BYTES = 97
"""Of the socket; Linux has 107 (unix(7)), and while a supervisor begins it ends in the number of
its process.
"""

_DIGITS = 16
"""Hexadecimal ones, in the name of a run folder."""


def make_run_folder(parent: Path, shared: str) -> Path:
    """Make the run folder, which is named after the user, and after what its daemons have in common
    (`shared`), so that no two installations get into each other's way.

    Raises:
        ConfigurationError: it cannot be made, or is another user's.
    """
    digest = hashlib.sha256(os.fsencode(shared)).hexdigest()[:_DIGITS]
    folder = parent / f"imgprocessor-{os.geteuid()}-{digest}"
    where = f"[rendering] run_folder: {folder}"
    if len(os.fsencode(folder / SOCKET)) > _MAX_PATH_BYTES:
        raise ConfigurationError(f"{where} is too long for a socket: name a shorter one")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if _is_ours(status) and not status.st_mode & 0o022:
            # A process that took a lock after the folder was removed has made it anew.
            folder.chmod(0o700)
            status = folder.lstat()
    except OSError as error:
        raise ConfigurationError(f"{where}: {error.strerror}") from error
    # A user who can write there could hand jobs to the workers.
    if not _is_ours(status) or status.st_mode & 0o077:
        raise ConfigurationError(f"{where} must be a folder of this user's alone: remove it")
    return folder


def run_folders(parent: Path) -> Iterator[Path]:
    """Yield the run folders of all of this user's installations, of former ones as well."""
    for folder in parent.glob(f"imgprocessor-{os.geteuid()}-{'[0-9a-f]' * _DIGITS}"):
        with contextlib.suppress(FileNotFoundError):
            if _is_ours(folder.lstat()):
                yield folder


def inode(path: Path) -> int:
    """Return which file a path leads to; 0 where it leads nowhere."""
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def _is_ours(status: os.stat_result) -> bool:
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
