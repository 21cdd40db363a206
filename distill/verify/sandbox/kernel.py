"""The walls around a child, asked of the kernel through ``ctypes``: Landlock, seccomp, limits.

Landlock (Linux 5.13) closes the file system and, where the kernel is new enough, TCP, signals and
abstract sockets. Seccomp refuses system calls (``calls`` has the list). Limits bound memory, time,
threads and files.

This file is also loaded by the fork server, so it imports the standard library only.
"""

import ctypes
import errno
import os
import resource
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

NOBODY = 65_534
_PR_SET_PDEATHSIG = 1
_PR_GET_SECCOMP = 21
_PR_SET_SECCOMP = 22
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_MODE_FILTER = 2
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_LANDLOCK_VERSION = 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_FS_RIGHTS_BY_ABI = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_NET_ABI, _SCOPE_ABI = 4, 6
_SIGKILL = 9
_INSTRUCTION_BYTES = 8
_STACK_BYTES = 1 << 26
_MORE_THREADS = 1_024

_libc = ctypes.CDLL(None, use_errno=True)


class WallError(OSError):
    """The kernel refuses to build one of the walls."""


def landlock_abi() -> int:
    """Version of Landlock in this kernel; 0 if there is none."""
    if os.uname().sysname != "Linux":
        return 0
    return max(int(_libc.syscall(_LANDLOCK_CREATE, None, 0, _LANDLOCK_VERSION)), 0)


def has_seccomp() -> bool:
    """Whether this kernel can filter system calls."""
    return os.uname().sysname == "Linux" and _libc.prctl(_PR_GET_SECCOMP, 0, 0, 0, 0) >= 0


def adopt_orphans() -> None:
    """What a child leaves behind comes to the calling process, where the system can do that."""
    if os.uname().sysname == "Linux":
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def thread_limit() -> int:
    """Threads that the user of a child may have: those of now, which all count, and some more."""
    user, count = NOBODY if os.getuid() == 0 else os.getuid(), 0
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # ended meanwhile, or not ours to see
            if entry.stat().st_uid == user:
                count += len(os.listdir(entry / "task"))  # noqa: PTH208 - only their number
    return count + _MORE_THREADS


def close_in(
    *,
    calls: bytes,
    readable: Sequence[str],
    memory_bytes: int,
    cpu_seconds: int,
    threads: int,
    uses_landlock: bool,
) -> None:
    """Close the calling process in, for good.

    Args:
        calls: The filter of system calls.
        readable: Folders that may be read, such as the standard library's.
        memory_bytes: Address space, at most.
        cpu_seconds: Processor time, at most.
        threads: That its user may have, at most.
        uses_landlock: Whether Landlock closes the file system; else something outside must.

    Raises:
        OSError: If the kernel refuses; nothing may be run then.
    """
    _set_limits(memory_bytes, cpu_seconds, threads)
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    _prctl(_PR_SET_PDEATHSIG, _SIGKILL)  # after the change of user, which clears it
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if uses_landlock:
        _restrict_files(readable)
    _filter_calls(calls)


def limit_use(memory_bytes: int, cpu_seconds: int) -> None:
    """Where nothing closes the process in, by the user's own word: what needs no walls."""
    for kind, limit in ((resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_CPU, cpu_seconds)):
        with suppress(OSError, ValueError):  # not every system has it
            resource.setrlimit(kind, (limit, limit))


def _set_limits(memory_bytes: int, cpu_seconds: int, threads: int) -> None:
    limits = {
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_CPU: cpu_seconds,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 32,
        resource.RLIMIT_NPROC: threads,
        resource.RLIMIT_STACK: _STACK_BYTES,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_MEMLOCK: 0,
    }
    for kind, limit in limits.items():
        _, hard = resource.getrlimit(kind)
        value = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (value, value))


def _restrict_files(readable: Sequence[str]) -> None:
    abi = landlock_abi()
    if not abi:
        raise WallError(errno.ENOSYS, "this kernel has no Landlock")
    rights = (1 << _FS_RIGHTS_BY_ABI[min(abi, max(_FS_RIGHTS_BY_ABI))]) - 1
    fields = [rights]
    fields += [0b11] if abi >= _NET_ABI else []  # TCP: bind, connect
    fields += [0b11] if abi >= _SCOPE_ABI else []  # abstract sockets, signals
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    ruleset = _checked(
        _libc.syscall(_LANDLOCK_CREATE, attributes, ctypes.c_size_t(len(attributes)), 0)
    )
    for folder in readable:
        try:
            descriptor = os.open(folder, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue  # not there, or closed to this user: then it is not readable anyway
        rule = struct.pack("=Qi", _READ_FILE | _READ_DIR, descriptor)
        _checked(_libc.syscall(_LANDLOCK_ADD, ruleset, 1, rule, 0))
        os.close(descriptor)
    _checked(_libc.syscall(_LANDLOCK_RESTRICT, ruleset, 0))
    os.close(ruleset)


def _filter_calls(calls: bytes) -> None:
    buffer = ctypes.create_string_buffer(calls, len(calls))

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    wanted = Program(len(calls) // _INSTRUCTION_BYTES, ctypes.cast(buffer, ctypes.c_void_p))
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(wanted))


def _prctl(option: int, *values: int) -> None:
    padded = [ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4]]
    _checked(_libc.prctl(option, *padded))


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise WallError(code, os.strerror(code))
    return result
