"""Uploads in pieces, for tests: what a client sends, and what takes a file that is whole."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imgprocessor.storage.uploads.resumable.pieces import Outcome, UnfinishedUploads

KEPT = {"ident": "a"}


def noise(length: int) -> bytes:
    """Return so many bytes."""
    return hashlib.shake_128(b"noise").digest(length)


def parts_of(piece: bytes, length: int = 4096) -> Iterator[bytes]:
    """Yield a piece as it is read."""
    return (piece[at : at + length] for at in range(0, len(piece), length))


def accepting(seen: list[bytes], outcome: Outcome = KEPT) -> Callable[[Path, str], Outcome]:
    """Return what takes a file as a service does: it writes into it, and removes it."""

    def accept(file: Path, sha256: str) -> Outcome:
        seen.append(file.read_bytes())
        assert sha256 == hashlib.sha256(seen[-1]).hexdigest()
        file.write_bytes(b"cleaned")
        file.unlink()
        return outcome

    return accept


def finish(unfinished: UnfinishedUploads, upload: str, tmp_path: Path) -> bytes:
    """Have an upload accepted; return its bytes."""
    seen: list[bytes] = []
    assert unfinished.finish(upload, lambda: tmp_path / "copy", accepting(seen)) == KEPT
    assert not (tmp_path / "copy").exists()
    return seen[0]


def never(_: Path, __: str) -> Outcome:
    """Take what nobody is to take."""
    pytest.fail("this is not to be accepted")


class LineBroke(Exception):
    """The line broke."""


class Silent:
    """A client that sends something, is silent until it is woken, and sends the rest."""

    def __init__(self, *parts: bytes) -> None:
        self._parts = parts
        self.is_silent = threading.Event()
        self.wake = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        yield self._parts[0]
        self.is_silent.set()
        assert self.wake.wait(30)
        yield from self._parts[1:]
