"""What a child of the sandbox may ask of the kernel: a seccomp filter, built here as numbers.

A list of what computing needs; all else is refused, calls of later kernels too. Refused calls fail
with ``EPERM`` inside (new ones with ``ENOSYS``, on which libc takes an older call), the child goes
on and can only lose. Some calls are allowed by their arguments: files open for reading only,
``clone`` makes threads only, signals reach the child itself only.

This file is also loaded by the fork server, so it imports the standard library only.
"""

import errno
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

__all__ = ["ARCHITECTURES", "CALLS", "filter_bytes", "filter_program", "packed"]

ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""Column of ``CALLS`` and what the kernel calls the architecture."""

ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050000, 0x80000000
LOAD, EQUAL, AT_LEAST, AND, RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_X32_BIT = 0x40000000
_FIRST_SHARED = 424
"""From here on, a call has one number on all architectures, and an older kernel has none of it."""

# Name: number on x86_64, number on aarch64 (None where it does not exist there).
CALLS: dict[str, tuple[int | None, int | None]] = {
    "read": (0, 63),
    "write": (1, 64),
    "readv": (19, 65),
    "writev": (20, 66),
    "pread64": (17, 67),
    "pwrite64": (18, 68),
    "close": (3, 57),
    "fstat": (5, 80),
    "stat": (4, None),
    "lstat": (6, None),
    "newfstatat": (262, 79),
    "statx": (332, 291),
    "lseek": (8, 62),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "brk": (12, 214),
    "msync": (26, 227),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "rt_sigsuspend": (130, 133),
    "rt_sigpending": (127, 136),
    "rt_sigtimedwait": (128, 137),
    "sigaltstack": (131, 132),
    "access": (21, None),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "pipe": (22, None),
    "pipe2": (293, 59),
    "select": (23, None),
    "pselect6": (270, 72),
    "poll": (7, None),
    "ppoll": (271, 73),
    "epoll_create": (213, None),
    "epoll_create1": (291, 20),
    "epoll_ctl": (233, 21),
    "epoll_wait": (232, None),
    "epoll_pwait": (281, 22),
    "eventfd2": (290, 19),
    "sched_yield": (24, 124),
    "dup": (32, 23),
    "dup2": (33, None),
    "dup3": (292, 24),
    "nanosleep": (35, 101),
    "clock_nanosleep": (230, 115),
    "getitimer": (36, 102),
    "setitimer": (38, 103),
    "alarm": (37, None),
    "pause": (34, None),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getppid": (110, 173),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "getgroups": (115, 158),
    "getresuid": (118, 148),
    "getresgid": (120, 150),
    "getpgid": (121, 155),
    "getpgrp": (111, None),
    "getsid": (124, 156),
    "uname": (63, 160),
    "umask": (95, 166),
    "getcwd": (79, 17),
    "chdir": (80, 49),
    "fchdir": (81, 50),
    "getdents": (78, None),
    "getdents64": (217, 61),
    "readlink": (89, None),
    "readlinkat": (267, 78),
    "gettimeofday": (96, 169),
    "time": (201, None),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "times": (100, 153),
    "getrusage": (98, 165),
    "getrlimit": (97, 163),
    "sysinfo": (99, 179),
    "futex": (202, 98),
    "futex_waitv": (449, 449),
    "set_robust_list": (273, 99),
    "get_robust_list": (274, 100),
    "set_tid_address": (218, 96),
    "rseq": (334, 293),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "getrandom": (318, 278),
    "arch_prctl": (158, None),
    "sched_getaffinity": (204, 123),
    "sched_getparam": (143, 121),
    "sched_getscheduler": (145, 120),
    "sched_get_priority_max": (146, 125),
    "sched_get_priority_min": (147, 126),
    "getpriority": (140, 141),
    "membarrier": (324, 283),
    "fadvise64": (221, 223),
    "statfs": (137, 43),
    "fstatfs": (138, 44),
    "restart_syscall": (219, 128),
    "getcpu": (309, 168),
    "wait4": (61, 260),
    "waitid": (247, 95),
    "open": (2, None),
    "openat": (257, 56),
    "ioctl": (16, 29),
    "fcntl": (72, 25),
    "clone": (56, 220),
    "kill": (62, 129),
    "tgkill": (234, 131),
    "prlimit64": (302, 261),
    "prctl": (157, 167),
}


@dataclass(frozen=True, slots=True)
class _Rule:
    """An allowed call whose argument matters.

    Attributes:
        argument: Which one; its lower 32 bits are compared, the kernel reads no more of these.
        mask: Which bits of it.
        values: Allowed ones.
        code: What the call fails with otherwise.
    """

    argument: int
    mask: int
    values: tuple[int, ...]
    code: int = errno.EPERM


_EVERY_BIT = 0xFFFFFFFF
_WRITES = 0o1 | 0o2 | 0o100 | 0o1000  # O_WRONLY, O_RDWR, O_CREAT, O_TRUNC
_THREAD = 0x00010000
_RULES = {
    "open": _Rule(1, _WRITES, (0,), errno.EACCES),
    "openat": _Rule(2, _WRITES, (0,), errno.EACCES),
    # Threads end with the process. clone3 is not on the list: it hides its flags behind a pointer.
    "clone": _Rule(0, _THREAD, (_THREAD,)),
    # Duplicates and flags; no F_SETOWN, by which a pipe sends signals to others.
    "fcntl": _Rule(1, _EVERY_BIT, (0, 1, 2, 3, 4, 1030, 1032)),
    # Whether it is a terminal, how wide, how much can be read, close on exec.
    "ioctl": _Rule(1, _EVERY_BIT, (0x5401, 0x5413, 0x541B, 0x5450, 0x5451), errno.ENOTTY),
    # Names of threads and of memory; no PR_SET_PDEATHSIG, by which a child would outlive us.
    "prctl": _Rule(0, _EVERY_BIT, (15, 16, 0x53564D41)),
}
_OWN = ("kill", "tgkill")
_ANY_PID = 0x7FFFFFFF
"""Stands for the process id that is filled in later; larger than any."""

Instruction = tuple[int, int, int, int]


def filter_program(machine: str, pid: int) -> list[Instruction]:
    """The filter as instructions (code, jump if true, jump if false, value).

    Args:
        machine: A key of ``ARCHITECTURES``.
        pid: Of the process that is filtered; the only one it may signal.
    """
    column, architecture = ARCHITECTURES[machine]
    rules = {**_RULES, **{name: _Rule(0, _EVERY_BIT, (pid,)) for name in _OWN}}
    lines: list[Instruction] = [
        (LOAD, 0, 0, 4),
        (EQUAL, 1, 0, architecture),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, 0),
    ]
    if machine == "x86_64":
        lines += [(AT_LEAST, 0, 1, _X32_BIT), (RETURN, 0, 0, KILL)]
    for name, numbers in CALLS.items():
        number = numbers[column]
        if number is None:
            continue
        if name == "prlimit64":
            block = _reads_limits_only()
        elif name in rules:
            block = _block(rules[name])
        else:
            block = [(RETURN, 0, 0, ALLOW)]
        lines += [(EQUAL, 0, len(block), number), *block]
    lines += [
        (AT_LEAST, 0, 1, _FIRST_SHARED),
        (RETURN, 0, 0, REFUSE | errno.ENOSYS),
        (RETURN, 0, 0, REFUSE | errno.EPERM),
    ]
    return lines


def filter_bytes(machine: str, pid: int) -> bytes:
    """The filter as the kernel reads it; quick when it was built once for this machine."""
    return _template(machine).replace(struct.pack("=I", _ANY_PID), struct.pack("=I", pid))


def packed(program: Iterable[Instruction]) -> bytes:
    """The filter as the kernel reads it."""
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


@cache
def _template(machine: str) -> bytes:
    return packed(filter_program(machine, _ANY_PID))


def _block(rule: _Rule) -> list[Instruction]:
    """Ends in a return, so the number of the call need not be loaded again."""
    lines: list[Instruction] = [(LOAD, 0, 0, 16 + 8 * rule.argument)]
    if rule.mask != _EVERY_BIT:
        lines.append((AND, 0, 0, rule.mask))
    for value in rule.values:
        lines += [(EQUAL, 0, 1, value), (RETURN, 0, 0, ALLOW)]
    return [*lines, (RETURN, 0, 0, REFUSE | rule.code)]


def _reads_limits_only() -> list[Instruction]:
    """``prlimit64`` with no new limits: its third argument, a pointer of 64 bits, is null."""
    return [
        (LOAD, 0, 0, 32),
        (EQUAL, 0, 3, 0),
        (LOAD, 0, 0, 36),
        (EQUAL, 0, 1, 0),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, REFUSE | errno.EPERM),
    ]
