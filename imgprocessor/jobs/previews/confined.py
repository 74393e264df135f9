"""Confines itself, and becomes the program of a step: run as `python -I -S -B confined.py`.

What is to be done is its argument, as JSON. The worker holds the other end of standard input, and
takes the last word from the descriptor `status`: `CONFINED`, or what is wrong.
"""

import ctypes
import errno
import json
import os
import resource
import select
import signal
import stat
import struct
import sys
from collections.abc import Mapping
from typing import Any

if __name__ == "__main__":  # there is nothing on the path but Python itself
    sys.path.append(__file__.rsplit("/imgprocessor/", 1)[0])

from imgprocessor.jobs.previews.system_calls import system_call_filter

CONFINED = "confined"
LAUNCHER = __file__

_FAILED_STATUS = 125

# Of linux/prctl.h and linux/securebits.h.
_SET_PDEATHSIG, _SET_SECCOMP, _CAPBSET_DROP, _SET_SECUREBITS = 1, 22, 24, 28
_SET_NO_NEW_PRIVS, _CAP_AMBIENT, _CAP_AMBIENT_CLEAR_ALL = 38, 47, 4
_FILTER = 2
_NOTHING_FOR_ROOT = 0xEF
_LAST_CAPABILITY = 63
_CAPABILITIES_VERSION = 0x20080522

# The same numbers on all machines, as all since 424 have.
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_CAPGET_CAPSET = {"x86_64": (125, 126), "aarch64": (90, 91)}

# Of linux/landlock.h: rights to files by the bit, and since which version of it.
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_OF_VERSION_1 = (1 << 13) - 1
_SINCE = {2: _REFER, 3: _TRUNCATE, 5: _IOCTL_DEV}
_NET_VERSION, _SCOPES_VERSION = 4, 6
_ALL_NET, _ALL_SCOPES = 3, 3
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV

_MAY_READ = _EXECUTE | _READ_FILE | _READ_DIR
_MAY_WRITE = (
    _READ_FILE | _READ_DIR | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG
) | (_REFER | _TRUNCATE)
_MAY_USE = _READ_FILE | _WRITE_FILE

_library = ctypes.CDLL(None, use_errno=True)


class _Unconfined(Exception):
    """Something that must be done cannot be."""


def _main() -> int:
    wanted = json.loads(sys.argv[1])
    status = wanted["status"]
    try:
        os.set_inheritable(status, False)
        _confine(wanted, status)
        os.write(status, f"{CONFINED}\n".encode())
        os.execve(wanted["command"][0], wanted["command"], wanted["environment"])  # noqa: S606
    except (_Unconfined, OSError, NotImplementedError) as error:
        os.write(status, f"{error}\n".encode())
    return _FAILED_STATUS


def _confine(wanted: Mapping[str, Any], status: int) -> None:
    os.closerange(3, status)
    os.closerange(status + 1, max(status + 2, resource.getrlimit(resource.RLIMIT_NOFILE)[0]))
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if signal.getsignal(number) == signal.SIG_IGN:  # Python itself does that to two
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.umask(0o077)
    os.chdir(wanted["folder"])
    _drop_capabilities()
    _die_with_parent()
    _call("no new privileges", _library.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _restrict_files(wanted)
    nothing = os.open("/dev/null", os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    for name, limit in wanted["limits"].items():
        _limit(getattr(resource, f"RLIMIT_{name}"), limit)
    _restrict_system_calls()


def _limit(what: int, limit: int) -> None:
    _, highest = resource.getrlimit(what)
    if highest != resource.RLIM_INFINITY:  # the worker's own unit or container says so
        limit = min(limit, highest)
    resource.setrlimit(what, (limit, limit))


def _die_with_parent() -> None:
    """Be killed when the thread ends that started this; `bwrap` has it done already."""
    _call("die with the worker", _library.prctl(_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
    poll = select.poll()
    poll.register(0, 0)
    if poll.poll(0):  # the worker has gone, perhaps before that
        raise SystemExit(_FAILED_STATUS)


def _drop_capabilities() -> None:
    """Give up what root may do more than others, for good. Without root there is nothing."""
    for capability in range(_LAST_CAPABILITY + 1):
        _library.prctl(_CAPBSET_DROP, capability, 0, 0, 0)
    _library.prctl(_SET_SECUREBITS, _NOTHING_FOR_ROOT, 0, 0, 0)
    _library.prctl(_CAP_AMBIENT, _CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    get, put = _CAPGET_CAPSET.get(os.uname().machine, (None, None))
    if get is None or put is None:
        raise _Unconfined(f"no filter for system calls is known for {os.uname().machine}")
    header, none = struct.pack("=Ii", _CAPABILITIES_VERSION, 0), bytes(24)
    _library.syscall(put, header, none)  # a unit may refuse that, and then there are none
    left = ctypes.create_string_buffer(24)
    _call("read capabilities", _library.syscall(get, header, left))
    if left.raw != none:
        raise _Unconfined("capabilities are left")


def _restrict_files(wanted: Mapping[str, Any]) -> None:
    """Have Landlock keep all files away but those that are named."""
    version = _library.syscall(_LANDLOCK_CREATE, None, 0, 1)
    if version < 1:
        if wanted["needs_landlock"]:
            raise _Unconfined("this kernel has no Landlock, or it may not be used here")
        return
    handled = _OF_VERSION_1
    for since, right in _SINCE.items():
        handled |= right if version >= since else 0
    attributes = struct.pack(
        "=QQQ",
        handled,
        _ALL_NET if version >= _NET_VERSION else 0,
        _ALL_SCOPES if version >= _SCOPES_VERSION else 0,
    )
    size = 24 if version >= _SCOPES_VERSION else 16 if version >= _NET_VERSION else 8
    rules = _library.syscall(_LANDLOCK_CREATE, attributes[:size], size, 0)
    _call("make rules for Landlock", rules)
    for path in wanted["reads"]:
        _allow(rules, path, _MAY_READ & handled)
    _allow(rules, wanted["document"], _READ_FILE)
    _allow(rules, wanted["folder"], _MAY_WRITE & handled)
    for path in wanted["devices"]:
        _allow(rules, path, _MAY_USE)
    _call("restrict itself by Landlock", _library.syscall(_LANDLOCK_RESTRICT, rules, 0))
    os.close(rules)


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        file = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.EACCES, errno.ENOTDIR}:
            return  # then it cannot be read either
        raise
    mode = os.fstat(file).st_mode
    if not stat.S_ISLNK(mode):  # where it leads to is named by itself
        rule = struct.pack("=Qi", rights if stat.S_ISDIR(mode) else rights & _OF_FILES, file)
        _call(f"allow {path}", _library.syscall(_LANDLOCK_ADD, rules, 1, rule, 0))
    os.close(file)


def _restrict_system_calls() -> None:
    code = system_call_filter(os.getpid())
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer))
    done = _library.prctl(_SET_SECCOMP, _FILTER, program, 0, 0)
    _call("filter system calls", done)


def _call(what: str, answer: int) -> None:
    if answer < 0:
        raise _Unconfined(f"cannot {what}: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    sys.exit(_main())
