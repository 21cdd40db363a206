"""The walls around a child, asked of the kernel through ``ctypes``: Landlock, seccomp, limits.

Landlock (Linux 5.13) closes the file system and, where the kernel is new enough, TCP, signals and
abstract sockets. Seccomp refuses system calls: sockets, new processes, other programs, signals,
tracing, mounts and everything by which code leaves something behind. What is refused fails with
``EPERM`` inside; the child goes on and can only lose.

This file is also loaded by the fork server, so it imports the standard library only.
"""

import ctypes
import errno
import os
import platform
import resource
import struct
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_LANDLOCK_VERSION = 1
_READ_FILE, _READ_DIR, _EXECUTE = 1 << 2, 1 << 3, 1 << 0
_FS_RIGHTS_BY_ABI = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_NET_ABI, _SCOPE_ABI = 4, 6
_SIGKILL = 9
_NOBODY = 65_534

_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _EQUAL, _AT_LEAST, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_CLONE_THREAD = 0x00010000
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000

# Name: number on x86_64, number on aarch64 (None where it does not exist there).
_REFUSED: dict[str, tuple[int | None, int | None]] = {
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    "sendto": (44, 206),
    "sendmsg": (46, 211),
    "sendmmsg": (307, 269),
    "recvfrom": (45, 207),
    "recvmsg": (47, 212),
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "ptrace": (101, 117),
    "kill": (62, 129),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "pidfd_getfd": (438, 438),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "setpriority": (141, 140),
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "prlimit64": (302, 261),
    "setrlimit": (160, 164),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "fsopen": (430, 430),
    "fsmount": (432, 432),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "mount_setattr": (442, 442),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "semget": (64, 190),
    "semop": (65, 193),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "fanotify_init": (300, 262),
    "inotify_init1": (294, 26),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "personality": (135, 92),
    "quotactl": (179, 60),
    "acct": (163, 89),
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "chown": (92, None),
    "fchown": (93, 55),
    "fchownat": (260, 54),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "truncate": (76, 45),
    "mknod": (133, None),
    "mknodat": (259, 33),
}
_CLONE = (56, 220)
_CLONE3 = 435

_libc = ctypes.CDLL(None, use_errno=True)


class WallError(OSError):
    """The kernel refuses to build one of the walls."""


def landlock_abi() -> int:
    """Version of Landlock in this kernel; 0 if there is none."""
    found = _libc.syscall(_LANDLOCK_CREATE, None, 0, _LANDLOCK_VERSION)
    return max(int(found), 0)


def has_seccomp() -> bool:
    """Whether system calls can be filtered here, with numbers that are known."""
    return platform.system() == "Linux" and platform.machine() in _ARCHITECTURES


def close_in(
    *, readable: Sequence[str], memory_bytes: int, cpu_seconds: int, uses_landlock: bool
) -> None:
    """Close the calling process in, for good.

    Args:
        readable: Folders that may be read, such as the standard library's.
        memory_bytes: Address space, at most.
        cpu_seconds: Processor time, at most.
        uses_landlock: Whether Landlock closes the file system; else something outside must.

    Raises:
        WallError: If the kernel refuses; nothing may be run then.
    """
    _set_limits(memory_bytes, cpu_seconds)
    _prctl(_PR_SET_PDEATHSIG, _SIGKILL)
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
        _prctl(_PR_SET_PDEATHSIG, _SIGKILL)  # a change of user clears it
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if uses_landlock:
        _restrict_files(readable)
    _filter_calls()


def _set_limits(memory_bytes: int, cpu_seconds: int) -> None:
    limits = {
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_CPU: cpu_seconds,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 32,
        resource.RLIMIT_NPROC: 64,
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
    ruleset = _checked(_libc.syscall(_LANDLOCK_CREATE, attributes, len(attributes), 0))
    for folder in readable:
        try:
            descriptor = os.open(folder, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue  # not there, or closed to this user: then it is not readable anyway
        rule = struct.pack("=Qi", _READ_FILE | _READ_DIR | _EXECUTE, descriptor)
        _checked(_libc.syscall(_LANDLOCK_ADD, ruleset, 1, rule, 0))
        os.close(descriptor)
    _checked(_libc.syscall(_LANDLOCK_RESTRICT, ruleset, 0))
    os.close(ruleset)


def _filter_calls() -> None:
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise WallError(errno.ENOSYS, f"no filter is known for {machine}")
    column = 0 if machine == "x86_64" else 1
    program = _program(_ARCHITECTURES[machine], column, is_x86=column == 0)
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code)

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    wanted = Program(len(program), ctypes.cast(buffer, ctypes.c_void_p))
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(wanted))


def _program(architecture: int, column: int, *, is_x86: bool) -> list[tuple[int, int, int, int]]:
    """The filter: another architecture is killed, what is listed refused, the rest allowed."""
    refuse = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
    lines: list[tuple[int, int, int, int]] = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
    ]
    if is_x86:
        lines += [(_AT_LEAST, 0, 1, _X32_BIT), (_RETURN, 0, 0, _KILL)]
    for numbers in _REFUSED.values():
        number = numbers[column]
        if number is not None:
            lines += [(_EQUAL, 0, 1, number), refuse]
    # clone3 hides its flags behind a pointer: libc then falls back to clone.
    lines += [(_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)]
    # Threads are no processes: they end with this one.
    lines += [
        (_EQUAL, 0, 4, _CLONE[column]),
        (_LOAD, 0, 0, 16),
        (_AND, 0, 0, _CLONE_THREAD),
        (_EQUAL, 0, 1, 0),
        refuse,
        (_RETURN, 0, 0, _ALLOW),
    ]
    return lines


def _prctl(option: int, *values: int) -> None:
    padded = [ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4]]
    _checked(_libc.prctl(option, *padded))


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise WallError(code, os.strerror(code))
    return result
