"""Begins a program that the kernel refuses system calls: as containers' profiles and units do.

`python refusing.py namespaces,landlock PROGRAM ...`
"""

import ctypes
import errno
import os
import struct
import sys

# By machine: clone, unshare. Landlock has the same numbers everywhere.
NUMBERS = {"x86_64": (56, 272), "aarch64": (220, 97)}
CLONE_NEWUSER = 0x10000000
LOAD, IF_EQUAL, IF_ANY, RETURN = 0x20, 0x15, 0x45, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050000


def _filter(what: set[str]) -> bytes:
    clone, unshare = NUMBERS[os.uname().machine]
    refused: dict[int, int] = {}
    if "namespaces" in what:
        refused |= {unshare: errno.EPERM, 435: errno.ENOSYS}
    if "landlock" in what:
        refused |= dict.fromkeys((444, 445, 446), errno.ENOSYS)
    code = [(LOAD, 0, 0, 0)]
    for number, answer in refused.items():
        code += [(IF_EQUAL, 0, 1, number), (RETURN, 0, 0, REFUSE | answer)]
    if "namespaces" in what:
        code += [
            (IF_EQUAL, 0, 3, clone),
            (LOAD, 0, 0, 16),
            (IF_ANY, 0, 1, CLONE_NEWUSER),
            (RETURN, 0, 0, REFUSE | errno.EPERM),
        ]
    code.append((RETURN, 0, 0, ALLOW))
    return b"".join(struct.pack("=HBBI", *line) for line in code)


def main() -> None:
    """Refuse, and become the program."""
    library = ctypes.CDLL(None, use_errno=True)
    code = _filter(set(sys.argv[1].split(",")))
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer))
    library.prctl(38, 1, 0, 0, 0)
    if library.prctl(22, 2, program, 0, 0):
        raise OSError(ctypes.get_errno(), "no filter")
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - a test's


if __name__ == "__main__":
    main()
