"""Which system calls a step may make: a filter for seccomp, as a program for the kernel."""

import errno
import os
import struct
from collections.abc import Iterator, Mapping, Sequence

_REFUSED = """
fork 57 -           vfork 58 -             setsid 112 157         setpgid 109 154
ptrace 101 117      process_vm_readv 310 270  process_vm_writev 311 271  kcmp 312 272
tkill 200 130       rt_sigqueueinfo 129 138   rt_tgsigqueueinfo 297 240  get_robust_list 274 100
move_pages 279 239  migrate_pages 256 238  sched_setaffinity 203 122  sched_setscheduler 144 119
sched_setparam 142 118  sched_setattr 314 274  setpriority 141 140     ioprio_set 251 30
mount 165 40        umount2 166 39         pivot_root 155 41      chroot 161 51
unshare 272 97      setns 308 268          quotactl 179 60        quotactl_fd 443 443
bpf 321 280         perf_event_open 298 241  keyctl 250 219       add_key 248 217
request_key 249 218 open_by_handle_at 304 265  name_to_handle_at 303 264  lookup_dcookie 212 18
swapon 167 224      swapoff 168 225        reboot 169 142         acct 163 89
syslog 103 116      iopl 172 -             ioperm 173 -           modify_ldt 154 -
settimeofday 164 170  clock_settime 227 112  adjtimex 159 171     clock_adjtime 305 266
sethostname 170 161 setdomainname 171 162  vhangup 153 58         uselib 134 -
kexec_load 246 104  kexec_file_load 320 294  init_module 175 105  finit_module 313 273
delete_module 176 106  seccomp 317 277     nfsservctl 180 42      sync 162 81
chmod 90 -          fchmod 91 52           fchmodat 268 53        truncate 76 45
chown 92 -          fchown 93 55           lchown 94 -            fchownat 260 54
utime 132 -         utimes 235 -           utimensat 280 88       futimesat 261 -
setxattr 188 5      lsetxattr 189 6        fsetxattr 190 7        removexattr 197 14
lremovexattr 198 15 fremovexattr 199 16    mknod 133 -            mknodat 259 33
socket 41 198       connect 42 203         bind 49 200            listen 50 201
accept 43 202       accept4 288 242        sendmsg 46 211         sendmmsg 307 269
recvmsg 47 212      recvmmsg 299 243
"""
"""By name, with its number on x86-64 and on arm64: nothing that draws needs one. What changes a
file's mode, owner or time is here because Landlock does not know it; messages, because nobody sees
the open files that are on their way in them.
"""

_MISSING = """
clone3 435 435      execveat 322 281       memfd_create 319 279   memfd_secret 447 447
io_uring_setup 425 425  io_uring_enter 426 426  io_uring_register 427 427  userfaultfd 323 282
pidfd_open 434 434  pidfd_getfd 438 438    pidfd_send_signal 424 424  process_madvise 440 440
process_mrelease 448 448  open_tree 428 428  move_mount 429 429   fsopen 430 430
fsconfig 431 431    fsmount 432 432        fspick 433 433         mount_setattr 442 442
shmget 29 194       shmat 30 196           shmctl 31 195          shmdt 67 197
semget 64 190       semop 65 193           semctl 66 191          semtimedop 220 192
msgget 68 186       msgsnd 69 189          msgrcv 70 188          msgctl 71 187
mq_open 240 180     mq_unlink 241 181      mq_timedsend 242 182   mq_timedreceive 243 183
mq_notify 244 184   mq_getsetattr 245 185  inotify_init 253 -     inotify_init1 294 26
inotify_add_watch 254 27  fanotify_init 300 262  fanotify_mark 301 263
openat2 437 437
"""
"""Likewise; libraries do without where the kernel does not have them, and are told so. Memory that
no limit counts is here: `memfd_create`, and what System V and POSIX queues have; and `openat2`,
which has its flags where no filter sees them.
"""

_LOOKED_AT = """
clone 56 220        kill 62 129            tgkill 234 131         prlimit64 302 261
prctl 157 167       fcntl 72 25            ioctl 16 29            socketpair 53 199
personality 135 92  open 2 -               openat 257 56
"""
"""Likewise; whether one is refused depends on its arguments."""

_LATEST = 449
"""Linux 5.16 has no later one. What came after is said to be missing, and so is all of x32."""

_MACHINES = {"x86_64": (1, 0xC000003E), "aarch64": (2, 0xC00000B7)}
"""Column in the tables, and the number by which the kernel knows the machine."""

_CLONE_SHARED = 0x00010700
"""THREAD, VM, FS, FILES: what one thread has open, all have, and it is seen by any of them."""
_CLONE_NEW = 0x7E020000
"""Namespaces, all of them."""

_PRCTL_REFUSED = (1, 4, 22, 35, 36, 62, 0x59616D61)
"""PDEATHSIG, DUMPABLE, SECCOMP, MM, CHILD_SUBREAPER, SCHED_CORE, PTRACER."""
_FCNTL_REFUSED = (8, 10, 15, 1024, 1026, 1031)
"""SETOWN, SETSIG and SETOWN_EX send signals; SETLEASE, NOTIFY, SETPIPE_SZ."""
_IOCTL_REFUSED = (0x8901, 0x8902, 0x5412, 0x541C)
"""FIOSETOWN and SIOCSPGRP send signals; TIOCSTI and TIOCLINUX write for a terminal."""

