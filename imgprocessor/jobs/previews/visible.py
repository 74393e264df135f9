"""What a step may read beside its document: software, and nothing that anybody keeps."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[2]

_SYSTEM = [
    Path(path)
    for path in (
        *("/usr/bin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/usr/share"),
        *("/usr/local/bin", "/usr/local/lib", "/usr/local/lib64", "/usr/local/share/fonts"),
        *("/bin", "/lib", "/lib32", "/lib64"),
        *("/etc/alternatives", "/etc/fonts", "/etc/ld.so.cache", "/var/cache/fontconfig"),
    )
]
"""Not the rest of `/usr/local` and `/etc`, where a machine's own things are."""

_OF_PYTHON = ("bin", "lib", "lib64", "pyvenv.cfg")

DEVICES = [Path("/dev/null"), Path("/dev/zero"), Path("/dev/random"), Path("/dev/urandom")]


def readable(more: Sequence[Path], kept: Sequence[Path]) -> list[Path]:
    """Return files and folders that a step may read, and programs in them it may become; and links,
    which stand for themselves alone. None is in another.

    Args:
        more: what it needs beside the system's libraries, fonts, Python and this package.
        kept: what must not be seen: where one is in a folder, others in that are named one by one.

    Raises:
        ValueError: all that is in one of `kept` would be seen, with what it is.
    """
    hidden = sorted({name for path in kept for name in (path.absolute(), path.resolve())})
    wanted = [path for path in (*_SYSTEM, *_python(), _PACKAGE, *more) if path.exists()]
    # A link is no more than a link: where it leads to stands for itself.
    wanted += [path.resolve() for path in wanted]
    for path in wanted:
        for closed in hidden:
            if path.is_relative_to(closed):
                raise ValueError(f"{closed}: software is in it that draws documents ({path})")
    return list(_without_hidden(_outermost(wanted), hidden))


def _python() -> Iterator[Path]:
    program = Path(sys.executable)
    roots = {Path(sys.prefix), Path(sys.base_prefix), program.parent.parent}
    roots |= {root.resolve() for root in roots} | {program.resolve().parent.parent}
    for root in roots:
        yield from (root / part for part in _OF_PYTHON)


def _outermost(paths: Iterable[Path]) -> Iterator[Path]:
    last: Path | None = None
    for path in sorted(set(paths), key=lambda path: path.parts):
        if last is None or not path.is_relative_to(last):
            yield path
            last = path


def _without_hidden(paths: Iterable[Path], hidden: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path in hidden:
            continue
        if path.is_symlink() or not any(closed.is_relative_to(path) for closed in hidden):
            yield path
        else:
            inner = (path / entry.name for entry in os.scandir(path))
            yield from _without_hidden(sorted(inner), hidden)
