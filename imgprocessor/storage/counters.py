"""Counts that outlive a process: one file a process, added up over all of them.

Each process that counts holds a number that no other living process has, and adds to the file with
that number. When it dies, however it dies, the kernel frees the number, and the next process goes
on where the file ends. So nothing that was counted is lost, and there are never more files than
there were processes at one time. The files are those of prometheus-client's multiprocess mode,
without its environment variable, which would be one for all and count by process id.
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
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector

from imgprocessor.storage.eviction import folders_in
from imgprocessor.storage.locks import Lock, Locks

FILE_BYTES = 524_288
"""Of each file. All of it is asked for when it is made: writing where a full disk has no block for
it would kill the process.
"""
_ENTRY_BYTES = 40
"""What a count takes in a file beside its key, at most."""

_USED = struct.Struct("i")
"""How many bytes of a file are in use: what it begins with."""

_MAX_PROCESSES = 256
_LOOK_EVERY_SECONDS = 1.0
_UNREADABLE = (OSError, RuntimeError, ValueError, struct.error)
"""What reading a torn file raises."""

Labels = tuple[tuple[str, str], ...]
Key = tuple[str, str, str, Labels, str]
"""One count: `counter` or `histogram`, the metric's name, the sample's, labels, help."""


class Tally:
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
        self._lock = threading.Lock()
        self._files: dict[str, _File] = {}
        self._number: weakref.finalize[[], Tally] | None = None
        self._look_at = 0.0

    def add(self, amounts: Iterable[tuple[Key, float]]) -> None:
        """Add to counts, at once; what is not there yet begins with 0."""
        if os.getpid() != self._process:
            self._forked()
        with self._lock:
            now = time.monotonic()
            if now >= self._look_at:
                self._look_at = now + _LOOK_EVERY_SECONDS
                self._open()
            for key, amount in amounts:
                file = self._files.get(key[0])
                if file is not None and not file.add(key, amount):
                    self._complain(f"{self._folder}: too many metrics: {key[2]} is left out")

    def collect(self) -> Iterable[Metric]:
        """Return the counts of all processes, of those that died as well, added up."""
        files = [str(path) for path in sorted(self._folder.glob("*.db")) if self._readable(path)]
        # It is not typed.
        metrics: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
        return metrics

    def processes(self) -> int:
        """Return how many processes hold a number: those that live, and count.

        Raises:
            OSError: nobody knows.
        """
        numbers = [path.stem.rpartition("_")[2] for path in self._folder.glob("counter_*.db")]
        return self._locks.count_held(numbers)

    def forget_others(self) -> None:
        """Remove the folders beside this one that no living process counts in: they were written
        for other metrics.
        """
        for path in folders_in(self._folder.parent):
            other = Path(path)
            with contextlib.suppress(OSError):
                if other != self._folder and Tally(other, self._complain).processes() == 0:
                    shutil.rmtree(other)

    def _open(self) -> None:
        """See to it that there are files to add to; what cannot be had is tried again later."""
        if self._number is not None and all(file.is_current() for file in self._files.values()):
            return
        # Somebody emptied the folder: what this process counted is brought along.
        brought = [(key, value) for file in self._files.values() for key, value in file.counted()]
        self._close()
        try:
            taken, name = self._take_number()
            self._number = weakref.finalize(self, taken.release)
            for kind in ("counter", "histogram"):
                self._files[kind] = _File(self._folder / f"{kind}_{name}.db")
        except _UNREADABLE as error:
            self._complain(f"{self._folder}: requests are not counted: {error}")
            self._close()
            return
        for key, value in brought:
            self._files[key[0]].add(key, value)

    def _take_number(self) -> tuple[Lock, str]:
        for number in map(str, range(_MAX_PROCESSES)):
            taken = self._locks.acquire(number, 0)
            if taken is not None:
                return taken, number
        raise BlockingIOError(f"{_MAX_PROCESSES} processes count already")

    def _close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files = {}
        if self._number is not None:
            self._number()
            self._number = None

    def _forked(self) -> None:
        # The number and what was counted are the parent's; its lock may be held for ever here.
        for file in self._files.values():
            file.close()
        if self._number is not None:
            self._number()
        self._start()

    def _readable(self, path: Path) -> bool:
        try:
            _names(path)
        except _UNREADABLE as error:
            self._complain(f"{path} is damaged; what it held is not counted: {error}")
            return False
        return True


class _File:
    """One process's counts of one kind."""

    def __init__(self, path: Path) -> None:
        """Open a file, or make it.

        Raises:
            OSError: there is no room for it, or it cannot be written.
        """
        self._path = path
        try:
            taken_bytes = sum(len(key.encode()) + _ENTRY_BYTES for key in _names(path))
        except FileNotFoundError:
            taken_bytes = 0
        except _UNREADABLE:
            path.unlink()
            taken_bytes = 0
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        try:
            os.posix_fallocate(descriptor, 0, FILE_BYTES)
            self._identity = _identity(os.fstat(descriptor))
        except OSError:
            path.unlink()
            raise
        finally:
            os.close(descriptor)
        # It is not typed.
        self._counts = MmapedDict(str(path))  # type: ignore[no-untyped-call]
        self.close = weakref.finalize(self, self._counts.close)
        """Lets go of the file; what was counted stays in it."""
        self._left_bytes = FILE_BYTES - taken_bytes
        self._values: dict[Key, tuple[str, float]] = {}
        """What each count is called in the file, and comes to."""
        self._before: dict[Key, float] = {}
        """What was there before this process."""

    def add(self, key: Key, amount: float) -> bool:
        """Add to a count; return whether there was room for it."""
        known = self._values.get(key)
        if known is None:
            spelled = _spelled(key)
            if self._left_bytes < len(spelled) + _ENTRY_BYTES:
                return False
            self._left_bytes -= len(spelled) + _ENTRY_BYTES
            known = spelled, self._counts.read_value(spelled)[0]  # type: ignore[no-untyped-call]
            self._before[key] = known[1]
        spelled, value = known
        value += amount
        self._values[key] = spelled, value
        self._counts.write_value(spelled, value, 0.0)  # type: ignore[no-untyped-call]
        return True

    def counted(self) -> list[tuple[Key, float]]:
        """Return what this process added."""
        return [(key, value - self._before[key]) for key, (_, value) in self._values.items()]

    def is_current(self) -> bool:
        """Whether the path still leads to this file."""
        try:
            return _identity(self._path.stat()) == self._identity
        except OSError:
            return False


def _spelled(key: Key) -> str:
    """Return what a count is called in a file: ASCII."""
    _, metric, sample, labels, help_text = key
    names, values = [name for name, _ in labels], [value for _, value in labels]
    return mmap_key(metric, sample, names, values, help_text)


def _names(path: Path) -> list[str]:
    """Return what the counts in a file are called, having read it to its end.

    Raises:
        OSError, RuntimeError, ValueError, struct.error: it cannot be read, or is torn.
    """
    with path.open("rb") as file:
        begin = file.read(_USED.size)
    if begin and _USED.unpack(begin)[0] < 0:
        raise ValueError("it cannot be as long as it says")
    # It is not typed.
    values = MmapedDict.read_all_values_from_file(str(path))  # type: ignore[no-untyped-call]
    names = [key for key, _, _, _ in values]
    for name in names:
        metric, sample, labels, help_text = json.loads(name)
        texts = (metric, sample, help_text)
        if not isinstance(labels, dict) or not all(isinstance(text, str) for text in texts):
            raise ValueError("it holds no count")
    return names


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