# Of linux/bpf_common.h and linux/seccomp.h.
_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_IF_EQUAL, _IF_AT_LEAST, _IF_ANY = 0x15, 0x35, 0x45
_KILL_PROCESS, _ERRNO, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_NUMBER, _MACHINE, _ARGUMENTS = 0, 4, 16

_Instruction = tuple[int, int, int, int]
"""Code, how many to pass over if true, how many if false, and a value."""


def system_call_filter(pid: int) -> bytes:
    """Return the filter for a process of this machine that is to be alone: an array of
    `struct sock_filter`.

    Args:
        pid: its own, in its own namespace: it may signal itself.

    Raises:
        NotImplementedError: this machine's system calls are not known here.
    """
    column, machine = _machine()
    program: list[_Instruction] = [
        (_LOAD, 0, 0, _MACHINE),
        (_IF_EQUAL, 1, 0, machine),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER),
        (_IF_AT_LEAST, 0, 1, _LATEST + 1),
        _refuse(errno.ENOSYS),
    ]
    for table, answer in ((_REFUSED, errno.EPERM), (_MISSING, errno.ENOSYS)):
        for _, number in system_call_numbers(table, column):
            program += [(_IF_EQUAL, 0, 1, number), _refuse(answer)]
    looked_at = _looked_at(pid)
    for name, number in system_call_numbers(_LOOKED_AT, column):
        block = looked_at[name]
        program += [(_IF_EQUAL, 0, len(block), number), *block]
    program.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def system_call_numbers(table: str, column: int) -> Iterator[tuple[str, int]]:
    """Yield names and numbers of those of a table that a machine has."""
    words = table.split()
    for place in range(0, len(words), 3):
        number = words[place + column]
        if number != "-":
            yield words[place], int(number)


def _machine() -> tuple[int, int]:
    name = os.uname().machine
    if name not in _MACHINES:
        raise NotImplementedError(f"no filter for system calls is known for {name}")
    return _MACHINES[name]


def _looked_at(pid: int) -> Mapping[str, Sequence[_Instruction]]:
    refuse, allow = _refuse(errno.EPERM), (_RETURN, 0, 0, _ALLOW)
    itself = [_argument(0), (_IF_EQUAL, 0, 1, pid), allow, refuse]
    return {
        # Threads, and no process.
        "clone": [
            _argument(0),
            (_IF_ANY, 0, 1, _CLONE_NEW),
            refuse,
            (_AND, 0, 0, _CLONE_SHARED),
            (_IF_EQUAL, 0, 1, _CLONE_SHARED),
            allow,
            refuse,
        ],
        "open": _open(1),
        "openat": _open(2),
        "kill": itself,
        "tgkill": itself,
        "prlimit64": [_argument(0), (_IF_EQUAL, 0, 1, 0), allow, *itself[1:]],
        "prctl": _unless(0, _PRCTL_REFUSED),
        "fcntl": _unless(1, _FCNTL_REFUSED),
        "ioctl": _unless(1, _IOCTL_REFUSED),
        # Streams alone: what sends datagrams may name another receiver with each.
        "socketpair": [
            _argument(0),
            (_IF_EQUAL, 1, 0, 1),
            refuse,
            _argument(1),
            (_AND, 0, 0, 0xF),
            (_IF_EQUAL, 0, 1, 1),
            allow,
            refuse,
        ],
        # Asked for, or reset.
        "personality": [
            _argument(0),
            (_IF_EQUAL, 1, 0, 0xFFFFFFFF),
            (_IF_EQUAL, 0, 1, 0),
            allow,
            refuse,
        ],
    }


def _open(flags: int) -> list[_Instruction]:
    """Empty no file that is not opened for writing: Landlock does not know that before version 3,
    and asks for no right at all where a file is opened for neither.
    """
    refuse = _refuse(errno.EPERM)
    return [
        _argument(flags),
        (_AND, 0, 0, os.O_TRUNC | os.O_ACCMODE),
        (_IF_EQUAL, 0, 1, os.O_TRUNC | os.O_RDONLY),
        refuse,
        (_IF_EQUAL, 0, 1, os.O_TRUNC | os.O_ACCMODE),
        refuse,
        (_RETURN, 0, 0, _ALLOW),
    ]


def _unless(argument: int, values: Sequence[int]) -> list[_Instruction]:
    block: list[_Instruction] = [_argument(argument)]
    for value in values:
        block += [(_IF_EQUAL, 0, 1, value), _refuse(errno.EPERM)]
    return [*block, (_RETURN, 0, 0, _ALLOW)]


def _argument(number: int) -> _Instruction:
    """Load an argument's lower half: what is looked at here, the kernel takes as 32 bits. Both
    machines have that first.
    """
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * number)


def _refuse(number: int) -> _Instruction:
    return (_RETURN, 0, 0, _ERRNO | number)
