"""Counts that outlive a process: one file a process, added up over all of them.

Each process that counts holds a number that no other living process has, and adds to the file with
that number. When it dies, however it dies, the kernel frees the number, and the next process goes
on where the file ends. So nothing that was counted is lost, and there are never more files than
there were processes at one time. The files are those of prometheus-client's multiprocess mode. That
mode itself is of no use here: its folder is an environment variable, which would hold for all code
of this process and of its children, and its files grow without asking the disk for room.
"""

import contextlib
import json
import os
import shutil
import struct
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path

from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

from imgprocessor.storage.eviction import folders_in
from imgprocessor.storage.locks import Lock, Locks

FILE_BYTES = 1_048_576
"""Of each file. All of it is asked for when it is made: writing where a full disk has no block for
it would kill the process.
"""
_ENTRY_BYTES = 40
"""What a count takes in a file beside its key, at most."""

_USED = struct.Struct("i")
"""How many bytes of a file are in use: what it begins with."""

_MAX_PROCESSES = 256
_LOOK_EVERY_SECONDS = 1.0
_UNREADABLE = (OSError, RuntimeError, TypeError, ValueError, struct.error)
"""What reading a torn file raises."""


class Counters:
    """Counts of all processes that know the same folder; several threads may count at once."""

    def __init__(self, folder: Path, complain: Callable[[str], None]) -> None:
        """Use a folder, which is made when first needed. `complain` is told of a disk that fails,
        which costs counts and nothing else.
        """
        self._folder = folder
        self._complain = complain
        self._locks = Locks(folder / "locks")
        self._start()

    def _start(self) -> None:
        self._process = os.getpid()
        self._between_threads = threading.Lock()
        self._file: _File | None = None
        self._look_at = 0.0

    def add(self, amounts: Iterable[tuple[str, float]]) -> None:
        """Add to counts, at once; what is not there yet begins with 0. A count is named by the
        library's `mmap_key`.
        """
        if os.getpid() != self._process:
            # The file and its lock are the parent's; a thread lock may be held for ever here.
            if self._file is not None:
                self._file.close()
            self._start()
        with self._between_threads:
            now = time.monotonic()
            if now >= self._look_at:
                self._look_at = now + _LOOK_EVERY_SECONDS
                self._look()
            if self._file is not None:
                for key, amount in amounts:
                    if not self._file.add(key, amount):
                        self._complain(f"{self._folder}: too many metrics: {key} is left out")

    def collect(self) -> list[Metric]:
        """Return the counts of all processes, of those that died as well, added up. What has no
        buckets is a counter.
        """
        files = []
        for path in sorted(self._folder.glob("*.db")):
            try:
                _read(path)
                files.append(str(path))
            except _UNREADABLE as error:
                self._complain(f"{path} is damaged; what it held is not counted: {error}")
        # It is not typed.
        metrics = list(MultiProcessCollector.merge(files))  # type: ignore[no-untyped-call]
        for metric in metrics:
            if not any("le" in sample.labels for sample in metric.samples):
                metric.type = "counter"
        return sorted(metrics, key=lambda metric: str(metric.type))

    def processes(self) -> int:
        """Return how many processes hold a number: those that live, and count.

        Raises:
            OSError: nobody knows.
        """
        numbers = {path.stem.rpartition("_")[2] for path in self._folder.glob("*.db")}
        return self._locks.count_held([*numbers])

    def forget_others(self) -> None:
        """Remove the folders beside this one that no living process counts in: they were written
        for other metrics.
        """
        for path in folders_in(self._folder.parent):
            other = Path(path)
            with contextlib.suppress(OSError):
                if other != self._folder and Counters(other, self._complain).processes() == 0:
                    shutil.rmtree(other)

    def _look(self) -> None:
        """See to it that there is a file to add to; what cannot be had is tried again later."""
        before = self._file
        if before is not None:
            if before.is_current():
                return
            before.close()
        try:
            self._file = self._take()
        except _UNREADABLE as error:
            self._complain(f"{self._folder}: requests are not counted: {error}")
            self._file = None
            return
        # Somebody emptied the folder: what this process counted is brought along.
        for key, amount in before.counted() if before is not None else ():
            self._file.add(key, amount)

    def _take(self) -> "_File":
        for number in range(_MAX_PROCESSES):
            lock = self._locks.acquire(str(number), 0)
            if lock is not None:
                # The library adds up buckets only in files of this name.
                return _File(self._folder / f"histogram_{number}.db", lock)
        raise BlockingIOError(f"{_MAX_PROCESSES} processes count already")


class _File:
    """One process's counts."""

    def __init__(self, path: Path, lock: Lock) -> None:
        """Open a file, or make it; the lock is released with it.

        Raises:
            OSError: there is no room for it, or it cannot be written.
        """
        self._path = path
        with contextlib.ExitStack() as held:
            held.callback(lock.release)
            self._before = _prepared(path)
            self._status = path.stat()
            # It is not typed.
            self._counts = MmapedDict(str(path))  # type: ignore[no-untyped-call]
            held.callback(self._counts.close)
            self.close = weakref.finalize(self, held.pop_all().close)
            """Lets go of the file; what was counted stays in it."""
        self._values = dict(self._before)
        self._left_bytes = FILE_BYTES - sum(map(_entry_bytes, self._before))

    def add(self, key: str, amount: float) -> bool:
        """Add to a count; return whether there was room for it."""
        value = self._values.get(key)
        if value is None:
            if self._left_bytes < _entry_bytes(key):
                return False
            self._left_bytes -= _entry_bytes(key)
            value = 0.0
        self._values[key] = value = value + amount
        self._counts.write_value(key, value, 0.0)  # type: ignore[no-untyped-call]
        return True

    def counted(self) -> list[tuple[str, float]]:
        """Return what this process added."""
        return [(key, value - self._before.get(key, 0)) for key, value in self._values.items()]

    def is_current(self) -> bool:
        """Whether the path still leads to this file."""
        try:
            return os.path.samestat(self._path.stat(), self._status)
        except OSError:
            return False


def _prepared(path: Path) -> dict[str, float]:
    """Return the counts in a file, which then has all of its room; a torn one begins anew."""
    try:
        counts = _read(path)
    except _UNREADABLE:
        path.unlink(missing_ok=True)
        counts = {}
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    try:
        os.posix_fallocate(descriptor, 0, FILE_BYTES)
    except OSError:
        path.unlink()
        raise
    finally:
        os.close(descriptor)
    return counts


def _read(path: Path) -> dict[str, float]:
    """Return the counts in a file, having read it to its end.

    Raises:
        OSError, RuntimeError, TypeError, ValueError, struct.error: it cannot be read, or is torn.
    """
    with path.open("rb") as file:
        if _USED.unpack(file.read(_USED.size))[0] < 0:
            raise ValueError("it cannot be as long as it says")
    # It is not typed.
    values = MmapedDict.read_all_values_from_file(str(path))  # type: ignore[no-untyped-call]
    counts = {key: value for key, value, _, _ in values}
    for key in counts:
        metric, sample, labels, help_text = json.loads(key)
        texts = (metric, sample, help_text)
        if not isinstance(labels, dict) or not all(isinstance(text, str) for text in texts):
            raise ValueError("it holds no count")
    return counts


def _entry_bytes(key: str) -> int:
    return len(key.encode()) + _ENTRY_BYTES
