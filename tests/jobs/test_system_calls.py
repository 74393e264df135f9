"""The filter of system calls has the numbers of the kernel's headers, and answers rightly."""

import errno
import os
import re
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest

from imgprocessor.jobs.previews import system_calls
from imgprocessor.jobs.previews.system_calls import system_call_filter, system_call_numbers

HEADERS = [
    Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    Path("/usr/include/asm-generic/unistd.h"),  # arm64 has these
]
TABLES = [
    system_calls._REFUSED,  # noqa: SLF001 - as the kernel has them
    system_calls._MISSING,  # noqa: SLF001 - likewise
    system_calls._LOOKED_AT,  # noqa: SLF001 - likewise
]
MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x80000000
PID = 77


def _header(column: int) -> Mapping[str, int]:
    if not HEADERS[column - 1].exists():
        pytest.skip("no kernel headers (Debian: linux-libc-dev)")
    text = HEADERS[column - 1].read_text()
    found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text)
    return {name: int(number) for name, number in found}


@pytest.mark.parametrize("column", [1, 2])
def test_numbers_are_the_kernels(column: int) -> None:
    header = _header(column)
    known = dict(system_call_numbers("".join(TABLES), column))

    assert known == {name: header[name] for name in known}
    other = dict(system_call_numbers("".join(TABLES), 3 - column))
    assert not [name for name in other if name in header and name not in known]


def test_no_call_stands_in_two_tables() -> None:
    names = [name for table in TABLES for name in table.split()[::3]]

    assert len(names) == len(set(names))


def _answer(machine: int, number: int, *arguments: int) -> int:
    """Run the filter, as the kernel does."""
    program = list(struct.iter_unpack("=HBBI", system_call_filter(PID)))
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=IIQ6Q", number, machine, 0, *(value % (1 << 64) for value in padded))
    at, register = 0, 0
    while True:
        code, if_true, if_false, value = program[at]
        at += 1
        if code == 0x06:
            return int(value)
        if code == 0x20:
            (register,) = struct.unpack_from("=I", data, value)
        elif code == 0x54:
            register &= value
        else:
            test = {0x15: register == value, 0x35: register >= value, 0x45: bool(register & value)}
            at += if_true if test[code] else if_false


@pytest.mark.parametrize("machine", MACHINES)
def test_each_call_is_answered(machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = os.uname_result(["Linux", "", "", "", machine])
    monkeypatch.setattr(os, "uname", lambda: known)
    column, audit = list(MACHINES).index(machine) + 1, MACHINES[machine]
    refused, missing, looked_at = (dict(system_call_numbers(table, column)) for table in TABLES)
    perm, nosys = ERRNO | errno.EPERM, ERRNO | errno.ENOSYS

    assert {_answer(audit, number) for number in refused.values()} == {perm}
    assert {_answer(audit, number) for number in missing.values()} == {nosys}
    named = {*refused.values(), *missing.values(), *looked_at.values()}
    assert {_answer(audit, number) for number in range(450) if number not in named} == {ALLOW}
    assert {_answer(audit, number) for number in (450, 1 << 30, (1 << 30) + 1)} == {nosys}
    assert _answer(0x40000003, 1) == KILL

    for name, arguments, answer in (
        ("clone", [0x003D0F00], ALLOW),
        ("clone", [0x01200011], perm),
        ("clone", [0x4111], perm),
        ("clone", [0x003D0F00 & ~0x400], perm),  # open files of its own
        ("clone", [0x003D0F00 & ~0x200], perm),
        ("clone", [0x003D0F00 & ~0x100], perm),
        ("openat", [-100, 0, 0o2000000], ALLOW),
        ("openat", [-100, 0, 0o1000], perm),
        ("openat", [-100, 0, 0o2001100], perm),
        ("openat", [-100, 0, 0o1003], perm),
        ("openat", [-100, 0, 0o1001], ALLOW),
        ("openat", [-100, 0, 0o1102], ALLOW),
        ("clone", [0x10010000], perm),
        ("kill", [PID, 9], ALLOW),
        ("kill", [-1, 9], perm),
        ("kill", [0, 9], perm),
        ("tgkill", [PID, 5, 9], ALLOW),
        ("tgkill", [1, 5, 9], perm),
        ("prlimit64", [0, 7], ALLOW),
        ("prlimit64", [PID, 7], ALLOW),
        ("prlimit64", [1, 7], perm),
        ("prctl", [1, 0], perm),
        ("prctl", [15, 0], ALLOW),
        ("fcntl", [PID, 8], perm),
        ("fcntl", [8, 3], ALLOW),
        ("ioctl", [1, 0x8901], perm),
        ("ioctl", [1, 0x5401], ALLOW),
        ("socketpair", [1, 0x80001], ALLOW),
        ("socketpair", [1, 2], perm),
        ("socketpair", [2, 1], perm),
        ("personality", [0xFFFFFFFF], ALLOW),
        ("personality", [0], ALLOW),
        ("personality", [0x0040000], perm),
    ):
        assert _answer(audit, looked_at[name], *arguments) == answer, (name, arguments)
    if machine == "x86_64":
        assert _answer(audit, looked_at["open"], 0, 0o1000) == perm
        assert _answer(audit, looked_at["open"], 0, 0o1001) == ALLOW


def test_other_machines_have_no_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(["Linux", "", "", "", "mips"]))

    with pytest.raises(NotImplementedError, match="mips"):
        system_call_filter(PID)
