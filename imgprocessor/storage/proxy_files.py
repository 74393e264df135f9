"""What caches keep on this machine's disk (mod_cache_disk, nginx): forgotten by removing files.

Both take a file that is gone for an answer that they never had, so that neither has to be told. An
answer's headers, and so its tags, stand at the beginning of a file: of mod_cache_disk's `.header`,
beside the body in `.data`; of nginx's only one.
"""

import errno
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

_MAX_HEADER_BYTES = 16_384
"""More than either lets headers be."""

_HEADERS = ".header"

_UNFINISHED = "aptmp"
"""What the names of files begin with that Apache is writing: an answer on its way in. Without its
file, it keeps nothing of it.
"""


def remove_tagged(folder: Path, tags: Sequence[str]) -> int:
    """Remove each answer that has one of the tags; return how many there were.

    Raises:
        OSError: the folder cannot be read, or an answer cannot be removed.
    """
    tagged = re.compile(rb"(?:" + b"|".join(re.escape(tag.encode()) for tag in tags) + rb")\b")
    os.stat(folder)  # noqa: PTH116 - walking would say nothing of one that is not there
    removed = 0
    for path in _files(folder):
        if path.name.startswith(_UNFINISHED):
            path.unlink(missing_ok=True)
        elif _has_headers(path) and _matches(path, tagged):
            path.unlink(missing_ok=True)
            if path.suffix == _HEADERS:
                path.with_suffix(".data").unlink(missing_ok=True)
            removed += 1
    return removed


def _has_headers(path: Path) -> bool:
    return path.suffix == _HEADERS or re.fullmatch("[0-9a-f]{32}", path.name) is not None


def _matches(path: Path, tagged: re.Pattern[bytes]) -> bool:
    try:
        # A pipe of that name would keep who opens it waiting.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ELOOP}:  # gone, or a link, which no cache makes
            return False
        raise
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
        status = os.fstat(descriptor)
        return stat.S_ISREG(status.st_mode) and bool(tagged.search(file.read(_MAX_HEADER_BYTES)))


def _files(folder: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # htcacheclean removes folders, too
            raise error

    for parent, _, names in os.walk(folder, onerror=fail):
        for name in names:
            yield Path(parent, name)
